"""LangChain: invoke, stream, tools, structured output by both methods, an image."""

import base64
import json

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field

PNG = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
        "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
    )
).decode()


class Joke(BaseModel):
    """A joke."""

    setup: str = Field(description="The question.")
    punchline: str = Field(description="The answer.")


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


result = {}
model = ChatOpenAI(model="gpt-4o", temperature=0)
result["invoked"] = model.invoke([("system", "Be brief."), ("human", "Hello")]).content
result["streamed"] = "".join(chunk.content for chunk in model.stream("Hello"))

with_tools = model.bind_tools([multiply])
messages = [HumanMessage("What is 3 times 12? [rehearse: tool]")]
asked = with_tools.invoke(messages)
messages.append(asked)
messages += [ToolMessage(str(multiply.invoke(call["args"])), tool_call_id=call["id"]) for call in asked.tool_calls]
result["answer"] = with_tools.invoke(messages).content

result["by_schema"] = model.with_structured_output(Joke, method="json_schema").invoke("Tell a joke.").model_dump()
older = ChatOpenAI(model="claude-sonnet-4-5")
result["by_function"] = older.with_structured_output(Joke, method="function_calling").invoke("A joke.").model_dump()

image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
result["seen"] = model.invoke([HumanMessage([{"type": "text", "text": "What is this?"}, image])]).content
print(json.dumps(result))

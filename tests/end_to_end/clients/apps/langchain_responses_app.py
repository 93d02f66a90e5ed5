"""LangChain on the Responses API: invoke, stream, tools, structured output, state kept there, reasoning, an image."""

import base64
import json

from langchain_core.messages import AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field

PNG = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
        "0000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
    )
).decode()


class Movie(BaseModel):
    """A movie with details."""

    title: str = Field(description="The title.")
    year: int = Field(description="The year.")


@tool
def get_weather(city: str) -> str:
    """Get the weather in a city."""
    return f"sunny in {city}"


result = {}
model = ChatOpenAI(model="gpt-4o", use_responses_api=True)
invoked = model.invoke([SystemMessage("Be brief."), HumanMessage("Hello")])
result["invoked"] = invoked.text
result["id"] = invoked.response_metadata["id"]
result["tokens"] = invoked.usage_metadata["total_tokens"]
result["next"] = model.invoke("And again?", previous_response_id=result["id"]).text

whole = AIMessageChunk("")
result["chunks"] = 0
for chunk in model.stream("Count."):
    result["chunks"] += bool(chunk.text)
    whole += chunk
result["streamed"] = whole.text

with_tools = model.bind_tools([get_weather], strict=True)
messages = [HumanMessage("How is the weather in Paris?")]
asked = with_tools.invoke(messages)
result["calls"] = [(call["name"], call["args"]) for call in asked.tool_calls]
messages.append(asked)
messages += [ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"]) for call in asked.tool_calls]
result["answer"] = with_tools.invoke(messages).text

streamed_call = AIMessageChunk("")
for chunk in with_tools.stream("And in Rome?"):
    streamed_call += chunk
result["streamed_calls"] = [(call["name"], call["args"]) for call in streamed_call.tool_calls]

by_schema = model.with_structured_output(Movie, method="json_schema", include_raw=True)
result["by_schema"] = by_schema.invoke("Tell of Inception.")["parsed"].model_dump()
by_function = model.with_structured_output(Movie, method="function_calling")
result["by_function"] = by_function.invoke("Tell of Inception.").model_dump()

kept = ChatOpenAI(model="gpt-4o", use_previous_response_id=True, output_version="responses/v1")
history = [HumanMessage("I am Bob.")]
history.append(kept.invoke(history))
history.append(HumanMessage("Who am I?"))
result["kept"] = kept.invoke(history).text

thinker = ChatOpenAI(
    model="gpt-5.5",
    reasoning={"effort": "medium", "summary": "auto"},
    include=["reasoning.encrypted_content"],
    store=False,
    output_version="responses/v1",
)
thoughts = [HumanMessage("What is 3^3?")]
thought = thinker.invoke(thoughts)
result["reasoning"] = [block["type"] for block in thought.content]
result["summary"] = [part["text"] for part in thought.content[0]["summary"]]
result["thought"] = thinker.invoke([*thoughts, thought, HumanMessage("Sure?")]).text

image = {"type": "image", "base64": PNG, "mime_type": "image/png"}
result["seen"] = model.invoke([HumanMessage([{"type": "text", "text": "What is this?"}, image])]).text
print(json.dumps(result))

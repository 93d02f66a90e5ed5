"""openai-python's helpers: events of a stream, a parsed answer, and the loop of its function-calling guide."""

import json

from openai import BadRequestError, OpenAI
from pydantic import BaseModel

client = OpenAI()


class Step(BaseModel):
    """One step."""

    explanation: str
    output: str


class Reasoning(BaseModel):
    """A worked answer."""

    steps: list[Step]
    final_answer: str


def get_weather(city: str) -> str:
    """Return the weather."""
    return f"sunny in {city}"


tools = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Tell the weather.",
            "strict": True,
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    }
]

result = {}

with client.chat.completions.stream(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}]) as stream:
    result["events"] = [event.type for event in stream]
    result["streamed"] = stream.get_final_completion().choices[0].message.content

parsed = client.chat.completions.parse(
    model="gpt-4o", messages=[{"role": "user", "content": "solve 8x + 7 = -23"}], response_format=Reasoning
)
result["parsed"] = parsed.choices[0].message.parsed.model_dump()

messages = [{"role": "user", "content": "What is the weather? [rehearse: tool]"}]
first = client.chat.completions.create(model="gpt-4o", messages=messages, tools=tools).choices[0]
result["finish_reason"] = first.finish_reason
messages.append(first.message)
for call in first.message.tool_calls:
    answer = get_weather(**json.loads(call.function.arguments))
    messages.append({"role": "tool", "tool_call_id": call.id, "content": answer})
second = client.chat.completions.create(model="gpt-4o", messages=messages, tools=tools).choices[0]
result["answer"] = second.message.content

chunks = client.chat.completions.create(
    model="gpt-4o", messages=[{"role": "user", "content": "Hello"}], n=2, stream=True
)
texts = {0: "", 1: ""}
for chunk in chunks:
    for choice in chunk.choices:
        texts[choice.index] += choice.delta.content or ""
result["choices"] = texts

try:
    client.chat.completions.create(
        model="gpt-4o",
        messages=[{"role": "user", "content": "x"}],
        tools=[{"type": "function", "function": {"name": "bad name"}}],
    )
except BadRequestError as error:
    result["refused"] = [error.status_code, error.param]

print(json.dumps(result))

"""openai-python's Responses API beyond the first example: async, helpers of the stream, raw bodies, resuming, files."""

import asyncio
import base64
import json

import openai
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

PNG = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
        "0000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
    )
).decode()
PDF = base64.b64encode(b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n").decode()
MODEL = "gpt-4o"


class GetWeather(BaseModel):
    """Tell the weather."""

    city: str


class Step(BaseModel):
    """One step."""

    explanation: str
    output: str


class Solution(BaseModel):
    """A worked answer."""

    steps: list[Step]
    final_answer: str


async def ask_at_once(result: dict) -> None:
    """Ask three things at the same time, and stream one."""
    async with AsyncOpenAI() as client:
        answers = await asyncio.gather(*(client.responses.create(model=MODEL, input=f"Number {n}") for n in range(3)))
        result["gathered"] = sorted(answer.output_text for answer in answers)
        stream = await client.responses.create(model=MODEL, input="Stream.", stream=True)
        result["async"] = "".join([e.delta async for e in stream if e.type == "response.output_text.delta"])


def stream_with_helpers(client: OpenAI, result: dict) -> None:
    """Stream a tool's arguments and a parsed answer."""
    tool = openai.pydantic_function_tool(GetWeather)
    flat = {"type": "function", **tool["function"]}
    with client.responses.stream(
        model=MODEL, input="The weather?", tools=[flat], text_format=Solution, parallel_tool_calls=False
    ) as stream:
        seen = [e for e in stream if e.type == "response.function_call_arguments.delta"]
        (call,) = stream.get_final_response().output
    result["snapshot"], result["arguments"] = seen[-1].snapshot, call.arguments
    output = {
        "type": "function_call_output",
        "call_id": call.call_id,
        "output": [{"type": "input_text", "text": "sun"}],
    }
    again = [{"role": "user", "content": "The weather?"}, call.model_dump(exclude={"parsed_arguments"}), output]
    with client.responses.stream(model=MODEL, input=again, tools=[flat], text_format=Solution) as stream:
        result["done"] = [e.type for e in stream][-1]
        result["parsed"] = stream.get_final_response().output_parsed.model_dump()


def read_the_wire(client: OpenAI, result: dict) -> None:
    """Read an answer's bytes as they come, and its headers."""
    with client.responses.with_streaming_response.create(model=MODEL, input="Bytes.") as response:
        result["content_type"] = response.headers["content-type"].split(";")[0]
        result["raw"] = json.loads("".join(response.iter_text()))["object"]
    with client.responses.with_streaming_response.create(model=MODEL, input="Lines.", stream=True) as response:
        result["lines"] = [line.removeprefix("event: ") for line in response.iter_lines() if line.startswith("event: ")]


def resume(client: OpenAI, result: dict) -> None:
    """Leave a background stream in the middle and take it up where it was left."""
    events = client.responses.create(model=MODEL, input="Count.", background=True, stream=True)
    text, id, cursor = "", None, None
    for event in events:
        id = event.response.id if event.type == "response.created" else id
        cursor = event.sequence_number
        if event.type == "response.output_text.delta":
            text += event.delta
            break
    events.close()
    for event in client.responses.retrieve(id, stream=True, starting_after=cursor):
        text += event.delta if event.type == "response.output_text.delta" else ""
    result["resumed"] = text
    held = client.responses.create(model=MODEL, input="Never mind.", background=True, stream=True)
    for event in held:
        # What is cancelled before it was asked is not there to be counted.
        id = event.response.id if event.type == "response.created" else id
        if event.type == "response.output_text.delta":
            break
    held.close()
    result["cancelled"] = client.responses.cancel(id).status


def keep(client: OpenAI, result: dict) -> None:
    """Change and delete a conversation, and one of its items."""
    conversation = client.conversations.create(metadata={"topic": "demo"})
    client.responses.create(model=MODEL, input="Hello", conversation={"id": conversation.id})
    result["topic"] = client.conversations.update(conversation.id, metadata={"topic": "tea"}).metadata
    first, second = client.conversations.items.list(conversation.id, order="asc")
    result["read"] = client.conversations.items.retrieve(second.id, conversation_id=conversation.id).content[0].text
    client.conversations.items.delete(first.id, conversation_id=conversation.id)
    result["left"] = [item.role for item in client.conversations.items.list(conversation.id)]
    result["gone"] = client.conversations.delete(conversation.id).deleted
    try:
        client.conversations.retrieve(conversation.id)
    except openai.NotFoundError as error:
        result["missing"] = error.status_code


def look(client: OpenAI, result: dict) -> None:
    """Send an image and a file."""
    content = [
        {"type": "input_text", "text": "What are these?"},
        {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "low"},
        {"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"},
    ]
    result["seen"] = client.responses.create(model=MODEL, input=[{"role": "user", "content": content}]).output_text


result: dict = {}
asyncio.run(ask_at_once(result))
with OpenAI(max_retries=0) as client:
    for part in (stream_with_helpers, read_the_wire, resume, keep, look):
        part(client, result)
print(json.dumps(result))

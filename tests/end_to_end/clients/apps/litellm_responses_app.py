"""LiteLLM's responses(): whole, streamed, asynchronous, with a tool, by the last one's id, read again and deleted."""

import asyncio
import json

import litellm

MODEL = "openai/gpt-4o"
TOOL = {
    "type": "function",
    "name": "look_up",
    "parameters": {"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]},
}


def text(response: object) -> str:
    """Return the text of a response."""
    return "".join(part.text for item in response.output if item.type == "message" for part in item.content)


async def ask() -> str:
    """Ask without blocking."""
    return text(await litellm.aresponses(model=MODEL, input="Hello", max_output_tokens=100))


whole = litellm.responses(model=MODEL, input="Hello", instructions="Be brief.")
events = list(litellm.responses(model=MODEL, input="Count.", stream=True))
asked = litellm.responses(model=MODEL, input="What is it?", tools=[TOOL])
(call,) = [item for item in asked.output if item.type == "function_call"]
outputs = [{"type": "function_call_output", "call_id": call.call_id, "output": "42"}]
answer = litellm.responses(model=MODEL, input=outputs, tools=[TOOL], previous_response_id=asked.id)
result = {
    "whole": text(whole),
    "types": [str(getattr(event.type, "value", event.type)) for event in events],
    "streamed": "".join(event.delta for event in events if event.type == "response.output_text.delta"),
    "arguments": call.arguments,
    "answer": text(answer),
    "asynchronous": asyncio.run(ask()),
    "again": text(litellm.get_responses(response_id=whole.id)),
    "deleted": litellm.delete_responses(response_id=whole.id).deleted,
}
print(json.dumps(result))

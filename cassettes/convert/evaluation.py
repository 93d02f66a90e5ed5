"""Writes JSON lines for OpenAI's evaluations and fine-tuning: the messages, with the answer last, and the tools."""

from collections.abc import Iterable, Iterator
from typing import Any

from cassettes.format import Entry, encode_line


def to_lines(entries: Iterable[Entry]) -> Iterator[str | None]:
    """Yield a line for each entry, or None if the entry has no complete chat completion."""
    for entry in entries:
        yield _line(entry)


def _line(entry: Entry) -> str | None:
    asked, answered = entry.request.json, entry.message
    if entry.how != "done" or entry.status != 200 or not isinstance(asked, dict) or not isinstance(answered, dict):
        return None
    messages, choices = asked.get("messages"), answered.get("choices")
    if not isinstance(messages, list) or not isinstance(choices, list) or not choices:
        return None
    message = choices[0].get("message") if isinstance(choices[0], dict) else None
    if not isinstance(message, dict):
        return None
    told: dict[str, Any] = {"role": "assistant", "content": message.get("content")}
    told |= {name: message[name] for name in ("tool_calls", "function_call", "refusal") if message.get(name)}
    line = {"messages": [*messages, told]}
    line |= {name: asked[name] for name in ("tools", "functions", "parallel_tool_calls") if name in asked}
    return encode_line(line).decode()

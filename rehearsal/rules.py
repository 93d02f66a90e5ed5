"""The requests that the API refuses. Pure. The rules come from Anthropic's documentation or from recorded errors.

A rule yields the message of the 400, in the API's own words as far as they are known.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from rehearsal.tokens import content_blocks

_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_TOOL_NAME_MESSAGE = "String should match pattern '^[a-zA-Z0-9_-]{1,128}$'"
# Claude Code sends messages of the role system between the turns, with a beta header.
_ROLES = ("user", "assistant", "system")


def refusals(body: Mapping[str, Any], *, counting: bool = False) -> Iterator[str]:
    """Yield the errors of a request. The API reports the first. `counting`: for count_tokens, without max_tokens."""
    if not isinstance(body.get("model"), str) or not body["model"]:
        yield "model: Field required" if "model" not in body else "model: Input should be a valid string"
    if not counting:
        yield from _max_tokens(body)
    yield from _ranges(body)
    system = body.get("system") or ""
    if not isinstance(system, str) and not (
        isinstance(system, list) and all(isinstance(part, dict) for part in system)
    ):
        yield "system: Input should be a valid list"
    messages = body.get("messages")
    if not isinstance(messages, list):
        yield "messages: Field required" if messages is None else "messages: Input should be a valid list"
    elif not messages:
        yield "messages: at least one message is required"
    else:
        problems = list(_messages(messages))
        yield from problems or _tool_results(messages)
    yield from _tools(body)


def _max_tokens(body: Mapping[str, Any]) -> Iterator[str]:
    limit = body.get("max_tokens")
    if limit is None:
        yield "max_tokens: Field required"
    elif not isinstance(limit, int) or isinstance(limit, bool):
        yield "max_tokens: Input should be a valid integer"
    elif limit < 1:
        yield "max_tokens: must be greater than or equal to 1"


def _ranges(body: Mapping[str, Any]) -> Iterator[str]:
    for name in ("temperature", "top_p"):
        value = body.get(name)
        if value is not None and not (isinstance(value, int | float) and 0 <= value <= 1):
            yield f"{name}: range: 0..1"
    stops = body.get("stop_sequences") or []
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        yield "stop_sequences: Input should be a valid list"
    elif not all(stop.strip() for stop in stops):
        yield "stop_sequences: each stop sequence must contain non-whitespace"


def _messages(messages: list[Any]) -> Iterator[str]:
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            yield f"messages.{index}: Input should be a valid dictionary or object to extract fields from"
        elif message.get("role") not in _ROLES:
            yield f"messages.{index}.role: Input should be 'user' or 'assistant'"
        elif not isinstance(message.get("content"), str | list):
            yield f"messages.{index}.content: Field required"
        elif not all(isinstance(block, dict) and "type" in block for block in content_blocks(message)):
            yield f"messages.{index}.content: Input should be a valid list of content blocks"
        elif not message["content"] and message["role"] == "user":
            yield f"messages.{index}: user messages must have non-empty content"
        elif any(block["type"] == "text" and not block.get("text") for block in content_blocks(message)):
            yield "messages: text content blocks must be non-empty"


def _tool_results(messages: list[Any]) -> Iterator[str]:
    """Check that each turn has the results of exactly the tool_use blocks of the turn before it."""
    turns = [(index, message) for index, message in enumerate(messages) if message["role"] != "system"]
    open_ids: list[str] = []
    for place, (index, message) in enumerate(turns):
        blocks = content_blocks(message)
        answered = [block.get("tool_use_id") for block in blocks if block["type"] == "tool_result"]
        for position, block in enumerate(blocks):
            if block["type"] == "tool_result" and block.get("tool_use_id") not in open_ids:
                yield (
                    f"messages.{index}.content.{position}: unexpected `tool_use_id` found in `tool_result` blocks: "
                    f"{block.get('tool_use_id')}. Each `tool_result` block must have a corresponding `tool_use` block "
                    "in the previous message."
                )
        missing = [name for name in open_ids if name not in answered]
        if missing:
            yield (
                f"messages.{turns[place - 1][0]}: `tool_use` ids were found without `tool_result` blocks immediately "
                f"after: {', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` block in "
                "the next message."
            )
        open_ids = [str(block.get("id")) for block in blocks if block["type"] == "tool_use"]


def _tools(body: Mapping[str, Any]) -> Iterator[str]:
    tools = body.get("tools") or []
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        yield "tools: Input should be a valid list"
        return
    names = [tool.get("name") for tool in tools]
    for index, tool in enumerate(tools):
        if not isinstance(tool.get("name"), str) or not _TOOL_NAME.fullmatch(tool["name"]):
            yield f"tools.{index}.custom.name: {_TOOL_NAME_MESSAGE}"
        elif tool["name"] in names[:index]:
            yield "tools: Tool names must be unique."
        elif tool.get("type") in (None, "custom") and not isinstance(tool.get("input_schema"), dict):
            yield f"tools.{index}.custom.input_schema: Field required"
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        if choice.get("type") == "tool" and choice.get("name") not in names:
            yield f"Tool '{choice.get('name')}' not found in provided tools"
        elif choice.get("type") == "any" and not tools:
            yield "tool_choice.any may only be specified while providing tools"
    elif choice is not None:
        yield "tool_choice: Input should be a valid dictionary or object to extract fields from"

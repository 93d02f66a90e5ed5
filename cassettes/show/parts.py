"""Reads messages of all API formats into the same parts.

Content and tool calls of Chat Completions, items of Responses, Claude's content blocks and the legacy prompt all become
:class:`Said`. An app may have sent malformed messages. What cannot be read becomes a part of the kind ``other``; it is
never dropped.
Shapes: OpenAI's API reference (messages, input items), https://docs.anthropic.com/en/api/messages (content blocks).
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cassettes.openai_bodies import array, inner, mapping
from cassettes.show.safe import blob, size, without_blobs

type Kind = Literal[
    "text", "reasoning", "refusal", "tool_call", "tool_result", "image", "audio", "file", "reference", "other"
]

TEXTS: Mapping[str, tuple[str, Kind]] = {  # type of a part -> the key of its text, its kind
    "text": ("text", "text"),
    "input_text": ("text", "text"),
    "output_text": ("text", "text"),
    "summary_text": ("text", "reasoning"),
    "reasoning_text": ("text", "reasoning"),
    "thinking": ("thinking", "reasoning"),
    "refusal": ("refusal", "refusal"),
    "encrypted_content": ("encrypted_content", "text"),  # in a message from one agent to another
}
CALLS = frozenset({"function_call", "custom_tool_call", "tool_search_call", "tool_use", "server_tool_use"})
RESULTS = frozenset({"function_call_output", "custom_tool_call_output", "tool_result"})
MEDIA: Mapping[str, Kind] = {  # type of a part -> its kind
    "image_url": "image",
    "input_image": "image",
    "image": "image",
    "input_audio": "audio",
    "output_audio": "audio",
    "audio": "audio",
    "file": "file",
    "input_file": "file",
    "document": "file",
}
# The keys that can hold a part's content: {"image_url": {"url": …}}, {"source": {"data": …}}, {"file_data": …}.
CONTENTS = ("image_url", "source", "input_audio", "audio", "file", "url", "data", "file_data", "file_url", "file_id")


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of a message.

    ``text``: the text. For a tool call, its arguments. For an image, audio or file, a description (``image/png,
    12.3 kB``). ``name``: the name of a tool or a file. ``id``: the id of a tool call; a result has the id of its call.
    """

    kind: Kind
    text: str
    name: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """One message: its role and its parts."""

    role: str
    parts: tuple[Part, ...]


def said(message: Any) -> Said:
    """Read a message of Chat Completions or of Claude, or an item of ``input`` or ``output`` of Responses."""
    if isinstance(message, str):
        return Said("user", (Part("text", message),))
    if not isinstance(message, Mapping):
        return Said("?", (_other(message),))
    kind = message.get("type")
    if kind == "agent_message":
        return Said("agent", tuple(content(message.get("content"))))
    if "role" not in message and isinstance(kind, str) and kind != "message":
        return Said(_role_of_item(kind), tuple(_item(message, kind)))
    role = text_of(message.get("role")) or "?"
    return Said(role, tuple(_message_parts(message, role)))


def _role_of_item(kind: str) -> str:
    if kind in RESULTS or kind.endswith("_output"):
        return "tool"
    return "user" if kind.startswith("input_") or kind == "item_reference" else "assistant"


def _message_parts(message: Mapping[str, Any], role: str) -> Iterator[Part]:
    for name in ("reasoning_content", "reasoning"):
        if isinstance(message.get(name), str) and message[name]:
            yield Part("reasoning", message[name])
            break
    if role in ("tool", "function"):
        result = "".join(part.text for part in content(message.get("content")) if part.kind == "text")
        media = [part for part in content(message.get("content")) if part.kind != "text"]
        yield Part("tool_result", result, text_of(message.get("name")), text_of(message.get("tool_call_id")))
        yield from media
    else:
        yield from content(message.get("content"))
    if isinstance(message.get("refusal"), str) and message["refusal"]:
        yield Part("refusal", message["refusal"])
    if isinstance(message.get("audio"), Mapping):
        yield _medium(message["audio"], "audio")
    yield from calls(message)


def calls(message: Mapping[str, Any]) -> Iterator[Part]:
    """Read the tool calls of a chat message, and the older ``function_call``."""
    listed = message.get("tool_calls")
    for call in listed if isinstance(listed, list) else [] if listed is None else [listed]:
        if not isinstance(call, Mapping):
            yield _other(call)
            continue
        named = mapping(inner(call))
        arguments = named.get("arguments", named.get("input"))
        yield Part("tool_call", text_of(arguments), text_of(named.get("name")), text_of(call.get("id")))
    if isinstance(older := message.get("function_call"), Mapping):
        yield Part("tool_call", text_of(older.get("arguments")), text_of(older.get("name")))


def content(value: Any) -> Iterator[Part]:
    """Read a message's content: a text, a list of parts, or nothing."""
    if isinstance(value, str):
        if value:
            yield Part("text", value)
    elif isinstance(value, list):
        for part in value:
            if isinstance(part, str):
                yield Part("text", part)
            elif isinstance(part, Mapping):
                yield from _item(part, text_of(part.get("type")))
            else:
                yield _other(part)
    elif isinstance(value, Mapping):
        yield from _item(value, text_of(value.get("type")))
    elif value is not None:
        yield _other(value)


def _item(item: Mapping[str, Any], kind: str) -> Iterator[Part]:
    """Read a part of a message's content, or an item that is not a message."""
    if kind in TEXTS:
        key, what = TEXTS[kind]
        yield Part(what, text_of(item.get(key)))
    elif kind in CALLS:
        id = text_of(item.get("call_id") or item.get("id"))
        yield Part("tool_call", text_of(item.get("arguments", item.get("input"))), text_of(item.get("name")), id)
    elif kind in RESULTS:
        output = item.get("output", item.get("content"))
        parts = list(content(output)) if isinstance(output, (str, list)) else [Part("text", text_of(output))]
        id = text_of(item.get("call_id") or item.get("tool_use_id"))
        yield Part("tool_result", "".join(part.text for part in parts if part.kind == "text"), "", id)
        yield from (part for part in parts if part.kind != "text")
    elif kind in ("web_search_call", "mcp_call", "mcp_list_tools", "tool_search_output"):
        yield from _of_servers(item, kind)
    elif kind == "compaction":
        yield Part("reasoning", "(notes on the conversation so far, encrypted)")
    elif kind == "reasoning":
        yield from _reasoning(item)
    elif kind == "redacted_thinking":
        yield Part("reasoning", "(encrypted)")
    elif kind == "item_reference":
        yield Part("reference", text_of(item.get("id")))
    elif kind in MEDIA:
        yield _medium(item, MEDIA[kind])
    else:
        yield _other(item)


def _of_servers(item: Mapping[str, Any], kind: str) -> Iterator[Part]:
    """Read an item of a server-side tool: a web search, an MCP call with its result, or a list of tools."""
    id, label = text_of(item.get("id")), text_of(item.get("server_label"))
    if kind == "web_search_call":
        query = text_of(mapping(item.get("action")).get("query"))
        yield Part("tool_call", query, "web_search", id)
    elif kind == "mcp_call":
        yield Part("tool_call", text_of(item.get("arguments")), f"{label}.{text_of(item.get('name'))}", id)
        if (given := item.get("error") or item.get("output")) is not None:
            yield Part("tool_result", text_of(given), "", id)
    else:
        names = [text_of(tool.get("name")) for tool in array(item.get("tools")) if isinstance(tool, Mapping)]
        yield Part("tool_result", f"tools: {', '.join(names)}", label, text_of(item.get("call_id")) or id)


def _reasoning(item: Mapping[str, Any]) -> Iterator[Part]:
    found = [*content(item.get("content")), *content(item.get("summary"))]
    if found:
        yield from (Part("reasoning", part.text) for part in found)
    elif item.get("encrypted_content"):
        yield Part("reasoning", "(encrypted)")


def _medium(item: Mapping[str, Any], kind: Kind) -> Part:
    nested_in = item
    while nested := next((nested_in[key] for key in CONTENTS if isinstance(nested_in.get(key), Mapping)), None):
        nested_in = nested
    name = text_of(nested_in.get("filename") or nested_in.get("title") or item.get("filename"))
    value = next((nested_in[key] for key in CONTENTS if isinstance(nested_in.get(key), str)), None)
    if value is None:
        known = next((item[key] for key in CONTENTS if isinstance(item.get(key), str)), None)
        return Part(kind, known if known is not None else _compact(item), name)
    told = text_of(nested_in.get("media_type") or nested_in.get("format"))
    if (data := blob(value)) is not None:
        return Part(kind, f"{told or data[0]}, {size(len(data[1]))}", name)
    if len(value) > 200:
        return Part(kind, f"{told or 'unknown'}, {len(value)} characters", name)
    return Part(kind, ", ".join(word for word in (told, value) if word), name)


def _other(value: Any) -> Part:
    name = text_of(value.get("type")) if isinstance(value, Mapping) else ""
    return Part("other", _compact(value), name)


def text_of(value: Any) -> str:
    """Return a text unchanged, "" for None, and JSON for any other value."""
    if isinstance(value, str):
        return value
    return "" if value is None else _compact(value)


def _compact(value: Any) -> str:
    return json.dumps(without_blobs(value), ensure_ascii=False)

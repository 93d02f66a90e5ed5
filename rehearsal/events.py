"""Builds, writes and folds Anthropic's stream events. Pure.

A block of an answer is split into deltas of one token each (see `tokens`), so the number of deltas is the number of
output tokens. The events have the same fields as in recorded streams.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rehearsal.tokens import pieces

type Event = dict[str, Any]

CITED = "This page is rehearsed: nothing was searched."

# The signature of a thinking block is opaque. This one is base64 of "rehearsal, not a signature".
SIGNATURE = "cmVoZWFyc2FsLCBub3QgYSBzaWduYXR1cmU="


@dataclass(frozen=True, slots=True)
class Thinking:
    """A thinking block."""

    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """A text block. ``cites`` is the URL of a found page that it cites."""

    text: str
    cites: str | None = None


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A tool_use block. `input_json` is the streamed text, complete or cut."""

    id: str
    name: str
    input_json: str


@dataclass(frozen=True, slots=True)
class Search:
    """A server_tool_use block: a web search by the API itself. `input_json` is the streamed text."""

    id: str
    input_json: str


@dataclass(frozen=True, slots=True)
class Found:
    """A web_search_tool_result block: the pages that the search with this id found. It is sent in one piece."""

    id: str
    urls: tuple[str, ...]


type Block = Thinking | Text | ToolUse | Search | Found


@dataclass(frozen=True, slots=True)
class Message:
    """A whole answer, before it is split into events."""

    id: str
    model: str
    blocks: tuple[Block, ...]
    stop_reason: str
    usage: Mapping[str, Any]
    """The input side of the usage: input_tokens, the cache counts, service_tier."""
    stop_sequence: str | None = None
    stop_details: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of message_delta, for example context_management."""


DELTAS: Mapping[type[Block], tuple[str, str]] = {
    Thinking: ("thinking_delta", "thinking"),
    Text: ("text_delta", "text"),
    ToolUse: ("input_json_delta", "partial_json"),
    Search: ("input_json_delta", "partial_json"),
}
"""For each kind of block: the type of its deltas, and the key of their text."""


def block_text(block: Block) -> str:
    """Return the text of a block that is streamed and counted."""
    match block:
        case ToolUse() | Search():
            return block.input_json
        case Found():
            return ""
        case _:
            return block.text


def output_tokens(blocks: Iterable[Block]) -> int:
    """Return the number of tokens of an answer. It is also the number of its deltas."""
    return sum(len(pieces(block_text(block))) for block in blocks)


def events_of(message: Message) -> Iterator[Event]:
    """Yield the events of a message in order, from message_start to message_stop."""
    yield _message_start(message)
    if not message.blocks:
        yield {"type": "ping"}
    for index, block in enumerate(message.blocks):
        yield {"type": "content_block_start", "index": index, "content_block": _empty(block)}
        if index == 0:
            yield {"type": "ping"}
        yield from _deltas(index, block)
        yield {"type": "content_block_stop", "index": index}
    yield _message_delta(message)
    yield {"type": "message_stop"}


def is_delta(event: Event) -> bool:
    """Return whether an event has a token. The pace, the gates and max_tokens count these events."""
    if event.get("type") != "content_block_delta":
        return False
    delta = event.get("delta")
    return isinstance(delta, dict) and any(delta.get(key) for key in ("text", "thinking", "partial_json"))


def encode(event: Event) -> bytes:
    """Return an event in the format of server-sent events."""
    return f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


def parse_sse(text: str) -> list[tuple[bytes, Event]]:
    """Split recorded SSE text into events: the exact bytes, and the decoded data ({} if it is not JSON)."""
    parts = text.replace("\r\n", "\n").split("\n\n")
    return [((part + "\n\n").encode(), _data_of(part)) for part in parts if part.strip()]


def fold(events: Iterable[Event]) -> dict[str, Any]:
    """Fold a stream into the body of the answer without streaming.

    If the stream has an error event, return Anthropic's error body. A tool input that was cut is {}.
    """
    message: dict[str, Any] = {}
    partial: dict[int, str] = {}
    for event in events:
        match event.get("type"):
            case "message_start":
                message = json.loads(json.dumps(event["message"]))
            case "content_block_start":
                message["content"].append(dict(event["content_block"]))
            case "content_block_delta":
                _add_delta(message["content"][event["index"]], event["delta"], partial, event["index"])
            case "message_delta":
                message.update(event["delta"])
                message["usage"].update(event["usage"])
                message.update({k: v for k, v in event.items() if k not in ("type", "delta", "usage")})
            case "error":
                return event
    for index, text in partial.items():
        message["content"][index]["input"] = _parsed_input(text)
    return message


def _message_start(message: Message) -> Event:
    return {
        "type": "message_start",
        "message": {
            "model": message.model,
            "id": message.id,
            "type": "message",
            "role": "assistant",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "stop_details": None,
            "usage": {**message.usage, "output_tokens": min(1, output_tokens(message.blocks))},
        },
    }


def _message_delta(message: Message) -> Event:
    counted = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    usage: dict[str, Any] = {key: message.usage[key] for key in counted}
    usage["output_tokens"] = output_tokens(message.blocks)
    if searches := sum(isinstance(block, Search) for block in message.blocks):
        usage["server_tool_use"] = {"web_search_requests": searches}
    thinking = output_tokens(block for block in message.blocks if isinstance(block, Thinking))
    if thinking:
        usage["output_tokens_details"] = {"thinking_tokens": thinking}
    delta = {
        "stop_reason": message.stop_reason,
        "stop_sequence": message.stop_sequence,
        "stop_details": message.stop_details,
    }
    return {"type": "message_delta", "delta": delta, "usage": usage, **message.extra}


def _empty(block: Block) -> dict[str, Any]:
    match block:
        case Thinking():
            return {"type": "thinking", "thinking": "", "signature": ""}
        case Text(cites=str()):
            return {"type": "text", "text": "", "citations": []}
        case Text():
            return {"type": "text", "text": ""}
        case Search():
            return {"type": "server_tool_use", "id": block.id, "name": "web_search", "input": {}}
        case Found():
            results = [
                {**_page(url), "type": "web_search_result", "encrypted_content": SIGNATURE} for url in block.urls
            ]
            return {"type": "web_search_tool_result", "tool_use_id": block.id, "content": results}
        case ToolUse():
            return {"type": "tool_use", "id": block.id, "name": block.name, "input": {}}


def _deltas(index: int, block: Block) -> Iterator[Event]:
    if isinstance(block, Found):
        return
    kind, key = DELTAS[type(block)]
    texts: Sequence[str] = pieces(block_text(block))
    if isinstance(block, ToolUse | Search):
        texts = ["", *texts]  # Claude's first piece of a tool's input is empty
    for text in texts:
        yield {"type": "content_block_delta", "index": index, "delta": {"type": kind, key: text}}
    if isinstance(block, Text) and block.cites is not None:
        citation = {
            **_page(block.cites),
            "type": "web_search_result_location",
            "cited_text": CITED,
            "encrypted_index": SIGNATURE,
        }
        yield {
            "type": "content_block_delta",
            "index": index,
            "delta": {"type": "citations_delta", "citation": citation},
        }
    if isinstance(block, Thinking):
        delta = {"type": "signature_delta", "signature": SIGNATURE}
        yield {"type": "content_block_delta", "index": index, "delta": delta}


def _page(url: str) -> dict[str, str]:
    return {"url": url, "title": "A rehearsed page"}


def _add_delta(block: dict[str, Any], delta: Mapping[str, Any], partial: dict[int, str], index: int) -> None:
    match delta.get("type"):
        case "text_delta":
            block["text"] += delta["text"]
        case "thinking_delta":
            block["thinking"] += delta["thinking"]
        case "signature_delta":
            block["signature"] = delta["signature"]
        case "citations_delta":
            block["citations"] = [*(block.get("citations") or []), delta["citation"]]
        case "input_json_delta":
            partial[index] = partial.get(index, "") + delta["partial_json"]


def _parsed_input(text: str) -> Any:
    try:
        return json.loads(text or "{}")
    except ValueError:
        return {}


def _data_of(part: str) -> Event:
    lines = [line.removeprefix("data:").removeprefix(" ") for line in part.split("\n") if line.startswith("data:")]
    try:
        data = json.loads("\n".join(lines))
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}

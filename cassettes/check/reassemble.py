"""Rebuilds the recorded bytes of an answer from its ``message``, after the message was edited by hand."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cassettes.assemble import assemble, is_event_stream
from cassettes.files import all_files
from cassettes.format import Chunk, Entry, LineError, Problem, decode_line, encode_line
from cassettes.read import raw_lines, read
from storage.private_files import replacing_private_file

_PIECE = re.compile(r"\s*\S+|\s+$")


def reassembled(entry: Entry) -> list[Chunk] | None:
    """Return new chunks for an entry's message. Return None if the recorded chunks already give this message.

    The new chunks are spread evenly over the recorded time. Raises ValueError if the message cannot be a stream.
    """
    content_type = entry.headers.get("content-type", "")
    kind = content_type if isinstance(content_type, str) else ""
    if entry.message is None or assemble(kind, entry.body) == entry.message:
        return None
    if not is_event_stream(kind):
        data = json.dumps(entry.message, ensure_ascii=False, separators=(",", ":")).encode()
        return [Chunk(entry.chunks[-1].at_ms if entry.chunks else entry.ms, data)]
    events = [*events_for(entry.message, entry.request.json)]
    first = entry.chunks[0].at_ms if entry.chunks else 0.0
    last = entry.chunks[-1].at_ms if entry.chunks else entry.ms
    step = (last - first) / max(len(events) - 1, 1)
    return [Chunk(round(first + number * step, 3), data) for number, data in enumerate(events)]


def events_for(message: Any, request: Any = None) -> Iterator[bytes]:
    """Yield the events of a stream that gives this message. Raises ValueError if it is not a known kind of answer."""
    match message.get("object") if isinstance(message, Mapping) else None:
        case "chat.completion":
            yield from _chat(message, request)
        case "response":
            yield from _response(message)
        case "text_completion":
            yield from _completion(message)
        case kind:
            raise ValueError(f"the message's object is {kind!r}, which is not an answer that can be streamed")


def _pieces(text: Any) -> list[str]:
    return _PIECE.findall(text) if isinstance(text, str) else []


def _data(value: Any) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def _chat(message: Mapping[str, Any], request: Any) -> Iterator[bytes]:
    head = {name: value for name, value in message.items() if name not in ("choices", "usage")}
    head["object"] = "chat.completion.chunk"
    options = request.get("stream_options") if isinstance(request, Mapping) else None
    has_usage = bool(isinstance(options, Mapping) and options.get("include_usage")) and "usage" in message
    null = {"usage": None} if has_usage else {}
    for place, choice in enumerate(message.get("choices") or []):
        index = choice.get("index", place)
        told = choice.get("message") or {}
        others = {name: value for name, value in choice.items() if name not in ("index", "message", "finish_reason")}

        def chunk(delta: dict[str, Any], finish: Any = None, index: int = index, **more: Any) -> bytes:
            one = {"index": index, "delta": delta, **more, "finish_reason": finish}
            return _data({**head, "choices": [one], **null})

        first: dict[str, Any] = {"role": told.get("role", "assistant")}
        first["content"] = "" if told.get("content") is not None else None
        yield chunk(first)
        for name, value in told.items():
            if name in ("role", "tool_calls", "function_call") or value is None:
                continue
            if isinstance(value, str):
                for piece in _pieces(value):
                    yield chunk({name: piece})
            else:
                yield chunk({name: value})
        for number, call in enumerate(told.get("tool_calls") or []):
            function = call.get("function") or {}
            begin = {**call, "index": number, "function": {**function, "arguments": ""}}
            yield chunk({"tool_calls": [begin]})
            for piece in _pieces(function.get("arguments")):
                yield chunk({"tool_calls": [{"index": number, "function": {"arguments": piece}}]})
        if called := told.get("function_call"):
            yield chunk({"function_call": {**called, "arguments": ""}})
            for piece in _pieces(called.get("arguments")):
                yield chunk({"function_call": {"arguments": piece}})
        yield chunk({}, choice.get("finish_reason"), **others)
    if has_usage:
        yield _data({**head, "choices": [], "usage": message["usage"]})
    yield b"data: [DONE]\n\n"


def _completion(message: Mapping[str, Any]) -> Iterator[bytes]:
    head = {name: value for name, value in message.items() if name not in ("choices", "usage")}
    for place, choice in enumerate(message.get("choices") or []):
        known = {"index": choice.get("index", place), "logprobs": choice.get("logprobs")}
        for piece in _pieces(choice.get("text")):
            yield _data({**head, "choices": [{"text": piece, **known, "finish_reason": None}]})
        yield _data({**head, "choices": [{"text": "", **known, "finish_reason": choice.get("finish_reason")}]})
    if message.get("usage") is not None:
        yield _data({**head, "choices": [], "usage": message["usage"]})
    yield b"data: [DONE]\n\n"


def _response(response: Mapping[str, Any]) -> Iterator[bytes]:
    number = 0

    def event(kind: str, **fields: Any) -> bytes:
        nonlocal number
        told = {"type": kind, **fields, "sequence_number": number}
        number += 1
        return f"event: {kind}\n".encode() + _data(told)

    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    begun |= {name: None for name in ("completed_at", "incomplete_details", "error") if name in response}
    yield event("response.created", response=begun)
    yield event("response.in_progress", response=begun)
    for place, item in enumerate(response.get("output") or []):
        at = {"output_index": place, "item_id": item.get("id")}
        empty = {**item, "status": "in_progress"} if "status" in item else dict(item)
        empty |= {name: blank for name, blank in (("content", []), ("summary", []), ("arguments", "")) if name in item}
        yield event("response.output_item.added", output_index=place, item=empty)
        for name, parts in (("summary", item.get("summary")), ("content", item.get("content"))):
            for part_place, part in enumerate(parts or []):
                yield from _part(event, at, name, part_place, part)
        if item.get("type") == "function_call":
            for piece in _pieces(item.get("arguments")):
                yield event("response.function_call_arguments.delta", **at, delta=piece)
            yield event(
                "response.function_call_arguments.done", **at, name=item.get("name"), arguments=item["arguments"]
            )
        yield event("response.output_item.done", output_index=place, item=item)
    status = response.get("status")
    last = status if status in ("incomplete", "failed") else "completed"
    yield event(f"response.{last}", response=dict(response))


def _part(event: Any, at: dict[str, Any], name: str, place: int, part: Mapping[str, Any]) -> Iterator[bytes]:
    if name == "summary":
        stem, part_stem, key, index = "reasoning_summary_text", "reasoning_summary_part", "text", "summary_index"
    else:
        refusal = part.get("type") == "refusal"
        stem, key = ("refusal", "refusal") if refusal else ("output_text", "text")
        part_stem, index = "content_part", "content_index"
    where = {**at, index: place}
    more: dict[str, Any] = {"logprobs": []} if stem == "output_text" else {}
    yield event(f"response.{part_stem}.added", **where, part={**part, key: ""})
    for piece in _pieces(part.get(key)):
        yield event(f"response.{stem}.delta", **where, delta=piece, **more)
    yield event(f"response.{stem}.done", **where, **{key: part.get(key)}, **more)
    yield event(f"response.{part_stem}.done", **where, part=dict(part))


def rewrite(path: Path) -> tuple[list[str], list[str]]:
    """Make the bytes of every edited entry of a cassette anew, in place.

    Returns (the ids of what was made anew, what is wrong with others). Raises OSError.
    """
    problems: list[str] = []
    changed: dict[Path, dict[str, list[Chunk]]] = {}
    done: list[str] = []
    for found in read(path):
        if isinstance(found, Problem):
            problems.append(str(found))
            continue
        try:
            chunks = reassembled(found)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            problems.append(f"{found.file.name}: the message of {found.id} cannot be made a stream: {error}")
            continue
        if chunks is not None:
            changed.setdefault(found.file, {})[found.id] = chunks
            done.append(found.id)
    for file in all_files(path):
        if entries := changed.get(file):
            _rewrite_file(file, entries)
    return done, problems


def _rewrite_file(file: Path, changed: Mapping[str, list[Chunk]]) -> None:
    with replacing_private_file(file) as out:
        blocks: dict[str, list[dict[str, Any]]] = {}
        for raw in raw_lines(file):
            try:
                line = decode_line(raw.raw)
            except LineError:
                out.write(raw.raw)
                continue
            if line.id not in changed:
                out.write(raw.raw)
                continue
            blocks.setdefault(line.id, []).append(json.loads(raw.raw))
            if isinstance(line.end, str):
                for fields in _block(blocks.pop(line.id), changed[line.id]):
                    out.write(encode_line(fields))


def _block(lines: list[dict[str, Any]], chunks: list[Chunk]) -> Iterator[dict[str, Any]]:
    """Return an entry's lines with other chunks in them, numbered anew."""
    id = lines[0]["id"]
    kept = [line for line in lines if not line.keys() & {"chunk", "chunk_base64"}]
    end = kept.pop()
    added = [{"id": id, "n": 0, "at": chunk.at_ms, "chunk": chunk.data.decode()} for chunk in chunks]
    # By time; the head of the answer stands before what follows it.
    for number, line in enumerate([kept[0], *sorted([*kept[1:], *added], key=lambda line: line.get("at", 0.0)), end]):
        yield {**line, "n": number}

"""Makes the answer to one request. Pure: from a request and a `Reply` to a `Score`, the bytes to send in steps."""

import contextlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rehearsal import directives
from rehearsal.errors import error_body, error_message, error_status, error_type
from rehearsal.events import (
    Block,
    Event,
    Found,
    Message,
    Search,
    Text,
    Thinking,
    ToolUse,
    block_text,
    encode,
    events_of,
    fold,
    is_delta,
    parse_sse,
)
from rehearsal.example import example
from rehearsal.reply import Fault, FaultKind, Reply, ToolCall
from rehearsal.tokens import TOKEN_CHARS, content_blocks, count, with_counts

SEARCH_TYPE = "web_search_"
FOUND_URL = "https://example.com/rehearsal"
QUOTE_CHARS = 400
# The proxy's instructions in the system prompt, for what the API has no parameter for. A model would follow them.
_TOLD_TO_CALL = re.compile(
    r"Answer by calling (the tool (?P<name>[\w-]+)|at least one of the tools)\. Do not answer in text\."
)
_TOLD_JSON = "Answer with one JSON object and nothing else"
_TOLD_SCHEMA = re.compile(r"Answer with one JSON value and nothing else.* by this JSON Schema:\n(\{.*\})")
REFUSAL = {"type": "refusal", "category": None, "explanation": "This is a rehearsed refusal: no model was asked."}
_MALFORMED = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_\n\n'

type Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One event of the stream, as bytes."""

    data: bytes
    is_delta: bool
    usage: Json | None = None
    """The usage in the event, if it has one."""


@dataclass(frozen=True, slots=True)
class Score:
    """The complete answer to one request."""

    status: int
    steps: tuple[Step, ...]
    """The events. Without streaming, they only give the pace."""
    body: bytes | None
    """The whole body; None: the steps are streamed."""
    is_cut: bool = False
    """Whether the connection is cut after the steps."""
    usage: Json | None = None
    """The usage in the body, if it has one."""


def last_user_text(body: Json) -> str:
    """Return the text of the last message, "" if it has none or is not from the user.

    The blocks are joined by line breaks. The <system-reminder> blocks that Claude Code adds are left out.
    """
    last = _last_turn(body)
    if last.get("role") != "user":
        return ""
    texts = [str(block.get("text", "")) for block in content_blocks(last) if block.get("type") == "text"]
    return "\n".join(text for text in texts if not text.lstrip().startswith("<system-reminder>"))


def failure(status: int, kind: str | None, message: str | None, request_id: str) -> Score:
    """Return the score of an error."""
    body = error_body(kind or error_type(status), message or error_message(status), request_id)
    return Score(status, (), _json_bytes(body))


def compose(body: Json, reply: Reply, usage: Json, number: int) -> Score:
    """Make the answer to request `number` (the ids depend on it). `usage` is the input side of the usage."""
    if reply.body is not None:
        return Score(reply.status, (), _json_bytes(reply.body))
    if reply.status != 200:
        return failure(reply.status, reply.error_type, reply.message, request_id(number))
    if reply.sse is not None:
        recorded = parse_sse(reply.sse)
        events = [event for _, event in recorded]
        steps = tuple(Step(data, is_delta(event), usage_in(event)) for data, event in recorded)
    else:
        events = list(events_of(_message(body, reply, with_counts(usage, reply.usage), number)))
        steps = tuple(Step(encode(event), is_delta(event), usage_in(event)) for event in events)
    if body.get("stream") is True:
        return _with_fault(Score(200, steps, None), reply.fault)
    return _whole(steps, events, reply.fault, request_id(number))


def usage_in(event: Event) -> Json | None:
    """Return the usage in an event, None if it has none."""
    usage = event.get("message", event).get("usage")
    return usage if isinstance(usage, Mapping) else None


def request_id(number: int) -> str:
    """Return the id of request `number`, in the form of Anthropic's."""
    return f"req_01Rehearsal{number:013d}"


def cut_to_limits(blocks: Sequence[Block], body: Json) -> tuple[list[Block], str | None, str | None]:
    """Cut an answer at the request's stop_sequences and max_tokens.

    Return the remaining blocks, the stop reason (None: nothing was cut), and the stop sequence that was found.
    """
    kept: list[Block] = []
    reason = sequence = None
    for block in blocks:
        if isinstance(block, Text):
            text, sequence = _until_stop(block.text, body.get("stop_sequences") or [])
            kept += [replace(block, text=text)] if text else []
            if sequence is not None:
                reason = "stop_sequence"
                break
        else:
            kept.append(block)
    left = int(body.get("max_tokens") or 1)
    for index, block in enumerate(kept):
        tokens = count(block_text(block))
        if tokens > left:
            rest = [_shortened(block, left)] if left else []
            return [*kept[:index], *rest], "max_tokens", None
        left -= tokens
    return kept, reason, sequence


def default_text(body: Json) -> str:
    """Return the rehearsal's default text: that it is a rehearsal, and what it received."""
    blocks = content_blocks(_last_turn(body))
    parts = ["This is a rehearsal: no model was asked."]
    results = [_result_text(block) for block in blocks if block.get("type") == "tool_result"]
    if results:
        parts.append("The tools gave: " + ", ".join(_quoted(text) for text in results) + ".")
    said = directives.without(last_user_text(body))
    if said:
        parts.append(f"You said: {_quoted(said)}.")
    for kind in ("image", "document"):
        number = sum(block.get("type") == kind for block in blocks)
        if number:
            parts.append(f"You sent {number} {kind}{'s' if number > 1 else ''}.")
    parts.append(f"This is turn {_turns(body)} of the conversation.")
    return " ".join(parts)


def _message(body: Json, reply: Reply, usage: Json, number: int) -> Message:
    blocks = list(_blocks(body, reply, number))
    kept, cut, sequence = cut_to_limits(blocks, body)
    reason = reply.stop_reason or cut or ("tool_use" if any(isinstance(b, ToolUse) for b in kept) else "end_turn")
    if reason == "stop_sequence":
        sequence = reply.stop_sequence or sequence or next(iter(body.get("stop_sequences") or []), None)
    details = reply.stop_details or (REFUSAL if reason == "refusal" else None)
    extra: Json = {"context_management": {"applied_edits": []}} if body.get("context_management") else {}
    model = str(body.get("model"))
    return Message(f"msg_01Rehearsal{number:013d}", model, tuple(kept), reason, usage, sequence, details, extra)


def _blocks(body: Json, reply: Reply, number: int) -> Iterator[Block]:
    calls = list(_calls(body, reply, number))
    if reply.thinking:
        yield Thinking(reply.thinking)
    text = reply.text
    if text is None and not calls and reply.stop_reason != "refusal":
        text = _default_answer(body)
    cites = None
    if reply.search is not None and _may_search(body):
        id, cites = f"srvtoolu_01Rehearsal{number:010d}", FOUND_URL
        yield Search(id, _json_text({"query": reply.search}))
        yield Found(id, (FOUND_URL,))
    if text:
        yield Text(text, cites)
    yield from calls


def _default_answer(body: Json) -> str:
    system = _system_text(body)
    schema = _output_schema(body)
    if schema is None:
        schema = _told_schema(system)
    if schema is not None:
        return _json_text(example(schema))
    text = default_text(body)
    return _json_text({"rehearsal": text}) if _TOLD_JSON in system else text


def _may_search(body: Json) -> bool:
    return any(str(tool.get("type")).startswith(SEARCH_TYPE) for tool in body.get("tools") or [])


def _calls(body: Json, reply: Reply, number: int) -> Iterator[ToolUse]:
    tools = {tool["name"]: tool for tool in body.get("tools") or [] if tool.get("input_schema")}
    choice = body.get("tool_choice") or {}
    wanted: Sequence[ToolCall] = reply.tool_calls
    if choice.get("type") == "none":
        wanted = ()
    elif not wanted and reply.stop_reason in (None, "tool_use"):
        if choice.get("type") in ("any", "tool"):
            wanted = (ToolCall(choice.get("name") or _next_tool(body, tools)),)
        elif reply.text is None and (told := _TOLD_TO_CALL.search(_system_text(body))):
            wanted = (ToolCall(told["name"] or _next_tool(body, tools)),) if told["name"] in (None, *tools) else ()
    if choice.get("disable_parallel_tool_use"):
        wanted = wanted[:1]
    for index, call in enumerate(wanted):
        name = call.name or choice.get("name") or next(iter(tools), None)
        if name is not None:
            yield ToolUse(f"toolu_01Rehearsal{number:010d}{index:03d}", name, _input_json(call, tools.get(name, {})))


def _next_tool(body: Json, tools: Iterable[str]) -> str | None:
    """Return the tool that was called least often. So an agent gets to the tool that ends its loop."""
    blocks = [block for message in body.get("messages") or [] for block in content_blocks(message)]
    called = [block.get("name") for block in blocks if block.get("type") == "tool_use"]
    return min(tools, key=called.count, default=None)


def _input_json(call: ToolCall, tool: Json) -> str:
    if call.input_json is not None:
        return call.input_json
    return _json_text(call.input if call.input is not None else example(tool.get("input_schema", {"type": "object"})))


def _output_schema(body: Json) -> dict[str, Any] | None:
    for form in ((body.get("output_config") or {}).get("format"), body.get("output_format")):
        if isinstance(form, dict) and form.get("type") == "json_schema" and isinstance(form.get("schema"), dict):
            schema: dict[str, Any] = form["schema"]
            return schema
    return None


def _told_schema(system: str) -> dict[str, Any] | None:
    if told := _TOLD_SCHEMA.search(system):
        with contextlib.suppress(ValueError, RecursionError):
            schema: dict[str, Any] = json.loads(told[1])
            return schema
    return None


def _until_stop(text: str, sequences: Sequence[str]) -> tuple[str, str | None]:
    found = [(text.index(sequence), sequence) for sequence in sequences if sequence in text]
    if not found:
        return text, None
    at, sequence = min(found)
    return text[:at], sequence


def _shortened(block: Block, tokens: int) -> Block:
    text = block_text(block)[: tokens * TOKEN_CHARS]
    if isinstance(block, ToolUse):
        return ToolUse(block.id, block.name, text)
    return block if isinstance(block, Search | Found) else replace(block, text=text)


def _with_fault(score: Score, fault: Fault | None) -> Score:
    if fault is None:
        return score
    at = 0 if fault.after is None else _position(score.steps, fault.after)
    before, after = score.steps[:at], score.steps[at:]
    match fault.kind:
        case FaultKind.DROP:
            return Score(200, (), b"", is_cut=True)
        case FaultKind.CUT:
            return Score(200, before, None, is_cut=True)
        case FaultKind.END:
            return Score(200, before, None)
        case FaultKind.MALFORMED:
            return Score(200, (*before, Step(_MALFORMED, is_delta=False), *after), None)
        case FaultKind.SSE_ERROR:
            event = encode(error_body(fault.error_type, fault.message, None))
            return Score(200, (*before, Step(event, is_delta=False)), None)


def _position(steps: Sequence[Step], deltas: int) -> int:
    """Return the index of the step after ``deltas`` deltas: that of the next delta, or the one after the last delta."""
    places = [index for index, step in enumerate(steps) if step.is_delta]
    if deltas < len(places):
        return places[deltas]
    return places[-1] + 1 if places else min(1, len(steps))


def _whole(steps: tuple[Step, ...], events: Sequence[Event], fault: Fault | None, request: str) -> Score:
    """Fold the events into one body. A fault of the stream becomes the most similar fault of a body."""
    folded = fold(events)
    status = error_status(folded["error"]["type"]) if folded.get("type") == "error" else 200
    body = _json_bytes(folded)
    match fault and fault.kind:
        case None:
            return Score(status, steps, body, usage=folded.get("usage"))
        case FaultKind.DROP | FaultKind.CUT:
            return Score(200, steps, b"", is_cut=True)
        case FaultKind.END | FaultKind.MALFORMED:
            return Score(200, steps, body[: len(body) // 2])
        case _:
            assert fault is not None  # noqa: S101
            error = error_body(fault.error_type, fault.message, request)
            return Score(error_status(fault.error_type), steps, _json_bytes(error))


def _system_text(body: Json) -> str:
    return "\n\n".join(str(block.get("text", "")) for block in content_blocks({"content": body.get("system") or []}))


def _last_turn(body: Json) -> dict[str, Any]:
    turns = [message for message in body.get("messages") or [] if message.get("role") != "system"]
    return turns[-1] if turns else {}


def _turns(body: Json) -> int:
    users = [message for message in body.get("messages") or [] if message.get("role") == "user"]
    return sum(any(block.get("type") != "tool_result" for block in content_blocks(message)) for message in users)


def _result_text(block: Json) -> str:
    content = block.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", f"({part.get('type')})")) for part in content)


def _quoted(text: str) -> str:
    text = text.strip()
    return f"“{text}”" if len(text) <= QUOTE_CHARS else f"“{text[:QUOTE_CHARS]}…”"


def _json_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _json_bytes(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()

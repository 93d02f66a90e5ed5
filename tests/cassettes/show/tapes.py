"""Cassettes to look at: exchanges of every kind, recorded by the real recorder with times that are given."""

import base64
import datetime
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from cassettes.assemble import assemble
from cassettes.openai_bodies import usage_in
from cassettes.record.record import Recorder, Recording

CLAUDE = "claude-sonnet-4-5"
PICTURE = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20).decode()
JSON = [("content-type", "application/json"), ("x-understudy-model", "sonnet")]
STREAM = [("content-type", "text/event-stream; charset=utf-8"), ("x-understudy-model", "sonnet")]
START = datetime.datetime(2026, 3, 4, 5, 6, 7, tzinfo=datetime.UTC)
USAGE = {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def recorder(path: Path, **options: Any) -> Recorder:
    """A recorder whose ids and times are the same in every run: ``e1``, ``e2`` …, one second apart."""
    ids, seconds = count(1), count()
    return Recorder(
        path,
        ids=lambda _: f"e{next(ids)}",
        clock=lambda: START + datetime.timedelta(seconds=next(seconds)),
        **options,
    )


def ask(*texts: str, **more: Any) -> dict[str, Any]:
    turns = [{"role": "assistant" if n % 2 else "user", "content": text} for n, text in enumerate(texts)]
    return {"model": "gpt-4o", "messages": [{"role": "system", "content": "Be brief."}, *turns], **more}


def begin(tapes: Recorder, body: Any, path: str = "/v1/chat/completions", *, turn: bool = True) -> Recording:
    """Begin an exchange, up to Claude's first event."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    recording = tapes.begin("POST", path, [("content-type", "application/json")], raw)
    if turn:
        recording.turn({"model": "sonnet", "messages": [], "max_tokens": 64000}, at_ms=1)
        start = {"type": "message_start", "message": {"model": CLAUDE, "usage": {"input_tokens": 9}}}
        recording.event(700, start)
    return recording


def claudes(text: str, index: int = 0) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": text}}


def sse(value: Any, name: str = "") -> bytes:
    data = value if isinstance(value, str) else json.dumps(value)
    return (f"event: {name}\n" if name else "").encode() + f"data: {data}\n\n".encode()


def chunk(delta: Mapping[str, Any], ended: str | None = None, index: int = 0, **more: Any) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": ended}
    return sse({"object": "chat.completion.chunk", "model": "gpt-4o", "choices": [choice], **more})


def chat_chunks(texts: Iterable[str]) -> Iterator[bytes]:
    yield chunk({"role": "assistant", "content": ""})
    yield from (chunk({"content": text}) for text in texts)
    yield chunk({}, "stop", usage=USAGE)
    yield sse("[DONE]")


def stream(
    recording: Recording,
    chunks: Iterable[bytes],
    *,
    first_ms: float = 800.0,
    step_ms: float = 20.0,
    end: str | None = "done",
    error: Any = None,
    status: int = 200,
) -> None:
    """Record a streamed answer, and with ``end`` its end as the addon tells it; without, it still runs."""
    recording.respond(first_ms - 1, status, STREAM)
    sent, at = b"", first_ms
    for at, data in zip(count(first_ms, step_ms), chunks, strict=False):
        recording.event(at - 0.5, claudes("…"))
        recording.chunk(at, data)
        sent += data
    if end is not None:
        message = assemble("text/event-stream", sent)
        close(recording, end, message, at_ms=at + 1, error=error)


def whole(recording: Recording, message: Any, *, status: int = 200, at_ms: float = 1100.0, end: str = "done") -> None:
    """Record an answer that comes at once."""
    for at in (900.0, 950.0, 1000.0) if status == 200 else ():
        recording.event(at, claudes("…"))
    recording.respond(at_ms - 1, status, JSON)
    recording.chunk(at_ms, json.dumps(message).encode())
    close(recording, end, message, at_ms=at_ms + 1)


def close(recording: Recording, how: str, message: Any, *, at_ms: float, error: Any = None) -> None:
    told = error or (message.get("error") if isinstance(message, dict) else None)
    usage = usage_in(message)
    recording.end(
        how,  # type: ignore[arg-type]
        at_ms=at_ms,
        message=message,
        usage=usage,
        cost_usd=0.0004 if usage else None,
        process="warm",
        error=told,
    )


def completion(text: str | None = "Hello.", ended: str = "stop", **message: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": ended}
    return {"object": "chat.completion", "model": "gpt-4o", "choices": [choice], "usage": USAGE}


def response(*items: Any, status: str = "completed", **more: Any) -> dict[str, Any]:
    usage = {"input_tokens": 7, "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 2}}
    return {"object": "response", "model": "gpt-4o", "status": status, "output": [*items], "usage": usage, **more}


def output_text(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


def response_chunks(*texts: str, end: bool = True) -> Iterator[bytes]:
    begun = {**response(status="in_progress"), "usage": None}
    yield sse({"type": "response.created", "response": begun}, "response.created")
    item = {"type": "message", "role": "assistant", "content": []}
    yield sse({"type": "response.output_item.added", "output_index": 0, "item": item}, "response.output_item.added")
    for text in texts:
        delta = {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": text}
        yield sse(delta, "response.output_text.delta")
    if end:
        done = response(output_text("".join(texts)))
        yield sse({"type": "response.completed", "response": done}, "response.completed")


# One exchange of each kind


def streamed_chat(tapes: Recorder, n: int = 0) -> None:
    stream(begin(tapes, ask(f"Hello {n}", stream=True)), chat_chunks(["Hel", "lo", f" {n}", "."]))


def chat_at_once(tapes: Recorder, n: int = 0) -> None:
    whole(begin(tapes, ask(f"Hello {n}")), completion(f"Hello {n}."))


def tools(tapes: Recorder, n: int = 0) -> None:
    call = {"id": f"call_{n}", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
    messages = [
        {"role": "user", "content": f"Weather {n}?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": f"call_{n}", "content": '{"temp": 3}'},
        {"role": "user", "content": "And in Rome?"},
    ]
    pieces = [
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning_content": "They want "}),
        chunk({"reasoning_content": "Rome."}),
        chunk({"tool_calls": [{"index": 0, "id": "call_r", "function": {"name": "weather", "arguments": ""}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"city": "Rome"}'}}]}),
        chunk({}, "tool_calls", usage=USAGE),
        sse("[DONE]"),
    ]
    stream(begin(tapes, {"model": "gpt-4o", "messages": messages, "tools": [TOOL], "stream": True}), pieces)


def responses_at_once(tapes: Recorder, n: int = 0) -> None:
    body = {"model": "gpt-4o", "instructions": "Be brief.", "input": f"Hello {n}", "previous_response_id": "resp_1"}
    thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "A greeting."}]}
    whole(begin(tapes, body, "/v1/responses"), response(thought, output_text(f"Hello {n}.")))


def responses_streamed(tapes: Recorder, n: int = 0) -> None:
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": f"Weather {n}?"}]},
        {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city": "Paris"}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "cold"},
    ]
    tools = [{"type": "function", "name": "weather", "parameters": {}}]
    body = {"model": "gpt-4o", "input": items, "tools": tools, "stream": True}
    stream(begin(tapes, body, "/v1/responses"), response_chunks("It is ", "cold", "."))


def legacy(tapes: Recorder, n: int = 0) -> None:
    choice = {"index": 0, "text": f" upon a time {n}", "finish_reason": "length"}
    message = {"object": "text_completion", "model": "davinci", "choices": [choice], "usage": USAGE}
    whole(begin(tapes, {"model": "davinci", "prompt": f"Once {n}"}, "/v1/completions"), message)


def refused(tapes: Recorder, n: int = 0) -> None:
    error = {"message": f"You are too fast {n}", "type": "requests", "param": None, "code": "rate_limit_exceeded"}
    whole(begin(tapes, ask(f"Hello {n}"), turn=False), {"error": error}, status=429, at_ms=12)


def failed(tapes: Recorder, n: int = 0) -> None:
    error = {"message": f"Claude Code ended {n}", "type": "server_error", "code": None}
    pieces = [chunk({"role": "assistant", "content": ""}), chunk({"content": "Half"}), sse({"error": error})]
    stream(begin(tapes, ask(f"Hello {n}", stream=True)), pieces, end="failed", error=error)


def aborted(tapes: Recorder, n: int = 0) -> None:
    pieces = [chunk({"role": "assistant", "content": ""}), *(chunk({"content": text}) for text in ("Once", " upon"))]
    error = "Client disconnected."
    stream(begin(tapes, ask(f"A story {n}", stream=True)), pieces, end="cut_by_app", error=error)


def interrupted(tapes: Recorder, n: int = 0) -> None:
    recording = begin(tapes, ask(f"Hello {n}", stream=True))
    recording.respond(799, 200, STREAM)
    recording.chunk(800, chunk({"role": "assistant", "content": ""}))
    recording.chunk(820, chunk({"content": "Hal"}))
    recording.end("interrupted")


def picture(tapes: Recorder, n: int = 0) -> None:
    url = {"url": f"data:image/png;base64,{PICTURE}"}
    content = [{"type": "text", "text": f"What is it {n}?"}, {"type": "image_url", "image_url": url}]
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": content}], "stream": True}
    stream(begin(tapes, body), chat_chunks(["A ", "gradient."]))


def stalled(tapes: Recorder, n: int = 0) -> None:
    recording = begin(tapes, ask(f"Slowly {n}", stream=True))
    recording.respond(799, 200, STREAM)
    chunks = [*chat_chunks(["a", "b", "c", "d", "e", "f"])]
    times = [800.0, 820.0, 840.0, 860.0, 2060.0, 2080.0, 2100.0, 2120.0, 2121.0]
    for at, data in zip(times, chunks, strict=True):
        recording.chunk(at, data)
    close(recording, "done", assemble("text/event-stream", b"".join(chunks)), at_ms=2122)


KINDS = (
    streamed_chat,
    chat_at_once,
    tools,
    responses_at_once,
    responses_streamed,
    legacy,
    refused,
    failed,
    aborted,
    interrupted,
    picture,
    stalled,
)


def everything(path: Path, of_each: int = 20) -> Path:
    """Record so many exchanges of each kind, in turn."""
    with recorder(path) as tapes:
        for n in range(of_each):
            for kind in KINDS:
                kind(tapes, n)
    return path

"""The answer that a stream's bytes come to: what the app would have got without streaming.

Works on anybody's streams, ours, OpenAI's, broken ones: what is there is assembled, what is missing stays missing. The
shapes are those of OpenAI's API reference (the chat completion object, the response object, the completion object).
"""

from collections.abc import Iterable, Iterator
from typing import Any

from cassettes.openai_bodies import parsed

_TERMINAL = ("response.completed", "response.incomplete", "response.failed")


def events_of(body: bytes) -> Iterator[tuple[str, str]]:
    """Split an event stream into (event's name or "", data). What is after the last blank line is taken too.

    Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
    """
    name, data = "", list[str]()
    text = body.decode("utf-8", "replace").removeprefix("\ufeff")
    for line in [*text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), ""]:
        if not line:
            if data:
                yield name, "\n".join(data)
            name, data = "", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data.append(value)
        elif field == "event":
            name = value


def is_event_stream(content_type: str) -> bool:
    """Whether a content type is an event stream's."""
    return content_type.partition(";")[0].strip().lower() == "text/event-stream"


def assemble(content_type: str, body: bytes) -> Any:
    """Return the JSON that a body comes to, None if that cannot be said.

    A stream of chat completion chunks gives a chat completion, one of Responses' events the response as it was told
    last, one of legacy completions a completion; an error in band stands beside what came before, under ``error``.
    """
    if not is_event_stream(content_type):
        return parsed(body)
    chunks: list[dict[str, Any]] = []
    for _, data in events_of(body):
        value = parsed(data)
        if isinstance(value, dict):
            chunks.append(value)
    return assemble_events(chunks)


def is_complete(body: bytes) -> bool:
    """Whether a stream has come to its end: ``[DONE]``, or an event that ends a response."""
    last = ("", "")
    for last in events_of(body[-65536:] if b"[DONE]" in body[-64:] else body):  # noqa: B007 - the last one is wanted
        pass
    name, data = last
    return data == "[DONE]" or name in _TERMINAL


def assemble_events(events: Iterable[dict[str, Any]]) -> Any:
    """Return what the decoded events of one stream come to."""
    whole: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    response: Any = None
    for event in events:
        if isinstance(event.get("response"), dict):
            response = event["response"]
        if isinstance(event.get("type"), str):
            if event["type"] == "error":
                whole["error"] = {name: value for name, value in event.items() if name != "type"}
            continue
        if "error" in event:
            whole["error"] = event["error"]
            continue
        kind = event.get("object")
        whole |= {name: value for name, value in event.items() if name != "choices" and value is not None}
        if kind == "chat.completion.chunk":
            whole["object"] = "chat.completion"
        for choice in event.get("choices") or []:
            if isinstance(choice, dict):
                _add_choice(choices, choice)
    if response is not None:
        return response if "error" not in whole else {**response, "error": whole["error"]}
    if not whole:
        return None
    if choices:
        usage = {"usage": whole.pop("usage")} if "usage" in whole else {}
        whole = {**whole, "choices": [choices[index] for index in sorted(choices)], **usage}
    return whole


def _add_choice(choices: dict[int, dict[str, Any]], choice: dict[str, Any]) -> None:
    index = choice.get("index")
    index = index if isinstance(index, int) else 0
    if "delta" in choice:
        known = choices.setdefault(index, {"index": index, "message": {"role": "assistant", "content": None}})
        delta = choice["delta"]
        if isinstance(delta, dict):
            _add_delta(known["message"], delta)
    else:
        known = choices.setdefault(index, {"index": index, "text": ""})
        if isinstance(choice.get("text"), str):
            known["text"] = f"{known.get('text', '')}{choice['text']}"
    others = {name: value for name, value in choice.items() if name not in ("index", "delta", "text")}
    for name, value in others.items():
        if value is not None or name not in known:
            known[name] = value


def _add_delta(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        if name == "tool_calls" and isinstance(value, list):
            if not isinstance(calls := message.get("tool_calls"), list):
                calls = message["tool_calls"] = []
            for part in value:
                if isinstance(part, dict):
                    _add_call(calls, part)
        elif name == "function_call" and isinstance(value, dict):
            if not isinstance(known := message.get("function_call"), dict):
                known = message["function_call"] = {}
            _add_texts(known, value)
        elif isinstance(value, list) and isinstance(message.get(name), list):
            message[name] += value
        elif isinstance(value, list):
            message[name] = list(value)
        elif isinstance(value, str) and name != "role" and isinstance(message.get(name), str):
            message[name] += value
        elif value is not None:
            message[name] = value


def _add_call(calls: list[dict[str, Any]], part: dict[str, Any]) -> None:
    index = part.get("index")
    place = index if isinstance(index, int) and 0 <= index <= len(calls) else max(len(calls) - 1, 0)
    if place >= len(calls):
        calls.append({})
    call = calls[place]
    for name, value in part.items():
        if name == "function" and isinstance(value, dict):
            if not isinstance(known := call.get("function"), dict):
                known = call["function"] = {}
            _add_texts(known, value)
        elif name != "index" and value is not None:
            call[name] = value


def _add_texts(known: dict[str, Any], more: dict[str, Any]) -> None:
    for name, value in more.items():
        if name == "arguments" and isinstance(value, str):
            known[name] = f"{known.get(name) or ''}{value}"
        elif value is not None:
            known[name] = value

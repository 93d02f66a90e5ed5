"""Checks within one answer: counts add up, arguments are JSON, and fields that repeat the request are equal to it."""

from collections.abc import Iterator
from typing import Any

from conform.chat_stream import folded
from conform.exchange import NOT_JSON, Exchange, Problem, parsed, short
from conform.response_stream import ENDS

ECHOED = ("background", "instructions", "max_output_tokens", "metadata", "parallel_tool_calls", "previous_response_id")
"""The fields of a request that a response repeats unchanged."""


def check_answer(exchange: Exchange) -> Iterator[Problem]:
    """Check a whole answer, or the sum of a stream's events."""
    if exchange.is_error:
        return
    if exchange.dialect == "chat":
        yield from _chat(exchange)
    elif exchange.dialect == "responses":
        yield from _response(exchange)
    for place, usage in _usages(exchange):
        yield from _sum(place, usage)


def final_response(exchange: Exchange) -> dict[str, Any] | None:
    """Return the response at its end, or None if there is none."""
    if not exchange.is_stream:
        return exchange.body if isinstance(exchange.body, dict) and exchange.body.get("object") == "response" else None
    found = [event.fields.get("response") for event in exchange.events if event.fields.get("type") in ENDS]
    return found[-1] if found and isinstance(found[-1], dict) else None


def _chat(exchange: Exchange) -> Iterator[Problem]:
    indexes = [one.get("index") for one in _choices(exchange)]
    if indexes != list(range(len(indexes))):
        yield Problem("$.choices[*].index", short(indexes), "numbers from 0 on, in their order")
    for place, message, reason in _messages(exchange):
        calls = message.get("tool_calls") or []
        if reason == "tool_calls" and not calls:
            yield Problem(f"{place}.finish_reason", '"tool_calls"', "tool calls in the message")
        for n, call in enumerate(calls):
            arguments = (call.get("function") or {}).get("arguments")
            if reason != "length" and not isinstance(parsed(str(arguments)), dict):
                yield Problem(f"{place}.tool_calls[{n}].function.arguments", short(arguments), "an object, as JSON")
        ids = [call.get("id") for call in calls]
        if len(set(ids)) < len(ids):
            yield Problem(f"{place}.tool_calls[*].id", short(ids), "an id of its own for each call")
        form = (exchange.asked.get("response_format") or {}).get("type")
        content = message.get("content")
        if form in ("json_schema", "json_object") and reason == "stop" and content and parsed(content) is NOT_JSON:
            yield Problem(f"{place}.content", short(content), "JSON, as response_format asks for")


def _messages(exchange: Exchange) -> Iterator[tuple[str, dict[str, Any], str | None]]:
    """Yield the place, the message and the ``finish_reason`` of each choice."""
    if exchange.is_stream:
        for index, grown in folded(exchange).items():
            calls = [{"id": call["id"], "function": call} for call in grown.calls.values()]
            yield f"choice {index}", {"content": grown.text, "tool_calls": calls}, grown.finish_reason
        return
    for n, choice in enumerate(_choices(exchange)):
        if isinstance(choice.get("message"), dict):
            yield f"$.choices[{n}]", choice["message"], choice.get("finish_reason")


def _choices(exchange: Exchange) -> list[dict[str, Any]]:
    """Return the choices of a whole answer."""
    choices = exchange.body.get("choices") if not exchange.is_stream and isinstance(exchange.body, dict) else None
    return [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []


def _response(exchange: Exchange) -> Iterator[Problem]:
    response = final_response(exchange)
    if response is None:
        return
    for key in ECHOED:
        asked = exchange.asked.get(key)
        if asked is not None and response.get(key) != asked:
            yield Problem(f"$.{key}", short(response.get(key)), f"{short(asked)}, as in the request")
    items = [item for item in response.get("output") or [] if isinstance(item, dict)]
    ids = [item["id"] for item in items if item.get("id") is not None]
    if len(set(ids)) < len(ids):
        yield Problem("$.output[*].id", short(ids), "an id of its own for each item")
    for n, item in enumerate(items):
        arguments = item.get("arguments")
        is_whole = item.get("type") == "function_call" and item.get("status") == "completed"
        if is_whole and not isinstance(parsed(str(arguments)), dict):
            yield Problem(f"$.output[{n}].arguments", short(arguments), "an object, as JSON")
    if response.get("status") == "incomplete" and not response.get("incomplete_details"):
        yield Problem("$.incomplete_details", short(response.get("incomplete_details")), "the reason")
    if response.get("status") == "failed" and not response.get("error"):
        yield Problem("$.error", short(response.get("error")), "the error")
    if response.get("status") == "completed" and response.get("error"):
        yield Problem("$.error", short(response.get("error")), "null in a response that is completed")


def _usages(exchange: Exchange) -> Iterator[tuple[str, dict[str, Any]]]:
    if not exchange.is_stream:
        found = [("$.usage", exchange.body.get("usage") if isinstance(exchange.body, dict) else None)]
    else:
        found = [(f"event {n} $.usage", event.fields.get("usage")) for n, event in enumerate(exchange.events)]
        found.append(("the last event $.response.usage", (final_response(exchange) or {}).get("usage")))
    yield from ((place, usage) for place, usage in found if isinstance(usage, dict))


def _sum(place: str, usage: dict[str, Any]) -> Iterator[Problem]:
    """The total is the sum, and no detail is larger than the count that it is a part of."""
    parts = [usage.get(key) for key in ("prompt_tokens", "input_tokens", "completion_tokens", "output_tokens")]
    counts = [count for count in parts if isinstance(count, int)]
    total = usage.get("total_tokens")
    if isinstance(total, int) and total != sum(counts):
        yield Problem(f"{place}.total_tokens", str(total), f"{sum(counts)}, the sum")
    for name in ("prompt_tokens", "input_tokens", "completion_tokens", "output_tokens"):
        details = usage.get(f"{name}_details")
        for key, count in details.items() if isinstance(details, dict) else ():
            whole = usage.get(name)
            if isinstance(count, int) and isinstance(whole, int) and count > whole:
                yield Problem(
                    f"{place}.{name}_details.{key}", str(count), f"no more than {whole}, which it is a part of"
                )

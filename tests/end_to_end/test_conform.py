"""`understudy conform`: nothing is found in Understudy's own answers, and each planted deviation is."""

import dataclasses
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from conform.ask import Server, answer_to, conform
from conform.document import document
from conform.exchange import Exchange, Finding
from conform.plan import Ask, plan
from conform.wire import wire
from tests.end_to_end.cloud import GUARD_S, Cloud
from tests.end_to_end.planter import Planter
from tests.end_to_end.understudy import UNDERSTUDY, Proxy, clean_environment

MODEL = "gpt-4o-mini"
ASKS = plan(MODEL)

type Plant = Callable[[Exchange], Exchange]


def judged(base_url: str, home: Path, *options: str) -> tuple[int, dict[str, Any]]:
    """Run the command as a person does, and return its status and what it prints."""
    command = [UNDERSTUDY, "conform", base_url, "--json", *options]
    done = subprocess.run(command, env=clean_environment(home), capture_output=True, text=True, timeout=GUARD_S * 3)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def base_url(the_proxy: Proxy) -> str:
    """The base URL of Understudy before the simulated API."""
    return the_proxy.err.wait_for(r"OPENAI_BASE_URL=(http://\S+)")[1]


@pytest.fixture(scope="module")
def answers(base_url: str) -> dict[str, Exchange]:
    """Understudy's own answers to all requests."""
    server = Server(base_url=base_url, api_key="sk-any", model=MODEL, timeout_s=GUARD_S)
    with httpx.Client(timeout=GUARD_S) as client:
        return {ask.name: answer_to(client, server, ask) for ask in ASKS}


@pytest.fixture(scope="module")
def found_before(answers: dict[str, Exchange]) -> list[Finding]:
    """What is found in the answers as they are."""
    return found_in(ASKS, answers)


def found_in(asks: list[Ask], answers: dict[str, Exchange]) -> list[Finding]:
    """Return what is found where a server gives these answers."""
    with Planter(ASKS, answers) as planter:
        server = Server(base_url=planter.base_url, api_key="sk-any", model=MODEL, timeout_s=GUARD_S)
        verdict = conform(server, asks, document(), wire())
    return [finding for found in verdict.findings.values() for finding in found]


def test_nothing_is_found_in_understudys_own_answers(base_url: str, cloud: Cloud, home: Path) -> None:
    status, told = judged(base_url, home)

    assert told["findings"] == []
    assert status == 0
    assert (list(told["requests"]), told["not_checked"]) == ([ask.name for ask in ASKS], {})


# How an answer is changed.


def body(change: Callable[[Any], object]) -> Plant:
    """Change a JSON body in place."""

    def plant(exchange: Exchange) -> Exchange:
        value = json.loads(exchange.text)
        change(value)
        return dataclasses.replace(exchange, text=json.dumps(value))

    return plant


def events(change: Callable[[list[Any]], object]) -> Plant:
    """Change the list of a stream's events in place. Each is JSON; the end mark stays where it is."""

    def plant(exchange: Exchange) -> Exchange:
        values = [event.value for event in exchange.events if event.data != "[DONE]"]
        change(values)
        if exchange.messages is not None:
            return dataclasses.replace(exchange, messages=[json.dumps(value) for value in values])
        names = exchange.dialect == "responses"
        parts = [(f"event: {value['type']}\n" if names else "") + f"data: {json.dumps(value)}\n\n" for value in values]
        return dataclasses.replace(exchange, text="".join(parts) + ("" if names else "data: [DONE]\n\n"))

    return plant


def text(old: str, new: str, count: int = -1) -> Plant:
    """Replace a part of the text."""
    return lambda exchange: dataclasses.replace(exchange, text=exchange.text.replace(old, new, count))


def header(name: str, value: str | None) -> Plant:
    """Set a header, or leave it out."""

    def plant(exchange: Exchange) -> Exchange:
        headers = {key: one for key, one in exchange.headers.items() if key != name}
        return dataclasses.replace(exchange, headers=headers if value is None else headers | {name: value})

    return plant


def at(values: list[Any], kind: str) -> Any:
    """Return the first event of a type."""
    return next(value for value in values if value["type"] == kind)


def without(values: list[Any], kind: str) -> None:
    """Leave out the events of a type, and number the rest."""
    values[:] = [value for value in values if value["type"] != kind]
    number(values)


def number(values: list[Any]) -> None:
    for n, value in enumerate(values):
        value["sequence_number"] = n


def swap(values: list[Any], first: str, second: str) -> None:
    a, b = values.index(at(values, first)), values.index(at(values, second))
    values[a], values[b] = values[b], values[a]
    number(values)


def drop(values: list[Any], kind: str) -> None:
    """Leave out the first event of a type, and number the rest."""
    values.remove(at(values, kind))
    number(values)


def repeat(values: list[Any], kind: str) -> None:
    """Add the first event of a type again, before the last event, and number all."""
    values.insert(-1, dict(at(values, kind)))
    number(values)


def calls(values: list[Any]) -> list[Any]:
    """Return the parts of tool calls in a stream of chunks."""
    choices = [choice for value in values for choice in value["choices"]]
    return [call for choice in choices for call in choice["delta"].get("tool_calls", [])]


def message(value: Any) -> Any:
    return value["choices"][0]["message"]


def delta(values: list[Any], n: int) -> Any:
    return values[n]["choices"][0]["delta"]


CALL = "chat, a tool call, streamed"
COUNTED = "chat, streamed with usage"
SETTINGS = "response, with settings that it repeats"
STREAM = "response, streamed"
RESPONSE_CALL = "response, a tool call, streamed"
SOCKET = "WebSocket, a response"
ADDED, DONE = "response.output_item.added", "response.output_item.done"


@dataclass(frozen=True)
class Case:
    """A deviation in the answer to one request: which check finds it, and a part of the place."""

    request: str
    plant: Plant
    check: str
    place: str


CASES: dict[str, Case] = {
    # Whole chat completions.
    "a message without refusal": Case("chat", body(lambda v: message(v).pop("refusal")), "document", "refusal"),
    "no usage": Case("chat", body(lambda v: v.pop("usage")), "wire", "$.usage"),
    "created as a text": Case("chat", body(lambda v: v.update(created="now")), "document", "$.created"),
    "no id": Case("chat", body(lambda v: v.pop("id")), "document", "$.id"),
    "another vendor's finish_reason": Case(
        "chat", body(lambda v: v["choices"][0].update(finish_reason="end_turn")), "document", "finish_reason"
    ),
    "the object of a chunk": Case("chat", text("chat.completion", "chat.completion.chunk"), "document", "$.object"),
    "a total that is not the sum": Case(
        "chat", body(lambda v: v["usage"].update(total_tokens=1)), "answer", "total_tokens"
    ),
    "more cached tokens than tokens": Case(
        "chat",
        body(lambda v: v["usage"]["prompt_tokens_details"].update(cached_tokens=10**6)),
        "answer",
        "cached_tokens",
    ),
    "a key of another vendor": Case("chat", body(lambda v: v.update(provider="x")), "document", "$.provider"),
    "an index from 1 on": Case("chat", body(lambda v: v["choices"][0].update(index=1)), "answer", "index"),
    "text/plain": Case("chat", header("content-type", "text/plain"), "headers", "content-type"),
    "no request id": Case("chat", header("x-request-id", None), "headers", "x-request-id"),
    "no time of processing": Case("chat", header("openai-processing-ms", None), "headers", "processing"),
    "half of a body": Case("chat", lambda e: dataclasses.replace(e, text=e.text[:40]), "document", "$"),
    "arguments as an object": Case(
        "chat, a tool call",
        body(lambda v: message(v)["tool_calls"][0]["function"].update(arguments={"city": "Paris"})),
        "document",
        "arguments",
    ),
    "arguments that are no JSON": Case(
        "chat, a tool call",
        body(lambda v: message(v)["tool_calls"][0]["function"].update(arguments="city: Paris")),
        "answer",
        "arguments",
    ),
    "a call without type": Case(
        "chat, a tool call", body(lambda v: message(v)["tool_calls"][0].pop("type")), "document", "type"
    ),
    "finish_reason of a call without one": Case(
        "chat, a tool call", body(lambda v: message(v).pop("tool_calls")), "answer", "finish_reason"
    ),
    "prose where JSON was asked for": Case(
        "chat, JSON by a schema", body(lambda v: message(v).update(content="In Paris.")), "answer", "content"
    ),
    # Streams of chunks.
    "no [DONE]": Case("chat, streamed", text("data: [DONE]\n\n", ""), "stream", "the end"),
    "[DONE] twice": Case("chat, streamed", text("[DONE]\n\n", "[DONE]\n\ndata: [DONE]\n\n"), "stream", "event"),
    "an id of its own for a chunk": Case(
        "chat, streamed", events(lambda v: v[3].update(id="chatcmpl-2")), "stream", "$.id"
    ),
    "another model in mid-stream": Case(
        "chat, streamed", events(lambda v: v[3].update(model="x")), "stream", "$.model"
    ),
    "no role": Case("chat, streamed", events(lambda v: delta(v, 0).pop("role")), "stream", "role"),
    "the role in each delta": Case(
        "chat, streamed", events(lambda v: delta(v, 2).update(role="assistant")), "stream", "role"
    ),
    "no finish_reason": Case(
        "chat, streamed", events(lambda v: v[-1]["choices"][0].update(finish_reason=None)), "stream", "choice 0"
    ),
    "text after the finish_reason": Case("chat, streamed", events(lambda v: v.append(v[2])), "stream", "$.choices[0]"),
    "a line event:": Case("chat, streamed", text("data:", "event: chunk\ndata:", 1), "stream", "event 0"),
    "a chunk that is no JSON": Case("chat, streamed", text("data: {", "data: ", 1), "stream", "event 0"),
    "a stream as application/json": Case(
        "chat, streamed", header("content-type", "application/json"), "headers", "content-type"
    ),
    "usage that was not asked for": Case(
        "chat, streamed",
        events(lambda v: v[-1].update(usage={"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2})),
        "stream",
        "usage",
    ),
    "no chunk with the usage": Case(COUNTED, events(lambda v: v.pop()), "stream", "event"),
    "the usage in each chunk": Case(COUNTED, events(lambda v: v[1].update(usage=v[-1]["usage"])), "stream", "usage"),
    "no second choice": Case(
        "chat, two choices, streamed",
        events(lambda v: [c.update(index=2) for one in v for c in one["choices"] if c["index"] == 1]),
        "stream",
        "index",
    ),
    "a call without id": Case(
        CALL,
        events(lambda v: [call.pop("id", None) for call in calls(v)]),
        "stream",
        "tool_calls",
    ),
    "a call numbered from 1 on": Case(
        CALL,
        events(lambda v: [call.update(index=1) for call in calls(v)]),
        "stream",
        "index",
    ),
    "a lost delta of the arguments": Case(CALL, events(lambda v: v.pop(-3)), "answer", "arguments"),
    # Responses.
    "the usage of chat": Case("response", text("input_tokens", "prompt_tokens"), "document", "usage.input_tokens"),
    "an item of no known type": Case("response", text('"message"', '"text"'), "document", "output"),
    "text without annotations": Case(
        "response", body(lambda v: v["output"][-1]["content"][0].pop("annotations")), "document", "annotations"
    ),
    "other metadata than was sent": Case(SETTINGS, body(lambda v: v.update(metadata={})), "answer", "metadata"),
    "no instructions": Case(SETTINGS, body(lambda v: v.update(instructions=None)), "answer", "instructions"),
    "an event with another name": Case(
        STREAM, text("event: response.output_text.delta", "event: delta", 1), "stream", "event"
    ),
    "no line event:": Case(STREAM, text("event: response.created\n", ""), "stream", "event 0"),
    "a wrong sequence number": Case(STREAM, events(lambda v: v[5].update(sequence_number=9)), "stream", "event 5"),
    "no sequence numbers": Case(
        STREAM, events(lambda v: [e.pop("sequence_number") for e in v]), "document", "sequence_number"
    ),
    "no response.created": Case(STREAM, events(lambda v: without(v, "response.created")), "stream", "event 0"),
    "no response.completed": Case(STREAM, events(lambda v: v.pop()), "stream", "$.type"),
    "a part before its item": Case(
        STREAM, events(lambda v: swap(v, ADDED, "response.content_part.added")), "stream", "output_index"
    ),
    "a delta before its part": Case(
        STREAM,
        events(lambda v: swap(v, "response.content_part.added", "response.output_text.delta")),
        "stream",
        "event",
    ),
    "a lost delta of the text": Case(
        STREAM, events(lambda v: drop(v, "response.output_text.delta")), "stream", "$.text"
    ),
    "another id of the item": Case(
        STREAM, events(lambda v: at(v, "response.output_text.delta").update(item_id="msg_2")), "stream", "item_id"
    ),
    "an item that is not done": Case(STREAM, events(lambda v: without(v, DONE)), "stream", "the stream"),
    "an item that is done twice": Case(STREAM, events(lambda v: repeat(v, DONE)), "stream", "output_index"),
    "another output at the end": Case(
        STREAM, events(lambda v: v[-1]["response"].update(output=[])), "stream", "output"
    ),
    "a response that is in progress at its end": Case(
        STREAM, events(lambda v: v[-1]["response"].update(status="in_progress")), "stream", "status"
    ),
    "another response at the end": Case(
        STREAM, events(lambda v: v[-1]["response"].update(id="resp_2")), "stream", "response.id"
    ),
    "[DONE] after a response": Case(
        STREAM, lambda e: dataclasses.replace(e, text=f"{e.text}data: [DONE]\n\n"), "stream", "event"
    ),
    "other arguments at the end": Case(
        RESPONSE_CALL,
        events(lambda v: at(v, "response.function_call_arguments.done").update(arguments="{}")),
        "stream",
        "$.arguments",
    ),
    "another call_id at the end": Case(
        RESPONSE_CALL, events(lambda v: at(v, DONE)["item"].update(call_id="call_2")), "stream", "call_id"
    ),
    "a wrong number over a WebSocket": Case(
        SOCKET, events(lambda v: v[1].update(sequence_number=0)), "stream", "event 1"
    ),
    "another last event over a WebSocket": Case(
        SOCKET, events(lambda v: v[-1].update(type="response.failed")), "stream", "status"
    ),
    # Completions and models.
    "a completion without logprobs": Case(
        "completion", body(lambda v: v["choices"][0].pop("logprobs")), "document", "logprobs"
    ),
    "completions without [DONE]": Case("completion, streamed", text("data: [DONE]\n\n", ""), "stream", "the end"),
    "a model without an owner": Case("a model", body(lambda v: v.pop("owned_by")), "document", "owned_by"),
    "a list of another kind": Case("list of models", body(lambda v: v.update(object="models")), "document", "object"),
    # Errors.
    "an error without param": Case("wrong: no messages", body(lambda v: v["error"].pop("param")), "document", "param"),
    "a status as code": Case("wrong: no messages", body(lambda v: v["error"].update(code=400)), "document", "code"),
    "another param": Case("wrong: no messages", body(lambda v: v["error"].update(param="prompt")), "error", "param"),
    "another vendor's error": Case("wrong: no messages", text("error", "detail"), "error", "$.error"),
    "an error in plain text": Case(
        "wrong: no messages", lambda e: dataclasses.replace(e, text="no"), "error", "$.error"
    ),
    "an error as HTML": Case("wrong: no messages", header("content-type", "text/html"), "headers", "content-type"),
    "a wrong request that is a server's error": Case(
        "wrong: no messages", lambda e: dataclasses.replace(e, status=500), "error", "status"
    ),
    "a wrong request that is answered": Case(
        "wrong: no messages", lambda e: dataclasses.replace(e, status=200), "error", "status"
    ),
    "an error as a stream": Case(
        "wrong: no messages, streamed", header("content-type", "text/event-stream"), "headers", "content-type"
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_planted_deviation_is_found(name: str, answers: dict[str, Exchange], found_before: list[Finding]) -> None:
    case = CASES[name]
    changed = case.plant(answers[case.request])
    assert changed != answers[case.request]

    found = found_in([ask for ask in ASKS if ask.name == case.request], answers | {case.request: changed})

    new = [one for one in found if one not in found_before]
    assert [one for one in new if one.check == case.check and case.place in one.place], new

"""The requests that are sent to a server, and the real API's errors for the wrong ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from conform.exchange import Dialect

GROUPS = ("chat", "responses", "websocket", "completions", "models", "errors")
"""The groups of requests. ``--only`` chooses among them."""

type Group = Literal["chat", "responses", "websocket", "completions", "models", "errors"]


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One request. For a wrong request, ``wanted`` has fields of the expected error. ``key`` replaces the API key."""

    name: str
    group: Group
    dialect: Dialect
    method: str = "POST"
    path: str
    body: Any = None
    status: int = 200
    wanted: Mapping[str, Any] | None = None
    key: str | None = None


HELLO = "Say hello in five words."
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
CITY = "In which city is the Eiffel Tower?"
WEATHER = "How is the weather in Paris? Call the function."
CALL_ID = "call_0123456789abcdefghijklmn"


def plan(model: str, groups: Sequence[str] = GROUPS) -> list[Ask]:
    """Return the requests of some groups, in the order in which they are sent."""
    every = [*_chat(model), *_responses(model), *_completions(model), *_models(model), *_errors(model)]
    return [ask for ask in every if ask.group in groups]


def _chat(model: str) -> list[Ask]:
    hello = {"model": model, "messages": [{"role": "user", "content": HELLO}]}
    tool = {"type": "function", "function": {"name": "get_weather", "strict": True, "parameters": SCHEMA}}
    weather = {"model": model, "messages": [{"role": "user", "content": WEATHER}], "tools": [tool]}
    call = {"id": CALL_ID, "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
    told = [
        *weather["messages"],
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": CALL_ID, "content": "Sunny, 21 degrees."},
    ]
    form = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA}}
    city = {"model": model, "messages": [{"role": "user", "content": CITY}], "response_format": form}
    streamed = {"stream": True}
    counted = {"stream": True, "stream_options": {"include_usage": True}}
    bodies = {
        "chat": hello,
        "chat, streamed": hello | streamed,
        "chat, streamed with usage": hello | counted,
        "chat, two choices, streamed": hello | counted | {"n": 2},
        "chat, a tool call": weather | {"tool_choice": "required"},
        "chat, a tool call, streamed": weather | {"tool_choice": "required"} | counted,
        "chat, after a tool's result, streamed": weather | {"messages": told} | counted,
        "chat, JSON by a schema": city,
    }
    return [
        Ask(name=name, group="chat", dialect="chat", path="/chat/completions", body=body)
        for name, body in bodies.items()
    ]


def _responses(model: str) -> list[Ask]:
    hello = {"model": model, "input": HELLO, "store": False}
    tool = {"type": "function", "name": "get_weather", "strict": True, "parameters": SCHEMA}
    weather = {"model": model, "input": WEATHER, "tools": [tool], "tool_choice": "required", "store": False}
    told = [
        {"role": "user", "content": WEATHER},
        {"type": "function_call", "call_id": CALL_ID, "name": "get_weather", "arguments": '{"city": "Paris"}'},
        {"type": "function_call_output", "call_id": CALL_ID, "output": "Sunny, 21 degrees."},
    ]
    form = {"format": {"type": "json_schema", "name": "answer", "strict": True, "schema": SCHEMA}}
    echoed = {"instructions": "Be brief.", "metadata": {"topic": "hello"}, "max_output_tokens": 200}
    bodies = {
        "response": hello,
        "response, with settings that it repeats": hello | echoed,
        "response, streamed": hello | {"stream": True},
        "response, a tool call": weather,
        "response, a tool call, streamed": weather | {"stream": True},
        "response, after a tool's result, streamed": hello | {"input": told, "tools": [tool], "stream": True},
        "response, JSON by a schema": hello | {"input": CITY, "text": form},
    }
    sockets = {
        "WebSocket, a response": hello,
        "WebSocket, a tool call": weather,
    }
    return [
        *(
            Ask(name=name, group="responses", dialect="responses", path="/responses", body=b)
            for name, b in bodies.items()
        ),
        *(
            Ask(name=name, group="websocket", dialect="responses", method="GET", path="/responses", body=body)
            for name, body in sockets.items()
        ),
    ]


def _completions(model: str) -> list[Ask]:
    hello = {"model": model, "prompt": "Once upon a time", "max_tokens": 20}
    bodies = {
        "completion": hello,
        "completion, streamed": hello | {"stream": True},
        "completion, streamed with usage": hello | {"stream": True, "stream_options": {"include_usage": True}},
    }
    return [
        Ask(name=name, group="completions", dialect="completions", path="/completions", body=body)
        for name, body in bodies.items()
    ]


def _models(model: str) -> list[Ask]:
    return [
        Ask(name="list of models", group="models", dialect="models", method="GET", path="/models"),
        Ask(name="a model", group="models", dialect="models", method="GET", path=f"/models/{model}"),
    ]


def _errors(model: str) -> list[Ask]:
    """Return wrong requests. Only those fields of an error are checked that recordings or OpenAI's own pages show."""
    bad: dict[str, Any] = {"type": "invalid_request_error"}
    messages = [{"role": "user", "content": HELLO}]

    def wrong(name: str, dialect: Dialect, path: str, body: Any, status: int = 400, **wanted: Any) -> Ask:
        return Ask(
            name=f"wrong: {name}",
            group="errors",
            dialect=dialect,
            path=path,
            body=body,
            status=status,
            wanted=bad | wanted,
        )

    chat, responses = "/chat/completions", "/responses"
    return [
        wrong("no messages", "chat", chat, {"model": model}, param="messages", code="missing_required_parameter"),
        wrong("no messages, streamed", "chat", chat, {"model": model, "stream": True}, param="messages"),
        wrong("messages as a text", "chat", chat, {"model": model, "messages": HELLO}, param="messages"),
        wrong("a body that is no JSON", "chat", chat, '{"model": '),
        wrong("no choices at all", "chat", chat, {"model": model, "messages": messages, "n": 0}, param="n"),
        wrong("no such role", "chat", chat, {"model": model, "messages": [{"role": "clown", "content": "x"}]}),
        wrong(
            "a previous response that there is not", "responses", responses,
            {"model": model, "input": HELLO, "previous_response_id": "resp_" + "0" * 48},
            param="previous_response_id", code="previous_response_not_found",
        ),
        wrong("an input of a wrong type", "responses", responses, {"model": model, "input": 7, "stream": True}),
        wrong("a URL that there is not", "chat", "/no-such-thing", {}, 404, param=None),
        Ask(
            name="wrong: a model that there is not", group="errors", dialect="models", method="GET",
            path="/models/no-such-model", status=404, wanted=bad | {"param": "model", "code": "model_not_found"},
        ),
        Ask(
            name="wrong: an API key that there is not", group="errors", dialect="models", method="GET", path="/models",
            status=401, wanted=bad | {"param": None, "code": "invalid_api_key"}, key="sk-no-such-key",
        ),
    ]  # fmt: skip

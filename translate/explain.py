"""What becomes of each key of a request, and what Claude would be asked. Nobody is asked.

The functions that translate a request for an answer are used here too. There is no second list of parameters.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from translate.chat import known_keys as chat
from translate.chat.parameters import CHAT_COMPLETION_PARAMETERS, Parameter, check_parameters
from translate.chat.request import translate_request
from translate.completions import COMPLETION_PARAMETERS, translate_completion_request
from translate.errors import OpenAIError
from translate.known_keys import Ignored, Shape, read_paths, same, short, without_indexes
from translate.models import ModelChoice, choose_model
from translate.responses import known_keys as responses
from translate.responses.parameters import RESPONSE_PARAMETERS
from translate.responses.request import read_request, translate_response_request
from translate.turn import ContentBlock, Turn

type Endpoint = Literal["chat", "responses", "completions"]
type What = Literal["honoured", "ignored", "refused"]

PATHS: dict[Endpoint, str] = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "completions": "/v1/completions",
}

TABLES: dict[Endpoint, dict[str, Parameter]] = {
    "chat": CHAT_COMPLETION_PARAMETERS,
    "responses": RESPONSE_PARAMETERS,
    "completions": COMPLETION_PARAMETERS,
}

SHAPES: dict[Endpoint, Mapping[str, Shape]] = {
    "chat": chat.INSIDE,
    "responses": responses.INSIDE,
    "completions": {"stream_options": chat.INSIDE["stream_options"]},
}

_OF_RESPONSES = ("input", "instructions", "previous_response_id", "conversation", "max_output_tokens")


@dataclass(frozen=True, slots=True)
class Row:
    """What becomes of a key, or of several keys whose paths differ only in their indexes."""

    path: str
    what: What
    how: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """What becomes of a request. ``turns`` are what Claude would be asked; none if the request is refused.

    ``model`` is the Claude model, None if the request names no model that can be mapped. ``error`` is the answer that
    the app would get. ``notes`` say what was not looked up for this explanation.
    """

    endpoint: Endpoint
    asked_model: str
    model: ModelChoice | None
    rows: tuple[Row, ...]
    turns: tuple[Turn, ...]
    notes: tuple[str, ...]
    error: OpenAIError | None = None


@dataclass(frozen=True, slots=True)
class Operator:
    """The operator's settings that decide what becomes of a request."""

    model_map: Mapping[str, str]
    default_model: str
    show_reasoning: bool = False
    web_search: bool = True
    open_reasoning: Callable[[str], ContentBlock | None] = lambda sealed: None


def guess_endpoint(fields: Mapping[str, Any]) -> Endpoint | None:
    """Return the endpoint that takes a body with these fields; None if that cannot be told."""
    if "messages" in fields:
        return "chat"
    if any(name in fields for name in _OF_RESPONSES):
        return "responses"
    if "prompt" in fields:
        # The Responses API has an object of this name.
        return "responses" if isinstance(fields["prompt"], dict) else "completions"
    return None


def explain(endpoint: Endpoint, fields: Mapping[str, Any], operator: Operator) -> Explanation:
    """Say what becomes of the request with these fields."""
    name = fields.get("model")
    asked_model = name if isinstance(name, str) else ""
    ignored: tuple[str, ...] = ()
    turns: tuple[Turn, ...] = ()
    error: OpenAIError | None = None
    try:
        ignored, turns = _translated(endpoint, fields, operator)
    except OpenAIError as refused:
        error = refused
    try:
        model = choose_model(asked_model, operator.model_map, operator.default_model) if asked_model else None
    except OpenAIError:
        model = None
    rows = tuple(_rows(endpoint, fields, ignored, error))
    return Explanation(endpoint, asked_model, model, rows, turns, tuple(_notes(endpoint, fields)), error)


def _translated(
    endpoint: Endpoint, fields: Mapping[str, Any], operator: Operator
) -> tuple[tuple[str, ...], tuple[Turn, ...]]:
    """Return the paths without effect, and the turns. Raises OpenAIError (400)."""
    maps = operator.model_map, operator.default_model
    shows, searches = operator.show_reasoning, operator.web_search
    match endpoint:
        case "chat":
            chat_request = translate_request(fields, *maps, show_reasoning=shows, web_search=searches)
            return chat_request.ignored, (chat_request.turn,) * (chat_request.request.n or 1)
        case "responses":
            read = read_request(fields)
            response = translate_response_request(
                read,
                *maps,
                show_reasoning=shows,
                web_search=searches,
                previous=(),
                open_reasoning=operator.open_reasoning,
            )
            return response.ignored, (response.turn,)
        case _:
            completion = translate_completion_request(fields, *maps)
            return completion.ignored, tuple(one.turn for one in completion.chats)


def _rows(
    endpoint: Endpoint, fields: Mapping[str, Any], ignored: tuple[str, ...], error: OpenAIError | None
) -> Iterator[Row]:
    """Yield the rows of each parameter: its own, then those of the keys in it."""
    table, inside = TABLES[endpoint], SHAPES[endpoint]
    left = list(ignored)
    for name, value in fields.items():
        row = _parameter(name, value, table)
        if row.what == "refused" and error is None:
            row = Row(name, "honoured", table[name].how)  # it is refused alone, and not beside the others
        elif error is not None and error.param == name:
            row = Row(name, "refused", error.message)
        mine = [path for path in left if path == name or path.startswith((f"{name}.", f"{name}["))]
        if row.what == "honoured" and name in mine:
            row = Row(name, "ignored", _why(name, mine, row.how))
        yield row
        if row.what != "honoured":
            continue
        read = [path for path in read_paths(value, inside.get(name), name) if path not in mine]
        yield from (Row(path, "honoured", "") for path in short(read))
        for form in dict.fromkeys(short(mine)):
            yield Row(form, "ignored", _why(form, mine, row.how))
    if error is not None and error.param not in fields:
        yield Row(error.param or "(the request)", "refused", error.message)


def _parameter(name: str, value: Any, table: Mapping[str, Parameter]) -> Row:
    """Return the row of one parameter, as if it stood alone."""
    try:
        found = check_parameters({name: value}, table)
    except OpenAIError as error:
        return Row(name, "refused", error.message)
    how = table[name].how
    if found:
        return Row(name, "ignored", how)
    if any(same(value, fine) for fine in table[name].unless):
        return Row(name, "honoured", "this value asks for nothing")
    return Row(name, "honoured", how)


def _why(form: str, paths: list[str], how: str) -> str:
    """Return the reason for the paths of this form. ``how`` says of the parameter what becomes of it."""
    told = [path.why for path in paths if isinstance(path, Ignored) and form in (path, without_indexes(path))]
    return "; ".join(dict.fromkeys(told)) or how


def _notes(endpoint: Endpoint, fields: Mapping[str, Any]) -> Iterator[str]:
    if endpoint != "responses":
        if fields.get("session_id"):
            yield "the messages that the session has kept come before these"
        return
    if fields.get("previous_response_id") or fields.get("conversation"):
        yield "the stored conversation comes before this input, and is not looked up here"
    tools = fields.get("tools")
    if isinstance(tools, list) and any(isinstance(tool, dict) and tool.get("type") == "mcp" for tool in tools):
        yield "the MCP servers are not asked for their tools here"


def endpoints() -> list[str]:
    """Return the names of the endpoints."""
    return list(get_args(Endpoint.__value__))

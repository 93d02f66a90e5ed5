"""The body of ``POST /v1/responses`` -> a Turn."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import UNSET

from translate.assemble import Assembly, Options
from translate.chat.messages import invalid_type
from translate.chat.parameters import check_parameters
from translate.chat.wire import ReasoningEffort
from translate.errors import OpenAIError
from translate.known_keys import Ignored, ignored_keys
from translate.models import DEFAULT_MODEL, DEFAULT_MODEL_MAP, choose_model
from translate.responses.asked import Conversation, Item, ResponseRequest, Text
from translate.responses.input_items import Input, translate_input
from translate.responses.known_keys import REQUEST, superseded
from translate.responses.mcp import ListedTool, McpCall, McpServer, as_functions, listed_before, mcp_servers
from translate.responses.offered import offered_tools
from translate.responses.parameters import ENCRYPTED_REASONING, RESPONSE_PARAMETERS, SOURCES, check_include
from translate.responses.stream import ResponseOptions
from translate.responses.tools import (
    echoed_format,
    echoed_tools,
    translate_response_tools,
    translate_text_format,
    without_effect,
)
from translate.responses.wire import REASONING, Echo
from translate.turn import ContentBlock, Turn


@dataclass(frozen=True, slots=True)
class TranslatedResponse:
    """A translated request.

    ``ignored`` are the paths of what has no effect in it. ``items`` are the items of this request with references
    resolved, in the form in which they are stored (without ids of their own). ``options`` decide what the answer shows.
    ``mcp_calls`` are the tools of MCP servers, by Claude's names for them.
    """

    turn: Turn
    request: ResponseRequest
    ignored: tuple[str, ...]
    model_known: bool
    items: tuple[Item, ...]
    options: ResponseOptions
    mcp_calls: Mapping[str, McpCall]
    asked_in_words: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Needed:
    """What must be looked up for a request: the conversation that it continues, stored items, and MCP servers.

    ``listed`` are those servers' tools that the request itself lists.
    """

    previous_response_id: str | None
    conversation_id: str | None
    item_ids: tuple[str, ...]
    servers: tuple[McpServer, ...]
    listed: Mapping[str, tuple[ListedTool, ...]]


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """A request whose fields have the right types. ``ignored`` are the parameters that have no effect.

    ``fields`` are the fields of the body as the app sent them.
    """

    request: ResponseRequest
    ignored: tuple[str, ...]
    fields: Mapping[str, Any]


def read_request(fields: Mapping[str, Any]) -> ReadRequest:
    """Read the fields of the body of ``POST /v1/responses``.

    Raises OpenAIError (400) naming what is of the wrong type or not supported.
    """
    ignored = check_parameters(fields, RESPONSE_PARAMETERS)
    try:
        return ReadRequest(msgspec.convert(fields, ResponseRequest), tuple(ignored), fields)
    except msgspec.ValidationError as error:
        raise invalid_type(error) from None


def needed(read: ReadRequest) -> Needed:
    """Return what must be looked up before the request can be translated. Raises OpenAIError (400).

    ``item_ids`` are the items that the input refers to, and reasoning that was sent back without its content.
    """
    request = read.request
    items = [item for item in request.input if isinstance(item, dict)] if isinstance(request.input, list) else []
    wanted = [item.get("id") for item in items if _is_by_id(item)]
    ids = tuple(dict.fromkeys(id for id in wanted if isinstance(id, str)))
    return Needed(
        request.previous_response_id,
        request.conversation_id,
        ids,
        servers=mcp_servers(request.tools or ()),
        listed=listed_before(items),
    )


def translate_response_request(
    read: ReadRequest,
    model_map: Mapping[str, str] = DEFAULT_MODEL_MAP,
    default_model: str = DEFAULT_MODEL,
    *,
    show_reasoning: bool = False,
    web_search: bool = True,
    generate: bool = True,
    previous: Sequence[Item] | None = None,
    stored: Mapping[str, Item] | None = None,
    mcp_tools: Mapping[str, Sequence[ListedTool]] | None = None,
    open_reasoning: Callable[[str], ContentBlock | None],
) -> TranslatedResponse:
    """Translate a request.

    ``show_reasoning`` asks for a summary of Claude's thinking even if the request does not. ``web_search`` says whether
    Claude may search the web. ``generate`` False means that nothing will be answered: the request is only remembered.
    ``previous`` are the items of the conversation that ``previous_response_id`` or ``conversation`` names, oldest
    first; None means that there is no such conversation. ``stored`` are the items that the input refers to, by id.
    ``mcp_tools`` are the tools of the MCP servers that the request names, by server label. ``open_reasoning`` returns
    the content block inside an ``encrypted_content`` of this proxy, and None for any other text.

    Raises OpenAIError (400) that names what is malformed, of the wrong type, or not supported.
    """
    request = read.request
    ignored = [*read.ignored, *check_include(request.include or [])]
    _check_conversation(request, previous)
    if request.input is None and not previous:
        message = "One of 'input', 'previous_response_id' or 'conversation' must be provided."
        raise OpenAIError(message, param="input", code="missing_required_parameter")
    choice = choose_model(request.model, model_map, default_model)
    said = translate_input(
        request.input or [],
        instructions=request.instructions,
        previous=previous or (),
        stored=stored,
        tools=request.tools or (),
        open_reasoning=open_reasoning,
        generate=generate,
    )
    show_summary = show_reasoning or _summary(request) is not None
    own, mcp_calls = _offered(request, mcp_tools or {})
    asked = _with_format(request, said.format)
    turn, unused = _turn(
        _to_compact(request) if said.compact else asked,
        [*own, *said.tools],
        choice.model,
        said,
        previous or (),
        show_reasoning=show_summary,
        web_search=web_search,
    )
    options = ResponseOptions(
        echo=_echo(request),
        show_summary=show_summary,
        # If the response is not stored, this is the only way for the app to send the thinking back.
        show_encrypted=request.store is False or ENCRYPTED_REASONING in (request.include or ()),
        unfence=not said.compact and _format(asked).get("type") != "text",
        show_sources=SOURCES in (request.include or ()),
        compact=said.compact,
        tools=offered_tools([tool for _, tool in own], [tool for _, tool in said.tools], said.loaded),
    )
    ignored += [*_without_effect(request, web_search=web_search), *said.ignored, *unused, *superseded(request)]
    ignored += ignored_keys(read.fields, REQUEST, skip=ignored)
    in_words = _asked_in_words(_format(asked)) if turn.output_format is None and not said.compact else None
    return TranslatedResponse(turn, request, tuple(ignored), choice.known, said.items, options, mcp_calls, in_words)


def _with_format(request: ResponseRequest, format: dict[str, Any] | None) -> ResponseRequest:
    """Return the request with the text format that an item of its input sets."""
    return request if format is None else msgspec.structs.replace(request, text=Text(format=format))


def _to_compact(request: ResponseRequest) -> ResponseRequest:
    """Return the request for a summary of the conversation: as text, without thinking and without tool calls."""
    choice = "none" if request.tools else None
    return msgspec.structs.replace(request, tool_choice=choice, reasoning=None, thinking=None, text=None)


def _is_by_id(item: Item) -> bool:
    kind = item.get("type")
    if kind == "reasoning":
        return not item.get("encrypted_content")
    return kind == "item_reference" or (kind is None and "role" not in item)


def _check_conversation(request: ResponseRequest, previous: Sequence[Item] | None) -> None:
    if request.previous_response_id is not None and request.conversation is not None:
        message = "'previous_response_id' and 'conversation' cannot be used together."
        raise OpenAIError(message, param="previous_response_id", code="mutually_exclusive_parameters")
    if previous is not None:
        return
    if request.previous_response_id is not None:
        message = f"Previous response with id '{request.previous_response_id}' not found."
        raise OpenAIError(message, param="previous_response_id", code="previous_response_not_found")
    if request.conversation is not None:
        message = f"Conversation with id '{request.conversation_id}' not found."
        raise OpenAIError(message, param="conversation", code="conversation_not_found")


def _offered(
    request: ResponseRequest, mcp_tools: Mapping[str, Sequence[ListedTool]]
) -> tuple[list[tuple[str, Any]], dict[str, McpCall]]:
    """Return the request's tools with their paths, and the tools of MCP servers by Claude's names for them."""
    servers = {server.path: server for server in mcp_servers(request.tools or ())}
    offered: list[tuple[str, Any]] = []
    calls: dict[str, McpCall] = {}
    for path, tool in ((f"tools[{index}]", tool) for index, tool in enumerate(request.tools or ())):
        if (server := servers.get(path)) is None:
            offered.append((path, tool))
            continue
        functions, of_server = as_functions(server, mcp_tools.get(server.label, ()))
        offered += functions
        calls |= of_server
    return offered, calls


def _turn(
    request: ResponseRequest,
    offered: Sequence[tuple[str, Any]],
    model: str,
    said: Input,
    previous: Sequence[Item],
    *,
    show_reasoning: bool,
    web_search: bool,
) -> tuple[Turn, list[str]]:
    """Return the Turn, and the names of the parameters that this model does not accept."""
    options = _options(request, model, None if said.compact else said.effort, show_reasoning=show_reasoning)
    # If the input has the thinking that led to its tool calls, the model can think on, as if no tool had been called.
    assembly = Assembly(options, said.messages, thinks_about=said.messages[:1] if said.thought else None)
    tools = translate_response_tools(
        [tool for _, tool in offered],
        request.tool_choice,
        request.parallel_tool_calls,
        can_force=assembly.can_force,
        where=[path for path, _ in offered],
        web_search=web_search,
        max_searches=request.max_tool_calls,
    )
    output = translate_text_format(_format(request), [request.input, request.instructions, previous])
    return assembly.turn(said.system, tools, output, strict="text.format.strict", effort="reasoning.effort")


def _options(request: ResponseRequest, model: str, effort: ReasoningEffort | None, *, show_reasoning: bool) -> Options:
    """Return what the request asks of the model. ``effort`` is the one that an item of the input sets."""
    return Options(
        model=model,
        max_tokens=request.max_output_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=request.top_k,
        thinking=request.thinking,
        reasoning_effort=effort or (request.reasoning.effort if request.reasoning else None),
        service_tier=request.service_tier,
        user=request.safety_identifier or request.user,
        show_reasoning=show_reasoning,
    )


def _format(request: ResponseRequest) -> dict[str, Any]:
    return (request.text.format if request.text else None) or {"type": "text"}


def _asked_in_words(format: Mapping[str, Any]) -> Mapping[str, Any] | None:
    match format:
        case {"type": "json_object"}:
            return {"type": "object"}
        case {"type": "json_schema", "schema": dict(schema)}:
            return schema
        case _:
            return None


def _summary(request: ResponseRequest) -> str | None:
    return (request.reasoning.summary or request.reasoning.generate_summary) if request.reasoning else None


def _without_effect(request: ResponseRequest, *, web_search: bool) -> list[str]:
    """Return the paths of nested fields that have no effect."""
    found: list[str] = []
    if request.reasoning and request.reasoning.context not in (None, "auto"):
        found.append(Ignored("reasoning.context", "Claude decides itself which of its earlier thinking it reads"))
    if request.reasoning and request.reasoning.mode not in (None, "standard"):
        found.append(Ignored("reasoning.mode", "Claude has no such mode"))
    if request.text and request.text.verbosity not in (None, "medium"):
        found.append(Ignored("text.verbosity", "Claude has no such knob"))
    return [*found, *without_effect(request.tools or (), web_search=web_search)]


def _echo(request: ResponseRequest) -> Echo:
    """Return the fields that the response repeats. A field that is not set has OpenAI's default."""
    given: dict[str, Any] = {
        "store": request.store,
        "background": request.background,
        "metadata": request.metadata,
        "parallel_tool_calls": request.parallel_tool_calls,
        "service_tier": request.service_tier,
        "temperature": request.temperature,
        "tool_choice": request.tool_choice,
        "top_p": request.top_p,
        "truncation": request.truncation,
        "user": request.user,
    }
    retention = request.prompt_cache_retention
    reasoning = msgspec.to_builtins(request.reasoning) if request.reasoning else {}
    reasoning = {name: value for name, value in reasoning.items() if value is not None and name != "generate_summary"}
    verbosity = request.text.verbosity if request.text else None
    return Echo(
        model=request.model,
        instructions=request.instructions,
        previous_response_id=request.previous_response_id,
        conversation=Conversation(request.conversation_id) if request.conversation_id is not None else UNSET,
        max_output_tokens=request.max_output_tokens,
        max_tool_calls=request.max_tool_calls,
        prompt_cache_key=request.prompt_cache_key,
        prompt_cache_retention=retention.replace("-", "_") if retention else None,
        reasoning={**REASONING, **reasoning, "summary": _summary(request)},
        safety_identifier=request.safety_identifier,
        text={"format": echoed_format(_format(request)), "verbosity": verbosity or "medium"},
        tools=echoed_tools(request.tools or []),
        **{name: value for name, value in given.items() if value is not None},
    )

"""The request of a response -> Turn."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from msgspec import UNSET

from translate.chat.messages import invalid_type
from translate.chat.parameters import check_parameters
from translate.chat.request import SERVICE_TIER, effort_for, metadata_for, sampling_for, thinking_for
from translate.chat.wire import ChatCompletionRequest
from translate.errors import OpenAIError
from translate.models import DEFAULT_MODEL, DEFAULT_MODEL_MAP, Capabilities, capabilities, choose_model
from translate.responses.asked import Conversation, Item, ReasoningEffort, ResponseRequest, Text
from translate.responses.input_items import Input, translate_input
from translate.responses.mcp import ListedTool, McpCall, McpServer, as_functions, listed_before, mcp_servers
from translate.responses.offered import Offered, offered_tools
from translate.responses.parameters import ENCRYPTED_REASONING, RESPONSE_PARAMETERS, SOURCES, check_include
from translate.responses.tools import (
    echoed_format,
    echoed_tools,
    translate_response_tools,
    translate_text_format,
    without_effect,
)
from translate.responses.wire import Echo
from translate.tools import tool_names, tools_for_history
from translate.turn import ContentBlock, Message, Turn


@dataclass(frozen=True, slots=True)
class TranslatedResponse:
    """A request understood.

    ``ignored`` are the parameters, and the paths of parts, that have no effect. ``echo`` is what the response repeats.
    ``items`` are this request's own, references resolved, as a store would keep them (without ids of their own). The
    rest says how the answer is told: with a summary of the thinking, with the thinking itself sealed, with a code fence
    around JSON taken off, with all that a search of the web found, as notes that only we can read (``compact``), and
    which of the app's tools are no plain functions, by Claude's names for them. ``mcp_calls`` are the tools of MCP
    servers, by such names.
    """

    turn: Turn
    request: ResponseRequest
    ignored: tuple[str, ...]
    model_known: bool
    echo: Echo
    items: tuple[Item, ...]
    show_summary: bool
    show_encrypted: bool
    unfence: bool
    tools: Mapping[str, Offered]
    show_sources: bool
    compact: bool
    mcp_calls: Mapping[str, McpCall]


@dataclass(frozen=True, slots=True)
class Needed:
    """What a request needs: of what is stored, one of the two conversations, and single items; and MCP servers.

    ``listed`` are the tools of those servers that the request itself tells of.
    """

    previous_response_id: str | None
    conversation_id: str | None
    item_ids: tuple[str, ...]
    servers: tuple[McpServer, ...]
    listed: Mapping[str, tuple[ListedTool, ...]]


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """A request whose fields have the right types. ``ignored`` are the parameters that have no effect."""

    request: ResponseRequest
    ignored: tuple[str, ...]


def read_request(fields: Mapping[str, Any]) -> ReadRequest:
    """Read the fields of the body of ``POST /v1/responses``.

    Raises OpenAIError (400) naming what is of the wrong type or not supported.
    """
    ignored = check_parameters(fields, RESPONSE_PARAMETERS)
    try:
        return ReadRequest(msgspec.convert(fields, ResponseRequest), tuple(ignored))
    except msgspec.ValidationError as error:
        raise invalid_type(error) from None


def needed(read: ReadRequest) -> Needed:
    """Return what to look up before the request can be translated. Raises OpenAIError (400).

    Items are those referred to, and reasoning that was sent back without its content.
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
    """Make a Turn of a request.

    ``show_reasoning`` asks for a summary of what Claude thinks, where it thinks at all, even if the request does not;
    ``web_search`` says whether the web may be searched. Without ``generate`` nothing is to be answered, and only what
    the request says matters.
    ``previous`` are the items that ``previous_response_id`` or ``conversation`` stands for, oldest first; None: there
    is none of that name. ``stored`` are other items, by id, that the input may refer to. ``mcp_tools`` are the tools of
    the MCP servers that the request names, by their labels. ``open_reasoning`` returns the block that an
    ``encrypted_content`` of ours holds, None for any other.

    Raises OpenAIError (400) naming what is malformed, of the wrong type, or not supported.
    """
    request = read.request
    ignored = [*read.ignored, *check_include(request.include or [])]
    _check_conversation(request, previous)
    if request.input is None and not previous:
        message = "One of 'input', 'previous_response_id' or 'conversation' must be provided."
        raise OpenAIError(message, param="input", code="missing_required_parameter")
    choice = choose_model(request.model, model_map, default_model)
    can = capabilities(choice.model)
    said = translate_input(
        request.input or [],
        instructions=request.instructions,
        previous=previous or (),
        stored=stored,
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
        can,
        said,
        previous or (),
        show=show_summary,
        web_search=web_search,
    )
    return TranslatedResponse(
        turn,
        request,
        (*ignored, *_without_effect(request, web_search=web_search), *said.ignored, *unused),
        choice.known,
        echo=_echo(request),
        items=said.items,
        show_summary=show_summary,
        # Without a store there is no other way to have the thinking again.
        show_encrypted=request.store is False or ENCRYPTED_REASONING in (request.include or ()),
        unfence=not said.compact and _format(asked).get("type") != "text" and turn.output_format is None,
        show_sources=SOURCES in (request.include or ()),
        compact=said.compact,
        mcp_calls=mcp_calls,
        tools=offered_tools([tool for _, tool in own], [tool for _, tool in said.tools]),
    )


def _with_format(request: ResponseRequest, format: dict[str, Any] | None) -> ResponseRequest:
    """Return the request with the format that an item of its input has set."""
    return request if format is None else msgspec.structs.replace(request, text=Text(format=format))


def _to_compact(request: ResponseRequest) -> ResponseRequest:
    """Return the request for notes on a conversation: text, without thinking and without calls."""
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
    """Return the request's tools with their paths, and whose those of MCP servers are, by Claude's names for them."""
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
    can: Capabilities,
    said: Input,
    previous: Sequence[Item],
    *,
    show: bool,
    web_search: bool,
) -> tuple[Turn, list[str]]:
    """Return the Turn, and the names of parameters that this model does not take."""
    chat = _in_chat_words(request, None if said.compact else said.effort)
    # Of a turn that ends with tools' outputs only the thinking matters that led to their calls: where the app has sent
    # it back, the model can go on thinking.
    thinking = thinking_for(chat, can, said.messages[:1] if said.thought else said.messages, show=show)
    # While a model thinks, a tool cannot be forced, and there is no sampling to set.
    tools = translate_response_tools(
        [tool for _, tool in offered],
        request.tool_choice,
        request.parallel_tool_calls,
        can_force=can.forced_tools and thinking is None,
        where=[path for path, _ in offered],
        web_search=web_search,
        max_searches=request.max_tool_calls,
    )
    output = translate_text_format(_format(request), [request.input, request.instructions, previous])
    sampling, unused = sampling_for(chat, can if thinking is None else replace(can, sampling="none"))
    tier = SERVICE_TIER.get(request.service_tier or "")
    if request.service_tier and tier is None:
        unused.append("service_tier")
    unused += tools.loose
    if output.loose:
        unused.append("text.format.strict")
    declared = tools.tools or tools_for_history(_called(said.messages))
    turn = Turn(
        model=model,
        messages=said.messages,
        system="\n\n".join(filter(None, [said.system, tools.instruction, output.instruction])) or None,
        max_tokens=request.max_output_tokens,
        temperature=sampling.get("temperature"),
        top_p=sampling.get("top_p"),
        top_k=request.top_k if "top_k" in sampling else None,
        thinking=thinking,
        effort=effort_for(chat.reasoning_effort, can),
        tools=declared,
        tool_choice=tools.tool_choice if tools.tools or not declared else {"type": "none"},
        output_format=output.format,
        service_tier=tier,
        metadata=metadata_for(request.safety_identifier or request.user),
    )
    return turn, unused


def _in_chat_words(request: ResponseRequest, effort: ReasoningEffort | None) -> ChatCompletionRequest:
    """Return what decides how a model samples and thinks, which both dialects decide alike."""
    return ChatCompletionRequest(
        model=request.model,
        messages=[],
        max_completion_tokens=request.max_output_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=request.top_k,
        thinking=request.thinking,
        reasoning_effort=effort or (request.reasoning.effort if request.reasoning else None),
    )


def _called(messages: Sequence[Message]) -> list[str]:
    return tool_names([block for message in messages for block in message.content])


def _format(request: ResponseRequest) -> dict[str, Any]:
    return (request.text.format if request.text else None) or {"type": "text"}


def _summary(request: ResponseRequest) -> str | None:
    return (request.reasoning.summary or request.reasoning.generate_summary) if request.reasoning else None


def _without_effect(request: ResponseRequest, *, web_search: bool) -> list[str]:
    """Return the paths of fields inside others that have no effect."""
    found = []
    if request.reasoning and request.reasoning.context not in (None, "auto"):
        found.append("reasoning.context")
    if request.reasoning and request.reasoning.mode not in (None, "standard"):
        found.append("reasoning.mode")
    if request.text and request.text.verbosity not in (None, "medium"):
        found.append("text.verbosity")
    return [*found, *without_effect(request.tools or (), web_search=web_search)]


def _echo(request: ResponseRequest) -> Echo:
    """Return what a response repeats. Where OpenAI's document has no null, a field is left out."""
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
        reasoning={"effort": None, **reasoning, "summary": _summary(request)},
        safety_identifier=request.safety_identifier,
        text={"format": echoed_format(_format(request)), "verbosity": verbosity or "medium"},
        tools=echoed_tools(request.tools or []),
        **{name: value for name, value in given.items() if value is not None},
    )

"""ChatCompletionRequest -> Turn."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import msgspec

from translate.chat.messages import invalid_type, translate_messages
from translate.chat.parameters import check_parameters
from translate.chat.response_format import translate_response_format
from translate.chat.wire import ChatCompletionRequest
from translate.errors import OpenAIError
from translate.models import DEFAULT_MODEL, DEFAULT_MODEL_MAP, Capabilities, capabilities, choose_model
from translate.tools import tool_names, tools_for_history, translate_tools
from translate.turn import Effort, Message, Turn
from translate.web_search import WebSearchOptions, searches_by_itself, web_search_tool

# OpenAI takes up to four; Claude's API names no limit of its own, so OpenAI's is kept.
MAX_STOP_SEQUENCES = 4

# OpenAI's reasoning_effort -> Claude's effort. Claude has nothing below low.
EFFORT: dict[str, Effort] = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "max",
}


# https://docs.anthropic.com/en/api/messages, «metadata.user_id»: «an opaque identifier … do not include any identifying
# information such as name, email address, or phone number», at most 256 characters. The API answers 400 to an address.
MAX_USER_ID = 256
_IDENTIFYING = re.compile(r".*@.*|[+(]?[\d\s().-]{7,}", re.DOTALL)

# https://docs.anthropic.com/en/api/service-tiers
SERVICE_TIER = {"auto": "auto", "default": "standard_only"}

# reasoning_effort -> budget_tokens, for the models that think by budget.
BUDGET = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 24000, "max": 31999}
MIN_BUDGET = 1024
BUDGET_ROOM = 64_000


@dataclass(frozen=True, slots=True)
class Translated:
    """A request understood: the Turn, the request's own words, and what of it has no effect.

    ``cuts`` are the stop sequences that Claude does not take.
    """

    turn: Turn
    request: ChatCompletionRequest
    ignored: tuple[str, ...]
    model_known: bool
    legacy_functions: bool = False
    cuts: tuple[str, ...] = ()

    @property
    def unfence(self) -> bool:
        """Whether JSON was asked for by an instruction alone, so that a code fence may be around it."""
        wanted = (self.request.response_format or {}).get("type", "text")
        return wanted != "text" and self.turn.output_format is None


def translate_request(
    fields: Mapping[str, Any],
    model_map: Mapping[str, str] = DEFAULT_MODEL_MAP,
    default_model: str = DEFAULT_MODEL,
    *,
    show_reasoning: bool = False,
    web_search: bool = True,
) -> Translated:
    """Make a Turn of the fields of the body of ``POST /v1/chat/completions``.

    ``show_reasoning`` asks for a summary of what Claude thinks, where it thinks at all; ``web_search`` says whether the
    web may be searched.

    Raises OpenAIError (400) naming what is malformed, of the wrong type, or not supported.
    """
    ignored = check_parameters(fields)
    try:
        request = msgspec.convert(fields, ChatCompletionRequest)
    except msgspec.ValidationError as error:
        raise invalid_type(error) from None
    choice = choose_model(request.model, model_map, default_model)
    can = capabilities(choice.model)
    system, messages = translate_messages(request.messages)
    thinking = thinking_for(request, can, messages, show=show_reasoning)
    # While a model thinks, a tool cannot be forced, and there is no sampling to set.
    wanted = request.web_search_options or (WebSearchOptions() if searches_by_itself(request.model) else None)
    options = wanted if web_search else None
    location = options.user_location if options is not None else None
    search = [web_search_tool(location.approximate if location else None)] if options is not None else []
    tools = translate_tools(fields, can_force=can.forced_tools and thinking is None, server_tools=search)
    output = translate_response_format(request.response_format, request.messages)
    sampling, unused = sampling_for(request, can if thinking is None else replace(can, sampling="none"))
    tier = SERVICE_TIER.get(request.service_tier or "")
    if request.service_tier and tier is None:
        unused.append("service_tier")
    unused += tools.loose
    if output.loose:
        unused.append("response_format.json_schema.strict")
    offered = tools.tools or tools_for_history(_called(messages))
    sequences, cuts = _stop_sequences(request.stop)
    turn = Turn(
        model=choice.model,
        messages=messages,
        system="\n\n".join(filter(None, [system, tools.instruction, output.instruction])) or None,
        max_tokens=request.max_completion_tokens or request.max_tokens,
        temperature=sampling.get("temperature"),
        top_p=sampling.get("top_p"),
        top_k=request.top_k if "top_k" in sampling else None,
        stop_sequences=sequences,
        thinking=thinking,
        effort=effort_for(request.reasoning_effort, can),
        tools=offered,
        tool_choice=tools.tool_choice if tools.tools or not offered else {"type": "none"},
        output_format=output.format,
        service_tier=tier,
        metadata=metadata_for(request.safety_identifier or request.user),
    )
    unused += _unused_of_search(wanted, searches=bool(search))
    return Translated(turn, request, (*ignored, *unused), choice.known, tools.legacy, cuts)


def _unused_of_search(options: WebSearchOptions | None, *, searches: bool) -> list[str]:
    if options is None:
        return []
    if not searches:
        return ["web_search_options"]
    return ["web_search_options.search_context_size"] if options.search_context_size not in (None, "medium") else []


def _answers_a_tool(message: Message) -> bool:
    return any(block["type"] == "tool_result" for block in message.content)


def _called(messages: Sequence[Message]) -> list[str]:
    return tool_names([block for message in messages for block in message.content])


def sampling_for(request: ChatCompletionRequest, can: Capabilities) -> tuple[dict[str, float], list[str]]:
    """Return the sampling parameters that the model takes, and the names of those it does not."""
    asked: dict[str, float] = {}
    # 1 is both sides' default, so asking for it asks for nothing.
    if request.temperature is not None and request.temperature != 1:
        asked["temperature"] = min(request.temperature, 1.0)
    if request.top_p is not None and request.top_p != 1:
        asked["top_p"] = request.top_p
    if request.top_k is not None:
        asked["top_k"] = request.top_k
    if can.sampling == "none":
        return {}, list(asked)
    if can.sampling == "one" and "temperature" in asked and "top_p" in asked:
        del asked["top_p"]
        return asked, ["top_p"]
    return asked, []


def thinking_for(
    request: ChatCompletionRequest, can: Capabilities, messages: Sequence[Message], *, show: bool
) -> Mapping[str, Any] | None:
    """Return Claude's ``thinking`` for what was asked; None where nothing was, or it cannot be."""
    if request.thinking is not None:
        return request.thinking
    asked = request.reasoning_effort not in (None, "none")
    if can.adaptive_thinking:
        # Where it cannot be switched off it need only be mentioned to have it shown.
        wanted = asked or (show and not can.thinking_off)
        return {"type": "adaptive", **({"display": "summarized"} if show else {})} if wanted else None
    # Models that think by budget want the thinking before a tool's call sent back, and an app has none of it.
    if not asked or _answers_a_tool(messages[-1]):
        return None
    # A budget must be at least 1,024 tokens and less than max_tokens; an answer must fit in as well.
    room = (request.max_completion_tokens or request.max_tokens or BUDGET_ROOM) // 2
    budget = min(BUDGET[str(request.reasoning_effort)], room)
    return {"type": "enabled", "budget_tokens": budget} if budget >= MIN_BUDGET else None


def effort_for(reasoning_effort: str | None, can: Capabilities) -> Effort | None:
    """Return Claude's effort for OpenAI's; None leaves the model's own."""
    if reasoning_effort is not None and reasoning_effort != "none":
        return EFFORT[reasoning_effort]
    # Where thinking cannot be switched off, the least of it is nearest to what was asked: a plain, quick answer.
    return None if can.thinking_off else "low"


def metadata_for(user: str | None) -> Mapping[str, str]:
    """Return Claude's ``metadata`` for OpenAI's ``user``; a digest stands for a name that Claude's API would refuse."""
    if not user:
        return {}
    if len(user) > MAX_USER_ID or _IDENTIFYING.fullmatch(user):
        return {"user_id": sha256(user.encode()).hexdigest()}
    return {"user_id": user}


def _stop_sequences(stop: str | list[str] | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return those that Claude takes, and those that it does not: «each stop sequence must contain non-whitespace»."""
    sequences = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if len(sequences) > MAX_STOP_SEQUENCES:
        raise OpenAIError(
            f"Invalid 'stop': array too long. Expected an array with maximum length {MAX_STOP_SEQUENCES},"
            f" but got an array with length {len(sequences)} instead.",
            param="stop",
            code="array_above_max_length",
        )
    if "" in sequences:
        message = f"Invalid 'stop[{sequences.index('')}]': a stop sequence is at least one character long."
        raise OpenAIError(message, param="stop", code="invalid_value")
    cuts = tuple(sequence for sequence in sequences if not sequence.strip())
    return tuple(sequence for sequence in sequences if sequence not in cuts), cuts

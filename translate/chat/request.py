"""The body of ``POST /v1/chat/completions`` -> a Turn."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from translate.assemble import Assembly, Options
from translate.chat.known_keys import REQUEST, superseded
from translate.chat.messages import invalid_type, translate_messages
from translate.chat.parameters import check_parameters
from translate.chat.response_format import translate_response_format
from translate.chat.wire import ChatCompletionRequest
from translate.errors import OpenAIError
from translate.known_keys import Ignored, ignored_keys
from translate.models import DEFAULT_MODEL, DEFAULT_MODEL_MAP, choose_model
from translate.tools import translate_tools
from translate.turn import Turn
from translate.web_search import CONTEXT_SIZE, WebSearchOptions, searches_by_itself, web_search_tool

# OpenAI's limit. Claude's API documents none.
MAX_STOP_SEQUENCES = 4


@dataclass(frozen=True, slots=True)
class Translated:
    """A translated request: the Turn, the request itself, and the paths of what has no effect in it.

    ``cuts`` are the stop sequences that Claude does not accept. The answer is cut at them here.
    """

    turn: Turn
    request: ChatCompletionRequest
    ignored: tuple[str, ...]
    model_known: bool
    legacy_functions: bool = False
    cuts: tuple[str, ...] = ()

    @property
    def unfence(self) -> bool:
        """Whether only an instruction asks for JSON, so that Claude may put a code fence around it."""
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
    """Translate the fields of the body of ``POST /v1/chat/completions``.

    ``show_reasoning`` asks for a summary of Claude's thinking, if the model thinks at all. ``web_search`` says whether
    Claude may search the web.

    Raises OpenAIError (400) that names what is malformed, of the wrong type, or not supported.
    """
    ignored = check_parameters(fields)
    try:
        request = msgspec.convert(fields, ChatCompletionRequest)
    except msgspec.ValidationError as error:
        raise invalid_type(error) from None
    choice = choose_model(request.model, model_map, default_model)
    system, messages = translate_messages(request.messages)
    assembly = Assembly(_options(request, choice.model, show_reasoning=show_reasoning), messages)
    asked = request.web_search_options or (WebSearchOptions() if searches_by_itself(request.model) else None)
    options = asked if web_search else None
    location = options.user_location if options is not None else None
    search = [web_search_tool(location.approximate if location else None)] if options is not None else []
    tools = translate_tools(fields, can_force=assembly.can_force, server_tools=search)
    output = translate_response_format(request.response_format, request.messages)
    sequences, cuts = _stop_sequences(request.stop)
    strict = "response_format.json_schema.strict"
    turn, unused = assembly.turn(system, tools, output, strict=strict, stop_sequences=sequences)
    unused += _unused_of_search(asked, searches=bool(search))
    unused += superseded(fields, legacy=tools.legacy)
    ignored += unused
    ignored += ignored_keys(fields, REQUEST, skip=ignored)
    return Translated(turn, request, tuple(ignored), choice.known, tools.legacy, cuts)


def _options(request: ChatCompletionRequest, model: str, *, show_reasoning: bool) -> Options:
    return Options(
        model=model,
        max_tokens=request.max_completion_tokens or request.max_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=request.top_k,
        thinking=request.thinking,
        reasoning_effort=request.reasoning_effort,
        service_tier=request.service_tier,
        user=request.safety_identifier or request.user,
        show_reasoning=show_reasoning,
    )


def _unused_of_search(options: WebSearchOptions | None, *, searches: bool) -> list[str]:
    if options is None:
        return []
    if not searches:
        return [Ignored("web_search_options", "Claude may not search the web for this request")]
    if options.search_context_size in (None, "medium"):
        return []
    return [Ignored("web_search_options.search_context_size", CONTEXT_SIZE)]


def _stop_sequences(stop: str | list[str] | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the stop sequences that Claude accepts and the others: «each stop sequence must contain
    non-whitespace»."""
    sequences = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if len(sequences) > MAX_STOP_SEQUENCES:
        raise OpenAIError(
            f"Invalid 'stop': array too long. Expected an array with maximum length {MAX_STOP_SEQUENCES},"
            f" but got an array with length {len(sequences)} instead.",
            param="stop",
            code="array_above_max_length",
        )
    sequences = tuple(sequence for sequence in sequences if sequence)
    cuts = tuple(sequence for sequence in sequences if not sequence.strip())
    return tuple(sequence for sequence in sequences if sequence not in cuts), cuts

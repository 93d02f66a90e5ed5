"""What happens to each field of a chat completion request: one table.

*Honoured* fields reach Claude or change the answer. *Refused* fields get a 400 that names them. *Accepted* fields have
no effect. They are named in the header ``x-understudy-ignored`` and in the log. docs/parameters.md is generated from
this table, and a test compares the table with OpenAI's OpenAPI document.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from translate.errors import OpenAIError
from translate.known_keys import Ignored, below, same


class Fate(Enum):
    """What happens to a parameter."""

    HONOURED = "honoured"
    REFUSED = "refused"
    ACCEPTED = "accepted without effect"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One row. ``unless`` are values that ask for nothing, so they are always allowed, like null."""

    fate: Fate
    how: str
    unless: tuple[Any, ...] = ()


H, R, A = Fate.HONOURED, Fate.REFUSED, Fate.ACCEPTED

CHAT_COMPLETION_PARAMETERS: dict[str, Parameter] = {
    "model": Parameter(H, "mapped onto a Claude model; the answer carries the name asked for"),
    "messages": Parameter(
        H,
        "all roles, as true turns, users by their names; after an assistant's message at the end the next one is asked"
        " for; text, images, PDF and text files; audio is refused",
    ),
    "stream": Parameter(H, "chunks as Claude's deltas arrive"),
    "stream_options": Parameter(
        H,
        "`include_usage`; `include_obfuscation`: false leaves `obfuscation` out, see [answers](answers.md#obfuscation)",
    ),
    "max_tokens": Parameter(H, "Claude's `max_tokens`"),
    "max_completion_tokens": Parameter(H, "Claude's `max_tokens`; wins over `max_tokens`"),
    "temperature": Parameter(
        H,
        "as it is up to 1, above it as 1, Claude's highest; models from Claude 4.7 on have no sampling parameters:"
        " accepted without effect there",
    ),
    "top_p": Parameter(
        H, "as it is where the model takes it and `temperature` is not set; else accepted without effect"
    ),
    "stop": Parameter(
        H,
        "Claude's `stop_sequences`; those of white space alone, which it does not take, are ours; empty ones stop"
        " nothing",
    ),
    "user": Parameter(
        H,
        "Claude's `metadata.user_id`; a digest of an address or a telephone number, which it must not be",
    ),
    "reasoning_effort": Parameter(H, "`none` and absent: thinking off where the model allows it; else Claude's effort"),
    "top_k": Parameter(H, "Claude's own, where the model takes it (OpenAI has none)"),
    "thinking": Parameter(
        H,
        "Claude's own, as it is (OpenAI has none); `enabled` without `budget_tokens`: by the reasoning effort, or"
        " medium; `disabled`: as the effort `none`",
    ),
    "n": Parameter(H, "as many turns, 16 of them at once, streamed interleaved; usage is their sum"),
    "tools": Parameter(
        H,
        "functions, with their schemas exactly; `strict` as Claude's, without effect on schemas that refer to"
        " themselves; one that is given twice is offered once; custom tools are refused",
    ),
    "tool_choice": Parameter(
        H,
        "none, auto, required, a named function, allowed_tools; Claude models from 5.5 on cannot be forced: there only"
        " what may be called is offered, and an instruction says that it must be",
    ),
    "parallel_tool_calls": Parameter(H, "false: Claude's `disable_parallel_tool_use`"),
    "functions": Parameter(
        H,
        "the older form of `tools`; calls come back as `function_call`, one at a time; in `messages` calls and results"
        " need not come in pairs",
    ),
    "function_call": Parameter(H, "the older form of `tool_choice`"),
    "response_format": Parameter(
        H,
        "json_schema: Claude's `output_config.format`, bounds and lengths told in descriptions; json_object, and"
        " schemas that Claude's grammar cannot express: by instruction (see below); text",
    ),
    "web_search_options": Parameter(
        H,
        "Anthropic's web search, unless it is switched off here; OpenAI's search models (`gpt-4o-search-preview`) have"
        " it without this, too; what it found is cited in `annotations`; `search_context_size` is accepted without"
        " effect",
    ),
    # They are not refused, because evaluation tools always ask for them and work without them.
    "logprobs": Parameter(A, "Claude gives no log probabilities: null in the answer", unless=(False,)),
    "top_logprobs": Parameter(A, "Claude gives no log probabilities: null in the answer", unless=(0,)),
    "audio": Parameter(R, "Claude does not speak"),
    "modalities": Parameter(R, "Claude answers in text", unless=(["text"],)),
    "prediction": Parameter(A, "a hint that saves time at OpenAI; the answer is the same without it"),
    "logit_bias": Parameter(R, "Claude's tokens cannot be weighted; apps use this to restrict answers", unless=({},)),
    "frequency_penalty": Parameter(A, "Claude has no such penalty", unless=(0,)),
    "presence_penalty": Parameter(A, "Claude has no such penalty", unless=(0,)),
    "seed": Parameter(A, "Claude does not sample by seed; OpenAI promises no more than best effort"),
    "store": Parameter(H, "true: the completion is kept, to be listed, read, labelled and deleted; default false"),
    "metadata": Parameter(H, "kept with a stored completion"),
    "session_id": Parameter(H, "the conversation so far is kept here, and only what is new is sent (not OpenAI's)"),
    "service_tier": Parameter(
        H, "`auto` as Claude's, `default` as `standard_only`; Claude has no other: accepted without effect"
    ),
    "verbosity": Parameter(A, "Claude has no such knob", unless=("medium",)),
    "prompt_cache_key": Parameter(A, "Claude's prompt cache goes by content"),
    "prompt_cache_retention": Parameter(A, "Claude's prompt cache goes by content"),
    "prompt_cache_options": Parameter(A, "Claude's prompt cache goes by content"),
    "safety_identifier": Parameter(H, "as `user`, over which it wins"),
    "moderation": Parameter(R, "no moderation is run on the answer"),
}


def check_parameters(body: Mapping[str, Any], table: Mapping[str, Parameter] = CHAT_COMPLETION_PARAMETERS) -> list[str]:
    """Return the names of the parameters in ``body`` that have no effect.

    Raises OpenAIError (400) for a refused parameter, and for one that OpenAI does not have.
    """
    ignored: list[str] = []
    refuse_unknown(body, table)
    for name, value in body.items():
        row = table[name]
        if value is None or row.fate is H or any(same(value, fine) for fine in row.unless):
            continue
        if row.fate is R:
            raise OpenAIError(
                f"Unsupported parameter: '{name}' is not supported here: {row.how}.",
                param=name,
                code="unsupported_parameter",
            )
        ignored.append(Ignored(name, row.how))
    return ignored


def refuse_unknown(body: Mapping[str, Any], known: Container[str], path: str = "") -> None:
    """Raise OpenAIError (400) if the body of a request has a parameter that OpenAI does not have.

    ``path`` is the path of ``body``, if it is a part of a body.
    """
    for name in body:
        if name not in known:
            param = below(path, name) if path else name
            raise OpenAIError(f"Unrecognized request argument supplied: {param}", param=param, code="unknown_parameter")

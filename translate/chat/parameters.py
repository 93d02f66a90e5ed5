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
        "all roles, as separate messages; a user's `name` stands before the text; if the last message is the"
        " assistant's, Claude is asked for the next one; text, images, PDF and text files; audio is refused",
    ),
    "stream": Parameter(H, "chunks as Claude's deltas arrive"),
    "stream_options": Parameter(
        H,
        "`include_usage`; `include_obfuscation`: false leaves `obfuscation` out, see [answers](answers.md#obfuscation)",
    ),
    "max_tokens": Parameter(H, "Claude's `max_tokens`"),
    "max_completion_tokens": Parameter(H, "Claude's `max_tokens`; if both are given, `max_tokens` is not used"),
    "temperature": Parameter(
        H,
        "a value up to 1 is sent as it is, a higher one as 1, Claude's highest; models from Claude 4.7 on have no"
        " sampling parameters: accepted without effect there",
    ),
    "top_p": Parameter(
        H, "sent as it is, if the model has it and `temperature` is not set; else accepted without effect"
    ),
    "stop": Parameter(
        H,
        "Claude's `stop_sequences`; Claude does not accept sequences of white space only: Understudy cuts the answer"
        " at them; empty ones stop nothing",
    ),
    "user": Parameter(
        H,
        "Claude's `metadata.user_id`; a mail address or a telephone number, which Claude does not allow there, is"
        " replaced by its hash",
    ),
    "reasoning_effort": Parameter(H, "`none` or absent: thinking is off, if the model allows it; else Claude's effort"),
    "top_k": Parameter(H, "Claude's own parameter, if the model has it (OpenAI has none)"),
    "thinking": Parameter(
        H,
        "Claude's own parameter, sent as it is (OpenAI has none); `enabled` without `budget_tokens`: the reasoning"
        " effort decides, or medium without one; `disabled`: as the effort `none`",
    ),
    "n": Parameter(
        H, "one turn for each choice, 16 of them at once; their chunks are mixed in a stream; usage is their sum"
    ),
    "tools": Parameter(
        H,
        "functions, with exactly their schemas; `strict` is Claude's `strict`, without effect on schemas that refer to"
        " themselves; Claude gets a function once, even if it is listed twice; custom tools are refused",
    ),
    "tool_choice": Parameter(
        H,
        "none, auto, required, a named function, allowed_tools; Claude models from 5.5 on cannot be forced to call a"
        " tool: they get only the tools that they may call, and an instruction to call one",
    ),
    "parallel_tool_calls": Parameter(H, "false is sent as Claude's `disable_parallel_tool_use`"),
    "functions": Parameter(
        H,
        "the older form of `tools`; calls come back as `function_call`, one at a time; in `messages` calls and results"
        " need not come in pairs",
    ),
    "function_call": Parameter(H, "the older form of `tool_choice`"),
    "response_format": Parameter(
        H,
        "json_schema: Claude's `output_config.format`, with bounds and lengths in descriptions; json_object, and"
        " schemas that Claude's grammar cannot express: by an instruction (see below); text",
    ),
    "web_search_options": Parameter(
        H,
        "Anthropic's web search, unless the operator has switched it off; OpenAI's search models"
        " (`gpt-4o-search-preview`) search without this parameter too; `annotations` cite the pages that it found;"
        " `search_context_size` is accepted without effect",
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
    "session_id": Parameter(
        H, "Understudy stores the conversation, and the app sends only new messages (OpenAI has none)"
    ),
    "service_tier": Parameter(
        H, "`auto` is sent as `auto`, `default` as `standard_only`; other tiers are accepted without effect"
    ),
    "verbosity": Parameter(A, "Claude has no such parameter", unless=("medium",)),
    "prompt_cache_key": Parameter(A, "Claude's prompt cache goes by content"),
    "prompt_cache_retention": Parameter(A, "Claude's prompt cache goes by content"),
    "prompt_cache_options": Parameter(A, "Claude's prompt cache goes by content"),
    "safety_identifier": Parameter(H, "as `user`; if both are given, `user` is not used"),
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

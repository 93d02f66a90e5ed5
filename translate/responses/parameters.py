"""What happens to each field of a Responses request: one table, as in :mod:`translate.chat.parameters`.

Fields inside ``include``, ``reasoning`` and ``text`` that have no effect are named by their path.
"""

from collections.abc import Sequence
from typing import Any

from translate.chat.parameters import Fate, Parameter
from translate.errors import OpenAIError
from translate.known_keys import Ignored

H, R, A = Fate.HONOURED, Fate.REFUSED, Fate.ACCEPTED

RESPONSE_PARAMETERS: dict[str, Parameter] = {
    "model": Parameter(H, "mapped onto a Claude model; the answer carries the name asked for"),
    "input": Parameter(
        H,
        "a string, or items as true turns: messages with text, images, PDF and text files; function calls and their"
        " outputs; reasoning; references to stored items; after an assistant's message at the end the next one is asked"
        " for; what OpenAI's own tools did is refused",
    ),
    "instructions": Parameter(H, "Claude's system prompt, before system and developer messages that lead the input"),
    "previous_response_id": Parameter(H, "the stored response's items come before `input`; unknown: 400"),
    "conversation": Parameter(
        H, "the conversation's items come before `input`, and the new ones are added to it; unknown: 400"
    ),
    "store": Parameter(H, "the response is kept unless false: in the proxy's database, for 30 days"),
    "background": Parameter(
        H, "answered whether or not anybody waits: polled, streamed again, cancelled; needs a store"
    ),
    "stream": Parameter(H, "events as Claude's deltas arrive"),
    "stream_options": Parameter(
        H, "`include_obfuscation`: false leaves `obfuscation` out, see [answers](answers.md#obfuscation)"
    ),
    "max_output_tokens": Parameter(H, "Claude's `max_tokens`"),
    "temperature": Parameter(
        H,
        "as it is up to 1, above it as 1, Claude's highest; models from Claude 4.7 on have no sampling parameters:"
        " accepted without effect there",
    ),
    "top_p": Parameter(
        H, "as it is where the model takes it and `temperature` is not set; else accepted without effect"
    ),
    "reasoning": Parameter(
        H,
        "`effort`: `none` and absent, thinking off where the model allows it, else Claude's effort; `summary`: Claude's"
        " summary of its thinking; `context` and `mode` are accepted without effect",
    ),
    "include": Parameter(
        H,
        "`reasoning.encrypted_content`: Claude's thinking, sealed, to be sent back; log probabilities are refused; what"
        " concerns OpenAI's own tools and echoed images is accepted without effect",
    ),
    "tools": Parameter(
        H,
        "functions, with their schemas exactly; `strict` true as Claude's, without effect on schemas that refer to"
        " themselves, absent as false; custom tools as functions with one string, told of their grammar but not held to"
        " it; namespaces by longer names; tool search as a"
        " function where the app does it, else all tools are told of at once; web search as Anthropic's, unless it is"
        " switched off here or may not go online; MCP servers that the operator has allowed, without approvals; other"
        " tools that OpenAI runs are refused by name, but for `image_generation` beside others, which is left out",
    ),
    "tool_choice": Parameter(
        H,
        "none, auto, required, a named function, allowed_tools; Claude models from 5.5 on cannot be forced: there only"
        " what may be called is offered, and an instruction says that it must be",
    ),
    "parallel_tool_calls": Parameter(H, "false: Claude's `disable_parallel_tool_use`"),
    "max_tool_calls": Parameter(H, "the most searches of the web, and the most calls of MCP servers"),
    "text": Parameter(
        H,
        "`format`: json_schema as Claude's `output_config.format`, bounds and lengths told in descriptions, json_object"
        " and schemas that Claude's grammar cannot express by instruction (see below), text; `verbosity` is accepted"
        " without effect",
    ),
    "metadata": Parameter(H, "kept with the response and echoed"),
    "user": Parameter(
        H,
        "Claude's `metadata.user_id`; a digest of an address or a telephone number, which it must not be",
    ),
    "safety_identifier": Parameter(H, "as `user`, over which it wins"),
    "service_tier": Parameter(
        H, "`auto` as Claude's, `default` as `standard_only`; Claude has no other: accepted without effect"
    ),
    "top_k": Parameter(H, "Claude's own, where the model takes it (OpenAI has none)"),
    "thinking": Parameter(H, "as for chat completions (OpenAI has none)"),
    "truncation": Parameter(
        A, "nothing is dropped from the input: what is too long for the model is refused", unless=("disabled",)
    ),
    "context_management": Parameter(A, "the conversation is not compacted: what is too long for the model is refused"),
    "prompt_cache_key": Parameter(A, "Claude's prompt cache goes by content"),
    "prompt_cache_retention": Parameter(A, "Claude's prompt cache goes by content"),
    "prompt_cache_options": Parameter(A, "Claude's prompt cache goes by content"),
    "client_metadata": Parameter(A, "what OpenAI's coding agent tells of itself (OpenAI's document has it not)"),
    "multi_agent": Parameter(
        R, "it lets OpenAI run several agents for one response, and Claude answers alone", unless=({"enabled": False},)
    ),
    "prompt": Parameter(R, "there are no stored prompts here"),
    "moderation": Parameter(R, "no moderation is run on the answer"),
    "top_logprobs": Parameter(R, "Claude gives no log probabilities", unless=(0,)),
}

ENCRYPTED_REASONING = "reasoning.encrypted_content"

SOURCES = "web_search_call.action.sources"

TOOLS_OF_OPENAI = "it concerns a tool that OpenAI runs"

INCLUDE: dict[str, Parameter] = {
    ENCRYPTED_REASONING: Parameter(H, "Claude's thinking, sealed"),
    "message.output_text.logprobs": Parameter(R, "Claude gives no log probabilities"),
    "message.input_image.image_url": Parameter(A, "the input is not part of the answer"),
    "computer_call_output.output.image_url": Parameter(A, TOOLS_OF_OPENAI),
    "file_search_call.results": Parameter(A, TOOLS_OF_OPENAI),
    "web_search_call.results": Parameter(A, "Claude's results are for Claude alone"),
    SOURCES: Parameter(H, "the addresses that were found"),
    "code_interpreter_call.outputs": Parameter(A, TOOLS_OF_OPENAI),
}


def check_include(include: Sequence[Any]) -> list[str]:
    """Return the paths of the entries that have no effect.

    Raises OpenAIError (400) for a refused entry, and for one that OpenAI does not have.
    """
    ignored: list[str] = []
    for index, name in enumerate(include):
        row = INCLUDE.get(name) if isinstance(name, str) else None
        if row is None:
            message = f"Invalid value: {name!r}. Supported values are: {', '.join(map(repr, INCLUDE))}."
            raise OpenAIError(message, param=f"include[{index}]", code="invalid_value")
        if row.fate is R:
            message = f"Unsupported value: 'include[{index}]': {name!r} is not supported here: {row.how}."
            raise OpenAIError(message, param=f"include[{index}]", code="unsupported_value")
        if row.fate is A:
            ignored.append(Ignored(f"include[{index}]", row.how))
    return ignored

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
        "a string, or items as separate messages: messages with text, images, PDF and text files; function calls and"
        " their outputs; reasoning; references to stored items; if the last message is the assistant's, Claude is asked"
        " for the next one; calls of tools that OpenAI runs, and their results, are refused",
    ),
    "instructions": Parameter(
        H, "Claude's system prompt, before system and developer messages at the beginning of the input"
    ),
    "previous_response_id": Parameter(H, "the stored response's items come before `input`; unknown: 400"),
    "conversation": Parameter(
        H, "the conversation's items come before `input`, and the new ones are added to it; unknown: 400"
    ),
    "store": Parameter(H, "the response is kept unless false: in the proxy's database, for 30 days"),
    "background": Parameter(
        H, "answered even if the app disconnects; can be polled, streamed again and cancelled; needs a store"
    ),
    "stream": Parameter(H, "events as Claude's deltas arrive"),
    "stream_options": Parameter(
        H, "`include_obfuscation`: false leaves `obfuscation` out, see [answers](answers.md#obfuscation)"
    ),
    "max_output_tokens": Parameter(H, "Claude's `max_tokens`"),
    "temperature": Parameter(
        H,
        "a value up to 1 is sent as it is, a higher one as 1, Claude's highest; models from Claude 4.7 on have no"
        " sampling parameters: accepted without effect there",
    ),
    "top_p": Parameter(
        H, "sent as it is, if the model has it and `temperature` is not set; else accepted without effect"
    ),
    "reasoning": Parameter(
        H,
        "`effort`: `none` or absent, thinking is off, if the model allows it; else Claude's effort; `summary`: Claude's"
        " summary of its thinking; `context` and `mode` are accepted without effect",
    ),
    "include": Parameter(
        H,
        "`reasoning.encrypted_content`: Claude's thinking, encrypted, so that the app can send it back; log"
        " probabilities are refused; entries for OpenAI's own tools and for images of the input are accepted without"
        " effect",
    ),
    "tools": Parameter(
        H,
        "functions, with exactly their schemas; `strict`: true is Claude's `strict`, without effect on schemas that"
        " refer to themselves; absent is false; custom tools are functions with one string for Claude, which reads"
        " their grammar but need not follow it; a namespace becomes a part of its tools' names; tool search is a"
        " function if the app does the search, else Claude gets all tools at once; web search is Anthropic's, unless"
        " the operator has switched it off or the request forbids access to the internet; MCP servers that the"
        " operator has allowed, without approvals; other tools that OpenAI runs are refused by name; only"
        " `image_generation` is left out, if there are other tools",
    ),
    "tool_choice": Parameter(
        H,
        "none, auto, required, a named function, allowed_tools; Claude models from 5.5 on cannot be forced to call a"
        " tool: they get only the tools that they may call, and an instruction to call one",
    ),
    "parallel_tool_calls": Parameter(H, "false is sent as Claude's `disable_parallel_tool_use`"),
    "max_tool_calls": Parameter(H, "the largest number of web searches, and of calls of MCP servers"),
    "text": Parameter(
        H,
        "`format`: json_schema: Claude's `output_config.format`, with bounds and lengths in descriptions; json_object,"
        " and schemas that Claude's grammar cannot express: by an instruction (see below); text; `verbosity` is"
        " accepted without effect",
    ),
    "metadata": Parameter(H, "kept with the response and echoed"),
    "user": Parameter(
        H,
        "Claude's `metadata.user_id`; a mail address or a telephone number, which Claude does not allow there, is"
        " replaced by its hash",
    ),
    "safety_identifier": Parameter(H, "as `user`; if both are given, `user` is not used"),
    "service_tier": Parameter(
        H, "`auto` is sent as `auto`, `default` as `standard_only`; other tiers are accepted without effect"
    ),
    "top_k": Parameter(H, "Claude's own parameter, if the model has it (OpenAI has none)"),
    "thinking": Parameter(H, "as for chat completions (OpenAI has none)"),
    "truncation": Parameter(
        A, "nothing is dropped from the input: what is too long for the model is refused", unless=("disabled",)
    ),
    "context_management": Parameter(A, "the conversation is not compacted: what is too long for the model is refused"),
    "prompt_cache_key": Parameter(A, "Claude's prompt cache goes by content"),
    "prompt_cache_retention": Parameter(A, "Claude's prompt cache goes by content"),
    "prompt_cache_options": Parameter(A, "Claude's prompt cache goes by content"),
    "client_metadata": Parameter(A, "data of OpenAI's coding agent about itself (it is not in OpenAI's document)"),
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

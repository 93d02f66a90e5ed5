"""OpenAI's messages -> Claude's system prompt and alternating turns.

Claude's conversation is a list of user and assistant messages that alternate and end with the user's; there is one
system prompt beside it. So system and developer messages that lead the conversation become the system prompt (joined by
a blank line), neighbours of one role become one message of several blocks (the CLI would join them with additions of
its own, fact F82), and an instruction that comes later stays where it is, as a block of the user's turn in
``<system>`` tags, because moving it would change what it is about.
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from translate.errors import OpenAIError
from translate.openai_wire import (
    AssistantMessage,
    ChatMessage,
    DeveloperMessage,
    FunctionMessage,
    RefusalPart,
    SystemMessage,
    TextPart,
    ToolMessage,
    UserMessage,
)
from translate.turn import ContentBlock, Message

ROLES = ("system", "developer", "user", "assistant", "tool", "function")


def translate_messages(messages: Sequence[dict[str, Any]]) -> tuple[str | None, tuple[Message, ...]]:
    """Return (system prompt or None, messages).

    Raises OpenAIError (400) that names the message, and the part of it, for what cannot be said to Claude.
    """
    if not messages:
        raise OpenAIError(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            param="messages",
            code="empty_array",
        )
    system: list[str] = []
    turns: list[tuple[Literal["user", "assistant"], list[ContentBlock]]] = []
    for index, raw in enumerate(messages):
        message = _decode(raw, f"messages[{index}]")
        match message:
            case SystemMessage() | DeveloperMessage() if not turns:
                system.extend(_texts(message.content, f"messages[{index}]", TextPart))
                continue
            case SystemMessage() | DeveloperMessage():
                role: Literal["user", "assistant"] = "user"
                texts = _texts(message.content, f"messages[{index}]", TextPart)
                blocks = [_text(f"<system>\n{text}\n</system>") for text in texts if text.strip()]
            case UserMessage():
                role, blocks = "user", _blocks(_texts(message.content, f"messages[{index}]", TextPart))
            case AssistantMessage():
                role, blocks = "assistant", _blocks(_assistant_texts(message, f"messages[{index}]"))
            case ToolMessage() | FunctionMessage():
                raise OpenAIError(
                    f"Invalid value: 'messages[{index}].role': function calling is not supported yet.",
                    param=f"messages[{index}].role",
                    code="unsupported_value",
                )
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        elif blocks:
            turns.append((role, blocks))
    prompt = "\n\n".join(text for text in system if text.strip()) or None
    if not turns and prompt is not None:
        # A system message alone is a usual way to ask OpenAI. Claude answers only to a user, so the words become
        # the user's.
        return None, (Message("user", (_text(prompt),)),)
    _check_end(turns, len(messages))
    return prompt, tuple(Message(role, tuple(blocks)) for role, blocks in turns)


def _check_end(turns: Sequence[tuple[str, list[ContentBlock]]], count: int) -> None:
    if not turns:
        raise OpenAIError("Invalid 'messages': there is no text in them.", param="messages", code="invalid_value")
    if turns[-1][0] == "assistant":
        raise OpenAIError(
            "Invalid 'messages': the last message with text must come from the user;"
            " Claude does not continue an assistant's message.",
            param=f"messages[{count - 1}]",
            code="unsupported_value",
        )


def _decode(raw: Any, path: str) -> ChatMessage:
    role = raw.get("role") if isinstance(raw, dict) else None
    if isinstance(raw, dict) and role is None:
        raise OpenAIError(
            f"Missing required parameter: '{path}.role'.", param=f"{path}.role", code="missing_required_parameter"
        )
    if isinstance(raw, dict) and role not in ROLES:
        raise OpenAIError(
            f"Invalid value: {role!r}. Supported values are: {', '.join(repr(r) for r in ROLES)}.",
            param=f"{path}.role",
            code="invalid_value",
        )
    message: ChatMessage = _convert(raw, ChatMessage, path)
    return message


def _convert(raw: Any, kind: Any, path: str) -> Any:
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise invalid_type(error, path) from None


def invalid_type(error: msgspec.ValidationError, under: str = "") -> OpenAIError:
    """Return OpenAI's 400 for a value of the wrong type, with the JSON path that msgspec found."""
    words, _, path = str(error).partition(" - at `$")
    param = (under + path.rstrip("`")).lstrip(".") or None
    if words.startswith("Object missing required field"):
        missing = words.split("`")[1]
        param = f"{param}.{missing}" if param else missing
        return OpenAIError(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")
    place = f" for '{param}'" if param else ""
    return OpenAIError(f"Invalid type or value{place}: {words}.", param=param, code="invalid_type")


def _texts(content: Any, path: str, *kinds: type[TextPart] | type[RefusalPart]) -> list[str]:
    if isinstance(content, str):
        return [content]
    known = {kind.__struct_config__.tag: kind for kind in kinds}
    texts = []
    for index, raw in enumerate(content):
        where = f"{path}.content[{index}]"
        kind = known.get(raw.get("type"))
        if kind is None:
            raise OpenAIError(
                f"Invalid value: '{where}.type' is {raw.get('type')!r}; supported here: "
                f"{', '.join(repr(name) for name in known)}.",
                param=f"{where}.type",
                code="invalid_value",
            )
        part = _convert(raw, kind, where)
        texts.append(part.text if isinstance(part, TextPart) else part.refusal)
    return texts


def _assistant_texts(message: AssistantMessage, path: str) -> list[str]:
    if message.tool_calls or message.function_call:
        name = "tool_calls" if message.tool_calls else "function_call"
        raise OpenAIError(
            f"Invalid value: '{path}.{name}': function calling is not supported yet.",
            param=f"{path}.{name}",
            code="unsupported_value",
        )
    texts = _texts(message.content, path, TextPart, RefusalPart) if message.content is not None else []
    return [*texts, message.refusal] if message.refusal else texts


def _blocks(texts: Sequence[str]) -> list[ContentBlock]:
    # The Messages API refuses text blocks without a visible character, and they say nothing.
    return [_text(text) for text in texts if text.strip()]


def _text(text: str) -> ContentBlock:
    return {"type": "text", "text": text}

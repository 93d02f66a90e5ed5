"""OpenAI's messages -> Claude's system prompt and messages.

Claude's user and assistant messages alternate, and the last one is the user's. There is one system prompt. So:

- System and developer messages at the beginning become the system prompt, joined by blank lines.
- A later system or developer message stays at its place, as a block in ``<system>`` tags of the user's message. At
  another place it could have another meaning.
- Adjacent messages of one role become one message with several blocks. Claude Code would add text of its own to join
  them (fact F82).
- Tool calls become ``tool_use`` blocks, and their results become ``tool_result`` blocks at the beginning of the next
  user message.
- If the last message is the assistant's, Claude is asked to write the assistant's next message.
- Claude's messages have no names. A name is put before the text, in ``<name>`` tags.
- The older ``function_call`` and ``function`` messages need not come in pairs, as at OpenAI. A call without a result
  gets an empty one. A result without a call becomes a text of the user, in ``<function_result>`` tags.
- If the user says nothing at all, Claude is told so.
"""

import json
import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, assert_never

import msgspec

from translate.chat.wire import (
    AssistantMessage,
    ChatMessage,
    DeveloperMessage,
    FunctionMessage,
    SystemMessage,
    ToolMessage,
    UserMessage,
)
from translate.content import is_blank, text_block, text_blocks, user_blocks
from translate.errors import OpenAIError
from translate.tools import ToolUseIds
from translate.turn import ContentBlock, Message

# By role, because msgspec caches the decoder of a Struct, and not that of a union.
ROLES: dict[str, type[ChatMessage]] = {
    "system": SystemMessage,
    "developer": DeveloperMessage,
    "user": UserMessage,
    "assistant": AssistantMessage,
    "tool": ToolMessage,
    "function": FunctionMessage,
}

# OpenAI's pattern for the names of participants.
NAME = re.compile(r"[^\s<|\\/>]{1,64}")

# OpenAI's models answer after an assistant message too. Claude answers only a user message, and newer models refuse a
# request that ends with an assistant message. Group chats of agents send such requests: the message of another agent is
# an assistant message there.
GO_ON: ContentBlock = text_block("<system>\nWrite the assistant's next message.\n</system>")

# OpenAI's models answer an empty message. Claude's API refuses a text without a visible character.
SAID_NOTHING: ContentBlock = text_block("<system>\nThe user's message is empty.\n</system>")

# The largest integer that JavaScript, and so Claude Code, represents exactly.
MAX_SAFE_INTEGER = 2**53 - 1
LONG_INTEGER = re.compile(r"\d{16}")

MAX_IMAGES = 100  # if there are more, Claude Code silently drops the oldest (fact F26)


def translate_messages(messages: Sequence[Any]) -> tuple[str | None, tuple[Message, ...]]:
    """Return (system prompt or None, messages).

    Raises OpenAIError (400) that names the message, and the part of it, that cannot be translated.
    """
    if not messages:
        raise OpenAIError(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            param="messages",
            code="empty_array",
        )
    conversation = _Conversation()
    for index, raw in enumerate(messages):
        path = f"messages[{index}]"
        conversation.add(_decode(raw, path), path)
    return conversation.finish()


class _Conversation:
    """The conversation so far. ``_open`` has the tool calls without a result: the app's id -> Claude's ids.

    Some servers give all calls of a message the same id, so an id of the app can have several ids of Claude.
    ``_function`` is the older ``function_call`` that the next message may answer: its name and Claude's id.
    """

    def __init__(self) -> None:
        self._system: list[str] = []
        self._turns: list[tuple[Literal["user", "assistant"], list[ContentBlock]]] = []
        self._ids = ToolUseIds()
        self._open: dict[str, deque[str]] = {}
        self._function: tuple[str, str] | None = None
        self._asked_at = ""
        self._asked = False

    def add(self, message: ChatMessage, path: str) -> None:
        """Add one message."""
        if self._open and not isinstance(message, (ToolMessage, FunctionMessage)):
            self._refuse_unanswered()
        if not isinstance(message, FunctionMessage):
            self._end_function()
        match message:
            case SystemMessage() | DeveloperMessage():
                name = _name(message.name, path)
                texts = [name + block["text"] for block in text_blocks(message.content, path)]
                if self._turns:
                    self._extend("user", [text_block(f"<system>\n{text}\n</system>") for text in texts])
                else:
                    self._system += texts
            case UserMessage():
                self._asked = True
                blocks = user_blocks(message.content, path)
                name = _name(message.name, path)
                self._extend("user", [text_block(name.rstrip()), *blocks] if name and blocks else blocks)
            case AssistantMessage():
                self._extend("assistant", self._assistant(message, path))
            case ToolMessage():
                self._answer(message.tool_call_id, message.content, path)
            case FunctionMessage():
                self._function_result(message, path)
            case _:
                assert_never(message)

    def finish(self) -> tuple[str | None, tuple[Message, ...]]:
        """Return the system prompt and the messages."""
        if self._open:
            self._refuse_unanswered()
        self._end_function()
        system = "\n\n".join(self._system) or None
        if not self._turns and self._asked:
            self._extend("user", [SAID_NOTHING])
        if not self._turns:
            if system is None:
                message = "Invalid 'messages': there is nothing in them to answer."
                raise OpenAIError(message, param="messages", code="invalid_value")
            # Apps often send a system message alone to OpenAI. Claude answers only a user message, so the text becomes
            # one.
            return None, (Message("user", (text_block(system),)),)
        if self._turns[-1][0] == "assistant":
            self._extend("user", [GO_ON])
        _check_images(block for _, blocks in self._turns for block in blocks)
        return system, tuple(Message(role, tuple(_results_first(blocks))) for role, blocks in self._turns)

    def _extend(self, role: Literal["user", "assistant"], blocks: Sequence[ContentBlock]) -> None:
        if self._turns and self._turns[-1][0] == role:
            self._turns[-1][1].extend(blocks)
        elif blocks:
            self._turns.append((role, list(blocks)))

    def _assistant(self, message: AssistantMessage, path: str) -> list[ContentBlock]:
        if message.audio:
            error = f"Unsupported value: '{path}.audio': Claude has not heard what was said."
            raise OpenAIError(error, param=f"{path}.audio", code="unsupported_value")
        thought = [block for detail in message.reasoning_details or () if (block := thinking_of(detail)) is not None]
        blocks = text_blocks(message.content or "", path, ("text", "refusal"))
        if message.refusal and not is_blank(message.refusal):
            blocks.append(text_block(message.refusal))
        for index, call in enumerate(message.tool_calls or ()):
            blocks.append(self._tool_use(call, f"{path}.tool_calls[{index}]"))
        if message.function_call:
            blocks.append(self._function_call(message.function_call, f"{path}.function_call"))
        self._asked_at = path
        # The API: «the final block in an assistant message cannot be thinking».
        return [*thought, *blocks] if blocks else []

    def _tool_use(self, call: dict[str, Any], path: str) -> ContentBlock:
        match call:
            case {"id": str() as id, "function": {"name": str() as name, "arguments": str() as arguments}}:
                claimed = self._ids.claim(id)
                self._open.setdefault(id, deque()).append(claimed)
                return {"type": "tool_use", "id": claimed, "name": name, "input": call_input(arguments)}
            case {"type": str() as kind} if kind != "function":
                error = f"Unsupported value: '{path}.type': only calls of functions can be said to Claude."
                raise OpenAIError(error, param=f"{path}.type", code="unsupported_value")
            case _:
                error = f"Invalid '{path}': expected an id and a function with name and arguments."
                raise OpenAIError(error, param=path, code="invalid_type")

    def _function_call(self, call: dict[str, Any], path: str) -> ContentBlock:
        match call:
            case {"name": str() as name, "arguments": str() as arguments}:
                id = self._ids.claim(f"function_{name}")
                self._function = name, id
                return {"type": "tool_use", "id": id, "name": name, "input": call_input(arguments)}
            case _:
                error = f"Invalid '{path}': expected a name and arguments."
                raise OpenAIError(error, param=path, code="invalid_type")

    def _function_result(self, message: FunctionMessage, path: str) -> None:
        content = message.content or ""
        if self._function is not None and self._function[0] == message.name:
            self._end_function(text_blocks(content, path))
            return
        self._end_function()
        name = _name(message.name, path).rstrip()
        self._extend("user", [text_block(f"<function_result>\n{name}\n{content}\n</function_result>")])

    def _end_function(self, result: Sequence[ContentBlock] = ()) -> None:
        """Give the open ``function_call`` its result. Claude's API does not take a call without a result."""
        if self._function is not None:
            block: dict[str, Any] = {"type": "tool_result", "tool_use_id": self._function[1]}
            self._function = None
            self._extend("user", [{**block, "content": list(result)} if result else block])

    def _answer(self, call_id: str, content: Any, path: str) -> None:
        if call_id not in self._open:
            raise OpenAIError(
                f"Invalid parameter: '{path}' must be a response to a preceding message with 'tool_calls'.",
                param=path,
                code="invalid_value",
            )
        calls = self._open[call_id]
        result: dict[str, Any] = {"type": "tool_result", "tool_use_id": calls.popleft()}
        if not calls:
            del self._open[call_id]
        if blocks := text_blocks(content, path):
            result["content"] = blocks
        self._extend("user", [result])

    def _refuse_unanswered(self) -> None:
        missing = ", ".join(self._open)
        raise OpenAIError(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each"
            f" 'tool_call_id'. The following tool_call_ids did not have response messages: {missing}",
            param=self._asked_at,
            code="invalid_value",
        )


def _name(name: str | None, path: str) -> str:
    """Return the text with the name that is put before a message; "" if there is no name."""
    if not name:
        return ""
    if not NAME.fullmatch(name):
        message = (
            f"Invalid '{path}.name': string does not match pattern. Expected a string that matches the pattern"
            r" '^[^\s<|\\/>]+$' with at most 64 characters."
        )
        raise OpenAIError(message, param=f"{path}.name", code="invalid_value")
    return f"<name>{name}</name>\n"


def thinking_of(detail: Mapping[str, Any]) -> ContentBlock | None:
    """Return the thinking block in a ReasoningDetail; None if Claude would not accept it.

    Claude does not accept thinking of other models, and thinking that was cut before it was signed.
    """
    match detail:
        case {"type": "reasoning.encrypted", "data": str() as data} if data:
            return {"type": "redacted_thinking", "data": data}
        case {"type": "reasoning.text", "signature": str() as signature} if signature:
            return {"type": "thinking", "thinking": str(detail.get("text") or ""), "signature": signature}
        case _:
            return None


def call_input(arguments: str) -> dict[str, Any]:
    """Return a call's arguments. Text that is not a JSON object is kept under a name that says so.

    :mod:`json` is not used for all of them, because it accepts NaN, infinity and half a surrogate pair, which cannot be
    sent. Integers that Claude Code would round become strings, so that ids stay exact.
    """
    try:
        value = msgspec.json.decode(arguments) if arguments.strip() else {}
        if LONG_INTEGER.search(arguments):
            value = json.loads(arguments, parse_int=_exact)
    except (msgspec.DecodeError, RecursionError):
        return {"invalid_json": arguments}
    return value if isinstance(value, dict) else {"value": value}


def _exact(digits: str) -> int | str:
    return digits if len(digits) > 17 or abs(int(digits)) > MAX_SAFE_INTEGER else int(digits)


def _results_first(blocks: Sequence[ContentBlock]) -> list[ContentBlock]:
    # In the Messages API, tool results must come first in a message.
    return sorted(blocks, key=lambda block: block["type"] != "tool_result")


def _check_images(blocks: Iterable[ContentBlock]) -> None:
    if sum(block["type"] == "image" for block in blocks) > MAX_IMAGES:
        message = f"Invalid 'messages': more than {MAX_IMAGES} images, which is Claude's limit."
        raise OpenAIError(message, param="messages", code="too_many_images")


def _decode(raw: Any, path: str) -> ChatMessage:
    if not isinstance(raw, dict):
        raise OpenAIError(f"Invalid type for '{path}': expected an object.", param=path, code="invalid_type")
    role = raw.get("role")
    if role is None:
        message = f"Missing required parameter: '{path}.role'."
        raise OpenAIError(message, param=f"{path}.role", code="missing_required_parameter")
    kind = ROLES.get(role) if isinstance(role, str) else None
    if kind is None:
        message = f"Invalid value: {role!r}. Supported values are: {', '.join(map(repr, ROLES))}."
        raise OpenAIError(message, param=f"{path}.role", code="invalid_value")
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

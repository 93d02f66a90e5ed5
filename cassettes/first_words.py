"""The first words of a question and of an answer, for lists. Pure.

The question is the last message to the model. A tool's result begins with ``←``, a tool call with ``→``. Shapes:
OpenAI's API reference. A value of an unknown shape has no words.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from cassettes.openai_bodies import MESSAGE_KEYS, array, error_in, inner, mapping

MAX_WORDS = 120
"""The largest number of characters."""

_TEXTS = ("text", "refusal", "content", "output", "summary")


class _Asked(msgspec.Struct):
    """The fields of a request that can hold its question. Of a long history only the last message is decoded."""

    messages: msgspec.Raw = msgspec.Raw(b"null")
    input: msgspec.Raw = msgspec.Raw(b"null")
    prompt: msgspec.Raw = msgspec.Raw(b"null")


_asked = msgspec.json.Decoder(_Asked)
_list = msgspec.json.Decoder(list[msgspec.Raw])


def question(request: bytes | msgspec.Raw) -> str:
    """Return the first words of the question in a request's JSON, "" if there are none.

    For JSON that is already decoded, use :func:`question_of`.
    """
    try:
        asked = _asked.decode(request)
        for one in (asked.messages, asked.input, asked.prompt):
            if words := shortened(_said_last(one)):
                return words
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    return ""


def _said_last(raw: msgspec.Raw) -> str:
    whole = bytes(raw)
    if whole[:1] != b"[":
        return _words(msgspec.json.decode(whole))
    for one in reversed(_list.decode(whole)):
        if words := _words(msgspec.json.decode(one)):
            return words
    return ""


def question_of(request: Any) -> str:
    """Return the first words of the question in a decoded request, "" if there are none."""
    if not isinstance(request, Mapping):
        return ""
    try:
        for name in MESSAGE_KEYS:
            said = request.get(name)
            each = map(_words, reversed(said) if isinstance(said, list) else [said])
            if words := shortened(next(filter(None, each), "")):
                return words
    except RecursionError:
        pass
    return ""


def answer(message: Any) -> str:
    """Return the first words of an assembled answer: its text, else its calls, else its error."""
    if not isinstance(message, Mapping):
        return ""
    try:
        found = "".join(map(_words, _answers(message)))
    except RecursionError:
        return ""
    if not found:
        found = str(mapping(error_in(message)).get("message") or "")
    return shortened(found)


def _answers(message: Mapping[str, Any]) -> Iterator[Any]:
    first = mapping(next(iter(array(message.get("choices"))), None))
    yield first.get("message") or first.get("text")
    for item in array(message.get("output")):
        if isinstance(item, Mapping) and item.get("type") != "reasoning":
            yield item


def _words(value: Any) -> str:
    """Return the text of a message, an item or a part. Images, files and reasoning have none."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return " ".join(filter(None, map(_words, value)))
    if not isinstance(value, Mapping):
        return ""
    kind = str(value.get("type") or "")
    is_result = value.get("role") in ("tool", "function") or kind.endswith("_output") or kind == "tool_result"
    text = next((words for name in _TEXTS if (words := _words(value.get(name)))), "")
    told = [f"← {text}" if is_result and text else text]
    told += [_call(call) for call in array(value.get("tool_calls"))]
    if kind.endswith("_call") or "function_call" in value:
        told.append(_call(value))
    return " ".join(filter(None, told))


def _call(call: Any) -> str:
    if not isinstance(call, Mapping):
        return ""
    named = inner(call) or inner(call, "function_call") or call
    name = named.get("name") or call.get("type")
    arguments = named.get("arguments", named.get("input"))
    return f"→ {name}({arguments if isinstance(arguments, str) else ''})" if isinstance(name, str) else ""


def shortened(text: str) -> str:
    """Return the beginning of a text in one line, with ``…`` if it was cut."""
    line = " ".join(text[: MAX_WORDS * 8].split())
    return line if len(line) <= MAX_WORDS else f"{line[: MAX_WORDS - 1]}…"

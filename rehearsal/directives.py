"""Directives in a prompt: `[rehearse: stop=refusal]`. Pure. The list is in docs/rehearsal.md.

A directive is a list of words. Each word stands alone or has a value: `stall after=3`. Values with spaces or a closing
bracket need double quotes and are read as JSON strings. Several directives in one prompt are combined.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from rehearsal.reply import AT_HEAD, AT_START, Fault, FaultKind, Reply, ToolCall

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_DIRECTIVE = re.compile(rf"\[rehearse:((?:[^\]\"]|{_QUOTED})*)\]")
_WORD = re.compile(rf"\s*([a-z][a-z-]*)(?:=({_QUOTED}|[^\s\"\]]+))?(?=\s|$)")
_SENTENCE = "This is a rehearsal: no model was asked. These words are only here to be many."

THINKING = "This is a rehearsal of thinking: no model was asked, and nothing was thought."
MAX_CALLS = 128


class DirectiveError(ValueError):
    """A directive that cannot be read. The message explains the mistake to its author."""


def find(text: str) -> dict[str, str | None]:
    """Return the words of all directives in a text, with their values. The value of a single word is None."""
    words: dict[str, str | None] = {}
    for directive in _DIRECTIVE.finditer(text):
        inside, at = directive[1].rstrip(), 0
        while at < len(inside):
            word = _WORD.match(inside, at)
            if not word:
                raise DirectiveError(f"cannot read the directive from {inside[at:].strip()!r}")
            words[word[1]] = _value(word[2])
            at = word.end()
    return words


def without(text: str) -> str:
    """Return a text without its directives."""
    return _DIRECTIVE.sub("", text).strip()


def reply_from(words: Mapping[str, str | None]) -> Reply:
    """Turn a directive's words into a reply.

    Raises DirectiveError for an unknown word or an invalid value.
    """
    fields: dict[str, Any] = {}
    for word in words:
        if word not in _WORDS:
            raise DirectiveError(f"unknown word {word!r}; there are {', '.join(sorted(_WORDS))}")
        fields.update(_WORDS[word](words))
    return Reply(**fields)


def words_of(count: int) -> str:
    """Return a text of ``count`` words. It says that it is simulated."""
    sentence = _SENTENCE.split()
    return " ".join(sentence[index % len(sentence)] for index in range(count))


type _Words = Mapping[str, str | None]


def _value(text: str | None) -> str | None:
    if text is None or not text.startswith('"'):
        return text
    try:
        return str(json.loads(text, strict=False))
    except ValueError:
        raise DirectiveError(f"{text} is no JSON string") from None


def _needed(words: _Words, word: str) -> str:
    value = words[word]
    if value is None:
        raise DirectiveError(f"{word} needs a value: {word}=…")
    return value


def _number(words: _Words, word: str, upper: float) -> float:
    value = _needed(words, word)
    try:
        number = float(value)
    except ValueError:
        raise DirectiveError(f"{word}={value} is no number") from None
    if not 0 <= number <= upper:
        raise DirectiveError(f"{word}={value} is not between 0 and {upper:g}")
    return number


def _after(words: _Words) -> int | None:
    return int(_number(words, "after", 1e6)) if "after" in words else None


def _stop(words: _Words) -> dict[str, Any]:
    return {"stop_reason": _needed(words, "stop"), "stop_sequence": words.get("sequence")}


def _error(words: _Words) -> dict[str, Any]:
    status = int(_number(words, "error", 599))
    if status < 400:
        raise DirectiveError(f"error={status} is no error status")
    headers = [(name, words[name]) for name in ("retry-after", "x-should-retry") if words.get(name)]
    given = Reply.error(status, words.get("type"), words.get("message"))
    return {"status": status, "error_type": given.error_type, "message": given.message, "headers": tuple(headers)}


def _fault(kind: FaultKind) -> Callable[[_Words], dict[str, Any]]:
    def fields(words: _Words) -> dict[str, Any]:
        fault = Fault(kind, _after(words))
        if kind is FaultKind.SSE_ERROR:
            given = words[kind] or fault.error_type
            fault = Fault(kind, _after(words), given, words.get("message") or fault.message)
        return {"fault": fault}

    return fields


def _stall(words: _Words) -> dict[str, Any]:
    after = _after(words)
    return {"stall_after": AT_START if after is None else after}


def _hang(words: _Words) -> dict[str, Any]:
    return {"stall_after": AT_HEAD}


def _text(words: _Words) -> dict[str, Any]:
    return {"text": _needed(words, "text")}


def _many(words: _Words) -> dict[str, Any]:
    return {"text": words_of(int(_number(words, "words", 100_000)))}


def _delay(words: _Words) -> dict[str, Any]:
    return {"delay_s": _number(words, "delay", 3600)}


def _think(words: _Words) -> dict[str, Any]:
    return {"thinking": words["think"] or THINKING}


def _tool(words: _Words) -> dict[str, Any]:
    calls = int(_number(words, "calls", MAX_CALLS)) if "calls" in words else 1
    return {"tool_calls": (ToolCall(words["tool"], input_json=words.get("input")),) * calls}


def _search(words: _Words) -> dict[str, Any]:
    return {"search": words["search"] or "rehearsal"}


def _of(*owners: str) -> Callable[[_Words], dict[str, Any]]:
    """A word that is an option of another word, and means nothing without it."""

    def fields(words: _Words) -> dict[str, Any]:
        if not any(owner in words for owner in owners):
            raise DirectiveError(f"this word belongs to {' or '.join(owners)}")
        return {}

    return fields


_WORDS: Mapping[str, Callable[[_Words], dict[str, Any]]] = {
    "stop": _stop,
    "sequence": _of("stop"),
    "error": _error,
    "type": _of("error"),
    "message": _of("error", "sse-error"),
    "retry-after": _of("error"),
    "x-should-retry": _of("error"),
    "hang": _hang,
    "stall": _stall,
    "after": _of("stall", "cut", "end", "malformed", "sse-error"),
    **{kind.value: _fault(kind) for kind in FaultKind},
    "text": _text,
    "words": _many,
    "delay": _delay,
    "think": _think,
    "tool": _tool,
    "search": _search,
    "calls": _of("tool"),
    "input": _of("tool"),
}

"""Reading and writing large JSON so that other threads can run meanwhile.

The C code of :mod:`json` does all of a value in one step and holds the interpreter's lock; for ten megabytes of numbers
that is the better part of a second. Here containers are walked in Python, which lets go of the lock every now and
then, and only texts and numbers are done in C. That takes several times as long, so small JSON is not done like this.
"""

import binascii
import itertools
import json
import json.scanner
from collections.abc import Iterator
from typing import Any

from cassettes.aside import weight

LARGE_JSON = 256 * 1024
_MOST_AT_ONCE = 10_000
_STEP = 256 * 1024


class Reader:
    """Does as ``json.loads`` does with the same hooks, which are given once."""

    def __init__(self, **hooks: Any) -> None:
        self._at_once = json.JSONDecoder(**hooks)
        self._slowly = json.JSONDecoder(**hooks)
        self._slowly.scan_once = json.scanner.py_make_scanner(self._slowly)  # type: ignore[attr-defined]

    def read(self, data: str | bytes) -> Any:
        """Read JSON. Raises ValueError, and RecursionError for large JSON that is nested some hundred levels deep."""
        text = data.decode(json.detect_encoding(data), "surrogatepass") if isinstance(data, bytes) else data
        return (self._at_once if len(data) < LARGE_JSON else self._slowly).decode(text)


read = Reader().read


def forget(value: Any) -> None:
    """Empty a JSON-like value of lists and dicts that nobody needs any more, value by value.

    Let go of at once, some hundred thousand of them are freed in one step.
    """
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if type(one) is dict:
            waiting += one.values()
            one.clear()
        elif type(one) is list:
            waiting += one
            one.clear()


def write(encoder: json.JSONEncoder, value: Any) -> str:
    """Do as ``encoder.encode`` does, for an encoder without indent. Keys are texts."""
    if weight(value) < LARGE_JSON:
        return encoder.encode(value)
    parts = _parts(encoder, value)
    done = list[str]()
    while some := list(itertools.islice(parts, _MOST_AT_ONCE)):
        done.append("".join(some))
    return "".join(done)


def _parts(encoder: json.JSONEncoder, value: Any) -> Iterator[str]:
    match value:
        case str() if len(value) > _STEP:
            yield '"'
            for at in range(0, len(value), _STEP):
                yield encoder.encode(value[at : at + _STEP])[1:-1]
            yield '"'
        case dict():
            sign = "{"
            for key, item in sorted(value.items()) if encoder.sort_keys else value.items():
                yield sign
                yield from _parts(encoder, key)
                yield encoder.key_separator
                yield from _parts(encoder, item)
                sign = encoder.item_separator
            yield "}" if value else "{}"
        case list() | tuple():
            sign = "["
            for item in value:
                yield sign
                yield from _parts(encoder, item)
                sign = encoder.item_separator
            yield "]" if value else "[]"
        case _:
            yield encoder.encode(value)


def from_base64(encoded: bytes) -> bytes:
    """Do as ``binascii.a2b_base64`` does, with base64 whose padding is right. Raises binascii.Error."""
    step = 4 * _STEP
    return b"".join([binascii.a2b_base64(encoded[at : at + step]) for at in range(0, len(encoded), step)])

"""Reading and writing large JSON without blocking other threads.

The C code of :mod:`json` processes a whole value in one step and holds the interpreter's lock. For ten megabytes of
numbers this takes most of a second. This module walks large containers in Python, which releases the lock regularly.
Only small values are processed in C. This is several times slower, so it is used only for large JSON.
"""

import binascii
import itertools
import json
import json.scanner
from collections.abc import Iterator
from typing import Any

from translate.long_work import weight

LARGE_JSON = 256 * 1024
_MOST_AT_ONCE = 10_000
_STEP = 256 * 1024
_SMALL = 64 * 1024


class Reader:
    """Works like ``json.loads`` with these hooks."""

    def __init__(self, **hooks: Any) -> None:
        self._at_once = json.JSONDecoder(**hooks)
        self._slowly = json.JSONDecoder(**hooks)
        self._slowly.scan_once = json.scanner.py_make_scanner(self._slowly)  # type: ignore[attr-defined]

    def read(self, data: str | bytes) -> Any:
        """Parse JSON. Raises ValueError, and RecursionError if large JSON is nested some hundred levels deep."""
        text = data.decode(json.detect_encoding(data), "surrogatepass") if isinstance(data, bytes) else data
        return (self._at_once if len(data) < LARGE_JSON else self._slowly).decode(text)


read = Reader().read


def forget(value: Any) -> None:
    """Empty the lists and dicts of an unused JSON-like value, one by one.

    Otherwise hundreds of thousands of values would be freed in one step, which blocks other threads.
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
    """Work like ``encoder.encode``. The encoder must not indent, and all keys must be strings."""
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
                yield from _inside(encoder, item)
                sign = encoder.item_separator
            yield "}" if value else "{}"
        case list() | tuple():
            sign = "["
            for item in value:
                yield sign
                yield from _inside(encoder, item)
                sign = encoder.item_separator
            yield "]" if value else "[]"
        case _:
            yield encoder.encode(value)


def _inside(encoder: json.JSONEncoder, item: Any) -> Iterator[str]:
    # A small value is faster in one step, and most values in a large list are small.
    return iter((encoder.encode(item),)) if weight(item) < _SMALL else _parts(encoder, item)


def from_base64(encoded: bytes) -> bytes:
    """Work like ``binascii.a2b_base64``. The padding must be correct. Raises binascii.Error."""
    step = 4 * _STEP
    return b"".join([binascii.a2b_base64(encoded[at : at + step]) for at in range(0, len(encoded), step)])

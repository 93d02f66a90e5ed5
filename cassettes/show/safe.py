"""Makes the text of a cassette safe for a terminal. Others wrote this text, so it must not control or flood it.

:mod:`translate.printable` escapes single characters.
"""

import base64
import binascii
import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from cassettes.blobs import media_type
from translate.printable import UNSAFE, escape, one_line, safe

__all__ = ["blob", "one_line", "pieces", "safe", "safe_json", "size", "without_blobs"]

MIN_BLOB_CHARACTERS = 256
_BLOB = re.compile(
    r"(?:data:(?P<media>[\w.+/-]{1,100})(?:;[\w=.+-]{0,100}){0,4};base64,)?(?P<data>[A-Za-z0-9+/]+={0,2})"
)


def pieces(text: str) -> Iterator[tuple[str, bool]]:
    """Split a text into (piece, is_escape). Escapes can then be shown differently from text that looks like one."""
    at = 0
    for match in UNSAFE.finditer(text):
        if match.start() > at:
            yield text[at : match.start()], False
        yield escape(match.group()), True
        at = match.end()
    if at < len(text):
        yield text[at:], False


def safe_json(value: Any, indent: int | None = 2) -> str:
    """Write JSON that is safe on a terminal. Non-ASCII letters stay readable. Raises RecursionError."""
    try:
        text = json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=False, indent=indent)
    # JSON has these characters only inside strings. There an escape means the same.
    return UNSAFE.sub(lambda match: json.dumps(match.group())[1:-1] if match.group() != "\x7f" else "\\u007f", text)


def _finite(value: Any) -> Any:
    """Return a JSON-like value with null instead of NaN and infinity, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, (list, tuple)) else value


def size(count: int) -> str:
    """Write a number of bytes: ``312 B``, ``12.3 kB``, ``4.0 MB``."""
    if count < 1000:
        return f"{count} B"
    return f"{count / 1000:.1f} kB" if count < 1_000_000 else f"{count / 1_000_000:.1f} MB"


def blob(text: str) -> tuple[str, bytes] | None:
    """Return the media type and the bytes of a base64 text that is too long to show. Return None for any other text."""
    if len(text) < MIN_BLOB_CHARACTERS or (match := _BLOB.fullmatch(text)) is None:
        return None
    try:
        data = base64.b64decode(match["data"], validate=True)
    except (binascii.Error, ValueError):
        return None
    media = match["media"] or media_type(data)
    # A long word or number is valid base64 by chance. So a short text must begin like a known file type.
    if match["media"] is None and media == "application/octet-stream" and len(text) < 4096:
        return None
    return media, data


def without_blobs(value: Any) -> Any:
    """Return a JSON-like value with a short text instead of each large base64: type, size and start of the digest."""
    if isinstance(value, str):
        found = blob(value)
        if found is None:
            return value
        media, data = found
        return f"<{media}, {size(len(data))}, sha256:{hashlib.sha256(data).hexdigest()[:12]}>"
    if isinstance(value, Mapping):
        return {key: without_blobs(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_blobs(item) for item in value]
    return value

"""Forms with files (``multipart/form-data``, RFC 7578), as apps send them to ``/v1/files``.

The body is in memory already, and its size is bounded. A part's bytes are copied once.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email import message_from_string
from email.message import Message

from translate.errors import OpenAIError

MAX_PARTS = 32
MAX_HEAD_BYTES = 8 * 1024
MAX_FIELD_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a form. ``filename`` is None for a field that is no file. ``media_type`` may be empty."""

    data: bytes
    filename: str | None = None
    media_type: str = ""


def read_form(content_type: str, body: bytes) -> Mapping[str, Part]:
    """Return the parts of a form by their names. The last part of a name counts. Raises OpenAIError (400)."""
    head = Message()
    head["content-type"] = content_type
    # A parameter may name an encoding that does not exist or fails, or have a number with too many digits.
    try:
        boundary = head.get_param("boundary")
    except (ValueError, LookupError):
        boundary = None
    if head.get_content_type() != "multipart/form-data" or not isinstance(boundary, str) or not boundary:
        raise OpenAIError(
            "Invalid Content-Type: 'multipart/form-data' with a boundary is expected.", code="invalid_content_type"
        )
    form: dict[str, Part] = {}
    for count, (start, end) in enumerate(_places(boundary, body), start=1):
        if count > MAX_PARTS:
            raise _malformed(f"more than {MAX_PARTS} parts")
        name, part = _part(body, start, end)
        form[name] = part
    return form


def field(form: Mapping[str, Part], name: str) -> str | None:
    """Return the text of a field, or None. Raises OpenAIError (400) for a file or for bytes that are no text."""
    part = form.get(name)
    if part is None:
        return None
    if part.filename is not None or len(part.data) > MAX_FIELD_BYTES:
        raise OpenAIError(f"Invalid type for '{name}': expected a short text.", param=name, code="invalid_type")
    try:
        return part.data.decode("utf-8")
    except UnicodeDecodeError:
        raise OpenAIError(f"Invalid '{name}': it is not UTF-8.", param=name, code="invalid_value") from None


def _places(boundary: str, body: bytes) -> Iterator[tuple[int, int]]:
    """Yield where each part begins, with its headers, and where it ends. Raises OpenAIError (400)."""
    first, between = b"--" + boundary.encode("latin-1", "replace"), b"\r\n--" + boundary.encode("latin-1", "replace")
    at = 0 if body.startswith(first) else body.find(between) + 2
    if not body.startswith(first, at):
        raise _malformed("there is no boundary")
    at += len(first)
    while not body.startswith(b"--", at):
        start = body.find(b"\r\n", at, at + 200) + 2
        end = body.find(between, at)
        if start < 2 or end < 0:
            raise _malformed("it breaks off")
        yield start, end
        at = end + len(between)


def _part(body: bytes, start: int, end: int) -> tuple[str, Part]:
    # A part without headers begins with the empty line.
    stop = body.find(b"\r\n\r\n", start - 2, min(end, start + MAX_HEAD_BYTES))
    if stop < 0:
        raise _malformed("a part has no headers, or too many")
    try:
        head = message_from_string(body[start:stop].decode("latin-1"))
        name = head.get_param("name", header="content-disposition")
        filename = head.get_filename()
        media_type = head.get_content_type() if "content-type" in head else ""
    except (ValueError, LookupError):
        raise _malformed("a header of a part cannot be decoded") from None
    if not isinstance(name, str) or not name:
        raise _malformed("a part has no name")
    return _text(name), Part(body[stop + 4 : end], None if filename is None else _text(filename), media_type)


def _text(value: str) -> str:
    """Return what a client has written: UTF-8, in which browsers and httpx escape quotation marks and line breaks."""
    # The header was read as Latin-1. What has an encoding of its own (filename*=) is decoded already.
    with contextlib.suppress(UnicodeError):
        value = value.encode("latin-1").decode("utf-8")
    # Some encodings can express half of a surrogate pair, which cannot be stored.
    value = value.encode("utf-8", "replace").decode("utf-8")
    return value.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")


def _malformed(why: str) -> OpenAIError:
    return OpenAIError(f"The form in the body of the request cannot be read: {why}.", code="invalid_multipart_form")

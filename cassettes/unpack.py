"""Decodes content encodings (https://www.rfc-editor.org/rfc/rfc9110#name-content-codings), up to a size limit."""

import zlib

import brotli  # type: ignore[import-untyped]
import zstandard

ENCODINGS = ("gzip", "deflate", "br", "zstd")
"""The encodings that can be undone."""

MAX_ENCODINGS = 2
"""A body may be encoded so often. Each encoding that is undone costs time, however short the body is."""

MAX_GZIP_MEMBERS = 4000
"""A body in gzip may have so many parts: each costs time, also an empty one. 64 MiB may be in parts of 16 KiB."""

_GZIP_STEP = 16 * 1024

# https://www.rfc-editor.org/rfc/rfc9659: a decoder for HTTP needs no larger window. A window is memory.
_MAX_WINDOW_BYTES = 8 * 1024 * 1024


class UnknownEncodingError(ValueError):
    """A body has an encoding that cannot be undone here, or too many encodings."""


def unpack_all(body: bytes, encodings: str, most: int) -> bytes:
    """Return a body without all its encodings, as :func:`unpack` does.

    ``encodings`` is the value of ``content-encoding``, in the order in which they were applied. Raises
    UnknownEncodingError, and ValueError for a body that is not so encoded.
    """
    names = [name for part in encodings.split(",") if (name := part.strip().lower()) not in ("", "identity")]
    names = [name.removeprefix("x-") if name == "x-gzip" else name for name in names]
    if unknown := next((name for name in names if name not in ENCODINGS), None):
        raise UnknownEncodingError(f"the encoding {unknown!r} is not supported")
    if len(names) > MAX_ENCODINGS:
        raise UnknownEncodingError(f"more than {MAX_ENCODINGS} encodings are not supported")
    for name in reversed(names):
        body = unpack(body, name, most)
    return body


def unpack(body: bytes, encoding: str, most: int) -> bytes:
    """Return a body without its content encoding. If it is longer than ``most`` bytes, return only the beginning.

    Without a limit, a small body could fill the memory. With ``br`` the result can be slightly longer than ``most``. A
    body with an unknown encoding is returned unchanged. Raises ValueError if the body does not have this encoding.
    """
    try:
        match encoding.strip().lower():
            case "gzip":
                return _gunzip(body, most)
            case "deflate":
                return _inflate(body, most)
            case "br":
                return _brotli(body, most)
            case "zstd":
                undo = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
                with undo.stream_reader(body, read_across_frames=True) as reader:
                    return bytes(reader.read(most))
            case _:
                return body
    except (OSError, EOFError, zlib.error, brotli.error, zstandard.ZstdError) as error:
        raise ValueError(f"this is not {encoding}: {error}") from error


def _gunzip(body: bytes, most: int) -> bytes:
    """Undo gzip, which may be of several parts (https://www.rfc-editor.org/rfc/rfc1952, 2.2)."""
    view, at, pieces, left = memoryview(body), 0, [], most
    for _ in range(MAX_GZIP_MEMBERS):
        undo = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        while not undo.eof:
            # In steps: what a part leaves of its input is copied.
            step = view[at : at + _GZIP_STEP]
            if not step:
                raise ValueError("this is not gzip: it ends early")
            pieces.append(undo.decompress(step, left))
            left -= len(pieces[-1])
            if left <= 0:
                return b"".join(pieces)
            at += len(step) - len(undo.unused_data)
        if at == len(body) or (
            body[at] == 0 and not body[at:].strip(b"\0")
        ):  # nothing, or zeros, which some programs add
            return b"".join(pieces)
    raise ValueError(f"gzip of more than {MAX_GZIP_MEMBERS} parts is not supported")


def _inflate(body: bytes, most: int) -> bytes:
    for window in (zlib.MAX_WBITS, -zlib.MAX_WBITS):  # some servers leave out the zlib header
        undo = zlib.decompressobj(window)
        try:
            data = undo.decompress(body, most)
        except zlib.error:
            continue
        if len(data) >= most or (undo.eof and not undo.unused_data):
            return data
    raise ValueError("this is not deflate")


def _brotli(body: bytes, most: int) -> bytes:
    undo = brotli.Decompressor()
    data = bytes(undo.process(body, output_buffer_limit=most))
    if len(data) < most and not undo.is_finished():
        raise ValueError("this is not br")
    return data

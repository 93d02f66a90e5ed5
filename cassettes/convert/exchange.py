"""The common form of an exchange during a conversion, and how to write it into a cassette."""

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cassettes.assemble import assemble, is_complete, is_event_stream
from cassettes.openai_bodies import error_in, usage_in
from cassettes.record.record import Recorder, Recording
from cassettes.unpack import unpack

GZIP = b"\x1f\x8b"
MAX_BODY_BYTES = 256 * 1024 * 1024


class ConvertError(Exception):
    """A file cannot be converted. The message has the file, the place and the reason."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its answer, as other formats have them. ``status`` is None if there was no answer.

    Times are in ms since the request. Bodies have no content encoding. ``left_out`` says that the file has the length
    of the answer's body, but not the body.
    """

    started: datetime.datetime
    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    status: int | None
    answer_headers: tuple[tuple[str, str], ...]
    chunks: tuple[tuple[float, bytes], ...]
    ms: float
    left_out: bool = False


def decoded(body: bytes, encoding: str) -> bytes:
    """Undo a body's content encoding. Often only the header has it: the program has already decoded the body.

    Raises ValueError for gzip that is damaged.
    """
    try:
        return unpack(body, encoding, MAX_BODY_BYTES)
    except ValueError:
        if encoding == "gzip" and body.startswith(GZIP):
            raise
        return body


def write(exchanges: Iterable[Exchange], path: Path) -> tuple[int, int]:
    """Write exchanges into a cassette, with secrets redacted. Raises CassetteError.

    Return the number of exchanges, and how many of them have no body because the file has left it out.
    """
    count = left_out = 0
    with Recorder(path) as recorder:
        for one in exchanges:
            target = one.url.split("://", 1)[-1]
            host, slash, rest = target.partition("/")
            headers = [
                ("host", host),
                *((n, v) for n, v in one.headers if n.lower() not in ("host", "content-encoding")),
            ]
            recording = recorder.begin(one.method, f"{slash or '/'}{rest}", headers, one.body, started=one.started)
            if one.status is None:
                recording.end("failed", at_ms=one.ms)
            else:
                _answer(recording, one, one.status)
            count += 1
            left_out += one.left_out
    return count, left_out


def _answer(recording: Recording, one: Exchange, status: int) -> None:
    answered = [(name, value) for name, value in one.answer_headers if name.lower() != "content-encoding"]
    recording.respond(one.chunks[0][0] if one.chunks else one.ms, status, answered)
    for at_ms, data in one.chunks:
        recording.chunk(at_ms, data)
    kind = next((value for name, value in answered if name.lower() == "content-type"), "")
    body = b"".join(data for _, data in one.chunks)
    message = assemble(kind, body)
    broke_off = is_event_stream(kind) and not is_complete(body)
    recording.end(
        # A replay must not give an empty body for one that was left out.
        "failed" if broke_off or one.left_out else "done",
        at_ms=one.ms,
        message=message,
        usage=usage_in(message),
        error=error_in(message),
    )

"""What is compressed is recorded as what it is, within a limit. The rest: end_to_end/test_record_and_replay.py."""

import gzip
from pathlib import Path

import pytest
from mitmproxy.test import tutils

from addons.record import Taken, decoded
from tape.format import Entry
from tape.index import load
from tape.read import read
from tape.record import Recorder


def test_a_compressed_body_is_recorded_unpacked_up_to_one_byte_more_than_the_limit() -> None:
    body = b"a secret, many times " * 100_000
    request = tutils.treq(content=gzip.compress(body), headers=[(b"content-encoding", b"gzip")])

    assert decoded(request, len(body)) == body
    assert decoded(request, 1000) == body[:1001]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "identity", "unknown"])
def test_what_cannot_be_unpacked_is_recorded_as_it_came(encoding: str) -> None:
    request = tutils.treq(content=b"{}", headers=[(b"content-encoding", encoding.encode())])

    assert decoded(request, 1000) == b"{}"


PIECE = b'data: {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "Once"}}]}\n\n'
ERROR = b'data: {"error": {"message": "No", "type": "server_error", "code": "overloaded"}}\n\n'
FAILED = (
    b'event: response.failed\ndata: {"type": "response.failed", "response": {"error": {"code": "server_error"}}}\n\n'
)


@pytest.mark.parametrize(
    ("pieces", "how", "error", "told", "code"),
    [
        ((PIECE, b"data: [DONE]\n\n"), "done", None, "done", None),
        ((PIECE,), "done", None, "failed", None),
        ((PIECE,), "cut_by_app", "Client disconnected.", "cut_by_app", "Client disconnected."),
        ((PIECE, ERROR), "done", None, "failed", "overloaded"),
        ((PIECE, ERROR), "cut_by_app", "Client disconnected.", "failed", "overloaded"),
        ((FAILED,), "done", None, "failed", "server_error"),
    ],
)
def test_a_stream_that_told_an_error_or_broke_off_has_failed(
    tmp_path: Path, pieces: tuple[bytes, ...], how: str, error: str | None, told: str, code: str | None
) -> None:
    with Recorder(tmp_path / "a.jsonl") as recorder:
        taken = Taken(recorder.begin("POST", "/v1/chat/completions", [], b"{}"))
        taken.respond(200, [("content-type", "text/event-stream")])
        for piece in pieces:
            taken.chunk(piece)
        taken.app_ended(how, error)
        taken.finish()

    (entry,) = read(tmp_path / "a.jsonl")
    assert isinstance(entry, Entry) and entry.how == told
    assert (entry.error["code"] if isinstance(entry.error, dict) else entry.error) == code
    (row,) = load(tmp_path / "a.jsonl")
    assert row.outcome == told

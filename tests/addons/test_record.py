"""What is compressed is recorded as what it is, within a limit. The rest: end_to_end/test_record_and_replay.py."""

import gzip
from pathlib import Path

import pytest
from mitmproxy.test import tutils

from addons.record import Taken, decoded
from cassettes.format import Entry
from cassettes.index import load
from cassettes.read import read
from cassettes.record.record import Recorder


def test_a_compressed_body_is_recorded_unpacked_up_to_one_byte_more_than_the_limit() -> None:
    body = b"a secret, many times " * 100_000
    request = tutils.treq(content=gzip.compress(body), headers=[(b"content-encoding", b"gzip")])

    assert decoded(request, len(body)) == body
    assert decoded(request, 1000) == body[:1001]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "identity", "unknown"])
def test_a_body_with_an_unknown_or_wrong_encoding_is_recorded_unchanged(encoding: str) -> None:
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
        taken = Taken(lambda _: recorder.begin("POST", "/v1/chat/completions", [], b"{}"))
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


def begun_late(recorder: Recorder) -> Taken:
    """Return an exchange whose entry is begun when it is known whether it is refused."""
    return Taken(
        lambda why: recorder.begin("POST", "/v1/chat/completions", [], b'{"a": "body"}', why_no_body=why),
        at_once=False,
    )


@pytest.mark.parametrize("status", [401, 403, 404, 405, None], ids=str)
def test_a_request_that_is_refused_or_never_accepted_is_kept_without_its_body(
    tmp_path: Path, status: int | None
) -> None:
    with Recorder(tmp_path / "a.jsonl") as recorder:
        taken = begun_late(recorder)
        written = list(recorder.folder.glob("*.part"))
        if status is not None:
            taken.respond(status, [("content-type", "application/json")])
        taken.app_ended("done", None)
        taken.finish()

    (entry,) = read(tmp_path / "a.jsonl")
    assert written == []
    assert isinstance(entry, Entry) and entry.request.json is None
    assert b"body" not in entry.request.body
    assert '"body_bytes":13' in (tmp_path / "a.jsonl").read_text().replace(" ", "")


def test_a_request_that_is_answered_is_kept_whole(tmp_path: Path) -> None:
    with Recorder(tmp_path / "a.jsonl") as recorder:
        taken = begun_late(recorder)
        taken.respond(429, [("content-type", "application/json")])
        taken.app_ended("done", None)
        taken.finish()

    (entry,) = read(tmp_path / "a.jsonl")
    assert isinstance(entry, Entry) and entry.request.json == {"a": "body"}

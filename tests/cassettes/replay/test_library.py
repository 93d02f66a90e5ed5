import datetime
import os
from pathlib import Path

import pytest

from cassettes.record.record import Recorder
from cassettes.replay.library import GoneError, shelve
from cassettes.replay.match import Matcher


def record(path: Path, *texts: str, status: int | None = 200) -> None:
    with Recorder(path) as recorder:
        for n, text in enumerate(texts):
            started = datetime.datetime(2026, 3, 4, tzinfo=datetime.UTC) + datetime.timedelta(seconds=n)
            recording = recorder.begin("POST", "/v1/x", [], b'{"text": "%s"}' % text.encode(), started=started)
            if status is not None:
                recording.respond(1, status, [])
                recording.chunk(2, text.encode())
            recording.end("done")


def test_entries_are_read_when_they_are_wanted(tmp_path: Path) -> None:
    record(tmp_path / "a.jsonl", "one", "two")
    places, summaries = shelve(tmp_path / "a.jsonl")
    assert [place.head().request.json for place in places] == [{"text": "one"}, {"text": "two"}]
    assert [place.head().chunks for place in places] == [(), ()]
    assert [place.load().body for place in places] == [b"one", b"two"]
    assert [summary.status for summary in summaries] == [200, 200]


def test_a_request_finds_an_entry_on_the_disk(tmp_path: Path) -> None:
    record(tmp_path / "a.jsonl", "one", "two")
    found = Matcher(shelve(tmp_path / "a.jsonl")[0]).find("POST", "/v1/x", {"text": "two"})
    assert found.body == b"two"  # type: ignore[union-attr]


def test_entries_are_ordered_by_their_start(tmp_path: Path) -> None:
    with Recorder(tmp_path / "a.jsonl") as recorder:
        start = datetime.datetime(2026, 3, 4, tzinfo=datetime.UTC)
        slow = recorder.begin("POST", "/v1/x", [], b"", started=start)
        quick = recorder.begin("POST", "/v1/x", [], b"", started=start + datetime.timedelta(seconds=1))
        for recording in (quick, slow):
            recording.respond(1, 200, [])
            recording.end("done")
    assert [place.id for place in shelve(tmp_path / "a.jsonl")[0]] == [slow.id, quick.id]


def test_an_entry_without_an_answer_answers_nothing(tmp_path: Path) -> None:
    record(tmp_path / "a.jsonl", "one", status=None)
    assert shelve(tmp_path / "a.jsonl") == ([], [])


def test_an_entry_that_is_gone_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    record(path, "one", "two")
    places, _ = shelve(path)
    os.truncate(path, 60)
    with pytest.raises(GoneError, match="was changed meanwhile"):
        places[1].load()

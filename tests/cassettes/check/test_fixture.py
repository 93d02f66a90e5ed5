import base64
from pathlib import Path

import pytest

from cassettes.check.fixture import FixtureError, write_fixture
from cassettes.files import side_folder
from cassettes.format import Entry
from cassettes.read import read
from cassettes.record.record import Recorder
from cassettes.show.cassette import open_cassette


@pytest.fixture
def cassette(tmp_path: Path) -> Path:
    path = tmp_path / "all.jsonl"
    picture = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(6000)).decode()
    with Recorder(path) as recorder:
        for text in ("one", picture, "three"):
            recording = recorder.begin("POST", "/v1/chat/completions", [], b'{"image": "%s"}' % text.encode())
            recording.respond(1, 200, [("content-type", "application/json")])
            recording.chunk(2, b"{}")
            recording.end("done")
    return path


def test_a_fixture_is_one_exchange_with_its_blobs(cassette: Path, tmp_path: Path) -> None:
    row = open_cassette(cassette).find("2")
    write_fixture(row.file, row.summary, tmp_path / "there" / "one.jsonl")

    recorded = [entry for entry in read(cassette) if isinstance(entry, Entry)][1]
    (entry,) = read(tmp_path / "there" / "one.jsonl")
    assert isinstance(entry, Entry)
    assert entry.id == recorded.id
    assert entry.request.json == recorded.request.json
    assert len(list((side_folder(tmp_path / "there" / "one.jsonl") / "blobs").iterdir())) == 1


def test_nothing_is_written_over(cassette: Path, tmp_path: Path) -> None:
    row = open_cassette(cassette).find("1")
    (tmp_path / "one.jsonl").write_text("mine")
    with pytest.raises(FixtureError, match="already exists"):
        write_fixture(row.file, row.summary, tmp_path / "one.jsonl")
    assert (tmp_path / "one.jsonl").read_text() == "mine"


def test_a_fixture_is_a_cassette_by_its_name(cassette: Path, tmp_path: Path) -> None:
    row = open_cassette(cassette).find("1")
    with pytest.raises(FixtureError, match="jsonl"):
        write_fixture(row.file, row.summary, tmp_path / "one.json")

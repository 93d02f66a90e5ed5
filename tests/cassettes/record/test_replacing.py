import base64
import json
from pathlib import Path

import pytest

from cassettes.files import parts
from cassettes.format import Entry
from cassettes.index import load
from cassettes.read import read
from cassettes.record.record import CassetteError, Recorder
from cassettes.record.replacing import drop_failures, put_in_place


def picture(seed: int) -> str:
    return base64.b64encode(bytes([seed]) * 9000).decode()


def make(path: Path, *seeds: int, max_bytes: int | None = None) -> Path:
    with Recorder(path, max_bytes=max_bytes) as recorder:
        for seed in seeds:
            recording = recorder.begin("POST", f"/v1/{seed}", [], json.dumps({"image": picture(seed)}).encode())
            recording.respond(1, 200, [])
            recording.end("done")
    return path


def told(path: Path) -> list[tuple[str, str]]:
    found = list(read(path))
    assert all(isinstance(one, Entry) for one in found), [str(one) for one in found]
    return [(one.request.path, one.request.json["image"]) for one in found if isinstance(one, Entry)]


@pytest.mark.parametrize("before", [(), (1,), (1, 2, 3)])
@pytest.mark.parametrize("after", [(2,), (4, 5)])
def test_the_new_one_is_all_that_there_is_afterwards(
    tmp_path: Path, before: tuple[int, ...], after: tuple[int, ...]
) -> None:
    old = tmp_path / "a.jsonl"
    if before:
        make(old, *before, max_bytes=200)
        assert len(load(old)) == 1 and len(parts(old)) == len(before)
    (tmp_path / "new").mkdir()

    put_in_place(make(tmp_path / "new" / "a.jsonl", *after), old)

    assert told(old) == [(f"/v1/{seed}", picture(seed)) for seed in after]
    assert [row.path for row in load(old)] == [f"/v1/{seed}" for seed in after]
    assert parts(old) == [old]
    assert len(list((tmp_path / "a.jsonl.d" / "blobs").iterdir())) == len(after)
    assert make(old, 9) and len(told(old)) == len(after) + 1


def test_a_cassette_that_is_being_recorded_is_left_alone(tmp_path: Path) -> None:
    old = make(tmp_path / "a.jsonl", 1)
    (tmp_path / "new").mkdir()
    new = make(tmp_path / "new" / "a.jsonl", 2)
    with Recorder(old), pytest.raises(CassetteError, match="another process"):
        put_in_place(new, old)
    assert told(old) == [("/v1/1", picture(1))]


def test_failures_are_taken_out_and_nothing_else_is_touched(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with Recorder(path) as recorder:
        for n, status in enumerate((200, 503, 400, 401, 200)):
            recording = recorder.begin("POST", f"/v1/{n}", [], b"{}")
            recording.respond(1, status, [])
            recording.end("done")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:4], b"by another hand\n", *lines[4:]]))

    assert drop_failures(path) == 2
    assert [row.path for row in load(path)] == ["/v1/0", "/v1/2", "/v1/4"]
    assert path.read_bytes() == b"".join(
        [*lines[:4], b"by another hand\n", *(line for line in lines[4:] if line in path.read_bytes())]
    )
    assert b"by another hand\n" in path.read_bytes()
    assert drop_failures(path) == drop_failures(tmp_path / "none.jsonl") == 0


def failed_once(path: Path) -> bytes:
    with Recorder(path) as recorder:
        recording = recorder.begin("POST", "/v1/1", [], b"{}")
        recording.respond(1, 503, [])
        recording.end("done")
    return path.read_bytes()


def test_failures_stay_in_a_cassette_that_another_process_records(tmp_path: Path) -> None:
    before = failed_once(tmp_path / "a.jsonl")
    with Recorder(tmp_path / "a.jsonl"), pytest.raises(CassetteError, match="another process"):
        drop_failures(tmp_path / "a.jsonl")
    assert (tmp_path / "a.jsonl").read_bytes() == before


def test_a_line_that_is_too_long_to_be_read_is_not_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    failed_once(path)
    with path.open("ab") as file:
        file.write(b'{"note": "' + b"x" * 3000 + b'"}\n')
    before = path.read_bytes()
    monkeypatch.setattr("cassettes.read.MAX_LINE_BYTES", 2000)

    with pytest.raises(CassetteError, match=r"a\.jsonl:\d+: a line is too long"):
        drop_failures(path)
    assert path.read_bytes() == before
    assert not list(tmp_path.glob(".new-*"))

"""A cassette of somebody else's is read, shown and converted without harm, whatever lies in it and beside it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cassettes.index import _HEADER
from cassettes.record.record import Recorder
from tests.end_to_end.cloud import GUARD_S
from tests.end_to_end.understudy import ROOT

DATA = b"\x89PNG" + bytes(range(256)) * 64


@pytest.fixture
def cassette(tmp_path: Path) -> Path:
    """A cassette with one exchange, whose body lies in a blob, and without an index."""
    path = tmp_path / "a.jsonl"
    with Recorder(path) as tapes:
        recording = tapes.begin("POST", "/v1/files", [("content-type", "image/png")], DATA)
        recording.respond(1, 200, [])
        recording.end("done")
    beside(path, "a.index").unlink()
    return path


def beside(cassette: Path, name: str) -> Path:
    return cassette.with_name(cassette.name + ".d") / name


def blob_of(cassette: Path) -> Path:
    (blob,) = beside(cassette, "blobs").iterdir()
    return blob


LOOK = """
import sys
from pathlib import Path
from cassettes.show.cassette import glances, load, open_cassette
cassette = open_cassette(Path(sys.argv[1]))
for row, glance in zip(cassette.rows, glances(cassette.rows), strict=True):
    entry, problems = load(row)
    print(row.summary.path, glance, len(entry.body), *problems)
print(*cassette.problems())
"""
CONVERT = """
import sys
from pathlib import Path
from cassettes.convert.exchange import ConvertError
from cassettes.convert.vcr import from_vcr
try:
    print(len(list(from_vcr(Path(sys.argv[1])))))
except ConvertError as error:
    print(error)
"""


def run(script: str, cassette: Path) -> str:
    """Run a script in a process of its own, which may take only so long, and return what it says."""
    done = subprocess.run(
        [sys.executable, "-c", script, str(cassette)], cwd=ROOT, capture_output=True, text=True, timeout=GUARD_S
    )
    last = (done.stderr.splitlines() or [""])[-1]
    assert done.returncode == 0 or last.startswith("cassettes.show.cassette.LookError"), done.stderr
    return done.stdout + last


@pytest.mark.parametrize(
    "lie",
    [
        {"offset": -5},
        {"offset": 2**70},
        {"length": 2**70},
        {"length": 10**15},
        {"offset": 10**18, "length": -(10**18)},
        {"id": "../../../etc/passwd"},
        {"ms": -1},
        {"ms": 1e300},
        {"how": "\x1b[2J"},
        {"status": 10**18},
        {"events": -(10**15)},
        {"usage": {"input_tokens": []}},
    ],
    ids=str,
)
def test_an_index_that_lies_is_made_anew_or_believed_without_harm(lie: dict[str, object], cassette: Path) -> None:
    size = cassette.stat().st_size
    row = {"id": "20261120T093000-00000000", "offset": 0, "length": size, "method": "GET", "how": "done", **lie}
    end = {"id": "", "offset": size, "length": 0}
    beside(cassette, "a.index").write_bytes(_HEADER + json.dumps(row).encode() + b"\n" + json.dumps(end).encode())

    assert run(LOOK, cassette)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda path: os.mkfifo(path), id="a named pipe"),
        pytest.param(lambda path: path.symlink_to("/dev/zero"), id="a device without end"),
        pytest.param(lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 2**40), id="a file of holes"),
    ],
)
@pytest.mark.parametrize("which", ["blob", "index"])
def test_a_blob_or_index_that_is_not_a_small_regular_file_is_not_read(
    which: str, spoil: Callable[[Path], None], cassette: Path
) -> None:
    blob = blob_of(cassette)
    path = {"blob": blob, "index": beside(cassette, "a.index")}[which]
    path.unlink(missing_ok=True)
    spoil(path)

    told = run(LOOK, cassette)
    assert "/v1/files" in told
    assert (which == "blob") == ("cannot be read: it is" in told)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_is_no_journal(cassette: Path) -> None:
    os.mkfifo(beside(cassette, "b.part"))

    assert "/v1/files" in run(LOOK, cassette)


def test_a_link_beside_a_cassette_has_nothing_written_elsewhere(cassette: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    beside(cassette, ".gitignore").unlink()
    beside(cassette, ".gitignore").symlink_to(elsewhere / "file")
    (tmp_path / "folder").mkdir()
    other = tmp_path / "b.jsonl"
    other.write_bytes(cassette.read_bytes())
    beside(other, "").parent.joinpath("b.jsonl.d").symlink_to(tmp_path / "folder")
    elsewhere.mkdir()

    assert "/v1/files" in run(LOOK, cassette)
    assert "/v1/files" in run(LOOK, other)
    assert list(elsewhere.iterdir()) == []
    assert list((tmp_path / "folder").iterdir()) == []


@pytest.mark.parametrize(
    "document",
    [
        "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)),
        "a0: &a0 {k: v}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 30)),
        "a0: &a [*a]\n",
    ],
    ids=["aliases of aliases", "merged aliases", "an alias of itself"],
)
def test_aliases_that_stand_for_gigabytes_are_refused(document: str, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.yaml"
    last = "a0" if "&a [" in document else "a29"
    request = f"interactions:\n- request: {{method: GET, uri: http://x/, body: *{last.replace('a0', 'a')}}}\n"
    bomb.write_text(document + request + "  response: {status: {code: 200}, body: {string: x}}\nversion: 1\n")

    assert "aliases" in run(CONVERT, bomb)


def test_aliases_as_vcrpy_writes_them_are_read(tmp_path: Path) -> None:
    source = tmp_path / "ok.yaml"
    source.write_text(
        "interactions:\n"
        "- request: {method: GET, uri: 'https://api.openai.com/v1/models', headers: {a: &x [b]}, body: null}\n"
        "  response: {status: {code: 200}, headers: {c: *x}, body: {string: x}}\n"
        "version: 1\n"
    )

    assert run(CONVERT, source) == "1\n"

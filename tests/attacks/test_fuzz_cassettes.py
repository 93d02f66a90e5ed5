"""Whatever a cassette holds, reading, listing, showing and replaying it tells of problems and goes on."""

import json
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from api.http.server import Request
from api.replay import Player
from cassettes.read import read
from cassettes.record.record import Recorder
from cassettes.replay.library import GoneError
from cassettes.show.cassette import LookError, glances, load, open_cassette
from tests.attacks.fuzzing import cases, changed, varied

pytestmark = pytest.mark.anyio

IMAGE = b"\x89PNG" + bytes(range(256)) * 32
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
ASKED = Request("POST", "/v1/chat/completions", "", (), json.dumps(CHAT).encode())
CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a cassette, by their names."""
    folder = tmp_path_factory.mktemp("original")
    with Recorder(folder / "a.jsonl") as recorder:
        for body in (ASKED.body, IMAGE):
            recording = recorder.begin("POST", "/v1/chat/completions", [("content-type", "text/plain")], body)
            recording.respond(1, 200, [("content-type", "text/event-stream")])
            recording.chunk(2, CHUNK)
            recording.end("done")
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def hostile(by: Random, original: dict[str, bytes]) -> dict[str, bytes]:
    """Change one file, or some values of a line of the cassette."""
    files = dict(original)
    if by.random() < 0.5:
        name = by.choice(sorted(files))
        files[name] = changed(by, files[name])
        return files
    lines = files["a.jsonl"].splitlines(keepends=True)
    at = by.randrange(len(lines))
    lines[at] = json.dumps(varied(by, json.loads(lines[at]))).encode() + b"\n"
    files["a.jsonl"] = b"".join(lines)
    return files


async def test_cassettes(original: dict[str, bytes], tmp_path: Path) -> None:
    for seed, by in cases(250):
        cassette = tmp_path / str(seed) / "a.jsonl"
        for name, content in hostile(by, original).items():
            path = cassette.parent / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        try:
            await look(cassette)
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise


async def look(path: Path) -> None:
    """Do with a cassette what the commands do. What they raise for a person is no fault."""
    list(read(path))
    try:
        opened = open_cassette(path)
    except LookError:
        pass
    else:
        for row in opened.rows:
            with suppress(LookError):
                load(row)
        list(glances(opened.rows))
        list(opened.problems())
    try:
        player = Player.of(path)
    except (OSError, ValueError):
        return
    try:
        await player.find(ASKED)
    except GoneError:
        return
    list(player.score.lines())

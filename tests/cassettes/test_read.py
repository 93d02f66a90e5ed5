"""Reading what is not as it should be."""

import dataclasses
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from cassettes.format import HEADER, Entry, Problem, encode_line
from cassettes.index import Index
from cassettes.read import read
from cassettes.record.record import Recorder

type Lines = list[bytes]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A cassette of three exchanges without fault."""
    path = tmp_path_factory.mktemp("sound") / "a.jsonl"
    numbers = iter(range(9))
    with Recorder(path, ids=lambda _: f"e{next(numbers)}") as tapes:
        for _ in range(3):
            recording = tapes.begin("POST", "/v1/x", [("accept", "a")], b'{"model": "gpt-4o", "n": [1, {"a": null}]}')
            recording.turn({"model": "opus"})
            recording.respond(1, 200, [("x", "y")])
            for at in range(4):
                recording.event(at, {"type": "ping", "n": at})
                recording.chunk(at, b"data: %d\n\n" % at)
            recording.chunk(5, b"\xff")
            recording.end("done", message={"id": "m"}, usage={"input_tokens": 3})
    return path.read_bytes()


def load(folder: Path, content: bytes) -> tuple[list[Entry], list[Problem]]:
    path = folder / "a.jsonl"
    path.write_bytes(content)
    found = list(read(path))
    return [x for x in found if isinstance(x, Entry)], [x for x in found if isinstance(x, Problem)]


# Mutations: each takes the lines (without the header) and a source of chance, and returns them spoilt.


def truncated(lines: Lines, seeded: random.Random) -> Lines:
    whole = b"".join(lines)
    return [whole[: seeded.randrange(1, len(whole) - 1)]]


def moved(lines: Lines, seeded: random.Random) -> Lines:
    line = lines.pop(seeded.randrange(len(lines)))
    lines.insert(seeded.randrange(len(lines)), line)
    return lines


def shuffled(lines: Lines, seeded: random.Random) -> Lines:
    seeded.shuffle(lines)
    return lines


def dropped(lines: Lines, seeded: random.Random) -> Lines:
    del lines[seeded.randrange(len(lines))]
    return lines


def doubled(lines: Lines, seeded: random.Random) -> Lines:
    place = seeded.randrange(len(lines))
    return [*lines[: place + 1], *lines[place:]]


def edit(lines: Lines, seeded: random.Random, change: Callable[[dict[str, object]], object]) -> Lines:
    place = seeded.randrange(len(lines))
    fields = json.loads(lines[place])
    lines[place] = json.dumps(change(fields) or fields).encode() + b"\n"
    return lines


def another_type(lines: Lines, seeded: random.Random) -> Lines:
    values: list[object] = [None, 7, "x", [], {}, True, -1, 1e300, [[]], {"a": {}}]

    def change(fields: dict[str, object]) -> None:
        key = seeded.choice([key for key in fields if key not in ("message", "at")])
        fields[key] = seeded.choice([value for value in values if type(value) is not type(fields[key])])

    return edit(lines, seeded, change)


def a_key_less(lines: Lines, seeded: random.Random) -> Lines:
    return edit(lines, seeded, lambda fields: fields.pop(seeded.choice(["id", "n"])) and None)


def no_object(lines: Lines, seeded: random.Random) -> Lines:
    return edit(lines, seeded, lambda _: seeded.choice([[1], "text", 3, [{}]]))


def not_utf_8(lines: Lines, seeded: random.Random) -> Lines:
    place = seeded.randrange(len(lines))
    at = seeded.randrange(len(lines[place]) - 1)
    lines[place] = lines[place][:at] + b"\xff\xfe" + lines[place][at:]
    return lines


def noise(lines: Lines, seeded: random.Random) -> Lines:
    lines[seeded.randrange(len(lines))] = seeded.randbytes(200).replace(b"\n", b"") + b"\n"
    return lines


def nested_deeply(lines: Lines, seeded: random.Random) -> Lines:
    place = seeded.randrange(len(lines))
    deep = b'{"a":' * 50_000 + b"1" + b"}" * 50_000
    lines[place] = lines[place][:-2] + b', "event": ' + deep + b"}\n"
    return lines


def a_huge_line(lines: Lines, seeded: random.Random) -> Lines:
    lines.insert(seeded.randrange(len(lines)), b'{"id": "' + b"x" * 3_000_000 + b"\n")
    return lines


def a_huge_number(lines: Lines, seeded: random.Random) -> Lines:
    place = seeded.randrange(len(lines))
    lines[place] = lines[place].replace(b'"n": ', b'"n": ' + b"9" * seeded.choice([30, 5000]), 1)
    return lines


def two_lines_in_one(lines: Lines, seeded: random.Random) -> Lines:
    place = seeded.randrange(len(lines) - 1)
    lines[place] = lines[place].rstrip(b"\n")
    return lines


MUTATIONS = [
    truncated,
    moved,
    shuffled,
    dropped,
    doubled,
    another_type,
    a_key_less,
    no_object,
    not_utf_8,
    noise,
    nested_deeply,
    a_huge_line,
    a_huge_number,
    two_lines_in_one,
]
HARMLESS = {moved, shuffled}


@pytest.mark.parametrize("seed", range(210))
def test_a_spoilt_cassette_loads_and_says_what_is_wrong(tmp_path: Path, sound: bytes, seed: int) -> None:
    seeded = random.Random(seed)
    mutate = MUTATIONS[seed % len(MUTATIONS)]
    header, *lines = sound.splitlines(keepends=True)

    entries, problems = load(tmp_path, header + b"".join(mutate(lines, seeded)))

    whole, _ = load(tmp_path, sound)
    assert problems or (
        mutate in HARMLESS and sorted(map(str, entries)) == sorted(map(str, renumbered(entries, whole)))
    )
    assert all(problem.line > 0 and problem.reason for problem in problems)
    assert all(str(problem).startswith("a.jsonl:") for problem in problems)
    if mutate not in HARMLESS and mutate is not truncated:
        assert len(entries) >= 2
    list(Index(tmp_path / "a.jsonl"))


def renumbered(entries: list[Entry], whole: list[Entry]) -> list[Entry]:
    """Return the sound entries with the line numbers that moving lines gave them."""
    lines = {entry.id: entry.line for entry in entries}
    return [dataclasses.replace(entry, line=lines[entry.id]) for entry in whole]


@pytest.mark.parametrize(
    ("header", "reason", "left"),
    [
        pytest.param(
            {"cassette": "understudy", "version": 2}, "it is of version 2; this program reads up to 1", 0, id="newer"
        ),
        pytest.param({"cassette": "understudy", "version": 0}, "there is no version 0", 0, id="version 0"),
        pytest.param({"cassette": "understudy", "version": "1"}, "its version is '1', not a number", 0, id="a word"),
        pytest.param({"cassette": "understudy"}, "its version is 'None', not a number", 0, id="no version"),
        pytest.param({"other": 1}, 'the first line is not {"cassette"', 3, id="another object"),
        pytest.param(["x"], 'the first line is not {"cassette"', 3, id="no object"),
    ],
)
def test_a_wrong_header_is_named(tmp_path: Path, sound: bytes, header: object, reason: str, left: int) -> None:
    lines = sound.splitlines(keepends=True)

    entries, problems = load(tmp_path, json.dumps(header).encode() + b"\n" + b"".join(lines[1:]))

    assert problems[0].line == 1 and problems[0].reason.startswith(reason)
    assert len(entries) == left


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda line: line[:40] + b"\n", "it is not JSON: Expecting property name"),
        (
            lambda line: line.replace(b'"n": 7', b'"n": "7"'),
            "it is not as the format has it: Expected `int`, got `str` - at `$.n`",
        ),
        (lambda line: line.replace(b'"event"', b'"evening"'), "it must be one of request, turn,"),
        (lambda line: line.replace(b'"n": 7', b'"n": 0'), "line 0 of an entry, and only that, is its request"),
        (lambda line: line.replace(b"ping", b"\xff"), "it is not UTF-8 (byte "),
        (lambda line: line.replace(b'"type"', b'"a": ' + b"[" * 9**6 + b', "type"'), "it is nested too deeply"),
        (lambda line: line.replace(b'"n": 7', b'"n": 6'), "line 6 of the entry is there before; this one is left out"),
    ],
)
def test_a_line_that_is_wrong_is_named_with_its_reason(
    tmp_path: Path, sound: bytes, change: Callable[[bytes], bytes], reason: str
) -> None:
    lines = sound.splitlines(keepends=True)
    lines[8] = change(lines[8])

    entries, problems = load(tmp_path, b"".join(lines))

    assert problems[0].line == 9 and problems[0].reason.startswith(reason)
    assert problems[1].line == 2 and problems[1].reason == "of the entry's lines 1 cannot be read or are missing: 7"
    assert len(entries) == 3 and len(entries[2].events) == 3


def test_a_missing_and_a_changed_blob_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with Recorder(path) as tapes:
        for byte in (b"\x01", b"\x02"):
            tapes.begin("POST", "/", [], byte * 10_000 + b"\xff").end("done")
    one, other = sorted((tmp_path / "a.jsonl.d" / "blobs").iterdir())
    one.unlink()
    other.write_bytes(b"x")

    found = list(read(path))

    reasons = sorted(item.reason for item in found if isinstance(item, Problem))
    assert [reason.replace(one.name, "ONE").replace(other.name, "OTHER") for reason in sorted(reasons, key=len)] == [
        "the request's body is left out: the blob sha256:ONE is not there",
        "the request's body is left out: the blob sha256:OTHER is not what it was when it was recorded",
    ]
    assert [entry.request.body for entry in found if isinstance(entry, Entry)] == [b"", b""]


def test_nothing_and_no_file_are_named(tmp_path: Path) -> None:
    entries, problems = load(tmp_path, b"")
    (missing,) = read(tmp_path / "none.jsonl")

    assert (entries, [str(problem) for problem in problems]) == (
        [],
        ["a.jsonl:1: it is empty: not even the line with its version is there"],
    )
    assert str(missing) == "none.jsonl: there is no cassette here"


def test_many_entries_that_never_end_are_given_up_in_order(tmp_path: Path) -> None:
    request = {"n": 0, "started": "", "request": {"method": "GET", "path": "/"}}

    entries, problems = load(
        tmp_path, encode_line(HEADER) + b"".join(encode_line({"id": f"e{n}", **request}) for n in range(200))
    )

    assert [entry.id for entry in entries] == [f"e{n}" for n in range(200)]
    assert {problem.reason for problem in problems} == {"the entry breaks off: it has no end"}


def test_a_line_longer_than_the_limit_is_left_out_without_being_held(
    tmp_path: Path, sound: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cassettes.read.MAX_LINE_BYTES", 5000)
    lines = sound.splitlines(keepends=True)
    lines[8] = lines[8][:-2] + b" " * 3_000_000 + b"}\n"

    entries, problems = load(tmp_path, b"".join(lines))

    assert problems[0] == Problem(tmp_path / "a.jsonl", 9, "it is longer than 5000 bytes, and left out")
    assert len(entries) == 3

"""Lines, and the schema and the page that describe them."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from cassettes.format import HOW, KINDS, VERSION, Entry, LineError, check_header, decode_line, encode_line
from cassettes.read import read
from cassettes.record.record import Keep, Recorder
from translate.usage import MessageUsage

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return json.loads((DOCS / "cassette.schema.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def test_every_line_that_is_recorded_is_as_the_schema_has_it(tmp_path: Path, schema: dict[str, Any]) -> None:
    with Recorder(tmp_path / "a.jsonl", keep=Keep(entry_bytes=3000, body_bytes=20_000)) as tapes:
        for body in (b"", b"text", b"\xff", b"\xff" * 9000, b"x" * 30_000, b'{"model": "gpt-4o"}'):
            recording = tapes.begin("POST", "/", [("a", "1"), ("a", "2"), ("b", "3")], body)
            recording.turn({"model": "opus"})
            recording.respond(1, 200, [("c", "4")])
            for _ in range(20):
                recording.event(2, {"type": "ping"})
                recording.chunk(3, b"\xff")
                recording.chunk(3, b"data: 1\n\n")
            claude = [MessageUsage("claude-x", {"input_tokens": 1, "cache_creation": {"ephemeral_1h_input_tokens": 0}})]
            about: dict[str, Any] = {"message": {"a": 1}, "usage": {"b": 2}, "process": "warm", "error": "none"}
            recording.end("done", claude_usage=claude, cost_usd=0.5, **about)

    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().split("\n") if line]
    validator = jsonschema.Draft202012Validator(schema)
    assert [error.message for line in lines for error in validator.iter_errors(line)] == []
    assert {kind for line in lines for kind in line if kind in KINDS} == set(KINDS)


def test_the_schema_refuses_what_is_no_line(schema: dict[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator(schema)

    for line in ({}, {"id": "a", "n": 1, "at": 0, "end": "well"}, {"id": "a", "n": 0, "started": "", "request": {}}):
        assert not validator.is_valid(line)
    assert set(schema["$defs"]["end"]["properties"]["end"]["enum"]) == set(HOW)
    assert schema["$defs"]["header"]["properties"]["version"]["const"] == VERSION


def test_the_pages_example_is_as_the_schema_has_it_and_loads(tmp_path: Path, schema: dict[str, Any]) -> None:
    page = (DOCS / "cassette.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    (tmp_path / "a.jsonl").write_text(example)

    validator = jsonschema.Draft202012Validator(schema)
    (entry,) = read(tmp_path / "a.jsonl")
    assert all(validator.is_valid(json.loads(line)) for line in example.splitlines())
    assert isinstance(entry, Entry) and entry.how == "done" and b"redacted:key-1" in entry.body


def test_a_line_is_one_line_in_every_editor() -> None:
    line = encode_line({"text": "a\nb\r\u2028\u2029\x85\x7f é"})

    assert len(line.decode().splitlines()) == 1
    assert json.loads(line) == {"text": "a\nb\r\u2028\u2029\x85\x7f é"}
    assert "é" in line.decode()


def test_a_lone_surrogate_is_escaped() -> None:
    assert json.loads(encode_line({"text": "\ud800"})) == {"text": "\ud800"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[]", "Expected `object`, got `array`"),
        ('{"id": "a", "n": 1}', "and is none"),
        ('{"id": "a", "n": 1, "turn": {}, "event": {}}', "and is turn and event"),
        ('{"id": "a", "n": -1, "turn": {}}', "line 0 of an entry"),
        ('{"id": "a", "n": 1000000000, "turn": {}}', "no entry has more than"),
        ('{"id": "a", "n": 3, "end": "over"}', "ends with one of done, .* not 'over'"),
        ('{"id": "a", "n": ' + "9" * 5000 + "}", "it cannot be read: Exceeds the limit"),
    ],
)
def test_a_line_that_is_none_is_refused_with_its_reason(line: str, reason: str) -> None:
    with pytest.raises(LineError, match=reason):
        decode_line(line.encode())


def test_a_header_of_this_version_is_good() -> None:
    assert check_header(b'{"cassette": "understudy", "version": 1}\n') is None

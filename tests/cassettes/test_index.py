"""Listing a cassette without reading it."""

import json
import os
import shutil
from pathlib import Path

import pytest

from cassettes.files import index_path
from cassettes.index import Index, load, scan
from cassettes.record.record import Recorder
from cassettes.summary import Summary
from translate.usage import MessageUsage


def make(path: Path, count: int = 3, max_bytes: int | None = None) -> None:
    with Recorder(path, max_bytes=max_bytes) as tapes:
        for n in range(count):
            recording = tapes.begin("POST", f"/v1/{n}", [], json.dumps({"model": f"gpt-{n}"}).encode())
            recording.event(1, {"type": "ping"})
            recording.respond(2, 200 + n, [])
            recording.chunk(3, b"data: 1\n\n")
            recording.chunk(4, b"\xff")
            recording.end("done", at_ms=5, usage={"input_tokens": n}, claude_usage=claude(n), cost_usd=0.5)


def claude(n: int) -> list[MessageUsage]:
    return [MessageUsage("claude-x", {"input_tokens": n})]


def shown(summary: Summary) -> tuple[object, ...]:
    return (
        summary.method,
        summary.path,
        summary.model,
        summary.status,
        summary.how,
        summary.ms,
        summary.events,
        summary.chunks,
    )


def test_the_recorders_index_equals_a_scan_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    make(path)

    noted = load(path)
    assert noted == list(scan(path))
    assert [shown(summary) for summary in noted] == [
        ("POST", f"/v1/{n}", f"gpt-{n}", 200 + n, "done", 5.0, 1, 2) for n in range(3)
    ]
    assert [(summary.usage, summary.claude_usage, summary.cost_usd) for summary in noted] == [
        ({"input_tokens": n}, claude(n), 0.5) for n in range(3)
    ]


KEY = "sk-proj-" + "a1b2c3d4" * 4
BODIES = [
    {"model": "gpt-4o", "messages": [{"role": "user", "content": "What is it?"}]},
    {"model": "gpt-4o", "messages": [{"role": "user", "content": f"My key is {KEY}."}]},
    {"model": "gpt-4o", "messages": [{"role": "user", "content": "half of a character: \ud83d"}]},
    {"model": "half \ud83d", "input": [{"role": "user", "content": "Hello"}]},
    {"model": 7, "input": "a \u2028 line"},
    {"model": {"$blob": "mine"}, "prompt": ["A" * 5000]},
    {"messages": 1, "prompt": "x"},
    ["no object"],
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_the_recorders_summary_of_a_request_equals_a_scan(body: object, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with Recorder(path) as tapes:
        recording = tapes.begin("POST", "/v1/chat/completions?key=abc", [], json.dumps(body).encode())
        recording.respond(1, 200, [])
        recording.event(2, {"text": f"{KEY} and the word in use, password='What is it?'"})  # secrets that were unknown
        recording.end("done")

    (noted,) = load(path)
    assert [noted] == list(scan(path))
    assert KEY not in noted.question and "What is it?" not in noted.question


@pytest.mark.parametrize("body", [b"no JSON", b"", b'{"a": 1, "a": 2}', b"\xff", b"[" * 5000])
def test_the_recorders_summary_of_a_body_without_json_equals_a_scan(body: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with Recorder(path) as tapes:
        tapes.begin("POST", "/v1", [], body).end("done")

    assert load(path) == list(scan(path))


def test_a_request_at_hand_is_not_read_again_to_be_summarised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Of ten megabytes that would keep the event loop waiting.
    read: list[object] = []

    def question(raw: object) -> str:
        read.append(raw)
        return ""

    monkeypatch.setattr("cassettes.index.words.question", question)
    path = tmp_path / "a.jsonl"

    with Recorder(path) as tapes:
        tapes.begin("POST", "/v1", [], json.dumps(BODIES[0]).encode()).end("done")

    assert (read, [summary.question for summary in load(path)]) == ([], ["What is it?"])


BEGUN = {"type": "message_start", "message": {"model": "claude-x", "usage": {"input_tokens": 3, "output_tokens": 1}}}
ENDED = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}}


def test_without_claude_usage_the_counts_of_the_events_are_used(tmp_path: Path) -> None:
    path = tmp_path / "older.jsonl"
    with Recorder(path) as tapes:
        recording = tapes.begin("POST", "/v1/chat/completions", [], b"{}")
        for of in (0, 1):
            for event in (BEGUN, ENDED):
                recording.event(1, event, of=of)
        recording.respond(2, 200, [("x-understudy-model", "opus")])
        recording.end("done", cost_usd=9.0)

    (noted,) = load(path)

    assert [noted] == list(scan(path))
    assert noted.claude_usage == [MessageUsage("claude-x", {"input_tokens": 3, "output_tokens": 9})] * 2
    # The figure on the line is an older version's, in which that of earlier exchanges was.
    assert (noted.cost_usd, noted.claude_model) == (None, "opus")


def test_an_exchange_that_still_runs_has_used_what_was_told(tmp_path: Path) -> None:
    path = tmp_path / "running.jsonl"
    with Recorder(path) as tapes:
        recording = tapes.begin("POST", "/v1/chat/completions", [], b"{}")
        recording.event(1, BEGUN)

        (noted,) = Index(path)

    assert noted.claude_usage == [MessageUsage("claude-x", {"input_tokens": 3, "output_tokens": 1})]


def test_an_index_of_an_older_version_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    make(path)
    index = index_path(path)
    rows = index.read_text().split("\n", 1)[1].replace('"claude_usage"', '"unknown"')
    index.write_text(f'{{"index": 1}}\n{rows}')

    assert [summary.claude_usage for summary in load(path)] == [claude(n) for n in range(3)]


def test_listing_does_not_read_the_cassette_when_the_index_is_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "a.jsonl")
    monkeypatch.setattr("cassettes.index.scan", lambda _: pytest.fail("the cassette was read"))

    assert len(list(Index(tmp_path / "a.jsonl"))) == 3


def later(path: Path) -> None:
    """Make a file as new as one that is written now."""
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 10**9))


def test_an_index_made_without_a_side_folder_is_ignored_by_git(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    make(path)
    shutil.rmtree(tmp_path / "a.jsonl.d")

    assert len(load(path)) == 3
    assert (tmp_path / "a.jsonl.d" / "a.index").exists()
    assert "*.index" in (tmp_path / "a.jsonl.d" / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize("spoil", ["edited", "cut", "index gone", "index spoilt", "index of another kind"])
def test_a_stale_index_is_made_again(tmp_path: Path, spoil: str) -> None:
    path = tmp_path / "a.jsonl"
    make(path)
    index = tmp_path / "a.jsonl.d" / "a.index"
    match spoil:
        case "edited":
            path.write_bytes(path.read_bytes().replace(b"/v1/1", b"/v2/1"))
            later(path)
        case "cut":
            path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:7]))
            later(path)
        case "index gone":
            index.unlink()
        case "index spoilt":
            index.write_bytes(index.read_bytes()[:-30])
        case _:
            index.write_bytes(b'{"index": 2}\n')

    found = [summary.path for summary in Index(path)]

    assert found == {"edited": ["/v1/0", "/v2/1", "/v1/2"], "cut": ["/v1/0"]}.get(spoil, ["/v1/0", "/v1/1", "/v1/2"])
    assert [row.path for row in load(path)] == found


@pytest.mark.parametrize("meanwhile", ["removed", "cut", "grown"])
def test_recording_goes_on_in_a_file_that_is_not_what_its_index_says(tmp_path: Path, meanwhile: str) -> None:
    path = tmp_path / "a.jsonl"
    make(path)
    match meanwhile:
        case "removed":
            path.unlink()
        case "cut":
            path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:7]))
            later(path)
        case _:
            path.write_bytes(path.read_bytes().replace(b"/v1/0", b"/v1/longer"))
            later(path)
    make(path, 1)

    assert load(path) == list(scan(path))
    ids = [summary.id for summary in Index(path)]
    assert [entry.id for id in ids if (entry := Index(path).entry(id))] == ids
    assert len(ids) == {"removed": 1, "cut": 2, "grown": 4}[meanwhile]


def test_an_entry_is_read_by_its_id_from_any_part(tmp_path: Path) -> None:
    make(tmp_path / "a.jsonl", 6, max_bytes=1800)
    index = Index(tmp_path / "a.jsonl")

    for summary in index:
        entry = index.entry(summary.id)
        assert entry is not None and entry.request.path == summary.path and len(entry.chunks) == 2
    assert {summary.file for summary in index} >= {"a.jsonl", "a.2.jsonl"}
    assert index.entry("none") is None


def test_a_running_exchange_is_listed_last_and_can_be_read(tmp_path: Path) -> None:
    with Recorder(tmp_path / "a.jsonl") as tapes:
        running = tapes.begin("POST", "/running", [], b'{"model": "m"}')
        running.chunk(1, b"x")
        tapes.begin("GET", "/ended", [], b"").end("done")
        index = Index(tmp_path / "a.jsonl")
        found = [(summary.path, summary.how, summary.chunks) for summary in index]
        entry = index.entry(running.id)

    assert found == [("/ended", "done", 0), ("/running", "interrupted", 1)]
    assert entry is not None and entry.body == b"x"


def test_lines_written_by_another_hand_are_found_too(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    make(path)
    lines = [
        json.dumps(dict(reversed(json.loads(line).items())), indent=None) for line in path.read_text().splitlines()
    ]
    path.write_text("\n".join(lines) + "\nno line\n")
    later(path)

    assert [shown(summary)[:6] for summary in Index(path)] == [
        ("POST", f"/v1/{n}", f"gpt-{n}", 200 + n, "done", 5.0) for n in range(3)
    ]


def test_an_entry_that_breaks_off_is_listed_as_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    make(path, 1)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    later(path)

    assert [shown(summary)[4:] for summary in Index(path)] == [("interrupted", 0.0, 1, 2)]

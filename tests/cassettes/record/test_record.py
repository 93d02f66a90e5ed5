"""Recording: what is written comes back, whatever happens; secrets never do."""

import base64
import datetime
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cassettes.format import Entry, Problem
from cassettes.read import read
from cassettes.record.record import CassetteError, Keep, Recorder
from cassettes.redact.pseudonyms import HELD
from cassettes.redact.redact import Redactor
from tests.cassettes.redact import canaries
from translate.usage import MessageUsage

ROOT = Path(__file__).parents[3]
NOW = datetime.datetime(2026, 3, 4, 5, 6, 7, 89000, tzinfo=datetime.UTC)
ASK = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Grüße"}], "stream": True, "n": 1.5}


def counted_ids() -> Callable[[datetime.datetime], str]:
    numbers = itertools.count(1)
    return lambda _: f"e{next(numbers)}"


def recorder(path: Path, **named: Any) -> Recorder:
    return Recorder(path, clock=lambda: NOW, ids=counted_ids(), **named)


def entries(path: Path) -> list[Entry]:
    """Read a cassette that is without fault."""
    found = list(read(path))
    assert [item for item in found if isinstance(item, Problem)] == []
    return [item for item in found if isinstance(item, Entry)]


def record(tapes: Recorder, body: Any = ASK, *, chunks: int = 3) -> None:
    recording = tapes.begin("POST", "/v1/chat/completions", [], json.dumps(body).encode())
    for n in range(chunks):
        recording.chunk(n, b"data: {}\n\n")
    recording.end("done")


def test_an_exchange_comes_back_as_it_was(tmp_path: Path) -> None:
    chunks = [b'data: {"a": 1}\n\n', 'data: {"b": "ö\u2028"}\n\n'.encode(), b"", b"data: [DONE]\n\n", b"\xff\x00"]
    events: list[dict[str, Any]] = [
        {"type": "ping"},
        {"type": "message_start", "message": {"content": [], "usage": None}},
    ]
    with recorder(tmp_path / "a.jsonl") as tapes:
        recording = tapes.begin(
            "POST", "/v1/x?y=%20z", [("Accept", "a"), ("accept", "b"), ("TE", "c")], json.dumps(ASK).encode()
        )
        recording.turn({"model": "opus", "stop_sequences": ("a",)})
        recording.respond(1.23456, 200, [("content-type", "text/event-stream")])
        for at, event in enumerate(events):
            recording.event(at, event)
        for at, chunk in enumerate(chunks):
            recording.chunk(10.5 + at, chunk)
        claude = [MessageUsage("claude-x", {"input_tokens": 4})]
        recording.end(
            "done",
            at_ms=99,
            message={"id": "m"},
            usage={"input_tokens": 3},
            claude_usage=claude,
            cost_usd=0.25,
            process="warm",
        )

    (entry,) = entries(tmp_path / "a.jsonl")
    assert (entry.id, entry.started, entry.how, entry.ms) == ("e1", "2026-03-04T05:06:07.089Z", "done", 99)
    assert (entry.request.method, entry.request.path) == ("POST", "/v1/x?y=%20z")
    assert entry.request.headers == {"accept": ["a", "b"]}
    assert entry.request.json == ASK and list(entry.request.json) == list(ASK)
    assert entry.turn == {"model": "opus", "stop_sequences": ["a"]}
    assert (entry.status, entry.headers) == (200, {"content-type": "text/event-stream"})
    assert [event.value for event in entry.events] == events
    assert [(chunk.at_ms, chunk.data) for chunk in entry.chunks] == [(10.5 + n, data) for n, data in enumerate(chunks)]
    assert entry.claude_usage == tuple(claude)
    assert (entry.message, entry.usage, entry.cost_usd, entry.process) == (
        {"id": "m"},
        {"input_tokens": 3},
        0.25,
        "warm",
    )
    assert entry.error is None and entry.left_out == ()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="none"),
        pytest.param(b"plain words", id="text"),
        pytest.param(b'{"a": 1, "a": 2}', id="a key twice"),
        pytest.param(b'{"a": NaN}', id="not a number"),
        pytest.param(b'{"a": "\\ud800"}', id="half a surrogate pair"),
        pytest.param(b"[" * 5000, id="nested too deeply"),
        pytest.param(b"\xff\xfe\x00", id="bytes"),
        pytest.param(bytes(range(256)) * 40, id="many bytes"),
        pytest.param(b'{"n": 123456789012345678901234567890}', id="a large number"),
    ],
)
def test_a_body_that_is_no_plain_json_comes_back_too(tmp_path: Path, body: bytes) -> None:
    with recorder(tmp_path / "a.jsonl") as tapes:
        tapes.begin("POST", "/", [], body).end("done")

    (entry,) = entries(tmp_path / "a.jsonl")
    assert entry.request.body == body or json.loads(entry.request.body) == json.loads(body)


def test_large_pictures_are_kept_once_and_put_back(tmp_path: Path) -> None:
    picture = base64.b64encode(b"\x89PNG" + random.Random(1).randbytes(9000)).decode()
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}}
    own = {"$blob": "sha256:the app's own", "x": [{"$literal": {"$blob": 1}}]}
    ask = {"model": "gpt-4o", "messages": [{"role": "user", "content": [image, image, own]}]}
    turn = {"messages": [{"type": "image", "source": {"type": "base64", "data": picture}}]}
    with recorder(tmp_path / "a.jsonl") as tapes:
        recording = tapes.begin("POST", "/", [], json.dumps(ask).encode())
        recording.turn(turn)
        recording.event(1, own)
        recording.end("done", message=own)

    (entry,) = entries(tmp_path / "a.jsonl")
    assert (entry.request.json, entry.turn, entry.events[0].value, entry.message) == (ask, turn, own, own)
    assert len(list((tmp_path / "a.jsonl.d" / "blobs").iterdir())) == 1
    assert (tmp_path / "a.jsonl").stat().st_size < 3000


def test_exchanges_at_the_same_time_do_not_mix(tmp_path: Path) -> None:
    with recorder(tmp_path / "a.jsonl") as tapes:
        running = [tapes.begin("POST", "/", [], b"") for _ in range(5)]
        for at in range(20):
            for recording in running:
                recording.chunk(at, recording.id.encode())
        for recording in running[::-1]:
            recording.end("done")

    ids = [json.loads(line).get("id") for line in (tmp_path / "a.jsonl").read_text().splitlines()[1:]]
    assert [id for id, _ in itertools.groupby(ids)] == ["e5", "e4", "e3", "e2", "e1"]
    assert [{chunk.data for chunk in entry.chunks} for entry in entries(tmp_path / "a.jsonl")] == [
        {f"e{n}".encode()} for n in (5, 4, 3, 2, 1)
    ]


def test_a_file_that_is_full_is_followed_by_the_next(tmp_path: Path) -> None:
    with recorder(tmp_path / "a.jsonl", max_bytes=1500) as tapes:
        for _ in range(8):
            record(tapes)
    with recorder(tmp_path / "a.jsonl", max_bytes=1500) as tapes:
        assert tapes.file == max(tmp_path.glob("a.*.jsonl"))

    assert [entry.id for entry in entries(tmp_path / "a.jsonl")] == [f"e{n}" for n in range(1, 9)]
    assert all(file.stat().st_size <= 1500 for file in tmp_path.glob("*.jsonl"))
    assert len(list(tmp_path.glob("*.jsonl"))) > 2


def test_a_folder_gets_a_file_for_each_run(tmp_path: Path) -> None:
    folder = tmp_path / "tapes"
    for second in (1, 2):
        clock = NOW.replace(second=second)
        with Recorder(folder, clock=lambda clock=clock: clock, ids=counted_ids()) as tapes:  # type: ignore[misc]
            tapes.begin("GET", "/", [("authorization", "Bearer the-same-secret")], b"").end("done")

    assert len(list(folder.glob("*.jsonl"))) == 2
    assert {str(entry.request.headers) for entry in entries(folder)} == {"{'authorization': 'Bearer redacted:key-1'}"}


def test_a_line_says_what_was_left_out(tmp_path: Path) -> None:
    keep = Keep(body_bytes=10, entry_bytes=600, turn=False)
    with recorder(tmp_path / "a.jsonl", keep=keep) as tapes:
        recording = tapes.begin("POST", "/", [], b"x" * 11)
        recording.turn({"model": "opus"})
        for at in range(30):
            recording.event(at, {"type": "ping"})
            recording.chunk(at, b"data: 1\n\n")
        recording.end("done")

    (entry,) = entries(tmp_path / "a.jsonl")
    body, rest = entry.left_out
    assert body == {"body_bytes": 11, "why": "a body of more than 10 bytes is not kept"}
    assert (entry.request.body, entry.turn) == (b"", None)
    assert rest == {
        "events": 30 - len(entry.events),
        "chunks": 30 - len(entry.chunks),
        "why": "an entry of 600 bytes gets no more",
    }
    assert entry.events and entry.chunks


def test_an_exchange_that_still_runs_can_be_read(tmp_path: Path) -> None:
    with recorder(tmp_path / "a.jsonl") as tapes:
        recording = tapes.begin("POST", "/", [], b"")
        recording.chunk(1, b"data: 1\n\n")
        (running,) = entries(tmp_path / "a.jsonl")

    (closed,) = entries(tmp_path / "a.jsonl")
    assert (running.how, [chunk.data for chunk in running.chunks]) == ("interrupted", [b"data: 1\n\n"])
    assert (closed.how, closed.chunks) == ("interrupted", running.chunks)


def test_ending_twice_and_recording_after_the_end_do_nothing(tmp_path: Path) -> None:
    with recorder(tmp_path / "a.jsonl") as tapes:
        recording = tapes.begin("POST", "/", [], b"")
        recording.end("failed", error={"type": "api_error"})
        recording.end("done")
        recording.chunk(1, b"late")
        recording.event(1, {"type": "ping"})
        recording.respond(1, 200, [])

    (entry,) = entries(tmp_path / "a.jsonl")
    assert (entry.how, entry.error, entry.chunks, entry.status) == ("failed", {"type": "api_error"}, (), None)


@pytest.mark.parametrize("depth", [101, 5_000, 50_000])
def test_a_too_deeply_nested_body_is_recorded_as_text(tmp_path: Path, depth: int) -> None:
    schema: Any = {"password": "hunter2hunter2"}
    for _ in range(depth):
        schema = {"properties": schema}
    with recorder(tmp_path / "a.jsonl") as tapes:
        recording = tapes.begin("POST", "/v1/chat/completions", [], b'{"a": ' * depth + b"1" + b"}" * depth)
        recording.turn({"model": "sonnet", "tools": [schema]})
        recording.event(1, {"type": "x", "input": schema})
        recording.end("done", message={"deep": schema})
        problem = tapes.problem

    (entry,) = entries(tmp_path / "a.jsonl")
    assert entry.turn is not None and len(entry.events) == 1
    assert problem is None
    assert "hunter2" not in (tmp_path / "a.jsonl").read_text()


def test_a_large_body_is_looked_through_beside_those_who_record_and_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free, document = threading.Event(), Redactor.document
    threads: list[int] = []

    def slow(self: Redactor, value: Any, *more: Any) -> Any:
        if value.get("large"):
            free.wait(30)
            threads.append(threading.get_ident())
        return document(self, value, *more)

    monkeypatch.setattr(Redactor, "document", slow)
    secret = "sk-proj-" + "a1b2c3d4" * 4
    large = {"large": f"{secret} and {'more ' * 50_000}"}
    with recorder(tmp_path / "a.jsonl", beside=True) as tapes:
        one = tapes.begin("POST", "/v1/chat/completions", [], json.dumps(large).encode())
        one.chunk(2, f"data: {secret}\n\n".encode())
        one.end("done", message={"said": secret})
        record(tapes)
        written_meanwhile = (tmp_path / "a.jsonl").read_text()
        busy = one.is_busy
        free.set()

    other, first = entries(tmp_path / "a.jsonl")
    assert busy
    assert other.id in written_meanwhile and first.id not in written_meanwhile
    assert first.request.json["large"].startswith("redacted:key-1 and more ")
    assert first.body == b"data: redacted:key-1\n\n"
    assert first.message == {"said": "redacted:key-1"}
    assert threading.get_ident() not in threads


@pytest.mark.parametrize("beside", [False, True])
def test_a_fault_of_ours_is_said_and_does_not_break_the_exchange(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, beside: bool
) -> None:
    def broken(self: Redactor, value: Any, *more: Any) -> Any:
        raise RuntimeError("secret words")

    with recorder(tmp_path / "a.jsonl", beside=beside) as tapes:
        recording = tapes.begin("POST", "/v1/chat/completions", [], b"")
        with monkeypatch.context() as patched:
            patched.setattr(Redactor, "document", broken)
            recording.turn({"model": "sonnet"})
        recording.end("done")
        problem = tapes.problem

    assert [entry.how for entry in entries(tmp_path / "a.jsonl")] == ["done"]
    assert problem is not None and "RuntimeError" in problem
    assert "could not be recorded" in caplog.text and "secret words" not in caplog.text


def test_two_recorders_cannot_share_a_cassette(tmp_path: Path) -> None:
    with recorder(tmp_path / "a.jsonl"), pytest.raises(CassetteError, match="is being recorded by another process"):
        recorder(tmp_path / "a.jsonl")

    recorder(tmp_path / "a.jsonl").close()


@pytest.mark.parametrize(
    ("content", "reason"),
    [('{"cassette": "understudy", "version": 9}\n', "of version 9"), ("notes\n", "the first line is not")],
)
def test_a_file_of_another_kind_is_not_added_to(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "a.jsonl").write_text(content)

    with pytest.raises(CassetteError, match=reason):
        recorder(tmp_path / "a.jsonl")

    assert (tmp_path / "a.jsonl").read_text() == content


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(CassetteError, match=r"a\.jsonl cannot be written: (Not a directory|File exists)"):
        recorder(tmp_path / "file" / "a.jsonl")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
def test_a_full_disk_does_not_break_the_exchange(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with recorder(tmp_path / "a.jsonl") as tapes:
        record(tapes)
        full = os.open("/dev/full", os.O_WRONLY)
        recording = tapes.begin("POST", "/", [], b"")
        assert recording._journal is not None
        os.dup2(full, recording._journal)
        os.close(full)
        recording.chunk(1, b"x")
        recording.chunk(2, b"y")
        recording.end("done")

    assert tapes.problem == "No space left on device"
    assert [record.message.endswith("No space left on device") for record in caplog.records] == [True]
    assert [entry.id for entry in entries(tmp_path / "a.jsonl")] == ["e1", "e2"]


def test_a_new_secret_where_nothing_can_be_written_does_not_break_the_exchange(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with recorder(tmp_path / "a.jsonl") as tapes:
        (tapes.folder / "names").unlink()
        (tapes.folder / "names").mkdir()
        (tapes.folder / "blobs").touch()
        recording = tapes.begin("POST", "/", [("authorization", "Bearer first-secret-1")], b"\xff" * 9000)
        recording.chunk(1, b"It is sk-second-secret-2.")
        recording.end("done")

    (entry,) = entries(tmp_path / "a.jsonl")
    assert tapes.problem and [record.message.endswith(tapes.problem) for record in caplog.records] == [True]
    assert (entry.request.headers, entry.body) == ({"authorization": "Bearer redacted:key-1"}, b"It is redacted:key-2.")
    assert entry.request.body == b"\xff" * 9000


def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    with recorder(tmp_path / "a.jsonl") as tapes:
        tapes.begin("POST", "/", [], b"")
        found = [path for path in tmp_path.rglob("*") if path.name not in (".gitignore", "lock")]

        assert len(found) >= 4
        assert [path.name for path in found if path.stat().st_mode & 0o077] == []


# Secrets


def everywhere(secret: str) -> list[str]:
    """Return texts that hold a secret in the ways in which it may be written down."""
    quoted = json.dumps(secret)
    return [
        f"it is {secret}.",
        f"x={quoted}",
        json.dumps({"arguments": quoted}),
        base64.b64encode(f"<{secret}>".encode()).decode(),
    ]


def stream_of(texts: list[str]) -> bytes:
    deltas = ({"choices": [{"index": 0, "delta": {"content": text}}]} for text in texts)
    return b"".join(b"data: " + json.dumps(delta).encode() + b"\n\n" for delta in deltas)


def record_canaries(tapes: Recorder, cut: int) -> None:
    texts = [text for secret in canaries.ALL for text in everywhere(secret)]
    basic = base64.b64encode(f"user:{canaries.BASIC}".encode()).decode()
    headers = [
        ("Authorization", f"Bearer {canaries.OPENAI}"),
        ("Proxy-Authorization", f"Basic {basic}"),
        ("Cookie", f"session={canaries.COOKIE}; theme=dark"),
        ("OpenAI-Organization", canaries.ORGANISATION),
        ("X-Odd", f"{canaries.AWS} {canaries.CONFIGURED}"),
    ]
    body = {"password": canaries.BODY, "messages": [{"role": "user", "content": text} for text in texts]}
    recording = tapes.begin("POST", f"/v1/x?api_key={canaries.QUERY}&n=1", headers, json.dumps(body).encode())
    recording.turn({"system": " ".join(texts), "metadata": {canaries.OPENAI: texts}})
    recording.respond(1, 200, [("Set-Cookie", f"s={canaries.COOKIE}; Path=/"), ("x", canaries.JWT)])
    for secret in canaries.ALL:
        at = cut % (len(secret) - 1) + 1
        for text in (f"see {secret[:at]}", secret[at:], " ok ", *everywhere(secret)):
            delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
            recording.event(1, delta)
        whole = stream_of([f"see {secret[:at]}", secret[at:], *everywhere(secret)])
        for start in range(0, len(whole), 37 + cut):
            recording.chunk(2, whole[start : start + 37 + cut])
    recording.end("failed", message={"content": texts}, error={"message": " ".join(texts)}, process=canaries.OPENAI)


def test_canaries_would_be_found(tmp_path: Path) -> None:
    for place, secret in enumerate(canaries.ALL):
        for n, text in enumerate(everywhere(secret)):
            (tmp_path / f"{place}-{n}").write_text(text)

            assert canaries.leaks(tmp_path, (secret,)) != []
            (tmp_path / f"{place}-{n}").unlink()


@pytest.mark.parametrize("cut", range(0, 120, 7))
def test_no_canary_is_on_the_disk_at_any_time(tmp_path: Path, cut: int, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    write = os.write

    def spy(descriptor: int, data: bytes) -> int:
        written.append(bytes(data))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", spy)
    with recorder(tmp_path / "a.jsonl", redact=Redactor(secrets=[canaries.CONFIGURED])) as tapes:
        record_canaries(tapes, cut)
    (tmp_path / "written").write_bytes(b"".join(written))

    (entry,) = entries(tmp_path / "a.jsonl")
    assert canaries.leaks(tmp_path) == []
    assert len(entry.events) == len(canaries.ALL) * 7
    assert "redacted:key-1" in str(entry.turn) and HELD not in (tmp_path / "a.jsonl").read_text()


@pytest.mark.parametrize("secret", [canaries.OPENAI, canaries.BODY, canaries.CONFIGURED])
def test_a_body_sent_in_two_pieces_has_no_canary_wherever_it_is_cut(tmp_path: Path, secret: str) -> None:
    whole = json.dumps({"content": f"It is {secret}."}, ensure_ascii=False).encode()
    with recorder(tmp_path / "a.jsonl", redact=Redactor(secrets=[secret])) as tapes:
        for cut in range(1, len(whole)):
            recording = tapes.begin("POST", "/", [], b"")
            recording.chunk(1, whole[:cut])
            recording.chunk(2, whole[cut:])
            recording.end("done")

    assert canaries.leaks(tmp_path) == []
    assert {entry.body for entry in entries(tmp_path / "a.jsonl")} == {b'{"content": "It is redacted:secret-1."}'}


def test_a_secret_has_one_name_in_a_cassette_and_other_secrets_have_others(tmp_path: Path) -> None:
    def ask(key: str) -> str:
        with recorder(tmp_path / "a.jsonl") as tapes:
            tapes.begin("POST", "/", [("authorization", f"Bearer {key}")], b"").end("done")
        return str(entries(tmp_path / "a.jsonl")[-1].request.headers["authorization"])

    names = [ask("sk-first-11111111"), ask("sk-second-2222222"), ask("sk-first-11111111")]
    (tmp_path / "a.jsonl.d" / "names").unlink()
    after_a_loss = ask("sk-first-11111111")

    assert names == ["Bearer redacted:key-1", "Bearer redacted:key-2", "Bearer redacted:key-1"]
    assert after_a_loss == "Bearer redacted:key-3"


def test_a_secret_that_shows_itself_late_is_taken_out_of_what_came_before(tmp_path: Path) -> None:
    with recorder(tmp_path / "a.jsonl") as tapes:
        recording = tapes.begin("POST", "/", [], b'{"content": "correct horse battery"}')
        recording.chunk(1, b"\xffcorrect horse battery")
        recording.event(2, {"type": "x", "input": {"password": "correct horse battery"}})
        recording.end("done")

    assert "horse" not in (tmp_path / "a.jsonl").read_text()
    (entry,) = entries(tmp_path / "a.jsonl")
    assert entry.request.json == {"content": "redacted:password-1"}
    assert entry.chunks[0].data == b"\xffredacted:password-1"


# Killed

CHILD = """
import sys
import threading
from pathlib import Path
from cassettes.record.record import Recorder

with Recorder(Path(sys.argv[1])) as tapes:
    number = int(sys.argv[2])
    print("ready", flush=True)
    while True:
        running = [tapes.begin("POST", f"/{number + n}", [], b'{"n": 1}') for n in range(3)]
        for at in range(25):
            for recording in running:
                recording.chunk(at, b"data: %d\\n\\n" % at)
                print(recording.id, at, flush=True)
        for recording in running:
            recording.end("done", message={"text": "x" * 20000})
            print(recording.id, "end", flush=True)
        number += 3
"""


def run_until_killed(path: Path, run: int, lines: int) -> list[tuple[str, str]]:
    """Record in a child process, kill it after so many lines, and return all it said that it had recorded."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), str(run * 100_000)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={"HOME": str(path.parent), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
    )
    assert child.stdout is not None
    said = [child.stdout.readline() for _ in range(lines)]
    child.send_signal(signal.SIGKILL)
    said += child.communicate()[0].splitlines(keepends=True)
    words = [line.split() for line in said if line.endswith("\n")]
    return [(id, what) for id, what in (line for line in words if len(line) == 2)]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_recorder_killed_at_any_moment_loses_at_most_the_last_event(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    seeded = random.Random(6)
    recorded: dict[str, str] = {}
    for run in range(20):
        recorded |= dict(run_until_killed(path, run, seeded.randrange(1, 300)))

        found = {entry.id: entry for entry in entries(path)}  # before the next recorder takes over what is left
        assert recorded.keys() <= found.keys()
        for id, last in recorded.items():
            assert len(found[id].chunks) >= (25 if last == "end" else int(last) + 1)
            assert [chunk.data for chunk in found[id].chunks] == [
                b"data: %d\n\n" % n for n in range(len(found[id].chunks))
            ]
            assert found[id].how == "done" if last == "end" else found[id].how in ("done", "interrupted")
    assert len(recorded) > 60


@pytest.mark.parametrize("written", [0.0, 0.3, 0.999, 1.0])
def test_a_block_that_was_only_half_appended_is_read_and_repaired_from_its_journal(
    tmp_path: Path, written: float
) -> None:
    path = tmp_path / "a.jsonl"
    with recorder(path) as tapes:
        record(tapes)
        before = path.stat().st_size
        recording = tapes.begin("POST", "/second", [], b"")
        recording.chunk(1, b"data: 1\n\n")
        journal = path.with_name("a.jsonl.d") / f"{recording.id}.part"
        lines = journal.read_bytes()
        recording.end("done", message={"id": "m"})
    block = path.read_bytes()[before:]
    end = block.splitlines(keepends=True)[-1]
    journal.write_bytes(lines + end + b'{"append": %d, "file": "a.jsonl"}\n' % before)
    with path.open("r+b") as file:
        file.truncate(before + int(len(block) * written))

    read_before = entries(path)
    recorder(path).close()

    assert [(entry.id, entry.how, entry.message) for entry in read_before[1:]] == [("e2", "done", {"id": "m"})]
    assert [entry.request.path for entry in read_before] == [entry.request.path for entry in entries(path)]
    assert path.read_bytes()[before:] == block
    assert not journal.exists()


def test_a_new_recorder_takes_over_appended_and_running_entries(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with recorder(path) as tapes:
        running, ended = tapes.begin("POST", "/running", [], b""), tapes.begin("POST", "/ended", [], b"")
        left = {recording: (tapes.folder / f"{recording.id}.part").read_bytes() for recording in (running, ended)}
        before = path.stat().st_size
        ended.end("done")
        content = path.read_bytes()
    path.write_bytes(content)  # as if the recorder had died before it removed the journal of what it had appended
    marker = b'{"append": %d, "file": "a.jsonl"}\n' % before
    (tapes.folder / f"{running.id}.part").write_bytes(left[running] + b'{"id": "e1", "n": 1, "at": 1, "chu')
    (tapes.folder / f"{ended.id}.part").write_bytes(left[ended] + content[before:].splitlines(True)[-1] + marker)

    at_once = [(entry.request.path, entry.how) for entry in entries(path)]
    recorder(path).close()

    assert at_once == [("/ended", "done"), ("/running", "interrupted")]
    assert [(entry.request.path, entry.how) for entry in entries(path)] == at_once
    assert list(tapes.folder.glob("*.part")) == []


RATE = {"message": "Too fast", "type": "requests", "code": "rate_limit_exceeded"}


@pytest.mark.parametrize(
    ("status", "how", "error", "kept"),
    [
        (200, "done", None, True),
        (400, "done", {"type": "invalid_request_error", "code": None}, True),
        (200, "cut_by_app", "Client disconnected.", True),
        (401, "done", {"type": "invalid_request_error", "code": "invalid_api_key"}, False),
        (429, "done", RATE, False),
        (503, "done", None, False),
        (200, "failed", RATE, False),
        (200, "failed", None, False),
        (200, "interrupted", None, False),
    ],
)
@pytest.mark.parametrize("failures", [True, False])
def test_a_failure_at_the_proxy_is_not_recorded_for_a_replay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, status: int, how: Any, error: Any, kept: bool, failures: bool
) -> None:
    path = tmp_path / "a.jsonl"
    with Recorder(path, keep=Keep(failures=failures)) as tapes:
        recording = tapes.begin("POST", "/v1/x?api_key=canary", [], b"{}")
        recording.respond(1, status, [])
        recording.chunk(2, b"{}")
        if how == "interrupted":
            tapes.close()
        recording.end(how, error=error, message={"choices": [{"message": {"content": "Once"}}]})
        told = list(tapes.not_kept)

    assert len([entry for entry in read(path) if isinstance(entry, Entry)]) == (kept or failures)
    assert len(told) == (not (kept or failures))
    assert all("POST /v1/x: " in one for one in told) and "canary" not in caplog.text
    assert not list((tmp_path / "a.jsonl.d").glob("*.part"))


def test_the_journal_of_a_dead_recorder_is_not_recorded_for_a_replay(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with Recorder(path) as tapes:
        recording = tapes.begin("POST", "/v1/x", [], b"{}")
        recording.respond(1, 200, [])
        left = next((tmp_path / "a.jsonl.d").glob("*.part")).read_bytes()
        recording.discard()
    (tmp_path / "a.jsonl.d" / f"{recording.id}.part").write_bytes(left)

    Recorder(path, keep=Keep(failures=False)).close()

    assert list(read(path)) == [] and not list((tmp_path / "a.jsonl.d").glob("*.part"))

from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cassettes.format import Chunk, Entry, Request
from cassettes.replay.pace import Script, Step, recut, script_of, split

STREAM = {"content-type": "text/event-stream; charset=utf-8", "x-request-id": "req_1", "transfer-encoding": "chunked"}


def entry_of(*chunks: tuple[float, bytes], **more: Any) -> Entry:
    fields: dict[str, Any] = {
        "id": "e1", "file": Path("a.jsonl"), "line": 1, "started": "", "request": Request("POST", "/", {}, None, b""),
        "turn": None, "events": (), "chunks": tuple(Chunk(at, data) for at, data in chunks), "status": 200,
        "headers": STREAM, "message": None, "usage": None, "cost_usd": None, "process": None, "error": None,
        "how": "done", "ms": 100.0, "left_out": (),
    }  # fmt: skip
    return Entry(**{**fields, **more})


def test_a_script_is_sent_as_it_was_recorded() -> None:
    script = script_of(entry_of((10, b"a"), (30, b"b")))
    assert script.steps == (Step(10, b"a"), Step(30, b"b"))
    assert (script.head_ms, script.end_ms, script.is_stream, script.is_cut) == (10, 100, True, False)


def test_headers_of_the_connection_are_left_out() -> None:
    headers = {**STREAM, "date": "today", "content-length": "3", "set-cookie": ["a=1", "b=2"]}
    names = script_of(entry_of((1, b"a"), headers=headers)).headers
    assert names == (
        ("content-type", STREAM["content-type"]),
        ("x-request-id", "req_1"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
    )


@pytest.mark.parametrize(("speed", "times"), [(1.0, [10, 30, 100]), (4.0, [2.5, 7.5, 25]), (None, [0, 0, 0])])
def test_time_is_scaled(speed: float | None, times: list[float]) -> None:
    script = script_of(entry_of((10, b"a"), (30, b"b")), speed=speed)
    assert [*(step.at_ms for step in script.steps), script.end_ms] == times


@pytest.mark.parametrize("how", ["cut_by_app", "interrupted"])
def test_a_stream_that_broke_off_is_cut_after_its_last_piece(how: str) -> None:
    script = script_of(entry_of((10, b"a"), (30, b"b"), how=how))
    assert script.is_cut
    assert script.end_ms == 30


def test_an_entry_without_an_answer_cannot_be_played() -> None:
    with pytest.raises(ValueError, match="no answer"):
        script_of(entry_of(status=None))


steps = st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=20).map(
    lambda pieces: tuple(Step(float(n * 10), piece) for n, piece in enumerate(pieces))
)


@given(steps, st.integers())
def test_cut_anew_the_bytes_are_the_same_and_none_comes_before_its_time(pieces: tuple[Step, ...], seed: int) -> None:
    script = Script(200, (), pieces, 0, 1000, is_stream=True)
    cut = recut(script, seed)
    whole = b"".join(step.data for step in pieces)
    assert b"".join(step.data for step in cut.steps) == whole
    assert cut == recut(script, seed)
    sent = 0
    times = [(sum(len(step.data) for step in pieces[: n + 1]), step.at_ms) for n, step in enumerate(pieces)]
    for step in cut.steps:
        sent += len(step.data)
        recorded = next(at for upto, at in times if upto >= sent)
        assert step.at_ms == recorded


@given(steps)
def test_split_lines_come_in_pieces_and_nothing_is_lost(pieces: tuple[Step, ...]) -> None:
    script = Script(200, (), pieces, 0, 1000, is_stream=True)
    assert b"".join(step.data for step in split(script).steps) == b"".join(step.data for step in pieces)


def test_split_goes_through_characters_and_between_a_field_and_its_value() -> None:
    script = Script(200, (), (Step(0, "data: ü\n\n".encode()),), 0, 1, is_stream=True)
    assert [step.data for step in split(script).steps] == [b"data:", b" \xc3", b"\xbc", b"\n", b"\n"]


def test_an_answer_that_is_no_stream_is_not_cut() -> None:
    script = Script(200, (), (Step(0, b"x" * 500),), 0, 1, is_stream=False)
    assert recut(script, 1) is script and split(script) is script


def test_a_stream_that_failed_is_cut_when_it_was() -> None:
    script = script_of(entry_of((10, b"a"), (30, b"b"), how="failed", error="the server left"), speed=2)
    assert script.is_cut
    assert script.end_ms == 50


def test_a_stream_that_told_its_failure_ends_as_cleanly_as_it_did() -> None:
    chunk = b'data: {"error": {"message": "no"}}\n\n'
    script = script_of(entry_of((10, chunk), how="failed", error={"message": "no"}))
    assert not script.is_cut
    assert script.steps == (Step(10, chunk),)


@pytest.mark.parametrize(("how", "is_cut"), [("cut_by_app", False), ("interrupted", True), ("failed", True)])
def test_with_cut_false_only_an_answer_that_the_app_cut_ends_cleanly(how: str, is_cut: bool) -> None:
    script = script_of(entry_of((10, b"a"), how=how), cut=False)
    assert script.is_cut is is_cut
    assert script.steps == (Step(10, b"a"),)


def test_half_of_an_answer_that_is_no_stream_does_not_pass_for_a_whole_one() -> None:
    script = script_of(entry_of((10, b'{"half'), how="failed", headers={"content-type": "application/json"}))
    assert not script.is_stream
    assert script.is_cut


def test_a_head_without_chunks_is_sent_before_the_cut() -> None:
    script = script_of(entry_of(how="cut_by_app"))
    assert (script.head_ms, script.end_ms, script.is_cut) == (100, 100, True)


def test_times_that_go_back_in_a_file_do_not_go_back_in_a_script() -> None:
    script = script_of(entry_of((10, b"a"), (5, b"b"), (200, b"c")))
    assert [step.at_ms for step in script.steps] == [10, 10, 200]
    assert script.end_ms == 200


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan")])
def test_a_speed_that_is_none_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="more than 0"):
        script_of(entry_of((1, b"a")), speed=speed)


def test_a_content_type_is_known_in_any_case() -> None:
    assert script_of(entry_of((1, b"a"), headers={"Content-Type": "Text/Event-Stream"})).is_stream


def test_cut_anew_a_stream_comes_within_characters_and_within_lines() -> None:
    events = tuple(Step(float(n), f"data: 世界 {n}\n\n".encode()) for n in range(1000))
    whole = b"".join(step.data for step in events)
    pieces = recut(Script(200, (), events, 0, 1000, is_stream=True), 1).steps
    cuts = list(accumulate(len(step.data) for step in pieces))[:-1]
    assert any(whole[cut] & 0xC0 == 0x80 for cut in cuts)
    assert any(whole[cut - 1 : cut + 1] == b"\n\n" for cut in cuts)
    assert any(step.data.count(b"data:") > 1 for step in pieces)


@given(steps, st.integers(), st.integers())
def test_another_seed_cuts_elsewhere_but_sends_the_same(pieces: tuple[Step, ...], one: int, two: int) -> None:
    script = Script(200, (), pieces, 0, 1000, is_stream=True)
    first, second = recut(script, one), recut(recut(script, two), one)
    assert b"".join(step.data for step in first.steps) == b"".join(step.data for step in second.steps)
    for told in (first, second):
        times = [step.at_ms for step in told.steps]
        assert times == sorted(times)
        assert (told.head_ms, told.end_ms, told.is_cut) == (script.head_ms, script.end_ms, script.is_cut)

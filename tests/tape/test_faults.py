import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tape.faults import Faults, FaultsError, Rule, apply
from tape.pace import Script, Step

BODY = b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}'
PATH = "/v1/chat/completions"


def script(pieces: int = 4) -> Script:
    steps = tuple(Step(10.0 * (n + 1), b'data: {"n": %d}\n\n' % n) for n in range(pieces))
    end_ms = 10.0 * (pieces + 1)
    return Script(200, (("content-type", "text/event-stream"),), steps, 10, end_ms, is_stream=True)


def faults(tmp_path: Path, text: str) -> Faults:
    path = tmp_path / "faults.toml"
    path.write_text(text, encoding="utf-8")
    return Faults.read(path)


def test_twice_and_then_fine(tmp_path: Path) -> None:
    rules = faults(tmp_path, '[[fault]]\nstatus = 429\nheaders = {retry-after = "1"}\ntimes = 2\n')
    found = [rules.next(PATH, BODY) for _ in range(4)]
    assert [fault.status if fault else None for fault in found] == [429, 429, None, None]
    assert found[0] is not None
    refused = apply(script(), found[0])
    assert refused.status == 429 and not refused.is_stream
    assert ("retry-after", "1") in refused.headers
    assert json.loads(refused.steps[0].data)["error"]["type"] == "rate_limit_error"


@pytest.mark.parametrize(
    ("which", "fits"),
    [
        ('path = "/v1/chat/*"', True),
        ('path = "/v1/responses"', False),
        ('model = "gpt-*"', True),
        ('model = "o3"', False),
        ('text = "Hello"', True),
        ('text = "Goodbye"', False),
        ("request = 1", True),
        ("request = 2", False),
        ("every = 2", False),
        ("chance = 0.0", False),
        ("chance = 1.0", True),
    ],
)
def test_a_rule_is_for_the_requests_that_it_names(tmp_path: Path, which: str, fits: bool) -> None:
    assert (faults(tmp_path, f"[[fault]]\n{which}\nsplit = true\n").next(PATH, BODY) is not None) is fits


def test_every_third_request_that_fits(tmp_path: Path) -> None:
    rules = faults(tmp_path, '[[fault]]\npath = "/v1/chat/*"\nevery = 3\nsplit = true\n')
    asked = [PATH, "/v1/models", PATH, PATH, PATH, PATH, PATH]
    assert [rules.next(path, BODY) is not None for path in asked] == [False, False, False, True, False, False, True]


def test_the_same_seed_gives_the_same_chance_and_the_same_chaos(tmp_path: Path) -> None:
    text = "seed = 7\n[[fault]]\nchance = 0.5\nchaos = true\n"
    one, two = faults(tmp_path, text), faults(tmp_path, text)
    told = [one.next(PATH, BODY) for _ in range(50)]
    assert told == [two.next(PATH, BODY) for _ in range(50)]
    assert len({str(fault) for fault in told}) > 5
    assert None in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[fault]]\nstatsu = 429\n", "fault 1: Object contains unknown field `statsu`"),
        ("[[fault]]\nsplit = true\n[[fault]]\n", "fault 2: it has no fault"),
        ('[[fault]]\nstatus = "429"\n', "fault 1: Expected"),
        ("[[fault]]\nstatus = 42\n", "fault 1: status is from 200 to 599"),
        ("[[fault]]\nsplit = true\nevery = 0\n", "every counts from 1"),
        ("[[fault]]\nsplit = true\nchance = 2.0\n", "chance is from 0 to 1"),
        ("[[fault]]\ndelay_ms = -1\n", "delay_ms is less than 0"),
        ("[fault]\n", "faults.toml"),
        ("[[fault\n", "faults.toml"),
        ("other = 1\n", "other"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(FaultsError) as error:
        faults(tmp_path, text)
    assert told in str(error.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FaultsError, match="No such file"):
        Faults.read(tmp_path / "none.toml")


def test_a_delay_moves_everything() -> None:
    late = apply(script(), Rule(delay_ms=100))
    assert [step.at_ms for step in late.steps] == [110, 120, 130, 140]
    assert (late.head_ms, late.end_ms) == (110, 150)


def test_a_stall_moves_what_comes_after_it() -> None:
    stalled = apply(script(), Rule(stall_ms=1000, stall_after_chunks=2))
    assert [step.at_ms for step in stalled.steps] == [10, 20, 1030, 1040]
    assert stalled.end_ms == 1050


def test_a_cut_comes_after_so_many_chunks_or_so_much_time() -> None:
    by_number = apply(script(), Rule(cut_after_chunks=2))
    by_time = apply(script(), Rule(cut_after_ms=25))
    assert len(by_number.steps) == len(by_time.steps) == 2
    assert by_number.is_cut and by_time.is_cut
    assert (by_number.end_ms, by_time.end_ms) == (20, 25)
    assert apply(script(), Rule(cut_after_chunks=0)).steps == ()


def test_an_error_in_band_ends_the_stream_in_its_dialect() -> None:
    chat = apply(script(), Rule(error_after_chunks=1))
    assert len(chat.steps) == 2 and not chat.is_cut
    assert json.loads(chat.steps[1].data[6:])["error"]["type"] == "server_error"
    steps = (Step(1, b'event: response.created\ndata: {"type": "response.created"}\n\n'),)
    response = apply(Script(200, (), steps, 1, 2, is_stream=True), Rule(error_after_chunks=1))
    assert response.steps[1].data.startswith(b"event: error\ndata: {")


def test_a_malformed_chunk_is_an_event_that_is_not_json() -> None:
    broken = apply(script(), Rule(malformed_chunk=2))
    assert broken.steps[1].data.endswith(b"\n\n")
    with pytest.raises(ValueError, match=r".+"):
        json.loads(broken.steps[1].data[6:])
    assert [n for n, step in enumerate(broken.steps) if step != script().steps[n]] == [1]


@given(st.integers(0, 2**32), st.integers(0, 6))
def test_chaos_never_sends_what_was_not_recorded_or_told(seed: int, pieces: int) -> None:
    rules = Faults([Rule(chaos=True)], seed=seed)
    for _ in range(5):
        fault = rules.next(PATH, BODY)
        assert fault is not None
        told = apply(script(pieces), fault)
        times = [step.at_ms for step in told.steps]
        assert times == sorted(times)
        assert told.end_ms >= max(times, default=0)

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cassettes.replay.faults import Fault, Faults, FaultsError, Rule, apply
from cassettes.replay.pace import Script, Step, recut
from translate.errors import ERRORS, Kind

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
    assert json.loads(refused.steps[0].data)["error"]["type"] == "requests"


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
        ("[[fault]]\nstatus = 42\n", "fault 1: status must be from 200 to 599"),
        ("[[fault]]\nsplit = true\nevery = 0\n", "every must be at least 1"),
        ("[[fault]]\nsplit = true\nchance = 2.0\n", "chance must be from 0 to 1"),
        ("[[fault]]\ndelay_ms = -1\n", "delay_ms must be at least 0"),
        ("[fault]\n", "faults.toml"),
        ("[[fault\n", "faults.toml is not TOML: "),
        ("other = 1\n", "other"),
        ("[[fault]]\nstatus = 500\ncut_after_chunks = 0\n", "fault 1: cut_after_chunks cannot be used with status"),
        ("[[fault]]\nsplit = true\nheaders = {a = 1}\n", "headers can only be used with status"),
        ('[[fault]]\nsplit = true\nbody = ""\n', "body can only be used with status"),
        ("[[fault]]\nstall_after_chunks = 0\n", "stall_after_chunks can only be used with stall_ms"),
        ("[[fault]]\nstall_ms = 1\nstall_after_chunks = 1\nstall_after_ms = 1\n", "stall_after_ms cannot be used"),
        ("[[fault]]\ncut_after_chunks = 0\ncut_after_ms = 0\n", "cut_after_ms cannot be used with cut_after_chunks"),
        ("[[fault]]\nchaos = true\nsplit = true\n", "split cannot be used with chaos"),
        ("[[fault]]\nmalformed_chunk = 0\n", "malformed_chunk must be at least 1"),
        ("[[fault]]\ndelay_ms = nan\n", "delay_ms must be a finite number"),
        ("[[fault]]\nstall_ms = inf\n", "stall_ms must be a finite number"),
        ('[[fault]]\nstatus = 500\nheaders = {"a b" = "c"}\n', "headers: 'a b' cannot be sent"),
        ('[[fault]]\nstatus = 500\nheaders = {a = "b\\r\\nc: d"}\n', "headers: 'a' cannot be sent"),
        ('[[fault]]\nstatus = 500\nheaders = {Content-Length = "9"}\n', "Content-Length cannot be set"),
        ("[[fault]]\nstatus = 500\nbody = {at = 2026-01-01}\n", "body cannot be sent as JSON"),
    ],
)
def test_an_invalid_file_gets_an_error_with_the_place(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(FaultsError) as error:
        faults(tmp_path, text)
    assert told in str(error.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FaultsError, match=r"^there is no file"):
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


def ask(*messages: Any, **more: Any) -> bytes:
    return json.dumps(
        {"model": "gpt-4o", "messages": [{"role": "user", "content": text} for text in messages], **more}
    ).encode()


def body_of(told: Script) -> bytes:
    return b"".join(step.data for step in told.steps)


def events_of(data: bytes) -> list[bytes]:
    return [event for event in data.split(b"\n\n") if event]


RESPONSES = Script(
    200,
    (("content-type", "text/event-stream"), ("x-request-id", "req_7")),
    (
        Step(1, b'event: response.created\ndata: {"type":"response.created","sequence_number":0}\n\n'),
        Step(2, 'event: response.output_text.delta\ndata: {"delta":"世界","sequence_number":1}\n\n'.encode()),
        Step(3, b'event: response.completed\ndata: {"type":"response.completed","sequence_number":2}\n\n'),
    ),
    1,
    4,
    is_stream=True,
)


# Which requests


@pytest.mark.parametrize(
    ("text", "body", "fits"),
    [
        pytest.param("Grüße", ask("Grüße"), True, id="escaped in JSON"),
        pytest.param("old", ask("old", "new"), False, id="an earlier message"),
        pytest.param("user", ask("new"), False, id="what is no text"),
        pytest.param("part", ask([{"type": "text", "text": "a part"}]), True, id="a part"),
        pytest.param("said", b'{"input": "said"}', True, id="Responses, a text"),
        pytest.param(
            "said",
            b'{"input": [{"role": "user", "content": [{"type": "input_text", "text": "said"}]}]}',
            True,
            id="Responses, items",
        ),
        pytest.param("12 C", b'{"input": [{"type": "function_call_output", "output": "12 C"}]}', True, id="a tool"),
        pytest.param("raw", b"raw \xff", True, id="no JSON"),
        pytest.param("x", b"[" * 100_000, False, id="nested too deeply"),
        pytest.param("x", b'{"messages": []}', False, id="no message"),
        pytest.param("x", b'{"messages": [{"content": null}]}', False, id="nothing said"),
    ],
)
def test_a_text_is_looked_for_in_the_last_message(text: str, body: bytes, fits: bool) -> None:
    assert (Faults([Rule(text=text, split=True)]).next(PATH, body) is not None) is fits


def test_the_first_rule_that_applies_is_used() -> None:
    rules = Faults([Rule(every=2, delay_ms=1), Rule(delay_ms=2)])
    found = [rules.next(PATH, BODY) for _ in range(4)]
    assert [fault.delay_ms if fault else None for fault in found] == [2, 1, 2, 1]


@given(
    st.lists(st.booleans(), max_size=60),
    st.integers(1, 5) | st.none(),
    st.integers(1, 5) | st.none(),
    st.sampled_from([0.0, 0.3, 1.0]) | st.none(),
)
def test_a_rule_counts_the_same_whatever_other_rules_there_are(
    asked: Sequence[bool], every: int | None, times: int | None, chance: float | None
) -> None:
    rule = Rule(path="/a", every=every, times=times, chance=chance, delay_ms=1)
    alone, among = Faults([rule]), Faults([rule, Rule(path="/b", chance=0.5, delay_ms=2)])
    paths = ["/a" if is_ours else "/b" for is_ours in asked]
    by_alone = [alone.next(path, b"") for path in paths]
    by_both = [among.next(path, b"") for path in paths]
    used = [place for place, fault in enumerate(by_alone) if fault]
    assert used == [place for place, fault in enumerate(by_both) if fault and fault.delay_ms == 1]

    ours = [place for place, path in enumerate(paths) if path == "/a"]
    may = [place for n, place in enumerate(ours, 1) if not (every and n % every)]
    assert set(used) <= set(may)
    if chance in (None, 1.0):
        assert used == may[:times]
    if times is not None:
        assert len(used) <= times


def test_each_rule_throws_its_own_dice() -> None:
    rules = Faults([Rule(chance=0.5, delay_ms=1), Rule(chance=0.5, delay_ms=2)])
    found = [rules.next(PATH, BODY) for _ in range(100)]
    assert {fault.delay_ms if fault else None for fault in found} == {None, 1, 2}


# What befalls them


@pytest.mark.parametrize("kind", ["authentication_error", "permission_error", "not_found_error", "request_too_large",
                                  "rate_limit_error", "api_error", "overloaded_error"])  # fmt: skip
def test_a_refusal_has_the_words_that_understudy_itself_has_for_its_status(kind: Kind) -> None:
    row = ERRORS[kind]
    error = json.loads(body_of(apply(script(), Fault(status=row.status))))["error"]
    assert (error["type"], error["code"]) == (row.type, row.code)
    assert set(error) == {"message", "type", "param", "code"}


def test_a_refusal_may_have_a_body_and_headers_of_its_own(tmp_path: Path) -> None:
    rules = faults(
        tmp_path, '[[fault]]\nstatus = 502\nbody = "<h1>Bad</h1>"\nheaders = {Retry-After = 3}\ndelay_ms = 9\n'
    )
    fault = rules.next(PATH, BODY)
    assert fault is not None
    told = apply(RESPONSES, fault)
    assert body_of(told) == b"<h1>Bad</h1>"
    assert dict(told.headers) == {
        "x-request-id": "req_7", "content-type": "text/plain; charset=utf-8", "retry-after": "3"
    }  # fmt: skip
    assert (told.head_ms, told.end_ms) == (9, 9)


def test_a_status_that_has_no_body_gets_none() -> None:
    assert body_of(apply(script(), Fault(status=204))) == b""


def test_a_stall_may_be_before_the_first_chunk_and_the_head_is_sent_all_the_same() -> None:
    stalled = apply(script(), Fault(stall_ms=1000, stall_after_chunks=0))
    assert (stalled.head_ms, stalled.steps[0].at_ms) == (10, 1010)


def test_a_stall_at_a_time_moves_what_was_due_from_then_on() -> None:
    stalled = apply(script(), Fault(stall_ms=1000, stall_after_ms=20))
    assert [step.at_ms for step in stalled.steps] == [10, 1020, 1030, 1040]
    assert (stalled.head_ms, stalled.end_ms) == (10, 1050)
    assert apply(script(), Fault(stall_ms=1000, stall_after_ms=0)).head_ms == 1010


def test_a_stall_and_a_cut_after_the_same_chunk_are_a_silence_and_then_the_cut() -> None:
    told = apply(script(), Fault(stall_ms=500, stall_after_chunks=2, cut_after_chunks=2))
    assert [step.at_ms for step in told.steps] == [10, 20]
    assert (told.end_ms, told.is_cut) == (520, True)


def test_after_no_chunk_the_head_is_sent_and_at_no_time_not_even_that() -> None:
    assert apply(script(), Fault(cut_after_chunks=0)).head_ms == 10
    assert apply(script(), Fault(cut_after_ms=10)).head_ms is None
    assert apply(script(), Fault(cut_after_ms=11)).head_ms == 10


def test_a_step_at_the_time_of_the_cut_is_not_sent() -> None:
    assert [step.at_ms for step in apply(script(), Fault(cut_after_ms=30)).steps] == [10, 20]


def test_an_answer_that_is_over_before_its_cut_is_cut_at_its_end() -> None:
    told = apply(script(), Fault(cut_after_ms=60_000))
    assert (told.steps, told.end_ms, told.is_cut) == (script().steps, 50, True)


def test_a_delay_counts_for_a_cut_at_a_time() -> None:
    told = apply(script(), Fault(delay_ms=100, cut_after_ms=50))
    assert (told.head_ms, told.steps, told.end_ms) == (None, (), 50)


@pytest.mark.parametrize("seed", range(20))
def test_chunks_are_events_however_they_are_cut(seed: int) -> None:
    for fault in (Fault(cut_after_chunks=2), Fault(error_after_chunks=2), Fault(malformed_chunk=2)):
        assert body_of(apply(recut(RESPONSES, seed), fault)) == body_of(apply(RESPONSES, fault))


def test_chunks_are_counted_as_one_by_one_where_several_came_at_once() -> None:
    at_once = Script(200, (), (Step(5, body_of(script())),), 5, 9, is_stream=True)
    assert body_of(apply(at_once, Fault(cut_after_chunks=3))) == body_of(script(3))
    stalled = apply(at_once, Fault(stall_ms=100, stall_after_chunks=3))
    assert [(step.at_ms, step.data) for step in stalled.steps] == [
        (5, body_of(script(3))),
        (105, script().steps[3].data),
    ]


def test_a_comment_is_no_chunk() -> None:
    steps = (Step(1, b": keep-alive\n\n"), *script(2).steps)
    told = apply(Script(200, (), steps, 1, 99, is_stream=True), Fault(cut_after_chunks=1))
    assert told.steps == steps[:2]


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_an_error_of_responses_has_what_openais_clients_look_for(seed: int | None) -> None:
    source = RESPONSES if seed is None else recut(RESPONSES, seed)
    last = events_of(body_of(apply(source, Fault(error_after_chunks=2, split=True))))[-1]
    name, data = last.split(b"\ndata: ")
    told = json.loads(data)
    assert name == b"event: error"
    assert told["type"] == "error"
    assert told["error"]["message"] == told["message"]
    assert told["sequence_number"] == 2


@pytest.mark.parametrize("chunks", [0, 1, 2, 3, 99])
def test_an_error_comes_instead_of_what_ends_a_stream_well(chunks: int) -> None:
    done = Script(200, (), (*script(2).steps, Step(40, b"data: [DONE]\n\n")), 10, 50, is_stream=True)
    for source, last in ((done, b"[DONE]"), (RESPONSES, b"response.completed")):
        told = apply(source, Fault(error_after_chunks=chunks))
        events = events_of(body_of(told))
        assert len(events) == min(chunks, 2) + 1
        assert b'"error"' in events[-1]
        assert last not in body_of(told)
        assert not told.is_cut


def test_an_error_after_an_event_that_was_cut_begins_a_line_of_its_own() -> None:
    half = Script(200, (), (Step(1, b'data: {"half'),), 1, 2, is_stream=True, is_cut=True)
    assert len(events_of(body_of(apply(half, Fault(error_after_chunks=1))))) == 2


def test_an_answer_that_is_no_stream_has_no_error_in_band() -> None:
    whole = Script(200, (), (Step(1, b"{}"),), 1, 2, is_stream=False)
    assert apply(whole, Fault(error_after_chunks=1)) == whole


def test_a_malformed_chunk_of_responses_keeps_the_name_of_its_event() -> None:
    broken = events_of(body_of(apply(RESPONSES, Fault(malformed_chunk=2))))[1]
    name, data = broken.split(b"\ndata: ")
    assert name == b"event: response.output_text.delta"
    with pytest.raises(json.JSONDecodeError):
        json.loads(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values, st.sampled_from([None, 1]), st.booleans())
def test_a_malformed_chunk_is_utf8_but_not_json(value: Any, indent: int | None, is_stream: bool) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=indent).encode("utf-8", "replace")
    sent = b"".join(b"data: " + line + b"\n" for line in text.split(b"\n")) + b"\n" if is_stream else text
    told = body_of(apply(Script(200, (), (Step(1, sent),), 1, 2, is_stream=is_stream), Fault(malformed_chunk=1)))
    if is_stream:
        assert told.endswith(b"\n\n")
        told = b"\n".join(line[6:] for line in told.rstrip(b"\n").split(b"\n"))
    with pytest.raises(json.JSONDecodeError):
        json.loads(told.decode())


amount = st.integers(0, 8)
milliseconds = st.integers(0, 120).map(float)


@given(
    st.integers(0, 6),
    st.integers() | st.none(),
    st.fixed_dictionaries(
        {},
        optional={
            "delay_ms": milliseconds, "stall_ms": st.integers(1, 120).map(float), "malformed_chunk": st.integers(1, 8),
            "error_after_chunks": amount, "cut_after_chunks": amount, "split": st.booleans(),
        },
    ),
)  # fmt: skip
def test_any_fault_keeps_order_and_begins_as_the_answer_did(
    pieces: int, seed: int | None, given_keys: dict[str, Any]
) -> None:
    source = script(pieces) if seed is None else recut(script(pieces), seed)
    told = apply(source, Fault(**given_keys))
    times = [step.at_ms for step in told.steps]
    assert times == sorted(times)
    assert told.end_ms >= max(times, default=0)
    assert told.head_ms is not None
    assert told.head_ms <= min(times, default=told.end_ms)
    assert (told.status, told.headers) == (source.status, source.headers)
    assert told.is_cut is ("cut_after_chunks" in given_keys)
    if not given_keys.keys() & {"malformed_chunk", "error_after_chunks"}:
        assert body_of(source).startswith(body_of(told))
    if not given_keys.keys() & {"malformed_chunk", "error_after_chunks", "cut_after_chunks"}:
        assert body_of(told) == body_of(source)


def test_the_documented_file_can_be_read_and_every_key_is_documented(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs/faults.md").read_text(encoding="utf-8")
    examples = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert examples
    for example in examples:
        faults(tmp_path, example)
    named = {key for cell in re.findall(r"^\| (`.*?) \|", page, re.MULTILINE) for key in re.findall(r"`(\w+)", cell)}
    assert named == set(Rule.__struct_fields__) | {"seed"}

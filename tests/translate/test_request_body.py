"""The body of a request is a JSON object, or is refused."""

import json
import sys
from types import FrameType
from typing import Any

import msgspec
import pytest

from translate import request_body
from translate.errors import OpenAIError
from translate.request_body import STEP, decode_object


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"a": 1e999}', b'"text"'])
def test_a_body_that_is_no_object_is_refused(data: bytes) -> None:
    with pytest.raises(OpenAIError) as caught:
        decode_object(data)

    assert caught.value.status == 400


def test_integers_of_64_bits_keep_every_digit() -> None:
    assert decode_object(b'{"a": 18446744073709551615, "b": -9223372036854775808}') == {
        "a": 18446744073709551615,
        "b": -9223372036854775808,
    }


LONG = "é\\" * STEP
BODIES: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "a" * 30}] * 10_000, "model": "gpt-4o"},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": LONG}, {"n": [1, 2.5, None, True]}]}]},
    {"a": {"b": {"c": {"d": {"e": [LONG, {}]}}}}, "": []},
]


@pytest.mark.parametrize("body", BODIES, ids=["many messages", "a long part", "deep"])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_large_body_is_decoded_as_a_small_one(body: dict[str, Any], indent: int | None) -> None:
    data = json.dumps(body, indent=indent).encode()

    assert len(data) > STEP
    assert decode_object(b" \n" + data) == msgspec.json.decode(data) == body


def test_a_large_body_is_not_decoded_in_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    whole = msgspec.json.decode

    def counting(data: Any) -> Any:
        steps.append(len(memoryview(data)))
        return whole(data)

    monkeypatch.setattr(msgspec.json, "decode", counting)

    decode_object(json.dumps(BODIES[0]).encode())

    assert len(steps) == 10_001
    assert max(steps) < 100


@pytest.mark.parametrize("damage", [b"", b"]", b"]}}", b", nul]}", b', "\xff"]}', b", {'a': 1}]}"])
def test_a_large_body_with_a_mistake_is_refused(damage: bytes) -> None:
    data = b'{"messages": [' + b'"a", ' * STEP + b'"b"' + damage

    with pytest.raises(OpenAIError) as caught:
        decode_object(data)

    assert caught.value.status == 400


def test_of_a_name_that_comes_twice_the_last_value_counts() -> None:
    data = b'{"a": 1, "b": "' + b"x" * STEP + b'", "a": 2}'

    assert decode_object(data)["a"] == 2


def test_large_brackets_in_brackets_are_refused() -> None:
    with pytest.raises(OpenAIError):
        decode_object(b'{"a": ' + b"[" * STEP * 2)


def test_a_byte_order_mark_is_passed_over() -> None:
    assert decode_object(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (r"half \ud83d emoji", "half \ufffd emoji"),
        (r"\ude00\uD83D\ude00\ud83d", "\ufffd\U0001f600\ufffd"),
        (r"\\ud83d \ud83d", "\\ud83d \ufffd"),
        (r"\\\ud83d\n", "\\\ufffd\n"),
    ],
)
def test_half_of_a_surrogate_pair_becomes_the_replacement_character(text: str, told: str) -> None:
    assert decode_object(f'{{"a": "{text}"}}'.encode()) == {"a": told}


def test_a_body_with_a_mistake_and_many_escapes_takes_few_calls() -> None:
    calls = 0

    def note(frame: FrameType, event: str, arg: Any) -> None:
        nonlocal calls
        calls += event == "call" and frame.f_code.co_filename == request_body.__file__

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        with pytest.raises(OpenAIError):
            decode_object(rb'{"a": "' + rb"\n" * 100_000 + b"\\")
    finally:
        sys.setprofile(before)

    assert 0 < calls < 2000


@pytest.mark.parametrize("before", ["a" * 100_000, r"\n" * 100_000, r"\\ud83d\ud83d\ude00" * 1000, r"\ud83d" * 1000])
def test_half_of_a_surrogate_pair_is_found_after_much_else(before: str) -> None:
    text = f'["{before}\\ud83d{before}"]'
    wanted = json.loads(text)[0].encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    assert decode_object(f'{{"a": {text}}}'.encode()) == {"a": [wanted]}

"""Large JSON is read and written as small JSON is."""

import base64
import json
import random

import pytest

from cassettes import large_json as slowly
from cassettes.redact.redact import parse_json

VALUE = {
    "numbers": list(range(60_000)),
    "texts": ['é\u2028"\\ \ud83d\ude00'] * 5_000,
    "more": {"a": [None, True, 1.5], "": [], "b": {}, "long": "é\n" * 300_000},
}


@pytest.mark.parametrize("ascii_only", [True, False])
def test_large_json_is_read_and_written_as_small_json_is(ascii_only: bool) -> None:
    encoder = json.JSONEncoder(ensure_ascii=ascii_only)

    text = slowly.write(encoder, VALUE)

    assert len(text) > slowly.LARGE_JSON
    assert text == encoder.encode(VALUE)
    assert slowly.read(text) == slowly.read(text.encode("utf-8", "surrogatepass")) == json.loads(text)


@pytest.mark.parametrize("damage", ["", "]", ",", '"', "nul"])
def test_invalid_large_json_raises_the_same_error_as_small(damage: str) -> None:
    text = "[" + "1, " * 100_000 + damage

    with pytest.raises(ValueError):  # noqa: PT011 - json's own words
        slowly.read(text)


def test_a_key_that_comes_twice_is_seen_in_large_json_too() -> None:
    padding = json.dumps("x" * slowly.LARGE_JSON)

    with pytest.raises(ValueError, match="twice"):
        parse_json(f'{{"a": 1, "b": {padding}, "a": 2}}')
    with pytest.raises(ValueError, match="NaN"):
        parse_json(f'{{"a": NaN, "b": {padding}}}')


@pytest.mark.parametrize("size", [0, 1, 3, 3 * 256 * 1024, 2_000_000])
def test_base64_is_decoded_step_by_step(size: int) -> None:
    data = random.Random(4).randbytes(size)

    assert slowly.from_base64(base64.b64encode(data)) == data


def test_random_values_come_back() -> None:
    seeded = random.Random(3)
    encoder = json.JSONEncoder()

    value = [[seeded.random(), str(seeded.getrandbits(64)), {"k": seeded.getrandbits(70)}] for _ in range(8_000)]

    assert slowly.read(slowly.write(encoder, value)) == value


def test_forget_empties_all_nested_containers() -> None:
    leaf: dict[str, object] = {"a": 1}
    inner = [leaf, "text", (1, 2)]
    value = {"list": inner, "more": {"deep": [[[leaf]]]}}

    slowly.forget(value)
    slowly.forget("text")

    assert (value, inner, leaf) == ({}, [], {})


def test_forget_empties_very_deep_containers() -> None:
    value: list[object] = []
    for _ in range(100_000):
        value = [value]

    slowly.forget(value)

    assert value == []

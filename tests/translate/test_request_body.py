"""The body of a request is a JSON object, or is refused."""

import pytest

from translate.errors import OpenAIError
from translate.request_body import decode_object


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

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

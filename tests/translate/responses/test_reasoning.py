"""Thinking is packed, and comes back as it was."""

import pytest

from translate.responses.reasoning import pack, redacted_block, thinking_block, unpack
from translate.turn import ContentBlock


@pytest.mark.parametrize("block", [thinking_block("Hm — é", "sig"), thinking_block("", "sig"), redacted_block("x")])
def test_a_block_comes_back_as_it_was(block: ContentBlock) -> None:
    assert unpack(pack(block)) == block


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"gAAAA",
        b"\xff",
        b"[]",
        b'{"type":"image","text":"x"}',
        b'{"type":"thinking","thinking":1,"signature":"s"}',
        b"[" * 100_000,
    ],
    ids=["empty", "no json", "no text", "no object", "another block", "of another type", "too deep"],
)
def test_data_that_was_not_packed_gives_no_block(data: bytes) -> None:
    assert unpack(data) is None

"""What we sealed comes back, and nothing else is opened."""

import pytest

from origin.sealing import Sealer
from translate.responses.reasoning import pack

BLOCK = {"type": "thinking", "thinking": "hm", "signature": "s"}


def test_a_block_comes_back_as_it_was() -> None:
    sealer = Sealer()

    assert sealer.open_reasoning(sealer.seal(pack(BLOCK))) == BLOCK


@pytest.mark.parametrize("sealed", ["", "gAAAA", "ünd", Sealer().seal(pack(BLOCK)), "x" * 10_000])
def test_what_another_key_sealed_is_not_opened(sealed: str) -> None:
    assert Sealer().open_reasoning(sealed) is None


def test_what_was_tampered_with_is_not_opened() -> None:
    sealer = Sealer()
    sealed = sealer.seal(pack(BLOCK))

    assert sealer.open_reasoning(sealed[:-6] + ("A" if sealed[-6] != "A" else "B") + sealed[-5:]) is None

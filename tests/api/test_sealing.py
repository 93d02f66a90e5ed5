"""What we sealed comes back, and nothing else is opened."""

import pytest
from cryptography.fernet import Fernet

from api.sealing import Sealer, derived_key
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


def test_whoever_has_the_secret_opens_and_a_key_that_was_replaced_still_does() -> None:
    own = Fernet.generate_key()
    before, after = Sealer(own), Sealer(derived_key("shared"), own)
    other = Sealer(derived_key("shared"), Fernet.generate_key())

    assert after.open_reasoning(before.seal(pack(BLOCK))) == BLOCK
    assert other.open_reasoning(after.seal(pack(BLOCK))) == BLOCK
    assert other.open_reasoning(before.seal(pack(BLOCK))) is None

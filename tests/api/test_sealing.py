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
def test_reasoning_encrypted_with_another_key_is_not_decrypted(sealed: str) -> None:
    assert Sealer().open_reasoning(sealed) is None


def test_changed_encrypted_reasoning_is_not_decrypted() -> None:
    sealer = Sealer()
    sealed = sealer.seal(pack(BLOCK))

    assert sealer.open_reasoning(sealed[:-6] + ("A" if sealed[-6] != "A" else "B") + sealed[-5:]) is None


def test_a_shared_key_and_a_replaced_key_both_decrypt() -> None:
    own = Fernet.generate_key()
    before, after = Sealer(own), Sealer(derived_key("shared"), own)
    other = Sealer(derived_key("shared"), Fernet.generate_key())

    assert after.open_reasoning(before.seal(pack(BLOCK))) == BLOCK
    assert other.open_reasoning(after.seal(pack(BLOCK))) == BLOCK
    assert other.open_reasoning(before.seal(pack(BLOCK))) is None

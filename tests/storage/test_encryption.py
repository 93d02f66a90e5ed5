"""What is sealed is opened with the right key alone, and every wrong one is told as such."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.database import StoreError
from storage.encryption import Encryption, EncryptionKeyError

OLD, NEW = Encryption.new_key(), Encryption.new_key()

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize("keys", [(), (NEW,)], ids=["readable", "encrypted"])
@given(value=VALUES)
def test_unpacking_returns_the_packed_value(keys: tuple[str, ...], value: object) -> None:
    kept = Encryption(keys).pack(value)

    assert Encryption(keys).unpack(kept) == value
    assert "\0" not in kept
    assert kept.startswith("fernet:") == bool(keys)


def test_a_key_that_is_put_before_another_seals_and_both_open() -> None:
    before, after = Encryption([OLD]).seal(b"1"), Encryption([NEW, OLD]).seal(b"2")

    assert [Encryption([NEW, OLD]).open(kept) for kept in (before, after)] == [b"1", b"2"]
    assert Encryption([NEW]).open(after) == b"2"


def test_unencrypted_data_stays_readable_with_a_key() -> None:
    assert Encryption([NEW]).open(Encryption().seal(b"[1]")) == b"[1]"


def test_without_a_key_the_error_says_that_there_is_none() -> None:
    with pytest.raises(EncryptionKeyError, match="no key was given"):
        Encryption().open(Encryption([NEW]).seal(b"1"))


def test_with_another_key_the_error_says_so() -> None:
    with pytest.raises(StoreError, match="another key"):
        Encryption([OLD]).open(Encryption([NEW]).seal(b"1"))


def test_changed_data_is_not_decrypted() -> None:
    kept = Encryption([NEW]).seal(b"1")

    with pytest.raises(EncryptionKeyError):
        Encryption([NEW]).open(kept[:-8] + "A" * 8)


@pytest.mark.parametrize("key", ["", "short-secret", "é" * 44, "A" * 44])
def test_an_invalid_key_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(EncryptionKeyError, match="32 bytes") as raised:
        Encryption([OLD, key])

    assert not key or key not in str(raised.value)
    assert OLD not in repr(raised.value)


def test_a_vault_shows_no_key() -> None:
    assert (repr(Encryption([OLD])), repr(Encryption())) == ("<Encryption encrypts>", "<Encryption readable>")

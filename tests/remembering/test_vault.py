"""What is sealed is opened with the right key alone, and every wrong one is told as such."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remembering.vault import Vault, VaultError
from store.database import StoreError

OLD, NEW = Vault.new_key(), Vault.new_key()

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize("keys", [(), (NEW,)], ids=["readable", "encrypted"])
@given(value=VALUES)
def test_what_is_packed_comes_out_the_same(keys: tuple[str, ...], value: object) -> None:
    kept = Vault(keys).pack(value)

    assert Vault(keys).unpack(kept) == value
    assert "\0" not in kept
    assert kept.startswith("fernet:") == bool(keys)


def test_a_key_that_is_put_before_another_seals_and_both_open() -> None:
    before, after = Vault([OLD]).seal(b"1"), Vault([NEW, OLD]).seal(b"2")

    assert [Vault([NEW, OLD]).open(kept) for kept in (before, after)] == [b"1", b"2"]
    assert Vault([NEW]).open(after) == b"2"


def test_what_was_written_before_there_was_a_key_stays_readable() -> None:
    assert Vault([NEW]).open(Vault().seal(b"[1]")) == b"[1]"


def test_without_a_key_the_error_says_that_there_is_none() -> None:
    with pytest.raises(VaultError, match="no key was given"):
        Vault().open(Vault([NEW]).seal(b"1"))


def test_with_another_key_the_error_says_so() -> None:
    with pytest.raises(StoreError, match="another key"):
        Vault([OLD]).open(Vault([NEW]).seal(b"1"))


def test_what_was_changed_is_not_opened() -> None:
    kept = Vault([NEW]).seal(b"1")

    with pytest.raises(VaultError):
        Vault([NEW]).open(kept[:-8] + "A" * 8)


@pytest.mark.parametrize("key", ["", "short-secret", "é" * 44, "A" * 44])
def test_what_is_no_key_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(VaultError, match="32 bytes") as raised:
        Vault([OLD, key])

    assert not key or key not in str(raised.value)
    assert OLD not in repr(raised.value)


def test_a_vault_shows_no_key() -> None:
    assert (repr(Vault([OLD])), repr(Vault())) == ("<Vault encrypts>", "<Vault readable>")

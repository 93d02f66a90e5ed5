"""Locks on files."""

from pathlib import Path

import pytest

from cassettes.locking import lock, locked, unlock


def test_a_locked_file_cannot_be_locked_again_until_it_is_let_go(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("ab") as one, (tmp_path / "lock").open("ab") as other:
        lock(one, wait=False)
        with pytest.raises(OSError):  # noqa: PT011 - each system has its own words
            lock(other, wait=False)
        unlock(one)

        with locked(other), pytest.raises(OSError):  # noqa: PT011
            lock(one, wait=False)

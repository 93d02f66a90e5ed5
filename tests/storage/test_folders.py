"""Folders that are only their owner's."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.folders import make_private_folder


@pytest.fixture
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.skipif(os.name != "posix", reason="this system has no modes")
@pytest.mark.usefixtures("usual_umask")
def test_each_folder_that_is_made_is_its_owner_s_alone_and_those_that_are_there_stay(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir(mode=0o755)
    for _ in range(2):
        make_private_folder(tmp_path / "there" / "data" / "claude")

    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for path in (tmp_path / "there", tmp_path / "there" / "data", tmp_path / "there" / "data" / "claude")
    }
    assert modes == {"there": 0o755, "data": 0o700, "claude": 0o700}


def test_a_file_in_the_way_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(OSError, match="file"):
        make_private_folder(tmp_path / "file" / "folder")

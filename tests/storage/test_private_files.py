"""Private files and folders: only their owner can read them, and a file is whole or not there."""

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.private_files import (
    create_private_file,
    make_private_folder,
    replacing_private_file,
    restrict_to_owner,
    touch_private_file,
    write_private_file,
)

needs_modes = pytest.mark.skipif(os.name != "posix", reason="this system has no modes")


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@needs_modes
def test_each_folder_that_is_made_is_its_owner_s_alone_and_those_that_are_there_stay(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir(mode=0o755)
    path = tmp_path / "there" / "data" / "claude"
    for _ in range(2):
        assert make_private_folder(path) == path

    modes = {folder.name: mode(folder) for folder in (tmp_path / "there", path.parent, path)}
    assert modes == {"there": 0o755, "data": 0o700, "claude": 0o700}


def test_a_file_in_the_way_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(OSError, match="file"):
        make_private_folder(tmp_path / "file" / "folder")


@needs_modes
def test_others_lose_their_permissions(tmp_path: Path) -> None:
    folder, file = tmp_path / "folder", tmp_path / "folder" / "file"
    folder.mkdir(mode=0o755)
    file.touch(mode=0o644)
    restrict_to_owner(folder)
    restrict_to_owner(file)

    assert (mode(folder), mode(file)) == (0o700, 0o600)


@needs_modes
def test_an_empty_file_is_made_private_and_one_that_is_there_keeps_its_content(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("content")
    for name in ("there", "new"):
        touch_private_file(tmp_path / name)

    assert {name: (mode(tmp_path / name), (tmp_path / name).read_text()) for name in ("there", "new")} == {
        "there": (0o600, "content"),
        "new": (0o600, ""),
    }


@needs_modes
def test_a_file_that_is_written_is_private_and_replaces_the_one_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    write_private_file(path, b"new")

    assert (mode(path), path.read_bytes(), list(tmp_path.iterdir())) == (0o600, b"new", [path])


def test_a_file_that_cannot_be_written_whole_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail() -> None:
        with replacing_private_file(path) as file:
            file.write(b"half of the n")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert (path.read_text(), list(tmp_path.iterdir())) == ("old", [path])


def refuse(self: Path, target: Path) -> None:
    raise PermissionError("this file system has no hard links")


@pytest.mark.parametrize("has_links", [True, False])
def test_a_file_that_is_created_never_replaces_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    path = tmp_path / "file"
    if not has_links:
        monkeypatch.setattr(Path, "hardlink_to", refuse)
    create_private_file(path, b"first")
    with pytest.raises(FileExistsError):
        create_private_file(path, b"second")

    assert (path.read_bytes(), list(tmp_path.iterdir())) == (b"first", [path])
    assert os.name != "posix" or mode(path) == 0o600


def test_only_one_of_many_threads_creates_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    created: list[bytes] = []
    start = threading.Barrier(8)

    def create(content: bytes) -> None:
        start.wait()
        try:
            create_private_file(path, content)
        except FileExistsError:
            return
        created.append(content)

    threads = [threading.Thread(target=create, args=(bytes([n]) * 1000,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [path.read_bytes()] == created

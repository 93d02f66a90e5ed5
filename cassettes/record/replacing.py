"""Replaces cassettes. The old one stays unchanged until the new one is complete."""

import contextlib
import shutil
from collections.abc import Iterator, Set
from pathlib import Path

from cassettes.files import all_files, index_path, make_side_folder, part_path, parts, side_folder
from cassettes.format import LineError, decode_line
from cassettes.index import load
from cassettes.locking import lock
from cassettes.read import raw_lines
from cassettes.record.record import CassetteError
from storage.private_files import replacing_private_file


def put_in_place(new: Path, old: Path) -> None:
    """Replace the cassette ``old`` with ``new``. ``old`` need not exist. Both are ``.jsonl`` files of the same name.

    New blobs are moved first, and old blobs are deleted last. So every blob that an entry names exists, for other
    readers and after a crash. Raises OSError, and CassetteError if another process records into ``old``.
    """
    old.parent.mkdir(parents=True, exist_ok=True)
    folder = side_folder(old)
    with _locked(old):
        blobs = {path.name for path in (side_folder(new) / "blobs").glob("*")}
        for name in blobs:
            _move(side_folder(new) / "blobs" / name, folder / "blobs" / name)
        names = side_folder(new) / "names"
        if names.exists():
            _move(names, folder / "names")
        before, after = parts(old), parts(new)
        places = [part_path(old, number) for number in range(1, len(after) + 1)]
        for part, place in zip(after, places, strict=True):
            _move(part, place)
        for part in {*before, *places}:
            index_path(part).unlink(missing_ok=True)
        for part in before:
            if part not in places:
                part.unlink()
        for path in (folder / "blobs").glob("*"):
            if path.name not in blobs:
                path.unlink()


@contextlib.contextmanager
def _locked(cassette: Path) -> Iterator[None]:
    """Lock a cassette against recording while the block runs. Raises OSError; CassetteError if a process records."""
    folder = side_folder(cassette)
    make_side_folder(folder)
    with (folder / "lock").open("ab") as file:
        try:
            lock(file, wait=False)
        except OSError:
            raise CassetteError(f"the cassette {cassette} is being recorded by another process") from None
        yield


def _move(source: Path, target: Path) -> None:
    """Move a file, also from another disk. The target is never incomplete."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = target.with_name(f".new-{target.name}")
    shutil.move(source, beside)
    beside.replace(target)


def drop_failures(path: Path) -> int:
    """Remove the entries that failed at the proxy (:mod:`cassettes.outcome`) from a cassette. Return their number.

    All other bytes stay unchanged. Raises OSError, and CassetteError if another process records into the cassette.
    """
    dropped = 0
    for file in all_files(path):
        failed = {row.id for row in load(file) if row.failed_at_the_proxy}
        if not failed:
            continue
        with _locked(file):
            _write_without(file, failed)
        dropped += len(failed)
    return dropped


def _write_without(file: Path, ids: Set[str]) -> None:
    """Replace a file with a copy without the lines of these entries."""
    with replacing_private_file(file) as new:
        for line in raw_lines(file):
            if _id_of(line.raw) in ids:
                continue
            if line.is_too_long:
                raise CassetteError(f"{file}:{line.number}: a line is too long, so the file cannot be written anew")
            new.write(line.raw)
    index_path(file).unlink(missing_ok=True)


def _id_of(raw: bytes) -> str | None:
    try:
        return decode_line(raw).id
    except LineError:
        return None

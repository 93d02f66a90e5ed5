"""Copies one exchange into a new cassette."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cassettes.blobs import BlobError, Blobs
from cassettes.files import side_folder
from cassettes.format import HEADER, encode_line
from cassettes.read import raw_lines
from cassettes.summary import Summary


class FixtureError(Exception):
    """A fixture cannot be made. The message says why."""


def write_fixture(file: Path, summary: Summary, into: Path) -> None:
    """Write the block of one exchange, and the blobs that it names, as a new cassette. Raises FixtureError, OSError.

    The lines are copied byte by byte.
    """
    if into.suffix != ".jsonl":
        raise FixtureError(f"{into} must end in .jsonl")
    if file.suffix == ".part":
        raise FixtureError(f"the exchange {summary.id} has not ended")
    lines = [raw.raw for raw in raw_lines(file, summary.offset, summary.length)]
    mine = [line for line in lines if json.loads(line).get("id") == summary.id]
    source, target = Blobs(side_folder(file) / "blobs"), Blobs(side_folder(into) / "blobs")
    into.parent.mkdir(parents=True, exist_ok=True)
    try:
        with into.open("xb") as out:
            out.write(encode_line(HEADER))
            out.writelines(mine)
    except FileExistsError:
        raise FixtureError(f"{into} already exists") from None
    for name in {name for line in mine for name in _blobs(json.loads(line))}:
        with contextlib.suppress(BlobError):  # a missing blob stays missing; reading the fixture reports it
            target.put(source.get(name))


def _blobs(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        name = value.get("$blob")
        if isinstance(name, str):
            yield name
        for item in value.values():
            yield from _blobs(item)
    elif isinstance(value, list):
        for item in value:
            yield from _blobs(item)

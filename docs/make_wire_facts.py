"""Writes conform/facts/wire.json, what recordings show of the real API: `uv run python docs/make_wire_facts.py CORPUS`.

Only names of keys, types, months and counts are kept.
"""

import sys
from pathlib import Path

from conform.document import FACTS, document
from conform.report import as_table
from conform.wire import Wire
from tests.corpus import recordings


def facts(folder: Path) -> Wire:
    """Return the table of a folder of recordings."""
    wire = Wire()
    for _, exchange in recordings(folder):
        wire.learn(exchange, document())
    return wire


if __name__ == "__main__":
    (FACTS / "wire.json").write_text(as_table(facts(Path(sys.argv[1]))), encoding="utf-8")

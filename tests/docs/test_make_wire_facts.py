"""The facts of the wire are what the script makes of the recordings."""

import json
import re
import runpy
from pathlib import Path

import pytest

from conform.document import FACTS
from tests.corpus import CORPUS, NO_CORPUS

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.skipif(not CORPUS.is_dir(), reason=NO_CORPUS)
def test_the_table_is_what_the_script_makes() -> None:
    script = runpy.run_path(str(DOCS / "make_wire_facts.py"))

    made = script["as_table"](script["facts"](CORPUS))

    assert (FACTS / "wire.json").read_text(encoding="utf-8") == made, "run docs/make_wire_facts.py"


def test_the_table_has_names_months_and_counts_alone() -> None:
    table = json.loads((FACTS / "wire.json").read_text(encoding="utf-8"))

    for entry in table["situations"].values():
        for key, fact in entry["keys"].items():
            assert re.fullmatch(r"[a-z_]{1,40}", key)
            assert set(fact) == {"in", "kinds"}
            assert set(fact["kinds"]) <= {"null", "boolean", "integer", "number", "string", "list", "map"}
    assert all(re.fullmatch(r"20\d\d-\d\d", month) for month in table["recordings"])

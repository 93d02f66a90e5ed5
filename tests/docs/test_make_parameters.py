"""The page about parameters says what the code does."""

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_what_the_tables_say() -> None:
    made = runpy.run_path(str(DOCS / "make_parameters.py"))["page"]()

    assert (DOCS / "parameters.md").read_text(encoding="utf-8") == made, "run `uv run python docs/make_parameters.py`"

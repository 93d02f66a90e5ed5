"""The page about models has the rows of the model map, as the code has them."""

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_what_the_tables_say() -> None:
    made = runpy.run_path(str(DOCS / "make_models.py"))["page"]()

    assert (DOCS / "models.md").read_text(encoding="utf-8") == made, "run `uv run python docs/make_models.py`"

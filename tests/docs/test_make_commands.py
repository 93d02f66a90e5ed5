"""The page about commands has each of them, as the code does."""

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_what_the_commands_say() -> None:
    made = runpy.run_path(str(DOCS / "make_commands.py"))["page"]()

    assert (DOCS / "commands.md").read_text(encoding="utf-8") == made, "run `uv run python docs/make_commands.py`"

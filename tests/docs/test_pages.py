"""The pages written by hand: their links lead somewhere, and the files that they name are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / ".github").rglob("*.md"))]
# What a change log tells of the past may name files that are gone.
LINKED = [page for page in PAGES if page.name != "CHANGELOG.md"]
FOLDERS = "addons|api|auth|bench|cassettes|cli|conform|docs|engine|fixtures|launch|rehearsal|storage|tests|translate"
NAMED = re.compile(rf"`((?:{FOLDERS}|understudy)/(?:[\w./*-]*\.(?:py|md|sh|toml|cjs)|[\w./-]*/)?)`")
MADE = {"bench/results/"}  # by running something


def prose(page: Path) -> str:
    """Return a page without its code blocks."""
    return re.sub(r"^( *)```.*?^\1```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[str]:
    """Return where a page's links lead, within the repository."""
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)) if not re.match(r"[a-z]+:", target)]


def named(pages: list[Path]) -> list[object]:
    return [pytest.param(page, id=str(page.relative_to(ROOT))) for page in pages]


@pytest.mark.parametrize("page", named(LINKED))
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    broken = []
    for target in links(page):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)

    assert broken == []


@pytest.mark.parametrize("page", named(LINKED))
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    missing = [path for path in NAMED.findall(prose(page)) if path not in MADE and not any(ROOT.glob(path.rstrip("/")))]

    assert missing == []


def test_every_page_of_the_documentation_is_linked_from_another() -> None:
    linked = {(page.parent / link.partition("#")[0]).resolve() for page in LINKED for link in links(page)}

    assert [page.name for page in LINKED if page.parent == ROOT / "docs" and page not in linked] == []

"""The checks on GitHub and before a commit run what a person runs by hand."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
FORMS = sorted(path for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
CI = (ROOT / ".ci/run").read_text(encoding="utf-8")
BY_HAND = "".join((ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "CONTRIBUTING.md")) + CI


def read(path: Path) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return read


def commands(workflow: str) -> list[str]:
    jobs = read(ROOT / ".github/workflows" / workflow)["jobs"].values()
    return [step["run"] for job in jobs for step in job["steps"] if "run" in step]


def test_the_checks_run_the_demo_of_the_readme_and_the_script_for_everybody() -> None:
    assert commands("checks.yml") == ["uv run understudy demo", "bash .ci/run"]
    assert "$ uv run understudy demo\n" in BY_HAND


def test_the_tests_of_the_newest_versions_are_the_readmes() -> None:
    *prepared, tests = commands("newest.yml")

    assert prepared == ["uv sync --locked", "uv pip install --upgrade ${{ matrix.package }}"]
    assert f"$ {tests}\n" in BY_HAND


def test_the_checks_cover_the_pythons_that_the_project_names() -> None:
    pythons = read(ROOT / ".github/workflows/checks.yml")["jobs"]["checks"]["strategy"]["matrix"]["python"]
    named = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))

    assert set(named) <= set(pythons)


@pytest.mark.parametrize("path", [pytest.param(path, id=path.name) for path in WORKFLOWS])
def test_a_workflow_may_only_read_and_ends(path: Path) -> None:
    workflow = read(path)

    assert workflow["permissions"] == {"contents": "read"}
    assert all(job["timeout-minutes"] for job in workflow["jobs"].values())


def test_the_hooks_before_a_commit_are_those_of_the_script() -> None:
    (repository,) = read(ROOT / ".pre-commit-config.yaml")["repos"]
    entries = [hook["entry"] for hook in repository["hooks"]]

    assert entries == ["uv run ruff check --fix", "uv run ruff format", "uv run mypy"]
    assert all(f"{' '.join(entry.split()[:4]).removesuffix(' --fix')}" in CI for entry in entries)


@pytest.mark.parametrize("path", [pytest.param(path, id=path.name) for path in FORMS])
def test_an_issue_form_asks_for_a_cassette(path: Path) -> None:
    form = read(path)

    assert {"name", "description", "body"} <= set(form)
    assert "cassette" in {field.get("id") for field in form["body"]}

"""What the project depends on: what it imports is declared, what it declares is imported, and no more is private."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator

import pytest

from tests.test_tree import ARROWS, ROOT, files_of

UNDECLARED = {
    "openai": "cli/demo/chat.py is a program of the user's kind; the demo runs it only where the client is installed",
    "pytest": "pytest itself imports our plugin, so it is there",
}
"""Distributions that are imported and not declared, each with the reason."""

PRIVATE = {
    "claude_agent_sdk._internal.transport.subprocess_cli": "the SDK's transport: we start its processes ourselves",
    "h11._readers": "a body is counted where its chunks are read, before mitmproxy keeps them",
    "h11._receivebuffer": "the same",
    "mitmproxy.proxy.layers.http._base": "mitmproxy has no public way to refuse a request in the middle of its body",
    "mitmproxy.proxy.layers.http._events": "the same",
    "mitmproxy.proxy.layers.http._hooks": "the same",
    "mitmproxy.proxy.layers.http._http1": "the same",
    "mitmproxy.proxy.layers.http._http2": "the same",
}
"""The modules of others that are private and that we import, each with the reason."""

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def normal(name: str) -> str:
    """Return a distribution's name as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


DECLARED = {normal(re.split(r"[^\w.-]", line)[0]): line for line in PROJECT["dependencies"]}
DISTRIBUTIONS = importlib.metadata.packages_distributions()


def imported() -> Iterator[tuple[str, str]]:
    """Yield each module of others that the rooms import, and where. A name that is imported from it counts as one."""
    for path in (path for room in ARROWS for path in files_of(room)):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                if name.partition(".")[0] not in {*sys.stdlib_module_names, *ARROWS}:
                    yield name, str(path.relative_to(ROOT))


IMPORTED = sorted(set(imported()))


def test_every_imported_package_is_declared() -> None:
    undeclared = {
        (distribution, where)
        for name, where in IMPORTED
        for distribution in map(normal, DISTRIBUTIONS[name.partition(".")[0]])
        if distribution not in DECLARED
    }

    assert {distribution for distribution, _ in undeclared} == set(UNDECLARED), undeclared


def test_every_declared_package_is_imported() -> None:
    used = {normal(one) for name, _ in IMPORTED for one in DISTRIBUTIONS[name.partition(".")[0]]}

    assert set(DECLARED) - used == set()


def private(name: str) -> str | None:
    """Return the private module that a name is, or lies in; None if none of its parts is private."""
    parts = name.split(".")
    last = max((number for number, part in enumerate(parts) if re.match("_[^_]", part)), default=None)
    if last is None:
        return None
    # Below a private package it is the module that counts; its last part is what is imported from it.
    return next((module for module in PRIVATE if f"{name}.".startswith(f"{module}.")), ".".join(parts[: last + 1]))


def test_the_private_modules_that_are_imported_are_those_with_a_reason() -> None:
    assert {private(name) for name, _ in IMPORTED} - {None} == set(PRIVATE)


@pytest.mark.parametrize("module", PRIVATE)
def test_a_package_with_imported_private_modules_is_pinned(module: str) -> None:
    (distribution,) = DISTRIBUTIONS[module.partition(".")[0]]

    assert "==" in DECLARED[normal(distribution)]


def test_the_page_tells_of_each() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    _, table = page.split("| | only by it, MB | import, ms | for |")

    assert {normal(name) for name in re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)} == set(DECLARED)

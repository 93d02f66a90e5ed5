"""A failed test shows what the programs that it used have written.

A client sees only "The server had an error while processing your request". The reason is in the program's log.
"""

from collections.abc import Generator

import pytest

LINES = 100
"""How many lines of each log are shown, from its end."""

_before = pytest.StashKey[dict[object, int]]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note how much the programs that run already have written."""
    from tests.end_to_end.understudy import Started

    written: dict[object, int] = {log: len(log.text) for s in Started.all for log in (s.out, s.err)}
    item.stash[_before] = written


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failed test's report what was written since."""
    from tests.end_to_end.understudy import Started

    report = yield
    if report.failed:
        before = item.stash.get(_before, {})
        for started in Started.all:
            for name, log in (("stdout", started.out), ("stderr", started.err)):
                lines = log.text[before.get(log, 0) :].splitlines()
                if lines:
                    report.sections.append((f"{name} of {started.name}", "\n".join(lines[-LINES:])))
    return report

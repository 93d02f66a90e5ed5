"""``--allowed-skips FILE``: a run in which a test is skipped for a reason that is not in the file has failed.

Each line of the file is a pattern for a reason, as the shell's (``*`` is any text). Empty lines and lines that start
with # say nothing.
"""

from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--allowed-skips", type=Path, metavar="FILE", help="fail where a test is skipped for a reason not in FILE"
    )


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("allowed_skips")
    # The process that starts the workers sees their reports.
    if path is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(AllowedSkips(path))


class AllowedSkips:
    """Counts the reasons for which tests were skipped."""

    def __init__(self, path: Path) -> None:
        lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
        self._patterns = [line for line in lines if line and not line.startswith("#")]
        self._reasons: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._not_allowed() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("skipped tests")
        for reason, count in self._reasons.most_common():
            terminalreporter.line(f"{count} skipped: {reason}")
        for reason in self._not_allowed():
            terminalreporter.line(f"FAILED: this is no allowed reason to skip a test: {reason}", red=True)

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail") and isinstance(report.longrepr, tuple):
            self._reasons[report.longrepr[2].removeprefix("Skipped: ")] += 1

    def _not_allowed(self) -> list[str]:
        return [
            reason for reason in self._reasons if not any(fnmatchcase(reason, pattern) for pattern in self._patterns)
        ]

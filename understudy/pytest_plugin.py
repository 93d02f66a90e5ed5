"""The pytest plugin: tests whose OpenAI traffic is recorded once and replayed ever after, over the real wire.

Loaded by pytest in every project that Understudy is installed in, so nothing heavy is imported before it is asked for.
docs/pytest.md says how it is used.
"""

import contextlib
import hashlib
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from understudy.recording_modes import MODES, CannotStartError
from understudy.rooms import NameTakenError, use_rooms

if TYPE_CHECKING:
    from understudy.proxy_fixture import Running

MAX_NAME_BYTES = 120
"""File systems take names of 255 bytes, and what lies beside a cassette has longer ones."""

FROM = pytest.StashKey[tuple[int, int, int]]()
"""How far a run that is played from one cassette was when a test began."""

SESSION = pytest.StashKey[contextlib.ExitStack]()
RUNNING = pytest.StashKey["Running"]()
PROBLEM = pytest.StashKey[str]()
PASSED = pytest.StashKey[bool]()
"""Of a test: whether it has passed. It has not where it was skipped half-way, or ended by Ctrl-C."""
DESELECTED = pytest.StashKey[bool]()
"""Of a run: whether some of its tests were left out."""


@contextlib.contextmanager
def start(cassette: Path, mode: str) -> Iterator["Running"]:
    """Run the proxy while the block runs. ``mode``: one of MODES. Raises CannotStartError."""
    with contextlib.ExitStack() as stack:
        # What mitmproxy's own libraries warn of is nothing that this suite's author can mend, or should fail for.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                use_rooms()
            except NameTakenError as error:
                raise CannotStartError(f"{error}. Understudy has a module of that name too") from None
            from understudy.proxy_fixture import running

            started = stack.enter_context(running(cassette, mode))
        yield started


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("understudy", "OpenAI traffic, recorded and replayed by Understudy")
    group.addoption(
        "--understudy-cassette", metavar="FILE", help="replay the whole run's OpenAI traffic from this cassette"
    )
    group.addoption(
        "--understudy-record",
        choices=sorted(MODES),
        help="new: ask Claude for what is not recorded, and record it (the default); none: fail (the default where CI"
        " is set); live: ask, and record nothing; again: ask everything again, and record it in the place of what was"
        " recorded; failed: ask again what failed when it was recorded, and what is new",
    )
    parser.addini("understudy_cassettes", "the folder of the fixture's cassettes", default="cassettes")


def mode_of(config: pytest.Config) -> str:
    """Return the mode that was asked for."""
    asked = config.getoption("--understudy-record")
    return str(asked) if asked else "none" if os.environ.get("CI") else "new"


def pytest_sessionstart(session: pytest.Session) -> None:
    """Start the proxy that the whole run goes through, if there is to be one."""
    file = session.config.getoption("--understudy-cassette")
    # The workers of pytest-xdist have the environment of the process that starts them, and go through its proxy.
    if not file or hasattr(session.config, "workerinput"):
        return
    stack = contextlib.ExitStack()
    try:
        started = stack.enter_context(start(Path(file), mode_of(session.config)))
    except CannotStartError as error:
        raise pytest.UsageError(f"understudy: {error}") from None
    patch = stack.enter_context(pytest.MonkeyPatch.context())
    started.apply(patch)
    session.config.stash[SESSION] = stack
    session.config.stash[RUNNING] = started


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Stop it. A run in which a request was missed has failed."""
    stack = session.config.stash.get(SESSION, None)
    if stack is None:
        return
    started = session.config.stash[RUNNING]
    started.passed = exitstatus == 0 and not leaves_out(session.config)
    try:
        stack.close()
    except CannotStartError as error:  # the new cassette could not take the old one's place
        session.config.stash[PROBLEM] = str(error)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if started.missed and mode_of(session.config) == "none" and exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Remember that tests were left out: what they had recorded is not to be replaced by a cassette without it."""
    for item in items:
        item.config.stash[DESELECTED] = True


def leaves_out(config: pytest.Config) -> bool:
    """Whether a run leaves out tests. Where the workers of pytest-xdist choose them, only the options tell."""
    options = (config.getoption(name, None) for name in ("keyword", "markexpr", "lf", "deselect"))
    return config.stash.get(DESELECTED, False) or any(options)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what the replay came to."""
    started = config.stash.get(RUNNING, None)
    if started is not None:
        terminalreporter.section("understudy")
        for line in started.lines():
            terminalreporter.line(line)
        if problem := config.stash.get(PROBLEM, None):
            terminalreporter.line(f"understudy: {problem}", red=True)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Remember where a test begins, in a run that is played from one cassette."""
    started = item.config.stash.get(RUNNING, None)
    if started is not None:
        item.stash[FROM] = started.mark()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Say of a test that failed where its answers came from."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.when == "call":
        item.stash[PASSED] = report.passed
    started = item.stash.get(RUNNING, None) or item.config.stash.get(RUNNING, None)
    if started is not None and report.failed:
        lines = list(started.answers(since=item.stash.get(FROM, (0, 0, 0)), root=item.config.rootpath))
        if lines:
            report.sections.append((f"understudy {report.when}: where the answers came from", "\n".join(lines)))


def file_name(test: str) -> str:
    """Return what a test's cassette is called: no other test's is, and no file system refuses it."""
    function, bracket, parameters = test.partition("[")
    parameters = parameters.removesuffix("]")
    told = f"{function}-{parameters}" if bracket else function
    # A dot and a number would make it a part of another cassette.
    name = re.sub(r"[^\w-]+", "-", told).encode()[:MAX_NAME_BYTES].decode(errors="ignore")
    return name if name == told else f"{name.strip('-')}-{hashlib.sha256(test.encode()).hexdigest()[:8]}"


@pytest.fixture
def understudy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator["Running"]:
    """OpenAI traffic of this test and of what it starts, answered from a cassette of its own.

    The cassette is ``cassettes/test_module/test_name.jsonl`` beside the test, of a test in a class in a folder of the
    class's name. In mode ``none`` a request that was not recorded fails the test, whatever the app made of the 409.
    """
    mode = mode_of(request.config)
    folder = request.path.parent / str(request.config.getini("understudy_cassettes")) / request.path.stem
    classes = [node.name for node in request.node.listchain() if isinstance(node, pytest.Class)]
    try:
        with start(folder.joinpath(*classes, f"{file_name(request.node.name)}.jsonl"), mode) as started:
            request.node.stash[RUNNING] = started
            with monkeypatch.context() as patch:
                started.apply(patch)
                yield started
            missed = started.missed
            started.passed = request.node.stash.get(PASSED, False)
    except CannotStartError as error:
        pytest.fail(f"understudy: {error}", pytrace=False)
    if missed and mode == "none":
        pytest.fail(f"understudy: nothing recorded answers {', '.join(missed)}", pytrace=False)

"""The pytest plugin: tests whose OpenAI traffic is recorded once, and replayed from then on, over real connections.

pytest loads it in every project that Understudy or pytest-understudy is installed in. So it imports only pytest and the
standard library, and the proxy is a program of its own. docs/pytest.md says how the plugin is used.
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from .proxy_fixture import Programs, Running, running
from .recording_modes import MODES, CannotStartError

MAX_NAME_BYTES = 120
"""File systems take names of 255 bytes, and what lies beside a cassette has longer ones."""

COMMAND_VARIABLE = "PYTEST_UNDERSTUDY_COMMAND"
"""The variable that names the command which starts Understudy."""

FROM = pytest.StashKey[Sequence[int]]()
"""How far a run that is played from one cassette was when a test began."""

PROGRAMS = pytest.StashKey[Programs]()
SESSION = pytest.StashKey[contextlib.ExitStack]()
RUNNING = pytest.StashKey[Running]()
PROBLEM = pytest.StashKey[str]()
PASSED = pytest.StashKey[bool]()
"""Of a test: whether it has passed. It has not where it was skipped half-way, or ended by Ctrl-C."""
DESELECTED = pytest.StashKey[bool]()
"""Of a run: whether some of its tests were left out."""


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
    group.addoption(
        "--understudy-command",
        metavar="COMMAND",
        help="the command that starts Understudy, for example `uvx understudy`; default: the variable"
        f" {COMMAND_VARIABLE}, the ini option understudy_command, else an `understudy` that is found",
    )
    parser.addini("understudy_cassettes", "the folder of the fixture's cassettes", default="cassettes")
    parser.addini("understudy_command", "the command that starts Understudy", default="")


def programs_of(config: pytest.Config) -> Programs:
    """Return the programs that run the proxies of this pytest process. They end with it."""
    if (programs := config.stash.get(PROGRAMS, None)) is None:
        named = config.getoption("--understudy-command") or os.environ.get(COMMAND_VARIABLE)
        command = str(named or config.getini("understudy_command"))
        programs = config.stash[PROGRAMS] = Programs(command, config.invocation_params.dir)
        config.add_cleanup(programs.close)
    return programs


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
        started = stack.enter_context(
            running(programs_of(session.config), Path(file), mode_of(session.config), session.config.rootpath)
        )
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
        is_missed = bool(started.missed)
    except CannotStartError as error:  # the new cassette could not replace the old one, or the program is gone
        session.config.stash[PROBLEM] = str(error)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    else:
        if is_missed and mode_of(session.config) == "none" and exitstatus == 0:
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
        with contextlib.suppress(CannotStartError):
            for line in started.lines():
                terminalreporter.line(line)
        if problem := config.stash.get(PROBLEM, None):
            terminalreporter.line(f"understudy: {problem}", red=True)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Remember where a test begins, in a run that is played from one cassette."""
    started = item.config.stash.get(RUNNING, None)
    if started is not None:
        with contextlib.suppress(CannotStartError):  # the end of the run says it
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
        with contextlib.suppress(CannotStartError):
            for name, lines in started.report(since=item.stash.get(FROM, ())).items():
                report.sections.append((f"understudy {report.when}: {name}", "\n".join(lines)))


def file_name(test: str) -> str:
    """Return what a test's cassette is called: no other test's is, and no file system refuses it."""
    function, bracket, parameters = test.partition("[")
    parameters = parameters.removesuffix("]")
    told = f"{function}-{parameters}" if bracket else function
    # A dot and a number would make it a part of another cassette.
    name = re.sub(r"[^\w-]+", "-", told).encode()[:MAX_NAME_BYTES].decode(errors="ignore")
    return name if name == told else f"{name.strip('-')}-{hashlib.sha256(test.encode()).hexdigest()[:8]}"


@pytest.fixture
def understudy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """OpenAI traffic of this test and of what it starts, answered from a cassette of its own.

    The cassette is ``cassettes/test_module/test_name.jsonl`` beside the test, of a test in a class in a folder of the
    class's name. In mode ``none`` a request that was not recorded fails the test, whatever the app made of the 409.
    """
    config, mode = request.config, mode_of(request.config)
    folder = request.path.parent / str(config.getini("understudy_cassettes")) / request.path.stem
    classes = [node.name for node in request.node.listchain() if isinstance(node, pytest.Class)]
    cassette = folder.joinpath(*classes, f"{file_name(request.node.name)}.jsonl")
    try:
        with running(programs_of(config), cassette, mode, config.rootpath) as started:
            request.node.stash[RUNNING] = started
            with monkeypatch.context() as patch:
                started.apply(patch)
                yield started
            started.passed = request.node.stash.get(PASSED, False)
        missed = started.missed
    except CannotStartError as error:
        pytest.fail(f"understudy: {error}", pytrace=False)
    if missed and mode == "none":
        pytest.fail(f"understudy: nothing recorded answers {', '.join(missed)}", pytrace=False)

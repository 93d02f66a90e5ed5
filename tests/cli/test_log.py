"""What the log looks like on a terminal, in a pipe and in a file, and that no secret is in any of them."""

import io
import logging
import os
import re
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
import typer

from cli.log import LOGGED, log, log_to_stderr

URL = "http://127.0.0.1:8082/a/page/whose/name/is/longer/than/the/terminal/is/wide"
TOKEN = "0123456789abcdef" * 8
LINE = re.compile(r"(\S+) (INFO|WARNING|DEBUG) (.*)")


class Terminal(io.StringIO):
    """A narrow terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _loggers_as_they_were() -> Iterator[None]:
    root = logging.getLogger()
    handlers, levels = root.handlers[:], {name: logging.getLogger(name).level for name in ("root", *LOGGED)}
    yield
    for handler in root.handlers[:]:
        if handler not in handlers:
            root.removeHandler(handler)
            handler.close()
    for handler in handlers:
        if handler not in root.handlers:
            root.addHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def test_on_a_terminal_a_line_has_the_time_of_day_and_is_folded_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "40")
    log_to_stderr("info")

    log.info("the page is at %s, [bold]open[/] it", URL)

    plain = re.sub(r"\x1b\[[\d;]*m", "", terminal.getvalue())
    assert re.fullmatch(rf"\d\d:\d\d:\d\d INFO +the page is at {re.escape(URL)}, \[bold\]open\[/\] it\n", plain)


def test_without_a_terminal_a_line_has_its_date_with_the_offset_from_utc_and_is_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    log_to_stderr("info")

    log.info("the page is at %s", URL)

    (line,) = capsys.readouterr().err.splitlines()
    match = LINE.fullmatch(line)
    assert match is not None
    assert datetime.fromisoformat(match[1]).utcoffset() is not None
    assert match[3] == f"the page is at {URL}"


def test_a_file_gets_what_is_logged_though_the_terminal_shows_only_warnings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "understudy.log"
    file.write_text("of an earlier run\n", "utf-8")
    log_to_stderr("warning", file=file, file_level="info")

    log.debug("one")
    log.info("two")
    log.warning("three: ü")

    shown = [line.split()[1:] for line in capsys.readouterr().err.splitlines()]
    written = [line.split()[1:] for line in file.read_text("utf-8").splitlines()]
    assert shown == [["WARNING", "three:", "ü"]]
    assert written == [["an", "earlier", "run"], ["INFO", "two"], shown[0]]


def test_no_secret_is_in_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "canary-in-a-variable")
    file = tmp_path / "understudy.log"
    log_to_stderr("info", file=file)

    log.info("keys: %s and sk-ant-canary-by-its-shape", "canary-in-a-variable")
    log.error("it failed", exc_info=ValueError("canary-in-a-variable"))

    for told in (capsys.readouterr().err, file.read_text("utf-8")):
        assert "ValueError: …" in told
        assert "canary" not in told


def test_a_token_in_a_url_is_masked_in_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "understudy.log"
    log_to_stderr("info", file=file)

    log.info("the page is at http://127.0.0.1:8082/?token=%s", TOKEN)

    assert TOKEN not in capsys.readouterr().err
    assert file.read_text("utf-8").endswith("the page is at http://127.0.0.1:8082/?token=…\n")


def test_a_log_file_that_cannot_be_opened_is_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "missing" / "understudy.log"

    with pytest.raises(typer.Exit) as ended:
        log_to_stderr("info", file=file)

    assert ended.value.exit_code == 2
    assert capsys.readouterr().err == f"understudy: the log file cannot be opened: {file}: No such file or directory\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk here that is always full")
def test_a_log_file_that_cannot_be_written_any_more_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr("warning", file=Path("/dev/full"), file_level="info")

    log.info("one")
    log.info("two")

    logging.getLogger().handlers[1].close()
    assert (
        capsys.readouterr().err
        == "understudy: the log file cannot be written any more: /dev/full: No space left on device\n"
    )


@pytest.mark.skipif(os.name != "posix", reason="an open file cannot be moved on Windows")
def test_a_log_file_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    file = tmp_path / "understudy.log"
    log_to_stderr("info", file=file)
    log.info("one")

    file.rename(tmp_path / "understudy.log.1")
    log.info("two")

    assert file.read_text("utf-8").endswith("INFO two\n")
    assert (tmp_path / "understudy.log.1").read_text("utf-8").endswith("INFO one\n")


def test_on_a_terminal_a_url_is_not_marked_together_with_what_follows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    log_to_stderr("info")

    log.info("see http://127.0.0.1:8080, please")

    assert "see http://127.0.0.1:8080, please" in terminal.getvalue()

"""`understudy --version`: which Understudy this is, and what it stands on."""

import importlib.metadata
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from auth.credentials.status import find_cli
from cli.app import app


def test_the_version_stands_alone_on_the_first_line() -> None:
    done = CliRunner().invoke(app, ["--version"])

    own, others = done.stdout.splitlines()
    assert done.exit_code == 0
    assert own == f"understudy {importlib.metadata.version('understudy')}"
    assert f"claude-agent-sdk {importlib.metadata.version('claude-agent-sdk')}, " in others
    assert f"mitmproxy {importlib.metadata.version('mitmproxy')}, Python 3." in others


def test_claude_codes_version_is_that_of_the_program_that_the_sdk_brings() -> None:
    done = CliRunner().invoke(app, ["--version", "--json"])

    # The program says so itself, in a file beside it; starting it takes long.
    beside = (Path(find_cli(None)).parents[1] / "_cli_version.py").read_text("utf-8")
    assert f'"{json.loads(done.stdout)["claude_code"]}"' in beside


@pytest.mark.parametrize("line", [["--json"], ["--json", "config"]])
def test_json_alone_is_refused(line: list[str]) -> None:
    done = CliRunner().invoke(app, line)

    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "understudy: --json can only be used after a command, or with --version.\n"

"""Which of the modules that take long to import each command imports."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CASSETTE = Path(__file__).parents[2] / "fixtures" / "exchanges" / "chat_streamed.jsonl"

SDK = {"claude_agent_sdk", "mcp", "httpx"}
PROXY = {"mitmproxy.master", "mitmproxy.addons"}
ALL = {*SDK, *PROXY, "mitmproxy", "sqlalchemy", "cryptography", "PIL", "rich", "psutil"}

FORBIDDEN: dict[str, set[str]] = {
    "--version": ALL,
    "addon-path": ALL,
    "--help": (ALL - {"rich"}) | {"settings", "cassettes", "re2"},
    f"show {CASSETTE}": ALL - {"rich"},
    f"diff {CASSETTE} {CASSETTE}": ALL - {"rich"},
    "config": ALL - {"rich"},
    "models": ALL - {"rich"},
    "auth status": ALL - {"rich"},
    "keys list": {*SDK, *PROXY, "mitmproxy", "PIL"},
    # mitmproxy's own functions read the authority.
    "ca path": {*SDK, *PROXY, "sqlalchemy", "PIL"},
    "env": {*SDK, *PROXY, "sqlalchemy", "PIL"},
    "rehearsal --help": {*SDK, *PROXY, "sqlalchemy", "PIL"},
    "run --help": SDK,
    "serve --help": SDK,
    f"run --replay {CASSETTE} -- true": SDK,
}
"""Command lines, and the modules that they must not import."""


@pytest.mark.parametrize(("line", "forbidden"), FORBIDDEN.items())
def test_a_command_imports_no_heavy_module_that_it_does_not_need(
    line: str, forbidden: set[str], tmp_path: Path
) -> None:
    own = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "UNDERSTUDY_DATA_DIR": str(tmp_path / "data")}
    environment = {"PATH": os.environ["PATH"], "CLAUDE_CONFIG_DIR": str(tmp_path / "claude"), **own}

    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "understudy", *line.split()],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    # 1: there are no credentials, or nothing differs from what is there; a mistake would be 2.
    assert done.returncode in (0, 1), done.stderr[-2000:]
    imported = {row.rpartition("|")[2].strip() for row in done.stderr.splitlines() if row.startswith("import time:")}
    assert "cli.app" in imported
    assert imported & forbidden == set()

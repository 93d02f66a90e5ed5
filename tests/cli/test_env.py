"""`understudy env`: a shell loads its lines, and `--unset` puts the shell back as it was."""

import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.app import app
from tests.end_to_end.understudy import UNDERSTUDY, clean_environment

SCRIPT = f"""
env -0 > before
eval "$({UNDERSTUDY} env --listen 127.0.0.1:8765)"
env -0 > loaded
eval "$({UNDERSTUDY} env --listen 127.0.0.1:8766)"
eval "$({UNDERSTUDY} env --unset)"
env -0 > after
"""


def variables(file: Path) -> dict[str, str]:
    pairs = (line.partition("=") for line in file.read_text("utf-8").split("\0") if line)
    return {name: value for name, _, value in pairs if name != "_"}


@pytest.mark.skipif(shutil.which("sh") is None, reason="there is no sh here")
def test_a_shell_that_loaded_it_is_put_back_as_it_was(tmp_path: Path) -> None:
    own = {"NO_PROXY": "internal.example, api.openai.com", "HTTPS_PROXY": "http://ann:pass@proxy.example:3128"}
    environment = clean_environment(tmp_path, **own)

    done = subprocess.run(["sh", "-eu", "-c", SCRIPT], env=environment, cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 0
    before, loaded, after = (variables(tmp_path / name) for name in ("before", "loaded", "after"))
    assert loaded["HTTPS_PROXY"] == "http://127.0.0.1:8765"
    assert after == before


def test_unset_without_a_loaded_env_prints_a_note() -> None:
    done = CliRunner().invoke(app, ["env", "--unset"])

    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "understudy: nothing to undo: this shell has not loaded `understudy env`.\n"


@pytest.mark.parametrize("line", [[], ["--unset"]])
def test_an_unknown_shell_is_one_line_and_status_2(line: list[str]) -> None:
    done = CliRunner().invoke(app, ["env", "--shell", "tcsh", *line])

    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith("understudy: there are no lines for the shell 'tcsh', only for sh,")


def test_env_says_if_nothing_listens_at_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        at = f"127.0.0.1:{server.getsockname()[1]}"
        listening = CliRunner().invoke(app, ["env", "--listen", at])
    alone = CliRunner().invoke(app, ["env", "--listen", at])

    told = f"nothing listens at {at} yet: start `understudy serve` in another shell\n"
    assert (listening.exit_code, alone.exit_code) == (0, 0)
    assert told not in listening.stderr
    assert alone.stderr.endswith(told)

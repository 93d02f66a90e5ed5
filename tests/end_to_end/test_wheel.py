"""Understudy as it is installed: the wheel, in an environment that has only what the wheel names."""

import os
import re
import shutil
import subprocess
import venv
from collections.abc import Sequence
from pathlib import Path

import pytest

from launch.python import programs_of
from tests.end_to_end.cloud import GUARD_S
from tests.end_to_end.understudy import APPS, ROOT, clean_environment

UV = os.environ.get("UV") or shutil.which("uv")

OUT_OF_REACH = re.compile(r"Failed to fetch|error sending request|dns error|command not found")
"""What is said when something is neither in uv's cache nor to be had, or when there is no uv."""

pytestmark = pytest.mark.slow


def uv(*arguments: str) -> None:
    """Run uv; skip the test when it cannot have what it needs. Its cache is asked before the network."""
    if UV is None:
        pytest.skip("uv is not installed")
    for offline in (["--offline"], []):
        done = subprocess.run([UV, *arguments, *offline], cwd=ROOT, capture_output=True, text=True, timeout=GUARD_S)
        if done.returncode == 0:
            return
    if OUT_OF_REACH.search(done.stderr):
        pytest.skip(f"uv cannot get what the wheel needs: {done.stderr.strip().splitlines()[-1]}")
    pytest.fail(done.stderr)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an environment's programs, in which the wheel is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    uv("build", "--quiet", "--wheel", "--out-dir", str(folder))
    (wheel,) = folder.glob("understudy-*.whl")
    environment = folder / "environment"
    venv.create(environment, symlinks=os.name != "nt")
    uv("pip", "install", "--quiet", "--python", str(environment), str(wheel))
    return programs_of(environment)


def run(command: Sequence[str | Path], home: Path) -> subprocess.CompletedProcess[str]:
    env = clean_environment(home, COLUMNS="118")
    return subprocess.run(command, cwd=home, env=env, capture_output=True, text=True, timeout=GUARD_S)


def test_the_demo_works_without_openais_client(installed: Path, home: Path) -> None:
    done = run([installed / "understudy", "demo"], home)

    assert (done.returncode, done.stderr) == (0, "")
    for words in (
        "OpenAI's client is not installed beside Understudy.",
        "import httpx",
        "This is a rehearsal: no model was asked. You said: “What is an understudy?”.",
        "the app asked https://api.openai.com",
        "data: [DONE]",
    ):
        assert words in done.stdout


def test_a_program_with_packages_of_its_own_is_answered(installed: Path, home: Path) -> None:
    home.mkdir()
    shutil.copy(APPS / "one_stream.py", home / "app.py")
    venv.create(home / ".venv", symlinks=os.name != "nt")
    uv("pip", "install", "--quiet", "--python", str(home / ".venv"), "openai")
    theirs = programs_of(home / ".venv") / "python"

    done = run([installed / "understudy", "run", "--rehearsal", "--summary", "--", theirs, "app.py"], home)

    assert done.returncode == 0, done.stderr
    assert "".join(done.stdout.splitlines()).startswith("This is a rehearsal: no model was asked.")
    assert done.stderr.splitlines()[-1].startswith("understudy: 1 request, ")

"""Understudy as it is installed: the wheel, in an environment that has only what the wheel names."""

import os
import re
import shutil
import subprocess
import venv
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from launch.python import programs_of
from tests.end_to_end.cloud import GUARD_S
from tests.end_to_end.test_serve import Mitmdump
from tests.end_to_end.understudy import APPS, ROOT, Started, clean_environment
from understudy.rooms import ROOMS

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
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built once for all tests."""
    folder = tmp_path_factory.mktemp("wheel")
    uv("build", "--quiet", "--wheel", "--out-dir", str(folder))
    (wheel,) = folder.glob("understudy-*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """The folder of an environment's programs, in which the wheel is installed."""
    environment = wheel.parent / "environment"
    venv.create(environment, symlinks=os.name != "nt")
    uv("pip", "install", "--quiet", "--python", str(environment), str(wheel))
    programs = programs_of(environment)
    # The first start compiles what it imports, and takes much longer than all others.
    command = [str(programs / "understudy"), "--version"]
    subprocess.run(command, env=clean_environment(wheel.parent / "home"), check=True, timeout=GUARD_S * 3)
    return programs


ASK = """
import base64, io, os, sys
import auth, settings, storage, store
import httpx
from PIL import Image

assert {auth.WHOSE, settings.WHOSE, storage.WHOSE, store.WHOSE} == {"theirs"}
picture = io.BytesIO()
Image.new("RGB", (2600, 20)).save(picture, "PNG")
url = "data:image/png;base64," + base64.b64encode(picture.getvalue()).decode()
content = [{"type": "text", "text": "Hello"}, {"type": "image_url", "image_url": {"url": url}}]
answer = httpx.post(
    "https://api.openai.com/v1/chat/completions",
    json={"model": "gpt-4o", "messages": [{"role": "user", "content": content}]},
    headers={"authorization": "Bearer sk-of-the-app"},
    timeout=60,
)
print(answer.status_code, answer.text)
"""
"""A program with modules of its own. Its image is wider than Claude takes, so a process of ours scales it down."""


@pytest.fixture
def project(home: Path) -> Path:
    """The home, with a program in it whose modules have names that rooms have too."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "settings.py").write_text("WHOSE = 'theirs'\n")
    for name in ("auth", "storage", "store"):
        (home / name).mkdir()
        (home / name / "__init__.py").write_text("WHOSE = 'theirs'\n")
    (home / "app.py").write_text(ASK)
    return home


def run(command: Sequence[str | Path], home: Path, **more: str) -> subprocess.CompletedProcess[str]:
    env = clean_environment(home, COLUMNS="118", **more)
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


def test_the_wheel_installs_one_name(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (record,) = (name for name in names if name.endswith(".dist-info/RECORD"))
        recorded = [line.split(",")[0] for line in archive.read(record).decode().splitlines()]

    assert {name.partition("/")[0] for name in recorded} == {"understudy", record.partition("/")[0]}
    assert {"understudy/py.typed", "understudy/_app/launch/node_proxy.cjs"} <= set(recorded)
    assert sorted(recorded) == sorted(names)


def test_a_program_beside_it_finds_none_of_its_modules(installed: Path, home: Path) -> None:
    code = f"import importlib.util as i, understudy; print([n for n in {sorted(ROOMS)} if i.find_spec(n)])"

    done = run([installed / "python", "-I", "-c", code], home)

    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize("command", [["understudy", "--help"], ["python", "-m", "understudy", "--help"]])
def test_the_command_starts_where_modules_have_the_names_of_ours(
    command: list[str], installed: Path, project: Path
) -> None:
    done = run([installed / command[0], *command[1:]], project, PYTHONPATH=".")

    assert (done.returncode, done.stderr) == (0, "")
    assert f"Usage: {' '.join(command[:-1])} [OPTIONS] COMMAND [ARGS]..." in done.stdout


def test_a_program_whose_modules_have_the_names_of_ours_is_answered(installed: Path, project: Path) -> None:
    command: list[str | Path] = [installed / "understudy", "run", "--rehearsal", "--", installed / "python", "app.py"]

    done = run(command, project, PYTHONPATH=".")

    assert done.stdout.startswith("200 "), done.stderr
    assert "You said: “Hello”." in done.stdout


def test_the_rehearsal_starts_where_modules_have_the_names_of_ours(installed: Path, project: Path) -> None:
    env = clean_environment(project, PYTHONPATH=".")

    with Started([str(installed / "understudy"), "rehearsal"], env) as rehearsal:
        url = rehearsal.out.wait_for(r"http://127\.0\.0\.1:\d+")[0]
        answer = httpx.post(
            f"{url}/v1/messages",
            json={"model": "claude-sonnet-4-5", "max_tokens": 99, "messages": [{"role": "user", "content": "Hello"}]},
            headers={"x-api-key": "dummy"},
            timeout=GUARD_S,
        )

    assert answer.status_code == 200, answer.text


def test_mitmdump_loads_the_script_of_the_wheel(installed: Path, project: Path) -> None:
    script = run([installed / "understudy", "addon-path"], project, PYTHONPATH=".").stdout.rstrip("\n")
    env = clean_environment(project, PYTHONPATH=".", PYTHONUNBUFFERED="1", UNDERSTUDY_REHEARSAL="1")
    command = [str(installed / "mitmdump"), "-s", script, "--listen-host", "127.0.0.1", "-p", "0"]

    with Mitmdump(command, env) as proxy:
        authority = str(project / ".mitmproxy" / "mitmproxy-ca-cert.pem")
        trust = {"HTTPS_PROXY": proxy.url, "SSL_CERT_FILE": authority}
        done = run([installed / "python", "app.py"], project, PYTHONPATH=".", **trust)

    assert done.stdout.startswith("200 "), done.stderr


def test_mitmdump_says_which_module_another_script_has_loaded_before(installed: Path, project: Path) -> None:
    script = run([installed / "understudy", "addon-path"], project).stdout.rstrip("\n")
    (project / "other.py").write_text("import settings\n")

    done = run([installed / "mitmdump", "-s", "other.py", "-s", script, "-p", "0"], project)

    assert done.returncode == 2
    assert done.stderr == (
        f"understudy: another module named 'settings' is loaded in this process: {project / 'settings.py'}. "
        "Understudy has a module with the same name and cannot run beside it.\n"
    )


def test_a_mitmdump_of_another_environment_is_told_so(installed: Path, home: Path) -> None:
    home.mkdir()
    venv.create(home / "other", symlinks=os.name != "nt")
    uv("pip", "install", "--quiet", "--python", str(home / "other"), "mitmproxy")
    script = run([installed / "understudy", "addon-path"], home).stdout.rstrip("\n")

    done = run([programs_of(home / "other") / "mitmdump", "-s", script, "-p", "0"], home)

    assert done.returncode == 2
    assert done.stderr == (
        f"understudy: mitmproxy runs in a Python environment without 'understudy': {home / 'other'}. "
        "Start the mitmproxy that is installed in the same environment as Understudy.\n"
    )


NEIGHBOUR = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "neighbour"
version = "1"
dependencies = ["editables"]

[tool.hatch.build]
include = ["auth", "settings.py"]
"""


@pytest.fixture(params=["in sys.path", "with a finder", "a wheel"])
def neighbour(
    request: pytest.FixtureRequest, installed: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Another project in the same environment that owns `auth` and `settings`, installed in several ways."""
    folder = tmp_path_factory.mktemp("neighbour")
    how = {"with a finder": "dev-mode-exact = true\n", "in sys.path": 'dev-mode-dirs = ["."]\n', "a wheel": ""}
    (folder / "pyproject.toml").write_text(f"{NEIGHBOUR}{how[request.param]}")
    (folder / "auth").mkdir()
    for module in (folder / "settings.py", folder / "auth" / "__init__.py"):
        module.write_text("WHOSE = 'theirs'\n")
    environment = ("--quiet", "--python", str(installed.parent))
    uv("pip", "install", *environment, *([] if request.param == "a wheel" else ["--editable"]), str(folder))
    yield
    uv("pip", "uninstall", *environment, "neighbour")


@pytest.mark.usefixtures("neighbour")
def test_another_project_with_modules_of_these_names_works_beside_it(installed: Path, home: Path) -> None:
    code = "import auth, settings; print(auth.WHOSE, settings.WHOSE)"
    own = run([installed / "python", "-c", code], home)
    command: list[str | Path] = [installed / "understudy", "run", "--rehearsal", "--", installed / "python", "-c", code]

    behind_ours = run(command, home)

    assert (own.stdout, own.stderr) == ("theirs theirs\n", "")
    assert (behind_ours.returncode, behind_ours.stdout) == (0, "theirs theirs\n"), behind_ours.stderr


def test_a_module_that_was_loaded_before_the_command_gives_way(installed: Path, project: Path) -> None:
    """A `.pth` file or sitecustomize may import anything at the start of Python."""
    (project / "sitecustomize.py").write_text("import auth, settings\n")

    done = run([installed / "understudy", "config", "retries"], project, PYTHONPATH=".")

    assert done.returncode == 0, done.stderr

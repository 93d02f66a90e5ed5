"""The plugin's own distribution: beside pytest alone, and beside the main one, which has the same plugin."""

import importlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.end_to_end.cloud import GUARD_S
from tests.end_to_end.understudy import ROOT, UNDERSTUDY, clean_environment

TEST = """
import importlib.util

def test_it(understudy, request):
    plugin = request.config.pluginmanager.get_plugin("understudy").__name__
    assert plugin.partition(".")[0] == type(understudy).__module__.partition(".")[0]
    assert understudy.answered == 0
    assert plugin in ("understudy.pytest_plugin", "pytest_understudy.pytest_plugin")
    both = all(map(importlib.util.find_spec, ("understudy", "pytest_understudy")))
    assert both == BOTH
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the distribution is installed, and nothing else."""
    folder = tmp_path_factory.mktemp("distribution")
    if (uv := shutil.which("uv")) is None:
        pytest.skip("uv is not installed")
    command = [
        uv,
        "build",
        "--quiet",
        "--wheel",
        "--out-dir",
        str(folder),
        str(ROOT / "packages" / "pytest-understudy"),
    ]
    for offline in (["--offline"], []):
        done = subprocess.run([*command, *offline], capture_output=True, text=True, timeout=GUARD_S)
        if done.returncode == 0:
            break
    else:
        pytest.skip(f"the wheel cannot be built here: {done.stderr.strip()}")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder / "site")
    return folder / "site"


def test_the_plugin_distribution_has_one_package_and_needs_only_pytest(site: Path) -> None:
    names = {path.name for path in site.iterdir()}
    (about,) = site.glob("*.dist-info/METADATA")

    assert names == {"pytest_understudy", about.parent.name}
    assert [line for line in about.read_text().split("\n") if line.startswith("Requires-Dist")] == [
        "Requires-Dist: pytest>=8"
    ]


@pytest.mark.parametrize("beside_the_main_one", [True, False])
def test_pytest_loads_one_plugin(site: Path, tmp_path: Path, beside_the_main_one: bool) -> None:
    (tmp_path / "test_app.py").write_text(TEST.replace("BOTH", str(beside_the_main_one)))
    path = [str(site)]
    options = []
    if not beside_the_main_one:
        # Without the folder of the environment there is no other distribution; pytest itself is named one by one.
        packages = tmp_path / "packages"
        packages.mkdir()
        for name in ("pytest", "_pytest", "pluggy", "iniconfig", "packaging", "pygments"):
            (packages / name).symlink_to(Path(importlib.import_module(name).__path__[0]))
        # A module of pytest's own.
        (packages / "py.py").symlink_to(Path(pytest.__path__[0]).parent / "py.py")
        path.append(str(packages))
        options = ["-S"]
    env = clean_environment(
        tmp_path / "home", PYTHONPATH=os.pathsep.join(path), PYTEST_UNDERSTUDY_COMMAND=UNDERSTUDY, CI=""
    )
    command = [sys.executable, *options, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=GUARD_S * 2)

    assert done.returncode == 0, done.stdout + done.stderr

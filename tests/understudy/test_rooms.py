"""Whose module a room's name means: ours where we ask for it, somebody else's elsewhere."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.test_tree import ARROWS, ROOT
from understudy.rooms import FOLDER, ROOMS

NEIGHBOUR = """
import importlib.abc, importlib.util, sys

class Neighbour(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname, path=None, target=None):
        if fullname in ("auth", "auth.keys", "settings"):
            return importlib.util.spec_from_loader(fullname, None, is_package=fullname == "auth")

sys.meta_path.insert(0, Neighbour())
"""
"""What an editable install does with a finder of its own, before anything else is imported."""


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a folder whose modules come first, with our own package behind them."""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([".", str(ROOT)])}
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with modules of two rooms' names."""
    (tmp_path / "settings.py").write_text("THEIRS = True\n")
    (tmp_path / "auth").mkdir()
    (tmp_path / "auth" / "__init__.py").write_text("THEIRS = True\n")
    return tmp_path


def test_the_rooms_are_those_of_the_tree_and_of_the_wheel() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    moved = {name.removesuffix(".py"): to for name, to in (wheel["sources"] | wheel["force-include"]).items()}

    assert set(ARROWS) - {"understudy", "understudy.__main__"} == ROOMS
    assert {name: Path(to).stem for name, to in moved.items()} == {name: name for name in ROOMS}
    assert {Path(to).parent.as_posix() for to in moved.values()} == {"understudy/_app"}
    assert {name.removesuffix("/**") for name in wheel["include"]} == {*wheel["sources"], "understudy"}


def test_they_come_before_what_is_found_first(folder: Path) -> None:
    done = run(
        f"{NEIGHBOUR}from understudy.rooms import use_rooms; use_rooms()\n"
        "import auth, auth.keys, settings; print(auth.__file__, auth.keys.__file__, settings.__file__, sep='\\n')",
        folder,
    )

    files = [FOLDER / "auth" / "__init__.py", FOLDER / "auth" / "keys" / "__init__.py", FOLDER / "settings.py"]
    assert done.stdout.splitlines() == [str(file) for file in files], done.stderr


def test_a_program_that_does_not_use_the_rooms_has_its_own_modules(folder: Path) -> None:
    done = run("import understudy.rooms, settings, auth; print(settings.THEIRS, auth.THEIRS)", folder)

    assert done.stdout == "True True\n", done.stderr


def test_in_our_own_process_they_take_the_place_of_what_was_imported_before(folder: Path) -> None:
    done = run(
        "import settings, auth\nfrom understudy.rooms import use_rooms; use_rooms(in_own_process=True)\n"
        "import settings, auth; print(settings.__file__, auth.__file__, sep='\\n')",
        folder,
    )

    files = [FOLDER / "settings.py", FOLDER / "auth" / "__init__.py"]
    assert done.stdout.splitlines() == [str(file) for file in files], done.stderr


def test_in_another_programs_process_what_was_imported_before_stays_and_is_named(folder: Path) -> None:
    done = run(
        "import settings\nfrom understudy.rooms import NameTakenError, use_rooms\n"
        "try:\n    use_rooms()\nexcept NameTakenError as error:\n    print(error)\n"
        "import settings; print(settings.THEIRS)",
        folder,
    )

    told, theirs = done.stdout.splitlines()
    assert told == f"another module named 'settings' is loaded in this process: {folder / 'settings.py'}"
    assert theirs == "True"


def test_asking_twice_adds_one_finder_and_what_is_ours_stays(folder: Path) -> None:
    done = run(
        "import sys\nfrom understudy.rooms import Rooms, use_rooms; use_rooms(); import settings; first = settings\n"
        "use_rooms(); use_rooms(in_own_process=True); import settings\n"
        "print(first is settings, sum(isinstance(one, Rooms) for one in sys.meta_path))",
        folder,
    )

    assert done.stdout == "True 1\n", done.stderr

"""A command whose program is one of Understudy's own environment. The environments are real, made without pip."""

import os
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from launch.python import advice, launcher, other_program, programs_of, quoted

PYTHON = "python.exe" if os.name == "nt" else "python"
UV = {"UV": "uv", "UV_RUN_RECURSION_DEPTH": "1"}


class Machine:
    """A folder with Understudy's checkout and its environment, an app beside it, and a Python of the system's."""

    def __init__(self, root: Path) -> None:
        self.checkout = root / "understudy"
        self.own = self.environment(self.checkout)
        self.app = root / "app"
        self.app.mkdir()
        (self.app / "app.py").touch()
        self.system = programs_of(self.environment(root / "system", ".system"))

    def environment(self, folder: Path, name: str = ".venv") -> Path:
        venv.create(folder / name, symlinks=os.name != "nt")
        return folder / name

    def path(self, *first: Path) -> str:
        return os.pathsep.join(map(str, [*first, self.system]))

    def other(
        self,
        command: Sequence[str] = ("python", "app.py"),
        cwd: Path | None = None,
        environ: Mapping[str, str] = UV,
        first: Sequence[Path] | None = None,
    ) -> Path | None:
        path = self.path(*(first if first is not None else [programs_of(self.own)]))
        return other_program(command, {"PATH": path, **environ}, cwd or self.app, self.own)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_an_environment_beside_the_app_is_the_one_that_was_meant(machine: Machine) -> None:
    theirs = machine.environment(machine.app)

    assert machine.other() == programs_of(theirs) / PYTHON


def test_an_environment_above_the_app_is_too(machine: Machine) -> None:
    theirs = machine.environment(machine.app)
    below = machine.app / "src" / "deep"
    below.mkdir(parents=True)

    assert machine.other(["python", "-m", "app"], cwd=below) == programs_of(theirs) / PYTHON


def test_the_environment_beside_the_script_comes_before_the_one_of_the_working_directory(machine: Machine) -> None:
    theirs = machine.environment(machine.app)

    found = machine.other(["python", "-u", str(machine.app / "app.py")], cwd=machine.checkout)

    assert found == programs_of(theirs) / PYTHON


def test_an_active_environment_comes_first(machine: Machine, tmp_path: Path) -> None:
    machine.environment(machine.app)
    active = machine.environment(tmp_path / "elsewhere", "env")

    assert machine.other(environ={"VIRTUAL_ENV": str(active)}) == programs_of(active) / PYTHON


def test_uv_run_sets_the_active_environment_to_understudys_own_which_tells_nothing(machine: Machine) -> None:
    theirs = machine.environment(machine.app)

    found = machine.other(environ={**UV, "VIRTUAL_ENV": str(machine.own)})

    assert found == programs_of(theirs) / PYTHON


def test_without_an_environment_near_the_rest_of_the_path_is_looked_through_where_uv_has_set_it(
    machine: Machine,
) -> None:
    assert machine.other() == machine.system / PYTHON
    assert machine.other(environ={}) is None


def test_an_apps_script_that_is_asked_for_from_the_checkout(machine: Machine) -> None:
    found = machine.other(["python", str(machine.app / "app.py")], cwd=machine.checkout)

    assert found == machine.system / PYTHON


def test_in_its_own_project_understudys_environment_is_the_right_one(machine: Machine) -> None:
    (machine.checkout / "example.py").touch()

    assert machine.other(["python", "example.py"], cwd=machine.checkout) is None
    assert machine.other(["python", "-c", ""], cwd=machine.checkout) is None
    assert machine.other(["python", str(machine.checkout / "example.py")], cwd=machine.app) is None


def test_a_python_that_comes_before_understudys_on_the_path_is_nobodys_concern(machine: Machine) -> None:
    theirs = machine.environment(machine.app)

    assert machine.other(first=[programs_of(theirs), programs_of(machine.own)]) is None
    assert machine.other(first=[]) is None


def test_a_program_that_is_named_by_its_path_is_meant(machine: Machine) -> None:
    machine.environment(machine.app)

    assert machine.other([str(programs_of(machine.own) / PYTHON), "app.py"]) is None


def test_a_program_that_the_other_environment_lacks_cannot_be_meant(machine: Machine) -> None:
    machine.environment(machine.app)
    flask = programs_of(machine.own) / ("flask.exe" if os.name == "nt" else "flask")
    flask.touch(mode=0o755)

    assert machine.other(["flask", "run"]) is None


@pytest.mark.parametrize("command", [["understudy", "show"], ["no-such-program"]])
def test_a_command_that_is_not_python_has_no_other_interpreter(command: list[str], machine: Machine) -> None:
    assert machine.other(command) is None


@pytest.mark.skipif(os.name == "nt", reason="the command is quoted for a POSIX shell")
def test_the_line_names_a_command_that_runs_the_other_python(machine: Machine) -> None:
    theirs = machine.environment(machine.app)
    (machine.app / "app.py").write_text("import sys; print(sys.prefix, sys.argv[1:])")
    environ = {"PATH": machine.path(programs_of(machine.own)), **UV}

    line = advice(["python", "app.py", "two words"], environ, machine.app, machine.own, ["--rehearsal"])

    assert line is not None
    assert line.startswith(f"python is the one of Understudy's own environment ({machine.own})")
    start = "uv run understudy run --rehearsal -- "
    shell = line[line.index(start) + len(start) :]
    done = subprocess.run(shell, shell=True, cwd=machine.app, capture_output=True, text=True, check=True)
    assert done.stdout == f"{theirs} ['two words']\n"


def test_without_another_interpreter_there_is_no_advice(machine: Machine) -> None:
    assert advice(["python"], {"PATH": machine.path()}, machine.app, machine.own) is None


def test_this_very_environment_is_recognized() -> None:
    own = Path(sys.prefix)
    environ = {"PATH": str(programs_of(own)), "VIRTUAL_ENV": str(own)}

    assert other_program(["python"], environ, own.parent, own) is None


@pytest.mark.parametrize(
    ("environ", "on_path", "started"),
    [
        (UV, True, "uv run understudy"),
        ({"UV": "uv"}, True, "uvx … understudy"),
        ({"UV": "uv"}, False, "understudy"),
        ({}, True, "understudy"),
    ],
    ids=["uv run", "uvx", "a tool that was installed, below uv", "an active environment"],
)
def test_how_it_was_started(environ: dict[str, str], on_path: bool, started: str, tmp_path: Path) -> None:
    path = str(programs_of(tmp_path)) if on_path else ""

    assert launcher({"PATH": path, **environ}, tmp_path) == started


def test_words_are_quoted_for_the_shell() -> None:
    assert quoted(["python", "a b"]) == ('python "a b"' if os.name == "nt" else "python 'a b'")

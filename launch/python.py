"""Detects that a command would run a program of Understudy's own environment, and finds the program that was meant.

``uv run understudy run -- python app.py`` and ``uvx`` put the environment in which Understudy is installed first on the
PATH. ``python`` is then the Python of that environment, where the packages that the app imports are missing. The same
is true of other programs that are installed there, such as pytest, flask and uvicorn.

A command that names its program by a path runs that program.
"""

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

VENV = ".venv"


def advice(
    command: Sequence[str], environ: Mapping[str, str], cwd: Path, own: Path, options: Sequence[str] = ()
) -> str | None:
    """Return one line of advice for the user, None if :func:`other_program` finds no other program.

    ``own`` is the environment that Understudy runs in (``sys.prefix``). ``options`` are the words between ``run`` and
    the command.
    """
    other = other_program(command, environ, cwd, own)
    if other is None:
        return None
    options = [*options, *([] if "--" in options else ["--"])]
    return (
        f"{command[0]} is the one of Understudy's own environment ({own}), which lacks the packages of yours."
        f" To use {other}: {launcher(environ, own)} run {quoted([*options, str(other), *command[1:]])}"
    )


def other_program(command: Sequence[str], environ: Mapping[str, str], cwd: Path, own: Path) -> Path | None:
    """Return the program that was probably meant, if a command would run a program of the environment ``own``.

    Search ``VIRTUAL_ENV``, then the nearest ``.venv`` beside or above the script, then the one beside or above the
    working directory. If uv has put ``own`` on the PATH, and the script is not part of the project of ``own``, also
    search the rest of the PATH. Return None if the command's program is not in ``own``, or if there is no other one.
    """
    name = command[0]
    path = environ.get("PATH", "")
    found = shutil.which(name, path=path)
    if Path(name).name != name or name == "understudy" or found is None or not _is_in(Path(found), own):
        return None
    place = _scripts_folder(command[1:], cwd) or cwd
    near = _nearest(place)
    if near is not None and _same(near, own):
        return None  # Understudy is installed in the app's own environment
    active = environ.get("VIRTUAL_ENV")
    for environment in (Path(active) if active else None, near, _nearest(cwd)):
        if environment is None or _same(environment, own):
            continue
        if other := shutil.which(name, path=str(programs_of(environment))):
            return Path(other)
    if "UV" not in environ or (own.name == VENV and place.resolve().is_relative_to(own.parent.resolve())):
        return None
    entries = [entry for entry in path.split(os.pathsep) if entry and not _same(Path(entry), programs_of(own))]
    other = shutil.which(name, path=os.pathsep.join(entries))
    return Path(other) if other else None


def near_program(command: Sequence[str], environ: Mapping[str, str], cwd: Path) -> tuple[Path, Path] | None:
    """Return the program that a command ran, and the program of the same name in the nearest ``.venv``.

    That is the nearest one beside or above the script, or ``cwd`` if there is no script. Return None if there is no
    other program, or if the command named its program by a path.
    """
    name = command[0]
    found = shutil.which(name, path=environ.get("PATH", ""))
    near = _nearest(_scripts_folder(command[1:], cwd) or cwd)
    if Path(name).name != name or found is None or near is None or _is_in(Path(found), near):
        return None
    other = shutil.which(name, path=str(programs_of(near)))
    return (Path(found), Path(other)) if other else None


def launcher(environ: Mapping[str, str], own: Path) -> str:
    """Return how this Understudy was started: ``uv run understudy``, ``uvx … understudy`` or ``understudy``."""
    if "UV_RUN_RECURSION_DEPTH" in environ:
        return "uv run understudy"
    entries = environ.get("PATH", "").split(os.pathsep)
    is_on_path = any(entry and _same(Path(entry), programs_of(own)) for entry in entries)
    # `uv tool install` puts only a link to the program on the PATH.
    return "uvx … understudy" if "UV" in environ and is_on_path else "understudy"


def quoted(words: Sequence[str]) -> str:
    """Return a command line, quoted for this system's shell."""
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def programs_of(environment: Path) -> Path:
    """Return the folder of an environment's programs."""
    return environment / ("Scripts" if os.name == "nt" else "bin")


def _nearest(place: Path) -> Path | None:
    """Return the ``.venv`` of a folder, or of the nearest parent that has one. None if there is none."""
    return next((folder / VENV for folder in (place, *place.parents) if (folder / VENV / "pyvenv.cfg").is_file()), None)


def _scripts_folder(arguments: Sequence[str], cwd: Path) -> Path | None:
    """Return the folder of the script that a command runs. The script is the first argument that is a file."""
    script = next((cwd / argument for argument in arguments if (cwd / argument).is_file()), None)
    return script.resolve().parent if script else None


def _is_in(program: Path, environment: Path) -> bool:
    # Compare the folders, not the programs: the Python of a virtual environment is often a link to another folder.
    return _same(program.parent, programs_of(environment))


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()

"""Makes the rooms importable: the packages and modules that the project consists of, such as ``api`` and ``settings``.

The wheel installs one name, ``understudy``. The rooms lie below it, in ``understudy/_app``. In a checkout they lie at
the repository's root. Other projects have modules of the same names. This is why it is done by a finder at the front of
``sys.meta_path``, and not by an entry in ``sys.path``:

- Nothing comes before it: no PYTHONPATH, no working directory, no module that another distribution installs, and no
  finder of an editable install. With ``sys.path`` the first entry wins, and programs and ``.pth`` files add entries.
- It resolves the rooms and nothing else. A folder in ``sys.path`` gives everything that lies in it: in a checkout also
  ``tests`` and ``docs``.
- It works in the process that asks for it. A program that has Understudy installed beside it finds its own modules, and
  so does a program that we start.

A module that was imported before the finder was there is not looked for again. In a process of ours the rooms take its
place. In mitmproxy's process it belongs to somebody else, who goes on to use it, so there we refuse to start.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

ROOMS = frozenset(
    {
        *("addons", "api", "auth", "cassettes", "cli", "conform", "engine", "launch", "rehearsal", "run_proxy"),
        *("settings", "storage", "translate"),
    }
)

_HERE = Path(__file__).resolve().parent
FOLDER = _HERE / "_app" if (_HERE / "_app").is_dir() else _HERE.parent
"""Where the rooms are."""


class NameTakenError(Exception):
    """Another module has a room's name. The message names both."""


class Rooms:
    """Finds the rooms in their folder, and what is in them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where a room or a module of one is; None for every other module."""
        if fullname in ROOMS:
            return PathFinder.find_spec(fullname, [str(FOLDER)], target)
        # An editable install's finder may know modules of its own below the same name.
        if fullname.partition(".")[0] in ROOMS:
            return PathFinder.find_spec(fullname, path, target)
        return None


def use_rooms(*, in_own_process: bool = False) -> None:
    """Make the rooms importable in this process.

    ``in_own_process``: nobody else uses this process, so a module that has a room's name is dropped. Otherwise such a
    module raises NameTakenError.
    """
    taken = [name for name, module in sys.modules.items() if name.partition(".")[0] in ROOMS and not _is_ours(module)]
    if taken and not in_own_process:
        name = min(taken).partition(".")[0]
        where = getattr(sys.modules.get(name), "__file__", None) or "built in"
        raise NameTakenError(f"another module named {name!r} is loaded in this process: {where}")
    for name in taken:
        del sys.modules[name]
    if not any(isinstance(finder, Rooms) for finder in sys.meta_path):
        sys.meta_path.insert(0, Rooms())


def _is_ours(module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).resolve().is_relative_to(FOLDER)

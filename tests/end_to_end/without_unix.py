"""Runs an Understudy command as on a system that has nothing of Unix's own: a stand-in for Windows.

``python without_unix.py ARGUMENTS...`` is ``understudy ARGUMENTS...`` with these differences. The signals that Windows
lacks are gone, and event loops take no signal handlers. The project's own modules see ``os.name == "nt"``, find none of
Unix's functions in ``os``, and cannot import Unix's modules. File locks are msvcrt's. Libraries still see the real
system, which they need.
"""

import asyncio
import builtins
import fcntl
import os
import signal
import sys
import types
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MODULES = {"fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty"}
SIGNALS = {
    *("SIGALRM", "SIGCHLD", "SIGCONT", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGSTOP", "SIGTSTP"),
    *("SIGUSR1", "SIGUSR2", "SIGWINCH"),
}
FUNCTIONS = {
    *("O_CLOEXEC", "O_DIRECTORY", "O_NOCTTY", "O_NOFOLLOW", "O_NONBLOCK", "PRIO_PROCESS", "WNOHANG", "chown", "chroot"),
    *("ctermid", "fchmod", "fchown", "fork", "forkpty", "getegid", "geteuid", "getgid", "getgroups", "getloadavg"),
    *("getpgid", "getpgrp", "getpriority", "getsid", "getuid", "killpg", "mkfifo", "mknod", "nice", "openpty"),
    *("pidfd_open", "posix_fadvise", "posix_fallocate", "posix_spawn", "sched_getaffinity", "setpgid", "setpriority"),
    *("setsid", "sysconf", "tcgetpgrp", "tcsetpgrp", "ttyname", "uname", "wait3", "wait4"),
}


class Without(types.ModuleType):
    """A module less some of its names."""

    def __init__(self, module: types.ModuleType, names: set[str], **other: Any) -> None:
        super().__init__(module.__name__)
        self.__dict__.update(other)
        self._module, self._names = module, names

    def __getattr__(self, name: str) -> Any:
        if name in self._names:
            raise AttributeError(f"module {self._module.__name__!r} has no attribute {name!r}")
        return getattr(self._module, name)


STANDINS = {"os": Without(os, FUNCTIONS, name="nt"), "signal": Without(signal, SIGNALS)}


def is_ours(file: str | None) -> bool:
    """Whether a file is the project's own."""
    return bool(file) and Path(str(file)).is_relative_to(ROOT) and ".venv" not in str(file)


def without_unix() -> None:
    """Take Unix away from the project's modules, and from all that they have in common with Windows' asyncio."""
    real = builtins.__import__

    def importing(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        ours = is_ours((globals or {}).get("__file__")) and (globals or {}).get("__name__") != "__main__"
        if ours and name in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        if ours and name in STANDINS and not fromlist:
            return STANDINS[name]
        return real(name, globals, locals, fromlist, level)

    builtins.__import__ = importing

    def refuse(*_: Any) -> None:
        raise NotImplementedError

    for loop in (asyncio.BaseEventLoop, asyncio.SelectorEventLoop):
        for name in ("add_signal_handler", "remove_signal_handler"):
            setattr(loop, name, refuse)


def lock_as_windows_does() -> None:
    """Import the module of locks as on Windows, with msvcrt's locks made of this system's."""
    msvcrt = types.ModuleType("msvcrt")
    ways = {1: fcntl.LOCK_EX, 2: fcntl.LOCK_EX | fcntl.LOCK_NB, 0: fcntl.LOCK_UN}

    def locking(descriptor: int, way: int, size: int) -> None:
        fcntl.flock(descriptor, ways[way])

    msvcrt.__dict__.update(LK_UNLCK=0, LK_LOCK=1, LK_NBLCK=2, locking=locking)
    sys.modules["msvcrt"] = msvcrt
    platform = sys.platform
    sys.platform = "win32"
    try:
        import cassettes.locking  # noqa: F401
    finally:
        sys.platform = platform


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.argv[0] = "understudy"
    without_unix()
    lock_as_windows_does()
    from understudy.__main__ import main

    main()

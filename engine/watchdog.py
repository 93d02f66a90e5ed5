"""Sees to it that no Claude Code process outlives us, however we end.

A program that is killed with SIGKILL cleans nothing up. An idle `claude` notices that its standard input has closed and
ends; one in the middle of a turn does not until the API's stream moves. So one small shell reads the ids of our
processes from a pipe that only we hold: when the pipe ends, so have we, and it ends what is left on its list. It asks
first, because only then does a `claude` end the commands that it runs, and kills what has not heeded that.
"""

import asyncio
import contextlib
import os
from asyncio.subprocess import DEVNULL, PIPE, Process
from typing import Self

# POSIX sh. `:` keeps the list in positional parameters; a line is "+ID" or "-ID".
SCRIPT = """
set --
while read -r line; do
    id=${line#?}
    case $line in
        +*) set -- "$@" "$id" ;;
        -*) n=$#; while [ "$n" -gt 0 ]; do [ "$1" = "$id" ] || set -- "$@" "$1"; shift; n=$((n - 1)); done ;;
    esac
done
[ $# -eq 0 ] && exit
kill "$@" 2>/dev/null
sleep 1
kill -9 "$@" 2>/dev/null
"""


class Watchdog:
    """The shell, while the block runs. Where there is none it does nothing, and says so by ``active``."""

    def __init__(self) -> None:
        self._process: Process | None = None

    @property
    def active(self) -> bool:
        """Whether somebody watches."""
        return self._process is not None and self._process.returncode is None

    async def __aenter__(self) -> Self:
        if os.name == "posix":
            with contextlib.suppress(OSError):
                # In a session of its own: Ctrl-C in the terminal is for us, and the list must outlive us.
                self._process = await asyncio.create_subprocess_exec(
                    "/bin/sh", "-c", SCRIPT, stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True, env={}
                )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            await self._process.wait()

    def watch(self, pid: int) -> None:
        """Put a process on the list."""
        self._tell(f"+{pid}\n")

    def forget(self, pid: int) -> None:
        """Take a process off the list, once it is gone: its id may become another program's."""
        self._tell(f"-{pid}\n")

    def _tell(self, line: str) -> None:
        if self.active and self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(ConnectionError, RuntimeError):
                self._process.stdin.write(line.encode())

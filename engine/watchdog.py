"""Ends the Claude Code processes when the proxy itself has ended, in whatever way.

A program that is killed with SIGKILL cannot clean up. An idle `claude` ends when its standard input is closed. But a
`claude` in a turn goes on until the next data of the API's stream. So a small shell reads the ids of the processes from
a pipe that only the proxy holds. When the pipe ends, the proxy has ended, and the shell ends the processes on its list.
It sends SIGTERM first, because only then does `claude` end the commands that it runs, and SIGKILL after a second.
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
    """Runs the shell while the block runs. On a system without a shell it does nothing, and ``active`` is false."""

    def __init__(self) -> None:
        self._process: Process | None = None

    @property
    def active(self) -> bool:
        """Whether the shell runs."""
        return self._process is not None and self._process.returncode is None

    async def __aenter__(self) -> Self:
        if os.name == "posix":
            with contextlib.suppress(OSError):
                # In a session of its own, so that Ctrl-C in the terminal does not end the shell before its work is
                # done.
                self._process = await asyncio.create_subprocess_exec(
                    "/bin/sh", "-c", SCRIPT, stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True, env={}
                )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            await self._process.wait()

    def watch(self, pid: int) -> None:
        """Add a process to the list."""
        self._tell(f"+{pid}\n")

    def forget(self, pid: int) -> None:
        """Remove a process from the list after its end, because another program may get its id."""
        self._tell(f"-{pid}\n")

    def _tell(self, line: str) -> None:
        if self.active and self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(ConnectionError, RuntimeError):
                self._process.stdin.write(line.encode())

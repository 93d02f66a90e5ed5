"""Runs the user's command on the terminal, and returns its exit status as a shell would.

The command stays in our process group. Only the terminal's foreground group may read from the terminal, and a group of
its own would need job control: handing the terminal over and taking it back. So:

- Ctrl-C and Ctrl-\\ reach the command from the terminal, as they reach us. We ignore them and wait; the command decides
  how it ends. If we are not in the terminal's foreground group, an interrupt came from a ``kill`` to us alone. Then we
  send it to the command.
- SIGTERM and SIGHUP are sent to the command. After SIGTERM it has ``grace_s`` seconds, then it is killed. After SIGHUP
  it is not killed: many programs read their configuration again at that signal.
- Only the command itself is killed, never its process group, because that is ours too. Processes that it leaves in the
  background keep running, as they would without us.
- A signal that was ignored when we were started (``nohup``, a script's background job) stays ignored for both.
"""

import asyncio
import errno
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from launch.signals import known, listening

NOT_FOUND = 127  # a shell's exit statuses for a command that cannot be started
NOT_EXECUTABLE = 126
GRACE_S = 10.0  # what Docker gives between SIGTERM and SIGKILL

FROM_TERMINAL = ("SIGINT", "SIGQUIT", "SIGBREAK")  # by name, because no system has all of them
HANDED_ON = ("SIGTERM", "SIGHUP")


def _to_stderr(message: str) -> None:
    print(message, file=sys.stderr)


async def run_command(
    command: Sequence[str],
    env: Mapping[str, str],
    *,
    grace_s: float = GRACE_S,
    report: Callable[[str], None] = _to_stderr,
) -> int:
    """Run a command to its end and return its exit status.

    The status is the command's own, 128 + N if signal N killed it, 127 if there is no such command, and 126 if it
    cannot be executed; for the last two ``report`` is given one line. The command is looked for on the PATH in ``env``.
    When this is cancelled, the command is asked to end, killed after ``grace_s`` seconds, and waited for.
    Signals are handed on only from the main thread, where Python receives them.
    """
    if not command:
        raise ValueError("there is no command to run")
    child = _Child(grace_s)
    with _signals_go_to(child.receive):
        try:
            process = await _start(command, env)
        except (OSError, ValueError) as error:
            status, reason = _why_not_started(command[0], error)
            report(f"understudy: {command[0] or "''"}: {reason}")
            return status
        return await child.see_to_its_end(process)


async def _start(command: Sequence[str], env: Mapping[str, str]) -> asyncio.subprocess.Process:
    """Start a command. A text file without a ``#!`` line is run by ``/bin/sh``, as `execvp` does.

    Windows would start only ``.exe`` files by name, and would search our own PATH. Some commands, such as `npm`, are
    scripts there. So the command is first looked up on the PATH in ``env``.
    """
    if os.name != "posix":
        found = shutil.which(command[0], path=env.get("PATH"))
        return await asyncio.create_subprocess_exec(found or command[0], *command[1:], env=dict(env))
    try:
        return await asyncio.create_subprocess_exec(*command, env=dict(env))
    except OSError as error:
        script = shutil.which(command[0], path=env.get("PATH")) if error.errno == errno.ENOEXEC else None
        if script is None or not await asyncio.to_thread(_is_text, script):
            raise
        return await asyncio.create_subprocess_exec("/bin/sh", script, *command[1:], env=dict(env))


def _is_text(path: str) -> bool:
    with open(path, "rb") as file:  # noqa: PTH123
        return b"\0" not in file.read(256)


class _Child:
    """The running command, and what each signal to us does to it."""

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._process: asyncio.subprocess.Process | None = None
        self._early: list[int] = []  # signals that came while the command was being started
        self._deadline: asyncio.TimerHandle | None = None

    async def see_to_its_end(self, process: asyncio.subprocess.Process) -> int:
        """Wait until the process has ended and been reaped, even if this call is cancelled several times."""
        self._process = process
        for number in self._early:
            self.receive(number)
        waiting = asyncio.create_task(process.wait(), name=f"wait for {process.pid}")
        cancelled: asyncio.CancelledError | None = None
        while not waiting.done():
            try:
                await asyncio.shield(waiting)
            except asyncio.CancelledError as error:
                cancelled = error
                self._end(process)
        if self._deadline:
            self._deadline.cancel()
        if cancelled:
            raise cancelled
        status = waiting.result()
        return 128 - status if status < 0 else status

    def receive(self, number: int) -> None:
        """Send a signal on to the command, unless the terminal has sent it there already."""
        if self._process is None:
            self._early.append(number)
        elif number == signal.SIGTERM:
            self._end(self._process)
        elif signal.Signals(number).name in HANDED_ON or not _is_in_terminal_foreground():
            _send(self._process, number)

    def _end(self, process: asyncio.subprocess.Process) -> None:
        _send(process, signal.SIGTERM)
        if self._deadline is None:
            kill = signal.SIGKILL if os.name == "posix" else signal.SIGTERM  # Windows ends a process at either
            self._deadline = asyncio.get_running_loop().call_later(self._grace_s, _send, process, kill)


def _send(process: asyncio.subprocess.Process, number: int) -> None:
    # The process may have ended meanwhile. Windows has only a few of the signals.
    with suppress(ProcessLookupError, ValueError):
        process.send_signal(number)


def _is_in_terminal_foreground() -> bool:
    """Whether Ctrl-C at our terminal signals us, and so also the command in the same process group."""
    if os.name != "posix":
        return True  # a Windows console sends Ctrl-C to all its processes
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False  # we have no controlling terminal
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


@contextmanager
def _signals_go_to(receive: Callable[[int], None]) -> Iterator[None]:
    """Call ``receive`` for each signal in the running loop, and restore the earlier handlers at the end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with listening(asyncio.get_running_loop(), known((*FROM_TERMINAL, *HANDED_ON)), receive):
        yield


def _why_not_started(name: str, error: OSError | ValueError) -> tuple[int, str]:
    match error:
        case FileNotFoundError() if os.path.dirname(name) and os.path.exists(name):  # noqa: PTH110, PTH120 - a word, not yet a path
            return NOT_FOUND, "the interpreter that its first line names was not found"
        case FileNotFoundError():
            return NOT_FOUND, "command not found"
        case OSError() if not name:  # with an empty name, each folder of PATH was tried as a program
            return NOT_FOUND, "command not found"
        case OSError():
            return NOT_EXECUTABLE, (error.strerror or str(error)).lower()
        case _:
            return NOT_EXECUTABLE, str(error)

"""The process ends as an interpreter would end it, as far as others can see."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def left(code: str) -> "subprocess.CompletedProcess[str]":
    """Run Python code in a process of its own, in which :func:`cli.leave.leave` can be imported."""
    command = [sys.executable, "-c", f"from cli.leave import leave\n{code}"]
    # PYTHONUNBUFFERED would write at once what is to be left to the end.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("code", "status"), [("None", 0), ("0", 0), ("3", 3), ("130", 130), ("-1", 255)])
def test_the_status_is_that_of_the_exception(code: str, status: int) -> None:
    assert left(f"leave(SystemExit({code}))\nprint('went on')").returncode == status


def test_leave_flushes_stdout_and_runs_atexit_functions() -> None:
    done = left("import atexit\natexit.register(print, 'registered')\nprint('printed')\nleave(SystemExit(0))")

    assert done.stdout == "printed\nregistered\n"


def test_a_thread_that_is_no_daemon_is_waited_for() -> None:
    done = left(
        "import threading\ngo = threading.Event()\n"
        "def work():\n    go.wait()\n    print('worked')\n"
        "threading.Thread(target=work).start()\n"
        "threading.Timer(0.2, go.set).start()\nleave(SystemExit(0))"
    )

    assert (done.returncode, done.stdout) == (0, "worked\n")


def test_an_executor_that_nobody_shut_down_keeps_nobody_waiting() -> None:
    done = left(
        "from concurrent.futures import ThreadPoolExecutor\nexecutor = ThreadPoolExecutor(1)\n"
        "executor.submit(print, 'worked').result()\nleave(SystemExit(4))"
    )

    assert (done.returncode, done.stdout) == (4, "worked\n")


def test_nothing_else_is_taken_apart() -> None:
    done = left(
        "class Last:\n    def __del__(self):\n        print('taken apart')\nlast = Last()\nleave(SystemExit(0))"
    )

    assert done.stdout == ""


def test_a_message_is_left_to_the_interpreter() -> None:
    done = left("leave(SystemExit('a message'))\nprint('went on')")

    assert done.stdout == "went on\n"


def test_an_output_that_cannot_be_written_is_left_to_the_interpreter() -> None:
    done = left(
        "import os, sys\nread, write = os.pipe()\nos.close(read)\nos.dup2(write, 1)\nprint('lost')\n"
        "leave(SystemExit(0))\nprint('went on', file=sys.stderr)"
    )

    assert done.returncode == 120
    assert done.stderr.startswith("went on\n")

import asyncio
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from launch.child import run_command

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and terminals here are POSIX's")

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {"PATH": os.environ["PATH"]}

# Says when it is ready, and then what it is told.
LISTENER = """
import signal, sys
def told(number, frame):
    print(signal.Signals(number).name, flush=True)
    if number != signal.SIGHUP: sys.exit(7)
for name in sys.argv[1:]: signal.signal(getattr(signal, name), told)
print('ready', flush=True)
while True: signal.pause()
"""
STUBBORN = """
import signal
signal.signal(signal.SIGTERM, lambda *_: print('SIGTERM', flush=True))
print('ready', flush=True)
while True: signal.pause()
"""


def run(*command: str) -> tuple[int, list[str]]:
    said: list[str] = []
    return asyncio.run(run_command(command, ENVIRONMENT, report=said.append)), said


def launcher(*command: str, grace_s: float = 30) -> list[str]:
    """A program that is nothing but run_command."""
    code = (
        "import asyncio, os, sys; from launch.child import run_command; "
        f"sys.exit(asyncio.run(run_command(sys.argv[1:], os.environ, grace_s={grace_s})))"
    )
    return [sys.executable, "-c", code, *command]


def start(*command: str, grace_s: float = 30, new_terminal: bool = True) -> subprocess.Popen[str]:
    return subprocess.Popen(
        launcher(*command, grace_s=grace_s), cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=new_terminal
    )


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("status", [0, 3, 255])
def test_the_commands_status_is_ours(status: int) -> None:
    assert run("sh", "-c", f"exit {status}") == (status, [])


def test_a_command_killed_by_a_signal_gives_128_and_the_signal() -> None:
    assert run("sh", "-c", "kill -KILL $$") == (137, [])


def test_a_command_that_is_not_there_gives_127() -> None:
    assert run("no-such-program") == (127, ["understudy: no-such-program: command not found"])
    assert run("") == (127, ["understudy: '': command not found"])


def test_where_only_programs_start_by_their_bare_names_a_script_is_looked_up_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, where `npm` is a script."""
    (script := tmp_path / "only-here").write_text("#!/bin/sh\nexit 5\n")
    script.chmod(0o755)
    monkeypatch.setattr("launch.child.os.name", "nt")
    started: list[str] = []
    real = asyncio.create_subprocess_exec

    async def start(program: str, *arguments: str, **options: object) -> asyncio.subprocess.Process:
        started.append(program)
        return await real(program, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("launch.child.asyncio.create_subprocess_exec", start)
    monkeypatch.setattr("launch.child.shutil.which", lambda name, path: f"{path}/{name}")

    status = asyncio.run(run_command(["only-here"], {"PATH": str(tmp_path)}))

    assert (status, started) == (5, [str(script)])


def test_the_command_is_looked_for_on_the_path_it_is_given(tmp_path: Path) -> None:
    (program := tmp_path / "only-here").write_text("#!/bin/sh\nexit 5\n")
    program.chmod(0o755)

    assert asyncio.run(run_command(["only-here"], {"PATH": str(tmp_path)})) == 5


def test_a_file_that_is_not_executable_gives_126(tmp_path: Path) -> None:
    (script := tmp_path / "script").write_text("#!/bin/sh\n")

    assert run(str(script)) == (126, [f"understudy: {script}: permission denied"])


def test_a_script_whose_interpreter_is_missing_gives_127_and_says_so(tmp_path: Path) -> None:
    (script := tmp_path / "script").write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)

    status, said = run(str(script))

    assert (status, said) == (127, [f"understudy: {script}: the interpreter that its first line names was not found"])


@pytest.mark.skipif(os.name != "posix", reason="there is no such shell")
def test_a_script_that_names_no_interpreter_is_the_shells(tmp_path: Path) -> None:
    (script := tmp_path / "script").write_text('exit "$1"\n')
    script.chmod(0o755)

    assert run(str(script), "7") == (7, [])


def test_a_file_that_is_not_executable_code_gives_126(tmp_path: Path) -> None:
    (garbage := tmp_path / "garbage").write_bytes(b"\x7fELF\0\0\0\0")
    garbage.chmod(0o755)

    assert run(str(garbage)) == (126, [f"understudy: {garbage}: exec format error"])


def test_a_name_with_a_nul_gives_126() -> None:
    assert run("a\0b")[0] == 126


def test_no_command_is_a_mistake_of_the_callers() -> None:
    with pytest.raises(ValueError, match="no command"):
        run()


def test_without_a_listener_the_message_goes_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    asyncio.run(run_command(["no-such-program"], ENVIRONMENT))

    assert capfd.readouterr().err == "understudy: no-such-program: command not found\n"


def test_stdin_stdout_and_stderr_are_the_commands() -> None:
    result = subprocess.run(
        launcher("sh", "-c", "cat; echo error >&2"), cwd=ROOT, input="typed", capture_output=True, text=True
    )

    assert (result.stdout, result.stderr) == ("typed", "error\n")


def test_sigterm_is_handed_on_and_the_commands_answer_is_ours() -> None:
    with start(sys.executable, "-c", LISTENER, "SIGTERM") as process:
        heard = [line(process)]
        process.send_signal(signal.SIGTERM)
        heard.append(line(process))

    assert (heard, process.returncode) == (["ready", "SIGTERM"], 7)


def test_sighup_is_handed_on_and_the_command_may_live_with_it() -> None:
    with start(sys.executable, "-c", LISTENER, "SIGHUP", "SIGTERM") as process:
        heard = [line(process)]
        for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM):
            process.send_signal(number)
            heard.append(line(process))

    assert (heard, process.returncode) == (["ready", "SIGHUP", "SIGHUP", "SIGTERM"], 7)


def test_a_command_that_does_not_heed_sigterm_is_killed_after_the_grace() -> None:
    with start(sys.executable, "-c", STUBBORN, grace_s=0.05) as process:
        heard = [line(process)]
        process.send_signal(signal.SIGTERM)
        heard.append(line(process))

    assert (heard, process.returncode) == (["ready", "SIGTERM"], 128 + signal.SIGKILL)


def test_an_interrupt_that_no_terminal_sent_is_handed_on() -> None:
    with start(sys.executable, "-c", LISTENER, "SIGINT") as process:
        heard = [line(process)]
        process.send_signal(signal.SIGINT)
        heard.append(line(process))

    assert (heard, process.returncode) == (["ready", "SIGINT"], 7)


def test_a_signal_that_we_were_started_to_ignore_is_ignored_by_the_command_too() -> None:
    ask = "import signal; print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)"
    ignoring = (
        "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    )

    result = subprocess.run(
        [sys.executable, "-c", ignoring, *launcher(sys.executable, "-c", ask)], cwd=ROOT, capture_output=True, text=True
    )

    assert result.stdout == "True\n"


TYPED_AT = """
import signal, sys
count = 0
def told(number, frame):
    global count
    count += 1
    print('SIGINT', count, flush=True)
    if count == 2: sys.exit(9)
signal.signal(signal.SIGINT, told)
print('ready', input(), flush=True)
while True: signal.pause()
"""


def read_until(terminal: int, wanted: bytes) -> bytes:
    seen = b""
    while wanted not in seen:
        seen += os.read(terminal, 1024)
    return seen


def test_on_a_terminal_the_command_reads_what_is_typed_and_each_ctrl_c_reaches_it_once() -> None:
    # The launcher becomes the first process of a session that the terminal controls, as a shell's would be.
    controlled = (
        "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    )
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", controlled, *launcher(sys.executable, "-c", TYPED_AT)],
        cwd=ROOT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    try:
        os.write(ours, b"hello\n")
        read_until(ours, b"ready hello")
        os.write(ours, b"\x03")
        read_until(ours, b"SIGINT 1")
        os.write(ours, b"\x03")
        read_until(ours, b"SIGINT 2")
        status = process.wait(30)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)

    assert status == 9


def test_a_cancelled_run_ends_the_command_and_reaps_it(tmp_path: Path) -> None:
    # The command writes into a named pipe when it is up; opening the pipe waits for it.
    os.mkfifo(pipe := tmp_path / "ready")
    stubborn = STUBBORN.replace(
        "print('ready', flush=True)", f"open({str(pipe)!r}, 'w').write(str(__import__('os').getpid()))"
    )

    async def cancel() -> int:
        running = asyncio.create_task(run_command([sys.executable, "-c", stubborn], ENVIRONMENT, grace_s=0.05))
        process_id = int(await asyncio.to_thread(pipe.read_text))
        for _ in range(2):
            running.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await running
        return process_id

    process_id = asyncio.run(cancel())

    with pytest.raises(ProcessLookupError):
        os.kill(process_id, 0)


def test_the_earlier_signal_handlers_are_put_back() -> None:
    async def handlers() -> tuple[object, object]:
        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        await run_command(["true"], ENVIRONMENT)
        return before, [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    before, after = asyncio.run(handlers())

    assert after == before

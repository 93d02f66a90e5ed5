"""What `understudy run` itself writes on a terminal: while it starts, and at the end. Elsewhere it writes nothing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from launch.python import quoted
from rehearsal import Reply
from tests.end_to_end.cloud import GUARD_S, Cloud
from tests.end_to_end.understudy import APPS, UNDERSTUDY, clean_environment, run

pytestmark = pytest.mark.skipif(os.name != "posix", reason="there are no pseudo-terminals here")

STARTING = "understudy: starting ..."
USAGE = {"input_tokens": 1000, "cache_read_input_tokens": 3000, "cache_creation_input_tokens": 0}


def on_a_terminal(command: list[str], env: dict[str, str], *options: str) -> tuple[int, str, str]:
    """Run ``understudy run`` with a terminal for its stderr; return status, stdout and what the terminal got."""
    ours, theirs = os.openpty()
    try:
        process = subprocess.Popen(
            [UNDERSTUDY, "run", *options, "--", *command],
            env=env | {"TERM": "dumb"},
            cwd=env["HOME"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=theirs,
        )
    finally:
        os.close(theirs)
    written = b""
    try:
        while data := os.read(ours, 4096):
            written += data
    except OSError:  # Linux says so when nobody holds the terminal any more
        pass
    finally:
        os.close(ours)
    out, _ = process.communicate(timeout=GUARD_S)
    return process.returncode, out.decode(), written.decode().replace("\r\n", "\n")


def test_run_shows_a_starting_line_and_a_summary(cloud: Cloud, home: Path) -> None:
    cloud.script(Reply(text="Aye.", usage=USAGE), Reply(text="This is a test.", usage=USAGE))
    env = clean_environment(home, cloud.base_url)

    status, _, terminal = on_a_terminal([sys.executable, str(APPS / "synchronous.py")], env, "--record", "chat.jsonl")

    shown, _, rest = terminal.partition(STARTING)
    assert (status, shown.strip()) == (0, "")
    assert rest.startswith(f"\r{' ' * len(STARTING)}\r")
    assert re.fullmatch(
        r"understudy: 2 requests, 8,000 tokens in \(75 % cached\), \d+ out, \$0\.00\d+, gpt-4o → sonnet 2,"
        r" recorded in chat\.jsonl",
        rest.splitlines()[-1],
    ), terminal


def test_failed_requests_are_counted(cloud: Cloud, home: Path) -> None:
    body = '{"model": "gpt-4o", "messages": []}'
    app = f"import httpx; httpx.post('https://api.openai.com/v1/chat/completions', content={body!r})"

    status, _, terminal = on_a_terminal([sys.executable, "-c", app], clean_environment(home, cloud.base_url))

    assert (status, terminal.split("\r")[-1]) == (0, "understudy: 1 request (1 failed)\n")


def test_without_any_request_run_says_what_to_do(cloud: Cloud, home: Path) -> None:
    status, _, terminal = on_a_terminal(["sh", "-c", "exit 3"], clean_environment(home, cloud.base_url))

    told = "understudy: no request came through the proxy. To see why: understudy doctor -- sh -c 'exit 3'\n"
    assert (status, terminal.split("\r")[-1]) == (3, told)


def test_answers_from_a_cassette_are_counted_as_such(cloud: Cloud, home: Path) -> None:
    cloud.script(Reply(text="Aye.", usage=USAGE), Reply(text="This is a test.", usage=USAGE))
    env, app = clean_environment(home, cloud.base_url), [sys.executable, str(APPS / "synchronous.py")]
    assert run(app, env, "--record", "chat.jsonl").returncode == 0

    status, _, terminal = on_a_terminal(app, env, "--replay", "chat.jsonl")

    assert (status, terminal.splitlines()[-1]) == (0, "understudy: 2 requests, answered from the cassette")


@pytest.mark.parametrize("command", [["true"], ["no-such-program"]])
def test_quiet_writes_neither(command: list[str], cloud: Cloud, home: Path) -> None:
    _, _, terminal = on_a_terminal(command, clean_environment(home, cloud.base_url), "--quiet")

    assert "starting" not in terminal
    assert "no request" not in terminal


def test_without_a_terminal_the_summary_needs_an_option(cloud: Cloud, home: Path) -> None:
    env = clean_environment(home, cloud.base_url)

    assert run(["true"], env).stderr == ""
    told = "understudy: no request came through the proxy. To see why: understudy doctor -- true\n"
    assert run(["true"], env, "--summary").stderr == told


def test_a_python_of_understudys_own_environment_is_said_to_be_that(cloud: Cloud, home: Path) -> None:
    own = Path(UNDERSTUDY).parent
    env = clean_environment(home, cloud.base_url)
    env |= {"PATH": f"{own}{os.pathsep}{env['PATH']}", "COLUMNS": "2000"}
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home / ".venv"], check=True)

    done = run(["python", "-c", "print('ran')"], env)

    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert "python is the one of Understudy's own environment" in done.stderr
    assert quoted(["run", "--", f"{home}/.venv/bin/python", "-c", "print('ran')"]) in done.stderr


def test_a_program_that_failed_beside_the_projects_own_is_told_of_it(cloud: Cloud, home: Path) -> None:
    env = clean_environment(home, cloud.base_url)
    (home / ".venv" / "bin").mkdir(parents=True)
    (home / ".venv" / "pyvenv.cfg").touch()
    (home / ".venv" / "bin" / "sh").symlink_to("/bin/sh")

    failed = run(["sh", "-c", "exit 1"], env, "--summary")
    ended_well = run(["sh", "-c", "exit 0"], env, "--summary")
    by_a_signal = run(["sh", "-c", "kill -INT $$"], env, "--summary")

    assert failed.stderr.startswith("understudy: no request came. `sh` is /")
    assert failed.stderr.endswith("; your project has .venv: understudy run -- .venv/bin/sh -c 'exit 1'\n")
    assert "To see why: understudy doctor" in ended_well.stderr
    assert (by_a_signal.returncode, by_a_signal.stderr) == (130, "")

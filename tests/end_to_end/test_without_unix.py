"""The commands start, answer and end where nothing of Unix's own is there, as on Windows."""

import signal
import subprocess
import sys
from pathlib import Path

import httpx

from rehearsal import Reply
from tests.end_to_end import processes
from tests.end_to_end.cloud import GUARD_S, Cloud
from tests.end_to_end.understudy import APPS, Proxy, Started, clean_environment

WITHOUT_UNIX = (sys.executable, str(Path(__file__).with_name("without_unix.py")))
ENDED = 128 + signal.SIGTERM


def finish(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*WITHOUT_UNIX, *arguments], env=env, cwd=env["HOME"], capture_output=True, text=True, timeout=2 * GUARD_S
    )


def test_run_answers_a_program_and_ends_with_its_status(cloud: Cloud, home: Path) -> None:
    cloud.script(Reply(text="one two"))
    env = clean_environment(home, cloud.base_url, OPENAI_API_KEY="sk-of-the-app")

    done = finish(env, "run", "--", sys.executable, str(APPS / "one_stream.py"))
    status = finish(env, "run", "--", sys.executable, "-c", "raise SystemExit(7)").returncode

    assert (done.returncode, status) == (0, 7), done.stderr
    assert len(cloud.turns) == 1
    assert "Traceback" not in done.stderr
    assert processes.living_in(home) == []


def test_run_says_that_there_is_no_such_command(cloud: Cloud, home: Path) -> None:
    done = finish(clean_environment(home, cloud.base_url), "run", "--", "no-such-command")

    assert (done.returncode, done.stderr) == (127, "understudy: no-such-command: command not found\n")


def test_serve_records_and_ends_with_everything_that_it_started(cloud: Cloud, home: Path) -> None:
    cloud.script(Reply(text="one two"))
    cassette = home / "chat.jsonl"
    command = [*WITHOUT_UNIX, "serve", "--listen", "127.0.0.1:0", "--log-level", "debug", "--record", str(cassette)]
    asking = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}

    with Proxy(command, clean_environment(home, cloud.base_url, UNDERSTUDY_SPARE_PROCESSES="1")) as proxy:
        with httpx.Client(proxy=proxy.url, verify=proxy.tls(), timeout=GUARD_S) as client:
            answer = client.post("https://api.openai.com/v1/chat/completions", json=asking)
        claudes = processes.claude_in(home)
        proxy.process.send_signal(signal.SIGTERM)
        status = proxy.process.wait(GUARD_S)

    assert answer.json()["choices"][0]["message"]["content"] == "one two"
    assert status == ENDED, proxy.err.text
    assert claudes and processes.still_there(claudes) == []
    assert "one two" in cassette.read_text(encoding="utf-8")
    assert "Traceback" not in proxy.err.text


def test_rehearsal_serves_until_it_is_ended(home: Path) -> None:
    with Started([*WITHOUT_UNIX, "rehearsal"], clean_environment(home)) as started:
        url = started.out.wait_for(r"http://\S+")[0]
        models = httpx.get(f"{url}/v1/models", headers={"x-api-key": "x"}).json()
        started.process.send_signal(signal.SIGTERM)
        status = started.process.wait(GUARD_S)

    assert models["data"]
    assert status == ENDED


def test_demo_shows_both_sides(home: Path) -> None:
    done = finish(clean_environment(home), "demo")

    assert done.returncode == 0, done.stderr
    assert "what the app received" in done.stdout
    assert "Traceback" not in done.stderr

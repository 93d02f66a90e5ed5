"""`understudy run -- COMMAND`: an unmodified program, its status, its environment, and what is left behind."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rehearsal import Reply
from tests.end_to_end import processes
from tests.end_to_end.cloud import Cloud, Gate
from tests.end_to_end.understudy import APPS, UNDERSTUDY, Started, clean_environment, run

USAGE = {"input_tokens": 20, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}


def printed(app: str, cloud: Cloud, home: Path) -> list[dict[str, Any]]:
    """Run an app and return what it printed, a JSON object a line. It must have ended well, and left nothing."""
    done = run([sys.executable, str(APPS / app)], clean_environment(home, cloud.base_url))
    assert (done.returncode, done.stderr) == (0, "")
    assert processes.living_in(home) == []
    return [json.loads(line) for line in done.stdout.splitlines()]


def text_of(chunks: list[dict[str, Any]]) -> str:
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


def test_openai_python_asks_and_streams_as_its_readme_shows(cloud: Cloud, home: Path) -> None:
    cloud.script(Reply(text="Aye: isinstance().", usage=USAGE | {"cache_read_input_tokens": 7}))
    cloud.script(Reply(text="This is a test.", usage=USAGE))

    whole, streamed = printed("synchronous.py", cloud, home)

    completion, headers = whole["completion"], whole["headers"]
    assert completion["choices"][0]["message"]["content"] == "Aye: isinstance()."
    assert completion["choices"][0]["finish_reason"] == "stop"
    assert completion["model"] == "gpt-4o"
    assert completion["id"].startswith("chatcmpl-")
    assert completion["usage"]["prompt_tokens"] == 27
    assert completion["usage"]["prompt_tokens_details"]["cached_tokens"] == 7
    assert completion["usage"]["total_tokens"] == 27 + completion["usage"]["completion_tokens"]
    assert headers["x-understudy-model"] == cloud.turns[0].body["model"]
    assert headers["x-understudy-process"] in ("cold", "warm")
    assert headers["x-request-id"].startswith("req_")
    assert "x-understudy-rehearsal" not in headers  # the app's cloud is rehearsed, Understudy does not know

    chunks = streamed["chunks"]
    assert text_of(chunks) == "This is a test."
    assert len({chunk["id"] for chunk in chunks} | {completion["id"]}) == 2
    assert {chunk["model"] for chunk in chunks} == {"gpt-4o"}
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["prompt_tokens"] == 20
    assert chunks[-1]["usage"]["completion_tokens"] == cloud.turns[1].sent == 4
    assert [chunk.get("usage") for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert len(cloud.turns) == 2


def test_the_asynchronous_client_does_the_same(cloud: Cloud, home: Path) -> None:
    cloud.script(Reply(text="This is a test."), Reply(text="This is another."))

    whole, streamed = printed("asynchronous.py", cloud, home)

    assert whole["completion"]["choices"][0]["message"]["content"] == "This is a test."
    assert text_of(streamed["chunks"]) == "This is another."
    assert all("usage" not in chunk for chunk in streamed["chunks"])
    assert "haiku" in cloud.turns[0].body["model"]
    assert len(cloud.turns) == 2


@pytest.mark.parametrize(("command", "status"), [("exit 0", 0), ("exit 3", 3), ("kill -KILL $$", 137)])
def test_the_status_is_the_commands_own(command: str, status: int, cloud: Cloud, home: Path) -> None:
    done = run(["sh", "-c", command], clean_environment(home, cloud.base_url))

    assert (done.returncode, done.stdout, done.stderr) == (status, "", "")
    assert processes.living_in(home) == []


@pytest.mark.parametrize("line", [["--rehearsal"], ["--rehearsal", "--"]])
def test_all_that_stands_behind_the_program_is_its_own(line: list[str], home: Path) -> None:
    own = ["--rehersal", "--record", "-x", "--", "--help"]

    done = subprocess.run(
        [UNDERSTUDY, "run", *line, "printf", r"%s\n", *own],
        env=clean_environment(home),
        cwd=home,
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stdout.splitlines()) == (0, own)


def test_the_log_file_has_what_the_programs_terminal_does_not_show(cloud: Cloud, home: Path) -> None:
    env = clean_environment(home, cloud.base_url)

    done = run(["true"], env, "--log-file", "understudy.log")

    log = (home / "understudy.log").read_text("utf-8")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^\d{4}-\d\d-\d\dT[\d:.]+[+-]\d\d:\d\d INFO Claude Code runs with: ", log, re.MULTILINE)


def streaming(cloud: Cloud, home: Path, gate: Gate) -> Started:
    """Start an app whose stream is held after its first chunk, and return when that has come."""
    cloud.script(Reply(text="one two three four five", gates={1: gate}))
    started = Started(
        [UNDERSTUDY, "run", "--", sys.executable, str(APPS / "one_stream.py")],
        clean_environment(home, cloud.base_url),
    )
    try:
        started.out.wait_for("one")
    except BaseException:
        started.end()
        raise
    return started


def test_ctrl_c_amid_a_stream_ends_everything(cloud: Cloud, home: Path) -> None:
    with streaming(cloud, home, cloud.gate()) as started:
        before = processes.living_in(home)
        processes.signal_group(started.process.pid, signal.SIGINT)
        status = started.process.wait()

        assert len(before) > 2  # Understudy, the app, and Claude Code
        assert status == 130
        assert processes.living_in(home) == []


def test_sigterm_amid_a_stream_ends_everything(cloud: Cloud, home: Path) -> None:
    with streaming(cloud, home, cloud.gate()) as started:
        started.process.send_signal(signal.SIGTERM)
        status = started.process.wait()

        assert status == 143
        assert processes.living_in(home) == []


def test_when_understudy_is_killed_its_claude_processes_end_by_themselves(cloud: Cloud, home: Path) -> None:
    gate = cloud.gate()
    with streaming(cloud, home, gate) as started:
        claude = processes.claude_in(home)
        started.process.kill()
        started.process.wait()
        gate.open()  # one in the middle of an answer ends when it finds nobody to tell it to

        assert claude != []
        assert processes.still_there(claude) == []


ENVIRONMENT = "import json, os; print(json.dumps(dict(os.environ)))"


def test_the_child_keeps_what_the_person_had_and_goes_through_the_proxy(cloud: Cloud, home: Path) -> None:
    env = clean_environment(
        home, cloud.base_url, NODE_OPTIONS="--max-old-space-size=512", NO_PROXY="intranet.example,.openai.com"
    )

    done = run([sys.executable, "-c", ENVIRONMENT], env)

    child = json.loads(done.stdout)
    assert child["OPENAI_API_KEY"] == "understudy-placeholder"
    assert child["NODE_OPTIONS"].startswith("--max-old-space-size=512 --require ")
    assert "intranet.example" in child["NO_PROXY"].split(",")
    assert not any("openai" in entry for entry in child["NO_PROXY"].split(","))
    assert child["no_proxy"] == child["NO_PROXY"]
    assert child["HTTPS_PROXY"].startswith("http://127.0.0.1:")
    assert {child["HTTPS_PROXY"]} == {child[name] for name in ("https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY")}
    assert {name: child[name] for name in env if name not in ("NODE_OPTIONS", "NO_PROXY")} == {
        name: env[name] for name in env if name not in ("NODE_OPTIONS", "NO_PROXY")
    }


def test_an_openai_key_of_the_persons_own_is_kept(cloud: Cloud, home: Path) -> None:
    done = run(["sh", "-c", "echo $OPENAI_API_KEY"], clean_environment(home, cloud.base_url, OPENAI_API_KEY="sk-own"))

    assert done.stdout == "sk-own\n"


def test_a_rehearsal_says_that_it_is_one_and_needs_no_account(cloud: Cloud, home: Path) -> None:
    env = clean_environment(home, cloud.base_url, CLAUDE_CODE_OAUTH_TOKEN="sk-ant-oat01-dummy")

    done = run([sys.executable, str(APPS / "synchronous.py")], env, "--rehearsal")

    whole, streamed = (json.loads(line) for line in done.stdout.splitlines())
    assert "REHEARSAL" in done.stderr
    assert whole["headers"]["x-understudy-rehearsal"] == "no model was asked"
    assert "This is a rehearsal" in whole["completion"]["choices"][0]["message"]["content"]
    assert "This is a rehearsal" in text_of(streamed["chunks"])
    assert cloud.paths == []  # the address and the credentials that were there are left alone


def test_a_rehearsal_needs_no_way_through_the_persons_own_proxy(cloud: Cloud, home: Path) -> None:
    proxies = dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"), "http://127.0.0.1:9")
    env = clean_environment(home, **proxies)

    done = run([sys.executable, str(APPS / "synchronous.py")], env, "--rehearsal")

    assert done.returncode == 0, done.stderr
    assert "This is a rehearsal" in done.stdout


def test_run_warns_of_replaced_proxy_settings(cloud: Cloud, home: Path) -> None:
    env = clean_environment(home, cloud.base_url, HTTPS_PROXY="http://proxy.corp:3128", NO_PROXY=".openai.com")

    done = run(["true"], env)
    through_it = run(["true"], env, "--upstream-proxy", "http://proxy.corp:3128")

    assert "HTTPS_PROXY named another proxy" in done.stderr
    assert "Left out of NO_PROXY" in done.stderr
    assert "named another proxy" not in through_it.stderr


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("UNDERSTUDY_PROVIDER", "auth-token", "it needs ANTHROPIC_AUTH_TOKEN"),
        ("UNDERSTUDY_STORE", "/dev/null/no.db", "the database needs a file that it can write"),
    ],
)
def test_an_error_at_the_start_of_run_has_no_traceback(
    variable: str, value: str, told: str, cloud: Cloud, home: Path
) -> None:
    done = run(["true"], clean_environment(home, cloud.base_url, **{variable: value}))

    assert done.returncode == 2
    assert told in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert processes.living_in(home) == []

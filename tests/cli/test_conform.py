"""`understudy conform`: what it prints, and its exit statuses."""

import dataclasses
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cassettes.format import HEADER
from cli.app import app
from conform.exchange import Exchange
from conform.plan import plan
from tests.end_to_end.planter import Planter

MODELS = {"object": "list", "data": [{"id": "m", "object": "model", "created": 1, "owned_by": "us"}]}
HEADERS = {"content-type": "application/json", "x-request-id": "req_1"}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["conform", *[str(argument) for argument in arguments]])


@pytest.fixture
def server() -> Iterator[Planter]:
    """A server that has models and nothing else."""
    asks = plan("m")
    no = {"error": {"message": "No.", "type": "invalid_request_error", "param": None, "code": None}}
    bodies = {"list of models": MODELS, "a model": MODELS["data"][0]}
    answers = {
        ask.name: Exchange(
            name=ask.name,
            dialect=ask.dialect,
            status=200 if ask.name in bodies else 404,
            headers=HEADERS | {"x-request-id": f"req_{n}"},
            text=json.dumps(bodies.get(ask.name, no)),
        )
        for n, ask in enumerate(asks)
    }
    with Planter(asks, answers) as planter:
        yield planter


def test_status_0_without_findings(server: Planter) -> None:
    done = run(server.base_url, "--only", "models", "--model", "m")

    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1].startswith("no findings in 2 requests, held to OpenAI's document ")


def test_status_1_with_findings_and_a_table_of_them(server: Planter) -> None:
    done = run(server.base_url, "--only", "models,chat", "--model", "m")

    assert done.exit_code == 1
    assert "what the real API has" in done.stdout
    assert "404: " in done.stdout
    assert done.stdout.splitlines()[-1].startswith("1 finding in 3 requests, ")


def test_an_endpoint_that_is_not_there_is_asked_once(server: Planter) -> None:
    done = run(server.base_url, "--only", "responses", "--model", "m", "--json")

    told: dict[str, Any] = json.loads(done.stdout)
    assert [(one["request"], one["check"]) for one in told["findings"]] == [("response", "endpoint")]
    assert len(told["not_checked"]) == 6


def test_a_compressed_answer_is_a_finding_and_is_not_decompressed(server: Planter) -> None:
    answer = server.answers["list of models"]
    bomb = dataclasses.replace(answer, headers={**answer.headers, "content-encoding": "gzip"}, text="no gzip")
    server.answers["list of models"] = bomb

    done = run(server.base_url, "--only", "models", "--model", "m", "--json")

    assert done.exit_code == 1
    (found,) = json.loads(done.stdout)["findings"]
    assert (found["check"], found["came"]) == (
        "connection",
        '"content-encoding: gzip, and identity was asked for"',
    )


def test_what_a_server_says_cannot_steer_the_terminal(server: Planter) -> None:
    text = json.dumps(MODELS | {"object": "\x1b[2J"})
    server.answers["list of models"] = Exchange(name="x", dialect="models", headers=HEADERS, text=text)

    done = run(server.base_url, "--only", "models", "--model", "m")

    assert done.exit_code == 1
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param([], "name a server", id="no server"),
        pytest.param(["localhost:8000"], "is no URL of a server", id="no URL"),
        pytest.param(["http://localhost", "--only", "chat,video"], "--only does not know video", id="no such group"),
        pytest.param(["--learn", "/no/such.jsonl"], "there is no cassette here", id="no such cassette"),
        pytest.param(["http://localhost", "--timeout", "0"], "--timeout", id="no time"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(arguments: list[str], said: str) -> None:
    done = run(*arguments)

    (line,) = done.stderr.splitlines()
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in line


def test_a_server_that_does_not_answer_is_one_line_and_status_2() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        done = run(f"http://127.0.0.1:{unused.getsockname()[1]}")

    (line,) = done.stderr.splitlines()
    assert (done.exit_code, done.stdout) == (2, "")
    assert "does not answer" in line


def cassette(path: Path, **request_line: Any) -> Path:
    """Write a cassette with one answer of the real API's."""
    body = {"id": "chatcmpl-secret", "object": "chat.completion", "created": 1, "model": "m", "choices": []}
    request = {"method": "POST", "path": "/v1/chat/completions", "json": {"model": "m", "messages": []}}
    lines: list[dict[str, Any]] = [
        {"n": 0, "started": "2026-10-02T03:04:05+00:00", "request": request},
        *([{"turn": {"model": "claude"}}] if request_line else []),
        {"response": {"status": 200, "headers": {"Content-Type": "application/json"}}},
        {"chunk": json.dumps(body | {"new_key": 1})},
        {"end": "done"},
    ]
    entries = [{"id": "1", **line, "n": n} for n, line in enumerate(lines)]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in [HEADER, *entries]), encoding="utf-8")
    return path


def test_the_keys_of_own_recordings_are_learned_and_nothing_else(tmp_path: Path) -> None:
    done = run("--learn", cassette(tmp_path / "own.jsonl"))

    assert done.exit_code == 0, done.output
    keys = json.loads(done.stdout)["situations"]["CreateChatCompletionResponse"]["keys"]
    assert keys["new_key"] == {"in": {"2026-10": 1}, "kinds": ["integer"]}
    assert "secret" not in done.stdout


def test_what_claude_answered_is_not_learned(tmp_path: Path) -> None:
    done = run("--learn", cassette(tmp_path / "own.jsonl", of_claude=True))

    assert done.exit_code == 2
    assert "has no complete exchange that OpenAI has answered" in done.stderr

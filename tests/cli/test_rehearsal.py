"""`understudy rehearsal`: the simulated API alone."""

from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from cli.app import app
from tests.end_to_end.understudy import UNDERSTUDY, Started, clean_environment


def test_its_address_is_printed_first_and_it_answers_there(tmp_path: Path) -> None:
    with Started([UNDERSTUDY, "rehearsal", "--delay", "0"], clean_environment(tmp_path / "home")) as started:
        url = started.out.wait_for(r"(http://127\.0\.0\.1:\d+)\n")[1]
        body = {"model": "claude-sonnet-5-5", "max_tokens": 20, "messages": [{"role": "user", "content": "Hello"}]}
        answer = httpx.post(f"{url}/v1/messages", json=body, headers={"x-api-key": "any"})

    assert answer.status_code == 200
    assert answer.json()["type"] == "message"


@pytest.mark.parametrize("port", ["-1", "65536", "any"])
def test_a_port_that_cannot_be_is_one_line_and_status_2(port: str) -> None:
    done = CliRunner().invoke(app, ["rehearsal", f"--port={port}"])

    (line,) = done.stderr.splitlines()
    assert (done.exit_code, done.stdout) == (2, "")
    assert line.startswith("understudy: invalid value for '--port': ")

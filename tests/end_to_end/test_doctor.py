"""The doctor as a person runs it, on programs that really connect, or do not."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.cloud import GUARD_S
from tests.end_to_end.understudy import UNDERSTUDY, clean_environment

ASKS = "import openai; openai.OpenAI(api_key='sk-x', max_retries=0).models.list()"
PINS = "import openai, httpx, certifi; openai.OpenAI(api_key='sk-x', max_retries=0, http_client=httpx.Client(verify=certifi.where())).models.list()"  # noqa: E501


def doctor(home: Path, *command: str, **more: str) -> tuple[int, list[dict[str, Any]]]:
    env = clean_environment(home, UNDERSTUDY_LISTEN="127.0.0.1:0", ANTHROPIC_API_KEY="dummy", **more)
    options = ["--", *command] if command else []
    done = subprocess.run(
        [UNDERSTUDY, "doctor", "--json", *options], env=env, cwd=home, capture_output=True, text=True, timeout=GUARD_S
    )
    return done.returncode, json.loads(done.stdout[done.stdout.index("{") :])["checks"]


def test_all_is_well_on_a_clean_machine(home: Path) -> None:
    status, found = doctor(home)
    assert status == 0
    assert [check for check in found if check["level"] == "fault"] == []


@pytest.mark.parametrize(
    ("code", "level", "told"),
    [
        (ASKS, "ok", "goes through the proxy and trusts its certificate"),
        (PINS, "fault", "did not trust the certificate"),
        ("pass", "warning", "it sent nothing to the proxy"),
    ],
)
def test_a_program_is_watched(home: Path, code: str, level: str, told: str) -> None:
    status, found = doctor(home, sys.executable, "-W", "ignore", "-c", code)
    assert found[-1]["level"] == level
    assert told in found[-1]["seen"]
    assert status == (1 if level == "fault" else 0)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_no_claude_is_asked_for_it(home: Path) -> None:
    _, found = doctor(home, "curl", "-s", "-o", str(home / "answer"), "https://api.openai.com/v1/models")
    assert found[-1]["level"] == "ok"
    assert json.loads((home / "answer").read_text())["error"]["code"] == "doctor"

"""llm-comply, a program that holds an API to the published specifications, finds nothing to complain of.

Its Open Responses tests follow https://www.openresponses.org, its chat tests OpenAI's OpenAPI document.
"""

import json
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.cloud import Cloud
from tests.end_to_end.understudy import BIN, Proxy, clean_environment

LEFT_OUT = {
    "chat-reasoning-summary": "it sends `reasoning`, which Chat Completions do not have: OpenAI answers 400",
}
"""The tests whose result does not count, and why."""

GUARD_S = 200


@pytest.mark.parametrize(("dialect", "count"), [("open-responses", 13), ("openai-chat", 9)])
def test_a_program_that_knows_the_specifications_finds_nothing(
    dialect: str, count: int, proxy: Proxy, cloud: Cloud, home: Path
) -> None:
    door = proxy.err.wait_for(r"OPENAI_BASE_URL=(http://127\.0\.0\.1:\d+/v1)")[1]
    where = ["--base-url", door, "--api-key", "x", "--model", "gpt-5.2", "--timeout", str(GUARD_S)]

    done = subprocess.run(
        [BIN / "llm-comply", "run", *where, "--format", dialect, "--json"],
        env=clean_environment(home),
        capture_output=True,
        text=True,
        timeout=GUARD_S,
        check=False,
    )

    assert done.stdout, done.stderr
    results = json.loads(done.stdout)["results"]
    failed = {result["id"]: result.get("errors") for result in results if result["status"] != "passed"}
    assert {id: errors for id, errors in failed.items() if id not in LEFT_OUT} == {}
    assert len(results) == count

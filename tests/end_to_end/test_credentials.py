"""Credentials that end while the proxy runs, and others that take their place."""

import stat
from pathlib import Path
from typing import Any

import httpx

from rehearsal import Reply, hidden
from rehearsal.server import ReceivedRequest
from tests.end_to_end import processes
from tests.end_to_end.cloud import GUARD_S, Cloud
from tests.end_to_end.understudy import clean_environment, serve

ENDPOINT = "https://api.openai.com/v1/chat/completions"


def ask(text: str) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": text}]}


def test_a_key_that_was_revoked_is_replaced_without_a_restart(cloud: Cloud, home: Path) -> None:
    revoked: list[str] = []

    def answer(request: ReceivedRequest) -> Reply | None:
        return Reply.error(401, message="revoked") if shown_key(request) in revoked else None

    cloud.script(answer)
    home.mkdir()
    key, helper = home / "key", home / "helper.sh"
    key.write_text("sk-ant-first-0123456789")
    helper.write_text(f"#!/bin/sh\ncat {key}\n")
    helper.chmod(stat.S_IRWXU)
    env = clean_environment(home, cloud.base_url, UNDERSTUDY_API_KEY_HELPER=str(helper), UNDERSTUDY_RETRIES="0")
    del env["ANTHROPIC_API_KEY"]

    with (
        serve(env) as proxy,
        httpx.Client(proxy=proxy.url, verify=proxy.tls(), timeout=GUARD_S) as client,
    ):
        first = client.post(ENDPOINT, json=ask("one"))
        before = processes.claude_in(home)
        revoked.append(shown_key(cloud.turns[0]))
        refused = client.post(ENDPOINT, json=ask("more"))
        left = processes.still_there(before)
        key.write_text("sk-ant-second-0123456789")
        second = client.post(ENDPOINT, json=ask("two"))

    assert [answer.status_code for answer in (first, refused, second)] == [200, 401, 200]
    assert refused.json()["error"]["code"] == "invalid_api_key"
    assert left == []
    # Claude Code asks the helper again by itself before it gives up on a key.
    assert revoked == [hidden("sk-ant-first-0123456789")]
    assert shown_key(cloud.turns[-1]) == hidden("sk-ant-second-0123456789")


def shown_key(request: ReceivedRequest) -> str:
    """Return the key of a request, as the rehearsal shows it."""
    headers = dict(request.headers)
    return headers.get("x-api-key") or headers["authorization"].removeprefix("Bearer ")

"""However much one key asks for, and under however many names, another key is answered."""

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from rehearsal import Reply
from rehearsal.server import ReceivedRequest
from tests.end_to_end.cloud import GUARD_S, Cloud
from tests.end_to_end.understudy import UNDERSTUDY, clean_environment, serve

pytestmark = pytest.mark.anyio

GREEDY = 20
LIMITS = {"UNDERSTUDY_MAX_PROCESSES": "2", "UNDERSTUDY_MAX_WAITING": "6", "UNDERSTUDY_RETRIES": "0"}


def ask(text: str) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": text}]}


async def test_a_key_with_many_requests_under_many_names_leaves_room_for_another(cloud: Cloud, home: Path) -> None:
    gate = cloud.gate()

    def reply(received: ReceivedRequest) -> Reply:
        return Reply(text="Later.", gates={0: gate}) if "greedy" in str(received.body) else Reply(text="At once.")

    cloud.script(reply)
    env = clean_environment(home, cloud.base_url, **LIMITS)

    def key(name: str) -> dict[str, str]:
        make = [UNDERSTUDY, "keys", "make", name]
        made = subprocess.run(make, env=env, capture_output=True, text=True, timeout=GUARD_S)
        return {"authorization": f"Bearer {made.stdout.strip()}"}

    a, b = key("a"), key("b")
    with serve(env, "--client-auth", "--base-url", "127.0.0.1:0") as proxy:
        base = proxy.err.wait_for(r"OPENAI_BASE_URL=(\S+)/v1")[1]
        async with httpx.AsyncClient(base_url=base, timeout=GUARD_S) as client, asyncio.timeout(GUARD_S):

            async def state() -> Any:
                return (await client.get("/understudy/status", headers=b)).json()

            greedy = [
                asyncio.create_task(
                    client.post(
                        "/v1/chat/completions", json=ask(f"greedy {n}"), headers={**a, "user-agent": f"app-{n}"}
                    )
                )
                for n in range(GREEDY)
            ]
            while (await state())["waiting"] < 6 or sum(task.done() for task in greedy) < GREEDY - 1 - 6:
                pass
            answer = await client.post("/v1/chat/completions", json=ask("modest"), headers=b)
            gate.open()
            statuses = [(await task).status_code for task in greedy]

    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"] == "At once."
    # One of two places is kept from it; six of its requests waited.
    assert (statuses.count(200), statuses.count(429)) == (7, GREEDY - 7)

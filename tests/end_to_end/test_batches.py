"""Batches as an unmodified client runs them, and what becomes of them when the proxy is killed."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import openai
from openai.types import Batch

from rehearsal import Reply
from rehearsal.reply import AT_HEAD
from tests.end_to_end.cloud import GUARD_S, Cloud
from tests.end_to_end.understudy import Proxy, clean_environment, serve


def lines(*ids: str) -> bytes:
    """The input file of a batch."""
    every = (
        {
            "custom_id": id,
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "gpt-4o", "messages": [{"role": "user", "content": f"Say {id}."}]},
        }
        for id in ids
    )
    return b"\n".join(json.dumps(line).encode() for line in every)


def create(client: openai.OpenAI, *ids: str) -> Batch:
    file = client.files.create(file=("in.jsonl", lines(*ids)), purpose="batch")
    return client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"for": "a test"}
    )


def until(client: openai.OpenAI, id: str, status: str) -> Batch:
    deadline = time.monotonic() + GUARD_S
    while (batch := client.batches.retrieve(id)).status != status:
        assert time.monotonic() < deadline, f"the batch is {batch.status}"
        time.sleep(0.05)
    return batch


def results(client: openai.OpenAI, id: str | None) -> list[dict[str, Any]]:
    assert id is not None
    return [json.loads(line) for line in client.files.content(id).text.splitlines()]


def test_a_batch_is_answered(proxy: Proxy, cloud: Cloud) -> None:
    cloud.script(Reply(text="one"), Reply(text="two"))

    with proxy.openai() as client:
        made = create(client, "a", "b")
        batch = until(client, made.id, "completed")
        found = results(client, batch.output_file_id)
        listed = [one.id for one in client.batches.list(limit=1)]

    assert (made.status, made.metadata) == ("validating", {"for": "a test"})
    assert batch.request_counts is not None
    assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (2, 2, 0)
    assert [one["custom_id"] for one in found] == ["a", "b"]
    said = {one["response"]["body"]["choices"][0]["message"]["content"] for one in found}
    assert said == {"one", "two"}
    assert made.id in listed


def test_a_batch_is_cancelled(proxy: Proxy, cloud: Cloud) -> None:
    gate = cloud.gate()
    cloud.script(*(Reply(text=f"{n}", gates={AT_HEAD: gate}) for n in range(8)))

    with proxy.openai() as client:
        made = create(client, *map(str, range(8)))
        cloud.wait_for_turns(1)
        assert client.batches.cancel(made.id).status == "cancelling"
        gate.open()
        batch = until(client, made.id, "cancelled")

    assert batch.request_counts is not None
    assert batch.request_counts.completed < batch.request_counts.total == 8


def test_a_batch_goes_on_after_its_proxy_was_killed(cloud: Cloud, home: Path) -> None:
    gate = cloud.gate()
    cloud.script(Reply(text="one"), *(Reply(text="lost", gates={AT_HEAD: gate}) for _ in range(2)))
    # A lease is the time until others take the proxy to be dead.
    env = clean_environment(home, cloud.base_url, UNDERSTUDY_STORE_LEASE_S="3", UNDERSTUDY_RETRIES="0")

    with serve(env) as proxy, proxy.openai() as client:
        made = create(client, "a", "b", "c")
        cloud.wait_for_turns(3)
        deadline = time.monotonic() + GUARD_S
        while not (counts := client.batches.retrieve(made.id).request_counts) or not counts.completed:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        proxy.end(signal.SIGKILL)
    gate.open()
    cloud.script(Reply(text="two"), Reply(text="three"))
    with serve(env) as proxy, proxy.openai() as client:
        batch = until(client, made.id, "completed")
        found = results(client, batch.output_file_id)

    assert [one["custom_id"] for one in found] == ["a", "b", "c"]
    said = [one["response"]["body"]["choices"][0]["message"]["content"] for one in found]
    # Two lines run at once, so the first answer may be the second line's. What was answered is not asked again.
    assert sorted(said) == ["one", "three", "two"]
    assert len(cloud.turns) == 5
    assert batch.error_file_id is None

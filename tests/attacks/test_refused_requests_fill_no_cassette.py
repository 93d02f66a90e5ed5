"""Who has no key cannot fill the disk with what is recorded."""

import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from cassettes.format import Entry
from cassettes.read import read
from rehearsal import Reply
from tests.end_to_end.cloud import GUARD_S, Cloud
from tests.end_to_end.understudy import UNDERSTUDY, clean_environment, serve

LARGE = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x" * 3_000_000}]}
QUESTION: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}


@pytest.mark.parametrize(("setting", "kept"), [("head", [401, 404, 200]), ("never", [200])])
def test_bodies_without_a_key_are_not_recorded(setting: str, kept: list[int], cloud: Cloud, home: Path) -> None:
    cloud.script(Reply(text="Hello."))
    env = clean_environment(home, cloud.base_url, UNDERSTUDY_RECORD_REFUSED=setting)
    make = [UNDERSTUDY, "keys", "make", "me"]
    key = subprocess.run(make, env=env, capture_output=True, text=True, timeout=GUARD_S).stdout.strip()
    cassette = home / "a.jsonl"
    with serve(env, "--client-auth", "--base-url", "127.0.0.1:0", "--record", str(cassette)) as proxy:
        base = proxy.err.wait_for(r"OPENAI_BASE_URL=(\S+)/v1")[1]
        with httpx.Client(base_url=base, timeout=GUARD_S) as client:
            statuses = [
                client.post(path, json=body, headers=headers).status_code
                for path, body, headers in (
                    ("/v1/chat/completions", LARGE, {}),
                    ("/v1/nothing", LARGE, {}),
                    ("/v1/chat/completions", QUESTION, {"authorization": f"Bearer {key}"}),
                )
            ]
        proxy.end()

    entries = [entry for entry in read(cassette) if isinstance(entry, Entry)]
    assert statuses == [401, 404, 200]
    assert [entry.status for entry in entries] == kept
    assert entries[-1].request.json["messages"] == QUESTION["messages"]
    assert sum(path.stat().st_size for path in home.glob("a.jsonl*") if path.is_file()) < 100_000

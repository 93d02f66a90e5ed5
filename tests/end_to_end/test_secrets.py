"""A secret in any credential variable is never shown: not in the log, an answer, or a command line."""

import os
from pathlib import Path
from typing import Any

import httpx

from rehearsal import Fault, FaultKind, Reply, hidden
from tests.end_to_end import processes
from tests.end_to_end.cloud import GUARD_S, Cloud
from tests.end_to_end.understudy import clean_environment, serve

ENDPOINT = "https://api.openai.com/v1/chat/completions"
SECRETS = {
    "ANTHROPIC_API_KEY": "sk-ant-api03-canary-one",
    "ANTHROPIC_AUTH_TOKEN": "canary-two-0123456789",
    "CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-canary-three",
    "ANTHROPIC_CUSTOM_HEADERS": "x-canary: canary-four-0123456789",
    "AWS_SECRET_ACCESS_KEY": "canary-five-0123456789",
    "AWS_SESSION_TOKEN": "canary-six-0123456789",
    "AWS_BEARER_TOKEN_BEDROCK": "canary-seven-0123456789",
    "ANTHROPIC_FOUNDRY_API_KEY": "canary-eight-0123456789",
    "OPENAI_API_KEY": "sk-proj-canary-nine",
}
APP_KEY = "sk-proj-canary-of-the-app"
PROMPT = "canary in the system prompt"


def test_no_secret_is_ever_shown(cloud: Cloud, home: Path) -> None:
    told = "the API says: " + ", ".join([*SECRETS.values(), APP_KEY])
    gate = cloud.gate()
    replies = [
        Reply(text="one two three", gates={1: gate}),
        Reply.error(401, message=told),
        Reply.error(400, message=told),
        Reply.error(529, message=told),
        Reply(text="one two three", fault=Fault(FaultKind.SSE_ERROR, 1, message=told)),
        Reply(text="one two three", fault=Fault(FaultKind.MALFORMED, 1, message=told)),
    ]
    cloud.script(*replies)
    messages = [{"role": "system", "content": PROMPT}, {"role": "user", "content": "Hello"}]
    answers = []

    with serve(clean_environment(home, cloud.base_url, UNDERSTUDY_RETRIES="0", **SECRETS)) as proxy:
        headers = {"authorization": f"Bearer {APP_KEY}"}
        with httpx.Client(proxy=proxy.url, verify=proxy.tls(), timeout=GUARD_S, headers=headers) as client:
            request: dict[str, Any] = {"model": "gpt-4o", "messages": messages, "stream": True}
            with client.stream("POST", ENDPOINT, json=request) as answer:
                pieces = answer.iter_text()
                answers.append(next(pieces))
                commands = [processes.read(pid, "cmdline") for pid in processes.living_in(home)]
                gate.open()
                answers += pieces
            for _ in replies[1:]:
                failed = client.post(ENDPOINT, json=request)
                answers.append(f"{failed.headers}\n{failed.text}")
        proxy.end()
        shown = {
            "the log": proxy.err.text + proxy.out.text,
            "an answer": "\n".join(answers),
            "a command line": "\n".join(" ".join(command) for command in commands),
        }

    # What is looked for was really there: the key reached the API, the prompt too, and failures were told of.
    assert cloud.turns[0].header("x-api-key") == hidden(SECRETS["ANTHROPIC_API_KEY"])
    assert cloud.turns[0].body["system"][-1]["text"] == PROMPT
    assert len(cloud.turns) == len(replies)
    assert "the API says" in shown["the log"]
    assert "claude" in shown["a command line"] and str(os.getpid()) not in shown["a command line"]
    for where, text in shown.items():
        for name, secret in SECRETS.items():
            assert secret not in text, f"{name} in {where}"
        assert APP_KEY not in text, where
        assert PROMPT not in text, where
        assert "canary" not in shown["an answer"]

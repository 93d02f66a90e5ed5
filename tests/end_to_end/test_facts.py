"""Facts about Claude Code that Understudy leans on, each under its number in docs/claude-code.md."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from rehearsal import hidden
from rehearsal.server import ReceivedRequest
from tests.end_to_end.cloud import Cloud
from tests.end_to_end.understudy import Proxy, clean_environment, serve

EPHEMERAL = {"type": "ephemeral"}
IDENTITY = "You are a Claude agent, built on Anthropic's Claude Agent SDK."
CONVERSATION: list[Any] = [
    {"role": "system", "content": "You are kind."},
    {"role": "user", "content": "What is the capital of France?"},
    {"role": "assistant", "content": "Paris."},
    {"role": "user", "content": "And of Spain?"},
]


def text(content: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": content, **more}


def normalised(received: ReceivedRequest) -> dict[str, Any]:
    """Return a request's body with what differs by version, device and session named instead."""
    body: dict[str, Any] = json.loads(json.dumps(received.body))
    version = body["system"][0]
    version["text"] = re.sub(r"cc_version=[\w.]+;", "cc_version=VERSION;", version["text"])
    if (user := body["metadata"]["user_id"]).startswith("{"):
        body["metadata"]["user_id"] = sorted(json.loads(user))
    return body


def expected(
    system: list[dict[str, Any]], messages: list[dict[str, Any]], cache: dict[str, str] = EPHEMERAL, **more: Any
) -> dict[str, Any]:
    """Return the body that a conversation should give."""
    return {
        "system": [
            text("x-anthropic-billing-header: cc_version=VERSION; cc_entrypoint=sdk-py;"),
            text(IDENTITY, cache_control=cache),
            *system,
        ],
        "messages": messages,
        "tools": [],
        "metadata": {"user_id": ["account_uuid", "device_id", "session_id"]},
        "stream": True,
        **more,
    }


HISTORY = [
    {"role": "user", "content": [text("What is the capital of France?")]},
    {"role": "assistant", "content": [text("Paris.")]},
    {"role": "user", "content": [text("And of Spain?", cache_control=EPHEMERAL)]},
]


def ask(proxy: Proxy, **request: Any) -> None:
    """Ask, and wait until the turn's process can ask no more."""
    since = len(proxy.err.text)
    with proxy.openai() as client:
        client.chat.completions.create(**{"messages": CONVERSATION, **request})
    proxy.wait_for_end_of_turn(since)


def test_f1_a_plain_turn_sends_the_identity_blocks_our_system_prompt_and_the_conversation_in_one_request(
    proxy: Proxy, cloud: Cloud
) -> None:
    ask(proxy, model="gpt-4o")

    (received,) = cloud.turns
    assert normalised(received) == expected(
        [text("You are kind.", cache_control=EPHEMERAL)],
        HISTORY,
        model="claude-sonnet-5-5",
        max_tokens=128000,
        thinking={"type": "adaptive"},
        output_config={"effort": "low"},
    )
    assert cloud.paths == ["POST /v1/messages"]
    assert received.query == "beta=true"
    assert received.header("x-api-key") == hidden("dummy")
    assert received.header("authorization") is None
    assert received.header("anthropic-version") == "2023-06-01"


def test_f10_our_parameters_reach_the_api_as_they_are(proxy: Proxy, cloud: Cloud) -> None:
    ask(
        proxy,
        model="claude-sonnet-4-5",
        temperature=0.25,
        stop=["END"],
        max_completion_tokens=77,
        user="customer-1",
    )

    (received,) = cloud.turns
    assert normalised(received) == expected(
        [text("You are kind.", cache_control=EPHEMERAL)],
        HISTORY,
        model="claude-sonnet-4-5",
        max_tokens=77,
        temperature=0.25,
        stop_sequences=["END"],
        metadata={"user_id": "customer-1"},
        thinking={"type": "disabled"},
    )
    assert cloud.paths == ["POST /v1/messages"]


def test_f11_parameters_of_one_request_do_not_reach_the_next(proxy: Proxy, cloud: Cloud) -> None:
    plain = [{"role": "user", "content": "Hello"}]
    ask(proxy, model="claude-sonnet-4-5", messages=CONVERSATION, temperature=0.25, max_tokens=77, stop="END", user="me")
    ask(proxy, model="claude-sonnet-4-5", messages=plain)

    body = normalised(cloud.turns[1])
    assert body == expected(
        [],
        [{"role": "user", "content": [text("Hello", cache_control=EPHEMERAL)]}],
        model="claude-sonnet-4-5",
        max_tokens=body["max_tokens"],
        temperature=1,
        thinking={"type": "disabled"},
    )
    assert body["max_tokens"] > 1000


REMINDERS = re.compile(r"# Environment\n|You are powered by|Today's date is")
CACHE_1H = {"type": "ephemeral", "ttl": "1h"}


@pytest.fixture(scope="module")
def oauth_proxy(the_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy that runs with a login's token instead of a key."""
    variables = {"ANTHROPIC_BASE_URL": the_cloud.base_url, "CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-dummy"}
    with serve(clean_environment(tmp_path_factory.mktemp("oauth"), **variables)) as proxy:
        yield proxy


def test_f3_an_oauth_token_adds_three_reminder_blocks_to_the_last_user_message(
    oauth_proxy: Proxy, cloud: Cloud
) -> None:
    ask(oauth_proxy, model="claude-sonnet-4-5")

    (received,) = cloud.turns
    *reminders, _ = received.body["messages"][-1]["content"]
    assert [REMINDERS.findall(block["text"]) for block in reminders] == [
        ["# Environment\n"],
        ["You are powered by"],
        ["Today's date is"],
    ]
    assert normalised(received) == expected(
        [text("You are kind.", cache_control=CACHE_1H)],
        [*HISTORY[:-1], {"role": "user", "content": [*reminders, text("And of Spain?", cache_control=CACHE_1H)]}],
        CACHE_1H,
        model="claude-sonnet-4-5",
        max_tokens=received.body["max_tokens"],
        temperature=1,
        thinking={"type": "disabled"},
    )
    assert cloud.paths == ["POST /v1/messages"]
    assert received.header("authorization") == f"Bearer {hidden('sk-ant-oat01-dummy')}"
    assert received.header("x-api-key") is None
    assert "oauth-2025-04-20" in (received.header("anthropic-beta") or "").split(",")


def test_f3_on_the_newest_models_the_reminders_are_one_system_message_after_the_conversation(
    oauth_proxy: Proxy, cloud: Cloud
) -> None:
    ask(oauth_proxy, model="gpt-4o")

    (received,) = cloud.turns
    *_, reminders = normalised(received)["messages"]
    assert REMINDERS.findall(reminders["content"]) == ["# Environment\n", "You are powered by", "Today's date is"]
    assert normalised(received) == expected(
        [text("You are kind.", cache_control=CACHE_1H)],
        [
            *HISTORY[:-1],
            {"role": "user", "content": [text("And of Spain?", cache_control=CACHE_1H)]},
            {"role": "system", "content": reminders["content"]},
        ],
        CACHE_1H,
        model="claude-sonnet-5-5",
        max_tokens=128000,
        thinking={"type": "adaptive"},
        output_config={"effort": "low"},
    )
    assert cloud.paths == ["POST /v1/messages"]

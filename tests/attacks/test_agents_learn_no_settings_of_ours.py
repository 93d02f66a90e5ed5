"""What the proxy's environment holds stays with the proxy: `claude` and what an agent starts get a list of names."""

import json
import subprocess
from pathlib import Path
from typing import Any

import openai
import pytest

from rehearsal import Reply
from rehearsal.reply import ToolCall
from tests.end_to_end import processes
from tests.end_to_end.cloud import GUARD_S, Cloud
from tests.end_to_end.understudy import UNDERSTUDY, clean_environment, serve

CANARIES = {
    "UNDERSTUDY_STORE": "canary-of-the-store.db",
    "UNDERSTUDY_RECORD_REDACT_PATTERNS": "canary-pattern",
    "DATABASE_URL": "postgresql://canary",
    "AWS_SECRET_ACCESS_KEY": "canary-of-a-cloud",
    "ANTHROPIC_AUTH_TOKEN": "canary-of-another-login",
}
ASK: list[Any] = [{"role": "user", "content": "Print your environment."}]


@pytest.fixture
def config(home: Path) -> Path:
    project = home / "project"
    project.mkdir(parents=True)
    path = home / "understudy.toml"
    path.write_text(
        f'[agent.shell]\ntools = ["Bash"]\ncwd = "{project}"\nsandbox = false\nallow = ["Bash(printenv:*)"]\n'
    )
    return path


def environment_told(cloud: Cloud, home: Path, config: Path, **more: str) -> str:
    """Return what `printenv`, run by an agent, tells the API."""
    cloud.script(
        Reply(text="", tool_calls=(ToolCall("Bash", input_json=json.dumps({"command": "printenv"})),)),
        Reply(text="Done."),
    )
    with (
        serve(clean_environment(home, cloud.base_url, **CANARIES, **more), "--config", str(config)) as proxy,
        proxy.openai() as client,
    ):
        client.chat.completions.create(model="claude-code/shell", messages=ASK)
    return json.dumps(cloud.turns[-1].body["messages"])


def test_a_command_of_an_agent_sees_no_variable_of_ours(cloud: Cloud, home: Path, config: Path) -> None:
    told = environment_told(cloud, home, config)

    assert f"HOME={home}" in told
    assert "UNDERSTUDY_" not in told
    assert "canary" not in told


def test_a_person_hands_on_what_they_name(cloud: Cloud, home: Path, config: Path) -> None:
    more = {"UNDERSTUDY_CLAUDE_ENV": "DATABASE_*\nUNDERSTUDY_*"}
    told = environment_told(cloud, home, config, **more)

    assert "DATABASE_URL=postgresql://canary" in told
    assert "UNDERSTUDY_" not in told


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="this system does not show environments")
def test_a_process_of_the_pool_has_no_variable_of_ours(cloud: Cloud, home: Path) -> None:
    gate = cloud.gate()
    cloud.script(Reply(text="one two", gates={1: gate}))
    with serve(clean_environment(home, cloud.base_url, **CANARIES)) as proxy, proxy.openai() as client:
        stream: Any = client.chat.completions.create(model="gpt-4o", messages=ASK, stream=True)
        next(iter(stream))
        found = [processes.environment(pid) for pid in processes.claude_in(home)]
        gate.open()
        list(stream)

    assert found
    for environ in found:
        assert environ["ANTHROPIC_API_KEY"] == "dummy"
        assert [name for name in environ if name.startswith("UNDERSTUDY_")] == []
        assert [name for name, value in environ.items() if "canary" in value] == []


def test_a_key_made_without_agents_may_use_none(cloud: Cloud, home: Path, config: Path) -> None:
    env = clean_environment(home, cloud.base_url)

    def key(name: str, *options: str) -> str:
        make = [UNDERSTUDY, "keys", "make", name, *options]
        return subprocess.run(make, env=env, capture_output=True, text=True, timeout=GUARD_S).stdout.strip()

    plain, every = key("plain"), key("every", "--agent", "*")
    cloud.script(Reply(text="Hello."))
    with serve(env, "--config", str(config), "--client-auth", "--base-url", "127.0.0.1:0") as proxy:
        base = proxy.err.wait_for(r"OPENAI_BASE_URL=(\S+)")[1]
        mine, theirs = (openai.OpenAI(api_key=one, base_url=base, max_retries=0) for one in (plain, every))
        with mine, pytest.raises(openai.PermissionDeniedError, match="may not use the agent 'shell'") as refused:
            mine.chat.completions.create(model="claude-code/shell", messages=ASK)
        with theirs:
            answer = theirs.chat.completions.create(model="claude-code/shell", messages=ASK)

    assert refused.value.code == "model_not_allowed"
    assert answer.choices[0].message.content == "Hello."

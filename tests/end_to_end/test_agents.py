"""An agent by its model name, as an unmodified client asks for it."""

import json
import subprocess
from pathlib import Path
from typing import Any

import openai
import pytest

from rehearsal import Reply
from rehearsal.reply import ToolCall
from tests.end_to_end.cloud import GUARD_S, Cloud
from tests.end_to_end.understudy import UNDERSTUDY, clean_environment, serve

HELLO: list[Any] = [{"role": "user", "content": "What does it say?"}]
TOOL: Any = {"type": "function", "function": {"name": "f", "parameters": {}}}


@pytest.fixture
def config(home: Path) -> Path:
    project = home / "project"
    project.mkdir(parents=True)
    (project / "a.txt").write_text("the words of the file")
    path = home / "understudy.toml"
    path.write_text(f'[agent.review]\ntools = ["Read"]\ncwd = "{project}"\n')
    return path


def test_an_app_asks_an_agent_by_its_model_name(cloud: Cloud, home: Path, config: Path) -> None:
    file = home / "project" / "a.txt"
    steps = (
        Reply(text="", tool_calls=(ToolCall("Read", input_json=json.dumps({"file_path": str(file)})),)),
        Reply(text="It has words."),
    )
    cloud.script(*steps, *steps)
    with serve(clean_environment(home, cloud.base_url), "--config", str(config)) as proxy, proxy.openai() as client:
        names = [model.id for model in client.models.list()]
        stream: Any = client.chat.completions.create(model="claude-code/review", messages=HELLO, stream=True)
        deltas = [chunk.choices[0].delta for chunk in stream if chunk.choices]
        response = client.responses.create(model="claude-code/review", input="What does it say?")
        with pytest.raises(openai.NotFoundError) as unknown:
            client.chat.completions.create(model="claude-code/other", messages=HELLO)
        with pytest.raises(openai.BadRequestError) as tools:
            client.chat.completions.create(model="claude-code/review", messages=HELLO, tools=[TOOL])

    assert "claude-code/review" in names
    assert {turn.body["model"] for turn in cloud.turns} == {"claude-sonnet-5-5"}
    assert "".join(delta.content or "" for delta in deltas) == "It has words."
    assert "".join(getattr(delta, "reasoning_content", "") or "" for delta in deltas) == f"Read(file_path: {file})\n"
    assert response.output_text == "It has words."
    assert "the words of the file" in json.dumps(cloud.turns[1].body["messages"])
    assert unknown.value.code == "model_not_found"
    assert tools.value.param == "tools"


def test_a_key_that_may_not_use_an_agent_is_refused(cloud: Cloud, home: Path, config: Path) -> None:
    env = clean_environment(home, cloud.base_url)
    make = [UNDERSTUDY, "keys", "make", "me", "--agent", "other"]
    key = subprocess.run(make, env=env, capture_output=True, text=True, timeout=GUARD_S).stdout.strip()
    with serve(env, "--config", str(config), "--client-auth", "--base-url", "127.0.0.1:0") as proxy:
        base = proxy.err.wait_for(r"OPENAI_BASE_URL=(\S+)")[1]
        mine, nobodys = (openai.OpenAI(api_key=one, base_url=base, max_retries=0) for one in (key, "sk-wrong"))
        with mine, pytest.raises(openai.PermissionDeniedError, match="may not use the agent"):
            mine.chat.completions.create(model="claude-code/review", messages=HELLO)
        with nobodys, pytest.raises(openai.AuthenticationError):
            nobodys.chat.completions.create(model="claude-code/nothing", messages=HELLO)


def test_an_unsafe_agent_is_refused_at_the_start(home: Path, config: Path) -> None:
    config.write_text(config.read_text() + 'permission_mode = "bypassPermissions"\n')
    done = subprocess.run(
        [UNDERSTUDY, "serve", "--rehearsal", "--listen", "127.0.0.1:0", "--config", str(config)],
        env=clean_environment(home),
        capture_output=True,
        text=True,
        timeout=GUARD_S,
    )
    assert done.returncode == 2
    assert "agent review: bypassPermissions would let any app do anything" in done.stderr

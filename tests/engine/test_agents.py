from pathlib import Path
from typing import Any

import pytest

from engine.agents import AgentError, read_agents


def table(tmp_path: Path, **more: Any) -> dict[str, Any]:
    return {"cwd": str(tmp_path), "tools": ["Read", "Bash", "Edit"], **more}


def test_an_agent_is_what_was_written_down(tmp_path: Path) -> None:
    rules = ["Edit(src/**)", "Bash(git log:*)", f"Read(//{str(tmp_path)[1:]}/doc/**)", "mcp__tickets__search"]
    agents = read_agents({"review": table(tmp_path, allow=rules, model="opus", show=False, max_turns=3)})
    agent = agents["review"]
    assert agent.model_name == "claude-code/review"
    assert (agent.cwd, agent.tools, agent.allow) == (tmp_path.resolve(), ("Read", "Bash", "Edit"), tuple(rules))
    assert (agent.model, agent.show, agent.max_turns, agent.permission_mode) == ("opus", False, 3, "dontAsk")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"permission_mode": "bypassPermissions"}, "bypassPermissions would let any app do anything"),
        ({"permission_mode": "yolo"}, "must be one of dontAsk, acceptEdits, plan"),
        ({"tools": ["Read", "Fly"]}, "unknown tool 'Fly'"),
        ({"cwd": "relative"}, "must be an absolute path"),
        ({"cwd": "/nowhere/at/all"}, "is not a folder"),
        ({"cwd": "/"}, "a whole home folder or disk"),
        ({"cwd": "~"}, "a whole home folder or disk"),
        ({"mcp_config": "/nowhere.json"}, "is not a file"),
        ({"max_turns": 0}, "at least 1"),
        ({"max_turn": 3}, "unknown field `max_turn`"),
        ({"tools": "Read"}, "Expected `array`"),
        ({"allow": ["Edit"]}, "allows the whole disk"),
        ({"allow": ["Read(../**)"]}, "allows files outside"),
        ({"allow": ["Read(~/.ssh/**)"]}, "allows files outside"),
        ({"allow": ["Read(//etc/**)"]}, "allows files outside"),
        ({"allow": ["Read(//etc/passwd)"]}, "allows files outside"),
        ({"allow": ["Write(a)"]}, "a tool that is not in tools"),
        ({"allow": ["rm -rf"]}, "must be a rule"),
        ({"sandbox": False}, "needs rules in allow"),
    ],
)
def test_an_unknown_or_unsafe_agent_setting_is_refused_by_name(tmp_path: Path, more: dict[str, Any], told: str) -> None:
    with pytest.raises(AgentError, match="agent review: ") as error:
        read_agents({"review": table(tmp_path, **more)})
    assert told in str(error.value)


@pytest.mark.parametrize("name", ["", "a/b", "a b", "../x", "x" * 65])
def test_a_name_that_cannot_stand_in_a_models_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(AgentError, match="a name may only have letters"):
        read_agents({name: table(tmp_path)})


def test_a_link_to_a_home_is_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(AgentError, match="a whole home"):
        read_agents({"a": {"cwd": str(tmp_path / "link")}})

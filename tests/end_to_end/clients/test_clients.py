"""Libraries and programs that people point at OpenAI, unmodified, each doing what its own tutorial shows."""

import json
from pathlib import Path
from typing import Any

import pytest

from rehearsal.server import ReceivedRequest
from tests.end_to_end.cloud import Cloud
from tests.end_to_end.understudy import clean_environment, run

FOLDER = Path(__file__).parent
BIN = FOLDER / ".venv" / "bin"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (BIN / "python").exists(),
        reason="the clients are not installed: uv sync --project tests/end_to_end/clients",
    ),
]


def output(app: str, cloud: Cloud, home: Path) -> Any:
    """Run an app through Understudy and return the JSON it prints."""
    done = run([str(BIN / "python"), str(FOLDER / "apps" / app)], clean_environment(home, cloud.base_url))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def kinds(received: ReceivedRequest) -> list[tuple[str, list[str]]]:
    """Return the roles of the messages that the API received, with the kinds of their blocks."""
    return [(m["role"], [block["type"] for block in m["content"]]) for m in received.body["messages"]]


TOOL_LOOP = [("user", ["text"]), ("assistant", ["tool_use"]), ("user", ["tool_result"])]
REHEARSED = "This is a rehearsal: no model was asked."


def test_openai_python_streams_parses_and_loops(cloud: Cloud, home: Path) -> None:
    result = output("openai_helpers.py", cloud, home)

    streamed, parsed, asked, answered, *choices = cloud.turns
    assert "content.delta" in result["events"]
    assert result["events"][-1] == "content.done"
    assert result["streamed"].startswith(REHEARSED)
    assert set(result["parsed"]) == {"steps", "final_answer"}
    assert parsed.body["output_config"]["format"]["type"] == "json_schema"
    assert result["finish_reason"] == "tool_calls"
    assert (asked.body["tools"][0]["name"], asked.body["tools"][0]["strict"]) == ("get_weather", True)
    assert kinds(answered) == TOOL_LOOP
    assert "sunny in" in result["answer"]
    assert all(text.startswith(REHEARSED) for text in result["choices"].values())
    assert len(choices) == 2
    assert result["refused"] == [400, "tools[0].function.name"]
    assert kinds(streamed) == [("user", ["text"])]


def test_langchain_invokes_streams_calls_tools_and_structures(cloud: Cloud, home: Path) -> None:
    result = output("langchain_app.py", cloud, home)

    invoked, streamed, asked, answered, by_schema, by_function, seen = cloud.turns
    assert invoked.body["system"][-1]["text"] == "Be brief."
    assert result["invoked"].startswith(REHEARSED)
    assert result["streamed"].startswith(REHEARSED)
    assert asked.body["tools"][0]["name"] == "multiply"
    assert kinds(answered) == TOOL_LOOP
    assert "The tools gave" in result["answer"]
    assert set(result["by_schema"]) == set(result["by_function"]) == {"setup", "punchline"}
    assert by_schema.body["output_config"]["format"]["type"] == "json_schema"
    assert by_function.body["tool_choice"]["type"] == "tool"
    assert kinds(seen) == [("user", ["text", "image"])]
    assert "You sent 1 image" in result["seen"]
    assert kinds(streamed) == [("user", ["text"])]


def test_pydantic_ai_calls_its_tool_and_gives_a_model(cloud: Cloud, home: Path) -> None:
    result = output("pydantic_ai_app.py", cloud, home)

    assert result["calls"] == ["roll_die"]
    assert kinds(cloud.turns[1]) == TOOL_LOOP
    assert "4" in result["answer"]
    assert set(result["structured"]) == {"name", "country"}
    assert len(cloud.turns) == 3


def test_instructor_gives_a_response_model(cloud: Cloud, home: Path) -> None:
    assert set(output("instructor_app.py", cloud, home)) == {"name", "age"}
    assert len(cloud.turns) == 1


def test_litellm_asks_whole_streamed_and_asynchronously(cloud: Cloud, home: Path) -> None:
    result = output("litellm_app.py", cloud, home)

    assert all(text.startswith(REHEARSED) for text in result.values())
    assert len(cloud.turns) == 3


def test_the_llm_command_prints_an_answer(cloud: Cloud, home: Path) -> None:
    environment = clean_environment(home, cloud.base_url, LLM_USER_PATH=str(home / "llm"))

    done = run([str(BIN / "llm"), "-m", "gpt-4o-mini", "Hello"], environment)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(REHEARSED)
    assert len(cloud.turns) == 1

"""openai-node's Responses API: whole, streamed, parsed, with tools, in the background, in a conversation."""

import json
import shutil
from pathlib import Path

import pytest

from rehearsal import Reply
from rehearsal.reply import ToolCall
from tests.end_to_end.cloud import Cloud
from tests.end_to_end.test_node import FOLDER, MODULES, NODES
from tests.end_to_end.understudy import clean_environment, run


@pytest.mark.skipif(
    shutil.which("node") is None or not all((MODULES / name).is_dir() for name in ("openai", "zod")),
    reason="node, openai-node or zod is not installed: npm ci --prefix tests/end_to_end/node",
)
def test_openai_node_uses_the_responses_api_as_its_readme_shows(cloud: Cloud, home: Path) -> None:
    solved = {"steps": [{"explanation": "Take 31 away.", "output": "8x = -29"}], "final_answer": "x = -29/8"}
    query = '{"table_name": "orders", "limit": null}'
    cloud.script(
        Reply(text="Aye, optional."),
        Reply(text="Nay."),
        Reply(text="Sheep sleep deep"),
        Reply(text=json.dumps(solved)),
        Reply(text="", thinking="Which table?", tool_calls=(ToolCall("query", input_json=query),)),
        Reply(text="There is one order."),
        Reply(text="It was a dark night."),
        Reply(text="Hello Ann."),
    )

    done = run(["node", str(FOLDER / "responses.mjs")], clean_environment(home, cloud.base_url))

    assert done.stderr == "" and done.returncode == 0
    result = json.loads(done.stdout)
    first, second, _, parsed, asked, answered, _, talked = (turn.body for turn in cloud.turns)
    assert (result["text"], result["next"]) == ("Aye, optional.", "Nay.")
    assert "pirate" in first["system"][-1]["text"]
    said = [(message["role"], message["content"][0]["text"]) for message in second["messages"]]
    assert said == [
        ("user", "Are semicolons optional in JavaScript?"),
        ("assistant", "Aye, optional."),
        ("user", "And in C?"),
    ]
    assert result["types"][0] == "response.created" and result["types"][-1] == "response.completed"
    assert result["numbers"] == list(range(len(result["types"])))
    assert result["parsed"] == solved
    assert parsed["output_config"]["format"]["type"] == "json_schema"
    assert result["call"] == {"name": "query", "parsed": json.loads(query), "streamed": query}
    assert (asked["tools"][0]["name"], asked["tools"][0]["strict"]) == ("query", True)
    assert [block["type"] for message in answered["messages"] for block in message["content"]] == [
        "text",
        "thinking",
        "tool_use",
        "tool_result",
    ]
    assert result["answer"] == result["whole"] == "There is one order."
    assert result["begun"] == "queued"
    assert result["background"] == result["again"] == "It was a dark night."
    assert result["resumed"][0] == 4
    assert result["topic"] == "project-x"
    assert result["items"] == [["message", "user"], ["message", "user"], ["message", "assistant"]]
    assert [message["content"][0]["text"] for message in talked["messages"]] == ["I am Ann."]
    assert (result["gone"], result["refused"]) == (True, 404)


@pytest.mark.skipif(
    not all((MODULES / name).is_dir() for name in ("openai", "ws")),
    reason="openai-node or ws is not installed: npm ci --prefix tests/end_to_end/node",
)
@pytest.mark.parametrize("which", NODES)
def test_openai_nodes_websocket_goes_through_the_proxy(which: str, cloud: Cloud, home: Path) -> None:
    node = NODES[which]
    if node is None or not Path(node).exists():
        pytest.skip(f"{which} is not installed")
    cloud.script(Reply(text="one"), Reply(text="two"))

    done = run([node, str(FOLDER / "websocket.mjs")], clean_environment(home, cloud.base_url))

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == ["one", "two"]
    said = [(message["role"], message["content"][0]["text"]) for message in cloud.turns[1].body["messages"]]
    assert said == [("user", "Say one."), ("assistant", "one"), ("user", "Say two.")]

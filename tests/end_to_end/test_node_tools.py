"""openai-node's own helpers: the loop that calls tools, and the stream with events."""

import json
import shutil
from pathlib import Path

import pytest

from tests.end_to_end.cloud import Cloud
from tests.end_to_end.test_node import FOLDER, MODULES
from tests.end_to_end.understudy import clean_environment, run


@pytest.mark.skipif(
    shutil.which("node") is None or not (MODULES / "openai").is_dir(),
    reason="node or openai-node is not installed: npm ci --prefix tests/end_to_end/node",
)
def test_openai_node_calls_its_tool_and_reads_the_answer(cloud: Cloud, home: Path) -> None:
    environment = clean_environment(home, cloud.base_url)

    done = run(["node", str(FOLDER / "tools.mjs")], environment)

    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    called, answered, _ = cloud.turns
    assert len(result["asked"]) == 1
    assert f"sunny in {result['asked'][0]}" in result["answer"]
    assert called.body["tools"][0]["name"] == "get_weather"
    assert [block["type"] for message in answered.body["messages"] for block in message["content"]] == [
        "text",
        "tool_use",
        "tool_result",
    ]
    assert result["streamed"] == result["whole"] != ""

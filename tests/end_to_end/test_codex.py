"""OpenAI's Codex CLI, unmodified, working in a folder of its own."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from rehearsal import Reply
from rehearsal.reply import ToolCall
from rehearsal.server import ReceivedRequest
from tests.end_to_end.cloud import Cloud
from tests.end_to_end.test_node import MODULES
from tests.end_to_end.understudy import clean_environment, run

CODEX = shutil.which("codex") or shutil.which("codex", path=MODULES / ".bin")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CODEX is None, reason="the Codex CLI is not installed: npm install -g @openai/codex"),
]

# What would ask other hosts than OpenAI's API.
QUIET = """
[features]
plugins = false
api_key_model_discovery = false
"""
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)
EXEC = ("--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox")


def codex(
    cloud: Cloud, home: Path, prompt: str, *options: str, run_options: Sequence[str] = ()
) -> CompletedProcess[str]:
    """Run ``codex exec`` through Understudy in a folder of its own, with no key but the placeholder."""
    assert CODEX is not None
    own = home / ".codex"
    own.mkdir(parents=True, exist_ok=True)
    (own / "config.toml").write_text(QUIET)
    env = clean_environment(home, cloud.base_url, CODEX_HOME=str(own))
    done = run([CODEX, "exec", *EXEC, *options, prompt], env, *run_options)
    assert done.returncode == 0, done.stderr
    return done


def call(name: str, **arguments: str) -> Reply:
    """Return a reply that calls one tool and says nothing."""
    return Reply(text="", tool_calls=(ToolCall(name, input=arguments),))


def results(received: ReceivedRequest) -> list[str]:
    """Return what the tools gave, with the last one last."""
    blocks = [block for message in received.body["messages"] for block in message["content"]]
    return [json.dumps(block["content"]) for block in blocks if block["type"] == "tool_result"]


def test_codex_prints_an_answer_without_waiting_for_websockets(cloud: Cloud, home: Path) -> None:
    cloud.script(Reply(text="Hello."))

    done = codex(cloud, home, "Say hello")

    assert done.stdout == "Hello.\n"
    assert "Reconnecting" not in done.stderr
    (turn,) = cloud.turns
    assert turn.body["messages"][-1]["content"][-1]["text"] == "Say hello"
    assert any("You are Codex" in block["text"] for block in turn.body["system"])
    assert {"functions__exec", "collaboration__spawn_agent"} <= {tool["name"] for tool in turn.body["tools"]}


def test_codex_runs_a_script_that_calls_its_shell_and_goes_on(cloud: Cloud, home: Path) -> None:
    script = 'const r = await tools.exec_command({cmd: "echo of codex | tee made.txt"}); text(JSON.stringify(r));'
    cloud.script(call("functions__exec", input=script), Reply(text="It is made."))

    done = codex(cloud, home, "Make a file")

    assert (home / "made.txt").read_text() == "of codex\n"
    assert done.stdout == "It is made.\n"
    assert "of codex" in results(cloud.turns[1])[-1]


def test_codex_with_plain_tools_thinks_runs_commands_and_patches_files(cloud: Cloud, home: Path) -> None:
    patch = "*** Begin Patch\n*** Add File: patched.txt\n+by codex\n*** End Patch\n"
    command = ToolCall("exec_command", input={"cmd": "echo of codex | tee made.txt"})
    cloud.script(
        Reply(text="I look.", thinking="A file, then.", tool_calls=(command,)),
        call("apply_patch", input=patch),
        Reply(text="Both are made."),
    )

    done = codex(cloud, home, "Make two files", "--model", "gpt-5.5", "-c", "model_reasoning_summary=auto")

    assert (home / "made.txt").read_text() == "of codex\n"
    assert (home / "patched.txt").read_text() == "by codex\n"
    assert done.stdout == "Both are made.\n"
    _, ran, patched = cloud.turns
    assert [block["type"] for block in ran.body["messages"][1]["content"]] == ["thinking", "text", "tool_use"]
    assert "of codex" in results(ran)[-1]
    assert "Success" in results(patched)[-1]


def test_codex_with_a_model_it_does_not_know_works_too(cloud: Cloud, home: Path) -> None:
    cloud.script(call("exec_command", cmd="echo of codex | tee made.txt"), Reply(text="It is made."))

    done = codex(cloud, home, "Make a file", "--model", "gpt-4o")

    assert (home / "made.txt").read_text() == "of codex\n"
    assert done.stdout == "It is made.\n"


def test_codex_sends_images_and_asks_for_json(cloud: Cloud, home: Path) -> None:
    home.mkdir()
    image, schema = home / "dot.png", home / "schema.json"
    image.write_bytes(PNG)
    fields = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    schema.write_text(json.dumps(fields | {"additionalProperties": False}))
    script = f"image(await tools.view_image({json.dumps({'path': str(image)})}));"
    cloud.script(call("functions__exec", input=script), Reply(text='{"a": "dot"}'))

    done = codex(cloud, home, "Look", "--json", "--output-schema", str(schema), f"--image={image}", "--")

    events = [json.loads(line) for line in done.stdout.splitlines()]
    asked, seen = cloud.turns
    assert events[-2]["item"]["text"] == '{"a": "dot"}'
    assert events[-1]["usage"]["output_tokens"] > 0
    assert asked.body["output_config"]["format"]["schema"]["required"] == ["a"]
    assert "image" in [block["type"] for block in asked.body["messages"][-1]["content"]]
    (result,) = [block for block in seen.body["messages"][-1]["content"] if block["type"] == "tool_result"]
    assert [part["type"] for part in result["content"]] == ["text", "image"]


def test_codex_goes_on_with_an_earlier_conversation(cloud: Cloud, home: Path) -> None:
    cloud.script(Reply(text="Hello Ann."), Reply(text="Ann."))

    codex(cloud, home, "I am Ann.")
    done = codex(cloud, home, "Who am I?", "resume", "--last")

    assert done.stdout == "Ann.\n"
    said = [message["content"][-1]["text"] for message in cloud.turns[1].body["messages"]]
    assert said == ["I am Ann.", "Hello Ann.", "Who am I?"]


def test_codex_gives_work_to_an_agent_of_its_own(cloud: Cloud, home: Path) -> None:
    def reply(received: ReceivedRequest) -> Reply:
        text = json.dumps(received.body["messages"])
        if "NEW_TASK" in text:
            return Reply(text="one two three")
        if not results(received):
            arguments = {"task_name": "counter", "message": "Count to three.", "fork_turns": "none"}
            return call("collaboration__spawn_agent", **arguments)
        if "one two three" not in text:
            return call("collaboration__wait_agent")
        return Reply(text="It has counted.")

    cloud.script(reply)

    done = codex(cloud, home, "Let an agent count.")

    tasks = [json.dumps(turn.body["messages"]) for turn in cloud.turns]
    assert any("NEW_TASK" in task and "Count to three." in task for task in tasks)
    assert done.stdout == "It has counted.\n"


def test_codex_goes_on_when_it_makes_room_in_its_context(cloud: Cloud, home: Path) -> None:
    def reply(received: ReceivedRequest) -> Reply:
        return call("functions__exec", input='text("first step")') if len(cloud.turns) == 1 else Reply(text="Done.")

    cloud.script(reply)

    done = codex(cloud, home, "Do it", "-c", "model_auto_compact_token_limit=1000")

    assert done.stdout == "Done.\n"


def test_a_recorded_run_of_codex_is_replayed(cloud: Cloud, home: Path) -> None:
    cassette = str(home / "codex.jsonl")
    cloud.script(Reply(text="Hello."))

    recorded = codex(cloud, home, "Say hello", run_options=("--record", cassette))
    replayed = codex(cloud, home, "Say hello", run_options=("--replay", cassette))

    assert replayed.stdout == recorded.stdout == "Hello.\n"
    assert len(cloud.turns) == 1

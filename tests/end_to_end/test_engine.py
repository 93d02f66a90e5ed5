"""What a person gets of the engine, through the whole proxy."""

import itertools
import json
import os
import signal
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from rehearsal import AT_HEAD, Reply
from rehearsal.reply import ToolCall
from tests.end_to_end import processes
from tests.end_to_end.cloud import GUARD_S, Cloud
from tests.end_to_end.understudy import Proxy, Started, clean_environment, serve

ENDPOINT = "https://api.openai.com/v1/chat/completions"
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}


def ask(words: str, **fields: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": words}], **fields}


def http(proxy: Proxy) -> httpx.Client:
    return httpx.Client(proxy=proxy.url, verify=proxy.tls(), timeout=GUARD_S)


def test_each_answer_tells_how_its_process_came_to_it(cloud: Cloud, home: Path) -> None:
    with serve(clean_environment(home, cloud.base_url, UNDERSTUDY_SPARE_PROCESSES="0")) as proxy, http(proxy) as client:
        cloud.script(*(Reply(text=f"answer {n}") for n in range(3)))
        first = client.post(ENDPOINT, json=ask("one"))
        messages = [
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "answer 0"},
            {"role": "user", "content": "two"},
        ]
        second = client.post(ENDPOINT, json={"model": "gpt-4o", "messages": messages})
        third = client.post(ENDPOINT, json=ask("something else"))
        state = client.get("http://understudy.local/").json()

    came = [answer.headers["x-understudy-process"] for answer in (first, second, third)]
    assert came == ["cold", "continued", "reused"]
    assert (state["counts"]["continued"], state["counts"]["reused"]) == (1, 1)
    assert [one["turns"] for one in state["processes"]] == [3]


def test_the_state_is_told_at_the_base_url_door_too(proxy: Proxy) -> None:
    door = proxy.err.wait_for(r"OPENAI_BASE_URL=(http://127\.0\.0\.1:\d+)/v1")[1]

    state = httpx.get(f"{door}/understudy/status", timeout=GUARD_S).json()

    assert state["limit"] >= 1
    assert state["watchdog"] is True


def test_a_failure_before_the_first_token_is_retried_without_the_app_noticing(cloud: Cloud, home: Path) -> None:
    with serve(clean_environment(home, cloud.base_url)) as proxy, proxy.openai() as client:
        cloud.script(
            Reply.error(529, headers=(("retry-after", "1"),)), Reply.error(500), Reply(text="At last, an answer.")
        )
        answer = client.chat.completions.with_raw_response.create(**ask("Hello"))
        state = httpx.get("http://understudy.local/", proxy=proxy.url, timeout=GUARD_S).json()

    assert answer.parse().choices[0].message.content == "At last, an answer."
    assert answer.headers["x-understudy-retries"] == "2"
    assert sum(state["retries"].values()) == 2
    assert len(cloud.turns) == 3


def test_a_tool_loop_stays_on_its_process_and_each_request_extends_the_one_before(cloud: Cloud, home: Path) -> None:
    calls = [Reply(text="", tool_calls=(ToolCall("look_up", input_json=f'{{"n": {n}}}'),)) for n in range(4)]
    messages: list[Any] = [{"role": "user", "content": "go"}]
    came = []
    with serve(clean_environment(home, cloud.base_url)) as proxy, http(proxy) as client:
        cloud.script(*calls, Reply(text="done"))
        for _ in range(5):
            answer = client.post(ENDPOINT, json={"model": "gpt-4o", "messages": messages, "tools": [TOOL]})
            came.append(answer.headers["x-understudy-process"])
            message = answer.json()["choices"][0]["message"]
            messages.append(message)
            messages += [
                {"role": "tool", "tool_call_id": call["id"], "content": f"result of {call['id']}"}
                for call in message.get("tool_calls") or ()
            ]

    assert message["content"] == "done"
    assert came[1:] == ["continued"] * 4
    assert len(cloud.turns) == 5
    bodies = [prompt(received.body) for received in cloud.turns]
    for before, after in itertools.pairwise(bodies):
        assert after.startswith(before)


def prompt(body: dict[str, Any]) -> str:
    """Return what the prompt cache works on, as bytes in order: tools, system, messages, less markers and billing."""

    def clean(block: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in block.items() if key != "cache_control"}

    system = [clean(block) for block in body["system"] if not block["text"].startswith("x-anthropic-billing-header")]
    parts = [body["tools"], system, *({**m, "content": [clean(b) for b in m["content"]]} for m in body["messages"])]
    return "\n".join(json.dumps(part) for part in parts)


def test_the_prompt_cache_is_kept_whichever_process_serves_a_conversation(cloud: Cloud, home: Path) -> None:
    picture = (
        "data:image/png;base64,"
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    )
    messages: list[Any] = [
        {"role": "system", "content": "You look things up."},
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": picture}}, {"type": "text", "text": "What is it?"}],
        },
    ]
    came = set()
    env = clean_environment(home, cloud.base_url, UNDERSTUDY_MAX_PROCESSES="3")
    with serve(env) as proxy, http(proxy) as client:
        cloud.script(
            *(
                Reply(text=f"Let me see {n}. ", tool_calls=(ToolCall("look_up", input_json='{"b": 1.0, "a": 2}'),))
                if n % 2
                else Reply(text=f" answer {n} \n")
                for n in range(12)
            )
        )
        for n in range(12):
            answer = client.post(ENDPOINT, json={"model": "gpt-4o", "messages": messages, "tools": [TOOL]})
            came.add(answer.headers["x-understudy-process"])
            message = answer.json()["choices"][0]["message"]
            messages.append({key: message[key] for key in ("role", "content", "tool_calls") if key in message})
            results = [
                {"role": "tool", "tool_call_id": call["id"], "content": "a result"}
                for call in message.get("tool_calls") or ()
            ]
            messages += results or [{"role": "user", "content": f"and {n}?"}]
            if n % 3 == 2:
                # The process that has the conversation dies, so another must take it up.
                for pid in processes.claude_in(home):
                    os.kill(pid, signal.SIGKILL)

    bodies = [prompt(received.body) for received in cloud.turns]
    assert len(bodies) == 12
    assert came >= {"continued"} and len(came) > 1
    for before, after in itertools.pairwise(bodies):
        assert after.startswith(before)


@pytest.mark.skipif(not Path("/bin/sh").exists(), reason="the watchdog is a POSIX shell")
def test_when_the_proxy_is_killed_amid_a_turn_nothing_of_it_is_left(cloud: Cloud, home: Path) -> None:
    gate = cloud.gate()
    cloud.script(Reply(text="one two three", gates={1: gate}))
    with serve(clean_environment(home, cloud.base_url)) as proxy:
        with http(proxy) as client, client.stream("POST", ENDPOINT, json=ask("Hello", stream=True)) as answer:
            next(answer.iter_bytes())
            started = processes.living_in(home)
            proxy.process.kill()
            proxy.process.wait()

            # The API's stream still waits at its gate, so nothing there could have told them.
            assert processes.still_there([pid for pid in started if pid != proxy.process.pid]) == []
        gate.open()


def test_being_ended_waits_for_the_answers_that_run(cloud: Cloud, home: Path) -> None:
    gate = cloud.gate()
    cloud.script(Reply(text="one two three", gates={1: gate}))
    with serve(clean_environment(home, cloud.base_url)) as proxy:
        with http(proxy) as client, client.stream("POST", ENDPOINT, json=ask("Hello", stream=True)) as answer:
            pieces = answer.iter_text()
            text = next(pieces)
            proxy.process.send_signal(signal.SIGTERM)
            proxy.err.wait_for("answers are still running")
            gate.open()
            text += "".join(pieces)
        status = proxy.process.wait()

    assert text.endswith("data: [DONE]\n\n")
    assert status == 143
    assert processes.living_in(home) == []


def test_an_answer_that_is_awaited_too_long_keeps_its_connection_alive(cloud: Cloud, home: Path) -> None:
    gate = cloud.gate()
    cloud.script(Reply(text="one", gates={AT_HEAD: gate}))
    text = ""
    with (
        serve(clean_environment(home, cloud.base_url, UNDERSTUDY_KEEP_ALIVE_S="1")) as proxy,
        http(proxy) as client,
        client.stream("POST", ENDPOINT, json=ask("Hello", stream=True)) as answer,
    ):
        for piece in answer.iter_text():
            text += piece
            gate.open()

    assert text.startswith(": keep-alive\n\n")
    assert text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize(
    "script",
    [
        "#!/bin/sh\necho this is no JSON\nexec sleep 600\n",
        "#!/bin/sh\nexit 7\n",
        '#!/bin/sh\necho \'{"type": "control_response"}\'\nexec sleep 600\n',
    ],
    ids=["talks nonsense", "ends at once", "half an answer"],
)
def test_a_claude_that_does_not_work_is_one_clean_error(cloud: Cloud, home: Path, tmp_path: Path, script: str) -> None:
    program = tmp_path / "claude"
    program.write_text(script)
    program.chmod(0o755)
    env = clean_environment(
        home, cloud.base_url, UNDERSTUDY_CLI_PATH=str(program), UNDERSTUDY_FIRST_TOKEN_TIMEOUT_S="3"
    )
    with serve(env) as proxy, http(proxy) as client:
        answer = client.post(ENDPOINT, json=ask("Hello", stream=True), headers={"x-stainless-timeout": "5"})

    assert answer.status_code in (500, 504)
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert str(program) not in answer.text


def test_a_full_disk_under_claudes_configuration_does_not_keep_it_from_answering(
    cloud: Cloud, home: Path, tmp_path: Path
) -> None:
    program = tmp_path / "claude"
    real = next(Path(openai.__file__).parents[1].glob("claude_agent_sdk/_bundled/claude"))
    # No file may grow beyond nothing, as on a full disk.
    program.write_text(f'#!/bin/sh\ntrap "" XFSZ\nulimit -f 0\nexec {real} "$@"\n')
    program.chmod(0o755)
    cloud.script(Reply(text="It works."))
    env = clean_environment(home, cloud.base_url, UNDERSTUDY_CLI_PATH=str(program))
    with serve(env) as proxy, http(proxy) as client:
        answer = client.post(ENDPOINT, json=ask("Hello"))

    assert (answer.status_code, "It works." in answer.text) in ((200, True), (500, False))


def test_a_claude_of_another_version_is_said(cloud: Cloud, home: Path, tmp_path: Path) -> None:
    program = tmp_path / "claude"
    real = next(Path(openai.__file__).parents[1].glob("claude_agent_sdk/_bundled/claude"))
    program.write_text(
        f'#!/bin/sh\n{real} "$@" | sed -u \'s/"claude_code_version":"[^"]*"/"claude_code_version":"9.9.9"/\'\n'
    )
    program.chmod(0o755)
    cloud.script(Reply(text="Hello."))
    with serve(clean_environment(home, cloud.base_url, UNDERSTUDY_CLI_PATH=str(program))) as proxy:
        with http(proxy) as client:
            answer = client.post(ENDPOINT, json=ask("Hello"))

        assert answer.status_code == 200
        assert proxy.err.wait_for(r"Claude Code has version 9\.9\.9; Understudy was verified with version \d")


def test_http_understudy_local_is_nowhere_but_here(proxy: Proxy) -> None:
    answer = httpx.get("http://understudy.local/v1/unknown", proxy=proxy.url, timeout=GUARD_S)

    assert answer.status_code == 404
    assert isinstance(proxy, Started)

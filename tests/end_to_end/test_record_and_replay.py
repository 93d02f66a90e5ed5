"""What went over the wire is recorded, and played again to the same unmodified clients."""

import base64
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from cassettes.format import Entry, Problem
from cassettes.read import read
from rehearsal import Reply
from rehearsal.reply import Fault, FaultKind, ToolCall
from tests.end_to_end import processes
from tests.end_to_end.cloud import GUARD_S, Cloud
from tests.end_to_end.understudy import Proxy, clean_environment, run, serve

ENDPOINT = "https://api.openai.com/v1/chat/completions"
APP_KEY = "sk-proj-canary0123456789abcdefghijkl"
PICTURE = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc000000301010018dd8db0"
        "0000000049454e44ae426082"
    )
).decode()
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}


def ask(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": text}], **more}


SESSION: list[dict[str, Any]] = [
    ask("Count.", stream=True, stream_options={"include_usage": True}),
    ask("Hello"),
    ask("Look it up.", tools=[TOOL], stream=True),
    ask("", messages=[{"role": "user", "content": [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}},
    ]}]),
    ask("Twice, please.", n=2),
    ask("Refuse this.", logit_bias={"50256": -100}),
    ask("An error, please."),
]  # fmt: skip

ANSWERS = [
    Reply(text="one two three"),
    Reply(text="Aye."),
    Reply(text="I look.", tool_calls=(ToolCall("look_up", input_json="{}"),)),
    Reply(text="A dot."),
    Reply(text="First."),
    Reply(text="Second."),
    Reply.error(400, message="the API says no"),
]


def client_of(proxy: Proxy) -> httpx.Client:
    headers = {"authorization": f"Bearer {APP_KEY}"}
    return httpx.Client(proxy=proxy.url, verify=proxy.tls(), timeout=GUARD_S, headers=headers)


def play(proxy: Proxy, requests: list[dict[str, Any]]) -> list[tuple[int, list[bytes]]]:
    """Send requests one after another; return each answer's status and events, or its body."""
    answers = []
    with client_of(proxy) as client:
        for request in requests:
            with client.stream("POST", ENDPOINT, json=request) as answer:
                body = answer.read()
            answers.append((answer.status_code, body.split(b"\n\n")))
    return answers


def entries_of(cassette: Path) -> list[Entry]:
    found = list(read(cassette))
    assert [str(problem) for problem in found if isinstance(problem, Problem)] == []
    return sorted((entry for entry in found if isinstance(entry, Entry)), key=lambda entry: entry.started)


def test_a_recording_without_v1_in_the_path_answers_requests_with_it(cloud: Cloud, home: Path) -> None:
    cloud.script(Reply(text="Aye."))
    cassette, env = home / "session.jsonl", clean_environment(home, cloud.base_url)
    with serve(env, "--record", str(cassette)) as proxy, proxy.openai(base_url="https://api.openai.com") as client:
        recorded = client.chat.completions.create(**ask("Hello"))
        proxy.end()
    with serve(env, "--replay", str(cassette)) as proxy, proxy.openai() as client:
        replayed = client.chat.completions.create(**ask("Hello"))

    assert replayed == recorded
    assert [entry.request.path for entry in entries_of(cassette)] == ["/v1/chat/completions"]
    assert len(cloud.turns) == 1


def test_a_session_is_replayed_byte_for_byte_without_claude_or_credentials(cloud: Cloud, home: Path) -> None:
    cloud.script(*ANSWERS)
    cassette = home / "session.jsonl"
    with serve(clean_environment(home, cloud.base_url), "--record", str(cassette)) as proxy:
        recorded = play(proxy, SESSION)
        proxy.end()
    asked = len(cloud.turns)
    assert [status for status, _ in recorded] == [200, 200, 200, 200, 200, 400, 400]

    with serve(clean_environment(home), "--replay", str(cassette), "--speed", "0") as proxy:
        replayed = play(proxy, SESSION)
        assert processes.living_in(home) == [proxy.process.pid]
        proxy.end()

    assert replayed == recorded
    assert len(cloud.turns) == asked
    assert "replay: 7 of 7 requests answered; 7 of 7 entries used" in proxy.err.text
    told = entries_of(cassette)
    assert [len(entry.events) > 0 for entry in told] == [True] * 5 + [False, False]
    assert [entry.how for entry in told] == ["done"] * 7
    assert told[0].turn is not None and told[0].message["choices"][0]["message"]["content"] == "one two three"
    assert told[0].cost_usd is not None and told[0].usage is not None and told[0].process
    assert {event.of for event in told[4].events} == {0, 1} and len(told[4].more_turns) == 1
    assert told[6].error["message"]


def test_no_secret_of_an_app_reaches_a_cassette(cloud: Cloud, home: Path) -> None:
    canary = "sk-proj-another0123456789abcdefghijkl"
    cloud.script(Reply(text=f"Your key is {canary}."), Reply(text="Aye."))
    cassette = home / "session.jsonl"
    with serve(clean_environment(home, cloud.base_url), "--record", str(cassette)) as proxy:
        play(proxy, [ask(f"My key is {canary}, and {APP_KEY}.", stream=True), ask("Hello", user=canary)])
        proxy.end()

    written = b"".join(path.read_bytes() for path in home.rglob("session*/**/*") if path.is_file())
    written += cassette.read_bytes()
    assert canary.encode() not in written
    assert APP_KEY.encode() not in written
    first, second = entries_of(cassette)
    assert first.request.headers["authorization"] == second.request.headers["authorization"] != f"Bearer {APP_KEY}"
    assert "x-understudy-origin" not in first.request.headers
    assert first.request.headers["host"] == "api.openai.com"


def test_thirty_two_streams_at_once_are_recorded_apart_and_replayed(cloud: Cloud, home: Path) -> None:
    requests = [ask(f"Number {n}", stream=True) for n in range(32)]
    cassette = home / "session.jsonl"

    def all_at_once(proxy: Proxy) -> list[list[tuple[int, list[bytes]]]]:
        with ThreadPoolExecutor(32) as pool:
            return list(pool.map(lambda request: play(proxy, [request]), requests))

    with serve(clean_environment(home, cloud.base_url), "--record", str(cassette)) as proxy:
        recorded = all_at_once(proxy)
        proxy.end()
    with serve(clean_environment(home), "--replay", str(cassette), "--speed", "0") as proxy:
        replayed = all_at_once(proxy)

    assert replayed == recorded
    for entry in entries_of(cassette):
        said = entry.request.json["messages"][0]["content"]
        assert f"“{said}”" in entry.message["choices"][0]["message"]["content"]


def test_a_stream_that_its_app_left_is_kept_as_cut_and_is_cut_again(cloud: Cloud, home: Path) -> None:
    gate = cloud.gate()
    cloud.script(Reply(text="one two three four", gates={2: gate}))
    cassette = home / "session.jsonl"
    with serve(
        clean_environment(home, cloud.base_url, UNDERSTUDY_LOG_LEVEL="debug"), "--record", str(cassette)
    ) as proxy:
        with client_of(proxy) as client, client.stream("POST", ENDPOINT, json=ask("Count.", stream=True)) as answer:
            first = next(answer.iter_bytes())
        proxy.err.wait_for("cut off")
        gate.open()
        proxy.end()

    (entry,) = entries_of(cassette)
    assert entry.how == "cut_by_app"
    assert entry.body.startswith(first)

    with serve(clean_environment(home), "--replay", str(cassette)) as proxy, pytest.raises(httpx.RemoteProtocolError):
        play(proxy, [ask("Count.", stream=True)])


def test_a_miss_is_told_with_the_nearest_entry_and_ends_a_wrapped_run_with_1(cloud: Cloud, home: Path) -> None:
    cassette = home / "session.jsonl"
    env = clean_environment(home, cloud.base_url, OPENAI_API_KEY=APP_KEY)
    app = [sys.executable, "-c", MISSING_APP]
    recorded = run([*app, "Say this"], env, "--record", str(cassette))
    assert recorded.returncode == 0, recorded.stderr

    again = run([*app, "Say that"], clean_environment(home, OPENAI_API_KEY=APP_KEY), "--replay", str(cassette))

    assert again.returncode == 1
    assert "409" in again.stdout
    assert '-  "content": "Say this"' in again.stdout and '+  "content": "Say that"' in again.stdout
    assert "replay: 0 of 1 requests answered; 0 of 1 entries used" in again.stderr
    assert "replay: record it: --on-miss record" in again.stderr


def test_a_run_whose_misses_were_answered_live_ends_with_the_apps_status(cloud: Cloud, home: Path) -> None:
    env = clean_environment(home, cloud.base_url, OPENAI_API_KEY=APP_KEY)

    done = run(
        [sys.executable, "-c", MISSING_APP, "Hello"], env, "--replay", str(home / "new.jsonl"), "--on-miss", "record"
    )

    assert done.returncode == 0
    assert done.stderr == "replay: 0 requests answered from the cassette, 1 asked live and recorded\n"


MISSING_APP = """
import sys, openai
try:
    print(openai.OpenAI().chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": sys.argv[1]}]))
except openai.ConflictError as error:
    print(error.status_code, error.message)
"""


def test_a_missed_request_is_asked_live_once_and_recorded(cloud: Cloud, home: Path) -> None:
    cassette = home / "session.jsonl"
    options = ("--replay", str(cassette), "--on-miss", "record", "--speed", "0")

    with serve(clean_environment(home, cloud.base_url), *options) as proxy:
        first = play(proxy, [ask("Hello")])
        proxy.end()
    with serve(clean_environment(home, cloud.base_url), *options) as proxy:
        second = play(proxy, [ask("Hello"), ask("And more")])
        proxy.end()

    assert second[0] == first[0]
    assert len(cloud.turns) == 2
    assert [entry.request.json["messages"][0]["content"] for entry in entries_of(cassette)] == ["Hello", "And more"]


@pytest.mark.parametrize(
    ("reply", "status", "kept"),
    [
        (Reply.error(529), 503, False),
        (Reply.error(401), 401, False),
        (Reply(text="one two three four", fault=Fault(FaultKind.SSE_ERROR, after=2)), 200, False),
        (Reply.error(400, message="the API says no"), 400, True),
    ],
    ids=["overloaded", "not logged in", "a stream that breaks off", "an invalid request"],
)
def test_a_failure_of_the_proxy_is_no_answer_for_a_replay(
    cloud: Cloud, home: Path, reply: Reply, status: int, kept: bool
) -> None:
    cassette = home / "session.jsonl"
    options = ("--replay", str(cassette), "--on-miss", "record", "--speed", "0")
    env = clean_environment(home, cloud.base_url, UNDERSTUDY_RETRIES="0")
    request = ask("Hello", stream=True)
    cloud.script(reply, Reply(text="Aye."))

    with serve(env, *options) as proxy:
        first = play(proxy, [request])
        proxy.end()
    assert first[0][0] == status
    assert len(entries_of(cassette)) == kept
    assert ("it is asked again next time" in proxy.err.text) != kept

    with serve(env, *options) as proxy:
        second = play(proxy, [request])
        proxy.end()
    assert (second == first) == kept
    assert len(cloud.turns) == (1 if kept else 2)
    (entry,) = entries_of(cassette)
    assert (entry.status, entry.how) == ((400, "done") if kept else (200, "done"))


def test_failures_are_kept_and_played_where_that_is_wanted(cloud: Cloud, home: Path) -> None:
    cassette = home / "session.jsonl"
    options = ("--replay", str(cassette), "--on-miss", "record", "--speed", "0")
    env = clean_environment(home, cloud.base_url, UNDERSTUDY_RETRIES="0", UNDERSTUDY_REPLAY_KEEP_ERRORS="true")
    cloud.script(Reply.error(529))
    for _ in range(2):
        with serve(env, *options) as proxy:
            assert play(proxy, [ask("Hello")])[0][0] == 503
            proxy.end()
    assert len(cloud.turns) == 1


def test_recording_is_switched_on_and_off_while_the_proxy_runs(cloud: Cloud, home: Path) -> None:
    address = "http://understudy.local/understudy/record"

    def switch(proxy: Proxy, **headers: str) -> httpx.Response:
        with httpx.Client(proxy=proxy.url, timeout=GUARD_S) as client:
            return client.post(address, headers={name.replace("_", "-"): value for name, value in headers.items()})

    with serve(clean_environment(home, cloud.base_url)) as proxy:
        started = switch(proxy, x_understudy_record="start").json()
        play(proxy, [ask("Hello")])
        stopped = switch(proxy, x_understudy_record="stop").json()
        play(proxy, [ask("Unheard")])
        neither = switch(proxy)

    assert stopped["recording"] is None
    assert neither.status_code == 400
    (entry,) = entries_of(Path(started["recording"]["file"]))
    assert entry.request.json["messages"][0]["content"] == "Hello"


def test_a_proxy_killed_amid_a_stream_leaves_a_cassette_that_reads_up_to_there(cloud: Cloud, home: Path) -> None:
    gate = cloud.gate()
    cloud.script(Reply(text="Whole."), Reply(text="one two three four", gates={2: gate}))
    cassette = home / "session.jsonl"
    with serve(clean_environment(home, cloud.base_url), "--record", str(cassette)) as proxy:
        play(proxy, [ask("Hello")])
        with client_of(proxy) as client, client.stream("POST", ENDPOINT, json=ask("Count.", stream=True)) as answer:
            seen = next(answer.iter_bytes())
            os.kill(proxy.process.pid, signal.SIGKILL)
            gate.open()

    whole, broken = entries_of(cassette)
    assert (whole.how, broken.how) == ("done", "interrupted")
    assert broken.body.startswith(seen)


def test_a_client_bears_a_stream_that_is_cut_anew_at_random(cloud: Cloud, home: Path) -> None:
    cloud.script(Reply(text="Grüße, 世界, in many pieces 🎭 of text"))
    cassette = home / "session.jsonl"
    request = ask("Count.", stream=True)
    with serve(clean_environment(home, cloud.base_url), "--record", str(cassette)) as proxy:
        play(proxy, [request])
        proxy.end()

    texts = set()
    for seed in range(3):
        env = clean_environment(home, UNDERSTUDY_REPLAY_RECUT=str(seed))
        with serve(env, "--replay", str(cassette), "--speed", "0") as proxy, proxy.openai() as client:
            stream = client.chat.completions.create(**request)
            texts.add("".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices))

    assert texts == {"Grüße, 世界, in many pieces 🎭 of text"}


def test_faults_are_played_with_a_real_conversation(cloud: Cloud, home: Path) -> None:
    cassette, faults = home / "session.jsonl", home / "faults.toml"
    with serve(clean_environment(home, cloud.base_url), "--record", str(cassette)) as proxy:
        recorded = play(proxy, [ask("Count.", stream=True)])
        proxy.end()
    faults.write_text('[[fault]]\nstatus = 429\nheaders = {retry-after = "0"}\ntimes = 2\n')

    options = ("--replay", str(cassette), "--speed", "0", "--faults", str(faults))
    with serve(clean_environment(home), *options) as proxy:
        with proxy.openai() as client, pytest.raises(openai.RateLimitError):
            client.chat.completions.create(**ask("Count.", stream=True))
        refused, answered = play(proxy, [ask("Count.", stream=True)] * 2)

    assert refused[0] == 429
    assert answered == recorded[0]

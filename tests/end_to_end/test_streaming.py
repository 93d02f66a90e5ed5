"""An answer reaches the app as Claude gives it, told by the order of events and never by the clock."""

import json
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from rehearsal import AT_HEAD, Reply
from tests.end_to_end.cloud import GUARD_S, Cloud
from tests.end_to_end.tunnel import Http2, connect
from tests.end_to_end.understudy import Proxy, Started, clean_environment, serve

TEXT = "one two three four five "  # six deltas of four characters
HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def test_every_delta_has_reached_the_app_before_the_api_sends_the_last(proxy: Proxy, cloud: Cloud) -> None:
    gate = cloud.gate()
    cloud.script(Reply(text=TEXT, gates={5: gate}))
    seen: list[str] = []
    sent_when_seen = None

    with (
        proxy.openai() as client,
        client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True) as stream,
    ):
        for chunk in stream:
            seen += [choice.delta.content for choice in chunk.choices if choice.delta.content]
            if "".join(seen) == TEXT[:20] and not gate.opened:
                sent_when_seen = cloud.turns[0].sent
                gate.open()

    assert sent_when_seen == 5
    assert seen == ["one ", "two ", "thre", "e fo", "ur f", "ive "]
    assert cloud.turns[0].sent == 6


def curl(proxy: Proxy, *options: str, body: object = None) -> list[str]:
    """Return the command for a request through the proxy."""
    data = ["--data-binary", json.dumps(body), "-H", "content-type: application/json"] if body is not None else []
    return [
        "curl",
        "--silent",
        "--show-error",
        "--no-buffer",
        "--proxy",
        proxy.url,
        "--cacert",
        str(proxy.authority),
        *options,
        *data,
    ]


@needs_curl
@pytest.mark.parametrize("version", ["1.1", "2"])
def test_curl_streams_over_either_version_of_http(version: str, proxy: Proxy, cloud: Cloud, home: Path) -> None:
    gate = cloud.gate()
    cloud.script(Reply(text=TEXT, gates={5: gate}))
    body = {"model": "gpt-4o", "messages": HELLO, "stream": True}
    options = (f"--http{version}", "--write-out", "%{http_version}", "https://api.openai.com/v1/chat/completions")

    with Started(curl(proxy, *options, body=body), clean_environment(home)) as started:
        started.out.wait_for('"content":"ur f"')
        sent = cloud.turns[0].sent
        gate.open()
        status = started.process.wait()

    events = started.out.text.split("\n\n")
    assert status == 0
    assert sent == 5
    assert events[-2:] == ["data: [DONE]", version]
    assert all(event.startswith("data: {") for event in events[:-2])


@pytest.mark.slow
def test_thirty_two_streams_on_one_http2_connection_all_begin_before_any_ends(cloud: Cloud, home: Path) -> None:
    gate = cloud.gate()
    cloud.script(lambda _: Reply(text=TEXT, gates={1: gate}))
    env = clean_environment(home, cloud.base_url, UNDERSTUDY_MAX_PROCESSES="32")

    with serve(env) as proxy:
        tls = ssl.create_default_context(cafile=proxy.authority)
        tls.set_alpn_protocols(["h2"])
        with connect((proxy.host, proxy.port), "api.openai.com", 443, tls) as secure, Http2(secure) as client:
            request = {"model": "gpt-4o", "messages": HELLO, "stream": True}
            streams = [client.post("api.openai.com", "/v1/chat/completions", request) for _ in range(32)]
            client.read_until(lambda: all(b'"content":"one "' in client.bodies[stream] for stream in streams))
            ended_early = set(client.ended)
            gate.open()
            client.read_until(lambda: client.ended >= set(streams))

    assert ended_early == set()
    assert all(client.bodies[stream].endswith(b"data: [DONE]\n\n") for stream in streams)
    assert len(cloud.turns) == 32


def test_an_app_that_leaves_amid_a_stream_ends_the_turn_at_the_api(proxy: Proxy, cloud: Cloud) -> None:
    since = len(proxy.err.text)
    cloud.script(Reply(text=TEXT, gates={1: cloud.gate()}))

    with (
        proxy.openai() as client,
        client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True) as stream,
    ):
        next(chunk for chunk in stream if chunk.choices[0].delta.content)
    cloud.wait_for_disconnect(cloud.turns[0])

    assert proxy.wait_for_end_of_turn(since) == "cancelled"
    assert cloud.turns[0].sent == 1


@needs_curl
def test_an_app_that_leaves_before_its_answer_ends_the_turn_too(proxy: Proxy, cloud: Cloud, home: Path) -> None:
    since = len(proxy.err.text)
    cloud.script(Reply(gates={AT_HEAD: cloud.gate()}))
    body = {"model": "gpt-4o", "messages": HELLO}

    with Started(curl(proxy, "https://api.openai.com/v1/chat/completions", body=body), clean_environment(home)):
        cloud.wait_for_turns(1)
    cloud.wait_for_disconnect(cloud.turns[0])

    assert proxy.wait_for_end_of_turn(since) == "cancelled"


@needs_curl
def test_curl_is_answered_whole_over_http2(proxy: Proxy, cloud: Cloud, home: Path) -> None:
    cloud.script(Reply(text="All at once."))
    body = {"model": "gpt-4o", "messages": HELLO}
    command = curl(proxy, "--http2", "--verbose", "https://api.openai.com/v1/chat/completions", body=body)

    done = subprocess.run(command, env=clean_environment(home), capture_output=True, text=True, timeout=GUARD_S)

    assert "ALPN: server accepted h2" in done.stderr
    assert json.loads(done.stdout)["choices"][0]["message"]["content"] == "All at once."

"""Whatever goes wrong on Claude's side becomes OpenAI's error, once, and tells nothing of that side."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from websockets.asyncio.client import connect

from rehearsal import AT_HEAD, Fault, FaultKind, Reply
from tests.end_to_end import processes
from tests.end_to_end.cloud import GUARD_S, Cloud, Gate
from tests.end_to_end.understudy import Proxy, clean_environment, serve

CANARY = "canary-in-the-words-of-the-api"
QUESTION: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
ENDPOINT = "https://api.openai.com/v1/chat/completions"


def http(proxy: Proxy) -> httpx.Client:
    return httpx.Client(proxy=proxy.url, verify=proxy.tls(), timeout=GUARD_S)


def failing(proxy: Proxy, stream: bool = False) -> openai.APIError:
    """Ask with the OpenAI client and return what it raised."""
    with proxy.openai() as client, pytest.raises(openai.APIError) as caught:
        list(client.chat.completions.create(**QUESTION, stream=stream))
    return caught.value


def assert_tells_nothing(error: openai.APIError, cloud: Cloud, *more: str) -> None:
    """Assert the shape of an error's body, and that no text or address of Claude's side is in it."""
    assert isinstance(error.body, dict)
    assert set(error.body) == {"message", "type", "param", "code"}
    assert isinstance(error.body["message"], str) and isinstance(error.body["type"], str)
    # The option that needs no account is our own word.
    told = json.dumps(error.body).replace("start it with --rehearsal", "")
    for secret in (CANARY, cloud.base_url, "127.0.0.1", "req_01", "rehearsal", *more):
        assert secret not in told


STATUSES = [
    # Claude's status, OpenAI's, what its client raises, and its code
    (400, 400, openai.BadRequestError, None),
    (401, 401, openai.AuthenticationError, "invalid_api_key"),
    (403, 403, openai.PermissionDeniedError, "permission_denied"),
    (404, 404, openai.NotFoundError, "model_not_found"),
    (413, 413, openai.APIStatusError, "request_too_large"),
    (429, 429, openai.RateLimitError, "rate_limit_exceeded"),
    (500, 500, openai.InternalServerError, None),
    (529, 503, openai.InternalServerError, "overloaded"),
]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("status", "answered", "raised", "code"), STATUSES, ids=[str(row[0]) for row in STATUSES])
def test_a_status_of_claudes_api_becomes_openais(
    status: int,
    answered: int,
    raised: type[openai.APIStatusError],
    code: str | None,
    stream: bool,
    proxy: Proxy,
    cloud: Cloud,
) -> None:
    cloud.script(lambda _: Reply.error(status, message=f"{CANARY} at {cloud.base_url}"))

    error = failing(proxy, stream)

    assert isinstance(error, raised)
    assert (error.status_code, error.code) == (answered, code)
    assert_tells_nothing(error, cloud)
    assert error.response.json() == {"error": error.body}
    assert error.response.headers["content-type"] == "application/json"
    assert error.response.headers["x-request-id"].startswith("req_")
    # Where there is no such model, Claude Code looks whether it is only the stream that there is not.
    assert len(cloud.turns) == (2 if status == 404 else 1)


TOO_MANY = "max_tokens: 128001 > 64000, which is the maximum allowed number of output tokens for claude-sonnet-5-5"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("dialect", ["chat completions", "responses"])
def test_claudes_own_reason_reaches_the_app_where_it_is_about_the_request(
    dialect: str, stream: bool, proxy: Proxy, cloud: Cloud
) -> None:
    cloud.script(lambda _: Reply.error(400, message=TOO_MANY))
    asking: Any = {"input": "Hello"} if dialect == "responses" else {"messages": QUESTION["messages"]}

    with proxy.openai() as client:
        create: Any = client.responses.create if dialect == "responses" else client.chat.completions.create
        with pytest.raises(openai.BadRequestError) as caught:
            create(model="gpt-4o", stream=stream, **asking)

    assert TOO_MANY in caught.value.message
    assert_tells_nothing(caught.value, cloud)


def test_retry_after_reaches_the_app(proxy: Proxy, cloud: Cloud) -> None:
    cloud.script(Reply.error(429, headers=(("retry-after", "7"),)))

    error = failing(proxy)

    assert isinstance(error, openai.RateLimitError)
    assert 7 <= int(error.response.headers["retry-after"]) <= 9
    assert len(cloud.turns) == 1


def test_openais_client_retries_by_itself_and_then_succeeds(proxy: Proxy, cloud: Cloud) -> None:
    cloud.script(Reply.error(529, headers=(("retry-after", "1"),)), Reply(text="At last."))

    with proxy.openai(max_retries=1) as client:
        completion = client.chat.completions.create(**QUESTION)

    assert completion.choices[0].message.content == "At last."
    assert len(cloud.turns) == 2


FAULTS = {
    "dropped": FaultKind.DROP,
    "cut": FaultKind.CUT,
    "ended before its end": FaultKind.END,
    "an error event": FaultKind.SSE_ERROR,
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_an_answer_that_breaks_off_is_no_answer(fault: FaultKind, proxy: Proxy, cloud: Cloud) -> None:
    cloud.script(Reply(text="one two three four", fault=Fault(fault, 2, message=CANARY)))

    error = failing(proxy)

    assert isinstance(error, openai.InternalServerError)
    assert_tells_nothing(error, cloud)
    assert len(cloud.turns) == 1


def events_of(proxy: Proxy, gate: Gate | None = None) -> list[Any]:
    """Ask for a stream and return the data of its events, decoded but for ``[DONE]``.

    The gate is opened when the second word has come: a connection that is cut takes along what was not yet read.
    """
    text = ""
    with http(proxy) as client, client.stream("POST", ENDPOINT, json={**QUESTION, "stream": True}) as answer:
        assert answer.status_code == 200
        for piece in answer.iter_text():
            text += piece
            if gate and '"content":"two "' in text:
                gate.open()
    data = [event.removeprefix("data: ") for event in text.split("\n\n") if event]
    return [text if text == "[DONE]" else json.loads(text) for text in data]


@pytest.mark.parametrize(
    "fault", [FaultKind.CUT, FaultKind.END, FaultKind.SSE_ERROR], ids=["cut", "ended early", "an error event"]
)
def test_a_stream_that_breaks_off_ends_with_an_error_event_and_without_done(
    fault: FaultKind, proxy: Proxy, cloud: Cloud
) -> None:
    gate = cloud.gate()
    cloud.script(Reply(text="one two three four", fault=Fault(fault, 2, message=CANARY), gates={2: gate}))

    *chunks, last = events_of(proxy, gate)

    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == "one two "
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * len(chunks)
    assert set(last) == {"error"}
    assert set(last["error"]) == {"message", "type", "param", "code"}
    assert CANARY not in json.dumps(last)
    assert len(cloud.turns) == 1


def test_openais_client_raises_what_a_broken_stream_says(proxy: Proxy, cloud: Cloud) -> None:
    gate = cloud.gate()
    cloud.script(Reply(text="one two three four", fault=Fault(FaultKind.CUT, 2), gates={2: gate}))
    said: list[str] = []

    def listen(client: openai.OpenAI) -> None:
        for chunk in client.chat.completions.create(**QUESTION, stream=True):
            said.append(chunk.choices[0].delta.content or "")
            if "two " in said:
                gate.open()

    with proxy.openai() as client, pytest.raises(openai.APIError) as caught:
        listen(client)

    assert "".join(said) == "one two "
    assert caught.value.code == "upstream_stream_broken"
    assert_tells_nothing(caught.value, cloud)
    assert len(cloud.turns) == 1


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_when_the_claude_process_is_killed_amid_a_turn_the_app_is_told_and_the_next_turn_is_answered(
    stream: bool, proxy: Proxy, cloud: Cloud
) -> None:
    cloud.script(Reply(text="one two three", gates={2: cloud.gate()}), Reply(text="Well again."))
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(failing, proxy, stream)
        (received,) = cloud.wait_for_turns(1)
        cloud.wait_for_sent(received, 2)
        for pid in processes.claude_in(proxy.home):
            os.kill(pid, signal.SIGKILL)
        error = asking.result(GUARD_S)
    with proxy.openai() as client:
        completion = client.chat.completions.create(**QUESTION)

    assert error.code in ("claude_code_failed", "upstream_stream_broken")
    assert stream or isinstance(error, openai.InternalServerError)
    assert_tells_nothing(error, cloud)
    assert completion.choices[0].message.content == "Well again."
    assert len(cloud.turns) == 2


def test_an_app_that_says_how_long_it_waits_is_told_in_time(proxy: Proxy, cloud: Cloud) -> None:
    cloud.script(Reply(gates={AT_HEAD: cloud.gate()}))

    with http(proxy) as client:
        answer = client.post(ENDPOINT, json=QUESTION, headers={"x-stainless-timeout": "1.5"})

    assert answer.status_code == 504
    assert answer.json()["error"]["code"] == "timeout"


@pytest.fixture(scope="module")
def strict(the_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy with little patience, for long answers and large requests alike."""
    limits = {
        "UNDERSTUDY_TIMEOUT_S": "4",
        "UNDERSTUDY_IDLE_TIMEOUT_S": "2",
        "UNDERSTUDY_MAX_BODY_BYTES": "2048",
    }
    with serve(clean_environment(tmp_path_factory.mktemp("strict"), the_cloud.base_url, **limits)) as proxy:
        yield proxy


@pytest.mark.slow
def test_an_api_that_says_nothing_is_given_up(strict: Proxy, cloud: Cloud) -> None:
    since = len(strict.err.text)
    cloud.script(Reply(gates={AT_HEAD: cloud.gate()}))

    error = failing(strict)

    assert isinstance(error, openai.InternalServerError)
    assert (error.status_code, error.code) == (504, "timeout")
    assert_tells_nothing(error, cloud)
    assert "nothing came for 2 s" in strict.err.wait_for(r"Claude's side failed.*", since)[0]
    assert len(cloud.turns) == 1


@pytest.mark.slow
def test_a_stream_that_stalls_ends_with_an_error_event(strict: Proxy, cloud: Cloud) -> None:
    cloud.script(Reply(text="one two three four", stall_after=2))

    *chunks, last = events_of(strict)

    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == "one two "
    assert last["error"]["code"] == "timeout"
    cloud.wait_for_disconnect(cloud.turns[0])
    assert len(cloud.turns) == 1


@pytest.mark.slow
def test_a_turn_that_never_ends_is_ended(strict: Proxy, cloud: Cloud) -> None:
    since = len(strict.err.text)
    cloud.script(Reply(text="word" * 1000, delay_s=0.2))

    *chunks, last = events_of(strict)

    assert len(chunks) > 2
    assert last["error"]["code"] == "timeout"
    assert "took longer than 4 s" in strict.err.wait_for(r"the stream broke off.*", since)[0]
    cloud.wait_for_disconnect(cloud.turns[0])
    assert len(cloud.turns) == 1


@pytest.mark.parametrize("declared", [True, False], ids=["by its length", "chunk by chunk"])
def test_a_body_over_the_limit_is_refused(declared: bool, strict: Proxy, cloud: Cloud) -> None:
    large = json.dumps({**QUESTION, "user": "x" * 4096}).encode()

    with http(strict) as client:
        answer = client.post(ENDPOINT, content=large if declared else iter([large[:2000], large[2000:]]))

    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "request_too_large"
    assert cloud.turns == []


WRONG_SURROUNDINGS = {
    "nothing listens at the API's address": (502, "upstream_unreachable"),
    "there are no credentials": (401, "claude_not_logged_in"),
    "the claude program is missing": (500, "claude_code_not_found"),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", WRONG_SURROUNDINGS)
def test_wrong_surroundings_are_told_to_each_app(what: str, cloud: Cloud, home: Path) -> None:
    env = clean_environment(home, cloud.base_url)
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        closed = f"127.0.0.1:{reserved.getsockname()[1]}"
    if what.startswith("nothing listens"):
        env["ANTHROPIC_BASE_URL"] = f"http://{closed}"
    elif what.startswith("there are no"):
        del env["ANTHROPIC_API_KEY"]
    else:
        env["UNDERSTUDY_CLI_PATH"] = str(home / "no-such-program")

    with serve(env) as proxy:
        errors = [failing(proxy, stream) for stream in (False, True)]

    for error in errors:
        assert isinstance(error, openai.APIStatusError)
        assert (error.status_code, error.code) == WRONG_SURROUNDINGS[what]
        assert_tells_nothing(error, cloud, closed, str(home))
    assert cloud.turns == []


async def over_a_websocket(proxy: Proxy) -> dict[str, Any]:
    """Ask over a WebSocket and return the first event."""
    async with connect(
        "wss://api.openai.com/v1/responses",
        proxy=proxy.url,
        ssl=proxy.tls(),
        additional_headers={"authorization": "Bearer sk-of-the-app"},
    ) as socket:
        await socket.send(json.dumps({"type": "response.create", "model": "gpt-4o", "input": "Hello"}))
        event: dict[str, Any] = json.loads(await socket.recv())
        return event


def test_without_credentials_each_door_says_that_there_are_none(cloud: Cloud, home: Path) -> None:
    """In both dialects, whole and streamed, to an agent's app, and over a WebSocket."""
    env = clean_environment(home, cloud.base_url)
    del env["ANTHROPIC_API_KEY"]
    folder = home / "project"
    folder.mkdir()
    config = home / "understudy.toml"
    config.write_text(f'[agent.review]\ntools = ["Read"]\ncwd = "{folder}"\n')
    raised: list[openai.AuthenticationError] = []

    with serve(env, "--config", str(config)) as proxy, proxy.openai() as client:
        for model in ("gpt-4o", "claude-code/review"):
            for stream in (False, True):
                asking: Any = {"model": model, "stream": stream}
                with pytest.raises(openai.AuthenticationError) as chat:
                    client.chat.completions.create(messages=QUESTION["messages"], **asking)
                with pytest.raises(openai.AuthenticationError) as response:
                    client.responses.create(input="Hello", **asking)
                raised += [chat.value, response.value]
        event = asyncio.run(over_a_websocket(proxy))

    for error in raised:
        assert (error.type, error.param, error.code) == ("invalid_request_error", None, "claude_not_logged_in")
        assert "understudy auth login" in error.message
        assert "Incorrect API key" not in error.message
    assert (event["type"], event["status"]) == ("error", 401)
    assert event["error"] == raised[0].body
    assert cloud.turns == []

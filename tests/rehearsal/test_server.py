"""The rehearsal as clients meet it."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import httpx
import pytest

from rehearsal import AT_HEAD, AT_START, Fault, FaultKind, Rehearsal, Reply, hidden, serve_forever

pytestmark = pytest.mark.anyio
KEY = "sk-ant-test-key"


@pytest.fixture
async def rehearsal() -> AsyncIterator[Rehearsal]:
    async with asyncio.timeout(30), Rehearsal(delay_s=0) as running:
        yield running


@pytest.fixture
async def client(rehearsal: Rehearsal) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=rehearsal.base_url, headers={"x-api-key": KEY}) as running:
        yield running


def body(text: str = "Hello", **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"model": "claude-x", "max_tokens": 1000, "stream": True, "messages": messages} | fields


async def post(client: httpx.AsyncClient, text: str = "Hello", **fields: Any) -> httpx.Response:
    return await client.post("/v1/messages?beta=true", json=body(text, **fields))


async def test_a_stream_and_a_whole_answer_say_the_same(client: httpx.AsyncClient) -> None:
    stream, whole = await post(client), await post(client, stream=False)

    assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert stream.headers["request-id"] == "req_01Rehearsal0000000000001"
    assert stream.text.rstrip().endswith('data: {"type":"message_stop"}')
    assert whole.json()["content"][0]["text"].startswith("This is a rehearsal: no model was asked.")


async def test_the_anthropic_client_reads_a_stream_and_an_answer(rehearsal: Rehearsal) -> None:
    messages: Any = body()["messages"]
    async with anthropic.AsyncAnthropic(base_url=rehearsal.base_url, api_key=KEY, max_retries=0) as client:
        async with client.messages.stream(model="claude-x", max_tokens=1000, messages=messages) as stream:
            text = "".join([piece async for piece in stream.text_stream])
            final = await stream.get_final_message()
        whole = await client.messages.create(model="claude-x", max_tokens=1000, messages=messages)
        count = await client.messages.count_tokens(model="claude-x", messages=messages)
        models = [model.id async for model in client.models.list()]
        one = await client.models.retrieve(models[0])

    assert "You said: “Hello”" in text
    assert final.content[0].text == whole.content[0].text == text  # type: ignore[union-attr]
    assert final.usage.input_tokens == count.input_tokens == 2
    assert final.usage.output_tokens == rehearsal.turns[0].sent
    assert one.id == models[0]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 429, 500, 529])
async def test_the_anthropic_client_knows_every_error(rehearsal: Rehearsal, status: int) -> None:
    messages: Any = body(f"[rehearse: error={status} retry-after=7]")["messages"]
    async with anthropic.AsyncAnthropic(base_url=rehearsal.base_url, api_key=KEY, max_retries=0) as client:
        with pytest.raises(anthropic.APIStatusError) as raised:
            await client.messages.create(model="claude-x", max_tokens=1, messages=messages)

    assert raised.value.status_code == status
    assert raised.value.response.headers["retry-after"] == "7"
    assert raised.value.request_id == "req_01Rehearsal0000000000001"


# What it refuses by itself.


async def test_without_credentials_it_is_401(rehearsal: Rehearsal) -> None:
    async with httpx.AsyncClient(base_url=rehearsal.base_url) as nobody:
        answer = await post(nobody)
        bearer = await nobody.get("/v1/models", headers={"authorization": f"Bearer {KEY}"})

    assert (answer.status_code, answer.json()["error"]["type"]) == (401, "authentication_error")
    assert bearer.status_code == 200


@pytest.mark.parametrize(("method", "path"), [("HEAD", "/"), ("GET", "/api/hello"), ("GET", "/v1/messages")])
async def test_other_paths_are_404(client: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await client.request(method, path)

    assert answer.status_code == 404
    assert method == "HEAD" or answer.json()["error"]["type"] == "not_found_error"


async def test_a_model_that_is_not_claude_is_404(client: httpx.AsyncClient) -> None:
    answers = [await post(client, model="gpt-4o"), await client.get("/v1/models/gpt-4o")]

    assert [answer.json()["error"]["message"] for answer in answers] == ["model: gpt-4o"] * 2
    assert {answer.status_code for answer in answers} == {404}


async def test_bad_requests_and_bad_directives_are_400(client: httpx.AsyncClient) -> None:
    answers = [
        await client.post("/v1/messages", content=b"{"),
        await post(client, temperature=2),
        await post(client, "[rehearse: bogus]"),
    ]

    assert [answer.status_code for answer in answers] == [400] * 3
    assert "unknown word 'bogus'" in answers[2].json()["error"]["message"]


async def test_malformed_http_is_answered_in_the_shape_of_the_api(rehearsal: Rehearsal) -> None:
    host, port = rehearsal.base_url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"nonsense\r\n\r\n")
    answer = await reader.read()
    writer.close()

    assert b'{"type": "error", "error": {"type": "invalid_request_error"' in answer


# What it keeps.


async def test_received_requests_are_kept_without_secrets(rehearsal: Rehearsal, client: httpx.AsyncClient) -> None:
    await client.post("/v1/messages?beta=true", json=body(), headers={"authorization": f"Bearer {KEY}", "x-other": "1"})
    (received,) = rehearsal.requests

    assert (received.method, received.path, received.query) == ("POST", "/v1/messages", "beta=true")
    assert received.body == body()
    assert received.header("x-other") == "1"
    assert received.header("x-api-key") == hidden(KEY)
    assert received.header("authorization") == f"Bearer {hidden(KEY)}"
    assert received.header("missing") is None
    assert KEY not in str(received.headers)
    assert repr(received) == f"<ReceivedRequest 1 POST /v1/messages ended sent={received.sent}>"


async def test_the_server_keeps_the_latest_requests_and_counts_all() -> None:
    async with Rehearsal(delay_s=0, keep=2) as rehearsal:
        async with httpx.AsyncClient(base_url=rehearsal.base_url, headers={"x-api-key": KEY}) as client:
            for number in range(3):
                await post(client, str(number))
        kept = await rehearsal.wait_for_requests(3)

    assert [received.body["messages"][0]["content"] for received in kept] == ["1", "2"]


async def test_one_can_wait_for_a_request(rehearsal: Rehearsal, client: httpx.AsyncClient) -> None:
    waiting = asyncio.create_task(rehearsal.wait_for_requests(2))
    await client.get("/v1/models")
    await asyncio.gather(post(client), post(client))

    assert len(await waiting) == len(rehearsal.turns) == 2
    assert len(rehearsal.requests) == 3


async def test_reset_forgets(rehearsal: Rehearsal, client: httpx.AsyncClient) -> None:
    await post(client)
    rehearsal.script(Reply(text="never"), lambda received: Reply(text="never"))
    rehearsal.reset()
    answer = await post(client, stream=False)

    assert len(rehearsal.requests) == 1
    assert "never" not in answer.text


async def test_the_cache_is_shared_by_the_requests_of_a_rehearsal(client: httpx.AsyncClient) -> None:
    block = {"type": "text", "text": "x" * 400, "cache_control": {"type": "ephemeral"}}
    messages = [{"role": "user", "content": [block]}]
    usages = [(await post(client, stream=False, messages=messages)).json()["usage"] for _ in range(2)]

    assert [usage["cache_creation_input_tokens"] for usage in usages] == [99, 0]
    assert [usage["cache_read_input_tokens"] for usage in usages] == [0, 99]


# Scripts.


async def test_scripted_replies_come_before_functions_and_those_before_directives(
    rehearsal: Rehearsal, client: httpx.AsyncClient
) -> None:
    rehearsal.script(Reply(text="queued"), lambda received: Reply(text="asked") if received.number == 2 else None)
    texts = [
        (await post(client, '[rehearse: text="directed"]', stream=False)).json()["content"][0]["text"] for _ in range(3)
    ]

    assert texts == ["queued", "asked", "directed"]


async def test_a_refused_request_uses_up_no_reply(rehearsal: Rehearsal, client: httpx.AsyncClient) -> None:
    rehearsal.script(Reply(text="queued"))
    await post(client, temperature=2)

    assert "queued" in (await post(client, stream=False)).text


async def test_a_reply_can_carry_headers_and_any_body(rehearsal: Rehearsal, client: httpx.AsyncClient) -> None:
    rehearsal.script(Reply.json([1], status=418, headers=(("x-should-retry", "false"),)))
    answer = await post(client)

    assert (answer.status_code, answer.json(), answer.headers["x-should-retry"]) == (418, [1], "false")


# Gates, stalls and faults.


async def test_a_gate_holds_the_stream_before_its_delta(rehearsal: Rehearsal, client: httpx.AsyncClient) -> None:
    gate = asyncio.Event()
    rehearsal.script(Reply(text="aaaabbbbcccc", gates={2: gate}))
    task = asyncio.create_task(post(client))
    (received,) = await rehearsal.wait_for_requests(1)
    await received.wait_for_sent(2)
    await received.wait_for_sent(1)

    assert not received.ended.is_set()
    gate.set()
    assert "cccc" in (await task).text
    assert received.sent == 3
    assert received.first_delta_at is not None and received.first_delta_at >= received.arrived_at


async def test_gates_are_passed_in_order(rehearsal: Rehearsal, client: httpx.AsyncClient) -> None:
    passed: list[tuple[int, int]] = []

    def gate(k: int) -> Any:
        async def note() -> None:
            passed.append((k, rehearsal.turns[0].sent))

        return note

    rehearsal.script(Reply(text="aaaabbbb", gates={k: gate(k) for k in (9, 7, 1, 0, AT_START, AT_HEAD)}))
    await post(client)

    assert passed == [(AT_HEAD, 0), (AT_START, 0), (0, 0), (1, 1), (7, 2), (9, 2)]


@pytest.mark.parametrize("directive", ["hang", "stall", "stall after=0", "stall after=2", "stall after=999"])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_stalled_answer_goes_on_when_it_is_released(
    rehearsal: Rehearsal, client: httpx.AsyncClient, directive: str, stream: bool
) -> None:
    task = asyncio.create_task(post(client, f"[rehearse: {directive}]", stream=stream))
    (received,) = await rehearsal.wait_for_requests(1)
    if directive == "stall after=2":
        await received.wait_for_sent(2)
    while not task.done():  # the stall may not be reached yet
        rehearsal.release()
        await asyncio.sleep(0)

    assert "message" in (await task).text


async def test_a_client_that_leaves_a_stalled_stream_is_noticed(
    rehearsal: Rehearsal, client: httpx.AsyncClient
) -> None:
    async with client.stream("POST", "/v1/messages", json=body("[rehearse: stall after=2]")):
        (received,) = await rehearsal.wait_for_requests(1)
        await received.wait_for_sent(2)
    await received.disconnected.wait()
    await received.ended.wait()

    assert "left" in repr(received)


async def test_the_end_of_the_rehearsal_is_not_a_client_that_left() -> None:
    async with Rehearsal(delay_s=0) as rehearsal, httpx.AsyncClient(headers={"x-api-key": KEY}) as client:
        task = asyncio.create_task(client.post(f"{rehearsal.base_url}/v1/messages", json=body("[rehearse: stall]")))
        (received,) = await rehearsal.wait_for_requests(1)
        await rehearsal._server.aclose()

        with pytest.raises(httpx.RemoteProtocolError):
            await task
    assert received.ended.is_set()
    assert not received.disconnected.is_set()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kind", [FaultKind.DROP, FaultKind.CUT])
async def test_a_cut_answer_is_no_answer(
    rehearsal: Rehearsal, client: httpx.AsyncClient, kind: FaultKind, stream: bool
) -> None:
    rehearsal.script(Reply(fault=Fault(kind, 2)))

    with pytest.raises(httpx.RemoteProtocolError):
        await post(client, stream=stream)


async def test_a_stream_that_ends_early_ends_cleanly_for_http(client: httpx.AsyncClient) -> None:
    answer = await post(client, "[rehearse: end after=2]")

    assert answer.status_code == 200
    assert "message_stop" not in answer.text


async def test_the_anthropic_client_raises_an_error_event(rehearsal: Rehearsal) -> None:
    messages: Any = body("[rehearse: sse-error=overloaded_error after=3]")["messages"]
    async with anthropic.AsyncAnthropic(base_url=rehearsal.base_url, api_key=KEY, max_retries=0) as client:
        stream = await client.messages.create(model="claude-x", max_tokens=99, messages=messages, stream=True)
        seen: list[str] = []
        with pytest.raises(anthropic.APIStatusError, match="Overloaded"):  # noqa: PT012  (a stream raises while it is read)
            async for event in stream:
                seen.append(event.type)  # noqa: PERF401  (the list is looked at after the error)

    assert seen.count("content_block_delta") == 3


# Pace.


class StoppedClock:
    """Stands for the pause between deltas: notes how long each would be, and waits for none."""

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self._sleep = asyncio.sleep

    async def sleep(self, delay: float, result: Any = None) -> None:
        self.pauses.append(delay)
        await self._sleep(0)


async def test_the_pace_is_kept_by_deadlines(monkeypatch: pytest.MonkeyPatch, rehearsal: Rehearsal) -> None:
    clock = StoppedClock()
    async with httpx.AsyncClient(base_url=rehearsal.base_url, headers={"x-api-key": KEY}) as client:
        monkeypatch.setattr("rehearsal.server.asyncio.sleep", clock.sleep)
        await post(client, '[rehearse: delay=1000 text="aaaabbbbcccc"]')

    # Where no time passes, each deadline is one delay further away.
    assert [round(pause, -3) for pause in clock.pauses if pause > 1] == [1000, 2000, 3000]


# Alone.


async def test_the_server_logs_its_address_and_that_it_is_a_rehearsal(caplog: pytest.LogCaptureFixture) -> None:
    ready: asyncio.Queue[str] = asyncio.Queue()
    with caplog.at_level(logging.INFO, "rehearsal.server"):
        task = asyncio.create_task(serve_forever(delay_s=0, ready=ready.put_nowait))
        base_url = await ready.get()
        async with httpx.AsyncClient(base_url=base_url, headers={"x-api-key": KEY}) as client:
            answer = await post(client)
        task.cancel()
        await asyncio.wait([task])

    assert answer.status_code == 200
    assert f"This is a rehearsal at {base_url}" in caplog.text
    assert KEY not in caplog.text


async def test_the_rehearsal_runs_as_a_command() -> None:
    arguments = ("-m", "rehearsal", "--port", "0", "--delay", "0")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=pipe, stderr=pipe)
    assert process.stdout and process.stderr
    try:
        base_url = (await process.stdout.readline()).decode().strip()
        async with httpx.AsyncClient(base_url=base_url, headers={"x-api-key": KEY}) as client:
            answer = await post(client, stream=False)
    finally:
        process.terminate()
        _, log = await process.communicate()

    assert answer.status_code == 200
    assert b"This is a rehearsal" in log

import asyncio
from collections.abc import Sequence

import httpx
import openai
import pytest

from api.http.server import Exchange, Request, Server
from cassettes.replay.faults import Fault, apply
from cassettes.replay.pace import Script, Step
from cassettes.replay.play import play

pytestmark = pytest.mark.anyio

HEADERS = (("content-type", "text/event-stream"), ("x-request-id", "req_1"))


class Stage:
    """An exchange and a clock in one: it notes what is done, and when."""

    def __init__(self, *, slow_ms: float = 0) -> None:
        self.now_s = 50.0
        self.slow_s = slow_ms / 1000
        self.done: list[tuple[float, str, object]] = []

    def clock(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def _note(self, what: str, value: object = None) -> None:
        self.done.append((round((self.now_s - 50) * 1000, 3), what, value))

    async def respond(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        self._note("respond", (status, body))

    async def start(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        self._note("start", status)

    async def send(self, data: bytes) -> None:
        self._note("send", data)
        self.now_s += self.slow_s

    async def finish(self) -> None:
        self._note("finish")

    def abort(self) -> None:
        self._note("abort")


def script(
    *, is_stream: bool = True, is_cut: bool = False, steps: tuple[Step, ...] | None = None, head_ms: float | None = 20
) -> Script:
    pieces = (Step(20, b"a"), Step(50, b"b")) if steps is None else steps
    return Script(201, HEADERS, pieces, head_ms, 90, is_stream=is_stream, is_cut=is_cut)


async def played(what: Script, slow_ms: float = 0) -> list[tuple[float, str, object]]:
    stage = Stage(slow_ms=slow_ms)
    await play(what, stage, clock=stage.clock, sleep=stage.sleep)
    return stage.done


async def test_each_piece_is_sent_when_it_was() -> None:
    assert await played(script()) == [
        (20, "start", 201),
        (20, "send", b"a"),
        (50, "send", b"b"),
        (90, "finish", None),
    ]


async def test_a_slow_client_does_not_put_off_what_comes_later() -> None:
    assert [at for at, *_ in await played(script(), slow_ms=25)] == [20, 20, 50, 90]


async def test_a_cut_stream_has_no_end() -> None:
    assert (await played(script(is_cut=True)))[-1] == (90, "abort", None)


async def test_an_answer_that_never_began_is_cut_without_a_head() -> None:
    assert await played(script(is_cut=True, steps=(), head_ms=None)) == [(90, "abort", None)]


async def test_an_answer_that_is_no_stream_comes_whole() -> None:
    assert await played(script(is_stream=False)) == [(90, "respond", (201, b"ab"))]


async def test_a_head_without_a_chunk_is_sent_before_the_cut() -> None:
    assert await played(script(is_cut=True, steps=())) == [(20, "start", 201), (90, "abort", None)]


async def test_half_of_an_answer_that_is_no_stream_is_sent_and_cut() -> None:
    done = await played(script(is_stream=False, is_cut=True))
    assert [what for _, what, _ in done] == ["start", "send", "send", "abort"]


async def test_an_answer_that_is_sent_at_once_lets_others_have_their_turn() -> None:
    turns = 0

    async def sleep(seconds: float) -> None:
        nonlocal turns
        turns += 1
        await asyncio.sleep(0)

    stage = Stage()
    await play(
        Script(200, (), tuple(Step(0, b"a") for _ in range(50)), 0, 0, is_stream=True),
        stage,
        clock=stage.clock,
        sleep=sleep,
    )
    assert turns >= 50


# With the real server, over real sockets: its own bytes.

PIECES = (b"data: \xe4\xb8", b"\x96\n", b"\ndata: [DO", b"NE]\n\n")
WHOLE = Script(
    200, HEADERS, tuple(Step(1000.0 * n, piece) for n, piece in enumerate(PIECES, 1)), 1000, 5000, is_stream=True
)


def serving(what: Script) -> Server:
    async def handler(request: Request, exchange: Exchange) -> None:
        stage = Stage()
        await play(what, exchange, clock=stage.clock, sleep=stage.sleep)

    return Server(handler)


async def raw(what: Script) -> bytes:
    """Return all that a client reads until the connection ends."""
    async with serving(what) as server, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(*server.addresses[0])
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        try:
            return await reader.read()
        finally:
            writer.transport.abort()


def framed(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


async def test_on_the_wire_each_piece_is_a_chunk_as_it_stands_in_the_script() -> None:
    head, _, body = (await raw(WHOLE)).partition(b"\r\n\r\n")
    assert body == framed(*PIECES) + b"0\r\n\r\n"
    assert b"x-request-id: req_1" in head


async def test_on_the_wire_a_cut_has_no_clean_end() -> None:
    _, _, body = (await raw(apply(WHOLE, Fault(cut_after_ms=2500)))).partition(b"\r\n\r\n")
    assert body == framed(*PIECES[:2])


async def test_on_the_wire_a_cut_before_the_head_sends_nothing() -> None:
    assert await raw(apply(WHOLE, Fault(cut_after_ms=0))) == b""


async def test_on_the_wire_a_cut_before_the_first_chunk_sends_the_head() -> None:
    head, blank, body = (await raw(apply(WHOLE, Fault(cut_after_chunks=0)))).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert (blank, body) == (b"\r\n\r\n", b"")


@pytest.mark.parametrize(
    "fault", [Fault(cut_after_chunks=0), Fault(cut_after_chunks=1), Fault(cut_after_ms=0)], ids=str
)
async def test_a_client_does_not_take_a_cut_for_an_end(fault: Fault) -> None:
    async with serving(apply(WHOLE, fault)) as server, httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("http://{}:{}/".format(*server.addresses[0]))


async def test_a_client_reads_the_whole_stream_and_a_refusal_with_its_length() -> None:
    async with serving(WHOLE) as server, httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get("http://{}:{}/".format(*server.addresses[0]))
    assert answer.content == b"".join(PIECES)

    refusal = apply(WHOLE, Fault(status=429, headers={"retry-after": 2}))
    async with serving(refusal) as server, httpx.AsyncClient(trust_env=False) as client:
        refused = await client.get("http://{}:{}/".format(*server.addresses[0]))
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "2"
    assert refused.headers["x-request-id"] == "req_1"
    assert refused.headers["content-length"] == str(len(refused.content))
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"


# What docs/faults.md says of OpenAI's client.

CHAT = Script(
    200,
    HEADERS,
    (
        Step(1, b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m",'
                b'"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}\n\n'),
        Step(2, b"data: [DONE]\n\n"),
    ),
    1,
    3,
    is_stream=True,
)  # fmt: skip
RESPONSES = Script(
    200,
    HEADERS,
    (
        Step(
            1,
            b"event: response.output_text.delta\n"
            b'data: {"type":"response.output_text.delta","delta":"Hi","sequence_number":0}\n\n',
        ),
    ),
    1,
    2,
    is_stream=True,
)


async def asked(what: Script, *, responses: bool = False) -> tuple[Exception | None, int]:
    """Return what OpenAI's client raises, and how often it asked; it may try once more."""
    tries = 0

    async def handler(request: Request, exchange: Exchange) -> None:
        nonlocal tries
        tries += 1
        stage = Stage()
        await play(what, exchange, clock=stage.clock, sleep=stage.sleep)

    async with Server(handler) as server, openai.DefaultAsyncHttpxClient(trust_env=False) as http:
        base_url = "http://{}:{}/v1".format(*server.addresses[0])
        client = openai.AsyncOpenAI(api_key="none", base_url=base_url, http_client=http, max_retries=1)
        try:
            if responses:
                async for _ in await client.responses.create(model="m", input="Hi", stream=True):
                    pass
            else:
                messages: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "Hi"}]
                async for _ in await client.chat.completions.create(model="m", messages=messages, stream=True):
                    pass
        except Exception as error:
            return error, tries
    return None, tries


async def test_openais_client_tries_a_refusal_again() -> None:
    error, tries = await asked(apply(CHAT, Fault(status=429, headers={"retry-after-ms": 1})))
    assert isinstance(error, openai.RateLimitError)
    assert (error.code, tries) == ("rate_limit_exceeded", 2)


async def test_openais_client_tries_again_what_was_cut_before_the_head() -> None:
    error, tries = await asked(apply(CHAT, Fault(cut_after_ms=0)))
    assert isinstance(error, openai.APIConnectionError)
    assert tries == 2


@pytest.mark.parametrize("fault", [Fault(cut_after_chunks=0), Fault(cut_after_chunks=1)], ids=["no chunk", "one"])
async def test_openais_client_does_not_try_a_stream_again_that_broke_off(fault: Fault) -> None:
    error, tries = await asked(apply(CHAT, fault))
    assert error is not None
    assert tries == 1


@pytest.mark.parametrize("responses", [False, True], ids=["chat", "responses"])
async def test_openais_client_raises_an_error_in_band(responses: bool) -> None:
    error, tries = await asked(
        apply(RESPONSES if responses else CHAT, Fault(error_after_chunks=1)), responses=responses
    )
    assert type(error) is openai.APIError
    assert error.message == "A fault of the replay."
    assert tries == 1


async def test_openais_client_bears_a_stream_in_pieces() -> None:
    assert await asked(apply(CHAT, Fault(split=True))) == (None, 1)

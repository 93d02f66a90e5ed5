from collections.abc import Sequence

import pytest

from tape.pace import Script, Step
from tape.play import play

pytestmark = pytest.mark.anyio


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


def script(*, is_stream: bool = True, is_cut: bool = False, steps: tuple[Step, ...] | None = None) -> Script:
    pieces = (Step(20, b"a"), Step(50, b"b")) if steps is None else steps
    return Script(201, (), pieces, 20, 90, is_stream=is_stream, is_cut=is_cut)


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
    assert await played(script(is_cut=True, steps=())) == [(90, "abort", None)]


async def test_an_answer_that_is_no_stream_comes_whole() -> None:
    assert await played(script(is_stream=False)) == [(90, "respond", (201, b"ab"))]

"""Whoever opens connections and makes no request loses them again; whoever has a key finds a place."""

import contextlib
import select
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.attacks.victim import Victim, answer_on, status_of

FEW_FILES = ("sh", "-c", 'ulimit -n 256; exec "$@"', "sh")
MOST_LOG = 100_000


@contextlib.contextmanager
def strangers(proxy: Victim, count: int, said: bytes = b"") -> Iterator[list[socket.socket]]:
    """Open connections that say something, and nothing more."""
    with contextlib.ExitStack() as stack:
        opened = []
        for number in range(count):
            # By both doors: half of them by one, then half of them by the other.
            door = proxy.door if number < count // 2 else (proxy.proxy.host, proxy.proxy.port)
            with contextlib.suppress(OSError):
                connection = stack.enter_context(proxy.open(door))
                opened.append(connection)
                connection.sendall(said)
        yield opened


def is_over(connection: socket.socket, within_s: float = 30) -> bool:
    """Wait until the other side has closed, and whether it has."""
    ready, _, _ = select.select([connection], [], [], within_s)
    with contextlib.suppress(OSError):
        return bool(ready) and connection.recv(65536) == b""
    return True


def left_of(connections: list[socket.socket], at_most: int) -> list[socket.socket]:
    """Wait until no more of the connections are open than there may be, and return those that are."""
    for connection in connections:
        left = [one for one in connections if not select.select([one], [], [], 0)[0]]
        if len(left) <= at_most:
            break
        select.select([connection], [], [], 1)
    return left


@pytest.mark.parametrize("said", [b"", b"G", b"\x16\x03\x01\x40\x00"], ids=["nothing", "one byte", "half a TLS hello"])
def test_new_connections_have_few_places_and_the_oldest_makes_room(said: bytes, victim: Callable[..., Victim]) -> None:
    proxy = victim(max_new_connections=16)
    with strangers(proxy, 100, said) as opened:
        assert proxy.innocent().status_code == 200
        # Which door is looked at first is the system's to say.
        assert 15 <= len(left_of(opened, at_most=17)) <= 17


@pytest.mark.parametrize("said", [b"", b"GET / HT"], ids=["nothing", "half a head"])
def test_a_new_connection_has_little_time(said: bytes, victim: Callable[..., Victim]) -> None:
    proxy = victim(request_timeout_s=1)
    with strangers(proxy, 4, said) as opened:
        for connection in opened:
            answer = answer_on(connection)
            assert answer == b"" or status_of(answer) == 408


def test_a_connection_that_has_made_a_request_has_more_time(victim: Callable[..., Victim]) -> None:
    proxy = victim(request_timeout_s=1)
    with proxy.open() as client:
        for _ in range(2):
            client.sendall(proxy.head(method="GET", path="/v1/models"))
            assert status_of(answer_on(client)) == 200
            assert not select.select([client], [], [], 1.5)[0]


def test_a_connection_that_rests_makes_room_for_another(victim: Callable[..., Victim]) -> None:
    proxy = victim(max_connections=8, max_new_connections=4)
    with contextlib.ExitStack() as stack:
        resting = []
        for _ in range(8):
            resting.append(client := stack.enter_context(proxy.open()))
            client.sendall(proxy.head(method="GET", path="/v1/models"))
            assert status_of(answer_on(client)) == 200
        assert proxy.innocent().status_code == 200
        assert is_over(resting[0])
        assert not select.select(resting[4:], [], [], 0)[0]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of open files")
@pytest.mark.parametrize("keys", [True, False], ids=["with keys", "without keys"])
def test_with_few_file_descriptors_there_are_enough_for_a_request(keys: bool, victim: Callable[..., Victim]) -> None:
    proxy = victim(command=FEW_FILES, keys=keys)
    with strangers(proxy, 600):
        assert proxy.innocent().status_code == 200
        if sys.platform == "linux":
            assert len(list(Path(f"/proc/{proxy.proxy.process.pid}/fd").iterdir())) < 256
    assert proxy.innocent().status_code == 200
    assert len(proxy.proxy.err.text) < MOST_LOG


def test_refusals_that_repeat_are_folded_in_the_log(victim: Callable[..., Victim]) -> None:
    proxy = victim(max_new_connections=16)
    before = len(proxy.proxy.err.text)
    with proxy.open() as client:
        for number in range(300):
            client.sendall(proxy.head(method="GET", path=f"/v1/models/{'x' * (number % 7)}", key=False))
            assert status_of(answer_on(client)) == 401
    assert proxy.innocent().status_code == 200
    told = proxy.proxy.err.wait_for(r"… (\d+) more like this in the last \d+ s: GET \S+ 401", before)
    # A slow machine may take more than one of these times, with some lines in each.
    assert int(told[1]) > 20
    assert proxy.proxy.err.text[before:].count(" 401") < 100

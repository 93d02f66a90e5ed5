"""Two hundred connections that send what they like leave the proxy under 512 MiB with its default limits."""

import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable

import pytest

from tests.attacks.test_websocket_messages_are_bounded import TEXT, frame, websocket
from tests.attacks.victim import MIB, Victim, chunk, flood
from tests.end_to_end.cloud import GUARD_S

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="memory is measured by /proc"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]

MOST = 512 * MIB
EACH = 8 * MIB
PIECE = b"a" * MIB


def attack(proxy: Victim, number: int) -> None:
    """Send up to EACH bytes, in one of five ways. Each step ends within GUARD_S."""
    way = number % 5
    with contextlib.suppress(OSError, AssertionError):
        if way == 4:
            with websocket(proxy) as opened:
                opened.sendall(frame(TEXT, EACH, last=False))
                flood(opened, PIECE, EACH - 1)
            return
        with proxy.open() as connection:
            if way == 0:
                connection.sendall(proxy.head(f"Content-Length: {EACH}", key=False))
                flood(connection, PIECE, EACH)
            elif way == 1:
                connection.sendall(proxy.head("Transfer-Encoding: chunked"))
                flood(connection, chunk(PIECE), EACH)
            elif way == 2:
                connection.sendall(b"GET / HTTP/1.1\r\nX: ")
                flood(connection, PIECE, EACH)
            else:
                body = b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "' + b"a" * EACH
                connection.sendall(proxy.head(f"Content-Length: {len(body)}"))
                flood(connection, body, 1)


@pytest.mark.parametrize("keys", [True, False], ids=["where keys are asked for", "where none are"])
def test_the_memory_is_bounded_and_an_innocent_request_is_answered(keys: bool, victim: Callable[..., Victim]) -> None:
    proxy = victim(keys=keys)
    attackers = [
        threading.Thread(target=attack, args=(proxy, number), name=f"way {number % 5}", daemon=True)
        for number in range(200)
    ]
    for attacker in attackers:
        attacker.start()
    statuses = {proxy.innocent().status_code for _ in range(5)}
    over = time.monotonic() + 2 * GUARD_S
    for attacker in attackers:
        attacker.join(max(0.0, over - time.monotonic()))
    assert not [attacker.name for attacker in attackers if attacker.is_alive()], "they keep their places"
    assert statuses == {200}
    assert proxy.innocent().status_code == 200
    assert proxy.peak() < MOST, json.dumps({"peak_mib": proxy.peak() // MIB})

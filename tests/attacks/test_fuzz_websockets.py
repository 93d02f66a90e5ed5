"""Whatever frames a WebSocket's client sends, it is answered or closed, and the next request is answered."""

import json
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from random import Random

from tests.attacks.fuzzing import cases, changed, varied
from tests.attacks.test_websocket_messages_are_bounded import frame, websocket
from tests.attacks.victim import Victim

MESSAGE = {"type": "nothing", "response": {"model": "gpt-4o", "input": [{"role": "user", "content": "Hello"}]}}
OPCODES = [0, 1, 1, 1, 2, 3, 8, 9, 10, 11]


def frames(by: Random) -> bytes:
    """Return some frames: right ones, wrong ones, and such as are right only by themselves."""
    out = b""
    for _ in range(by.randint(1, 6)):
        data = json.dumps(varied(by, MESSAGE)).encode()[: by.choice([0, 1, 125, 126, 1000, 70000])]
        opcode = by.choice(OPCODES)
        if opcode >= 8:
            data = struct.pack("!H", by.choice([0, 999, 1000, 1005, 3000, 65535])) + data[:100]
        out += frame(opcode, len(data), last=by.random() < 0.7) + data
    return changed(by, out) if by.random() < 0.6 else out


def test_frames(victim: Callable[..., Victim]) -> None:
    proxy = victim(request_timeout_s=2, max_body_bytes=100_000)
    for _, by in cases(80):
        with websocket(proxy) as opened, suppress(OSError):
            opened.sendall(frames(by))
            opened.shutdown(socket.SHUT_WR)
            opened.settimeout(0.2)
            while opened.recv(65536):
                pass
    assert proxy.innocent().status_code == 200
    assert "Traceback" not in proxy.proxy.err.text

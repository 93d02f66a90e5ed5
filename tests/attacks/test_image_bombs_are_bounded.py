"""Small requests whose images unpack to gigabytes take no more memory than a few."""

import base64
import struct
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from rehearsal import Reply
from tests.end_to_end import processes
from tests.end_to_end.cloud import GUARD_S, Cloud
from tests.end_to_end.understudy import Proxy, clean_environment, serve

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")

AT_ONCE = 12
MIB = 1024 * 1024


def bomb(side: int) -> str:
    """Return a PNG of so many pixels a side, four bytes each, as a data URL; it unpacks to hundreds of times that."""
    packer = zlib.compressobj(9)
    row = bytes(1 + 4 * side)
    pixels = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(data).decode()


def highest_memory(pid: int) -> int:
    """Return the most bytes that a process has had at once."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started and that still live."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def send(proxy: Proxy, url: str) -> list[int]:
    """Send the image in so many requests at once, and return their statuses."""
    message = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}

    def ask(_: int) -> int:
        with httpx.Client(proxy=proxy.url, verify=proxy.tls(), timeout=GUARD_S) as client:
            body = {"model": "gpt-4o", "messages": [message]}
            return client.post("https://api.openai.com/v1/chat/completions", json=body).status_code

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(ask, range(AT_ONCE)))


def test_bombs_take_no_memory_of_the_proxys(cloud: Cloud, home: Path) -> None:
    cloud.script(*[Reply(text="Black.")] * (AT_ONCE + 1))
    env = clean_environment(home, cloud.base_url, UNDERSTUDY_MAX_PROCESSES="2")
    with serve(env) as proxy:
        before = highest_memory(proxy.process.pid)
        too_large = send(proxy, bomb(9400))
        large = send(proxy, bomb(6000))
        after = highest_memory(proxy.process.pid)
        theirs = [
            highest_memory(pid)
            for pid in children_of(proxy.process.pid)
            if any("image_process" in word for word in processes.read(pid, "cmdline"))
        ]

    print(f"the proxy: {(after - before) / MIB:.0f} MiB more; decoders: {[size // MIB for size in theirs]} MiB")
    assert too_large == [400] * AT_ONCE
    assert large == [200] * AT_ONCE
    assert after - before < 128 * MIB
    assert len(theirs) == 1
    assert theirs[0] < 768 * MIB

"""Bytes and JSON that nobody would send, made from seeds: the same in every run.

``FUZZ_TIMES=100`` makes a hundred times as many, ``FUZZ_SEED=5000`` begins with another seed.
"""

import copy
import json
import os
from collections.abc import Iterator
from random import Random
from typing import Any

import httpx

NASTY_BYTES = [
    b"\0",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\x1b[2J",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"%00",
    b"/../",
    b"\\ud800",
    b"99999999999999999999",
    b"-1",
    b"1e999",
    b"NaN",
    b"null",
    b'"',
    b"{",
    b"]",
    b"[" * 300,
    b'{"a":' * 200,
    b": ",
    b"\t",
    b"\xc3\xa9",
]

NASTY_VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    10**30,
    1e308,
    0.5,
    "",
    "\0",
    "\x1b[2J",
    "\ud800",
    "x" * 3000,
    "data:image/png;base64,AAAA",
    "http://127.0.0.1:1/",
    [],
    {},
    [[]],
    [None],
    {"type": "text"},
    {"": {"": []}},
    json.loads("[" * 150 + "]" * 150),
]


def cases(usual: int) -> Iterator[tuple[int, Random]]:
    """Yield seeds, and what each of them leads to."""
    first, times = int(os.environ.get("FUZZ_SEED", "0")), float(os.environ.get("FUZZ_TIMES", "1"))
    for seed in range(first, first + max(1, int(usual * times))):
        yield seed, Random(seed)


def changed(by: Random, data: bytes) -> bytes:
    """Change some bytes."""
    out = bytearray(data)
    for _ in range(by.randint(1, 4)):
        at = by.randrange(len(out) + 1)
        until = min(len(out), at + by.randint(1, 20))
        match by.randrange(6):
            case 0:
                out[at:at] = by.choice(NASTY_BYTES)
            case 1:
                out[at:until] = by.choice(NASTY_BYTES)
            case 2:
                del out[at:until]
            case 3:
                out[at:at] = out[at:until] * by.randint(1, 50)
            case 4:
                out[at:until] = by.randbytes(until - at)
            case _:
                del out[at if by.random() < 0.3 else len(out) :]
    return bytes(out)


def varied(by: Random, document: Any) -> Any:
    """Change some values of a JSON document, and leave out some."""
    document = copy.deepcopy(document)
    for _ in range(by.randint(1, 3)):
        holder, key = by.choice(list(_holders(document)))
        if isinstance(holder, dict) and by.random() < 0.15:
            holder.pop(key, None)
        else:
            holder[key] = copy.deepcopy(by.choice(NASTY_VALUES))
        if not document:
            break
    return document


def _holders(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place of a document: what holds it, and its key there."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from _holders(inner)


def check_answer(answer: httpx.Response, seed: int) -> None:
    """Fail unless an answer is a good one, or an error as OpenAI has them, and the fault is found with the request."""
    assert answer.status_code in range(200, 300) or answer.status_code in range(400, 500), (seed, answer.text)
    if answer.status_code >= 400:
        check_error(answer.content, seed)


def check_error(body: bytes, seed: int) -> None:
    """Fail unless a body is an error as OpenAI has them."""
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}, (seed, error)
    assert isinstance(error["message"], str), (seed, error)
    assert isinstance(error["type"], str), (seed, error)

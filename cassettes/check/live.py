"""Recorded requests, asked again: through the whole proxy, as the app's own were."""

import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from cassettes.assemble import assemble
from cassettes.format import Entry

# Claude may think for long; the proxy has deadlines of its own.
TIMEOUT = httpx.Timeout(30.0, read=None)

OF_THE_CONNECTION = frozenset(
    {"host", "connection", "content-length", "content-encoding", "transfer-encoding", "accept-encoding"}
)


@dataclass(frozen=True, slots=True)
class Answered:
    """What was answered now. ``body`` is all its bytes, ``message`` the JSON that they come to."""

    status: int
    content_type: str
    body: bytes
    message: Any


def request_of(entry: Entry, changes: Mapping[str, Any]) -> tuple[dict[str, str], Any, bytes]:
    """Return the headers and the body to send for an entry: JSON with changes in it, else the bytes as they were.

    Secrets are not sent again, since what stands for them is in the cassette. Raises ValueError where there is nothing
    to change.
    """
    headers = {
        name: value
        for name, value in entry.request.headers.items()
        if isinstance(value, str) and name.lower() not in OF_THE_CONNECTION
    }
    if isinstance(entry.request.json, dict):
        return headers, {**entry.request.json, **changes}, b""
    if changes:
        raise ValueError(f"the request of {entry.id} is no JSON object, so nothing of it can be changed")
    return headers, None, entry.request.body


async def ask(
    entries: Iterable[Entry], *, proxy: str, authority: Path, changes: Mapping[str, Any] | None = None
) -> AsyncIterator[tuple[Entry, Answered]]:
    """Send each entry's request through a proxy, one after another, and yield it with what was answered.

    ``changes`` are laid over the JSON of each. Raises httpx.HTTPError, and ValueError for what cannot be changed.
    """
    context = ssl.create_default_context(cafile=authority)
    async with httpx.AsyncClient(proxy=proxy, verify=context, timeout=TIMEOUT, trust_env=False) as client:
        for entry in entries:
            headers, value, body = request_of(entry, changes or {})
            host = entry.request.headers.get("host")
            url = f"https://{host if isinstance(host, str) else 'api.openai.com'}{entry.request.path}"
            content: dict[str, Any] = {"json": value} if value is not None else {"content": body}
            response = await client.request(entry.request.method, url, headers=headers, **content)
            kind = response.headers.get("content-type", "")
            yield entry, Answered(response.status_code, kind, response.content, assemble(kind, response.content))


def shape(value: Any) -> Any:
    """Return what a JSON value is made of, without what it says: types for texts and numbers, keys for objects.

    What names a kind (``object``, ``type``, ``role``, ``finish_reason``, ``status``, a tool's ``name``) stays.
    """
    if isinstance(value, Mapping):
        return {key: item if key in KINDS and isinstance(item, str) else shape(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        shapes: list[Any] = []
        for item in value:
            if (one := shape(item)) not in shapes:
                shapes.append(one)
        return shapes
    return "<null>" if value is None else f"<{NAMES.get(type(value), 'value')}>"


NAMES = {bool: "true or false", int: "number", float: "number", str: "text"}
KINDS = frozenset({"object", "type", "role", "finish_reason", "status", "name", "code", "reason"})

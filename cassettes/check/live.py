"""Sends recorded requests again, through the whole proxy, as the app did."""

import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from cassettes.assemble import assemble
from cassettes.format import Entry

# Claude may think for a long time. The proxy has its own time limits.
TIMEOUT = httpx.Timeout(30.0, read=None)

OF_THE_CONNECTION = frozenset(
    {"host", "connection", "content-length", "content-encoding", "transfer-encoding", "accept-encoding"}
)


@dataclass(frozen=True, slots=True)
class Answered:
    """The new answer. ``body`` is all its bytes. ``message`` is the JSON value assembled from them."""

    status: int
    content_type: str
    body: bytes
    message: Any


def request_of(entry: Entry, changes: Mapping[str, Any]) -> tuple[dict[str, str], Any, bytes]:
    """Return (headers, JSON value, body) to send for an entry: the JSON with the changes, or else the recorded bytes.

    The cassette has pseudonyms instead of secrets, so no secret is sent. Raises ValueError if there are changes but the
    body is not a JSON object.
    """
    headers = {
        name: value
        for name, value in entry.request.headers.items()
        if isinstance(value, str) and name.lower() not in OF_THE_CONNECTION
    }
    if isinstance(entry.request.json, dict):
        return headers, {**entry.request.json, **changes}, b""
    if changes:
        raise ValueError(f"the request of {entry.id} is not a JSON object, so it cannot be changed")
    return headers, None, entry.request.body


async def ask(
    entries: Iterable[Entry], *, proxy: str, authority: Path, changes: Mapping[str, Any] | None = None
) -> AsyncIterator[tuple[Entry, Answered]]:
    """Send the requests of the entries through a proxy, one after another. Yield each entry with its new answer.

    ``changes`` replace keys in the JSON of each request. Raises httpx.HTTPError, and ValueError if a request cannot be
    changed.
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
    """Return the structure of a JSON value: texts and numbers are replaced with their types, objects keep their keys.

    The values of the keys in KINDS (``object``, ``type``, ``role``, ``finish_reason``, …) stay: they name a kind.
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

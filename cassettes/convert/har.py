"""Writes and reads HAR 1.2 (http://www.softwareishard.com/blog/har-12-spec/), as browsers' developer tools use it."""

import base64
import binascii
import datetime
import json
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cassettes.convert.exchange import ConvertError, Exchange, decoded
from cassettes.format import Entry

CHUNKS = "_understudy_chunks"
"""Our own field of a response: [ms, length] of each chunk. With it, a conversion there and back loses nothing."""


def to_har(entries: Iterable[Entry]) -> str:
    """Return a HAR document with the entries of a cassette."""
    log = {
        "version": "1.2",
        "creator": {"name": "Understudy", "version": version("understudy")},
        "entries": [_entry(entry) for entry in entries],
    }
    return json.dumps({"log": log}, indent=1, ensure_ascii=False) + "\n"


def _entry(entry: Entry) -> dict[str, Any]:
    host = _one(entry.request.headers.get("host", "api.openai.com"))
    first = entry.chunks[0].at_ms if entry.chunks else entry.ms
    asked, answered = _text(entry.request.body), _text(entry.body)
    kind = _one(entry.headers.get("content-type", ""))
    request: dict[str, Any] = {
        "method": entry.request.method,
        "url": f"https://{host}{entry.request.path}",
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": _pairs(entry.request.headers),
        "queryString": [],
        "headersSize": -1,
        "bodySize": len(entry.request.body),
    }
    if entry.request.body:
        request["postData"] = {"mimeType": _one(entry.request.headers.get("content-type", "")), **asked}
    return {
        "startedDateTime": entry.started,
        "time": entry.ms,
        "request": request,
        "response": {
            "status": entry.status or 0,
            "statusText": "",
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": _pairs(entry.headers),
            "content": {"size": len(entry.body), "mimeType": kind, **answered},
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": len(entry.body),
            CHUNKS: [[chunk.at_ms, len(chunk.data)] for chunk in entry.chunks],
        },
        "cache": {},
        "timings": {"send": 0, "wait": first, "receive": max(entry.ms - first, 0)},
    }


def _one(value: str | list[str]) -> str:
    return value if isinstance(value, str) else value[0]


def _pairs(headers: Mapping[str, str | list[str]]) -> list[dict[str, str]]:
    return [
        {"name": name, "value": value}
        for name, values in headers.items()
        for value in ([values] if isinstance(values, str) else values)
    ]


def _text(data: bytes) -> dict[str, str]:
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"text": base64.b64encode(data).decode("ascii"), "encoding": "base64"}


def from_har(path: Path) -> Iterator[Exchange]:
    """Yield the exchanges of a HAR file. Raises ConvertError, OSError."""
    try:
        entries = json.loads(path.read_bytes())["log"]["entries"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ConvertError(f"{path} is not a HAR file: it has no log.entries") from None
    for number, entry in enumerate(entries if isinstance(entries, list) else []):
        try:
            yield _exchange(entry)
        except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as error:
            told = f"{type(error).__name__}: {error}"
            raise ConvertError(f"{path}: log.entries[{number}] cannot be read: {told}") from None


def _exchange(entry: Any) -> Exchange:
    request, response = entry["request"], entry["response"]
    asked, answered = _bytes(request.get("postData") or {}), _bytes(response.get("content") or {})
    # Browsers write decoded bodies. Some proxies write what they received, in base64.
    asked, answered = decoded(asked, _encoding(request)), decoded(answered, _encoding(response))
    ms = max(float(entry.get("time") or 0.0), 0.0)
    started = datetime.datetime.fromisoformat(entry["startedDateTime"])
    return Exchange(
        started=started if started.tzinfo else started.replace(tzinfo=datetime.UTC),
        method=str(request["method"]),
        url=str(request["url"]),
        headers=_headers(request),
        body=asked,
        status=int(response["status"]) or None,  # browsers write 0 if no answer came
        answer_headers=_headers(response),
        chunks=tuple(_cut(answered, response.get(CHUNKS), ms)),
        ms=ms,
        left_out=_is_left_out(response.get("content") or {}),
    )


def _encoding(message: Any) -> str:
    return next((value for name, value in _headers(message) if name.lower() == "content-encoding"), "").strip().lower()


def _is_left_out(content: Mapping[str, Any]) -> bool:
    """Whether a file has the length of a body and not the body, as some programs write it for large ones."""
    return "text" not in content and int(content.get("size") or 0) > 0


def _headers(message: Any) -> tuple[tuple[str, str], ...]:
    pairs = [(str(pair["name"]), str(pair["value"])) for pair in message.get("headers") or []]
    # Leave out the pseudo-headers of HTTP/2, which browsers list too.
    return tuple((name, value) for name, value in pairs if not name.startswith(":"))


def _bytes(content: Mapping[str, Any]) -> bytes:
    text = str(content.get("text") or "")
    if content.get("encoding") == "base64":
        return base64.b64decode(text, validate=True)
    return text.encode("utf-8", "surrogatepass")


def _cut(body: bytes, noted: Any, ms: float) -> Iterator[tuple[float, bytes]]:
    place = 0
    for at_ms, size in noted or []:
        if not 0 < int(size) <= len(body) - place:
            raise ValueError("the chunks are not those of the body")
        yield float(at_ms), body[place : place + int(size)]
        place += int(size)
    if place < len(body):
        yield ms, body[place:]

"""Writes and reads mitmproxy's flow files. The sizes and times of chunks are stored in ``flow.metadata``."""

import datetime
from collections.abc import Iterable, Iterator
from pathlib import Path

from mitmproxy import connection, exceptions, http, io

from cassettes.convert.exchange import ConvertError, Exchange
from cassettes.format import Entry

METADATA = "understudy_chunks"


def to_flows(entries: Iterable[Entry], path: Path) -> None:
    """Write a cassette's entries as a flow file. Raises OSError."""
    with path.open("wb") as file:
        writer = io.FlowWriter(file)  # type: ignore[no-untyped-call]
        for entry in entries:
            writer.add(_flow(entry))


def _flow(entry: Entry) -> http.HTTPFlow:
    began = datetime.datetime.fromisoformat(entry.started).timestamp()
    host = entry.request.headers.get("host", "api.openai.com")
    name = host if isinstance(host, str) else host[0]
    client = connection.Client(peername=("127.0.0.1", 0), sockname=("127.0.0.1", 0), timestamp_start=began)
    server = connection.Server(address=(name, 443))
    flow = http.HTTPFlow(client, server)
    flow.request = http.Request.make(
        entry.request.method,
        f"https://{name}{entry.request.path}",
        entry.request.body,
        http.Headers(_fields(entry.request.headers)),
    )
    flow.request.timestamp_start = flow.request.timestamp_end = began
    if entry.status is not None:
        flow.response = http.Response.make(entry.status, entry.body, http.Headers(_fields(entry.headers)))
        flow.response.timestamp_start = began + (entry.chunks[0].at_ms if entry.chunks else entry.ms) / 1000
        flow.response.timestamp_end = began + entry.ms / 1000
    flow.metadata[METADATA] = [[chunk.at_ms, len(chunk.data)] for chunk in entry.chunks]
    return flow


def _fields(headers: object) -> list[tuple[bytes, bytes]]:
    return [
        (str(name).encode(), value.encode())
        for name, values in dict(headers).items()  # type: ignore[call-overload]
        for value in ([values] if isinstance(values, str) else values)
        # mitmproxy sets the length itself: the body here has no transfer encoding.
        if str(name) not in ("content-length", "transfer-encoding")
    ]


def from_flows(path: Path) -> Iterator[Exchange]:
    """Yield the HTTP exchanges of a flow file that have an answer. Raises ConvertError, OSError."""
    with path.open("rb") as file:
        try:
            for flow in io.FlowReader(file).stream():
                if isinstance(flow, http.HTTPFlow) and flow.response is not None:
                    yield _exchange(flow, flow.response)
        except (OSError, ConvertError):
            raise
        except Exception as error:  # mitmproxy's reader does not catch all errors of a broken file
            told = str(error) if isinstance(error, exceptions.FlowReadException) else f"{type(error).__name__}: {error}"
            raise ConvertError(f"{path} is not a flow file that can be read: {told}") from None


def _exchange(flow: http.HTTPFlow, response: http.Response) -> Exchange:
    began = flow.request.timestamp_start or 0.0
    body = response.get_content(strict=False) or b""
    end_ms = max(((response.timestamp_end or began) - began) * 1000, 0.0)
    chunks, place = [], 0
    noted = flow.metadata.get(METADATA)
    for one in noted if isinstance(noted, list) else []:
        at_ms, size = one
        chunks.append((float(at_ms), body[place : place + int(size)]))
        place += int(size)
    if place < len(body):
        chunks.append((end_ms, body[place:]))
    return Exchange(
        started=datetime.datetime.fromtimestamp(began, datetime.UTC),
        method=flow.request.method,
        url=flow.request.pretty_url,
        headers=_pairs(flow.request),
        body=flow.request.get_content(strict=False) or b"",
        status=response.status_code,
        answer_headers=_pairs(response),
        chunks=tuple(chunks),
        ms=end_ms,
    )


def _pairs(message: http.Message) -> tuple[tuple[str, str], ...]:
    return tuple((n.decode("utf-8", "replace"), v.decode("utf-8", "replace")) for n, v in message.headers.fields)

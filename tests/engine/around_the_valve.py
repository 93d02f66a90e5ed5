"""What stands between the valve and the simulated API in tests: a TLS server, and a proxy of a company."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.end_to_end.site import Certified

type Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def address(url: str) -> tuple[str, int]:
    """Return host and port of a URL."""
    parts = urlsplit(url)
    return str(parts.hostname), int(parts.port or 0)


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int, first: bytes) -> None:
    """Pass bytes between a connection and a new one to a server."""
    to_reader, to_writer = await asyncio.open_connection(host, port)
    to_writer.write(first)
    await asyncio.gather(pipe(reader, to_writer), pipe(to_reader, writer))


@asynccontextmanager
async def serving(serve: Serve, certified: Certified | None = None) -> AsyncIterator[int]:
    """Run a server on loopback, and yield its port. Its connections end with it."""
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def run() -> None:
            try:
                with suppress(OSError, asyncio.IncompleteReadError):
                    await serve(reader, writer)
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()

        task = asyncio.create_task(run())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=certified.tls if certified else None)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def tls_before(
    url: str, certified: Certified, connections: list[asyncio.StreamWriter] | None = None
) -> AsyncIterator[str]:
    """Answer with TLS in front of a server, and yield the base URL. Connections are added to the list."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if connections is not None:
            connections.append(writer)
        await join(reader, writer, *address(url), b"")

    async with serving(serve, certified) as port:
        yield f"https://localhost:{port}"


@dataclass
class CompanyProxy:
    """An HTTP proxy that asks for a login, and notes the first line of what it is asked."""

    login: str
    url: str = ""
    asked: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        head = await reader.readuntil(b"\r\n\r\n")
        line, *fields = head.decode("ascii").split("\r\n")
        self.asked.append(line)
        if f"Proxy-Authorization: {self.login}" not in fields:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        method, target, _ = line.split(" ")
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await join(reader, writer, host, int(port), b"")
        else:
            await join(reader, writer, *address(target), head)


@asynccontextmanager
async def company_proxy(user: str, login: str, certified: Certified | None = None) -> AsyncIterator[CompanyProxy]:
    """Run such a proxy, with TLS if it has a certificate. ``user`` is the beginning of its URL: ``name:password``."""
    proxy = CompanyProxy(login)
    async with serving(proxy.serve, certified) as port:
        proxy.url = f"{'https' if certified else 'http'}://{user}@localhost:{port}"
        yield proxy

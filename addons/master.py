"""The proxy inside our own process: mitmproxy's master with its usual addons and ours."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mitmproxy import addons as mitmproxy_addons
from mitmproxy.master import Master
from mitmproxy.options import Options

from addons.hosts import is_loopback
from settings import Settings


class CannotListenError(Exception):
    """A door could not be opened; the message says which and why."""


class _Ready:
    """Tells when every other addon is running. It must be the last one."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    def running(self) -> None:
        """Tell."""
        self.event.set()


def options_for(settings: Settings, confdir: Path, environ: Mapping[str, str]) -> Options:
    """Return mitmproxy's options: where it listens, and whose certificates it makes and believes."""
    for door, address in (("listen", settings.listen), ("base_url", settings.base_url)):
        if address is not None and not settings.client_auth and not is_loopback(address[0]):
            raise CannotListenError(
                f"{door} {address[0]}:{address[1]} is open to other machines; whoever reaches it would ask Claude at"
                " your cost. Make keys with `understudy keys make NAME` and add --client-auth, or listen on 127.0.0.1"
            )
    host, port = settings.listen
    modes = [f"regular@{host}:{port}"]
    if settings.base_url is not None:
        modes.append(f"reverse:https://{settings.hosts[0]}@{settings.base_url[0]}:{settings.base_url[1]}")
    # For passthrough: a person's own certificate authorities are believed upstream as they are elsewhere.
    authorities = environ.get("SSL_CERT_FILE") or None
    return Options(mode=modes, confdir=str(confdir), ssl_verify_upstream_trusted_ca=authorities)


@contextlib.asynccontextmanager
async def proxy(options: Options, addons: Sequence[Any]) -> AsyncIterator[list[tuple[str, int]]]:
    """Run the proxy while the block runs, and yield where it listens, in the order of its modes.

    Raises CannotListenError when a door cannot be opened or an addon cannot start.
    """
    master = Master(options, event_loop=asyncio.get_running_loop(), with_termlog=False)
    ready = _Ready()
    with _errors_logged() as errors:
        master.addons.add(*mitmproxy_addons.default_addons(), *addons, ready)  # type: ignore[no-untyped-call]
        running = asyncio.create_task(master.run(), name="mitmproxy")
        waiting = asyncio.create_task(ready.event.wait(), name="until the proxy is ready")
        try:
            await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
            server = master.addons.get("proxyserver")  # type: ignore[no-untyped-call]
            # A reverse proxy also listens on UDP, at the same address.
            addresses = list(dict.fromkeys((host, port) for host, port, *_ in server.listen_addrs()))
            if errors or len(addresses) < len(options.mode):
                raise CannotListenError("; ".join(errors) or "the proxy could not be started")
            errors.clear()
            yield addresses
        finally:
            waiting.cancel()
            master.should_exit.set()
            await asyncio.shield(running)


@contextlib.contextmanager
def _errors_logged() -> Iterator[list[str]]:
    """Collect what is logged as an error: mitmproxy does not raise what goes wrong at its start."""
    errors: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            errors.append(record.getMessage())

    handler = Collect(logging.ERROR)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield errors
    finally:
        root.removeHandler(handler)

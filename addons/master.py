"""The proxy inside our own process: mitmproxy's master with its usual addons and ours."""

import asyncio
import contextlib
import logging
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import mitmproxy_rs
from mitmproxy import addons as mitmproxy_addons
from mitmproxy.addons import core, disable_h2c, next_layer, proxyauth, proxyserver, tlsconfig, upstream_auth
from mitmproxy.certs import CertStore
from mitmproxy.master import Master
from mitmproxy.options import Options
from mitmproxy.proxy import mode_specs

from addons.doors import CannotListenError, check_doors, doors_of
from addons.hosts import is_loopback
from settings import Settings, write_address

LOOPBACK = "127.0.0.1"


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
        if address is not None:
            refuse_open_door(settings, door, *address)
    host, port = settings.listen
    upstream = urlsplit(settings.upstream_proxy) if settings.upstream_proxy else None
    kind = "regular"
    if upstream is not None:
        kind = f"upstream:{upstream.scheme}://{write_address(upstream.hostname or '', upstream.port or 0)}"
    modes = [f"{kind}@{host}:{port}"]
    if settings.base_url is not None:
        door = f"reverse:https://{settings.hosts[0]}@{settings.base_url[0]}:{settings.base_url[1]}"
        # mitmproxy would listen for HTTP/3 there, too, which nobody asked for. It reads each mode once, so this is
        # the mode that it will run.
        mode_specs.ProxyMode.parse(door).transport_protocol = "tcp"  # type: ignore[misc]
        modes.append(door)
    for mode in settings.mode:
        spec = parse_mode(mode)
        if isinstance(spec, mode_specs.LocalMode):
            refuse_without_rights(mode)
        if isinstance(spec, mode_specs.WireGuardMode):
            refuse_open_door(settings, "mode", spec.listen_host("0.0.0.0"), spec.listen_port() or 0)  # noqa: S104
        elif not isinstance(spec, mode_specs.LocalMode):
            refuse_open_door(settings, "mode", spec.listen_host(LOOPBACK), spec.listen_port() or 0)
        modes.append(mode)
    # For passthrough: a person's own certificate authorities are believed upstream as they are elsewhere.
    authorities = environ.get("SSL_CERT_FILE") or None
    options = Options(
        mode=modes,
        confdir=str(confdir),
        # Where a mode names no host; mitmproxy's own default is every address.
        listen_host=LOOPBACK,
        ssl_verify_upstream_trusted_ca=authorities,
    )
    # An addon of mitmproxy's brings this option. Under which name the base-URL door is reached matters:
    # see addons/guard_base_url.py.
    options.update_defer(keep_host_header=True)  # type: ignore[no-untyped-call]
    return options


def parse_mode(mode: str) -> mode_specs.ProxyMode:
    """Read a mode as mitmproxy does. Raises CannotListenError."""
    try:
        return mode_specs.ProxyMode.parse(mode)
    except ValueError as error:
        raise CannotListenError(f"mode {mode}: {error}") from None


def refuse_open_door(settings: Settings, door: str, host: str, port: int) -> None:
    """Refuse to listen where other machines are, unless there are keys. Raises CannotListenError."""
    if not settings.client_auth and not is_loopback(host):
        raise CannotListenError(
            f"{door} {write_address(host, port)} is open to other machines; whoever reaches it would ask Claude at"
            " your cost. Make keys with `understudy keys make NAME` and add --client-auth, or listen on 127.0.0.1"
        )


def refuse_without_rights(mode: str) -> None:
    """Say what capturing other programs' traffic needs and is not there. Raises CannotListenError."""
    reason = mitmproxy_rs.local.LocalRedirector.unavailable_reason()
    if reason is None and sys.platform == "linux" and shutil.which("sudo") is None:
        reason = "on Linux mitmproxy starts its redirector with sudo, and there is none"
    if reason is not None:
        raise CannotListenError(f"mode {mode}: this machine cannot capture programs' traffic: {reason}")


@contextlib.asynccontextmanager
async def proxy(
    options: Options,
    addons: Sequence[Any],
    web: tuple[str, int] | None = None,
    *,
    say_web: Callable[[str], None] | None = None,
    own: Sequence[Any] | None = None,
) -> AsyncIterator[list[tuple[str, int]]]:
    """Run the proxy while the block runs, and yield where it listens, in the order of its modes.

    ``web``: where mitmweb shows what it does, if anywhere. ``say_web`` is given its whole URL, whose token lets in.
    ``own``: mitmproxy's own addons; None: all that it has by default.

    Raises CannotListenError when a door cannot be opened or an addon cannot start.
    """
    check_doors(doors_of(options, web))
    ready = _Ready()
    with _errors_logged() as (errors, show_errors):
        if web is None:
            master = Master(options, event_loop=asyncio.get_running_loop(), with_termlog=False)
            own = mitmproxy_addons.default_addons() if own is None else own  # type: ignore[no-untyped-call]
            master.addons.add(*own)  # type: ignore[no-untyped-call]
        else:
            master = web_master(options, *web)
        master.addons.add(*addons, ready)  # type: ignore[no-untyped-call]
        running = asyncio.create_task(master.run(), name="mitmproxy")
        waiting = asyncio.create_task(ready.event.wait(), name="until the proxy is ready")
        try:
            await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if running.done() and (why := running.exception()) is not None:
                raise CannotListenError(str(why).partition("\n")[0]) from why
            server = master.addons.get("proxyserver")  # type: ignore[no-untyped-call]
            # A reverse proxy also listens on UDP, at the same address.
            addresses = list(dict.fromkeys((host, port) for host, port, *_ in server.listen_addrs()))
            if errors or not all(instance.is_running for instance in server.servers):
                told = [" ".join(error.partition("Stack backtrace")[0].split()) for error in errors]
                raise CannotListenError("; ".join(told) or "the proxy could not be started")
            errors.clear()
            show_errors()
            if web is not None and say_web is not None:
                say_web(master.web_url)  # type: ignore[attr-defined]
            yield addresses
        finally:
            waiting.cancel()
            # mitmproxy leaves its doors open to the end of the process.
            await master.addons.get("proxyserver").servers.update([])  # type: ignore[no-untyped-call]
            master.should_exit.set()
            await asyncio.wait({running})
            cut_connections(master)
            failure = None if running.cancelled() else running.exception()
    if failure is not None:
        raise failure


def cut_connections(master: Master) -> None:
    """Close the connections of clients: mitmproxy leaves them open, and would go on to serve them."""
    for handler in list(master.addons.get("proxyserver").connections.values()):  # type: ignore[no-untyped-call]
        transport = handler.transports.get(handler.client)
        if transport is not None and transport.handler is not None:
            transport.handler.cancel("the proxy has ended")


class _TlsWith(tlsconfig.TlsConfig):
    """mitmproxy's addon for TLS, with an authority that is read already."""

    def __init__(self, store: CertStore) -> None:
        self.certstore = store

    def configure(self, updated: Collection[str]) -> None:
        """Do what it does, but read no authority. mitmproxy itself also calls this with the name of one option."""
        names = {updated} if isinstance(updated, str) else set(updated)
        super().configure(names - {"certs", "confdir", "key_size", "cert_passphrase"})  # type: ignore[no-untyped-call]


def few_addons(store: CertStore) -> list[Any]:
    """Return those of mitmproxy's own addons that a regular proxy needs.

    Where a proxy is started for each test, all of them would take most of the time, and so would reading the authority:
    ``store`` has it, and the certificates that it has made so far.
    """
    return [
        core.Core(),
        disable_h2c.DisableH2C(),
        proxyauth.ProxyAuth(),
        proxyserver.Proxyserver(),  # type: ignore[no-untyped-call]
        next_layer.NextLayer(),
        _TlsWith(store),
        upstream_auth.UpstreamAuth(),
    ]


def web_master(options: Options, host: str, port: int) -> Master:
    """Return mitmweb's master, with its own addons. Its ``web_url`` has the token that lets in.

    mitmweb logs that URL too, but our log masks tokens.
    """
    # Imported where it is wanted: it brings a web server.
    from mitmproxy.tools.web.master import WebMaster

    master = WebMaster(options, with_termlog=False)
    master.options.update(web_host=host, web_port=port, web_open_browser=False)  # type: ignore[no-untyped-call]
    # It would end the whole program by itself when something was logged as an error.
    if (check := master.addons.get("errorcheck")) is not None:  # type: ignore[no-untyped-call]
        master.addons.remove(check)  # type: ignore[no-untyped-call]
    return master


@contextlib.contextmanager
def _errors_logged() -> Iterator[tuple[list[str], Callable[[], None]]]:
    """Collect what is logged as an error: mitmproxy does not raise what goes wrong at its start.

    Nothing of it is shown in the log until the function that is yielded is called: what goes wrong at the start is
    raised, and whoever catches it says it once.
    """
    errors: list[str] = []
    shown: list[logging.Handler] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            errors.append(record.getMessage())

    def is_shown(record: logging.LogRecord) -> bool:
        return record.levelno < logging.ERROR

    def show() -> None:
        while shown:
            shown.pop().removeFilter(is_shown)

    root = logging.getLogger()
    for handler in root.handlers:
        handler.addFilter(is_shown)
        shown.append(handler)
    collect = Collect(logging.ERROR)
    root.addHandler(collect)
    try:
        yield errors, show
    finally:
        root.removeHandler(collect)
        show()

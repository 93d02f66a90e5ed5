"""Run mitmproxy's master in this process, with those of its addons that do something here, and the project's own."""

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
from mitmproxy import ctx, http
from mitmproxy.addons import (
    asgiapp,
    block,
    core,
    disable_h2c,
    dns_resolver,
    next_layer,
    proxyauth,
    proxyserver,
    strip_dns_https_records,
    tlsconfig,
    update_alt_svc,
    upstream_auth,
)
from mitmproxy.certs import CertStore
from mitmproxy.master import Master
from mitmproxy.options import Options
from mitmproxy.proxy import mode_specs

from addons.doors import CannotListenError, check_doors, doors_of
from addons.hosts import is_loopback
from settings import Settings, write_address

LOOPBACK = "127.0.0.1"


class _Ready:
    """Signal that all other addons are running. It must be the last addon."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    def running(self) -> None:
        """Set the event."""
        self.event.set()


def options_for(settings: Settings, confdir: Path, environ: Mapping[str, str]) -> Options:
    """Return mitmproxy's options: its addresses, its certificate authority, and the authorities that it trusts.

    Raises CannotListenError if a mode is invalid or not allowed.
    """
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
        # By default mitmproxy would listen for HTTP/3 there too. It caches parsed modes, so this change applies to the
        # mode that it runs.
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
    # For passthrough: trust the user's own certificate authorities upstream.
    authorities = environ.get("SSL_CERT_FILE") or None
    options = Options(
        mode=modes,
        confdir=str(confdir),
        # The default for modes without a host. mitmproxy's own default is every address.
        listen_host=LOOPBACK,
        ssl_verify_upstream_trusted_ca=authorities,
    )
    # A mitmproxy addon defines this option, so set it later. The proxy needs the Host header of requests to the base
    # URL: see addons/guard_base_url.py.
    options.update_defer(keep_host_header=True)  # type: ignore[no-untyped-call]
    return options


def parse_mode(mode: str) -> mode_specs.ProxyMode:
    """Parse a mitmproxy mode. Raises CannotListenError if it is invalid."""
    try:
        return mode_specs.ProxyMode.parse(mode)
    except ValueError as error:
        raise CannotListenError(f"mode {mode}: {error}") from None


def refuse_open_door(settings: Settings, door: str, host: str, port: int) -> None:
    """Raise CannotListenError if other machines can reach the address and no API key is required."""
    if not settings.client_auth and not is_loopback(host):
        raise CannotListenError(
            f"{door} {write_address(host, port)} is open to other machines; whoever reaches it would ask Claude at"
            " your cost. Make keys with `understudy keys make NAME` and add --client-auth, or listen on 127.0.0.1"
        )


def refuse_without_rights(mode: str) -> None:
    """Raise CannotListenError if this machine cannot capture other programs' traffic."""
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
    store: CertStore | None = None,
) -> AsyncIterator[list[tuple[str, int]]]:
    """Run the proxy while the block runs. Yield its addresses in the order of its modes.

    ``web``: the address of mitmweb, or None. ``say_web`` is called with mitmweb's URL, which includes its token.
    ``own``: mitmproxy's own addons; None for :func:`addons_of_mitmproxy`, with ``store``.

    Raises CannotListenError if the proxy cannot listen at an address or an addon cannot start.
    """
    check_doors(doors_of(options, web))
    ready = _Ready()
    with _errors_logged() as (errors, show_errors):
        if web is None:
            master = Master(options, event_loop=asyncio.get_running_loop(), with_termlog=False)
            master.addons.add(*(addons_of_mitmproxy(store) if own is None else own))  # type: ignore[no-untyped-call]
        else:
            master = web_master(options, *web)
        # It would call all addons for each line of the log, for a hook that mitmproxy has deprecated and nobody uses.
        master._legacy_log_events.uninstall()
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
            # mitmproxy would listen until the process ends.
            await master.addons.get("proxyserver").servers.update([])  # type: ignore[no-untyped-call]
            master.should_exit.set()
            await asyncio.wait({running})
            cut_connections(master)
            failure = None if running.cancelled() else running.exception()
    if failure is not None:
        raise failure


def cut_connections(master: Master) -> None:
    """Close the clients' connections. Otherwise mitmproxy would continue to serve them."""
    for handler in list(master.addons.get("proxyserver").connections.values()):  # type: ignore[no-untyped-call]
        transport = handler.transports.get(handler.client)
        if transport is not None and transport.handler is not None:
            transport.handler.cancel("the proxy has ended")


class InstallationPage:
    """mitmproxy's page http://mitm.it/, from which a device gets the certificate of the authority.

    mitmproxy's own addon imports a web server at the start. This one does so at the first request for the page.
    """

    HOST = "mitm.it"

    def __init__(self) -> None:
        self._page: asgiapp.WSGIApp | None = None

    async def request(self, flow: http.HTTPFlow) -> None:
        """Answer a request for the page."""
        if flow.request.pretty_host != self.HOST:
            return
        if self._page is None:
            from mitmproxy.addons.onboardingapp import app

            app.config["CONFDIR"] = ctx.options.confdir
            self._page = asgiapp.WSGIApp(app, self.HOST, None)
        await self._page.request(flow)


def addons_of_mitmproxy(store: CertStore | None = None) -> list[Any]:
    """Return mitmproxy's default addons, without those that do nothing unless an option of theirs is set.

    ``store`` has the authority. If it is None, mitmproxy loads it from its ``confdir``.
    """
    return [
        core.Core(),
        block.Block(),
        strip_dns_https_records.StripDnsHttpsRecords(),
        disable_h2c.DisableH2C(),
        InstallationPage(),
        proxyauth.ProxyAuth(),
        proxyserver.Proxyserver(),  # type: ignore[no-untyped-call]
        dns_resolver.DnsResolver(),
        next_layer.NextLayer(),
        tlsconfig.TlsConfig() if store is None else _TlsWith(store),
        upstream_auth.UpstreamAuth(),
        update_alt_svc.UpdateAltSvc(),
    ]


class _TlsWith(tlsconfig.TlsConfig):
    """mitmproxy's addon for TLS, with a certificate store that is already loaded."""

    def __init__(self, store: CertStore) -> None:
        self.certstore = store

    def configure(self, updated: Collection[str]) -> None:
        """Configure the addon without loading a certificate store. mitmproxy may pass one name instead of a set."""
        names = {updated} if isinstance(updated, str) else set(updated)
        super().configure(names - {"certs", "confdir", "key_size", "cert_passphrase"})  # type: ignore[no-untyped-call]


def few_addons(store: CertStore) -> list[Any]:
    """Return only those mitmproxy addons that a regular proxy needs.

    This saves time if a proxy is started for each test: loading all addons and the certificate authority is slow.
    ``store`` has the authority and the certificates that it has made so far.
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
    """Return mitmweb's master, with its own addons. Its ``web_url`` includes the access token.

    mitmweb logs that URL too, but our log masks tokens.
    """
    # Import it only when needed, since it imports a web server.
    from mitmproxy.tools.web.master import WebMaster

    master = WebMaster(options, with_termlog=False)
    master.options.update(web_host=host, web_port=port, web_open_browser=False)  # type: ignore[no-untyped-call]
    # This addon would exit the whole program when an error is logged.
    if (check := master.addons.get("errorcheck")) is not None:  # type: ignore[no-untyped-call]
        master.addons.remove(check)  # type: ignore[no-untyped-call]
    return master


@contextlib.contextmanager
def _errors_logged() -> Iterator[tuple[list[str], Callable[[], None]]]:
    """Collect logged errors, because mitmproxy logs errors at its start and does not raise them.

    Yield the list of errors, and a function that lets the log show errors again. Until then the log hides them: the
    caller raises them as an exception, so they would be shown twice.
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

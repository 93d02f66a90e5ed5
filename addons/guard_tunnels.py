"""Limit the hosts that a client can reach besides the simulated APIs: public addresses, or the hosts in ``tunnel``.

A proxy for other machines can reach networks that its clients cannot. Without this addon, an API key would open every
port of this machine and of its neighbours. The addon resolves each host and checks the addresses. The connection goes
to a checked address, so a later change of the name's DNS records has no effect.

If ``upstream_proxy`` is set, that proxy resolves names. Then only the host as written can be checked.

A revoked or expired key cannot open new connections. Its open connections are closed within ``key_check_s``.
"""

import asyncio
import contextlib
import ipaddress
import logging
import weakref
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from mitmproxy import http
from mitmproxy.connection import Client
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from addons.addresses import is_public, resolve
from addons.bound_connections import close, handler_of
from addons.hosts import matches
from addons.redirect_to_origin import MAGIC_HOST, RedirectToOrigin, forbidden
from api.access import KEY_HEADER, Access
from api.failures import error_headers
from settings import Settings
from translate.errors import OpenAIError

log = logging.getLogger("understudy")

REAL_HOST = "understudy_real_host"
"""``flow.metadata``: the host name, while the request has the resolved address instead."""


class GuardTunnels:
    """Check every host that a client connects to. It must come after the addon that handles proxy logins."""

    def __init__(
        self,
        settings: Settings,
        redirect: RedirectToOrigin,
        access: Callable[[], Awaitable[Access | None]],
        *,
        key_of: Callable[[Client], str | None],
        is_tunnel: Callable[[Client], None],
    ) -> None:
        """``key_of`` returns the key of a client's login. ``is_tunnel`` is called for each tunnel's client."""
        self._hosts = settings.hosts
        self._allowed = settings.tunnel
        self._every_s = settings.key_check_s
        upstream = urlsplit(settings.upstream_proxy) if settings.upstream_proxy else None
        self._upstream = (upstream.hostname, upstream.port) if upstream else None
        self._redirect = redirect
        self._access = access
        self._key_of = key_of
        self._is_tunnel = is_tunnel
        self._pinned: weakref.WeakKeyDictionary[Client, dict[str, str]] = weakref.WeakKeyDictionary()
        self._keys: weakref.WeakKeyDictionary[Client, str] = weakref.WeakKeyDictionary()
        """The keys of the clients that are connected to other hosts."""
        self._watching: asyncio.Task[None] | None = None

    def running(self) -> None:
        """Start to check the keys of open tunnels regularly."""
        self._watching = asyncio.get_running_loop().create_task(self._watch(), name="watch the keys of tunnels")

    async def done(self) -> None:
        """Stop the regular check."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching

    # Where clients want to go

    async def http_connect(self, flow: http.HTTPFlow) -> None:
        """Check the host of a CONNECT."""
        if flow.response is not None or flow.error is not None or self._is_ours(flow.request.host):
            return
        if await self._may(flow, flow.request.host, flow.request.port) is not None:
            self._led_elsewhere(flow.client_conn)

    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Check the host of a request that the origin does not answer."""
        request = flow.request
        key = request.headers.get(KEY_HEADER)
        if flow.response is not None or flow.error is not None or self._is_ours(request.host):
            return
        if self._redirect.is_ours(flow, logged_in=key is not None):
            return
        address = await self._may(flow, request.host, request.port)
        if address is not None:
            if key:
                self._keys[flow.client_conn] = key
            if address != request.host:
                flow.metadata[REAL_HOST] = request.host
                # Do not set request.host, since that would change the Host header too.
                request.data.host = address

    async def server_connect(self, data: ServerConnectionHookData) -> None:
        """Check the host if it is not checked yet, and connect to the checked address."""
        if data.server.address is None:
            return
        host, port = data.server.address[:2]
        if (host, port) == self._upstream or self._is_ours(host) or self._redirect.has_sent(data.client, host, port):
            return
        address = self._pinned.get(data.client, {}).get(host)
        if address is None:
            try:
                address = await self.judge(host, port)
            except OpenAIError as error:
                log.warning("a connection is refused: %s", error)
                data.server.error = str(error)
                return
        self._led_elsewhere(data.client)
        data.server.address = (address, port)

    def response(self, flow: http.HTTPFlow) -> None:
        """Restore the host name."""
        self._restore(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        """Restore the host name."""
        self._restore(flow)

    async def judge(self, host: str, port: int) -> str:
        """Return the address to connect to. With an upstream proxy, return the host itself.

        Raises OpenAIError: 403 if the host is not allowed, 502 if it has no address.
        """
        named, listed = self._in_list(host)
        if self._allowed and not listed:
            raise forbidden(f"This key does not lead to {host!r}. The operator of this proxy can allow it: tunnel.")
        if self._upstream is not None:
            if not named and not is_public_as_written(host):
                raise self._not_public(host)
            return host
        try:
            addresses = await resolve(host, port)
        except OSError as error:
            message = f"The host {host!r} has no address: {error.strerror or error}."
            raise OpenAIError(message, status=502, type="server_error", code="unknown_host") from error
        if not named and not all(map(is_public, addresses)):
            raise self._not_public(host)
        return addresses[0]

    async def _may(self, flow: http.HTTPFlow, host: str, port: int) -> str | None:
        try:
            address = await self.judge(host, port)
        except OpenAIError as error:
            flow.response = http.Response.make(error.status, error.body(), dict(error_headers(error)))
            return None
        self._pinned.setdefault(flow.client_conn, {})[host] = address
        return address

    def _in_list(self, host: str) -> tuple[bool, bool]:
        """Return two values: whether ``tunnel`` has the exact host name, and whether it allows the host at all."""
        named = host.rstrip(".").lower() in self._allowed
        return named, named or matches(host, self._allowed)

    def _is_ours(self, host: str) -> bool:
        return matches(host, self._hosts) or host == MAGIC_HOST

    def _not_public(self, host: str) -> OpenAIError:
        return forbidden(
            f"This key leads to public addresses only, and {host!r} has another one."
            " The operator of this proxy can allow it: tunnel."
        )

    def _restore(self, flow: http.HTTPFlow) -> None:
        name = flow.metadata.pop(REAL_HOST, None)
        if name is not None:
            flow.request.data.host = name

    # Keys that are taken away

    def _led_elsewhere(self, client: Client) -> None:
        self._is_tunnel(client)
        if (key := self._key_of(client)) is not None:
            self._keys[client] = key

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self._close_revoked()
            except Exception as error:
                log.warning("the keys of tunnels cannot be checked: %s", error)

    async def _close_revoked(self) -> None:
        clients = dict(self._keys)
        if not clients or (access := await self._access()) is None:
            return
        keys = set(clients.values())
        over = {key for key in keys if await access.check(key) is None}
        for client, key in clients.items():
            if key in over and (handler := handler_of(client)) is not None:
                log.info("a tunnel is closed: its key is not valid any more")
                close(handler)


def is_public_as_written(host: str) -> bool:
    """Whether a host that another proxy resolves is a public address, or a name that is not known to be private.

    A host that ends in a number is not public: it may be an address in an unusual notation.
    """
    name = host.rstrip(".").lower()
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        labels = name.split(".")
        is_number = labels[-1].isdigit() or labels[-1].startswith("0x")
        return len(labels) > 1 and not is_number and labels[-1] not in ("localhost", "local", "internal")
    return is_public(name)

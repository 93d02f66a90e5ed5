"""Asks clients of the proxy for a key."""

import base64
import binascii
import logging
import weakref
from collections.abc import Awaitable, Callable

from mitmproxy import connection, ctx, http
from mitmproxy.addonmanager import Loader
from mitmproxy.proxy import mode_specs
from mitmproxy.proxy.layers import modes

from api.access import KEY_HEADER, Access

log = logging.getLogger("understudy")

REALM = 'Basic realm="Understudy: any name, and a key as the password"'


ASK_FOR_LOGIN = (mode_specs.RegularMode, mode_specs.UpstreamMode)
"""The modes in which a client knows that it uses a proxy, and can log in."""


class ProxyLogin:
    """Accepts only clients that log in with a key: ``Proxy-Authorization: Basic``, any name, and the key as password.

    Clients log in with ``HTTPS_PROXY=http://me:sk-understudy-…@host:port``. All requests on that connection belong to
    this key, whatever OpenAI key the app sends.
    """

    def __init__(
        self,
        access: Callable[[], Awaitable[Access | None]],
        known: Callable[[connection.Client], None] = lambda client: None,
    ) -> None:
        """``known`` is called for each client that has sent a valid key."""
        self._access = access
        self._known = known
        self._keys: weakref.WeakKeyDictionary[connection.Client, str] = weakref.WeakKeyDictionary()

    def load(self, loader: Loader) -> None:
        """Make mitmproxy ask SOCKS clients for a login. It does so only if its own option for logins is set."""
        ctx.options.update(proxyauth="any")  # type: ignore[no-untyped-call]
        own = ctx.master.addons.get("proxyauth")  # type: ignore[no-untyped-call]
        if own is not None:
            # Without a validator, mitmproxy's own addon checks nothing. This addon does.
            own.validator = None

    async def http_connect(self, flow: http.HTTPFlow) -> None:
        """Check the login of a tunnel."""
        if (key := await self._login(flow)) is not None:
            self._keys[flow.client_conn] = key
            self._known(flow.client_conn)

    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Note the key of a request. Check the login if no CONNECT came before."""
        flow.request.headers.pop(KEY_HEADER, None)
        if flow.response is not None:
            return  # a request for the proxy's own address, which was answered already
        key = self._keys.get(flow.client_conn)
        if key is None and isinstance(flow.client_conn.proxy_mode, ASK_FOR_LOGIN):
            key = await self._login(flow)
        if key:
            flow.request.headers[KEY_HEADER] = key
            self._known(flow.client_conn)

    def key_of(self, client: connection.Client) -> str | None:
        """Return the key with which a connection has logged in; None if it has not."""
        return self._keys.get(client)

    async def socks5_auth(self, data: modes.Socks5AuthData) -> None:
        """Check the login of a SOCKS connection."""
        if await self._is_key(data.password):
            data.valid = True
            self._keys[data.client_conn] = data.password
            self._known(data.client_conn)

    def response(self, flow: http.HTTPFlow) -> None:
        """Remove the key before other addons see the finished flow."""
        flow.request.headers.pop(KEY_HEADER, None)

    def error(self, flow: http.HTTPFlow) -> None:
        """Remove the key."""
        flow.request.headers.pop(KEY_HEADER, None)

    async def _login(self, flow: http.HTTPFlow) -> str | None:
        """Return the key in a request's login. Answer with 407 and return None if it is missing or wrong.

        If no keys are required, any login is accepted, and the result may be "".
        """
        secret = password_in(flow.request.headers.pop("proxy-authorization", ""))
        if await self._is_key(secret):
            return secret
        flow.response = http.Response.make(
            407, b"This proxy asks for a key: `understudy keys make`.\n", {"Proxy-Authenticate": REALM}
        )
        return None

    async def _is_key(self, secret: str) -> bool:
        try:
            access = await self._access()
            return access is None or (bool(secret) and await access.check(secret) is not None)
        except Exception as error:
            # Catch everything: after an exception mitmproxy would accept the client.
            log.warning("keys cannot be checked: %s", error)
            return False


def password_in(header: str) -> str:
    """Return the password of a Basic login; "" if there is none."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(encoded, validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return ""

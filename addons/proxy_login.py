"""The CONNECT door asks for a key."""

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
"""Where a client knows that there is a proxy, and can log in to it."""


class ProxyLogin:
    """Let through only whoever logs in with a key: ``Proxy-Authorization: Basic``, any name, the key as password.

    That is ``HTTPS_PROXY=http://me:sk-understudy-…@host:port`` for every client that knows proxies. What then comes
    over that connection is that key's, whatever the app itself sends as its OpenAI key.
    """

    def __init__(
        self,
        access: Callable[[], Awaitable[Access | None]],
        known: Callable[[connection.Client], None] = lambda client: None,
    ) -> None:
        """``known`` is told of each client that has shown a key."""
        self._access = access
        self._known = known
        self._keys: weakref.WeakKeyDictionary[connection.Client, str] = weakref.WeakKeyDictionary()

    def load(self, loader: Loader) -> None:
        """Have SOCKS clients asked for a login, which mitmproxy does only where its own logins are in use."""
        ctx.options.update(proxyauth="any")  # type: ignore[no-untyped-call]
        own = ctx.master.addons.get("proxyauth")  # type: ignore[no-untyped-call]
        if own is not None:
            # With nothing to check by, mitmproxy's own addon asks for nothing; ours does.
            own.validator = None

    async def http_connect(self, flow: http.HTTPFlow) -> None:
        """Ask for the login of a connection."""
        if (key := await self._login(flow)) is not None:
            self._keys[flow.client_conn] = key
            self._known(flow.client_conn)

    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Note whose request it is; ask where no CONNECT came before."""
        flow.request.headers.pop(KEY_HEADER, None)
        if flow.response is not None:
            return  # it was asked of the proxy's own address, and leads nowhere
        key = self._keys.get(flow.client_conn)
        if key is None and isinstance(flow.client_conn.proxy_mode, ASK_FOR_LOGIN):
            key = await self._login(flow)
        if key:
            flow.request.headers[KEY_HEADER] = key
            self._known(flow.client_conn)

    def key_of(self, client: connection.Client) -> str | None:
        """Return the key that a connection has logged in with, None if it has not."""
        return self._keys.get(client)

    async def socks5_auth(self, data: modes.Socks5AuthData) -> None:
        """Ask for the login of a SOCKS connection."""
        if await self._is_key(data.password):
            data.valid = True
            self._keys[data.client_conn] = data.password
            self._known(data.client_conn)

    def response(self, flow: http.HTTPFlow) -> None:
        """Forget the key, before anything looks at the finished flow."""
        flow.request.headers.pop(KEY_HEADER, None)

    def error(self, flow: http.HTTPFlow) -> None:
        """Forget the key."""
        flow.request.headers.pop(KEY_HEADER, None)

    async def _login(self, flow: http.HTTPFlow) -> str | None:
        """Return the key that a request to the proxy carries; refuse the request (407) if there is none or it is wrong.

        Where no keys are asked for, "" is as good as one.
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
            # Whatever went wrong: mitmproxy would go on as if no login had been asked for.
            log.warning("keys cannot be checked: %s", error)
            return False


def password_in(header: str) -> str:
    """Return the password of a Basic login, "" if there is none."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(encoded, validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return ""

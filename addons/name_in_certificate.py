"""Makes the certificate name only the requested host.

mitmproxy also puts the address of the CONNECT into the certificate, or its own address if the app sends no name. The
certificate authority may sign only the names of the intercepted hosts. A single address makes the whole certificate
invalid.

No other name is signed, whatever a client requests in a tunnel or at the base-URL door. Some verifiers do not check the
authority's constraints for a common name without a dot, or with a dot at its end.
"""

from collections.abc import Sequence

from mitmproxy.tls import ClientHelloData

from addons.hosts import matches
from auth.certificates.name_constraints import is_address


class NameInCertificate:
    """If only one of the names in the CONNECT and in the TLS handshake is an intercepted host, uses it for both."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._hosts = hosts

    def tls_clienthello(self, data: ClientHelloData) -> None:
        """Replace a name that is not an intercepted host by the other one. A dot at the end is ignored."""
        client, server = data.context.client, data.context.server
        if server.address is None or server.connected:
            return
        host, port = server.address[:2]
        asked = self._name(client.sni or "")
        named = self._name(host)
        if asked or named:
            client.sni = asked or named
            server.address = (named or asked, port)

    def _name(self, host: str) -> str:
        """Return a host's name if it is an intercepted host, else ""."""
        name = host.rstrip(".")
        return name if name and not is_address(name) and matches(name, self._hosts) else ""

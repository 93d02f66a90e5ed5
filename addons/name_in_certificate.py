"""The certificate that an app is shown names the host it asked for, and nothing else.

mitmproxy puts the address of the CONNECT, or its own when the app tells no name, into the certificate too. Our
authority may sign for our hosts' names alone, and one address among them makes the whole certificate worthless.

Nor is any other name signed, whatever a client asks for in a tunnel or at the base-URL door. Some verifiers compare a
common name without a dot, or with one at its end, with none of the authority's constraints.
"""

from collections.abc import Sequence

from mitmproxy.tls import ClientHelloData

from addons.hosts import matches
from auth.certificates.name_constraints import is_address


class NameInCertificate:
    """Let the name in the TLS handshake and the one in the CONNECT stand in for each other, and no foreign one pass."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._hosts = hosts

    def tls_clienthello(self, data: ClientHelloData) -> None:
        """Fill in whichever of the two is none of our names. A name's last dot is not part of it."""
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
        """Return a host's name if it is one of ours, else ""."""
        name = host.rstrip(".")
        return name if name and not is_address(name) and matches(name, self._hosts) else ""

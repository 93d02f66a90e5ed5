"""The certificate that an app is shown names the host it asked for, and nothing else.

mitmproxy puts the address of the CONNECT, or its own when the app tells no name, into the certificate too. Our
authority may sign for our hosts' names alone, and one address among them makes the whole certificate worthless.
"""

from mitmproxy.tls import ClientHelloData

from auth.constraints import is_address


class NameInCertificate:
    """Let the name in the TLS handshake and the one in the CONNECT stand in for each other."""

    def tls_clienthello(self, data: ClientHelloData) -> None:
        """Fill in whichever of the two is no name."""
        client, server = data.context.client, data.context.server
        if server.address is None or server.connected:
            return
        host, port = server.address[:2]
        if is_address(host) and client.sni:
            server.address = (client.sni, port)
        elif not is_address(host) and not client.sni:
            client.sni = host

"""Logs advice if an app does not trust the certificate authority."""

import logging
from collections.abc import Sequence

from mitmproxy.tls import TlsData

from addons.hosts import matches
from translate.printable import one_line

log = logging.getLogger(__name__)

HINT = (
    "an app asked for %s and does not trust Understudy's certificate authority. Start it with `understudy run -- …`, or"
    " load what `understudy env` prints: SSL_CERT_FILE (Python, Go, curl), REQUESTS_CA_BUNDLE (requests),"
    " NODE_EXTRA_CA_CERTS (Node.js), JAVA_TOOL_OPTIONS (Java), PHP_INI_SCAN_DIR (PHP). An app that pins certificates"
    " needs the base-URL door."
)


class TrustHint:
    """Logs advice after a failed TLS handshake for an intercepted host, once for each host."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._hosts = hosts
        self._told: set[str] = set()

    def tls_failed_client(self, data: TlsData) -> None:
        """Log the advice."""
        name = data.conn.sni or (data.context.server.address or ("",))[0]
        if name and matches(name, self._hosts) and name not in self._told:
            self._told.add(name)
            log.warning(HINT, one_line(name))

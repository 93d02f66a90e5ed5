"""When an app does not trust us, say what it needs."""

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
    """Turn a failed TLS handshake for one of our hosts into advice, once a host."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._hosts = hosts
        self._told: set[str] = set()

    def tls_failed_client(self, data: TlsData) -> None:
        """Tell."""
        name = data.conn.sni or (data.context.server.address or ("",))[0]
        if name and matches(name, self._hosts) and name not in self._told:
            self._told.add(name)
            log.warning(HINT, one_line(name))

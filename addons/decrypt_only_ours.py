"""Decrypts only the traffic for OpenAI's hosts."""

from collections.abc import Sequence

from mitmproxy import ctx
from mitmproxy.addonmanager import Loader

from addons.hosts import as_regex


class DecryptOnlyOurs:
    """Sets mitmproxy's options: traffic for other hosts is passed on unread, and OpenAI's hosts are never called."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self.hosts = hosts

    def load(self, loader: Loader) -> None:
        """Set mitmproxy's options here, so that `mitmweb -s` and `mitmdump -s` need no further options."""
        ctx.options.update(  # type: ignore[no-untyped-call]
            allow_hosts=[as_regex(host) for host in self.hosts],
            # By default mitmproxy connects to the real host at CONNECT, before an addon can redirect the request.
            connection_strategy="lazy",
            # The certificate is made from the requested name. mitmproxy would read the real host's certificate.
            upstream_cert=False,
            # Streamed responses can then be shown, saved and recorded when they are complete.
            store_streamed_bodies=True,
        )

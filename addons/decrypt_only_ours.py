"""Decrypt traffic for OpenAI's hosts and nothing else."""

from collections.abc import Sequence

from mitmproxy import ctx
from mitmproxy.addonmanager import Loader

from addons.hosts import as_regex


class DecryptOnlyOurs:
    """Set the options that make mitmproxy tunnel every other host untouched, and never call the real one for ours."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self.hosts = hosts

    def load(self, loader: Loader) -> None:
        """Set mitmproxy's options, so that `mitmweb -s` and `mitmdump -s` work as they are."""
        ctx.options.update(  # type: ignore[no-untyped-call]
            allow_hosts=[as_regex(host) for host in self.hosts],
            # The default connects to the real host at CONNECT, before an addon can redirect the request.
            connection_strategy="lazy",
            # Our certificate is made from the name asked for, not from a look at the real one's.
            upstream_cert=False,
            # So that a streamed answer can be seen, saved and recorded when it is over.
            store_streamed_bodies=True,
        )

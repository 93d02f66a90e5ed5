"""The options that make the proxy decrypt our hosts and nothing else."""

import pytest
from mitmproxy import addons as mitmproxy_addons
from mitmproxy.master import Master
from mitmproxy.options import Options

from addons.decrypt_only_ours import DecryptOnlyOurs

pytestmark = pytest.mark.anyio


async def test_loading_the_addon_sets_what_it_needs() -> None:
    master = Master(Options())

    master.addons.add(*mitmproxy_addons.default_addons(), DecryptOnlyOurs(["api.openai.com"]))  # type: ignore[no-untyped-call]

    options = master.options
    assert options.allow_hosts == [r"^api\.openai\.com\.?:\d+$"]
    assert (options.connection_strategy, options.upstream_cert, options.store_streamed_bodies) == ("lazy", False, True)
    await master.done()

"""The gaps of an innocent stream are measured beside an attack, by the proxy and beside it."""

import sys

import pytest

from bench.stalls import measure


@pytest.mark.skipif(sys.platform != "linux", reason="a proxy is measured as on the machine of the bench")
@pytest.mark.anyio
async def test_an_innocent_stream_is_watched_beside_an_attack() -> None:
    (found,) = await measure(["deep JSON"])
    assert (found.attack, found.over, found.failed) == ("deep JSON", True, 0)
    # No gap is shorter than the time between two pieces.
    assert found.proxy_ms > 5
    assert found.direct_ms > 5

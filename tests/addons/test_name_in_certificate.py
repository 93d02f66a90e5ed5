"""Whichever of the two names is missing is filled in from the other."""

from types import SimpleNamespace
from typing import Any

import pytest

from addons.name_in_certificate import NameInCertificate

OURS = "api.openai.com"


def hello(address: tuple[str, int] | None, sni: str | None, connected: bool = False) -> Any:
    server = SimpleNamespace(address=address, connected=connected)
    return SimpleNamespace(context=SimpleNamespace(client=SimpleNamespace(sni=sni), server=server))


@pytest.mark.parametrize(
    ("address", "sni", "expected"),
    [
        pytest.param((OURS, 443), OURS, ((OURS, 443), OURS), id="both are names"),
        pytest.param(("1.2.3.4", 443), OURS, ((OURS, 443), OURS), id="an address was asked for"),
        pytest.param(("2001:db8::1", 443), OURS, ((OURS, 443), OURS), id="and an IPv6 one"),
        pytest.param((OURS, 443), None, ((OURS, 443), OURS), id="the app told no name"),
        pytest.param(("1.2.3.4", 443), None, (("1.2.3.4", 443), None), id="there is no name at all"),
        pytest.param((OURS, 443), "intranet", ((OURS, 443), OURS), id="the name in the handshake is foreign"),
        pytest.param(("intranet", 443), OURS, ((OURS, 443), OURS), id="the name in the CONNECT is foreign"),
        pytest.param((f"{OURS}.", 443), f"{OURS}.", ((OURS, 443), OURS), id="both end with a dot"),
        pytest.param(("intranet", 443), "evil.", (("intranet", 443), "evil."), id="none is ours"),
        pytest.param(None, OURS, (None, OURS), id="no address yet"),
    ],
)
def test_the_certificate_gets_a_name(address: Any, sni: str | None, expected: Any) -> None:
    data = hello(address, sni)

    NameInCertificate([OURS]).tls_clienthello(data)

    assert (data.context.server.address, data.context.client.sni) == expected


def test_a_connection_that_stands_is_left_alone() -> None:
    data = hello(("1.2.3.4", 443), OURS, connected=True)

    NameInCertificate([OURS]).tls_clienthello(data)

    assert data.context.server.address == ("1.2.3.4", 443)

"""An app that does not trust us is told what it needs, once a host."""

import logging

import pytest
from mitmproxy.proxy.context import Context
from mitmproxy.test import tflow
from mitmproxy.tls import TlsData

from addons.trust_hint import TrustHint


def handshake(name: str) -> TlsData:
    connection = tflow.tclient_conn()
    connection.sni = name
    context = Context(connection, None)  # type: ignore[arg-type]
    return TlsData(connection, context)


@pytest.mark.parametrize(("names", "hints"), [(["a.x", "a.x", "b.x"], 2), (["elsewhere.example"], 0)])
def test_each_host_of_ours_is_named_once(names: list[str], hints: int, caplog: pytest.LogCaptureFixture) -> None:
    hint = TrustHint(["*.x"])

    with caplog.at_level(logging.WARNING):
        for name in names:
            hint.tls_failed_client(handshake(name))

    told = [record.getMessage() for record in caplog.records]
    assert len(told) == hints
    assert all("NODE_EXTRA_CA_CERTS" in line for line in told)

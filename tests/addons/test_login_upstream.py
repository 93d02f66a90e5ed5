import base64

import pytest
from mitmproxy.net.server_spec import ServerSpec
from mitmproxy.proxy import mode_specs
from mitmproxy.test import tflow

from addons.login_upstream import LoginUpstream, login_of

LOGIN = "Basic " + base64.b64encode(b"me:se cret").decode()
URL = "http://me:se%20cret@proxy.example:3128"
VIA: ServerSpec = ("http", ("proxy.example", 3128))


@pytest.mark.parametrize(
    ("mode", "via", "scheme", "shown"),
    [
        ("upstream:http://proxy.example:3128", VIA, "http", LOGIN),
        ("upstream:http://proxy.example:3128", VIA, "https", None),
        ("upstream:http://proxy.example:3128", None, "http", None),
        ("reverse:https://api.openai.com", None, "http", None),
    ],
)
def test_the_login_is_shown_to_that_proxy_alone(
    mode: str, via: ServerSpec | None, scheme: str, shown: str | None
) -> None:
    flow = tflow.tflow()
    flow.client_conn.proxy_mode = mode_specs.ProxyMode.parse(mode)
    flow.server_conn.via = via
    flow.request.scheme = scheme

    LoginUpstream(URL).request(flow)

    assert flow.request.headers.get("proxy-authorization") == shown


def test_a_tunnel_logs_in_and_nothing_of_it_is_kept() -> None:
    addon, flow = LoginUpstream(URL), tflow.tflow(resp=True)
    addon.http_connect_upstream(flow)
    assert flow.request.headers["proxy-authorization"] == LOGIN
    addon.response(flow)
    assert "proxy-authorization" not in flow.request.headers


def test_a_url_without_a_user_has_no_login() -> None:
    assert login_of("http://proxy.example:3128") is None
    flow = tflow.tflow()
    LoginUpstream("http://proxy.example:3128").http_connect_upstream(flow)
    assert "proxy-authorization" not in flow.request.headers

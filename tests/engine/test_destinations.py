"""Which hosts a process may reach, and through which proxy."""

import pytest

from engine.destinations import Proxy, UnusableProxyError, api_host, destinations
from engine.spawn import Hosts


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://api.anthropic.com", "api.anthropic.com:443"),
        ("http://127.0.0.1:8080/gateway", "127.0.0.1:8080"),
        ("http://[::1]:8080", "[::1]:8080"),
        ("https://user:secret@gateway.example.com/", "gateway.example.com:443"),
        ("nonsense", ""),
        ("http://host:port", ""),
    ],
)
def test_the_host_of_a_base_url(url: str, host: str) -> None:
    assert api_host(url) == host


def test_without_further_hosts_only_the_api_is_reached() -> None:
    to = destinations({"ANTHROPIC_BASE_URL": "https://gateway.example.com"}, None)

    assert to.kind("gateway.example.com", 443) == "api"
    assert to.kind("Gateway.Example.com", 443) == "api"
    assert to.kind("gateway.example.com", 8443) == "refused"
    assert to.kind("api.anthropic.com", 443) == "refused"
    assert destinations({}, None).kind("api.anthropic.com", 443) == "api"


def test_an_ipv6_address_is_not_a_pattern() -> None:
    to = destinations({"ANTHROPIC_BASE_URL": "http://[::1]:8080"}, Hosts(("[::1]:8080",), ("[fe80::1]:*",)))

    assert (to.kind("::1", 8080), to.kind("fe80::1", 80), to.kind(":", 8080)) == ("api", "other", "refused")


def test_further_hosts_are_patterns() -> None:
    to = destinations({}, Hosts(("api.test:443",), ("*.example.com", "vault:8200")))

    assert to.kind("login.example.com", 443) == "other"
    assert to.kind("vault", 8200) == "other"
    assert to.kind("vault", 443) == "refused"
    assert to.kind("example.com", 443) == "refused"


def test_a_host_that_fits_both_is_the_api_only_if_it_is_named() -> None:
    assert destinations({}, Hosts(("*",), ("sts.*",))).kind("sts.example.com", 443) == "other"
    assert destinations({}, Hosts(("sts.example.com:443",), ("sts.*",))).kind("sts.example.com", 443) == "api"


def test_any_other_host_may_be_allowed() -> None:
    assert destinations({}, Hosts(("api.test:443",), any_other=True)).kind("elsewhere.test", 443) == "other"


def test_the_proxies_of_the_environment_are_used() -> None:
    environ = {
        "HTTPS_PROXY": "http://us%40er:pa:ss@proxy.test:3128",
        "http_proxy": "https://other.test",
        "NO_PROXY": "no.test",
    }
    to = destinations(environ, None)

    assert to.proxy("https", "api.test", 443) == Proxy("proxy.test", 3128, login="Basic dXNAZXI6cGE6c3M=")
    assert to.proxy("http", "api.test", 80) == Proxy("other.test", 443, tls=True)
    assert to.proxy("https", "no.test", 443) is None
    assert "pa:ss" not in repr(to) and "dXNA" not in repr(to.proxy("https", "api.test", 443))


@pytest.mark.parametrize("url", ["socks5://127.0.0.1:1080", "http://proxy:port"])
def test_a_proxy_that_cannot_be_used_is_an_error(url: str) -> None:
    with pytest.raises(UnusableProxyError):
        destinations({"HTTPS_PROXY": url}, None).check_proxy()

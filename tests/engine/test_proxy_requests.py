"""Requests that a client sends to an HTTP proxy."""

import pytest

from engine.proxy_requests import RefusedError, Requests, target_of, token_of

HEAD = (
    b"POST http://api.test:8080/v1/messages?beta=true HTTP/1.1\r\nHost: api.test:8080\r\n"
    b"Proxy-Authorization: Basic dG9rZW46eA==\r\nProxy-Connection: Keep-Alive\r\nContent-Length: 5\r\n\r\n"
)
PLAIN = b"POST /v1/messages?beta=true HTTP/1.1\r\nHost: api.test:8080\r\nContent-Length: 5\r\n\r\n"


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_heads_are_rewritten_and_bodies_are_not_however_they_are_cut(size: int) -> None:
    data = HEAD + b"hello" + HEAD.replace(b": 5", b": 0") + HEAD + b"POST "
    requests = Requests(absolute=False, login=None)

    out = b"".join(requests.rewrite(data[n : n + size]) for n in range(0, len(data), size))

    assert out == PLAIN + b"hello" + PLAIN.replace(b": 5", b": 0") + PLAIN + b"POST "


def test_a_proxy_gets_the_absolute_url_and_its_own_login() -> None:
    out = Requests(absolute=True, login="Basic eHk6eg==").rewrite(HEAD)

    assert out.startswith(b"POST http://api.test:8080/v1/messages?beta=true HTTP/1.1\r\n")
    assert out.endswith(b"Content-Length: 5\r\nProxy-Authorization: Basic eHk6eg==\r\n\r\n")
    assert b"dG9rZW46eA==" not in out


def test_no_request_follows_a_body_without_a_length() -> None:
    requests = Requests(absolute=False, login=None)
    head = HEAD.replace(b"Content-Length: 5", b"Transfer-Encoding: chunked")

    out = requests.rewrite(head + b"5\r\nhello\r\n")

    assert out.endswith(b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n")
    assert requests.rewrite(b"0\r\n\r\n") == b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        (b"http://api.test//v1/messages", b"//v1/messages"),
        (b"http://api.test/v1?", b"/v1?"),
        (b"http://api.test?a=b", b"/?a=b"),
        (b"http://api.test", b"/"),
    ],
)
def test_the_path_of_a_url_is_not_changed(url: bytes, path: bytes) -> None:
    out = Requests(absolute=False, login=None).rewrite(b"GET " + url + b" HTTP/1.1\r\n\r\n")

    assert out == b"GET " + path + b" HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"hello" + HEAD.replace(b"http://api.test:8080", b"http://elsewhere.test"),
        b"nonsense\r\n\r\n",
        HEAD.replace(b": 5", b": five"),
        b"x" * 100_000,
    ],
)
def test_what_cannot_be_passed_on_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the connection is closed, whatever the reason
        Requests(absolute=False, login=None).rewrite(data)


def test_a_url_without_a_path_is_the_root() -> None:
    assert Requests(absolute=False, login=None).rewrite(b"GET http://api.test HTTP/1.1\r\n\r\n").startswith(b"GET / ")


def test_the_target_of_a_request() -> None:
    assert target_of(b"CONNECT api.test:443 HTTP/1.1") == ("CONNECT", "api.test", 443)
    assert target_of(b"CONNECT [::1]:8443 HTTP/1.1") == ("CONNECT", "::1", 8443)
    assert target_of(b"GET http://api.test/v1 HTTP/1.1") == ("GET", "api.test", 80)
    lines = (b"", b"GET / HTTP/1.1", b"GET https://api.test/ HTTP/1.1", b"CONNECT \xff HTTP/1.1", b"CONNECT : HTTP/1.1")
    for line in lines:
        with pytest.raises(RefusedError):
            target_of(line)


def test_the_token_is_the_user_name_of_the_login() -> None:
    assert token_of(b"CONNECT a:1 HTTP/1.1\r\nproxy-authorization: Basic dG9rZW46eA==") == "token"
    for login in (b"", b"Basic", b"Basic !", b"Basic /w=="):
        assert token_of(b"CONNECT a:1 HTTP/1.1\r\nProxy-Authorization: " + login) == ""
    assert token_of(b"CONNECT a:1 HTTP/1.1") == ""

"""Base URLs that lead past the proxy."""

import socket

import pytest

from launch.base_urls import base_urls_past, listens


@pytest.mark.parametrize(
    ("url", "own", "is_past"),
    [
        ("http://127.0.0.1:9999/v1", [], True),
        ("http://localhost:9999/v1", [("127.0.0.1", 8081)], True),
        ("http://localhost:8081/v1", [("127.0.0.1", 8081)], False),
        ("http://[::1]:9999/v1", [], True),
        ("https://api.openai.com/v1", [], False),
        ("http://127.0.0.1:port/v1", [], False),
        ("", [], False),
    ],
)
def test_another_server_on_this_machine_is_past_the_proxy(url: str, own: list[tuple[str, int]], is_past: bool) -> None:
    assert list(base_urls_past({"OPENAI_BASE_URL": url}, own)) == (["OPENAI_BASE_URL"] if is_past else [])


def test_whether_something_listens_is_tried() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        assert listens(address)
    assert not listens(address)

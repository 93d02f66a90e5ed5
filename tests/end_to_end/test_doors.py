"""Every way into the proxy, and the proxy that may stand between it and the world."""

import gzip
import json
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
import zstandard

from rehearsal import Reply
from tests.end_to_end.cloud import GUARD_S, Cloud
from tests.end_to_end.site import Site
from tests.end_to_end.understudy import UNDERSTUDY, Proxy, clean_environment, serve

ENDPOINT = "https://api.openai.com/v1/chat/completions"
REQUEST = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def curl(proxy: Proxy, *options: str) -> Any:
    """Ask by curl, which knows every kind of proxy."""
    command = ["curl", "--silent", "--show-error", "--cacert", str(proxy.authority), *options, "--json", "@-", ENDPOINT]
    done = subprocess.run(
        command,
        input=json.dumps(REQUEST),
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=GUARD_S,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@needs_curl
def test_socks5_is_a_door(cloud: Cloud, home: Path) -> None:
    cloud.script(Reply(text="Aye."))
    port = free_port()
    with serve(clean_environment(home, cloud.base_url), "--mode", f"socks5@{port}") as proxy:
        answer = curl(proxy, "--socks5-hostname", f"127.0.0.1:{port}")
    assert answer["choices"][0]["message"]["content"] == "Aye."


@needs_curl
def test_socks5_asks_for_a_key_where_keys_are_asked_for(cloud: Cloud, home: Path) -> None:
    cloud.script(Reply(text="Aye."))
    port, env = free_port(), clean_environment(home, cloud.base_url)
    made = subprocess.run([UNDERSTUDY, "keys", "make", "me"], env=env, capture_output=True, text=True, timeout=GUARD_S)
    key = next(word for word in made.stdout.split() if word.startswith("sk-understudy-"))
    with serve(env, "--client-auth", "--mode", f"socks5@{port}") as proxy:
        answer = curl(proxy, "--proxy", f"socks5h://me:{key}@127.0.0.1:{port}")
        with pytest.raises(AssertionError, match=r"rejected|auth|User"):
            curl(proxy, "--proxy", f"socks5h://me:wrong@127.0.0.1:{port}")
    assert answer["choices"][0]["message"]["content"] == "Aye."


@pytest.mark.parametrize("mode", ["transparent", "wireguard"])
def test_doors_that_need_a_network_of_their_own_listen(mode: str, cloud: Cloud, home: Path) -> None:
    port = free_port()
    with serve(clean_environment(home, cloud.base_url), "--mode", f"{mode}@127.0.0.1:{port}") as proxy:
        proxy.err.wait_for(f"another door: {mode}@127.0.0.1:{port}")
        kind = socket.SOCK_STREAM if mode == "transparent" else socket.SOCK_DGRAM
        with socket.socket(socket.AF_INET, kind) as taken, pytest.raises(OSError, match="in use"):
            taken.bind(("127.0.0.1", port))


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        ("socks5@0.0.0.0:0", "open to other machines"),
        ("wireguard", "open to other machines"),
        ("dns", "is not one of socks5, local, transparent, wireguard"),
        ("socks5@127.0.0.1:nonsense", "mode socks5@127.0.0.1:nonsense"),
    ],
)
def test_a_door_that_must_not_be_is_refused_with_the_reason(mode: str, told: str, home: Path) -> None:
    done = subprocess.run(
        [UNDERSTUDY, "serve", "--rehearsal", "--listen", "127.0.0.1:0", "--mode", mode],
        env=clean_environment(home),
        capture_output=True,
        text=True,
        timeout=GUARD_S,
    )
    assert done.returncode == 2
    assert told in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(shutil.which("sudo") is not None, reason="sudo is there: capturing would begin")
def test_local_capture_says_what_it_needs(home: Path) -> None:
    done = subprocess.run(
        [UNDERSTUDY, "serve", "--rehearsal", "--listen", "127.0.0.1:0", "--mode", "local:curl"],
        env=clean_environment(home),
        capture_output=True,
        text=True,
        timeout=GUARD_S,
    )
    assert done.returncode == 2
    assert "cannot capture programs' traffic" in done.stderr


class Corporate:
    """A proxy as companies have them: it asks for a login, and whatever leaves the house goes through it."""

    LOGIN = "Basic bWU6c2VjcmV0LXdvcmQ="  # me:secret-word

    def __init__(self, where: tuple[str, int]) -> None:
        self.seen: list[str] = []
        corporate = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                line = self.rfile.readline().decode()
                head: list[bytes] = []
                while (header := self.rfile.readline()).strip():
                    head.append(header)
                if f"Proxy-Authorization: {Corporate.LOGIN}".lower() not in b"".join(head).decode().lower():
                    self.wfile.write(b"HTTP/1.1 407 Login\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                    return
                corporate.seen.append(line.strip())
                method, target, _ = line.split()
                host, _, port = target.rpartition(":")
                address = (host, int(port)) if method == "CONNECT" and host == "localhost" else where
                with socket.create_connection(address, timeout=GUARD_S) as onward:
                    if method == "CONNECT":
                        self.wfile.write(b"HTTP/1.1 200 Yes\r\n\r\n")
                    else:
                        path = "/" + target.split("/", 3)[3]
                        kept = [one for one in head if not one.lower().startswith(b"proxy-")]
                        onward.sendall(f"{method} {path} HTTP/1.1\r\n".encode() + b"".join(kept) + b"\r\n")
                    back = threading.Thread(target=pump, args=(onward, self.connection))
                    back.start()
                    while data := self.rfile.read1():
                        onward.sendall(data)
                    onward.shutdown(socket.SHUT_WR)
                    back.join()

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that leaves is no news."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://me:secret-word@127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name="the corporate proxy", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path / "site") as site:
        yield site


def test_behind_another_proxy_tunnels_and_claudes_own_traffic_go_through_it_and_nothing_else(
    cloud: Cloud, home: Path, site: Site
) -> None:
    cloud.script(Reply(text="Aye."))
    theirs = ssl.create_default_context(cafile=site.authority)
    address = httpx.URL(cloud.base_url)
    with Corporate((address.host, address.port or 80)) as corporate:
        # A name that only the corporate proxy can find.
        env = clean_environment(home, "http://gateway.example.test:8080")
        with serve(env, "--upstream-proxy", corporate.url) as proxy:
            with httpx.Client(proxy=proxy.url, verify=proxy.tls(), timeout=GUARD_S) as client:
                answer = client.post(ENDPOINT, json=REQUEST)
            with httpx.Client(proxy=proxy.url, verify=theirs, timeout=GUARD_S) as client:
                tunnelled = client.get(f"https://localhost:{site.port}/")
        shown = proxy.err.text

    assert answer.json()["choices"][0]["message"]["content"] == "Aye."
    assert tunnelled.content == Site.ANSWER
    assert f"CONNECT localhost:{site.port} HTTP/1.1" in corporate.seen
    others = {line.split()[1] for line in corporate.seen} - {f"localhost:{site.port}"}
    assert others
    assert all("gateway.example.test:8080" in target for target in others)
    assert "secret-word" not in shown


@needs_curl
@pytest.mark.parametrize("http", ["--http1.1", "--http2"])
@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("zstd", zstandard.compress)])
def test_a_compressed_body_is_read_through_the_proxy(
    encoding: str, pack: Callable[[bytes], bytes], http: str, proxy: Proxy, cloud: Cloud, tmp_path: Path
) -> None:
    cloud.script(Reply(text="Aye."))
    (tmp_path / "body").write_bytes(pack(json.dumps(REQUEST).encode()))
    command = ["curl", "--silent", "--show-error", "--proxy", proxy.url, "--cacert", str(proxy.authority), http]
    command += ["--header", f"content-encoding: {encoding}", "--header", "content-type: application/json"]
    command += ["--data-binary", f"@{tmp_path / 'body'}", "--write-out", "\n%{http_version}", ENDPOINT]

    done = subprocess.run(command, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=GUARD_S)

    body, _, version = done.stdout.rpartition("\n")
    assert version == ("2" if http == "--http2" else "1.1")
    assert json.loads(body)["choices"][0]["message"]["content"] == "Aye."


def test_a_compressed_body_is_read_at_the_base_url(proxy: Proxy, cloud: Cloud) -> None:
    cloud.script(Reply(text="Aye."))
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    door = proxy.err.wait_for(r"OPENAI_BASE_URL=(http://127\.0\.0\.1:\d+)/v1")[1]
    with httpx.Client(base_url=door, timeout=GUARD_S) as http:
        answer = http.post("/v1/chat/completions", content=gzip.compress(json.dumps(REQUEST).encode()), headers=headers)

    assert answer.json()["choices"][0]["message"]["content"] == "Aye."

"""An HTTPS origin and a CONNECT proxy on loopback, with a certificate authority made for the occasion."""

import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "api.openai.test"  # resolves nowhere: whoever reaches it has come through the proxy


def make_certificate(
    name: str, signer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None = None
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Make an authority, or a server's certificate where one signs it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer, signing_key = (signer[0].subject, signer[1]) if signer else (subject, key)
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName(HOST), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(signing_key, hashes.SHA256())
    )
    return certificate, key


def pem(certificate: x509.Certificate) -> bytes:
    """Return a certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


@dataclass
class Loopback:
    """Where the servers are, what the proxy was asked for, and the hold that a stream waits at."""

    ca: Path
    proxy_port: int = 0
    https_port: int = 0
    connects: list[str] = field(default_factory=list)
    logins: list[str | None] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)

    @property
    def proxy_url(self) -> str:
        """The proxy, with a login that it notes."""
        return f"http://user:secret@127.0.0.1:{self.proxy_port}"


class QuietServer(ThreadingHTTPServer):
    """A server to which a client that goes away is no news."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing."""


class Origin(BaseHTTPRequestHandler):
    """Answers with the path it was asked for; /stream stops after its first piece until it is released."""

    protocol_version = "HTTP/1.1"
    loopback: Loopback

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer."""
        if self.path == "/stream":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self._chunk(b"first")
            self.loopback.release.wait(30)
            self._chunk(b"second")
            self._chunk(b"")
            return
        body = f"hello {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _chunk(self, content: bytes) -> None:
        self.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
        self.wfile.flush()


class Proxy(BaseHTTPRequestHandler):
    """Tunnels whatever it is asked for to the origin."""

    protocol_version = "HTTP/1.1"
    loopback: Loopback
    plain_port: int

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_CONNECT(self) -> None:
        """Open a tunnel."""
        self.loopback.connects.append(self.path)
        self.loopback.logins.append(self.headers["Proxy-Authorization"])
        self.close_connection = True
        if self.path.startswith("refused."):
            self.send_error(403)
            return
        port = self.plain_port if self.path.endswith(":80") else self.loopback.https_port
        with socket.create_connection(("127.0.0.1", port)) as upstream:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=pump, args=(upstream, self.connection))
            back.start()
            pump(self.connection, upstream)
            back.join()


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Pass bytes on until one side ends."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def running(handler: type[BaseHTTPRequestHandler], tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serve on a free port."""
    with QuietServer(("127.0.0.1", 0), handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def loopback(tmp_path: Path) -> Iterator[Loopback]:
    """The servers, running."""
    authority = make_certificate("an authority made for this test")
    leaf, key = make_certificate(HOST, authority)
    ca, chain = tmp_path / "test-ca.pem", tmp_path / "leaf.pem"
    ca.write_bytes(pem(authority[0]))
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain.write_bytes(secret + pem(leaf))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(chain)
    state = Loopback(ca)
    origin = type("BoundOrigin", (Origin,), {"loopback": state})
    with running(origin) as plain, running(origin, tls) as secure:
        state.https_port = secure
        proxy = type("BoundProxy", (Proxy,), {"loopback": state, "plain_port": plain})
        with running(proxy) as state.proxy_port:
            yield state

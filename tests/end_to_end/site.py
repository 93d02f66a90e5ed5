"""A web site of somebody else's: an HTTPS server on loopback, with a certificate authority of its own."""

import datetime
import hashlib
import ssl
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

type Signer = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


@dataclass(frozen=True)
class Certified:
    """What a server on ``localhost`` needs, and the file of the authority that clients must trust."""

    authority: Path
    fingerprint: str
    tls: ssl.SSLContext


def certify(directory: Path) -> Certified:
    """Make an authority and a certificate for ``localhost`` in a folder."""
    directory.mkdir(parents=True, exist_ok=True)
    authority, chain = directory / "authority.pem", directory / "chain.pem"
    signer = _make("an authority made for this test", None)
    leaf, key = _make("localhost", signer)
    authority.write_bytes(signer[0].public_bytes(serialization.Encoding.PEM))
    chain.write_bytes(_private(key) + leaf.public_bytes(serialization.Encoding.PEM))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(chain)
    return Certified(authority, fingerprint(leaf.public_bytes(serialization.Encoding.DER)), tls)


class Site:
    """The server, as a context manager, at https://localhost:PORT. It answers everything with one text."""

    ANSWER = b"the real host's own answer"

    def __init__(self, directory: Path) -> None:
        made = certify(directory)
        self.authority, self.fingerprint, self._tls = made.authority, made.fingerprint, made.tls
        self.connections = 0
        self.requests: list[tuple[str, str, str | None, bytes]] = []
        """Method, path, Authorization and body of each."""

    def __enter__(self) -> Self:
        site = self

        class Server(ThreadingHTTPServer):
            def get_request(self) -> tuple[Any, Any]:
                connection, address = super().get_request()
                site.connections += 1
                return site._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that goes away is no news."""

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                site.requests.append((self.command, self.path, self.headers["authorization"], body))
                self.send_response(200)
                self.send_header("content-type", "text/plain")
                self.send_header("content-length", str(len(site.ANSWER)))
                self.end_headers()
                self.wfile.write(site.ANSWER)

            do_GET = do_POST  # noqa: N815 - http.server's name

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def fingerprint(certificate: bytes) -> str:
    """Return what tells a certificate (DER) from any other."""
    return hashlib.sha256(certificate).hexdigest()


def issuer(certificate: bytes) -> str:
    """Return the common name of the authority that signed a certificate (DER)."""
    (name,) = x509.load_der_x509_certificate(certificate).issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(name.value)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign")
    off = dict.fromkeys((*others, "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(digital_signature=not is_authority, key_cert_sign=is_authority, **off)


def _make(name: str, signer: Signer | None) -> Signer:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer, signing_key = (signer[0].subject, signer[1]) if signer else (subject, key)
    now = datetime.datetime.now(datetime.UTC)
    signed_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key())
    certificate = (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(signed_by, critical=False)
        .add_extension(_usage(is_authority=signer is None), critical=True)
        .sign(signing_key, hashes.SHA256())
    )
    return certificate, key

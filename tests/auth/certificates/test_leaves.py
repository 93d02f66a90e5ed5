"""Whether clients heed what our authority is limited to: each verifier shakes hands with a server on loopback.

The server shows what mitmproxy makes with our authority. The certificate for the wrong host is good in every respect,
its name too, but for what the authority is limited to; `test_an_authority_for_all_hosts_is_believed_for_the_wrong_one`
shows that nothing else is the reason for a refusal.
"""

import contextlib
import functools
import ipaddress
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from mitmproxy.certs import CertStore

from auth.certificates.authority import BASENAME, KEY_SIZE, Authority

OURS, WRONG, BELOW, ADDRESS = "api.openai.com", "evil.example", "eu.api.openai.com", "127.0.0.1"
GUARD_S = 120
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello"

PYTHON = """
import socket, ssl, sys
host, port, root = sys.argv[1:]
tls = ssl.create_default_context(cafile=root)
with tls.wrap_socket(socket.create_connection(("127.0.0.1", int(port))), server_hostname=host) as secure:
    print("trusted")
"""
NODE = """
const [host, port] = process.argv.slice(2);
const net = require("net");
const options = { host, port, servername: net.isIP(host) ? undefined : host, agent: false };
options.lookup = (name, how, found) =>
  how.all ? found(null, [{ address: "127.0.0.1", family: 4 }]) : found(null, "127.0.0.1", 4);
require("https").get(options, (response) => { response.resume(); console.log("trusted"); })
  .on("error", (error) => { console.error(error.code, error.message); process.exit(1); });
"""
JAVA = """
import java.net.Socket;
import javax.net.ssl.*;

public class Client {
    public static void main(String[] arguments) throws Exception {
        String host = arguments[0];
        int port = Integer.parseInt(arguments[1]);
        SSLSocketFactory factory = (SSLSocketFactory) SSLSocketFactory.getDefault();
        try (SSLSocket secure = (SSLSocket) factory.createSocket(new Socket("127.0.0.1", port), host, port, true)) {
            SSLParameters parameters = secure.getSSLParameters();
            parameters.setEndpointIdentificationAlgorithm("HTTPS");
            secure.setSSLParameters(parameters);
            secure.startHandshake();
            System.out.println("trusted");
        }
    }
}
"""
GO = """
package main

import ("crypto/tls"; "crypto/x509"; "fmt"; "os")

func main() {
	pem, _ := os.ReadFile(os.Args[3])
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	_, err := tls.Dial("tcp", "127.0.0.1:"+os.Args[2], &tls.Config{ServerName: os.Args[1], RootCAs: roots})
	if err != nil { fmt.Fprintln(os.Stderr, err); os.Exit(1) }
	fmt.Println("trusted")
}
"""


@dataclass(frozen=True)
class Server:
    """What a client is told: whom to ask for, where that listens on loopback, and the root (PEM) that it trusts.

    ``shown`` are the certificates that the server shows, as PEM.
    """

    host: str
    port: int
    root: Path
    shown: tuple[bytes, ...]


@contextlib.contextmanager
def serving(directory: Path, root: Path, host: str, *more: str) -> Iterator[Server]:
    """Show, on loopback, the certificate that mitmproxy makes for some names with the authority in a directory."""
    store = CertStore.from_store(directory, BASENAME, KEY_SIZE)
    entry = store.get_cert(host, [general_name(name) for name in (host, *more)])
    key = entry.privatekey.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = root.parent / f"shown-{host}.pem"
    file.touch(mode=0o600)
    shown = (entry.cert.to_pem(), *(link.to_pem() for link in entry.chain_certs))
    file.write_bytes(key + b"".join(shown))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(file)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer_all, args=(listener, tls))
        thread.start()
        try:
            yield Server(host, listener.getsockname()[1], root, shown)
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def answer_all(listener: socket.socket, tls: ssl.SSLContext) -> None:
    """Answer each connection, one after the other, until the listener is shut down."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        connection.settimeout(GUARD_S)
        with contextlib.suppress(OSError), tls.wrap_socket(connection, server_side=True) as secure:
            if secure.recv(4096):
                secure.sendall(ANSWER)


def run(home: Path, command: list[str], **more: str) -> subprocess.CompletedProcess[str]:
    """Run a client in an environment of its own."""
    home.mkdir(exist_ok=True)
    env = {"PATH": os.environ["PATH"], "HOME": str(home), **more}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=GUARD_S, check=False)


def need(program: str) -> str:
    """Return a program's path, or skip the test."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


def written(home: Path, name: str, source: str) -> str:
    home.mkdir(exist_ok=True)
    path = home / name
    path.write_text(source, encoding="utf-8")
    return str(path)


def python(home: Path, server: Server) -> subprocess.CompletedProcess[str]:
    script = written(home, "client.py", PYTHON)
    return run(home, [sys.executable, "-I", script, server.host, str(server.port), str(server.root)])


def openssl(home: Path, server: Server) -> subprocess.CompletedProcess[str]:
    which = "-verify_ip" if server.host == ADDRESS else "-verify_hostname"
    options = ["-connect", f"127.0.0.1:{server.port}", "-CAfile", str(server.root), which, server.host]
    return run(home, [need("openssl"), "s_client", "-verify_return_error", "-no-CApath", *options])


def curl(home: Path, server: Server) -> subprocess.CompletedProcess[str]:
    where = ["--connect-to", f"{server.host}:443:127.0.0.1:{server.port}", f"https://{server.host}/"]
    return run(home, [need("curl"), "-qsS", "--noproxy", "*", "--cacert", str(server.root), *where])


def wget(home: Path, server: Server) -> subprocess.CompletedProcess[str]:
    """GnuTLS, as Debian builds it; it can be sent elsewhere by no option, but by a proxy."""
    path = need("wget")
    if "+ssl/gnutls" not in run(home, [path, "--version"]).stdout:
        pytest.skip("this wget is not built with GnuTLS")
    with tunnelling_to(server.port) as proxy:
        options = [
            "--no-config",
            "-nv",
            "-O-",
            "--tries=1",
            f"--ca-certificate={server.root}",
            "--ca-directory=/nonexistent",
        ]
        return run(home, [path, *options, f"https://{server.host}/"], https_proxy=f"http://127.0.0.1:{proxy}")


@contextlib.contextmanager
def tunnelling_to(port: int) -> Iterator[int]:
    """Be a proxy that connects its one client to a port on loopback, whatever it asks for."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=tunnel, args=(listener, port))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def tunnel(listener: socket.socket, port: int) -> None:
    with contextlib.suppress(OSError):
        client, _ = listener.accept()
        with client, socket.create_connection(("127.0.0.1", port)) as server:
            asked = b""
            while not asked.endswith(b"\r\n\r\n"):
                asked += client.recv(1)
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=copy, args=(server, client))
            back.start()
            copy(client, server)
            back.join()


def copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def node(home: Path, server: Server) -> subprocess.CompletedProcess[str]:
    command = [need("node"), written(home, "client.cjs", NODE), server.host, str(server.port)]
    return run(home, command, NODE_EXTRA_CA_CERTS=str(server.root))


def java(home: Path, server: Server) -> subprocess.CompletedProcess[str]:
    """Java, with a trust store as its own keytool makes one."""
    path, store = need("java"), java_store(server.root)
    trust = [f"-Djavax.net.ssl.trustStore={store}", "-Djavax.net.ssl.trustStorePassword=changeit"]
    return run(home, [path, *trust, "-cp", str(java_classes(store.parent)), "Client", server.host, str(server.port)])


@functools.cache
def java_store(root: Path) -> Path:
    """Make a trust store, once for each root: keytool takes a second."""
    home = root.parent / "java"
    command = [need("keytool"), "-importcert", "-noprompt", "-alias", "understudy", "-file", str(root)]
    store = home / "trust.p12"
    made = run(home, [*command, "-keystore", str(store), "-storetype", "PKCS12", "-storepass", "changeit"])
    assert made.returncode == 0, made.stdout + made.stderr
    return store


@functools.cache
def java_classes(home: Path) -> Path:
    """Compile the client, once for each root: it takes two seconds."""
    compiler = [need("java"), "-m", "jdk.compiler/com.sun.tools.javac.Main"]
    done = run(home, [*compiler, "-d", str(home), written(home, "Client.java", JAVA)])
    assert done.returncode == 0, done.stdout + done.stderr
    return home


def go(home: Path, server: Server) -> subprocess.CompletedProcess[str]:
    command = [need("go"), "run", written(home, "client.go", GO), server.host, str(server.port), str(server.root)]
    return run(home, command, GOFLAGS="-mod=mod", GOPROXY="off", GOTOOLCHAIN="local")


def nss(home: Path, server: Server) -> subprocess.CompletedProcess[str]:
    """NSS, by its own judge of chains, without a handshake: its TLS client cannot be sent to loopback for a name."""
    vfychain, database = need("vfychain"), home / "nssdb"
    trusting(home, database, server.root)
    links = [written(home, f"link-{number}.pem", link.decode()) for number, link in enumerate(server.shown[:-1])]
    usage_tls_server = ["-u", "1"]
    arguments = [argument for link in links for argument in ("-a", link)]
    return run(home, [vfychain, "-d", f"sql:{database}", *usage_tls_server, *arguments])


def trusting(home: Path, database: Path, root: Path) -> None:
    """Make an NSS database that trusts a root for TLS servers."""
    certutil = need("certutil")
    database.mkdir(parents=True)
    for step in (["-N", "--empty-password"], ["-A", "-n", "understudy", "-t", "C,,", "-i", str(root)]):
        made = run(home, [certutil, "-d", f"sql:{database}", *step])
        assert made.returncode == 0, made.stderr


def chromium(home: Path, server: Server) -> subprocess.CompletedProcess[str]:
    """Chromium, told to trust the root by the person's NSS database."""
    browser = need("chromium")
    trusting(home, home / ".pki" / "nssdb", server.root)
    rules = f"--host-resolver-rules=MAP {server.host} 127.0.0.1"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-proxy-server", rules, "--dump-dom"]
    done = run(home, [browser, *options, f"https://{server.host}:{server.port}/"])
    return subprocess.CompletedProcess(done.args, 0 if "hello" in done.stdout else 1, done.stdout, done.stderr)


@dataclass(frozen=True)
class Verifier:
    """A client, and what it says of a certificate for a name and for an address that its authority may not sign for."""

    client: Callable[[Path, Server], subprocess.CompletedProcess[str]]
    of_a_name: str
    of_an_address: str


VERIFIERS = {
    "Python": Verifier(python, "permitted subtree violation", "excluded subtree violation"),
    "OpenSSL": Verifier(openssl, "permitted subtree violation", "excluded subtree violation"),
    "curl": Verifier(curl, "permitted subtree violation", "excluded subtree violation"),
    "Node": Verifier(node, "permitted subtree violation", "excluded subtree violation"),
    "Java": Verifier(java, "name constraints check failed", "name constraints check failed"),
    "GnuTLS": Verifier(wget, "is not trusted", "is not trusted"),
    "Go": Verifier(go, "not permitted by any constraint", "excluded by constraint"),
    "NSS": Verifier(nss, "not permitted to issue a certificate with this name", "not permitted to issue"),
    "Chromium": Verifier(chromium, "ERR_CERT_INVALID", "ERR_CERT_INVALID"),
}
each_verifier = pytest.mark.parametrize("verifier", VERIFIERS.values(), ids=VERIFIERS)


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.open(tmp_path_factory.mktemp("limited"))


@pytest.fixture(scope="module")
def unlimited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of an authority as mitmproxy makes it, for all hosts."""
    directory = tmp_path_factory.mktemp("unlimited")
    CertStore.create_store(directory, BASENAME, KEY_SIZE)
    return directory / f"{BASENAME}-ca-cert.pem"


@each_verifier
@pytest.mark.parametrize("host", [OURS, BELOW], ids=["the host", "a name below it"])
def test_our_host_is_believed(verifier: Verifier, host: str, limited: Authority, tmp_path: Path) -> None:
    with serving(limited.directory, limited.certificate, host) as server:
        done = verifier.client(tmp_path / "home", server)

    assert done.returncode == 0, done.stdout + done.stderr


@each_verifier
def test_another_host_is_refused(verifier: Verifier, limited: Authority, tmp_path: Path) -> None:
    with serving(limited.directory, limited.certificate, WRONG) as server:
        done = verifier.client(tmp_path / "home", server)

    assert done.returncode != 0
    assert verifier.of_a_name in done.stdout + done.stderr


@each_verifier
def test_an_authority_for_all_hosts_is_believed_for_the_wrong_one(
    verifier: Verifier, unlimited: Path, tmp_path: Path
) -> None:
    with serving(unlimited.parent, unlimited, WRONG) as server:
        done = verifier.client(tmp_path / "home", server)

    assert done.returncode == 0, done.stdout + done.stderr


@each_verifier
def test_an_address_is_refused(verifier: Verifier, limited: Authority, tmp_path: Path) -> None:
    with serving(limited.directory, limited.certificate, ADDRESS) as server:
        done = verifier.client(tmp_path / "home", server)

    assert done.returncode != 0
    assert verifier.of_an_address in done.stdout + done.stderr


@each_verifier
@pytest.mark.parametrize("other", [WRONG, ADDRESS], ids=["a name", "an address"])
def test_our_host_beside_something_else_on_one_certificate_is_refused(
    verifier: Verifier, other: str, limited: Authority, tmp_path: Path
) -> None:
    with serving(limited.directory, limited.certificate, OURS, other) as server:
        done = verifier.client(tmp_path / "home", server)

    assert done.returncode != 0
    assert (verifier.of_a_name if other == WRONG else verifier.of_an_address) in done.stdout + done.stderr

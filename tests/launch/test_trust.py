import os
import shutil
import ssl
import stat
import struct
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path

import certifi
import pytest
from cryptography.hazmat.primitives.serialization import NoEncryption, pkcs12

from launch.environment import environment_for
from launch.trust import BUNDLE_VARIABLES, JAVA_STORE_PASSWORD, TrustFiles, write_trust_files
from tests.launch.conftest import Loopback, make_certificate, pem

KEYTOOL = shutil.which("keytool")
JAVA = shutil.which("java")
CURL = shutil.which("curl")
PHP = shutil.which("php")

Write = Callable[..., TrustFiles]


class Place:
    """A directory with our certificate, a system bundle, and room for the person's files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ours = self.file("ours")
        self.system = self.file("system one", "system two")

    def file(self, *names: str) -> Path:
        path = self.directory / f"{'-'.join(names)}.pem"
        path.write_bytes(b"# a comment\n".join(pem(make_certificate(name)[0]) for name in names))
        return path

    def write(self, **base: str) -> TrustFiles:
        return write_trust_files(self.directory / "private", self.ours, base, system_bundles=[self.system])


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def names_in(path: Path) -> list[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(path)
    return [part[0][1] for entry in context.get_ca_certs() for part in entry["subject"]]


def test_the_bundle_holds_our_certificate_and_the_systems(place: Place) -> None:
    files = place.write()

    assert sorted(names_in(files.bundle)) == ["ours", "system one", "system two"]
    assert names_in(files.extra) == ["ours"]
    assert files.warnings == ()


@pytest.mark.parametrize("variable", BUNDLE_VARIABLES)
def test_the_bundle_keeps_what_the_persons_own_variable_names(place: Place, variable: str) -> None:
    own = place.file("the company's")
    if variable == "SSL_CERT_DIR":
        (directory := place.directory / "certificates").mkdir()
        own.rename(directory / "company.pem")
        (directory / "dangling.pem").symlink_to("nowhere")
        own = directory

    files = place.write(**{variable: str(own)})

    assert sorted(names_in(files.bundle)) == ["ours", "system one", "system two", "the company's"]
    assert files.warnings == ()


@pytest.mark.parametrize("variable", ["NODE_EXTRA_CA_CERTS", "DENO_CERT"])
def test_the_extra_file_keeps_what_the_person_added(place: Place, variable: str) -> None:
    files = place.write(**{variable: str(place.file("the company's"))})

    assert sorted(names_in(files.extra)) == ["ours", "the company's"]


def test_a_certificate_that_two_files_hold_stands_in_the_bundle_once(place: Place) -> None:
    files = place.write(SSL_CERT_FILE=str(place.system), CURL_CA_BUNDLE=str(place.ours))

    assert files.bundle.read_bytes().count(b"BEGIN CERTIFICATE") == 3


def test_without_a_system_bundle_certifis_is_used(place: Place) -> None:
    files = write_trust_files(place.directory / "private", place.ours, {}, system_bundles=[place.directory / "none"])

    assert files.bundle.read_bytes().count(b"BEGIN CERTIFICATE") == 1 + Path(certifi.where()).read_bytes().count(
        b"BEGIN CERTIFICATE"
    )


def test_a_file_that_is_not_there_is_reported_and_the_rest_goes_on(place: Place) -> None:
    files = place.write(REQUESTS_CA_BUNDLE="/nowhere/ca.pem")

    assert files.warnings == (
        "REQUESTS_CA_BUNDLE names /nowhere/ca.pem, which cannot be read: No such file or directory.",
    )
    assert len(names_in(files.bundle)) == 3


def test_a_file_without_certificates_is_reported(place: Place) -> None:
    (broken := place.directory / "broken.pem").write_text("not a certificate")

    files = place.write(SSL_CERT_FILE=str(broken))

    assert files.warnings == (f"SSL_CERT_FILE names {broken}, which holds no certificate.",)


def test_a_broken_entry_is_left_out_and_reported(place: Place) -> None:
    own = place.file("good")
    for garbage in ("bm90IGEgY2VydGlmaWNhdGU=", "!"):
        own.write_text(own.read_text() + f"-----BEGIN CERTIFICATE-----\n{garbage}\n-----END CERTIFICATE-----\n")

    files = place.write(SSL_CERT_FILE=str(own))

    assert "good" in names_in(files.bundle)
    assert files.warnings == (f"SSL_CERT_FILE names {own}, of which 2 entries are broken and were left out.",)


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_only_the_owner_can_read_what_is_written(place: Place) -> None:
    files = place.write()

    settings = files.php_folder / "understudy.ini"
    folders = (files.bundle.parent, files.php_folder)
    assert [stat.S_IMODE(path.stat().st_mode) for path in folders] == [0o700] * 2
    paths = (files.bundle, files.extra, files.java_store, settings)
    assert [stat.S_IMODE(path.stat().st_mode) for path in paths] == [0o600] * 4


def test_nothing_half_written_is_left_behind(place: Place) -> None:
    place.write()
    files = place.write()

    assert len(list(files.bundle.parent.iterdir())) == 4
    assert len(list(files.php_folder.iterdir())) == 1


def names_in_java_store(path: Path) -> list[str]:
    entries = pkcs12.load_pkcs12(path.read_bytes(), JAVA_STORE_PASSWORD.encode()).additional_certs
    return sorted(entry.certificate.subject.rfc4514_string().removeprefix("CN=") for entry in entries)


def jks(*names: str) -> bytes:
    content = struct.pack(">III", 0xFEEDFEED, 2, len(names))
    for name in names:
        der = ssl.PEM_cert_to_DER_cert(pem(make_certificate(name)[0]).decode())
        alias = name.encode()
        content += struct.pack(">IH", 2, len(alias)) + alias + bytes(8)
        content += struct.pack(">H", 5) + b"X.509" + struct.pack(">I", len(der)) + der
    return content + bytes(20)


def without_password(*names: str) -> bytes:
    entries = [pkcs12.PKCS12Certificate(make_certificate(name)[0], name.encode()) for name in names]
    return pkcs12.serialize_java_truststore(entries, NoEncryption())


@pytest.mark.parametrize("form", [jks, without_password])
def test_the_java_store_keeps_what_the_jvms_own_store_holds(place: Place, form: Callable[..., bytes]) -> None:
    store = place.directory / "jdk/lib/security/cacerts"
    store.parent.mkdir(parents=True)
    store.write_bytes(form("the jdk's", "another"))

    files = place.write(JAVA_HOME=str(place.directory / "jdk"))

    assert names_in_java_store(files.java_store) == ["another", "ours", "system one", "system two", "the jdk's"]


def test_a_java_store_that_cannot_be_read_is_passed_over(place: Place) -> None:
    (broken := place.directory / "broken.jks").write_bytes(jks("one")[:40])

    files = place.write(JAVA_TOOL_OPTIONS=f"-Xmx64m -Djavax.net.ssl.trustStore={broken}")

    assert names_in_java_store(files.java_store) == ["ours", "system one", "system two"]


@pytest.mark.skipif(KEYTOOL is None, reason="there is no keytool here")
def test_keytool_lists_the_java_store(place: Place) -> None:
    store = str(place.write().java_store)

    listed = subprocess.run(
        [KEYTOOL or "", "-list", "-keystore", store, "-storepass", JAVA_STORE_PASSWORD],
        env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
        capture_output=True,
        text=True,
    )

    assert listed.stdout.count("trustedCertEntry") == 3


JAVA_PROGRAM = """
    import java.io.*; import java.net.*;
    public class Ask {
        public static void main(String[] arguments) throws Exception {
            for (String url : arguments) {
                InputStream body = new URL(url).openConnection().getInputStream();
                System.out.println(new BufferedReader(new InputStreamReader(body)).readLine());
            }
            System.out.println(java.net.http.HttpClient.newHttpClient().send(
                java.net.http.HttpRequest.newBuilder(URI.create(arguments[0])).build(),
                java.net.http.HttpResponse.BodyHandlers.ofString()).body());
        }
    }
"""


@pytest.mark.skipif(JAVA is None, reason="there is no Java here")
def test_a_java_program_reaches_a_host_through_the_proxy_and_trusts_it(loopback: Loopback, tmp_path: Path) -> None:
    base = {"PATH": os.environ["PATH"], "JAVA_TOOL_OPTIONS": "-Dmine=1"}
    trust = write_trust_files(tmp_path / "a folder with spaces", loopback.ca, base)
    env = environment_for(base, proxy_url=loopback.proxy_url, trust=trust, hosts=["api.openai.com"]).full
    (source := tmp_path / "Ask.java").write_text(JAVA_PROGRAM)
    direct = f"https://127.0.0.1:{loopback.https_port}/direct"

    result = subprocess.run(
        [JAVA or "", str(source), "https://api.openai.test/a", direct], env=env, capture_output=True, text=True
    )

    assert result.stdout == "hello /a\nhello /direct\nhello /a\n", result.stderr
    assert loopback.connects == ["api.openai.test:443"] * 2


def test_phps_settings_name_the_bundle(place: Place) -> None:
    files = place.write()

    settings = (files.php_folder / "understudy.ini").read_text().splitlines()
    assert settings == [f'{name} = "{files.bundle}"' for name in ("curl.cainfo", "openssl.cafile")]


PHP_PROGRAM = """
    $all = curl_init($argv[1]);
    curl_setopt($all, CURLOPT_RETURNTRANSFER, true);
    echo curl_exec($all), curl_error($all);
"""


@pytest.mark.skipif(PHP is None, reason="there is no PHP here")
def test_a_php_program_reaches_a_host_through_the_proxy_and_trusts_it(loopback: Loopback, tmp_path: Path) -> None:
    trust = write_trust_files(tmp_path / 'a "${folder}"', loopback.ca, {})
    base = {"PATH": os.environ["PATH"]}
    env = environment_for(base, proxy_url=loopback.proxy_url, trust=trust, hosts=["api.openai.com"]).full
    known = subprocess.run([PHP or "", "-m"], capture_output=True, text=True, check=True).stdout.split()
    if "curl" not in known:
        pytest.skip("this PHP has no curl")

    result = subprocess.run(
        [PHP or "", "-r", PHP_PROGRAM, "https://api.openai.test/a"], env=env, capture_output=True, text=True
    )

    assert (result.stdout, result.stderr) == ("hello /a", "")
    assert loopback.connects == ["api.openai.test:443"]


@pytest.mark.skipif(CURL is None, reason="there is no curl here")
@pytest.mark.parametrize("scheme", ["https", "http"])
def test_curl_reaches_a_host_through_the_proxy_and_trusts_it(loopback: Loopback, tmp_path: Path, scheme: str) -> None:
    trust = write_trust_files(tmp_path / "private", loopback.ca, {})
    base = {"PATH": os.environ["PATH"]}
    env = environment_for(base, proxy_url=loopback.proxy_url, trust=trust, hosts=["api.openai.com"]).full

    result = subprocess.run(
        [CURL or "", "--silent", "--show-error", "--proxytunnel", f"{scheme}://api.openai.test/a"],
        env=env,
        capture_output=True,
        text=True,
    )

    assert (result.stdout, result.stderr) == ("hello /a", "")


def test_an_old_certificate_in_the_system_bundle_is_no_warning(place: Place) -> None:
    # Debian's bundle holds one whose serial number cryptography calls deprecated.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        files = write_trust_files(place.directory / "private", place.ours, {})

    assert files.warnings == ()

"""Writes the files that make a program trust our certificate authority, in the formats of the common runtimes.

A variable such as SSL_CERT_FILE replaces a trust store. So its file must also contain what was trusted before: the
certificates in the files that the user's own variables name, and the system's authorities. OpenSSL reads most of these
files, and it refuses a whole file for one bad entry. So each certificate is first tried with OpenSSL.
"""

import base64
import binascii
import contextlib
import os
import re
import shutil
import ssl
import struct
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat, pkcs12
from cryptography.utils import CryptographyDeprecationWarning

from storage.private_files import make_private_folder, write_private_file

JAVA_STORE_PASSWORD = "changeit"  # noqa: S105 - Java's own default for a trust store, which holds no secret

# The user's variables whose files replace a trust store. The app may need the authorities in them.
BUNDLE_VARIABLES = (
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "HTTPLIB2_CA_CERTS",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
    "AWS_CA_BUNDLE",
    "PERL_LWP_SSL_CA_FILE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "PIP_CERT",
    "npm_config_cafile",
)
EXTRA_VARIABLES = ("NODE_EXTRA_CA_CERTS", "DENO_CERT")  # the variables whose files are added to a trust store

# This does not use ssl.get_default_verify_paths().cafile, since SSL_CERT_FILE changes that.
SYSTEM_BUNDLES = tuple(
    Path(path)
    for path in (
        ssl.get_default_verify_paths().openssl_cafile,
        "/etc/ssl/certs/ca-certificates.crt",  # Debian, Arch, Gentoo
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
        "/etc/pki/tls/certs/ca-bundle.crt",  # older RHEL
        "/etc/ssl/ca-bundle.pem",  # SUSE
        "/etc/ssl/cert.pem",  # Alpine, macOS, the BSDs
    )
)

_PEM = re.compile(rb"-----BEGIN (?:X509 )?CERTIFICATE-----(.+?)-----END (?:X509 )?CERTIFICATE-----", re.DOTALL)
_JKS_MAGIC = 0xFEEDFEED
_JKS_TRUSTED = 2  # an entry that is a certificate, not a key


@dataclass(frozen=True, slots=True)
class TrustFiles:
    """The paths of the written files. ``warnings`` are sentences about the user's own files that could not be used."""

    bundle: Path
    extra: Path
    java_store: Path
    php_folder: Path
    """A folder with a settings file for PHP, which names the bundle."""
    warnings: tuple[str, ...] = ()


def write_trust_files(
    directory: Path,
    certificate: Path,
    base: Mapping[str, str],
    *,
    system_bundles: Sequence[Path] = SYSTEM_BUNDLES,
) -> TrustFiles:
    """Write the bundle, the extra file, the Java store and PHP's settings into ``directory``, as private files.

    ``certificate`` is the PEM file of our authority's certificate. ``base`` is the user's environment. Raises OSError
    if the directory cannot be written. Problems with the user's own files are reported in ``warnings`` instead.
    """
    make_private_folder(directory)
    reader = _Reader()
    ours = reader.read("our certificate", certificate)
    system = _system_certificates(reader, system_bundles)
    bundle = _unique([ours, reader.named_by(base, BUNDLE_VARIABLES), system])
    extra = _unique([ours, reader.named_by(base, EXTRA_VARIABLES)])
    java = _unique([bundle, *(_java_certificates(path) for path in _jvm_stores(base))])
    files = TrustFiles(
        bundle=directory / "bundle.pem",
        extra=directory / "extra.pem",
        java_store=directory / "java-truststore.p12",
        php_folder=directory / "php",
        warnings=tuple(reader.warnings),
    )
    write_private_file(files.bundle, _to_pem(bundle))
    write_private_file(files.extra, _to_pem(extra))
    write_private_file(files.java_store, _to_java_store(java))
    make_private_folder(files.php_folder)
    write_private_file(files.php_folder / "understudy.ini", _to_php_settings(files.bundle))
    return files


class _Reader:
    """Reads PEM files, and collects warnings about them."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self._seen: dict[Path, list[bytes]] = {}
        self._openssl = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._accepted: set[bytes] = set()

    def named_by(self, base: Mapping[str, str], variables: Iterable[str]) -> list[bytes]:
        """Return the certificates, as DER, from every file and directory that these variables name."""
        found: list[bytes] = []
        for variable in variables:
            if not (value := base.get(variable)):
                continue
            # SSL_CERT_DIR may be a list of directories. Each other variable names one path.
            for path in value.split(os.pathsep) if variable == "SSL_CERT_DIR" else [value]:
                found += self.read(variable, Path(path))
        return found

    def read(self, source: str, path: Path) -> list[bytes]:
        """Return the certificates, as DER, in a PEM file or in a directory of PEM files.

        ``source`` is the subject of the warnings, such as a variable's name.
        """
        if path in self._seen:
            return self._seen[path]
        try:
            certificates = self._in_directory(path) if path.is_dir() else self._in_file(source, path)
        except OSError as error:
            certificates = []
            self.warnings.append(f"{source} names {path}, which cannot be read: {error.strerror}.")
        else:
            if not certificates:
                self.warnings.append(f"{source} names {path}, which holds no certificate.")
        self._seen[path] = certificates
        return certificates

    def _in_file(self, source: str, path: Path) -> list[bytes]:
        certificates, broken = self._split(path.read_bytes())
        if broken:
            self.warnings.append(f"{source} names {path}, of which {broken} entries are broken and were left out.")
        return certificates

    def _in_directory(self, path: Path) -> list[bytes]:
        found: list[bytes] = []
        for entry in sorted(path.iterdir()):
            with contextlib.suppress(OSError):  # dangling links are common in such directories
                if entry.is_file():
                    found += self._split(entry.read_bytes())[0]
        return found

    def _split(self, pem: bytes) -> tuple[list[bytes], int]:
        """Return the certificates in a PEM text, as DER, and the number of invalid entries."""
        certificates, broken = [], 0
        for match in _PEM.finditer(pem):
            try:
                der = base64.b64decode(b"".join(match[1].split()), validate=True)
            except binascii.Error:
                broken += 1
                continue
            if self._is_certificate(der):
                certificates.append(der)
            else:
                broken += 1
        return certificates, broken

    def _is_certificate(self, der: bytes) -> bool:
        if der not in self._accepted:
            try:
                self._openssl.load_verify_locations(cadata=der)
            except (ssl.SSLError, ValueError):
                return False
            self._accepted.add(der)
        return True


def _system_certificates(reader: _Reader, candidates: Sequence[Path]) -> list[bytes]:
    """Return the certificates of the first system bundle that exists, or certifi's if none does."""
    for path in candidates:
        if path.is_file() and (found := reader.read("the system", path)):
            return found
    return reader.read("certifi", Path(certifi.where()))


def _unique(lists: Iterable[Iterable[bytes]]) -> list[bytes]:
    return list(dict.fromkeys(der for certificates in lists for der in certificates))


def _to_pem(certificates: Iterable[bytes]) -> bytes:
    return "".join(ssl.DER_cert_to_PEM_cert(der) for der in certificates).encode("ascii")


def _to_php_settings(bundle: Path) -> bytes:
    """Return PHP's settings that name the bundle. PHP uses libcurl, which, unlike curl, reads no variable for it."""
    # In double quotes PHP reads ${…} as the name of a setting. A backslash is literal, except before a double quote.
    path = str(bundle).replace("$", "\\$").replace('"', '\\"')
    return f'curl.cainfo = "{path}"\nopenssl.cafile = "{path}"\n'.encode()


def _to_java_store(certificates: Iterable[bytes]) -> bytes:
    """Return a PKCS12 store that a JVM reads as a trust store. It uses AES, so it needs Java 8u301 or later."""
    entries = [
        pkcs12.PKCS12Certificate(certificate, f"ca-{number}".encode())
        for number, certificate in enumerate(_parsed(certificates))
    ]
    encryption = (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(10_000)  # as keytool does
        .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(hashes.SHA256())
        .build(JAVA_STORE_PASSWORD.encode())
    )
    return pkcs12.serialize_java_truststore(entries, encryption)


def _parsed(certificates: Iterable[bytes]) -> list[x509.Certificate]:
    parsed = []
    # Some system bundles contain an old certificate with serial number zero. It is trusted, so it is not left out.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        for der in certificates:
            with contextlib.suppress(ValueError):
                parsed.append(x509.load_der_x509_certificate(der))
    return parsed


def _jvm_stores(base: Mapping[str, str]) -> Iterator[Path]:
    """Yield the trust stores that the user's own JVM would use. The Java store replaces them."""
    homes = [Path(base["JAVA_HOME"])] if base.get("JAVA_HOME") else []
    if java := shutil.which("java", path=base.get("PATH", "")):
        homes.append(Path(java).resolve().parent.parent)
    for home in homes:
        for store in (home / "lib/security/cacerts", home / "jre/lib/security/cacerts"):
            if store.is_file():
                yield store
    if match := re.search(r"-Djavax\.net\.ssl\.trustStore=(\S+)", base.get("JAVA_TOOL_OPTIONS", "")):
        yield Path(match[1].strip("\"'"))


def _java_certificates(path: Path) -> list[bytes]:
    """Return the certificates of a Java trust store (JKS or PKCS12), as DER. An unreadable store yields none."""
    try:
        content = path.read_bytes()
        if content[:4] == struct.pack(">I", _JKS_MAGIC):
            return list(_jks_certificates(content))
        for password in (JAVA_STORE_PASSWORD.encode(), None):
            with warnings.catch_warnings(), contextlib.suppress(ValueError):
                warnings.simplefilter("ignore", CryptographyDeprecationWarning)
                found = pkcs12.load_pkcs12(content, password).additional_certs
                return [entry.certificate.public_bytes(Encoding.DER) for entry in found]
    except (OSError, struct.error):
        pass
    return []


def _jks_certificates(content: bytes) -> Iterator[bytes]:
    """Yield the trusted certificates of a JKS file, as DER, up to the first entry of another kind.

    The layout, all big-endian: magic, version, count, the entries, a digest. Each entry has a tag, an alias (16-bit
    length) and a time (64 bits). A certificate entry goes on with its type's name (16-bit length) and its DER (32-bit
    length). Source: sun.security.provider.JavaKeyStore.engineLoad.
    """
    _, _, count = struct.unpack_from(">III", content)
    at = 12
    for _ in range(count):
        tag, alias_length = struct.unpack_from(">IH", content, at)
        if tag != _JKS_TRUSTED:
            return
        at += 6 + alias_length + 8
        (type_length,) = struct.unpack_from(">H", content, at)
        at += 2 + type_length
        (length,) = struct.unpack_from(">I", content, at)
        at += 4
        yield content[at : at + length]
        at += length

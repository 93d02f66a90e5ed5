"""The certificate authority that wrapped programs trust. It can sign for the intercepted hosts only.

It consists of two certificates. Programs are told to trust the *root*. The root's private key signs one certificate,
the *signer*, and is never written to disk. mitmproxy signs with the signer. Both carry the same critical Name
Constraints. RFC 5280 does not require a verifier to check the constraints of a trust anchor, and Java's does not. All
verifiers check those of a certificate between the root and the leaf, so the signer's constraints always hold. A thief
of the signer's key can sign for those hosts and no others.

The files have the names that mitmproxy expects in its ``confdir``. The authority for api.openai.com lies in the given
directory, those for other sets of hosts in its subfolders. So two proxies with different hosts can run at once.

Two processes may start at once with an empty directory. Each makes an authority in memory, and the first whose key file
gets its final name wins (:func:`storage.private_files.create_private_file`). To replace an authority, a process takes a
file lock, copies the old key file to ``old/``, and renames the new one over it. A process that waited for the lock
checks again, and uses the new authority. The key file is never missing in between: mitmproxy would make an authority
for all hosts in its place. All other files are derived from the key file, so each process rewrites them if they are
missing or differ.
"""

import contextlib
import datetime
import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from filelock import FileLock
from mitmproxy.certs import CERT_VALIDITY_OFFSET, DEFAULT_DHPARAM, CertStore

from auth.certificates.name_constraints import constraints_of, is_address, name_constraints, names_in, permitted_names
from settings import OPENAI_HOSTS
from storage.private_files import create_private_file, make_private_folder, restrict_to_owner, write_private_file

log = logging.getLogger(__name__)

FOLDER = "ca"  # within the data directory
BASENAME = "mitmproxy"  # mitmproxy.options.CONF_BASENAME: the proxy finds its authority by this name
NAME = "Understudy"  # the organisation and common name that a person reads in a certificate viewer
KEY_SIZE = 2048  # mitmproxy's own default for key_size; it expects an RSA key

# Two years. `understudy run` gives each program the current authority, so a new one costs nothing there. A key that
# leaks from an old backup is soon useless. Only users who installed the certificate by hand must install it again.
LIFETIME = datetime.timedelta(days=730)
RENEWED_BEFORE_END = datetime.timedelta(days=30)
LOCK_S = 30.0  # making an authority takes less than a second


class AuthorityError(Exception):
    """The authority cannot be made or read. The message names the file and says what to do."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority on disk. ``directory`` is the value for mitmproxy's option ``confdir``.

    ``permitted`` are the DNS names it can sign for, each with all names below it. ``store`` is what :meth:`open` has
    loaded: it checks the private key, which takes a twentieth of a second, so nobody should load it again.
    """

    directory: Path
    permitted: tuple[str, ...]
    store: CertStore | None = field(default=None, compare=False, repr=False)

    @classmethod
    def at(cls, directory: Path, hosts: Sequence[str] = OPENAI_HOSTS) -> Self:
        """Return the authority for these hosts without reading or writing files.

        ``hosts`` are names or patterns with ``*``. Raises AuthorityError if no authority can be limited to them.
        """
        try:
            permitted = permitted_names(hosts)
        except ValueError as error:
            raise AuthorityError(f"no certificate authority can be limited to these hosts: {error}") from None
        if not permitted:
            raise AuthorityError("a certificate authority must be limited to at least one host name, not an IP address")
        return cls(directory if permitted == OPENAI_HOSTS else directory / _folder(permitted), permitted)

    @classmethod
    def open(cls, directory: Path, hosts: Sequence[str] = OPENAI_HOSTS) -> Self:
        """Load the authority for these hosts from ``directory``, or make one there.

        An authority that expires soon, or that is not limited to exactly these hosts, is replaced. The old one is kept
        in ``old/``. Raises AuthorityError if the directory cannot be used, if another program made the authority in it,
        or if no authority can be limited to the hosts.
        """
        authority = cls.at(directory, hosts)
        for host in filter(is_address, hosts):
            log.warning("no app will trust https://%s: the authority signs no certificates for IP addresses", host)
        with authority._explaining():
            for folder in (directory, authority.directory):
                restrict_to_owner(make_private_folder(folder))
            if not authority.key.exists():
                authority._create()
                authority._tell_of_others(directory)
            content = authority._content()
            store = authority._load_store()
            if authority._flaw(_chain(store)) is not None:
                authority._replace()
                content = authority._content()
                store = authority._load_store()
            restrict_to_owner(authority.key)
            authority._derive(_chain(store))
            if authority._content() != content:  # another process has rotated it meanwhile
                store = authority._load_store()
                authority._derive(_chain(store))
        return replace(authority, store=store)

    def rotate(self) -> None:
        """Replace the authority by a new one, even if it is broken. The old one is moved to ``old/``.

        Raises AuthorityError.
        """
        with self._explaining():
            restrict_to_owner(make_private_folder(self.directory))
            if self.key.exists():
                self._derive(self._replace(asked=True))
            else:
                self._create()
                self._derive(self._load())

    @property
    def key(self) -> Path:
        """The private PEM file with the signer's key, the signer's certificate and the root's."""
        return self.directory / f"{BASENAME}-ca.pem"

    @property
    def certificate(self) -> Path:
        """The PEM file with the root's certificate alone, which programs must trust."""
        return self.directory / f"{BASENAME}-ca-cert.pem"

    @property
    def old(self) -> Path:
        """The folder with the key files that were replaced."""
        return self.directory / "old"

    def root(self) -> x509.Certificate:
        """Read the root's certificate. Raises AuthorityError."""
        return self._load()[-1]

    @contextlib.contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except (OSError, NotImplementedError) as error:  # the latter: a file system that cannot lock
            why = getattr(error, "strerror", None) or str(error)
            raise AuthorityError(
                f"the directory of the certificate authority cannot be used: {self.directory}: {why}"
            ) from error

    def _create(self) -> None:
        """Make an authority, unless another process has made one meanwhile."""
        with contextlib.suppress(FileExistsError):
            create_private_file(self.key, _new_authority(self.permitted))
            log.info("made a certificate authority for %s only: %s", ", ".join(self.permitted), self.certificate)

    def _replace(self, *, asked: bool = False) -> list[x509.Certificate]:
        """Replace this authority by a new one, and return the chain of the one that is there then.

        If another process has already replaced it, it stays, unless the replacement was ``asked`` for.
        """
        with FileLock(self.directory / ".lock", timeout=LOCK_S):
            reason = "as was asked for" if asked else self._flaw(chain := self._load())
            if reason is None:
                return chain
            kept = self._keep()
            write_private_file(self.key, _new_authority(self.permitted))
            log.warning(
                "the certificate authority was replaced, %s. Whoever was told to trust the old one must be told to "
                "trust the new, %s, and a running `understudy serve` must be started again. The old one is kept as %s",
                reason,
                self.certificate,
                kept,
            )
            return self._load()

    def _keep(self) -> Path:
        """Copy the key file to ``old/`` before it is replaced. Returns the copy's path."""
        content = self.key.read_bytes()
        restrict_to_owner(make_private_folder(self.old))
        now = datetime.datetime.now(datetime.UTC)
        kept = self.old / f"{now:%Y-%m-%dT%H%M%SZ}-{hashlib.sha256(content).hexdigest()[:8]}-ca.pem"
        write_private_file(kept, content)
        return kept

    def _tell_of_others(self, directory: Path) -> None:
        """Log that there is a second authority now, because the hosts have changed."""
        others = [folder for folder in (directory, *directory.glob(f"{_PREFIX}*")) if folder != self.directory]
        if known := [str(folder) for folder in others if (folder / self.key.name).exists()]:
            log.info(
                "the hosts are not those of an earlier certificate authority, so this one was made: %s. Whoever was "
                "told to trust the earlier one (%s) must be told to trust this one too",
                self.certificate,
                ", ".join(known),
            )

    def _content(self) -> bytes:
        """Read the key file. Raises AuthorityError."""
        try:
            return self.key.read_bytes()
        except OSError as error:
            raise AuthorityError(f"{self.key} cannot be read: {error.strerror}") from error

    def _load(self) -> list[x509.Certificate]:
        """Read the authority, and return the chain that mitmproxy will send: the signer, then the root."""
        return _chain(self._load_store())

    def _load_store(self) -> CertStore:
        """Read the authority as mitmproxy does. Raises AuthorityError if it is none that Understudy has made."""
        parameters = self.directory / f"{BASENAME}-dhparam.pem"
        if not parameters.exists():
            write_private_file(parameters, DEFAULT_DHPARAM)
        try:
            # Not from_store, which makes an authority for all hosts when the file is missing.
            store = CertStore.from_files(self.key, parameters)
        except OSError as error:
            raise AuthorityError(f"{self.key} cannot be read: {error.strerror}") from error
        except (ValueError, TypeError, IndexError, AttributeError, RuntimeError) as error:
            raise self._broken("holds no key and certificate that can be read") from error
        chain = _chain(store)
        if store.default_ca.public_key() != store.default_privatekey.public_key():
            raise self._broken("holds a certificate that does not belong to its key")
        if NAME not in {entry.value for entry in chain[-1].subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)}:
            raise self._broken("holds an authority that Understudy did not make")
        return store

    def _broken(self, what: str) -> AuthorityError:
        return AuthorityError(
            f"{self.key} {what}. Move it away, or run `understudy ca rotate`: a new authority is made, "
            "and whatever was told to trust the old one must be told to trust the new."
        )

    def _flaw(self, chain: Sequence[x509.Certificate]) -> str | None:
        """Return why an authority must be replaced, as a clause for a log line. None if it need not be."""
        signer, root = chain[0], chain[-1]
        end = min(certificate.not_valid_after_utc for certificate in chain)
        found = constraints_of(signer)
        if found is None:
            return "as it could sign for every host"
        if found != name_constraints(self.permitted):
            limits = ", ".join(names_in(found)) or "no host"
            return f"as it was limited to {limits}, and the hosts are {', '.join(self.permitted)}"
        if len(chain) < 2 or constraints_of(root) != found or not _issued(signer, root):
            return "as its certificates are not those that Understudy makes"
        if end - RENEWED_BEFORE_END <= datetime.datetime.now(datetime.UTC):
            return f"as its end is near or past: {end:%Y-%m-%d}"
        return None

    def _derive(self, chain: Sequence[x509.Certificate]) -> None:
        """Write the root's certificate where mitmproxy offers it for download, if it is missing or differs."""
        pem = chain[-1].public_bytes(serialization.Encoding.PEM)
        for path in (self.certificate, self.certificate.with_suffix(".cer")):
            try:
                if not path.exists() or path.read_bytes() != pem:
                    write_private_file(path, pem)
            except OSError as error:
                raise AuthorityError(f"{path} cannot be written: {error.strerror}") from error


def _chain(store: CertStore) -> list[x509.Certificate]:
    return [certificate.to_cryptography() for certificate in store.default_chain_certs]


_PREFIX = "for-"


def _folder(permitted: Sequence[str]) -> str:
    """Return a folder name that lists the hosts and is short enough for any file system."""
    names = "+".join(permitted)
    digest = hashlib.sha256(names.encode()).hexdigest()[:16]
    return _PREFIX + (names if len(names) <= 100 else f"{names[:80]}-{digest}")


def _new_authority(permitted: Sequence[str]) -> bytes:
    """Make a root and a signer. Returns the signer's key, its certificate and the root's as PEM, for mitmproxy."""
    root_key, signer_key = (rsa.generate_private_key(public_exponent=65537, key_size=KEY_SIZE) for _ in range(2))
    # The name contains part of the key's identifier. An old root and its successor may both be trusted: a verifier
    # that finds them by name, or a person who removes one, must be able to tell them apart.
    identifier = x509.SubjectKeyIdentifier.from_public_key(root_key.public_key()).digest.hex()
    root_name = _name(f"{NAME} root {identifier[:8]}")
    root = _certificate(root_name, root_key.public_key(), root_name, root_key, permitted, path_length=1)
    signer = _certificate(_name(NAME), signer_key.public_key(), root_name, root_key, permitted, path_length=0)
    key = signer_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return key + b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in (signer, root))


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, common_name), x509.NameAttribute(NameOID.ORGANIZATION_NAME, NAME)]
    )


def _certificate(
    subject: x509.Name,
    key: rsa.RSAPublicKey,
    issuer: x509.Name,
    issuer_key: rsa.RSAPrivateKey,
    permitted: Sequence[str],
    *,
    path_length: int,
) -> x509.Certificate:
    """Make a CA certificate for TLS servers. ``path_length`` is how many CA certificates may follow it in a chain."""
    begin = datetime.datetime.now(datetime.UTC) + CERT_VALIDITY_OFFSET  # some clocks are slow
    off = dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
    )
    usage = x509.KeyUsage(key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False, **off)
    return (
        x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number(), begin, begin + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(name_constraints(permitted), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True

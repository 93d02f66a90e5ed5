"""The certificate authority that the wrapped programs are made to trust, for our hosts and no other.

It is two certificates. A *root* is what programs are told to trust; its private key signs one other certificate and is
forgotten, it is never written anywhere. That other one, the *signer*, is what mitmproxy makes certificates with. Both
carry the same critical Name Constraints. One certificate would do if every verifier heeded the constraints of what it
trusts, but RFC 5280 leaves that open, and Java's does not; between the root and the leaf they are heeded by all. And
since nothing but the signer was ever signed by the root, whoever steals the key can speak for those hosts and no other.

Its files lie in one private directory under the names that mitmproxy expects of its ``confdir``. The authority for
OpenAI's own host lies in the directory that is given, those for other sets of hosts in folders of it: two proxies with
different hosts may run at once, and neither may take the other's authority away.

Two processes may start at once on an empty directory: each makes a whole authority in a private place, and the one
whose key is linked to its final name first has won. A link to a name that exists fails, so nothing is overwritten. An
authority that must be replaced is copied to ``old/`` and its successor renamed over it, under a lock that the system
releases with the process; whoever waited for the lock looks again, and takes the successor. The key's name is never
absent, as mitmproxy would then make an authority of its own there, for all hosts. Every other file can be derived from
the key's, so each process writes those again where they are missing or differ.
"""

import contextlib
import datetime
import hashlib
import logging
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
from storage.folders import make_private_folder

log = logging.getLogger(__name__)

FOLDER = "ca"  # within the data directory
BASENAME = "mitmproxy"  # mitmproxy.options.CONF_BASENAME: the proxy finds its authority by this name
NAME = "Understudy"  # the organisation and common name that a person reads in a certificate viewer
KEY_SIZE = 2048  # mitmproxy's own default for key_size; it expects an RSA key

# Two years. `understudy run` hands each program the authority of the day, so a successor costs nothing there; and a key
# that got away with an old backup should be of no use for a decade. Only who installed it by hand must do so again.
LIFETIME = datetime.timedelta(days=730)
RENEWED_BEFORE_END = datetime.timedelta(days=30)
LOCK_S = 30.0  # making an authority takes less than a second


class AuthorityError(Exception):
    """The authority cannot be made or read; the message says where, and what to do."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority on disk. ``directory`` is what mitmproxy's option ``confdir`` wants.

    ``permitted`` are the DNS names it can sign for, each with all names below it.
    """

    directory: Path
    permitted: tuple[str, ...]

    @classmethod
    def at(cls, directory: Path, hosts: Sequence[str] = OPENAI_HOSTS) -> Self:
        """Say where the authority for these hosts is or will be, without looking.

        ``hosts`` are names or patterns with ``*``. Raises AuthorityError if no authority can be limited to them.
        """
        try:
            permitted = permitted_names(hosts)
        except ValueError as error:
            raise AuthorityError(f"no certificate authority can be limited to the hosts: {error}") from None
        if not permitted:
            raise AuthorityError("a certificate authority needs a host to be limited to, and an address is none")
        return cls(directory if permitted == OPENAI_HOSTS else directory / _folder(permitted), permitted)

    @classmethod
    def open(cls, directory: Path, hosts: Sequence[str] = OPENAI_HOSTS) -> Self:
        """Load the authority for these hosts from ``directory``, or make one there.

        One that is near its end, or that is not limited to just these hosts, is replaced and kept in ``old/``. Raises
        AuthorityError if the directory cannot be used, if what it holds is no authority of ours, or if no authority
        can be limited to the hosts.
        """
        authority = cls.at(directory, hosts)
        for host in filter(is_address, hosts):
            log.warning("https://%s will not be trusted by any app: no certificate is signed for an address", host)
        with authority._explaining():
            _private_folder(directory)
            _private_folder(authority.directory)
            if not authority.key.exists():
                authority._create()
                authority._tell_of_others(directory)
            chain = authority._load()
            if authority._flaw(chain) is not None:
                chain = authority._replace()
            _make_private(authority.key, 0o600)
            authority._derive(chain)
            if (present := authority._load()) != chain:  # another process has rotated it meanwhile
                authority._derive(present)
        return authority

    def rotate(self) -> None:
        """Replace the authority by a new one, whatever state it is in. The old one is kept in ``old/``.

        Raises AuthorityError.
        """
        with self._explaining():
            _private_folder(self.directory)
            if self.key.exists():
                self._derive(self._replace(asked=True))
            else:
                self._create()
                self._derive(self._load())

    @property
    def key(self) -> Path:
        """The signer's private key, its certificate and the root's, in one PEM file that only its owner reads."""
        return self.directory / f"{BASENAME}-ca.pem"

    @property
    def certificate(self) -> Path:
        """The root's certificate alone, as PEM: what programs are given to trust."""
        return self.directory / f"{BASENAME}-ca-cert.pem"

    @property
    def old(self) -> Path:
        """The folder of the keys that were replaced."""
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
                f"the certificate authority needs a directory that it can write: {self.directory}: {why}"
            ) from error

    def _create(self) -> None:
        """Make an authority in a private place, and give its key the final name unless another was first."""
        with tempfile.TemporaryDirectory(dir=self.directory, prefix=".new-") as workshop:
            made = Path(workshop, self.key.name)
            _write(made, _new_authority(self.permitted))
            with contextlib.suppress(FileExistsError):
                _publish(made, self.key)
                log.info("made a certificate authority for %s alone: %s", ", ".join(self.permitted), self.certificate)

    def _replace(self, *, asked: bool = False) -> list[x509.Certificate]:
        """Put a new authority in this one's place, and return what is there then.

        Unless ``asked``, one in which nothing is wrong is left there: another process was first.
        """
        with FileLock(self.directory / ".lock", timeout=LOCK_S):
            reason = "as was asked for" if asked else self._flaw(chain := self._load())
            if reason is None:
                return chain
            kept = self._keep()
            _write(self.key, _new_authority(self.permitted))
            log.warning(
                "the certificate authority was replaced, %s. Whoever was told to trust the old one must be told to "
                "trust the new, %s, and a running `understudy serve` must be started again. The old one is kept as %s",
                reason,
                self.certificate,
                kept,
            )
            return self._load()

    def _keep(self) -> Path:
        """Copy the key file, which will be replaced, to ``old/``; return the copy."""
        content = self.key.read_bytes()
        _private_folder(self.old)
        now = datetime.datetime.now(datetime.UTC)
        kept = self.old / f"{now:%Y-%m-%dT%H%M%SZ}-{hashlib.sha256(content).hexdigest()[:8]}-ca.pem"
        _write(kept, content)
        return kept

    def _tell_of_others(self, directory: Path) -> None:
        """The hosts may have changed since somebody was told to trust an authority: then there is a second one now."""
        others = [folder for folder in (directory, *directory.glob(f"{_PREFIX}*")) if folder != self.directory]
        if known := [str(folder) for folder in others if (folder / self.key.name).exists()]:
            log.info(
                "the hosts are not those of an earlier certificate authority, so this one was made: %s. Whoever was "
                "told to trust the earlier one (%s) must be told to trust this one too",
                self.certificate,
                ", ".join(known),
            )

    def _load(self) -> list[x509.Certificate]:
        """Read the authority as mitmproxy will, and return the chain that it will show, from the signer to the root."""
        parameters = self.directory / f"{BASENAME}-dhparam.pem"
        if not parameters.exists():
            _write(parameters, DEFAULT_DHPARAM)
        try:
            # Not from_store, which makes an authority for all hosts when the file is missing.
            store = CertStore.from_files(self.key, parameters)
        except OSError as error:
            raise AuthorityError(f"{self.key} cannot be read: {error.strerror}") from error
        except (ValueError, TypeError, IndexError, AttributeError, RuntimeError) as error:
            raise self._broken("holds no key and certificate that can be read") from error
        chain = [certificate.to_cryptography() for certificate in store.default_chain_certs]
        if store.default_ca.public_key() != store.default_privatekey.public_key():
            raise self._broken("holds a certificate that does not belong to its key")
        if NAME not in {entry.value for entry in chain[-1].subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)}:
            raise self._broken("holds an authority that Understudy did not make")
        return chain

    def _broken(self, what: str) -> AuthorityError:
        return AuthorityError(
            f"{self.key} {what}. Move it away, or run `understudy ca rotate`: a new authority is made, "
            "and whatever was told to trust the old one must be told to trust the new."
        )

    def _flaw(self, chain: Sequence[x509.Certificate]) -> str | None:
        """Say why an authority must be replaced, as a clause. None if it need not be."""
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
        """Write the root in the forms that mitmproxy offers for download, where they are missing or differ."""
        pem = chain[-1].public_bytes(serialization.Encoding.PEM)
        for path in (self.certificate, self.certificate.with_suffix(".cer")):
            try:
                if not path.exists() or path.read_bytes() != pem:
                    _write(path, pem)
            except OSError as error:
                raise AuthorityError(f"{path} cannot be written: {error.strerror}") from error


_PREFIX = "for-"


def _folder(permitted: Sequence[str]) -> str:
    """Name the folder of an authority so that a person can tell whose it is, and a file system takes it."""
    names = "+".join(permitted)
    digest = hashlib.sha256(names.encode()).hexdigest()[:16]
    return _PREFIX + (names if len(names) <= 100 else f"{names[:80]}-{digest}")


def _new_authority(permitted: Sequence[str]) -> bytes:
    """Make a root and a signer; return the signer's key, its certificate and the root's as PEM: mitmproxy's form."""
    root_key, signer_key = (rsa.generate_private_key(public_exponent=65537, key_size=KEY_SIZE) for _ in range(2))
    # With a part of its key's identifier: where an old root and its successor are both trusted, a verifier that looks
    # them up by name must not take one for the other, nor must a person who removes one.
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
    """Sign the certificate of an authority for TLS servers; ``path_length`` is how many authorities may follow."""
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


def _publish(made: Path, final: Path) -> None:
    """Give a finished file its final name. Raises FileExistsError, and changes nothing, if the name is taken."""
    try:
        final.hardlink_to(made)
    except FileExistsError:
        raise
    except OSError:
        # A file system without hard links. Renaming would overwrite on POSIX, so look first;
        # on Windows a rename onto an existing name fails by itself.
        if final.exists():
            raise FileExistsError(final) from None
        made.rename(final)


def _write(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")  # made with mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _private_folder(path: Path) -> None:
    make_private_folder(path)
    _make_private(path, 0o700)


def _make_private(path: Path, mode: int) -> None:
    """Take the permissions on a file or folder away from everyone but its owner."""
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        path.chmod(mode)

"""The certificate authority that the wrapped programs are made to trust.

Its files lie in one private directory under the names that mitmproxy expects of its ``confdir``. Two processes may
start at once on an empty directory: each makes a whole authority in a private place, and the one whose key is linked
to its final name first has won. A link to a name that exists fails, so nothing is ever overwritten, and no lock can be
left behind. Every other file can be derived from the winner's, so each process writes those again where they are
missing or differ.
"""

import contextlib
import datetime
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives import serialization
from mitmproxy.certs import CertStore

BASENAME = "mitmproxy"  # mitmproxy.options.CONF_BASENAME: the proxy finds its authority by this name
NAME = "Understudy"  # the organisation and common name that a person reads in a certificate viewer
KEY_SIZE = 2048  # mitmproxy's own default for key_size


class AuthorityError(Exception):
    """The authority cannot be made or read; the message says where, and what to do."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority on disk. ``directory`` is what mitmproxy's option ``confdir`` wants."""

    directory: Path

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Load the authority in ``directory``, or make one there.

        Raises AuthorityError if the directory cannot be used, or if what it holds is no usable authority.
        """
        authority = cls(directory)
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not authority.key.exists():
                authority._create()
            _make_private(authority.key)
        except OSError as error:
            raise AuthorityError(
                f"the certificate authority needs a directory that it can write: {directory}: {error.strerror}"
            ) from error
        authority._derive(authority._load())
        return authority

    @property
    def key(self) -> Path:
        """The private key and the certificate, in one PEM file that only its owner reads."""
        return self.directory / f"{BASENAME}-ca.pem"

    @property
    def certificate(self) -> Path:
        """The certificate alone, as PEM: what programs are given to trust."""
        return self.directory / f"{BASENAME}-ca-cert.pem"

    def _create(self) -> None:
        """Make an authority in a private place, and give its key the final name unless another was first."""
        with tempfile.TemporaryDirectory(dir=self.directory, prefix=".new-") as workshop:
            CertStore.create_store(Path(workshop), BASENAME, KEY_SIZE, organization=NAME, cn=NAME)
            for name in (f"{BASENAME}-dhparam.pem", self.key.name):  # the key last: it alone says that one exists
                with contextlib.suppress(FileExistsError):
                    _publish(Path(workshop, name), self.directory / name)

    def _load(self) -> CertStore:
        """Read the authority as mitmproxy will, and check what mitmproxy takes for granted."""
        try:
            store = CertStore.from_store(self.directory, BASENAME, KEY_SIZE)
        except OSError as error:
            raise AuthorityError(f"{self.key} cannot be read: {error.strerror}") from error
        except (ValueError, TypeError, IndexError, RuntimeError) as error:
            raise self._broken("holds no key and certificate that can be read") from error
        if store.default_ca.public_key() != store.default_privatekey.public_key():
            raise self._broken("holds a certificate that does not belong to its key")
        if store.default_ca.notafter <= datetime.datetime.now(datetime.UTC):
            raise self._broken(f"expired on {store.default_ca.notafter:%Y-%m-%d}")
        return store

    def _broken(self, what: str) -> AuthorityError:
        return AuthorityError(
            f"{self.key} {what}. Move it away and start again: a new authority is made, "
            "and whatever was told to trust the old one must be told to trust the new."
        )

    def _derive(self, store: CertStore) -> None:
        """Write the certificate in the forms that mitmproxy offers for download, where they are missing or differ."""
        certificate = store.default_ca.to_cryptography()
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        for path in (self.certificate, self.certificate.with_suffix(".cer")):
            try:
                if not path.exists() or path.read_bytes() != pem:
                    _write(path, pem)
            except OSError as error:
                raise AuthorityError(f"{path} cannot be written: {error.strerror}") from error


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
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _make_private(path: Path) -> None:
    """Take a key file's permissions away from everyone but its owner."""
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        path.chmod(0o600)

"""What an app keeps for us without reading it: sealed with a key of ours.

Claude's thinking with its signature travels to an app as ``encrypted_content`` and comes back with its next request.
Fernet encrypts and authenticates (https://github.com/fernet/spec), so nothing but what we sealed is ever opened.
"""

import base64
import contextlib
import hashlib
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from storage.private_files import create_private_file, make_private_folder
from translate.responses.reasoning import unpack
from translate.turn import ContentBlock


def derived_key(secret: str) -> bytes:
    """Return the key that goes with another secret: the same wherever that is known, and of no use for finding it."""
    return base64.urlsafe_b64encode(hashlib.sha256(b"understudy: what apps keep for us\n" + secret.encode()).digest())


class Sealer:
    """Seals with the first of some keys and opens with any; without one, with a key that the process forgets."""

    def __init__(self, *keys: bytes) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys or (Fernet.generate_key(),)])

    def seal(self, data: bytes) -> str:
        """Return what only this key can open."""
        return self._fernet.encrypt(data).decode("ascii")

    def open_reasoning(self, sealed: str) -> ContentBlock | None:
        """Return the block of thinking that was sealed; None for anything that was not sealed with this key."""
        try:
            return unpack(self._fernet.decrypt(sealed.encode("utf-8", "replace")))
        except InvalidToken:
            return None


def sealing_key(data_dir: Path) -> bytes:
    """Return the key that reasoning is sealed with, made on first use; only we can read it."""
    make_private_folder(data_dir)
    path = data_dir / "reasoning.key"
    if not path.exists():
        # Another proxy may make it in the same moment; then both use that one.
        with contextlib.suppress(FileExistsError):
            create_private_file(path, Fernet.generate_key())
    return path.read_bytes()

"""How JSON lies in the database: as text, and encrypted where there is a key.

Fernet encrypts and authenticates (https://github.com/fernet/spec). What is encrypted says so with a prefix that no JSON
begins with, so that a database may hold both: what was written before there was a key stays readable.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from storage.database import StoreError

PREFIX = "fernet:"

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


class EncryptionKeyError(StoreError):
    """Something is encrypted, and no key was given that opens it; or what was given is no key."""


class Encryption:
    """Seals JSON with the first of some keys, and opens it with any of them. Without keys it lies there readable.

    A key is 32 bytes in URL-safe base64 (:meth:`new_key`). To change it, put the new one before the old, and take the
    old one away when all that it sealed has expired. Raises EncryptionKeyError for what is no key, and does not show
    it.
    """

    def __init__(self, keys: Sequence[str] = ()) -> None:
        try:
            fernets = [Fernet(key) for key in keys]
        except ValueError:
            raise EncryptionKeyError(
                "a key for what is stored is 32 bytes in URL-safe base64 (44 characters)"
            ) from None
        self._fernet = MultiFernet(fernets) if fernets else None

    @staticmethod
    def new_key() -> str:
        """Return a key that nobody has."""
        return Fernet.generate_key().decode("ascii")

    def __repr__(self) -> str:
        return f"<Encryption {'encrypts' if self._fernet else 'readable'}>"

    def seal(self, json: bytes) -> str:
        """Return JSON as it is kept. Raises UnicodeDecodeError if it is no UTF-8."""
        if self._fernet is None:
            return json.decode("utf-8")
        return PREFIX + self._fernet.encrypt(json).decode("ascii")

    def open(self, kept: str) -> bytes:
        """Return the JSON. Raises EncryptionKeyError."""
        if not kept.startswith(PREFIX):
            return kept.encode("utf-8")
        if self._fernet is None:
            raise EncryptionKeyError("what is stored is encrypted, and no key was given")
        try:
            return self._fernet.decrypt(kept.removeprefix(PREFIX))
        except InvalidToken:
            raise EncryptionKeyError(
                "what is stored is encrypted with another key than those that were given"
            ) from None

    def pack(self, value: object) -> str:
        """Encode and seal a value."""
        return self.seal(_encoder.encode(value))

    def unpack(self, kept: str) -> Any:
        """Open and decode what :meth:`pack` made. Raises EncryptionKeyError."""
        return _decoder.decode(self.open(kept))

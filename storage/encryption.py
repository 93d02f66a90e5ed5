"""How JSON is stored in the database: as text, which is encrypted if there is a key.

Fernet encrypts and authenticates (https://github.com/fernet/spec). Encrypted text has a prefix that no JSON begins
with. So a database may contain both, and text from before the first key stays readable.
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
    """A stored text is encrypted and no given key decrypts it, or a given key is invalid."""


class Encryption:
    """Encrypts JSON with the first key, and decrypts it with any of the keys. Without keys, JSON is stored readable.

    A key is 32 bytes in URL-safe base64 (:meth:`new_key`). To change the key, put the new one before the old one.
    Remove the old one when all text that it encrypted has expired. Raises EncryptionKeyError for an invalid key; the
    message does not contain it.
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
        """Return a new random key."""
        return Fernet.generate_key().decode("ascii")

    def __repr__(self) -> str:
        return f"<Encryption {'encrypts' if self._fernet else 'readable'}>"

    def seal(self, json: bytes) -> str:
        """Return JSON as the text to store, encrypted if there is a key.

        Raises UnicodeDecodeError if it is not encrypted and not valid UTF-8.
        """
        if self._fernet is None:
            return json.decode("utf-8")
        return PREFIX + self._fernet.encrypt(json).decode("ascii")

    def open(self, kept: str) -> bytes:
        """Return the JSON of a stored text. Raises EncryptionKeyError if no key decrypts it."""
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

    def seal_bytes(self, data: bytes) -> bytes:
        """Return bytes as they are stored, encrypted if there is a key. The first byte says which."""
        return b"\0" + data if self._fernet is None else b"\1" + self._fernet.encrypt(data)

    def open_bytes(self, kept: bytes) -> bytes:
        """Return the bytes that :meth:`seal_bytes` was given. Raises EncryptionKeyError if no key decrypts them."""
        if kept[:1] == b"\0":
            return kept[1:]
        if self._fernet is None:
            raise EncryptionKeyError("what is stored is encrypted, and no key was given")
        try:
            return self._fernet.decrypt(kept[1:])
        except InvalidToken:
            raise EncryptionKeyError(
                "what is stored is encrypted with another key than those that were given"
            ) from None

    def pack(self, value: object) -> str:
        """Encode a value as JSON and :meth:`seal` it."""
        return self.seal(_encoder.encode(value))

    def unpack(self, kept: str) -> Any:
        """Return the value of a text that :meth:`pack` made. Raises EncryptionKeyError if no key decrypts it."""
        return _decoder.decode(self.open(kept))

"""What an app keeps for us without reading it: sealed with a key of ours.

Claude's thinking with its signature travels to an app as ``encrypted_content`` and comes back with its next request.
Fernet encrypts and authenticates (https://github.com/fernet/spec), so nothing but what we sealed is ever opened.
"""

from cryptography.fernet import Fernet, InvalidToken

from translate.responses.reasoning import unpack
from translate.turn import ContentBlock


class Sealer:
    """Seals and opens with one key; without one, with a key that is forgotten with the process."""

    def __init__(self, key: bytes | None = None) -> None:
        self._fernet = Fernet(key or Fernet.generate_key())

    def seal(self, data: bytes) -> str:
        """Return what only this key can open."""
        return self._fernet.encrypt(data).decode("ascii")

    def open_reasoning(self, sealed: str) -> ContentBlock | None:
        """Return the block of thinking that was sealed; None for anything that was not sealed with this key."""
        try:
            return unpack(self._fernet.decrypt(sealed.encode("utf-8", "replace")))
        except InvalidToken:
            return None

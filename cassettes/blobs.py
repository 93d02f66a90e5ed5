"""Stores large base64 beside a cassette, once, in files named by the SHA-256 of the decoded bytes.

In the cassette, ``{"$blob": "sha256:…", "media": "image/png", "before": "data:image/png;base64,"}`` replaces the
string. Only a data URL has ``before``. If the app's own JSON has an object with such a key, it is wrapped:
``{"$literal": {…}}``. Reading restores the original value exactly.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import re2

from cassettes import large_json as slowly
from cassettes.files import open_regular
from storage.private_files import write_private_file

MIN_CHARACTERS = 4096
MAX_BYTES = 256 * 1024 * 1024
"""The largest size of a blob. It is also the limit for a line of a cassette."""

_DATA_URL = re.compile(r"data:(?P<media>[\w.+/-]{1,100})(?:;[\w=.+-]{0,100}){0,4};base64,")
_BASE64 = re2.compile(r"[A-Za-z0-9+/]+={0,2}")
_REFERENCE = re.compile(r"sha256:([0-9a-f]{64})")
_OURS = frozenset({"$blob", "$literal"})
_MAGIC = (  # the first bytes of file types
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF", "application/pdf"),
    (b"RIFF", "audio/wav"),
    (b"ID3", "audio/mpeg"),
)  # fmt: skip


class BlobError(Exception):
    """A blob that a cassette names is missing, or its content has changed."""


class Blobs:
    """The blobs in one folder. The folder is made when the first blob is stored."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, data: bytes) -> str:
        """Store bytes and return their name, ``sha256:…``. Raises OSError."""
        digest = hashlib.sha256(data).hexdigest()
        path = self._folder / digest
        if not path.exists():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private_file(path, data)
        return f"sha256:{digest}"

    def get(self, name: str) -> bytes:
        """Return a blob's bytes. Raises BlobError."""
        match = _REFERENCE.fullmatch(name)
        if match is None:
            raise BlobError(f"{name[:80]!r} is no blob's name")
        try:
            with open_regular(self._folder / match[1], MAX_BYTES) as file:
                data = file.read()
        except FileNotFoundError:
            raise BlobError(f"the blob {name} is not there") from None
        except OSError as error:
            raise BlobError(f"the blob {name} cannot be read: {error.strerror}") from None
        if hashlib.sha256(data).hexdigest() != match[1]:
            raise BlobError(f"the blob {name} is not what it was when it was recorded")
        return data

    def put_away(self, value: Any) -> Any:
        """Return the JSON-like value with references instead of large base64. Raises OSError."""
        return _map(value, self._put_string)

    def put_back(self, value: Any, problems: list[str]) -> Any:
        """Undo :meth:`put_away`. If a blob cannot be read, keep its reference and append the reason to ``problems``."""
        if isinstance(value, list):
            return [self.put_back(item, problems) for item in value]
        if not isinstance(value, dict):
            return value
        if isinstance(value.get("$blob"), str):
            try:
                data = base64.b64encode(self.get(value["$blob"])).decode("ascii")
            except BlobError as error:
                problems.append(str(error))
                return value
            return f"{value.get('before', '')}{data}"
        if len(value) == 1 and isinstance(value.get("$literal"), dict):
            value = value["$literal"]
        return {key: self.put_back(item, problems) for key, item in value.items()}

    def _put_string(self, text: str) -> Any:
        if len(text) < MIN_CHARACTERS or not text.isascii():
            return text
        match = _DATA_URL.match(text)
        before = match.group() if match else ""
        encoded = text[len(before) :].encode("ascii")
        if not _BASE64.fullmatch(encoded):
            return text
        try:
            data = slowly.from_base64(encoded)
        except (binascii.Error, ValueError):
            return text
        if base64.b64encode(data) != encoded:
            return text
        reference = {"$blob": self.put(data), "media": (match["media"] if match else None) or media_type(data)}
        return {**reference, "before": before} if before else reference


def media_type(data: bytes) -> str:
    """Return the media type of a file, by its first bytes."""
    return next((media for magic, media in _MAGIC if data.startswith(magic)), "application/octet-stream")


def _map(value: Any, string: Callable[[str], Any]) -> Any:
    if isinstance(value, str):
        return string(value)
    if isinstance(value, list):
        return [_map(item, string) for item in value]
    if isinstance(value, dict):
        found = {key: _map(item, string) for key, item in value.items()}
        return {"$literal": found} if _OURS & found.keys() else found
    return value

"""Puts the bytes of uploaded files into the content parts that name them by ``file_id``.

A part keeps its ``file_id`` beside the bytes. What is stored of a request has the id alone (:func:`without_bytes`), so
a conversation names the file, and each turn reads it again.

The parts: ``file`` of Chat Completions, ``input_file`` and ``input_image`` of the Responses API.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from api.endpoints.files import unknown_file
from storage.base import Item
from storage.files import StoredFile
from storage.stores import Stores
from translate.errors import OpenAIError

MAX_BYTES = 32 * 1024 * 1024
"""How many bytes the files of one request may have: Claude's API accepts no larger request.

Each mention of a file counts, because each one sends the bytes again.
"""

BYTES_OF = {"input_file": "file_data", "input_image": "image_url"}
"""The types of parts of the Responses API that may name a file, and the fields for its bytes."""

type Part = dict[str, Any]


class UploadedFiles:
    """The files that one request may name. ``stores`` None means that there are none."""

    def __init__(self, stores: Stores | None, owner: str) -> None:
        self._stores = stores
        self._owner = owner
        self._found: dict[str, StoredFile] = {}
        self._urls: dict[tuple[str, str], str] = {}
        self._bytes = 0

    async def in_messages(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the fields of a chat request, with the bytes of its files. Raises OpenAIError (404, 413)."""
        messages = fields.get("messages")
        if self._stores is None or not isinstance(messages, list):
            return fields
        return {**fields, "messages": [await self._message(one, f"messages[{n}]") for n, one in enumerate(messages)]}

    async def in_input(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the fields of a request for a response, with the bytes of its files. Raises OpenAIError (404, 413)."""
        items = fields.get("input")
        if self._stores is None or not isinstance(items, list):
            return fields
        return {**fields, "input": [await self._item(one, f"input[{n}]") for n, one in enumerate(items)]}

    async def in_items(self, items: Sequence[Item], param: str) -> tuple[Item, ...]:
        """Return the items of a conversation with the bytes of their files. ``param`` is named in an error."""
        return tuple([await self._item(item, param, is_stored=True) for item in items])

    async def _message(self, message: Any, where: str) -> Any:
        parts = message.get("content") if isinstance(message, dict) else None
        if not isinstance(parts, list):
            return message
        changed = []
        for n, part in enumerate(parts):
            file = part.get("file") if isinstance(part, dict) and part.get("type") == "file" else None
            if isinstance(file, dict) and _id_in(file):
                part = {**part, "file": await self._named(file, f"{where}.content[{n}].file", "file_data")}
            changed.append(part)
        return {**message, "content": changed}

    async def _item(self, item: Any, where: str, *, is_stored: bool = False) -> Any:
        if not isinstance(item, dict):
            return item
        found = {}
        for name in ("content", "output"):
            parts = item.get(name)
            if not isinstance(parts, list):
                continue
            changed = []
            for n, part in enumerate(parts):
                into = _place(part)
                path = where if is_stored else f"{where}.{name}[{n}]"
                changed.append(part if into is None else await self._named(part, path, into, is_stored=is_stored))
            found[name] = changed
        return {**item, **found} if found else item

    async def _named(self, part: Part, where: str, into: str, *, is_stored: bool = False) -> Part:
        """Return a part with the bytes of the file that it names."""
        param = where if is_stored else f"{where}.file_id"
        file = await self._file(part["file_id"], param)
        # Of an image only the bytes count. Of a file the name and the type say whether it is text.
        media_type = "image/png" if into == "image_url" else file.media_type or "application/octet-stream"
        name = {} if into == "image_url" else {"filename": part.get("filename") or file.name}
        return {**part, **name, into: await self._url(file, media_type)}

    async def _file(self, id: str, param: str) -> StoredFile:
        """Return a file, and count its bytes for this mention."""
        file = self._found.get(id)
        if file is None:
            file = await self._stores.files.get(id, self._owner) if self._stores is not None else None
        if file is None:
            raise unknown_file(id, param)
        self._found[id] = file
        self._bytes += file.size
        if self._bytes > MAX_BYTES:
            raise OpenAIError(
                f"The files of this request have more than {MAX_BYTES} bytes, which is more than Claude's API accepts."
                " A file that is named several times counts several times.",
                status=413,
                param=param,
                code="request_too_large",
            )
        return file

    async def _url(self, file: StoredFile, media_type: str) -> str:
        """Return the bytes of a file as a data URL. All mentions share it."""
        key = file.id, media_type
        if key not in self._urls:
            data = await self._stores.files.read(file.id) if self._stores is not None else b""
            self._urls[key] = f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"
        return self._urls[key]


def without_bytes(items: Iterable[Item]) -> tuple[Item, ...]:
    """Return items as they are stored: of a file that a part names, the id alone."""
    return tuple(
        {
            **item,
            **{
                name: [_without(part) for part in item[name]]
                for name in ("content", "output")
                if isinstance(item.get(name), list)
            },
        }
        for item in items
    )


def _without(part: Any) -> Any:
    into = _place(part)
    return part if into is None else {name: value for name, value in part.items() if name != into}


def _place(part: Any) -> str | None:
    """Return the field for the bytes of the file that a part names. None if it names none."""
    if not isinstance(part, dict) or not _id_in(part) or part.get("file_url") is not None:
        return None
    kind = part.get("type")
    return BYTES_OF.get(kind) if isinstance(kind, str) else None


def _id_in(part: Part) -> bool:
    return isinstance(part.get("file_id"), str) and bool(part["file_id"])

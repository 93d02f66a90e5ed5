"""/v1/files and /v1/uploads: files that apps upload, whole or in parts."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from api.answer_headers import IGNORED_HEADER, JSON, common_headers
from api.http.multipart import field, read_form
from api.http.pagination import asked_of, listed, unknown_cursor
from api.http.responder import Responder
from api.request import ApiRequest
from storage.files import QuotaError, StoredFile
from storage.pagination import UnknownCursorError
from storage.stores import Stores
from storage.uploads import PartsError, TooManyUploadsError, Upload
from translate.chat.parameters import refuse_unknown
from translate.errors import OpenAIError
from translate.known_keys import below, report

PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
BATCH_S = 30 * 86_400.0
"""How long OpenAI keeps files for batches unless the app says otherwise. Other files stay until they are deleted."""

MIN_EXPIRY_S, MAX_EXPIRY_S = 3600, 30 * 86_400
MAX_FILE_BYTES = 512 * 1024 * 1024
MAX_NAME = 1000
MAX_MEDIA_TYPE = 255
MOST_LISTED = 10_000


async def create_file(stores: Stores, request: ApiRequest, exchange: Responder) -> None:
    """Store a file."""
    form = read_form(request.header("content-type") or "", request.http.body)
    file = form.get("file")
    if file is None:
        raise _missing("file")
    if file.filename is None:
        raise OpenAIError("Invalid type for 'file': expected a file.", param="file", code="invalid_type")
    purpose = _purpose(field(form, "purpose"))
    anchor, seconds = field(form, "expires_after[anchor]"), field(form, "expires_after[seconds]")
    policy = None if anchor is None and seconds is None else {"anchor": anchor, "seconds": _number(seconds)}
    try:
        made = await stores.files.put(
            *(request.identity.owner, _name(file.filename, "file"), file.data),
            purpose=purpose,
            media_type=_media_type(file.media_type, "file"),
            expires_s=expiry(policy, purpose),
        )
    except QuotaError as error:
        raise no_room(error) from error
    known = ("file", "purpose", "expires_after[anchor]", "expires_after[seconds]")
    await _respond(exchange, file_object(made), _ignored(form, known))


async def list_files(stores: Stores, request: ApiRequest, exchange: Responder) -> None:
    """List the client's files."""
    asked = asked_of(request.query, limit=MOST_LISTED, most=MOST_LISTED)
    try:
        page = await stores.files.list(
            request.identity.owner,
            after=asked.after,
            limit=asked.limit,
            order=asked.order,
            purpose=asked.others.get("purpose"),
        )
    except UnknownCursorError as error:
        raise unknown_cursor(error) from error
    body = listed([file_object(one) for one in page.data], has_more=page.has_more)
    await exchange.respond(200, [JSON, *common_headers()], body)


async def get_file(stores: Stores, request: ApiRequest, exchange: Responder) -> None:
    """Answer with a file's description."""
    await _respond(exchange, file_object(await _file(stores, request)))


async def get_content(stores: Stores, request: ApiRequest, exchange: Responder) -> None:
    """Answer with a file's bytes, piece by piece."""
    file = await _file(stores, request)
    headers = [
        ("content-type", "application/octet-stream"),
        ("content-disposition", "attachment"),
        ("content-length", str(file.size)),
        *common_headers(),
    ]
    await exchange.start(200, headers)
    sent = 0
    async for piece in stores.files.pieces(file.id):
        await exchange.send(piece)
        sent += len(piece)
    if sent < file.size:
        exchange.abort()  # it was deleted meanwhile
        return
    await exchange.finish()


async def delete_file(stores: Stores, request: ApiRequest, exchange: Responder) -> None:
    """Delete a file."""
    id = request.params["id"]
    if not await stores.files.delete(id, request.identity.owner):
        raise unknown_file(id)
    await _respond(exchange, {"id": id, "object": "file", "deleted": True})


# Uploads


async def create_upload(stores: Stores, request: ApiRequest, exchange: Responder) -> None:
    """Begin a file that comes in parts."""
    fields = request.json
    refuse_unknown(fields, ("bytes", "expires_after", "filename", "mime_type", "purpose"))
    size = fields.get("bytes")
    if size is None:
        raise _missing("bytes")
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= MAX_FILE_BYTES:
        raise OpenAIError(
            f"Invalid 'bytes': a number from 1 to {MAX_FILE_BYTES} is expected.", param="bytes", code="invalid_value"
        )
    purpose = _purpose(_text(fields, "purpose"))
    try:
        made = await stores.uploads.create(
            *(request.identity.owner, _name(_text(fields, "filename"), "filename"), size),
            purpose=purpose,
            media_type=_media_type(_text(fields, "mime_type"), "mime_type"),
            expires_s=expiry(fields.get("expires_after"), purpose),
        )
    except TooManyUploadsError as error:
        raise OpenAIError(str(error), status=429, type="requests", code="rate_limit_exceeded") from error
    await _respond(exchange, _upload_object(made, "pending"))


async def add_part(stores: Stores, request: ApiRequest, exchange: Responder) -> None:
    """Add a part to an upload."""
    id, owner = request.params["id"], request.identity.owner
    form = read_form(request.header("content-type") or "", request.http.body)
    if "data" not in form:
        raise _missing("data")
    data = form["data"].data
    upload = _there(await stores.uploads.get(id, owner), id)
    if await stores.uploads.size(id) + len(data) > upload.size:
        raise OpenAIError(
            f"The parts have more bytes than the {upload.size} that the upload was created for.",
            param="data",
            code="invalid_value",
        )
    try:
        part = _there(await stores.uploads.add(upload, owner, data), id)
    except QuotaError as error:
        raise no_room(error) from error
    body = {"id": part.id, "object": "upload.part", "created_at": int(part.created_at), "upload_id": id}
    await _respond(exchange, body, _ignored(form, ("data",)))


async def complete_upload(stores: Stores, request: ApiRequest, exchange: Responder) -> None:
    """Make a file of an upload's parts."""
    id, owner, fields = request.params["id"], request.identity.owner, request.json
    refuse_unknown(fields, ("part_ids", "md5"))
    parts, md5 = fields.get("part_ids"), fields.get("md5")
    if parts is None:
        raise _missing("part_ids")
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise OpenAIError(
            "Invalid type for 'part_ids': expected an array of strings.", param="part_ids", code="invalid_type"
        )
    if md5 is not None and not isinstance(md5, str):
        raise OpenAIError("Invalid type for 'md5': expected a string.", param="md5", code="invalid_type")
    upload = _there(await stores.uploads.get(id, owner), id)
    try:
        file = _there(await stores.uploads.complete(id, owner, parts, md5), id)
    except PartsError as error:
        raise OpenAIError(str(error), param=error.param, code="invalid_value") from error
    await _respond(exchange, {**_upload_object(upload, "completed"), "file": file_object(file)})


async def cancel_upload(stores: Stores, request: ApiRequest, exchange: Responder) -> None:
    """Delete an upload with its parts."""
    id = request.params["id"]
    upload = _there(await stores.uploads.cancel(id, request.identity.owner), id)
    await _respond(exchange, _upload_object(upload, "cancelled"))


# What several endpoints share


def file_object(file: StoredFile) -> dict[str, Any]:
    """Return a file in OpenAI's form."""
    expires = {} if file.expires_at is None else {"expires_at": int(file.expires_at)}
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size,
        "created_at": int(file.created_at),
        **expires,
        "filename": file.name,
        "purpose": file.purpose,
        "status": "processed",
    }


def expiry(policy: Any, purpose: str, param: str = "expires_after") -> float | None:
    """Return after how many seconds a file expires, by its ``expires_after``. None: never. Raises OpenAIError (400)."""
    if policy is None:
        return BATCH_S if purpose == "batch" else None
    if not isinstance(policy, Mapping):
        raise OpenAIError(f"Invalid type for '{param}': expected an object.", param=param, code="invalid_type")
    refuse_unknown(policy, ("anchor", "seconds"), param)
    if policy.get("anchor") != "created_at":
        raise OpenAIError(
            f"Invalid '{param}.anchor': 'created_at' is expected.", param=f"{param}.anchor", code="invalid_value"
        )
    seconds = policy.get("seconds")
    if not isinstance(seconds, int) or isinstance(seconds, bool) or not MIN_EXPIRY_S <= seconds <= MAX_EXPIRY_S:
        raise OpenAIError(
            f"Invalid '{param}.seconds': a number from {MIN_EXPIRY_S} to {MAX_EXPIRY_S} is expected.",
            param=f"{param}.seconds",
            code="invalid_value",
        )
    return float(seconds)


def unknown_file(id: str, param: str | None = None) -> OpenAIError:
    """Return what an app is told of a file that does not exist, or is another's."""
    return OpenAIError(f"No such File object: {id}", status=404, param=param or "id", code="file_not_found")


def no_room(error: QuotaError) -> OpenAIError:
    """Return what an app is told where there is no room for a file."""
    return OpenAIError(str(error), status=413, code="storage_limit_exceeded")


async def _file(stores: Stores, request: ApiRequest) -> StoredFile:
    id = request.params["id"]
    file = await stores.files.get(id, request.identity.owner)
    if file is None:
        raise unknown_file(id)
    return file


def _upload_object(upload: Upload, status: str) -> dict[str, Any]:
    return {
        "id": upload.id,
        "object": "upload",
        "bytes": upload.size,
        "created_at": int(upload.created_at),
        "expires_at": int(upload.expires_at),
        "filename": upload.name,
        "purpose": upload.purpose,
        "status": status,
    }


async def _respond(exchange: Responder, body: Any, more: Sequence[tuple[str, str]] = ()) -> None:
    await exchange.respond(200, [JSON, *common_headers(), *more], json.dumps(body).encode())


def _ignored(form: Mapping[str, Any], known: Sequence[str]) -> list[tuple[str, str]]:
    """Return the header that names the fields of a form that have no effect."""
    found = [below("", name) for name in form if name not in known]
    return [(IGNORED_HEADER, report(found))] if found else []


def _purpose(purpose: str | None) -> str:
    if purpose is None:
        raise _missing("purpose")
    if purpose not in PURPOSES:
        supported = ", ".join(map(repr, PURPOSES))
        raise OpenAIError(
            f"Invalid value: {purpose[:100]!r}. Supported values are: {supported}.",
            param="purpose",
            code="invalid_value",
        )
    return purpose


def _name(name: str, param: str) -> str:
    # A path would mean something to the program that saves the file.
    base = name.replace("\\", "/").rpartition("/")[2]
    if not base or len(base) > MAX_NAME:
        raise OpenAIError(
            f"Invalid '{param}': a name of up to {MAX_NAME} characters is expected.",
            param=param,
            code="invalid_value",
        )
    return base


def _media_type(media_type: str, param: str) -> str:
    if len(media_type) > MAX_MEDIA_TYPE:
        raise OpenAIError(
            f"Invalid '{param}': a media type of up to {MAX_MEDIA_TYPE} characters is expected.",
            param=param,
            code="invalid_value",
        )
    return media_type


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if value is None:
        raise _missing(name)
    if not isinstance(value, str):
        raise OpenAIError(f"Invalid type for '{name}': expected a string.", param=name, code="invalid_type")
    return value


def _number(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 10 else text


def _there[T](found: T | None, id: str) -> T:
    if found is None:
        raise OpenAIError(f"No such Upload object: {id}", status=404, param="id", code="upload_not_found")
    return found


def _missing(name: str) -> OpenAIError:
    return OpenAIError(f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter")

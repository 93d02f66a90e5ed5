"""/v1/batches: a batch is a file of many requests. :mod:`api.batch_runner` answers them when no other request waits."""

import json
from typing import Any

from api.answer_headers import JSON, common_headers
from api.endpoints.conversations import metadata_of
from api.endpoints.files import BATCH_S, expiry, unknown_file
from api.http.pagination import asked_of, listed, unknown_cursor
from api.http.responder import Responder
from api.parts import Batching
from api.request import ApiRequest
from storage.batches import Batch, TooManyError
from storage.pagination import UnknownCursorError
from storage.stores import Stores
from translate.chat.parameters import refuse_unknown
from translate.errors import OpenAIError

ENDPOINTS = ("/v1/chat/completions", "/v1/responses", "/v1/completions")
WINDOW = "24h"
FIELDS = ("endpoint", "completion_window", "input_file_id", "metadata", "output_expires_after")
"""The parameters of a new batch."""

TIMES = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
"""The states for which a batch has the time at which it entered them."""


async def create_batch(batching: Batching, request: ApiRequest, exchange: Responder) -> None:
    """Create a batch. The lines of its file are checked later."""
    stores, fields, owner = batching.stores, request.json, request.identity.owner
    refuse_unknown(fields, FIELDS)
    endpoint = _choice(fields.get("endpoint"), "endpoint", ENDPOINTS)
    _choice(fields.get("completion_window"), "completion_window", (WINDOW,))
    id = fields.get("input_file_id")
    if not isinstance(id, str) or not id:
        raise _missing("input_file_id") if id is None else _invalid("input_file_id", "a file's id is expected")
    file = await stores.files.get(id, owner)
    if file is None:
        raise unknown_file(id, "input_file_id")
    if file.purpose != "batch":
        raise _invalid("input_file_id", f"a file with the purpose 'batch' is expected, and not {file.purpose!r}")
    policy = fields.get("output_expires_after")
    try:
        batch = await stores.batches.create(
            owner,
            endpoint=endpoint,
            input_file_id=id,
            client_id=batching.client_id,
            client=request.identity.client,
            metadata=metadata_of(fields) if fields.get("metadata") is not None else None,
            output_expires_s=BATCH_S if policy is None else expiry(policy, "batch_output", "output_expires_after"),
        )
    except TooManyError as error:
        raise OpenAIError(str(error), status=429, type="requests", code="rate_limit_exceeded") from error
    await _respond(exchange, batch_object(batch))


async def list_batches(stores: Stores, request: ApiRequest, exchange: Responder) -> None:
    """List the client's batches, the newest first."""
    asked = asked_of(request.query)
    try:
        page = await stores.batches.list(request.identity.owner, after=asked.after, limit=asked.limit)
    except UnknownCursorError as error:
        raise unknown_cursor(error) from error
    body = listed([batch_object(one) for one in page.data], has_more=page.has_more)
    await exchange.respond(200, [JSON, *common_headers()], body)


async def get_batch(stores: Stores, request: ApiRequest, exchange: Responder) -> None:
    """Answer with a batch."""
    id = request.params["id"]
    await _respond(exchange, batch_object(_there(await stores.batches.get(id, request.identity.owner), id)))


async def cancel_batch(stores: Stores, request: ApiRequest, exchange: Responder) -> None:
    """Cancel a batch: no more lines begin. Raises OpenAIError (409) if the batch has ended."""
    id = request.params["id"]
    batch = _there(await stores.batches.cancel(id, request.identity.owner), id)
    if batch.status not in ("cancelling", "cancelled"):
        raise OpenAIError(f"Cannot cancel a batch with status '{batch.status}'.", status=409, code="invalid_status")
    await _respond(exchange, batch_object(batch))


def batch_object(batch: Batch) -> dict[str, Any]:
    """Return a batch in OpenAI's form. Fields without a value are left out if OpenAI's document does not allow null."""
    times = {f"{name}_at": int(batch.times[f"{name}_at"]) for name in TIMES if f"{name}_at" in batch.times}
    optional = {
        "output_file_id": batch.output_file_id,
        "error_file_id": batch.error_file_id,
        "errors": {"object": "list", "data": list(batch.errors)} if batch.errors else None,
        "model": batch.model,
        "usage": batch.usage,
    }
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "input_file_id": batch.input_file_id,
        "completion_window": WINDOW,
        "status": batch.status,
        "created_at": int(batch.created_at),
        "expires_at": int(batch.expires_at),
        **times,
        "request_counts": {"total": batch.total, "completed": batch.completed, "failed": batch.failed},
        "metadata": batch.metadata,
        **{name: value for name, value in optional.items() if value is not None},
    }


async def _respond(exchange: Responder, body: Any) -> None:
    await exchange.respond(200, [JSON, *common_headers()], json.dumps(body).encode())


def _choice(value: Any, name: str, choices: tuple[str, ...]) -> str:
    if value is None:
        raise _missing(name)
    if value not in choices:
        raise _invalid(name, f"supported here: {', '.join(map(repr, choices))}")
    return str(value)


def _there(batch: Batch | None, id: str) -> Batch:
    if batch is None:
        raise OpenAIError(f"No batch found with id '{id}'.", status=404, param="id", code="batch_not_found")
    return batch


def _missing(name: str) -> OpenAIError:
    return OpenAIError(f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter")


def _invalid(name: str, why: str) -> OpenAIError:
    return OpenAIError(f"Invalid '{name}': {why}.", param=name, code="invalid_value")

"""POST /v1/responses/compact: a conversation in, what the app can go on with instead of it out."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from api.answer_headers import JSON
from api.endpoints.responses import events_of, prepare
from api.failures import as_openai
from api.http.responder import Responder
from api.parts import Responding
from api.request import ApiRequest
from engine import ClaudeError
from storage.item_ids import asked_id
from translate.chat.parameters import refuse_unknown
from translate.errors import OpenAIError
from translate.responses.compaction import TRIGGER, compacted
from translate.responses.fold import fold

FIELDS = (
    *("model", "input", "previous_response_id", "instructions", "service_tier"),
    *("prompt_cache_key", "prompt_cache_retention", "prompt_cache_options"),
)
"""The fields of ``CompactResponseMethodPublicBody``, each with the fate that it has in a response's request."""


async def compact_response(responding: Responding, request: ApiRequest, exchange: Responder) -> None:
    """Answer one request. Raises OpenAIError."""
    prepared = await prepare(responding, request.with_json(_asking(request.json)))
    try:
        async with responding.turns.engine.run(prepared.turn) as running:
            events = [event async for more in events_of(running, prepared.stream) for event in more]
            headers = prepared.headers(process=running.process, retries=running.retries)
    except ClaudeError as error:
        raise as_openai(error, "input") from error
    response = fold(events)
    if response.status != "completed":
        raise OpenAIError("The conversation could not be summed up.", status=500, type="server_error")
    said = (*prepared.before, *prepared.translated.items)[:-1]
    asked = [item if item.get("id") else {**item, "id": asked_id(prepared.id, n)} for n, item in enumerate(said)]
    body = {
        "id": prepared.id,
        "object": "response.compaction",
        "created_at": int(prepared.created_at),
        "output": compacted(asked, response.output),
        "usage": msgspec.to_builtins(response.usage),
    }
    await exchange.respond(200, [JSON, *headers], json.dumps(body).encode())


def _asking(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the request for a response that compacts. Raises OpenAIError (400)."""
    refuse_unknown(fields, FIELDS)
    given = fields.get("input")
    if isinstance(given, str):
        given = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": given}]}]
    if given is not None and not isinstance(given, list):
        raise OpenAIError(
            "Invalid type for 'input': expected a string or an array.", param="input", code="invalid_type"
        )
    return {**fields, "input": [*(given or []), {"type": TRIGGER}], "store": False}

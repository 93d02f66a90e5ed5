"""POST /v1/responses/input_tokens: how many input tokens a response would have. No answer is made."""

import json
from collections.abc import Mapping
from typing import Any

from api.answer_headers import JSON, headers_of_answer
from api.endpoints.responses import Prepared, prepare
from api.failures import as_openai
from api.http.responder import Responder
from api.parts import Responding
from api.request import ApiRequest
from auth.keys.estimates import input_tokens
from engine import ClaudeError
from engine.aside import aside
from translate.turn import turn_weight

ESTIMATE_HEADER = "x-understudy-estimate"
"""Names the fields of an answer that are estimates."""

OWN_FIELDS = frozenset({"personality"})
"""The fields of ``TokenCountsBody`` that ``CreateResponse`` lacks. They have no effect on a Claude model."""


async def count_input_tokens(responding: Responding, request: ApiRequest, exchange: Responder) -> None:
    """Count the input of a request. Raises OpenAIError for a request that would not be answered.

    The count is exact if the credentials may count tokens. Otherwise it is an estimate, and a header says so.
    """
    fields = request.json
    prepared = await prepare(responding, request.with_json(_asking(fields, responding)))
    try:
        tokens = await _count(responding, prepared)
    except ClaudeError as error:
        raise as_openai(error, "input") from error
    ignored = [*prepared.translated.ignored, *(name for name in fields if name in OWN_FIELDS)]
    headers = headers_of_answer(
        rehearsal=prepared.rehearsal,
        model=prepared.translated.turn.model,
        processes=None,
        retries=0,
        ignored=ignored,
    )
    if tokens is None:
        tokens = await aside(turn_weight(prepared.turn), input_tokens, prepared.turn)
        headers.append((ESTIMATE_HEADER, "input_tokens"))
    body = {"object": "response.input_tokens", "input_tokens": tokens}
    await exchange.respond(200, [JSON, *headers], json.dumps(body).encode())


async def _count(responding: Responding, prepared: Prepared) -> int | None:
    turns = responding.turns
    # What an agent asks beside the app's input is known to Claude Code alone.
    if turns.count_tokens is None or turns.agent is not None:
        return None
    return await turns.count_tokens(prepared.turn)


def _asking(fields: Mapping[str, Any], responding: Responding) -> dict[str, Any]:
    """Return the fields of the request for the response. OpenAI requires a model there, but not here."""
    asked = {name: value for name, value in fields.items() if name not in OWN_FIELDS}
    if asked.get("model") is None:
        asked["model"] = responding.turns.default_model
    return asked

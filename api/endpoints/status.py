"""What the proxy is doing, and what it can be told: GET /understudy/status, POST /understudy/record."""

import json

from api.answer_headers import JSON
from api.http.responder import Responder
from api.parts import Status
from api.request import ApiRequest
from cassettes.record.record import CassetteError
from translate.errors import OpenAIError

STATUS_PATH = "/understudy/status"
RECORD_PATH = "/understudy/record"

RECORD_HEADER = "x-understudy-record"
"""``start`` or ``stop``. A header of its own, because no web page can send one to a stranger unasked."""


async def get_status(status: Status, request: ApiRequest, exchange: Responder) -> None:
    """Answer with the engine's state as JSON. It holds numbers and names, nothing of any conversation."""
    state = {
        "rehearsal": status.rehearsal,
        "used": status.totals.status(),
        **status.engine.status(),
        **status.more(),
    }
    await exchange.respond(200, [JSON, ("cache-control", "no-store")], json.dumps(state, indent=2).encode() + b"\n")


async def switch_recording(status: Status, request: ApiRequest, exchange: Responder) -> None:
    """Start or stop recording, and answer as :func:`get_status` does. Where to, the operator has said.

    Raises OpenAIError: 400 for neither, 403 where recording is not the asker's to switch.
    """
    wish = request.header(RECORD_HEADER)
    if wish not in ("start", "stop"):
        raise OpenAIError(f"The header {RECORD_HEADER} must be start or stop.", code="invalid_header")
    if status.record is None:
        # A key gives access to Claude, but not to the requests of other clients, which a recording would hold.
        raise OpenAIError("Recording is switched by the operator of this proxy.", status=403, code="forbidden")
    try:
        status.record(wish == "start")
    except CassetteError as error:
        raise OpenAIError(str(error), status=409, code="cannot_record") from error
    await get_status(status, request, exchange)

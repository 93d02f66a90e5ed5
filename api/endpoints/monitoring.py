"""For those who watch: whether we live, whether there are credentials; and traces, which nobody here watches."""

import json

from api.answer_headers import JSON
from api.http.responder import Responder
from api.parts import Status
from api.request import ApiRequest


async def get_health(status: Status, request: ApiRequest, exchange: Responder) -> None:
    """Say that requests are answered; while the proxy ends, they are refused with 503, and so is this."""
    body = {"status": "ok", "rehearsal": status.rehearsal}
    await exchange.respond(200, [JSON, ("cache-control", "no-store")], json.dumps(body).encode())


async def get_auth_status(status: Status, request: ApiRequest, exchange: Responder) -> None:
    """Say which kind of credentials Claude Code gets, never which ones. Whether they work only a turn can tell."""
    body = {"rehearsal": status.rehearsal, **status.credentials}
    await exchange.respond(200, [JSON, ("cache-control", "no-store")], json.dumps(body).encode())


async def take_traces(status: Status, request: ApiRequest, exchange: Responder) -> None:
    """Take the traces that OpenAI's agents library sends unless told not to, and keep nothing of them."""
    await exchange.respond(204, [], b"")

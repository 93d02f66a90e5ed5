"""For those who watch: whether we live, whether there are credentials; and traces, which nobody here watches."""

import json

from api.app import JSON, Service
from api.http.server import Exchange, Request


async def get_health(service: Service, request: Request, exchange: Exchange) -> None:
    """Say that requests are answered; while the proxy ends, they are refused with 503, and so is this."""
    body = {"status": "ok", "rehearsal": service.rehearsal}
    await exchange.respond(200, [JSON, ("cache-control", "no-store")], json.dumps(body).encode())


async def get_auth_status(service: Service, request: Request, exchange: Exchange) -> None:
    """Say which kind of credentials Claude Code gets, never which ones. Whether they work only a turn can tell."""
    body = {"rehearsal": service.rehearsal, **service.about_auth()}
    await exchange.respond(200, [JSON, ("cache-control", "no-store")], json.dumps(body).encode())


async def take_traces(service: Service, request: Request, exchange: Exchange) -> None:
    """Take the traces that OpenAI's agents library sends unless told not to, and keep nothing of them."""
    await exchange.respond(204, [], b"")

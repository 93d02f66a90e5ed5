"""GET /understudy/status: what runs, what waits, and how turns came by their processes."""

import json

from origin.app import JSON, Service
from origin.server import Exchange, Request

STATUS_PATH = "/understudy/status"


async def get_status(service: Service, request: Request, exchange: Exchange) -> None:
    """Answer with the engine's state as JSON. It holds numbers and names, nothing of any conversation."""
    state = {"rehearsal": service.rehearsal, **service.engine.status()}
    await exchange.respond(200, [JSON, ("cache-control", "no-store")], json.dumps(state, indent=2).encode() + b"\n")

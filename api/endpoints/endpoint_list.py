"""GET /v1: the endpoints that are answered."""

import json
import re
from collections.abc import Awaitable, Callable, Sequence

from api.answer_headers import JSON, common_headers
from api.app import Call, CallRoute


def endpoint_list(routes: Sequence[CallRoute]) -> Callable[[Call], Awaitable[None]]:
    """Return the endpoint that lists ``routes``: ``{"object": "list", "data": [{"method": …, "path": …}, …]}``.

    In a path ``{id}`` stands for what an app fills in. The list is written for a person to read: one route a line.
    """
    rows = [{"method": route.method, "path": shown(route.path)} for route in routes]
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    body = f'{{"object": "list", "data": [\n{lines}\n]}}\n'.encode()

    async def list_endpoints(call: Call) -> None:
        await call.exchange.respond(200, [JSON, *common_headers()], body)

    return list_endpoints


def shown(path: str) -> str:
    """Return a route's path with ``{id}`` for each of its parameters."""
    return re.sub(r"\{[^}]*\}", "{id}", path)

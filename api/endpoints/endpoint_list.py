"""GET /v1: the endpoints that are answered."""

import json
from collections.abc import Sequence

from api.app import JSON, Endpoint, Route, Service, common_headers
from api.http.server import Exchange, Request


def endpoint_list(routes: Sequence[Route]) -> Endpoint:
    """Return the endpoint that lists ``routes``: ``{"object": "list", "data": [{"method": …, "path": …}, …]}``.

    In a path ``{id}`` stands for what an app fills in. The list is written for a person to read: one route a line.
    """
    rows = [{"method": route.method, "path": shown(route.path)} for route in routes]
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    body = f'{{"object": "list", "data": [\n{lines}\n]}}\n'.encode()

    async def list_endpoints(service: Service, request: Request, exchange: Exchange) -> None:
        await exchange.respond(200, [JSON, *common_headers()], body)

    return list_endpoints


def shown(path: str) -> str:
    """Return a route's path with ``{id}`` for its stars."""
    return path.replace("**", "*").replace("*", "{id}")

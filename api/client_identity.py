"""Who asks: what tells one client from another, and whose things are whose."""

import hashlib

from api.access import KEY_HEADER, bearer
from api.app import CLIENT_HEADER, Service
from api.http.server import Request


def client_timeout_s(request: Request) -> float | None:
    """Return how long the client will wait, which OpenAI's SDKs tell in ``x-stainless-timeout`` (seconds), or None."""
    try:
        seconds = float(request.header("x-stainless-timeout") or "")
    except ValueError:
        return None
    return seconds if 0 < seconds < float("inf") else None


def client_of(service: Service, request: Request) -> str:
    """Return what tells one client from another, for fairness (:mod:`engine.places`): ``owner/app``, not to be read.

    The owner is the key where keys are asked for, else the address. What a client says of itself, without that anybody
    looks at it, only tells its own apps apart.
    """
    key = (request.header(KEY_HEADER) or bearer(request)) if service.access is not None else ""
    owner = _digest("client", key or request.header(CLIENT_HEADER) or "")
    return f"{owner}/{_digest('app', bearer(request), request.header('user-agent') or '')}"


def owner_of(request: Request) -> str:
    """Return whose things a request may refer to: those that were made with the same key, from wherever."""
    return _digest("owner", request.header(KEY_HEADER) or bearer(request))


def _digest(*told: str) -> str:
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]

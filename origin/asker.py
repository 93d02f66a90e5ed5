"""Who asks: what tells one client from another, and whose things are whose."""

import hashlib

from origin.access import KEY_HEADER, bearer
from origin.app import CLIENT_HEADER
from origin.server import Request


def client_timeout_s(request: Request) -> float | None:
    """Return how long the client will wait, which OpenAI's SDKs tell in ``x-stainless-timeout`` (seconds), or None."""
    try:
        seconds = float(request.header("x-stainless-timeout") or "")
    except ValueError:
        return None
    return seconds if 0 < seconds < float("inf") else None


def client_of(request: Request) -> str:
    """Return what tells one client from another, for fairness: its address, its key and its name, not to be read."""
    told = [request.header(name) or "" for name in (CLIENT_HEADER, KEY_HEADER, "authorization", "user-agent")]
    return _digest("client", *told)


def owner_of(request: Request) -> str:
    """Return whose things a request may refer to: those that were made with the same key, from wherever."""
    return _digest("owner", request.header(KEY_HEADER) or bearer(request))


def _digest(*told: str) -> str:
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]

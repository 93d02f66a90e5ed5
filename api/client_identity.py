"""Who asks: what tells one client from another, and whose things are whose."""

import hashlib
from dataclasses import dataclass

from api.access import KEY_HEADER, bearer
from api.http.server import Request

CLIENT_HEADER = "x-understudy-client"
"""Where the proxy's addon says from which address a request came: to the origin all come from the proxy."""


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """Who asks, as digests that cannot be read.

    ``owner``: whose stored things a request may refer to: those that were made with the same key, from wherever.
    ``client``: ``owner/app``, which tells one client from another, for fairness (:mod:`engine.places`). Here the owner
    is the key where keys are asked for, else the address. Nobody checks what a client says of itself, so that only
    tells its own apps apart.
    ``timeout_s``: how long the client will wait, which OpenAI's SDKs tell in ``x-stainless-timeout``; None: not told.
    """

    owner: str
    client: str
    timeout_s: float | None


def identity_of(request: Request, *, by_key: bool) -> ClientIdentity:
    """Return who asks. ``by_key``: keys are asked for."""
    own = bearer(request)
    key = request.header(KEY_HEADER) or own
    client = _digest("client", (key if by_key else "") or request.header(CLIENT_HEADER) or "")
    app = _digest("app", own, request.header("user-agent") or "")
    return ClientIdentity(_digest("owner", key), f"{client}/{app}", _timeout_s(request))


def _timeout_s(request: Request) -> float | None:
    try:
        seconds = float(request.header("x-stainless-timeout") or "")
    except ValueError:
        return None
    return seconds if 0 < seconds < float("inf") else None


def _digest(*told: str) -> str:
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]

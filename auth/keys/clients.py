"""The API keys of the proxy's clients, and what each key allows.

A key has the form ``sk-understudy-<id>-<43 characters>``. The id is not secret. It is the primary key of the key's row,
so a check reads one row and compares one digest. The 43 characters are 256 random bits from the operating system. The
database stores only the SHA-256 of the whole key. A slow hash protects passwords, which can be guessed. 256 random bits
cannot be guessed, and a slow hash would delay every request.

Nothing is cached between requests. So a revocation takes effect with the next request, in every proxy that shares the
database. The cost is one read by primary key per request.
"""

import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update
from sqlalchemy.exc import IntegrityError

from auth.keys.limits import Budget, dollars, nanodollars
from storage.database import Database
from storage.tables import clients

PREFIX = "sk-understudy"
FORM = re.compile(rf"{PREFIX}-(?P<id>[0-9a-f]{{16}})-[A-Za-z0-9_-]{{43}}")
SECRET_BYTES = 32
MAX_NAME = 100

# The digest to compare with if there is no row. So an unknown id takes the same steps as a wrong secret.
NOBODY = "0" * 64


class ClientError(Exception):
    """A key cannot be made or found. The message says why, and contains no secret."""


@dataclass(frozen=True, slots=True)
class Client:
    """A key without its secret. Times are in Unix seconds.

    ``models`` and ``agents`` are patterns of names. Empty ``models`` allow all models, empty ``agents`` allow none.
    """

    id: str
    name: str
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    budget: Budget
    models: tuple[str, ...]
    agents: tuple[str, ...]

    def valid_at(self, now: float) -> bool:
        """Whether the key is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def may_use_model(self, name: str) -> bool:
        """Whether a model's name matches one of ``models``, or ``models`` is empty. Uses fnmatch, ignoring case."""
        return not self.models or _fits(name, self.models)

    def may_use_agent(self, name: str) -> bool:
        """Whether an agent's name matches one of ``agents``. Uses fnmatch, ignoring case."""
        return _fits(name, self.agents)


class Clients:
    """The keys in a database. The methods for the command line block. :meth:`check`, for requests, does not."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def make(
        self,
        name: str,
        *,
        expires_at: float | None = None,
        budget: Budget | None = None,
        models: Sequence[str] = (),
        agents: Sequence[str] = (),
    ) -> str:
        """Make a key and return it with its secret, which cannot be read again later. Blocks.

        Raises ClientError if the name is invalid, if another key that is not revoked has it, or if a model's or
        agent's name is empty.
        """
        if not name.strip() or name != name.strip() or len(name) > MAX_NAME or not name.isprintable():
            raise ClientError(f"a key's name is up to {MAX_NAME} characters that can be printed, without blanks around")
        if not all((*models, *agents)):
            raise ClientError("a model's or agent's name cannot be empty")
        budget = budget or Budget()
        id = secrets.token_hex(8)
        secret = f"{PREFIX}-{id}-{secrets.token_urlsafe(SECRET_BYTES)}"
        row = {
            "id": id,
            "name": name,
            "secret_sha256": _digest(secret),
            "created_at": self._clock(),
            "expires_at": expires_at,
            "models": json.dumps(list(models)),
            "agents": json.dumps(list(agents)),
            "requests_per_minute": budget.requests_per_minute,
            "tokens_per_minute": budget.tokens_per_minute,
            "concurrent": budget.concurrent,
            "nanodollars_per_day": nanodollars(budget.usd_per_day),
            "nanodollars_total": nanodollars(budget.usd_total),
        }
        try:
            self._database.write(lambda connection: connection.execute(insert(clients).values(row)) and None)
        except IntegrityError:
            raise ClientError(f"there is a key named {name!r} already; revoke it first, or take another name") from None
        return secret

    def list(self) -> list[Client]:
        """Return every key, including revoked ones, from oldest to newest. Blocks."""
        query = select(clients).order_by(clients.c.created_at, clients.c.id)
        return [_client(row) for row in self._database.read(lambda connection: connection.execute(query).all())]

    def revoke(self, name: str) -> Client:
        """Revoke a key for ever and return it. Its running requests go on. Blocks.

        Raises ClientError if no key has this name, or only revoked ones do.
        """

        def work(connection: Connection) -> Row[Any] | None:
            named = (clients.c.name == name) & clients.c.revoked_at.is_(None)
            return connection.execute(
                update(clients).where(named).values(revoked_at=self._clock()).returning(clients)
            ).one_or_none()

        row = self._database.write(work)
        if row is None:
            raise ClientError(f"there is no key named {name!r} that is not revoked already")
        return _client(row)

    async def check(self, secret: str) -> Client | None:
        """Return the client of a key, None if the key is unknown, expired or revoked. Raises StoreError."""
        given = _digest(secret)
        form = FORM.fullmatch(secret)
        query = select(clients).where(clients.c.id == (form["id"] if form else ""))
        row = await self._database.aread(lambda connection: connection.execute(query).one_or_none())
        if not hmac.compare_digest(given, NOBODY if row is None else row.secret_sha256) or row is None:
            return None
        client = _client(row)
        return client if client.valid_at(self._clock()) else None

    async def get(self, id: str) -> Client | None:
        """Return the client of a key by the key's id, None if it is unknown, expired or revoked. Raises StoreError."""
        query = select(clients).where(clients.c.id == id)
        row = await self._database.aread(lambda connection: connection.execute(query).one_or_none())
        client = None if row is None else _client(row)
        return client if client is not None and client.valid_at(self._clock()) else None


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns)


def _client(row: Row[Any]) -> Client:
    return Client(
        id=row.id,
        name=row.name,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        budget=Budget(
            requests_per_minute=row.requests_per_minute,
            tokens_per_minute=row.tokens_per_minute,
            concurrent=row.concurrent,
            usd_per_day=dollars(row.nanodollars_per_day),
            usd_total=dollars(row.nanodollars_total),
        ),
        models=tuple(json.loads(row.models)),
        agents=tuple(json.loads(row.agents)),
    )

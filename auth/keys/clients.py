"""Who may use the proxy: keys that a person hands out, and what each may do.

A key is ``sk-understudy-<id>-<43 characters>``. The id is not secret: it finds the row, so that one row is read and
one digest compared. The rest is 256 bits from the system's generator, of which the database has only a SHA-256. A slow
hash would be for passwords, which people choose and others guess; nobody guesses 256 bits, and every request pays.

Nothing is remembered between requests, so a revocation holds from the next one on, in every proxy that shares the
database. The price is reading one row by its primary key.
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

# Compared with where there is no row, so that an id that nobody has takes the same steps as a wrong secret.
NOBODY = "0" * 64


class ClientError(Exception):
    """A key cannot be made or found. The message says why, and holds no secret."""


@dataclass(frozen=True, slots=True)
class Client:
    """A key, without its secret. Times are Unix seconds. Empty ``models`` allow all models, empty ``agents`` none."""

    id: str
    name: str
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    budget: Budget
    models: tuple[str, ...]
    agents: tuple[str, ...]

    def valid_at(self, now: float) -> bool:
        """Whether the key is neither revoked nor past its time."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def may_use_model(self, name: str) -> bool:
        """Whether a model's name fits one of ``models`` (fnmatch's patterns, in any case of letters)."""
        return not self.models or _fits(name, self.models)

    def may_use_agent(self, name: str) -> bool:
        """Whether an agent's name fits one of ``agents``, which are patterns as those of models."""
        return _fits(name, self.agents)


class Clients:
    """The keys in a database. What is for the command line blocks; what a request needs does not."""

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
        """Make a key and return its secret, which nobody can be told again. Blocks.

        Raises ClientError if the name cannot be one or a key that is not revoked has it.
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
        """Return every key, revoked ones too, the oldest first. Blocks."""
        query = select(clients).order_by(clients.c.created_at, clients.c.id)
        return [_client(row) for row in self._database.read(lambda connection: connection.execute(query).all())]

    def revoke(self, name: str) -> Client:
        """Take a key away for good and return it. What it has running is not cut. Blocks. Raises ClientError."""

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
        """Return whose key this is, None if it is nobody's, expired or revoked. Raises StoreError."""
        given = _digest(secret)
        form = FORM.fullmatch(secret)
        query = select(clients).where(clients.c.id == (form["id"] if form else ""))
        row = await self._database.aread(lambda connection: connection.execute(query).one_or_none())
        if not hmac.compare_digest(given, NOBODY if row is None else row.secret_sha256) or row is None:
            return None
        client = _client(row)
        return client if client.valid_at(self._clock()) else None


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

"""A key opens for whoever has its secret, until it is revoked or past its time: on both kinds of database."""

import asyncio
import hmac
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event, select

from auth.keys.clients import FORM, ClientError, Clients
from auth.keys.limits import Budget
from storage.database import Database
from storage.tables import clients as table

pytestmark = pytest.mark.anyio

# The secret is whole, and of nobody.
STRANGER = f"sk-understudy-{'0' * 16}-{'A' * 43}"


class Clock:
    """A time that a test sets."""

    def __init__(self) -> None:
        self.now = 1_763_683_200.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def clients(database: Database, clock: Clock) -> Clients:
    return Clients(database, clock=clock)


def other_secret(secret: str) -> str:
    """Return a secret with the same id that differs in its last character."""
    return secret[:-1] + ("A" if secret[-1] != "A" else "B")


async def test_a_key_opens_for_its_secret_and_says_what_it_may(clients: Clients, clock: Clock) -> None:
    budget = Budget(10, 20_000, 2, 1.5, 20)
    secret = clients.make("alice", expires_at=clock.now + 60, budget=budget, models=["gpt-4*"], agents=["reviewer"])

    client = await clients.check(secret)

    assert client
    assert (client.name, client.budget, client.models, client.agents) == ("alice", budget, ("gpt-4*",), ("reviewer",))
    assert (client.created_at, client.expires_at, client.revoked_at) == (clock.now, clock.now + 60, None)


async def test_a_key_has_no_limits_unless_it_is_given_some(clients: Clients) -> None:
    client = await clients.check(clients.make("alice"))

    assert client
    assert (client.budget, client.models, client.agents, client.expires_at) == (Budget(), (), (), None)


def test_every_secret_is_another_and_has_the_form(clients: Clients) -> None:
    made = [clients.make(f"key {n}") for n in range(20)]

    assert len({secret[-43:] for secret in made}) == len({secret.split("-")[2] for secret in made}) == 20
    assert all(FORM.fullmatch(secret) for secret in made)


async def test_the_database_holds_no_secret(clients: Clients, database: Database) -> None:
    secret = clients.make("alice")
    rows = database.read(lambda connection: connection.execute(select(table)).all())

    assert secret[-43:] not in repr(rows)
    assert secret[-43:] not in repr(await clients.check(secret))


@pytest.mark.parametrize(
    "secret",
    [
        pytest.param("", id="nothing"),
        pytest.param(STRANGER, id="an id that nobody has"),
        pytest.param("sk-proj-0123456789abcdef", id="a key of another kind"),
        pytest.param("sk-understudy-' OR 1=1 --", id="an attempt"),
        pytest.param("sk-understudy-\x00\ud800é", id="no text"),
        pytest.param(f"{STRANGER}\n", id="a line too many"),
    ],
)
async def test_an_invalid_secret_is_rejected(clients: Clients, secret: str) -> None:
    clients.make("alice")

    assert await clients.check(secret) is None


async def test_a_wrong_secret_with_a_known_id_is_refused(clients: Clients) -> None:
    secret = clients.make("alice")

    assert await clients.check(other_secret(secret)) is None
    assert await clients.check(secret)


async def test_a_secret_does_not_open_with_the_id_of_another(clients: Clients) -> None:
    alice, bob = clients.make("alice"), clients.make("bob")

    assert await clients.check(alice[:-43] + bob[-43:]) is None


async def test_a_key_is_refused_from_the_moment_that_it_expires(clients: Clients, clock: Clock) -> None:
    secret = clients.make("alice", expires_at=clock.now + 60)
    clock.now += 59.9
    before = await clients.check(secret)
    clock.now += 0.1

    assert before
    assert await clients.check(secret) is None


async def test_a_revoked_key_is_refused_at_once_in_every_proxy(clients: Clients, database_url: str) -> None:
    secret = clients.make("alice")
    with Database.open(database_url) as database_of_another:
        another = Clients(database_of_another)
        before = await another.check(secret), await clients.check(secret)
        clients.revoke("alice")

        assert all(before)
        assert await another.check(secret) is None
        assert await clients.check(secret) is None


class Work:
    """Counts what a check makes the program do."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self.compared: list[int] = []


@pytest.fixture
def work(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    work = Work()

    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        work.statements.append(statement)

    def compare(one: str, other: str) -> bool:
        work.compared.append(len(one) + len(other))
        return compare_digest(one, other)

    compare_digest = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", compare)
    engine = database._engine
    event.listen(engine, "before_cursor_execute", count)
    yield work
    event.remove(engine, "before_cursor_execute", count)


async def test_an_unknown_id_takes_the_same_work_as_a_wrong_secret(clients: Clients, work: Work) -> None:
    secret = clients.make("alice")
    done = []
    for tried in (STRANGER, other_secret(secret), "sk-proj-0123456789abcdef"):
        work.statements.clear()
        work.compared.clear()
        assert await clients.check(tried) is None
        done.append((list(work.statements), list(work.compared)))

    assert done[0] == done[1] == done[2]
    assert done[0][1] == [128]  # two digests of SHA-256 in hexadecimal, compared whole


def test_a_name_is_one_keys_until_that_is_revoked(clients: Clients, clock: Clock) -> None:
    first = clients.make("alice")
    with pytest.raises(ClientError, match="'alice' already"):
        clients.make("alice")
    revoked = clients.revoke("alice")
    clock.now += 1
    second = clients.make("alice")

    assert first != second
    assert revoked.revoked_at is not None
    assert [(client.name, client.revoked_at is None) for client in clients.list()] == [
        ("alice", False),
        ("alice", True),
    ]


async def test_only_one_of_several_concurrent_keys_with_one_name_is_made(clients: Clients) -> None:
    made = await asyncio.gather(*(asyncio.to_thread(clients.make, "alice") for _ in range(8)), return_exceptions=True)

    assert sum(isinstance(one, str) for one in made) == 1
    assert sum(isinstance(one, ClientError) for one in made) == 7


def test_revoking_what_is_not_there_is_an_error(clients: Clients) -> None:
    clients.make("alice")
    clients.revoke("alice")

    with pytest.raises(ClientError, match="'alice'"):
        clients.revoke("alice")
    with pytest.raises(ClientError, match="'bob'"):
        clients.revoke("bob")


@pytest.mark.parametrize("name", ["", "  ", " alice", "alice\n", "al\x1b[31mice", "a" * 101])
def test_a_name_is_something_to_read(clients: Clients, name: str) -> None:
    with pytest.raises(ClientError, match="name"):
        clients.make(name)


def test_an_empty_pattern_would_allow_nothing_that_has_a_name(clients: Clients) -> None:
    with pytest.raises(ClientError, match="empty"):
        clients.make("alice", models=[""])


async def test_a_key_may_use_what_its_patterns_name(clients: Clients, clock: Clock) -> None:
    client = await clients.check(clients.make("alice", models=["gpt-4*", "o3"], agents=["Reviewer"]))

    assert client
    assert [client.may_use_model(name) for name in ("gpt-4o", "GPT-4.1", "o3", "o3-mini", "gpt-5")] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert client.may_use_agent("reviewer")
    assert not client.may_use_agent("writer")


async def test_a_key_without_patterns_may_use_every_model_and_no_agent(clients: Clients) -> None:
    client = await clients.check(clients.make("alice"))

    assert client and client.may_use_model("gpt-4o")
    assert not client.may_use_agent("reviewer")


def test_keys_are_listed_the_oldest_first(clients: Clients, clock: Clock) -> None:
    for name in ("zoe", "adam", "mia"):
        clients.make(name)
        clock.now += 1

    assert [client.name for client in clients.list()] == ["zoe", "adam", "mia"]

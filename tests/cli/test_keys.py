"""`understudy keys`, as a person types it."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from auth.keys.budgets import Budgets
from auth.keys.clients import FORM, Client, Clients
from auth.keys.limits import Budget
from cli.keys import keys_command, seconds
from storage.database import Database, StoreError

type Keys = Callable[..., Result]


@pytest.fixture
def keys(database_url: str) -> Keys:
    """Runs the command. The console is wide, so that no table is folded."""
    app = keys_command(lambda: Database.open(database_url), lambda table: Console().print(table))
    return lambda *arguments: CliRunner().invoke(app, arguments, env={"COLUMNS": "250"})


def check(database: Database, secret: str) -> Client | None:
    return asyncio.run(Clients(database).check(secret))


def listed(keys: Keys) -> list[dict[str, Any]]:
    result = keys("list", "--json")
    assert result.exit_code == 0
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def test_a_key_is_made_and_only_its_secret_is_on_stdout(keys: Keys, database: Database) -> None:
    result = keys("make", "alice")
    client = check(database, result.stdout.strip())

    assert result.exit_code == 0
    assert FORM.fullmatch(result.stdout.rstrip("\n"))
    assert "once" in result.stderr
    assert client
    assert (client.name, client.budget, client.expires_at) == ("alice", Budget(), None)


def test_a_key_has_the_limits_that_it_is_given(keys: Keys, database: Database) -> None:
    limits = (
        "--requests-per-minute 60 --tokens-per-minute 100000 --concurrent 4 --usd-per-day 2.5 --usd-total 50 "
        "--model gpt-4* --model o3 --agent reviewer --expires 30d"
    )
    before = time.time()
    client = check(database, keys("make", "alice", *limits.split()).stdout.strip())

    assert client
    assert client.budget == Budget(60, 100_000, 4, 2.5, 50)
    assert (client.models, client.agents) == (("gpt-4*", "o3"), ("reviewer",))
    assert client.expires_at
    assert before + 30 * 86_400 <= client.expires_at <= time.time() + 30 * 86_400


def test_a_list_says_what_each_key_may_use_and_has_used(keys: Keys, database: Database) -> None:
    async def use(client: Client) -> None:
        async with Budgets(database) as budgets:
            await budgets.settle(await budgets.admit(client), 1200, 0.75, usd_is_estimated=False)

    secret = keys("make", "alice", "--usd-per-day", "2", "--model", "gpt-4*").stdout.strip()
    client = check(database, secret)
    assert client
    asyncio.run(use(client))

    (row,) = listed(keys)
    assert {name: row[name] for name in ("name", "id", "state", "models", "agents", "expires_at", "revoked_at")} == {
        "name": "alice",
        "id": client.id,
        "state": "valid",
        "models": ["gpt-4*"],
        "agents": [],
        "expires_at": None,
        "revoked_at": None,
    }
    assert row["budget"]["usd_per_day"] == 2
    assert row["used"] == {
        "requests": 1,
        "tokens": 1200,
        "usd": 0.75,
        "usd_estimated": 0.0,
        "usd_today": 0.75,
        "requests_unpriced": 0,
    }
    table = keys("list").stdout
    assert "alice  valid" in table
    assert "2 USD/day; models gpt-4*" in table
    assert "1 requests, 1200 tokens, 0.750000 USD (0.750000 today)" in table
    assert secret[-43:] not in table + keys("list", "--json").stdout


@pytest.mark.parametrize(("usd", "shown"), [(0.5, "≈0.500000 USD"), (None, "USD unknown")])
def test_a_list_says_where_money_is_an_estimate_or_not_known(
    keys: Keys, database: Database, usd: float | None, shown: str
) -> None:
    client = check(database, keys("make", "alice").stdout.strip())
    assert client

    async def use() -> None:
        async with Budgets(database) as budgets:
            await budgets.settle(await budgets.admit(client), 10, usd)

    asyncio.run(use())

    assert shown in keys("list").stdout
    (row,) = listed(keys)
    assert (row["used"]["usd"], row["used"]["requests_unpriced"]) == (usd, int(usd is None))


def test_a_list_says_how_many_of_a_sum_have_no_price(keys: Keys, database: Database) -> None:
    client = check(database, keys("make", "alice").stdout.strip())
    assert client

    async def use() -> None:
        async with Budgets(database) as budgets:
            for usd in (0.5, None):
                await budgets.settle(await budgets.admit(client), 10, usd, usd_is_estimated=False)

    asyncio.run(use())

    assert "≥0.500000 USD (0.500000 today), and 1 of unknown price" in " ".join(keys("list").stdout.split())


def test_a_list_of_no_keys_is_an_empty_array(keys: Keys) -> None:
    assert listed(keys) == []


def test_a_revoked_key_is_refused_and_stays_in_the_list(keys: Keys, database: Database) -> None:
    secret = keys("make", "alice").stdout.strip()
    result = keys("revoke", "alice")

    assert (result.exit_code, result.stdout) == (0, "")
    assert check(database, secret) is None
    assert [row["state"] for row in listed(keys)] == ["revoked"]
    assert listed(keys)[0]["revoked_at"].endswith("Z")


def test_an_expired_key_is_listed_as_one(keys: Keys, database: Database) -> None:
    Clients(database).make("alice", expires_at=time.time() - 1)

    assert [row["state"] for row in listed(keys)] == ["expired"]


def test_a_name_cannot_write_to_the_table_in_markup(keys: Keys) -> None:
    keys("make", "[bold]alice[/bold]")

    assert "[bold]alice[/bold]" in keys("list").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["revoke", "bob"], "no key named 'bob'", id="nobody's"),
        pytest.param(["make", "alice"], "'alice' already", id="a name that is taken"),
        pytest.param(["make", "bob", "--expires", "soon"], "'soon' is not a length of time", id="no length of time"),
        pytest.param(["make", "bob", "--usd-total", "0"], "usd_total must be above 0", id="no limit"),
    ],
)
def test_an_error_is_one_line_and_makes_no_key(keys: Keys, arguments: list[str], words: str) -> None:
    keys("make", "alice")
    result = keys(*arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert [row["name"] for row in listed(keys)] == ["alice"]


def test_a_database_that_cannot_be_opened_is_said_in_one_line() -> None:
    def fail() -> Database:
        raise StoreError("the database is away")

    result = CliRunner().invoke(keys_command(fail, lambda table: Console().print(table)), ["list"])

    assert (result.exit_code, result.stderr) == (2, "understudy: the database is away\n")


@pytest.mark.parametrize(("text", "length"), [("90m", 5400), ("12h", 43_200), ("30d", 2_592_000), ("8w", 4_838_400)])
def test_a_length_of_time(text: str, length: int) -> None:
    assert seconds(text) == length


@pytest.mark.parametrize("text", ["", "30", "d", "0d", "-1d", "1.5d", "1y", "999999w"])
def test_an_invalid_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a length of time"):
        seconds(text)

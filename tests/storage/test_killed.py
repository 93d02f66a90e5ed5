"""Two proxies are killed while they keep things of every kind: what they acknowledged is there, nothing is in part."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage.background import Background
from storage.chat_completions import ChatCompletions
from storage.conversations import Conversations
from storage.database import Database
from storage.responses import Responses
from storage.sessions import Sessions
from tests.storage.kept import ME

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
PROXIES = ("one", "two")


def keep_until_killed(where: str, prefix: str, conversation: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.storage.keep_until_killed", where, prefix, conversation, "chat"],
        cwd=ROOT,
        env={"HOME": "/nonexistent", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


def acknowledged(where: str, conversation: str, moment: random.Random, turn: int) -> set[tuple[str, str]]:
    """Let two proxies work, kill each at some moment, and return what they said that they had kept."""
    proxies = [keep_until_killed(where, f"{name}{turn}", conversation) for name in PROXIES]
    lines: list[str] = []
    for proxy in proxies:
        assert proxy.stdout
        lines += [proxy.stdout.readline() for _ in range(moment.randrange(1, 150))]
        proxy.send_signal(signal.SIGKILL)
    for proxy in proxies:
        assert proxy.stdout
        lines += proxy.stdout
        proxy.stdout.close()
        assert proxy.wait() == -signal.SIGKILL
    # A line that was being written when the end came acknowledges nothing.
    words = [line.split() for line in lines if line.endswith("\n")]
    return {(kind, name) for kind, name in words}


def pairs(texts: list[str]) -> set[str]:
    """The names of the pairs «name?», «name!» that a list is made of. Fails if it is made of anything else."""
    assert [text[:-1] for text in texts[::2]] == [text[:-1] for text in texts[1::2]]
    assert {text[-1] for text in texts[::2]} <= {"?"} and {text[-1] for text in texts[1::2]} <= {"!"}
    return {text[:-1] for text in texts[::2]}


async def test_acknowledged_data_survives_a_kill_and_nothing_is_partial(database_url: str) -> None:
    moment = random.Random(7)
    with Database.open(database_url) as database:
        conversation = (await Conversations(database).create(ME)).id
    kept: set[tuple[str, str]] = set()
    for turn in range(3):
        kept |= acknowledged(database_url, conversation, moment, turn)

        with Database.open(database_url) as database:
            await check(database, conversation, kept)
    assert {kind for kind, _ in kept} >= {"chain", "conversation", "items", "begun", "finished", "session", "chat"}


async def check(database: Database, conversation: str, kept: set[tuple[str, str]]) -> None:
    responses, background = Responses(database), Background(database)

    def names(kind: str) -> set[str]:
        return {name for one, name in kept if one == kind}

    for id in names("chain"):
        items = await responses.conversation_items(id, ME) or ()
        prefix, _, n = id.removeprefix("resp_").rpartition("-")
        texts = [item["content"][0]["text"] for item in items]
        assert texts == [f"{prefix}-{m}{end}" for m in range(int(n) + 1) for end in "?!"]

    items = await Conversations(database).items(conversation, ME) or ()
    together = pairs([item["content"][0]["text"] for item in items])
    assert together >= {name.removeprefix("resp_") for name in names("conversation")} | names("items")
    entered = {f"resp_{name}" for name in together if "-c" in name}
    assert {id for id in entered if await responses.get(id, ME)} == entered

    for id in names("begun"):
        found = await background.events_after(id, ME)
        assert found
        events = [number for number, _ in found.events]
        asked_and_answered = len(await responses.conversation_items(id, ME) or ())
        assert (found.ended, events, asked_and_answered) in (
            (False, [], 1),
            (False, [0, 1], 1),
            (True, [0, 1, 2], 2),
        )
        assert len(events) >= (2 if id in names("events") else 0)
        assert found.ended or id not in names("finished")

    messages = (await Sessions(database).load(ME, "chat")).messages
    assert pairs([message["content"] for message in messages]) >= names("session")

    chats = ChatCompletions(database)
    for id in names("chat") - names("deleted"):
        # A deletion that was under way may be done without having been acknowledged.
        assert await chats.get(id, ME) or int(id.rpartition("-")[2]) % 3 == 0
    for id in names("deleted"):
        assert await chats.get(id, ME) is None

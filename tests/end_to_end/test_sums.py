"""Fifty exchanges of every kind come to the same tokens and dollars wherever they are added up.

What is right is computed from the API's side: from what the rehearsal has told in its events, and a price list that is
written down here.
"""

import asyncio
import json
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from websockets.asyncio.client import connect

from cassettes.format import Entry
from cassettes.index import Index, scan
from cassettes.read import read
from cassettes.usage import Total, entry_usage, summary_usage, total
from rehearsal import Reply
from rehearsal.reply import AT_HEAD
from rehearsal.server import ReceivedRequest
from tests.end_to_end.cloud import GUARD_S, Cloud
from tests.end_to_end.understudy import UNDERSTUDY, Proxy, clean_environment, serve

# US dollars for a million tokens: input, output, cache written for 5 minutes and for an hour, cache read.
PRICES = {
    "claude-sonnet-5-5": (2, 10, 2.5, 4, 0.1),
    "claude-haiku-5-5": (0.1, 0.5, 0.125, 0.2, 0.01),
    "claude-opus-5-5": (4, 20, 5, 8, 0.2),
}
SEARCH_USD = 0.01
MILLIONTH = 1e-6

SYSTEM = {"role": "system", "content": "You are an assistant of few words. " * 40}
TOOL: Any = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}


def ask(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": [SYSTEM, {"role": "user", "content": text}], **fields}


@dataclass
class Play:
    """A proxy with two keys, and what was asked of it."""

    proxy: Proxy
    cloud: Cloud
    keys: tuple[str, str]
    home: Path
    asked: int = 0
    clients: list[openai.OpenAI] = field(default_factory=list)

    def client(self) -> openai.OpenAI:
        """Return the client of whose turn it is; the keys take turns."""
        self.asked += 1
        return self.clients[self.asked % 2]

    def chat(self, text: str, **fields: Any) -> Any:
        return self.client().chat.completions.create(**ask(text, **fields))

    def stream(self, text: str, **fields: Any) -> list[Any]:
        return list(self.chat(text, stream=True, **fields))


# Each plays some exchanges.


def streams_that_tell_no_usage(play: Play) -> None:
    for n in range(8):
        chunks = play.stream(f"[rehearse: words={20 + n}] Question {n}.", model=("gpt-4o", "gpt-4o-mini")[n % 2])
        assert all(chunk.usage is None for chunk in chunks)


def streams_that_tell_usage(play: Play) -> None:
    for n in range(6):
        chunks = play.stream(f"[rehearse: words={9 + n}] And {n}?", stream_options={"include_usage": True})
        assert chunks[-1].usage.total_tokens > 0


def answers_at_once(play: Play) -> None:
    for n in range(6):
        play.chat(f"[rehearse: words={5 + n} think] At once, {n}.", model="gpt-5", reasoning_effort="low")


def tool_calls_and_how_they_go_on(play: Play) -> None:
    for n in range(4):
        question = f"[rehearse: tool=look_up] Look up {n}."
        first = play.chat(question, tools=[TOOL])
        call = first.choices[0].message.tool_calls[0]
        result = {"role": "tool", "tool_call_id": call.id, "content": f"It is {n}."}
        messages = [*ask(question)["messages"], first.choices[0].message.model_dump(exclude_none=True), result]
        if n % 2:
            messages.append({"role": "user", "content": "So?"})
        assert list(play.client().chat.completions.create(
            model="gpt-4o", messages=messages, tools=[TOOL], stream=True
        ))  # fmt: skip


def answers_that_are_cut(play: Play) -> None:
    for n in range(3):
        chunks = play.stream(f"[rehearse: words=60] Cut {n}.", max_completion_tokens=7 + n)
        assert chunks[-1].choices[0].finish_reason == "length"


def apps_that_hang_up(play: Play) -> None:
    for n in range(4):
        stream = play.chat(f'[rehearse: text="one two three four" stall after={2 + n % 2}] Leave {n}.', stream=True)
        next(iter(stream))
        stream.close()
        play.cloud.wait_for_disconnect(play.cloud.turns[-1])


def two_choices(play: Play) -> None:
    for n in range(3):
        chunks = play.stream(f"[rehearse: words={12 + n}] Twice.", n=2)
        assert {choice.index for chunk in chunks for choice in chunk.choices} == {0, 1}


def background_responses(play: Play) -> None:
    for n in range(3):
        client = play.client()
        begun = client.responses.create(model="gpt-4o", input=f"[rehearse: words={30 + n}] Later.", background=True)
        response = begun
        while response.status in ("queued", "in_progress"):
            response = client.responses.retrieve(begun.id)
        # It is told again, and used once.
        assert client.responses.retrieve(begun.id).usage.output_tokens > 0  # type: ignore[union-attr]


def responses_over_a_websocket(play: Play) -> None:
    async def talk(key: str) -> None:
        async with connect(
            "wss://api.openai.com/v1/responses",
            proxy=play.proxy.url.replace("://", f"://me:{key}@"),
            ssl=play.proxy.tls(),
            additional_headers={"authorization": "Bearer sk-of-the-app"},
        ) as socket:
            before = None
            for n in range(4):
                play.asked += 1
                asked = {"model": "gpt-4o", "store": False, "input": f"[rehearse: words={7 + n}] Over a socket."}
                more: dict[str, Any] = {} if before is None else {"previous_response_id": before}
                await socket.send(json.dumps({"type": "response.create", **asked, **more}))
                event: dict[str, Any] = {}
                while event.get("type") != "response.completed":
                    event = json.loads(await socket.recv())
                before = event["response"]["id"]

    asyncio.run(asyncio.wait_for(talk(play.keys[0]), GUARD_S))


def agents(play: Play) -> None:
    file = json.dumps({"file_path": str(play.home / "project" / "a.txt")})
    for n in range(2):
        messages: Any = [{"role": "user", "content": f"[rehearse: tool=Read input={json.dumps(file)}] Read it, {n}."}]
        answer = play.client().chat.completions.create(model="claude-code/review", messages=messages)
        assert "the words of the file" in str(answer.choices[0].message.content)


def searches_of_the_web(play: Play) -> None:
    for n in range(2):
        events = play.client().responses.create(
            model="gpt-5",
            input=f'[rehearse: search="news {n}" words=9] News?',
            tools=[{"type": "web_search"}],
            stream=True,
        )
        assert [event.type for event in events][-1] == "response.completed"


def legacy_completions(play: Play) -> None:
    play.client().completions.create(model="gpt-3.5-turbo-instruct", prompt=["[rehearse: words=8] One.", "Two."])


def errors(play: Play) -> None:
    with pytest.raises(openai.BadRequestError):
        play.chat("[rehearse: error=400] Refused by the API.")
    with pytest.raises(openai.BadRequestError):
        play.chat("Refused by the proxy.", temperature=77)
    with pytest.raises(openai.APIError):
        play.stream('[rehearse: text="one two three four" sse-error after=3] It breaks.')
    with pytest.raises(openai.APIError):
        # Not cut: a connection that is reset may lose what was sent, and the API's sum would have what nobody heard.
        play.chat('[rehearse: text="one two three four" end after=2] It breaks, too.')


KINDS: list[Callable[[Play], None]] = [
    streams_that_tell_no_usage,
    streams_that_tell_usage,
    answers_at_once,
    tool_calls_and_how_they_go_on,
    answers_that_are_cut,
    apps_that_hang_up,
    two_choices,
    background_responses,
    responses_over_a_websocket,
    agents,
    searches_of_the_web,
    legacy_completions,
    errors,
]


def understudy(env: dict[str, str], *arguments: str) -> str:
    done = subprocess.run([UNDERSTUDY, *arguments], env=env, capture_output=True, text=True, timeout=GUARD_S)
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass(frozen=True)
class Sums:
    """What everything comes to, by everyone who adds it up."""

    api: Total
    status: dict[str, Any]
    show: dict[str, Any]
    keys: list[dict[str, Any]]
    spending: list[tuple[int, int, int, int]]
    cassette: Path
    log: str
    asked: int


@pytest.fixture(scope="module")
def sums(the_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sums]:
    """Play everything through one proxy, and ask everyone for the sum."""
    home = tmp_path_factory.mktemp("sums")
    env = clean_environment(home, the_cloud.base_url, UNDERSTUDY_RETRIES="0")
    (home / "project").mkdir()
    (home / "project" / "a.txt").write_text("the words of the file")
    config, cassette = home / "understudy.toml", home / "sums.jsonl"
    config.write_text(f'[agent.review]\ntools = ["Read"]\ncwd = "{home / "project"}"\n')
    ann = understudy(env, "keys", "make", "ann", "--agent", "review", "--usd-per-day", "5").strip()
    bob = understudy(env, "keys", "make", "bob", "--agent", "review", "--usd-total", "5").strip()
    the_cloud.reset()
    the_cloud.script(slow_to_go_on)
    options = ("--config", str(config), "--client-auth", "--base-url", "127.0.0.1:0", "--record", str(cassette))
    with serve(env, *options) as proxy:
        play = Play(proxy, the_cloud, (ann, bob), home)
        base = proxy.err.wait_for(r"OPENAI_BASE_URL=(\S+)")[1]
        play.clients = [openai.OpenAI(api_key=key, base_url=base, max_retries=0, timeout=GUARD_S) for key in (ann, bob)]
        for kind in KINDS:
            kind(play)
        for client in play.clients:
            client.close()
        status = status_of(proxy, ann, play.asked)
        proxy.end()
        log = proxy.err.text
    connection = sqlite3.connect(home / "data" / "understudy.db")
    names = "requests, tokens, nanodollars, nanodollars_estimated"
    rows = list(connection.execute(f"SELECT {names} FROM spending"))
    connection.close()
    yield Sums(
        api=api_side(the_cloud),
        status=status,
        show=json.loads(understudy(env, "show", str(cassette), "--json")),
        keys=json.loads(understudy(env, "keys", "list", "--json")),
        spending=rows,
        cassette=cassette,
        log=log,
        asked=play.asked,
    )
    the_cloud.reset()


def slow_to_go_on(received: ReceivedRequest) -> Reply | None:
    """Take the time that the real API takes to begin an answer, where Claude Code goes on by itself.

    After max_tokens it is ended within milliseconds. Its request can be out by then, which nobody hears of.
    """
    is_its_own = "Output token limit hit" in json.dumps(received.body["messages"][-1])
    return Reply(stall_after=AT_HEAD) if is_its_own else None


def status_of(proxy: Proxy, key: str, asked: int) -> dict[str, Any]:
    """Return what the proxy says was used, once all that was asked has ended."""
    until = time.monotonic() + GUARD_S
    with httpx.Client(proxy=proxy.url.replace("://", f"://me:{key}@"), timeout=GUARD_S) as client:
        while True:
            used: dict[str, Any] = client.get("http://understudy.local/").json()["used"]
            if used["requests"] >= asked or time.monotonic() > until:
                return used
            time.sleep(0.05)


def api_side(cloud: Cloud) -> Total:
    """Add up what the API has told."""
    read = written = fresh = out = searches = 0
    usd = 0.0
    for received in cloud.turns:
        told = received.told
        if not told:
            continue
        price = PRICES[received.body["model"]]
        hour = told["cache_creation"]["ephemeral_1h_input_tokens"]
        five = told["cache_creation_input_tokens"] - hour
        counts = (told["input_tokens"], told["output_tokens"], five, hour, told["cache_read_input_tokens"])
        usd += sum(count * each for count, each in zip(counts, price, strict=True)) / 1e6
        fresh, out, written, read = fresh + counts[0], out + counts[1], written + five + hour, read + counts[4]
        searches += told.get("server_tool_use", {}).get("web_search_requests", 0)
    return Total(fresh + written + read, read, written, out, searches, usd + searches * SEARCH_USD, 0)


def same(ours: Total, api: Total) -> bool:
    """Whether two sums are equal: to the token, and to a millionth of a dollar."""
    counts, theirs = asdict(ours), asdict(api)
    return abs(counts.pop("cost_usd") - theirs.pop("cost_usd")) < MILLIONTH and counts == theirs


def test_there_is_something_to_add_up(sums: Sums) -> None:
    api = sums.api

    assert sums.asked >= 50
    assert min(api.input, api.cached, api.cache_written, api.output, api.web_searches) > 0
    # So much that an error of a hundredth in any kind of token is seen.
    assert api.cost_usd > 100 * MILLIONTH


def test_show_and_its_total_are_the_apis_sum(sums: Sums) -> None:
    rows = sums.show["exchanges"]

    assert same(Total(**sums.show["total"]), sums.api), (sums.show["total"], sums.api)
    assert sum(row["tokens"]["input"] or 0 for row in rows) == sums.api.input
    assert sum(row["tokens"]["output"] or 0 for row in rows) == sums.api.output
    assert sum(row["cost_usd"] or 0 for row in rows) == pytest.approx(sums.api.cost_usd, abs=MILLIONTH)
    assert sums.show["problems"] == []


def test_the_index_and_the_cassette_itself_are_the_apis_sum(sums: Sums) -> None:
    of_the_index = total(summary_usage(summary) for summary in Index(sums.cassette))
    made_anew = total(summary_usage(summary) for summary in scan(sums.cassette))
    of_the_entries = total(entry_usage(entry) for entry in read(sums.cassette) if isinstance(entry, Entry))

    assert same(of_the_index, sums.api), (of_the_index, sums.api)
    assert same(made_anew, sums.api)
    assert same(of_the_entries, sums.api)


def test_the_events_alone_are_the_apis_sum_but_for_agents_as_in_an_older_cassette(sums: Sums) -> None:
    without = [line for line in sums.cassette.read_text().splitlines() if '"end": ' in line and "claude_usage" in line]
    older = sums.cassette.with_name("older.jsonl")
    text = sums.cassette.read_text()
    for line in without:
        fields = json.loads(line)
        fields.pop("claude_usage")
        text = text.replace(line, json.dumps({**fields, "cost_usd": 9.0}, ensure_ascii=False))
    older.write_text(text)

    again = total(summary_usage(summary) for summary in scan(older))

    assert len(without) >= 50
    assert same(again, sums.api), (again, sums.api)


def test_keys_list_is_the_apis_sum(sums: Sums) -> None:
    used = [key["used"] for key in sums.keys]

    assert all(each["requests"] and each["usd"] and not each["requests_unpriced"] for each in used)
    assert sum(each["requests"] for each in used) == sums.asked
    assert sum(each["tokens"] for each in used) == sums.api.input + sums.api.output
    assert sum(each["usd"] for each in used) == pytest.approx(sums.api.cost_usd, abs=MILLIONTH)
    assert sum(each["usd_today"] for each in used) == pytest.approx(sums.api.cost_usd, abs=MILLIONTH)
    assert sum(each["usd_estimated"] for each in used) == 0


def test_the_budgets_in_the_database_are_the_apis_sum(sums: Sums) -> None:
    requests, tokens, nano, estimated = (sum(column) for column in zip(*sums.spending, strict=True))

    assert (requests, tokens, estimated) == (sums.asked, sums.api.input + sums.api.output, 0)
    assert nano / 1e9 == pytest.approx(sums.api.cost_usd, abs=MILLIONTH)


def test_the_status_is_the_apis_sum(sums: Sums) -> None:
    used = sums.status
    told = Total(
        input=used["input_tokens"],
        cached=used["cached_tokens"],
        cache_written=used["cache_write_tokens"],
        output=used["output_tokens"],
        web_searches=used["web_searches"],
        cost_usd=used["usd"],
        unpriced=used["requests_unpriced"],
    )

    assert same(told, sums.api), (used, sums.api)
    assert used["requests"] == sums.asked


def test_claude_codes_own_figures_agreed(sums: Sums) -> None:
    assert "price list says" not in sums.log
    assert "Traceback" not in sums.log

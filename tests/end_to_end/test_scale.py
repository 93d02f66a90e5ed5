"""Three proxies on one PostgreSQL behind a load balancer: what docs/scale.md says, with the files of docs/scale."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import yaml
from sqlalchemy import make_url
from websockets.sync.client import connect

from rehearsal import Reply
from rehearsal.reply import AT_HEAD
from rehearsal.script import last_user_text
from rehearsal.server import ReceivedRequest
from tests.end_to_end.balancer import CONFIGURATIONS, NAMES, Balancer, program
from tests.end_to_end.cloud import GUARD_S, Cloud, Gate
from tests.end_to_end.understudy import BIN, UNDERSTUDY, Proxy, clean_environment
from tests.postgres import Postgres, postgres

__all__ = ["postgres"]

HELD = "What is asked when the proxy dies?"
BASE_URL, PROXY = 8081, 8080
"""The two doors, as docs/scale numbers them."""

HELLO: Any = [{"role": "user", "content": "Hello"}]
SESSION = "x-understudy-session"
SERVED_BY = "x-understudy-proxy"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(program("haproxy") is None, reason="haproxy is not installed"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed"),
]


class Fleet:
    """Three proxies with a store, keys, an authority and settings in common, each with a HOME of its own."""

    def __init__(self, folder: Path, base_url: str, store: str) -> None:
        self.folder = folder
        self._cloud = base_url
        self.secrets = folder / "secrets"
        path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
        maker = clean_environment(folder / "maker", PATH=path)
        subprocess.run(["sh", CONFIGURATIONS / "make-secrets.sh", self.secrets], env=maker, check=True, timeout=GUARD_S)
        settings = (self.secrets / "understudy.toml").read_text(encoding="utf-8")
        (self.secrets / "anthropic_api_key").write_text("dummy", encoding="utf-8")
        for pattern, by in (
            (r"postgresql://[^\"]+", store),
            (r"/run/secrets", str(self.secrets)),
            (r"0\.0\.0\.0:\d+", "127.0.0.1:0"),
        ):
            settings, count = re.subn(pattern, by, settings)
            assert count
        # A test waits for the dead no longer than it must.
        self._settings = f"{settings}\nstore_lease_s = 5\n"
        self.proxies: dict[str, Proxy] = {}
        self.start_missing()
        self.key = self._make_key()

    def start_missing(self) -> None:
        """Start those that do not run, at once."""
        for proxy in self.proxies.values():
            if proxy.process.poll() is not None:
                proxy.end()
        missing = [name for name in NAMES if name not in self.proxies or self.proxies[name].process.poll() is not None]
        with ThreadPoolExecutor(len(NAMES)) as starting:
            started = {name: starting.submit(self._start, name) for name in missing}
        for name, future in started.items():
            self.proxies[name] = future.result()

    def end(self) -> None:
        """End all of them."""
        for proxy in self.proxies.values():
            proxy.end(signal.SIGKILL)

    def door(self, name: str) -> tuple[str, int]:
        """Return where a proxy's base-URL door is."""
        match = self.proxies[name].err.wait_for(r"OPENAI_BASE_URL=http://([\d.]+):(\d+)/v1")
        return match[1], int(match[2])

    def behind(self, kind: str, folder: Path) -> Balancer:
        """Start a load balancer before them."""
        doors = {(name, BASE_URL): self.door(name) for name in NAMES}
        if kind == "haproxy":
            doors |= {(name, PROXY): (self.proxies[name].host, self.proxies[name].port) for name in NAMES}
        return Balancer(kind, folder, doors)

    def client(self, url: str, **options: Any) -> openai.OpenAI:
        """Return OpenAI's client at a base-URL door. It makes each request once, unless told otherwise."""
        options = {"max_retries": 0, "timeout": GUARD_S, **options}
        return openai.OpenAI(base_url=f"{url}/v1", api_key=self.key, **options)

    def through(self, url: str, **options: Any) -> openai.OpenAI:
        """Return OpenAI's client at the other door, which believes nobody but the one authority."""
        proxy = url.replace("://", f"://me:{self.key}@")
        tls = ssl.create_default_context(cafile=self.secrets / "trust-this.pem")
        http = openai.DefaultHttpxClient(proxy=proxy, verify=tls, timeout=GUARD_S)
        return openai.OpenAI(api_key="sk-of-the-app", http_client=http, **{"max_retries": 0, **options})

    def _start(self, name: str) -> Proxy:
        env = clean_environment(self.folder / name, self._cloud)
        del env["ANTHROPIC_API_KEY"]
        home, data = Path(env["HOME"]), Path(env["UNDERSTUDY_DATA_DIR"])
        (home / "understudy.toml").write_text(self._settings, encoding="utf-8")
        (data / "ca").mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copy(self.secrets / "mitmproxy-ca.pem", data / "ca")
        return Proxy([UNDERSTUDY, "serve", "--log-level", "debug"], env)

    def _make_key(self) -> str:
        env = clean_environment(self.folder / NAMES[0])
        made = subprocess.run(
            [UNDERSTUDY, "keys", "make", "ann"],
            env=env,
            cwd=env["HOME"],
            capture_output=True,
            text=True,
            check=True,
            timeout=GUARD_S,
        )
        return made.stdout.strip()


@pytest.fixture(scope="module")
def the_fleet(the_cloud: Cloud, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), the_cloud.base_url, postgres.new_database())
    yield fleet
    fleet.end()


@pytest.fixture
def fleet(the_fleet: Fleet, cloud: Cloud) -> Fleet:
    """All three of them, whatever became of them in another test."""
    the_fleet.start_missing()
    return the_fleet


@pytest.fixture(params=["haproxy", "nginx"])
def balancer(request: pytest.FixtureRequest, fleet: Fleet, tmp_path: Path) -> Iterator[Balancer]:
    """Each kind of load balancer before them."""
    if program(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    with fleet.behind(request.param, tmp_path / "balancer") as balancer:
        yield balancer


@pytest.fixture
def haproxy(fleet: Fleet, tmp_path: Path) -> Iterator[Balancer]:
    with fleet.behind("haproxy", tmp_path / "balancer") as balancer:
        yield balancer


class Load:
    """Conversations that go on until each has had so many turns, and so many after the kill."""

    TURNS, TURNS_AFTER, MOST = 8, 4, 200

    def __init__(self) -> None:
        self.killed = threading.Event()
        self._told = threading.Condition()
        self._acknowledged = 0

    def count(self) -> None:
        """Note an answer that an app has seen the end of."""
        with self._told:
            self._acknowledged += 1
            self._told.notify_all()

    def wait_for(self, acknowledged: int) -> None:
        """Wait for so many answers."""
        with self._told:
            assert self._told.wait_for(lambda: self._acknowledged >= acknowledged, GUARD_S)

    def run(self, conversation: "Conversation") -> None:
        """Have a conversation to its end."""
        after = 0
        for number in range(self.MOST):
            if number >= self.TURNS and after >= self.TURNS_AFTER:
                return
            after += self.killed.is_set()
            conversation.ask(f"{conversation.name}, question {number}")
            self.count()
        raise AssertionError("the kill never came")


@dataclass
class Acknowledged:
    """A turn that an app has seen the end of. ``response`` is its id, where it is a response."""

    question: str
    answer: str
    proxy: str
    response: str = ""


@dataclass
class Conversation:
    """What an app says and hears; it asks again until it is answered, as openai's SDK does by itself."""

    name: str
    client: openai.OpenAI
    had: list[Acknowledged] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    TRIES = 20

    def ask(self, question: str) -> Acknowledged:
        """Ask until it is answered."""
        for _ in range(self.TRIES):
            try:
                self.had.append(self.try_to_ask(question))
            except (openai.APIConnectionError, openai.InternalServerError, httpx.TransportError):
                self.failed.append(question)
            else:
                return self.had[-1]
        raise AssertionError(f"{question!r} was never answered")

    def try_to_ask(self, question: str) -> Acknowledged:
        """Ask once."""
        raise NotImplementedError

    def as_told(self) -> list[tuple[str, str]]:
        """Return what Claude must be told with the last question."""
        told = [pair for one in self.had for pair in (("user", one.question), ("assistant", one.answer))]
        return told[:-1]


class InSession(Conversation):
    """A session: the app sends only what is new."""

    def try_to_ask(self, question: str) -> Acknowledged:
        answer = self.client.chat.completions.with_raw_response.create(
            model="gpt-4o", messages=[{"role": "user", "content": question}], extra_headers={SESSION: self.name}
        )
        return Acknowledged(question, answer.parse().choices[0].message.content or "", answer.headers[SERVED_BY])


class InChain(Conversation):
    """Responses, each of which goes on from the last."""

    def try_to_ask(self, question: str) -> Acknowledged:
        last = self.had[-1].response if self.had else openai.omit
        answer = self.client.responses.with_raw_response.create(
            model="gpt-4o", input=question, previous_response_id=last
        )
        response = answer.parse()
        return Acknowledged(question, response.output_text, answer.headers[SERVED_BY], response.id)


class InStreams(Conversation):
    """The same, streamed. Acknowledged is what ended."""

    def try_to_ask(self, question: str) -> Acknowledged:
        last = self.had[-1].response if self.had else openai.omit
        answer = self.client.responses.with_raw_response.create(
            model="gpt-4o", input=question, previous_response_id=last, stream=True
        )
        for event in answer.parse():
            if event.type == "response.completed":
                return Acknowledged(question, event.response.output_text, answer.headers[SERVED_BY], event.response.id)
        raise httpx.RemoteProtocolError("the stream had no end")


def answered(question: str) -> str:
    return f"That is the answer to: {question}"


def asked_at_the_api(cloud: Cloud, question: str) -> list[tuple[str, str]]:
    """Return who said what in the last request with this question, up to it."""
    histories = (
        [(message["role"], message["content"][0]["text"]) for message in turn.body["messages"]] for turn in cloud.turns
    )
    return [history for history in histories if history[-1] == ("user", question)][-1]


def without_repetitions(told: list[tuple[str, str]], questions: list[str]) -> list[tuple[str, str]]:
    """Take away what comes twice in a row of questions that were asked again.

    A session may have kept a turn whose end never reached the app: then it has been asked, and answered, twice.
    """
    kept: list[tuple[str, str]] = []
    for said in told:
        if kept[-2:-1] == [said] and said[1] in questions:
            del kept[-2:]
        kept.append(said)
    return kept


REQUEST = re.compile(r" \w+/(?P<server>\S+) [-+\d/]+ (?P<status>-?\d+) \+?\d+ - - (?P<ended>\S{4}) ")
"""A request in HAProxy's log (its «HTTP log format»): which server had it, and how the connection ended."""


def failed_at(log: str) -> set[str]:
    """Return at which proxies requests have failed. Those on connections that were used before HAProxy leaves out."""
    requests = list(REQUEST.finditer(log))
    assert requests
    return {one["server"] for one in requests if not one["ended"].startswith("--") or one["status"].startswith("5")}


def test_a_proxy_that_is_killed_under_load_takes_nothing_with_it_that_was_acknowledged(
    fleet: Fleet, haproxy: Balancer, cloud: Cloud
) -> None:
    gates: dict[str, dict[int, Gate]] = {"in the background": {1: cloud.gate()}, HELD: {AT_HEAD: cloud.gate()}}
    reached, load = threading.Event(), Load()

    def answer(turn: ReceivedRequest) -> Reply:
        asked = last_user_text(turn.body)
        if asked == HELD:
            reached.set()
        return Reply(text=answered(asked), gates=gates.get(asked, {}))

    cloud.script(answer)

    with contextlib.ExitStack() as stack:

        def app(**options: Any) -> openai.OpenAI:
            return stack.enter_context(fleet.client(haproxy.url(BASE_URL), **options))

        # What is at one proxy when it dies: a response in the background, and a question of a session.
        begun = app().responses.with_raw_response.create(model="gpt-4o", input="in the background", background=True)
        victim, background = begun.headers[SERVED_BY], begun.parse()
        held = next(
            session
            for number in range(100)
            if (session := InSession(f"held-{number}", app())).ask("before the kill").proxy == victim
        )
        sessions = [InSession("tea", app()), InSession("coffee", app())]
        chains = [InChain("whole", app()), InStreams("streamed", app())]
        conversations = [*sessions, *chains]
        workers = stack.enter_context(ThreadPoolExecutor(len(conversations) + 1))
        asking = workers.submit(held.ask, HELD)
        assert reached.wait(GUARD_S)
        running = [workers.submit(load.run, conversation) for conversation in conversations]

        load.wait_for(acknowledged=24)
        fleet.proxies[victim].process.kill()
        load.killed.set()
        del gates[HELD]
        for future in running:
            future.result()
        asking.result()
        *_, last = app().responses.retrieve(background.id, stream=True)
        ended = app().responses.retrieve(background.id)
        kept = {
            one.response: app().responses.retrieve(one.response).output_text
            for conversation in chains
            for one in conversation.had
        }
        held.ask("afterwards")
        haproxy.end()

    served = {one.proxy for conversation in conversations for one in conversation.had}
    assert served == set(NAMES)
    for conversation in (*conversations, held):
        last_turn = conversation.had[-1]
        told = asked_at_the_api(cloud, last_turn.question)
        assert last_turn.proxy != victim
        assert without_repetitions(told, conversation.failed) == conversation.as_told()
        assert all(one.answer == answered(one.question) for one in conversation.had)
        # What failed is what was at the dead proxy: of each app, no more than the one question that it had asked.
        assert len(set(conversation.failed)) <= 1
        assert conversation not in sessions or not conversation.failed or conversation.had[0].proxy == victim
    assert held.failed != []
    assert kept == {one.response: one.answer for conversation in chains for one in conversation.had}
    assert (last.type, ended.status, ended.error and ended.error.code) == ("response.failed", "failed", "server_error")
    assert failed_at(haproxy.out.text) <= {victim}


def test_the_load_balancer_finds_all_three_alive_and_spreads_requests(fleet: Fleet, balancer: Balancer) -> None:
    with fleet.client(balancer.url(BASE_URL)) as client:
        listed = [client.models.with_raw_response.list().headers[SERVED_BY] for _ in range(60)]

    assert len(set(listed)) == 3


def test_pieces_of_an_answer_are_passed_on_as_they_come(fleet: Fleet, balancer: Balancer, cloud: Cloud) -> None:
    gate = cloud.gate()
    cloud.script(Reply(text="one two three", gates={1: gate}))

    with (
        fleet.client(balancer.url(BASE_URL)) as client,
        client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True) as stream,
    ):
        pieces = (chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
        first = next(filter(None, pieces))
        held = not gate.opened
        gate.open()
        rest = "".join(pieces)

    assert held
    assert first + rest == "one two three"
    assert rest != ""


def test_a_question_that_finds_its_proxy_dead_is_taken_to_another(
    fleet: Fleet, balancer: Balancer, cloud: Cloud
) -> None:
    cloud.script(lambda turn: Reply(text=answered(last_user_text(turn.body))))
    fleet.proxies["three"].end(signal.SIGKILL)

    with fleet.client(balancer.url(BASE_URL)) as client:
        asked = [InSession(f"session {number}", client).try_to_ask("Who is there?") for number in range(9)]
        asked += [InChain("none", client).try_to_ask("Who is there?") for _ in range(3)]

    # nginx tells of every proxy that it has tried.
    assert {one.proxy.split(", ")[-1] for one in asked} == {
        balancer.shown(fleet.door(name), name) for name in ("one", "two")
    }
    assert len(cloud.turns) == len(asked)


def test_a_websocket_is_passed_on(fleet: Fleet, balancer: Balancer, cloud: Cloud) -> None:
    cloud.script(Reply(text="one two"))

    url = balancer.url(BASE_URL).replace("http:", "ws:")
    with connect(f"{url}/v1/responses", additional_headers={"authorization": f"Bearer {fleet.key}"}) as socket:
        socket.send(json.dumps({"type": "response.create", "model": "gpt-4o", "input": "Count.", "store": False}))
        events = [json.loads(socket.recv())]
        while events[-1]["type"] != "response.completed":
            events.append(json.loads(socket.recv()))

    text = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    assert text == "one two"


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_an_app_that_hangs_up_ends_its_turn_at_the_api(
    stream: bool, fleet: Fleet, balancer: Balancer, cloud: Cloud
) -> None:
    cloud.script(Reply(text="one two three", gates={1: cloud.gate()}))
    body = {"model": "gpt-4o", "messages": HELLO, "stream": stream}
    head = {"authorization": f"Bearer {fleet.key}"}

    with socket.create_connection(balancer.doors[BASE_URL]) as app:
        app.sendall(http_request("/v1/chat/completions", body, head))
        (turn,) = cloud.wait_for_turns(1)
        cloud.wait_for_sent(turn, 1)
    cloud.wait_for_disconnect(turn)

    assert turn.sent == 1


def http_request(path: str, body: Any, headers: dict[str, str]) -> bytes:
    content = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "host: api", f"content-length: {len(content)}"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode() + content


def test_programs_that_use_the_proxy_do_not_notice_that_one_of_three_is_killed(
    fleet: Fleet, haproxy: Balancer, cloud: Cloud
) -> None:
    cloud.script(lambda turn: Reply(text=answered(last_user_text(turn.body))))

    def ask(client: openai.OpenAI, question: str) -> str | None:
        messages: Any = [{"role": "user", "content": question}]
        return client.chat.completions.create(model="gpt-4o", messages=messages).choices[0].message.content

    with contextlib.ExitStack() as stack:
        # The SDK's own tries again; a tunnel stays open between two questions.
        clients = [stack.enter_context(fleet.through(haproxy.url(PROXY), max_retries=2)) for _ in range(6)]
        before = [ask(client, "one") for client in clients]
        fleet.proxies["two"].process.kill()
        after = [ask(client, "two") for client in clients]

    assert before == [answered("one")] * 6
    assert after == [answered("two")] * 6
    for name in NAMES:
        haproxy.out.wait_for(f" tunnels/{name} ")


def test_reasoning_that_one_proxy_has_sealed_is_opened_by_the_others(fleet: Fleet, cloud: Cloud) -> None:
    cloud.script(Reply(text="Yes.", thinking="Is it so?"), Reply(text="Still yes."))
    wish: Any = {"model": "claude-sonnet-4-5", "reasoning": {"effort": "low"}, "store": False}
    wish["include"] = ["reasoning.encrypted_content"]
    urls = ["http://{}:{}".format(*fleet.door(name)) for name in NAMES[:2]]

    with fleet.client(urls[0]) as client:
        first = client.responses.create(input="So?", **wish)
    with fleet.client(urls[1]) as client:
        said: Any = [item.model_dump(exclude_none=True) for item in first.output]
        question: Any = [{"role": "user", "content": text} for text in ("So?", "Still?")]
        client.responses.create(input=[question[0], *said, question[1]], **wish)

    thinking = cloud.turns[1].body["messages"][1]["content"][0]
    assert (thinking["type"], thinking["thinking"]) == ("thinking", "Is it so?")


def test_a_proxy_that_is_ended_gives_its_answers_to_their_end_while_the_others_take_what_is_new(
    fleet: Fleet, haproxy: Balancer, cloud: Cloud
) -> None:
    gate = cloud.gate()
    cloud.script(Reply(text="one two three", gates={1: gate}))

    with fleet.client(haproxy.url(BASE_URL)) as client:
        answer = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=HELLO, stream=True)
        leaving = answer.headers[SERVED_BY]
        fleet.proxies[leaving].process.send_signal(signal.SIGTERM)
        haproxy.out.wait_for(rf"Server proxies/{leaving} is DOWN, reason: Layer7 wrong status, code: 503")
        others = [client.models.with_raw_response.list().headers[SERVED_BY] for _ in range(12)]
        gate.open()
        text = "".join(chunk.choices[0].delta.content or "" for chunk in answer.parse() if chunk.choices)
        status = fleet.proxies[leaving].process.wait(GUARD_S)

    assert set(others) == set(NAMES) - {leaving}
    assert text == "one two three"
    assert status == 128 + signal.SIGTERM


def test_the_compose_file_starts_what_the_configurations_name_with_the_secrets_that_are_made(the_fleet: Fleet) -> None:
    compose = yaml.safe_load((CONFIGURATIONS / "compose.yaml").read_text(encoding="utf-8"))
    settings = tomllib.loads((CONFIGURATIONS / "understudy.toml").read_text(encoding="utf-8"))

    proxies = {name: service for name, service in compose["services"].items() if service["image"] == "understudy"}
    files = {name: Path(secret["file"]).name for name, secret in compose["secrets"].items()}
    places = [secret["target"] for secret in proxies["one"]["secrets"] if isinstance(secret, dict)]

    assert tuple(proxies) == NAMES
    assert make_url(settings["store"]).host in compose["services"]
    assert {name: name for name in files} == files
    assert set(files) <= {path.name for path in the_fleet.secrets.iterdir()}
    assert all(place.startswith(settings["data_dir"]) for place in places)
    assert settings["api_key_helper"].split()[-1] == "/run/secrets/anthropic_api_key"
    assert (settings["listen"], settings["base_url"]) == (f"0.0.0.0:{PROXY}", f"0.0.0.0:{BASE_URL}")

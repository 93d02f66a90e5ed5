"""Where keys are asked for, a cassette answers nobody who has none, by whichever door they come."""

import base64
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from cassettes.record.record import Recorder
from tests.attacks.victim import Victim, answer_on, head_on, status_of
from tests.end_to_end.cloud import GUARD_S

SECRET = b'{"text": "what somebody else was told"}'
RECORDED = [("GET", "/v1/files"), ("GET", "/v1/models"), ("GET", "/understudy/status")]
WRONG = "Bearer sk-understudy-wrong"


@pytest.fixture
def replay(victim: Callable[..., Victim], tmp_path_factory: pytest.TempPathFactory) -> Victim:
    path = tmp_path_factory.getbasetemp() / "recorded" / "a.jsonl"
    if not path.exists():
        path.parent.mkdir()
        record(path)
    return victim(replay=path, key_check_s=0.2)


def record(path: Path) -> None:
    with Recorder(path) as recorder:
        for method, target in RECORDED:
            recording = recorder.begin(method, target, [], b"")
            recording.respond(1, 200, [("content-type", "application/json")])
            recording.chunk(2, SECRET)
            recording.end("done")


def at_base_url(proxy: Victim) -> httpx.Client:
    return httpx.Client(base_url=f"http://127.0.0.1:{proxy.door[1]}", timeout=GUARD_S)


@pytest.mark.parametrize("headers", [{}, {"authorization": WRONG}, {"x-understudy-key": "any"}])
@pytest.mark.parametrize(("method", "path"), [*RECORDED, ("POST", "/v1/chat/completions"), ("GET", "/v1/nothing")])
def test_the_base_url_door_asks_for_a_key_before_it_looks_for_an_answer(
    method: str, path: str, headers: dict[str, str], replay: Victim
) -> None:
    with at_base_url(replay) as client:
        answer = client.request(method, path, headers=headers)

    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert "x-understudy-replayed" not in answer.headers


def test_a_websocket_is_not_opened_without_a_key(replay: Victim) -> None:
    with replay.open() as opened:
        upgrade = ("Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAA")
        opened.sendall(replay.head(*upgrade, key=False, method="GET", path="/v1/responses"))

        assert status_of(answer_on(opened)) == 401


def test_the_proxys_own_page_is_not_shown_without_a_key(replay: Victim) -> None:
    with at_base_url(replay) as client:
        answer = client.get("/understudy/status", headers={"host": "understudy.local"})

    assert (answer.status_code, SECRET in answer.content) == (401, False)


def test_a_client_with_a_key_is_answered_and_health_needs_no_key(replay: Victim) -> None:
    with at_base_url(replay) as client:
        answers = [client.request(*one, headers={"authorization": f"Bearer {replay.key}"}) for one in RECORDED]
        missed = client.get("/v1/nothing", headers={"authorization": f"Bearer {replay.key}"})
        health = client.get("/health")

    assert [(answer.status_code, answer.content) for answer in answers] == [(200, SECRET)] * len(RECORDED)
    assert (missed.status_code, health.status_code) == (409, 200)


def test_through_the_proxy_a_key_that_was_revoked_is_answered_no_more(replay: Victim) -> None:
    key = replay.run("keys", "make", "bob")
    login = base64.b64encode(f"bob:{key}".encode()).decode()
    with replay.open((replay.proxy.host, replay.proxy.port)) as connection:
        connection.sendall(
            f"CONNECT api.openai.com:443 HTTP/1.1\r\nHost: api.openai.com\r\n"
            f"Proxy-Authorization: Basic {login}\r\n\r\n".encode()
        )
        head_on(connection)
        with replay.proxy.tls().wrap_socket(connection, server_hostname="api.openai.com") as secure:
            statuses = []
            for _ in range(2):
                secure.sendall(b"GET /v1/files HTTP/1.1\r\nHost: api.openai.com\r\n\r\n")
                statuses.append(status_of(answer_on(secure)))
                if len(statuses) == 1:
                    replay.run("keys", "revoke", "bob")

    assert statuses == [200, 401]

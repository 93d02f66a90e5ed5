"""The program behind the pytest plugin: who can talk to it, and what one test's proxy has in common with the next."""

import json
import secrets
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from cassettes.format import HEADER, encode_line
from cli.pytest_proxy import Desk
from tests.end_to_end.cloud import GUARD_S
from tests.end_to_end.understudy import UNDERSTUDY, clean_environment
from understudy.recording_modes import PROTOCOL


def said_to(port: int, *lines: bytes) -> bytes:
    """Connect, say something and nothing more, and return all that is answered."""
    with socket.create_connection(("127.0.0.1", port), timeout=GUARD_S) as connection:
        connection.sendall(b"".join(lines))
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while data := connection.recv(4096):
                answer += data
        except ConnectionResetError:
            pass
        return answer


def test_only_the_plugin_can_talk_to_it_and_it_ends_with_the_connection(tmp_path: Path) -> None:
    token = secrets.token_urlsafe(32)
    command = [UNDERSTUDY, "pytest-proxy"]
    pipe = subprocess.PIPE
    env = clean_environment(tmp_path / "home")
    with subprocess.Popen(command, env=env, cwd=tmp_path, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdin.write(json.dumps({"protocol": PROTOCOL, "token": token}).encode() + b"\n")
        process.stdin.flush()
        port = json.loads(process.stdout.readline())["port"]
        assert token not in " ".join(psutil.Process(process.pid).cmdline())
        assert token not in " ".join(psutil.Process(process.pid).environ().values())

        state = json.dumps({"do": "state"}).encode() + b"\n"
        page = f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n{token}\r\n".encode()
        for lines in ([b"\n", state], [token[:-1].encode() + b"\n", state], [page, state]):
            assert said_to(port, *lines) == b""

        with socket.create_connection(("127.0.0.1", port), timeout=GUARD_S) as connection:
            connection.sendall(token.encode() + b"\n" + state)
            assert b"no cassette is being replayed" in connection.recv(4096)
            # Nobody else gets in, even with the token.
            with pytest.raises(OSError, match=r"refused|reset"):
                said_to(port, token.encode() + b"\n", state)
        assert process.wait(GUARD_S) == 0
        assert token.encode() not in process.stderr.read() + process.stdout.read()
    assert [path for path in tmp_path.rglob("*") if path.is_file() and token.encode() in path.read_bytes()] == []


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"", "only Understudy's pytest plugin can use this command"),
        (
            b'{"protocol": 0, "token": "x"}\n',
            f"plugin uses protocol 0, but this Understudy uses protocol {PROTOCOL}",
        ),
    ],
)
def test_a_caller_that_is_not_the_plugin_gets_an_error(tmp_path: Path, line: bytes, told: str) -> None:
    env = clean_environment(tmp_path / "home")
    done = subprocess.run([UNDERSTUDY, "pytest-proxy"], input=line, env=env, capture_output=True, timeout=GUARD_S)

    assert done.returncode == 2
    assert told in done.stderr.decode()
    assert (json.loads(done.stdout)["protocol"] == PROTOCOL) if line else not done.stdout


async def asked(desk: Desk, do: str, **more: Any) -> dict[str, Any]:
    answer = await desk.answer(json.dumps({"do": do, **more}).encode())
    assert "error" not in answer, answer
    return answer


async def begun(desk: Desk, cassette: Path, **changed: str) -> dict[str, Any]:
    empty(cassette)
    environment = {"set": changed, "unset": []}
    root = str(cassette.parent)
    return await asked(desk, "begin", cassette=str(cassette), mode="none", root=root, environment=environment)


def empty(cassette: Path) -> None:
    cassette.write_bytes(encode_line(HEADER))


def client(begun: dict[str, Any]) -> httpx.AsyncClient:
    tls = ssl.create_default_context(cafile=begun["environment"]["SSL_CERT_FILE"])
    return httpx.AsyncClient(proxy=begun["url"], verify=tls, timeout=GUARD_S)


URL = "https://api.openai.com/v1/chat/completions"
BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}


@pytest.mark.anyio
async def test_a_request_that_comes_late_is_not_the_next_tests(tmp_path: Path) -> None:
    async with Desk(tmp_path) as desk:
        first = await begun(desk, tmp_path / "first.jsonl")
        async with client(first) as app:
            assert (await app.post(URL, json=BODY)).status_code == 409
            assert (await asked(desk, "end", passed=True))["missed"] == ["POST /v1/chat/completions"]

            second = await begun(desk, tmp_path / "second.jsonl")
            assert second["url"] != first["url"]
            for late in (app, client(first)):  # over a connection that was open, and over a new one
                with pytest.raises(httpx.TransportError):
                    await late.post(URL, json=BODY)
        async with client(second) as app:
            assert (await app.post(URL, json=BODY)).status_code == 409
        ended = await asked(desk, "end", passed=True)
    assert (ended["missed"], ended["asked"]) == (["POST /v1/chat/completions"], 0)
    assert ended["answers"] == ["POST /v1/chat/completions: no exchange in second.jsonl matches it"]


@pytest.mark.anyio
async def test_tests_share_one_authority_and_have_their_own_settings(tmp_path: Path) -> None:
    async with Desk(tmp_path) as desk:
        first = await begun(desk, tmp_path / "first.jsonl")
        second = await begun(desk, tmp_path / "second.jsonl", UNDERSTUDY_HOSTS="llm.example.com")
        third = await begun(desk, tmp_path / "third.jsonl")
        wrong = {"set": {"UNDERSTUDY_REPLAY_EXPIRES_IN": "soon"}, "unset": []}
        more = {"cassette": "x.jsonl", "mode": "none", "root": "/", "environment": wrong}
        refused = await desk.answer(json.dumps({"do": "begin", **more}).encode())

    bundles = [begun["environment"]["SSL_CERT_FILE"] for begun in (first, second, third)]
    assert bundles[0] == bundles[2] != bundles[1]
    assert "UNDERSTUDY_REPLAY_EXPIRES_IN" in refused["error"]


@pytest.mark.anyio
async def test_a_command_that_cannot_be_obeyed_is_answered_with_an_error(tmp_path: Path) -> None:
    async with Desk(tmp_path) as desk:
        for line, told in (
            (b"{", "an internal error of Understudy"),
            (b'{"do": "end", "passed": true}', "the command end must come after begin"),
        ):
            assert told in (await desk.answer(line))["error"]
        begin = {"do": "begin", "cassette": "folder", "mode": "again", "root": "/", "environment": {}}
        begin["environment"] = {"set": {}, "unset": []}
        assert "only a single file (.jsonl)" in (await desk.answer(json.dumps(begin).encode()))["error"]

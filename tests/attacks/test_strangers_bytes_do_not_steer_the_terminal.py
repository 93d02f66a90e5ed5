"""Escape sequences in a path, a method or a Host reach neither the log nor what commands print."""

import json
import socket
import subprocess
from pathlib import Path

from cassettes.format import HEADER
from tests.end_to_end.cloud import GUARD_S, Cloud
from tests.end_to_end.understudy import UNDERSTUDY, clean_environment, serve

ESCAPES = b"\x1b[2J\x1b]0;owned\x07\xc2\x9b31m"


def test_the_log_has_no_escape_sequence_of_a_request(cloud: Cloud, home: Path) -> None:
    with serve(clean_environment(home, cloud.base_url), "--base-url", "127.0.0.1:0") as proxy:
        host, port = proxy.err.wait_for(r"OPENAI_BASE_URL=http://([\d.]+):(\d+)").groups()
        for head in (
            b"GET /v1/" + ESCAPES + b" HTTP/1.1\r\nHost: localhost\r\n",
            b"GE" + ESCAPES + b" /v1/models HTTP/1.1\r\nHost: localhost\r\n",
            b"GET /v1/models HTTP/1.1\r\nHost: " + ESCAPES + b"\r\n",
        ):
            with socket.create_connection((host, int(port)), timeout=GUARD_S) as connection:
                connection.sendall(head + b"Connection: close\r\n\r\n")
                while connection.recv(65536):
                    pass
        proxy.end()

    assert "/v1/\\x1b[2J" in proxy.err.text
    for stream in (proxy.err.text, proxy.out.text):
        assert "\x1b]" not in stream
        assert "\x1b[2J" not in stream
        assert "\x9b" not in stream


def test_no_command_prints_an_escape_sequence_of_a_cassette(home: Path) -> None:
    env = clean_environment(home)
    path = "/v1/\x1b]0;owned\x07\x9b"
    lines = [
        HEADER,
        {
            "id": "\x1b[2Jentry",
            "n": 0,
            "started": "2026-11-20T09:30:00Z",
            "request": {"method": "GET\x1b[2J", "path": path, "headers": {}},
        },
        {"id": "\x1b[2Jentry", "n": 1, "at": 1.0, "end": "done"},
    ]
    cassette = home / "a.jsonl"
    cassette.write_text("".join(json.dumps(line) + "\n" for line in lines))

    for command in (["retranslate"], ["show"], ["show", "1"], ["reassemble"]):
        done = subprocess.run(
            [UNDERSTUDY, command[0], str(cassette), *command[1:]], env=env, capture_output=True, timeout=GUARD_S
        )
        for stream in (done.stdout, done.stderr):
            assert not {b"\x1b", b"\x07", "\x9b".encode()} & {stream[n : n + 1] for n in range(len(stream))}
            assert "\x9b".encode() not in stream
            assert b"Traceback" not in stream

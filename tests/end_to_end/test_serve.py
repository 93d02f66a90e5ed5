"""`understudy serve` for programs started elsewhere, its base-URL door, and the same as an addon script."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from mitmproxy import http
from mitmproxy import io as mitmproxy_io

from rehearsal import Reply
from rehearsal.reply import Fault, FaultKind
from tests.end_to_end import processes
from tests.end_to_end.cloud import GUARD_S, Cloud
from tests.end_to_end.site import issuer
from tests.end_to_end.tunnel import certificate
from tests.end_to_end.understudy import APPS, BIN, ROOT, UNDERSTUDY, Proxy, clean_environment, serve

HELLO: list[Any] = [{"role": "user", "content": "Hello"}]


def test_an_app_that_can_set_a_base_url_needs_neither_proxy_nor_certificate(
    proxy: Proxy, cloud: Cloud, home: Path
) -> None:
    door = proxy.err.wait_for(r"OPENAI_BASE_URL=(http://127\.0\.0\.1:\d+/v1)")[1]
    cloud.script(Reply(text="Aye."), Reply(text="This is a test."))
    env = clean_environment(home, OPENAI_BASE_URL=door, OPENAI_API_KEY="sk-of-the-app")

    done = subprocess.run(
        [sys.executable, APPS / "synchronous.py"], env=env, capture_output=True, text=True, timeout=GUARD_S
    )

    whole, streamed = (json.loads(line) for line in done.stdout.splitlines())
    deltas = [chunk["choices"][0]["delta"].get("content") or "" for chunk in streamed["chunks"] if chunk["choices"]]
    assert whole["completion"]["choices"][0]["message"]["content"] == "Aye."
    assert "".join(deltas) == "This is a test."


def test_a_base_url_without_its_version_is_answered_too(proxy: Proxy, cloud: Cloud) -> None:
    door = proxy.err.wait_for(r"OPENAI_BASE_URL=(http://127\.0\.0\.1:\d+)/v1")[1]
    cloud.script(Reply(text="At the door."), Reply(text="Through the proxy."), Reply(text="A response."))

    with openai.OpenAI(base_url=door, api_key="x", max_retries=0) as client:
        at_the_door = client.chat.completions.create(model="gpt-4o", messages=HELLO)
        models = [model.id for model in client.models.list()]
        with pytest.raises(openai.NotFoundError, match="Did you mean /v1/chat/completions"):
            client.post("/v1/v1/chat/completions", body={}, cast_to=object)
    with proxy.openai(base_url="https://api.openai.com") as client:
        through_the_proxy = client.chat.completions.create(model="gpt-4o", messages=HELLO)
        response = client.responses.create(model="gpt-4o", input="Hello")

    assert at_the_door.choices[0].message.content == "At the door."
    assert through_the_proxy.choices[0].message.content == "Through the proxy."
    assert response.output_text == "A response."
    assert "gpt-4o" in models


def test_each_door_says_what_it_is(proxy: Proxy) -> None:
    door = proxy.err.wait_for(r"OPENAI_BASE_URL=(http://127\.0\.0\.1:\d+)/v1")[1]

    own = httpx.get(f"{proxy.url}/", headers={"accept": "text/html"})
    taken_for_a_base_url = httpx.post(f"{proxy.url}/v1/chat/completions", json={})
    base_url = httpx.get(f"{door}/")
    endpoints = httpx.get(f"{door}/v1")
    with httpx.Client(proxy=proxy.url, verify=proxy.tls()) as client:
        stands_in = client.get("https://api.openai.com/")

    assert (own.status_code, own.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert f"HTTPS_PROXY={proxy.url}" in own.text
    assert taken_for_a_base_url.status_code == 421
    assert f"OPENAI_BASE_URL={door}/v1" in base_url.text
    assert {"method": "POST", "path": "/v1/chat/completions"} in endpoints.json()["data"]
    assert "stands in for api.openai.com" in stands_in.text


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_a_shell_that_has_read_the_lines_of_env_reaches_the_proxy_with_plain_curl(proxy: Proxy, cloud: Cloud) -> None:
    env = clean_environment(proxy.home)
    env["PATH"] = f"{BIN}{os.pathsep}{env['PATH']}"
    body = json.dumps({"model": "gpt-4o", "messages": HELLO})
    script = f"""
        eval "$(understudy env --listen {proxy.host}:{proxy.port})"
        curl -sS https://api.openai.com/v1/chat/completions -H "Authorization: Bearer $OPENAI_API_KEY" -d '{body}'
    """
    cloud.script(Reply(text="Reached."))

    done = subprocess.run(["sh", "-c", script], env=env, capture_output=True, text=True, timeout=GUARD_S)

    assert done.stderr == ""
    assert json.loads(done.stdout)["choices"][0]["message"]["content"] == "Reached."


def test_the_lines_of_env_take_an_ipv6_address(home: Path) -> None:
    command = [UNDERSTUDY, "env", "--listen", "[::1]:8080"]
    done = subprocess.run(command, env=clean_environment(home), capture_output=True, text=True, timeout=GUARD_S)

    assert "export HTTPS_PROXY='http://[::1]:8080'" in done.stdout.splitlines(), done.stderr


def test_trust_files_that_cannot_be_written_are_told_in_one_line(home: Path) -> None:
    env = clean_environment(home)
    folder = Path(env["UNDERSTUDY_DATA_DIR"])
    folder.mkdir(exist_ok=True)
    (folder / "trust").write_text("no folder")

    done = subprocess.run([UNDERSTUDY, "env"], env=env, capture_output=True, text=True, timeout=GUARD_S)

    assert done.returncode == 2
    assert done.stderr.startswith("understudy: the certificate files cannot be written: ")
    assert len(done.stderr.splitlines()) == 1


def test_mitmdump_loads_the_addons_as_they_are(cloud: Cloud, home: Path) -> None:
    env = clean_environment(home, cloud.base_url, UNDERSTUDY_MODEL_MAP="my-*=claude-haiku-4-5", PYTHONUNBUFFERED="1")
    command = [str(BIN / "mitmdump"), "-s", str(ROOT / "run_proxy.py"), "--listen-host", "127.0.0.1", "-p", "0"]
    cloud.script(Reply(text="By mitmdump."))

    with Mitmdump(command, env) as proxy:
        authority = issuer(certificate((proxy.host, proxy.port), "api.openai.com"))
        proxy.authority = home / ".mitmproxy" / "mitmproxy-ca-cert.pem"
        with proxy.openai() as client:
            completion = client.chat.completions.create(model="my-model", messages=HELLO)
        claude = processes.claude_in(home)
        proxy.end()

        assert authority == "mitmproxy"
        assert completion.choices[0].message.content == "By mitmdump."
        assert cloud.turns[0].body["model"] == "claude-haiku-4-5"
        assert claude != []
        assert processes.still_there(claude) == []


def test_a_setting_that_is_wrong_ends_mitmdump_with_one_line(home: Path) -> None:
    env = clean_environment(home, UNDERSTUDY_RETRY="3")
    command = [str(BIN / "mitmdump"), "-s", str(ROOT / "run_proxy.py"), "--listen-host", "127.0.0.1", "-p", "0"]

    done = subprocess.run(command, env=env, cwd=home, capture_output=True, text=True, timeout=GUARD_S)

    assert done.returncode == 2
    assert done.stderr == (
        "understudy: the environment: there is no setting for UNDERSTUDY_RETRY (did you mean UNDERSTUDY_RETRIES?)\n"
    )


@pytest.mark.parametrize(
    ("variable", "told"),
    [
        ({"UNDERSTUDY_PROVIDER": "foo"}, "Understudy cannot start: there is no provider 'foo'; "),
        ({"UNDERSTUDY_STORE_KEY": "canary"}, "Understudy cannot start: a key for what is stored is 32 bytes "),
    ],
)
def test_an_error_at_the_start_of_serve_is_one_line(variable: dict[str, str], told: str, home: Path) -> None:
    command = [UNDERSTUDY, "serve", "--listen", "127.0.0.1:0", "--log-level", "warning"]

    done = subprocess.run(
        command,
        env=clean_environment(home, ANTHROPIC_API_KEY="sk-ant-not-a-key", **variable),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=GUARD_S,
    )

    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert line.startswith(f"understudy: {told}")
    assert "canary" not in line


def test_failed_flows_are_marked_and_cut_answers_are_kept(cloud: Cloud, home: Path) -> None:
    gate = cloud.gate()
    cloud.script(
        Reply(text="Aye."),
        Reply.error(400),
        Reply(text="one two three", fault=Fault(FaultKind.SSE_ERROR, after=2)),
        Reply(text="one two three four", gates={2: gate}),
    )
    flows = home / "out.flow"
    env = clean_environment(home, cloud.base_url, UNDERSTUDY_RETRIES="0", PYTHONUNBUFFERED="1")
    command = [str(BIN / "mitmdump"), "-s", str(ROOT / "run_proxy.py"), "--listen-host", "127.0.0.1", "-p", "0"]
    with Mitmdump([*command, "-w", str(flows)], env) as proxy:
        certificate((proxy.host, proxy.port), "api.openai.com")
        proxy.authority = home / ".mitmproxy" / "mitmproxy-ca-cert.pem"
        with proxy.openai() as client:
            asked: Any = client.with_options(max_retries=0).chat.completions
            list(asked.create(model="gpt-4o", messages=HELLO, stream=True))
            with pytest.raises(openai.BadRequestError):
                asked.create(model="gpt-4o", messages=HELLO)
            with pytest.raises(openai.APIError):
                list(asked.create(model="gpt-4o", messages=HELLO, stream=True))
            with asked.create(model="gpt-4o", messages=HELLO, stream=True) as stream:
                got = [next(stream).choices[0].delta.content for _ in range(2)]
        proxy.out.wait_for(r"cut off \(")
        gate.open()
        proxy.end()

    with flows.open("rb") as file:
        told = [flow for flow in mitmproxy_io.FlowReader(file).stream() if isinstance(flow, http.HTTPFlow)]
    assert [bool(flow.marked) for flow in told] == [False, True, True, True]
    assert [flow.metadata["understudy"]["how"] for flow in told] == ["done", "failed", "failed", "cut_by_app"]
    assert told[2].comment.endswith("overloaded")
    assert told[3].response is not None and got[1] is not None and got[1].encode() in (told[3].response.content or b"")


class Mitmdump(Proxy):
    """mitmdump says on its standard output where it listens."""

    def _ready(self, pattern: str) -> tuple[str, str]:
        host, port = self.out.wait_for(r"proxy listening at ([\d.]+):(\d+)").groups()
        return host, port


def test_claude_code_is_not_sent_through_us_when_the_persons_shell_is(cloud: Cloud, home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    ours = f"http://127.0.0.1:{port}"
    theirs = "http://proxy.example:3128"
    env = clean_environment(home, cloud.base_url, HTTPS_PROXY=ours, https_proxy=ours, ALL_PROXY=ours, FTP_PROXY=theirs)

    with serve(env, "--listen", f"127.0.0.1:{port}") as proxy, proxy.openai() as client:
        client.chat.completions.create(model="gpt-4o", messages=HELLO)
        inherited = [processes.environment(pid) for pid in processes.claude_in(home)]

    assert inherited != []
    for environment in inherited:
        assert environment["ALL_PROXY"] == ""
        assert environment["FTP_PROXY"] == theirs
        assert ours not in environment.values()
    assert len(cloud.turns) == 1


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"])
def test_serve_ends_with_everything_that_it_started(number: int, status: int, cloud: Cloud, home: Path) -> None:
    cloud.script(Reply(text="one two three", gates={1: cloud.gate()}))

    env = clean_environment(home, cloud.base_url, UNDERSTUDY_DRAIN_S="1", UNDERSTUDY_SPARE_PROCESSES="1")
    with serve(env) as proxy, proxy.openai() as client:
        stream = client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True)
        with stream:
            next(chunk for chunk in stream if chunk.choices[0].delta.content)
            claude = processes.claude_in(home)
            proxy.process.send_signal(number)
            ended = proxy.process.wait(GUARD_S)

            assert claude != []
            assert ended == status
            assert processes.living_in(home) == []


def test_the_printed_address_of_mitmweb_lets_in_and_is_in_no_log(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    options = ("--rehearsal", "--web", "--web-listen", f"127.0.0.1:{port}", "--log-file", "understudy.log")

    with serve(clean_environment(home), *options) as proxy:
        url = proxy.err.wait_for(r"(?m)^mitmweb: (http://\S+)$")[1]
        token = url.partition("?token=")[2]
        let_in = httpx.get(url)
        refused = httpx.get(f"http://127.0.0.1:{port}/")
        proxy.end()

    assert (let_in.status_code, refused.status_code) == (200, 403)
    assert proxy.err.text.count(token) == 1
    assert token not in (home / "understudy.log").read_text("utf-8")


def test_serve_begins_with_where_programs_are_sent(home: Path) -> None:
    with serve(clean_environment(home, UNDERSTUDY_LOG_LEVEL="info"), "--rehearsal") as proxy:
        proxy.err.wait_for("any other")
        lines = proxy.err.text.splitlines()
        proxy.end()

    at = next(number for number, line in enumerate(lines) if line.endswith(f"the proxy listens at {proxy.url}"))
    env = next(
        n
        for n, line in enumerate(lines)
        if line.endswith(f'eval "$(understudy env --listen {proxy.host}:{proxy.port})"')
    )
    models = next(number for number, line in enumerate(lines) if " answers for " in line)
    assert at < env < models
    assert len([line for line in lines if "rehearsal" in line.lower()]) == 1


def test_a_port_in_use_is_the_only_line_of_serve(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [UNDERSTUDY, "serve", "--rehearsal", "--listen", f"127.0.0.1:{port}"],
            env=clean_environment(home), cwd=home, capture_output=True, text=True, timeout=GUARD_S,
        )  # fmt: skip

    lines = [line for line in done.stderr.splitlines() if "made a certificate authority" not in line]
    assert done.returncode == 2
    assert len(lines) == 1
    assert lines[0].startswith(f"understudy: --listen 127.0.0.1:{port} is in use")

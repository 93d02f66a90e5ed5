"""Converting there and back, and from what others have recorded; secrets and broken files among it."""

import base64
import gzip
import json
import random
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import brotli  # type: ignore[import-untyped]
import pytest
import typer
import zstandard
from mitmproxy import io as mitmproxy_io
from typer.testing import CliRunner, Result

from cassettes.format import Entry
from cassettes.index import load
from cassettes.read import read
from cassettes.record.record import Recorder
from cassettes.show.cassette import LookError, Row
from cli.convert import add_convert_command
from tests.end_to_end.understudy import UNDERSTUDY

cli = typer.Typer()
add_convert_command(cli)
# A program with one command has no name for it.
cli.callback()(lambda: None)

FIXTURES = sorted((Path(__file__).parents[2] / "fixtures" / "exchanges").glob("*.jsonl"))
CANARY = "sk-proj-canary0123456789abcdefghijklmnop"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture
def cassette(tmp_path: Path) -> Path:
    """All fixtures in one."""
    path = tmp_path / "all.jsonl"
    texts = [fixture.read_text(encoding="utf-8").splitlines(keepends=True) for fixture in FIXTURES]
    path.write_text(texts[0][0] + "".join(line for text in texts for line in text[1:]), encoding="utf-8")
    return path


def entries(path: Path) -> list[Entry]:
    return [entry for entry in read(path) if isinstance(entry, Entry)]


def essence(entry: Entry) -> Any:
    chunks = [(round(chunk.at_ms, 2), chunk.data) for chunk in entry.chunks]
    headers = {name: value for name, value in entry.headers.items() if name != "content-length"}
    return entry.request.method, entry.request.path, entry.request.json, entry.status, headers, chunks, entry.message


@pytest.mark.parametrize("name", ["a.har", "a.flow"])
def test_there_and_back_nothing_that_went_over_the_wire_is_lost(cassette: Path, tmp_path: Path, name: str) -> None:
    assert run("convert", cassette, tmp_path / name).exit_code == 0
    assert run("convert", tmp_path / name, tmp_path / "back.jsonl").exit_code == 0
    assert list(map(essence, entries(tmp_path / "back.jsonl"))) == list(map(essence, entries(cassette)))


def test_a_har_is_what_developer_tools_open(cassette: Path, tmp_path: Path) -> None:
    run("convert", cassette, tmp_path / "a.har")
    log = json.loads((tmp_path / "a.har").read_text(encoding="utf-8"))["log"]
    one = log["entries"][0]
    assert log["version"] == "1.2" and log["creator"]["name"] == "Understudy"
    assert one["request"]["url"].startswith("https://api.openai.com/v1/")
    assert {"startedDateTime", "time", "request", "response", "cache", "timings"} <= one.keys()
    assert one["timings"]["wait"] + one["timings"]["receive"] == pytest.approx(one["time"])


def test_a_flow_file_is_what_mitmproxy_reads(cassette: Path, tmp_path: Path) -> None:
    run("convert", cassette, tmp_path / "a.flow")
    with (tmp_path / "a.flow").open("rb") as file:
        flows: list[Any] = list(mitmproxy_io.FlowReader(file).stream())
    assert len(flows) == len(FIXTURES)
    assert {flow.request.pretty_host for flow in flows} == {"api.openai.com"}


def test_lines_for_evaluations_end_with_the_answer(cassette: Path, tmp_path: Path) -> None:
    done = run("convert", cassette, tmp_path / "a.txt", "--format", "openai-jsonl")
    lines = [json.loads(line) for line in (tmp_path / "a.txt").read_text(encoding="utf-8").splitlines()]
    assert done.exit_code == 0 and "left out" in done.stdout
    assert all(line["messages"][-1]["role"] == "assistant" for line in lines)
    assert any("tools" in line for line in lines)
    assert len(lines) == sum("/chat/" in entry.request.path and entry.status == 200 for entry in entries(cassette))


def test_half_a_character_goes_out_as_the_escape_that_it_came_as(tmp_path: Path) -> None:
    message = {"object": "chat.completion", "choices": [{"message": {"role": "assistant", "content": "\ud83d"}}]}
    with Recorder(tmp_path / "a.jsonl") as tapes:
        body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "cut \ud83d"}]}).encode()
        recording = tapes.begin("POST", "/v1/chat/completions", [], body)
        recording.respond(1, 200, [("content-type", "application/json")])
        recording.end("done", message=message)
    for name, options in (("a.har", ()), ("a.flow", ()), ("lines.jsonl", ("--format", "openai-jsonl"))):
        assert run("convert", tmp_path / "a.jsonl", tmp_path / name, *options).exit_code == 0
    line = json.loads((tmp_path / "lines.jsonl").read_text(encoding="utf-8"))
    assert [said["content"] for said in line["messages"]] == ["cut \ud83d", "\ud83d"]


VCR = f"""
interactions:
- request:
    body: '{{"model": "gpt-4o", "messages": [{{"role": "user", "content": "my key is {CANARY}"}}]}}'
    headers: {{authorization: ['Bearer {CANARY}'], content-type: [application/json]}}
    method: POST
    uri: https://api.openai.com/v1/chat/completions
  response:
    body: {{string: '{{"choices": [{{"message": {{"role": "assistant", "content": "it is {CANARY}"}}}}]}}'}}
    headers: {{content-type: [application/json]}}
    status: {{code: 200, message: OK}}
version: 1
"""


def test_vcrpys_cassettes_come_in_without_their_secrets(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(VCR)
    assert run("convert", tmp_path / "a.yaml", tmp_path / "a.jsonl").exit_code == 0
    (entry,) = entries(tmp_path / "a.jsonl")
    assert entry.request.path == "/v1/chat/completions" and entry.status == 200
    assert entry.message["choices"][0]["message"]["content"].startswith("it is ")
    written = b"".join(path.read_bytes() for path in tmp_path.glob("a.jsonl*") if path.is_file())
    assert b"canary" not in written


def test_vcrpys_older_format_for_httpx_is_read(tmp_path: Path) -> None:
    newer = """body: {string: '{"choices"""
    assert newer in VCR
    older = VCR.replace(newer, """content: '{"choices""").replace("}}]}'}", "}}]}'")
    older = older.replace("status: {code: 200, message: OK}", "status_code: 200\n    http_version: HTTP/1.1")
    (tmp_path / "a.yaml").write_text(older)
    assert run("convert", tmp_path / "a.yaml", tmp_path / "a.jsonl").exit_code == 0
    (entry,) = entries(tmp_path / "a.jsonl")
    assert entry.status == 200 and entry.message["choices"][0]["message"]["content"].startswith("it is ")


def _deflated_without_frame(data: bytes) -> bytes:
    done = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return done.compress(data) + done.flush()


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", _deflated_without_frame),
        ("br", brotli.compress),
        ("zstd", zstandard.ZstdCompressor().compress),
        *[(encoding, bytes) for encoding in ("gzip", "deflate", "br", "zstd")],
    ],
)
def test_a_vcrpy_body_comes_in_decoded_be_it_as_it_was_sent_or_as_vcrpy_had_decoded_it(
    tmp_path: Path, encoding: str, encode: Callable[[bytes], bytes]
) -> None:
    answer = {"choices": [{"message": {"role": "assistant", "content": "Hello"}}]}
    body = base64.b64encode(encode(json.dumps(answer).encode())).decode()
    (tmp_path / "a.yaml").write_text(f"""
interactions:
- request: {{body: null, headers: {{}}, method: GET, uri: https://api.openai.com/v1/chat/completions}}
  response:
    body: {{string: !!binary {body}}}
    headers: {{content-encoding: [{encoding}], content-type: [application/json]}}
    status: {{code: 200, message: OK}}
version: 1
""")
    assert run("convert", tmp_path / "a.yaml", tmp_path / "a.jsonl").exit_code == 0
    assert [one.message for one in entries(tmp_path / "a.jsonl")] == [answer]


def test_a_browsers_har_comes_in_without_its_secrets(tmp_path: Path) -> None:
    request = {"method": "POST", "url": f"https://api.openai.com/v1/x?api_key={CANARY}", "headers": [
        {"name": ":authority", "value": "api.openai.com"}, {"name": "Authorization", "value": f"Bearer {CANARY}"},
    ], "postData": {"mimeType": "application/json", "text": "{}"}}  # fmt: skip
    response = {"status": 200, "headers": [], "content": {"text": f"data: {CANARY}\n\n", "mimeType": "text/plain"}}
    entry = {"startedDateTime": "2026-03-04T05:06:07.089Z", "time": 12.5, "request": request, "response": response}
    (tmp_path / "a.har").write_text(json.dumps({"log": {"entries": [entry]}}))
    assert run("convert", tmp_path / "a.har", tmp_path / "a.jsonl").exit_code == 0
    assert b"canary" not in (tmp_path / "a.jsonl").read_bytes()
    assert entries(tmp_path / "a.jsonl")[0].started.startswith("2026-03-04T05:06:07")


def _har(response: dict[str, Any]) -> str:
    request = {"method": "POST", "url": "https://api.openai.com/v1/chat/completions", "headers": []}
    entry = {"startedDateTime": "2026-03-04T05:06:07.089Z", "time": 1, "request": request, "response": response}
    return json.dumps({"log": {"entries": [entry]}})


@pytest.mark.parametrize("encode", [gzip.compress, bytes], ids=["as it was sent", "decoded"])
def test_a_har_body_comes_in_decoded(tmp_path: Path, encode: Callable[[bytes], bytes]) -> None:
    answer = {"choices": [{"message": {"role": "assistant", "content": "Hello"}}]}
    text = base64.b64encode(encode(json.dumps(answer).encode())).decode()
    headers = [
        {"name": "Content-Encoding", "value": "gzip"},
        {"name": "content-type", "value": "application/json"},
    ]
    content = {"size": 1, "mimeType": "application/json", "text": text, "encoding": "base64"}
    (tmp_path / "a.har").write_text(_har({"status": 200, "headers": headers, "content": content}))

    assert run("convert", tmp_path / "a.har", tmp_path / "a.jsonl").exit_code == 0

    assert [one.message for one in entries(tmp_path / "a.jsonl")] == [answer]


def test_a_body_that_a_har_has_left_out_is_reported_and_is_no_answer(tmp_path: Path) -> None:
    content = {"size": 1234, "mimeType": "application/json"}
    (tmp_path / "a.har").write_text(_har({"status": 200, "headers": [], "content": content}))

    done = run("convert", tmp_path / "a.har", tmp_path / "a.jsonl")

    assert (done.exit_code, done.stdout.startswith("1 exchanges; 1 without the answer's body")) == (0, True)
    assert [(one.status, one.how) for one in entries(tmp_path / "a.jsonl")] == [(200, "failed")]


def test_a_request_that_a_browser_gave_up_has_no_answer(tmp_path: Path) -> None:
    request = {"method": "POST", "url": "https://api.openai.com/v1/chat/completions", "headers": []}
    response = {"status": 0, "headers": [], "content": {"size": 0, "mimeType": "x-unknown"}, "_error": "net::ERR"}
    entry = {"startedDateTime": "2026-03-04T05:06:07.089Z", "time": -1, "request": request, "response": response}
    (tmp_path / "a.har").write_text(json.dumps({"log": {"entries": [entry]}}))
    assert run("convert", tmp_path / "a.har", tmp_path / "a.jsonl").exit_code == 0
    assert run("convert", tmp_path / "a.jsonl", tmp_path / "b.har").exit_code == 0
    assert run("convert", tmp_path / "b.har", tmp_path / "b.jsonl").exit_code == 0
    assert [(one.status, one.how) for name in "ab" for one in entries(tmp_path / f"{name}.jsonl")] == [
        (None, "failed")
    ] * 2


def test_force_writes_over_all_parts_of_a_cassette_once_what_comes_in_can_be_read(
    cassette: Path, tmp_path: Path
) -> None:
    (tmp_path / "all.2.jsonl").write_bytes(cassette.read_bytes())
    before = entries(cassette)
    (tmp_path / "a.yaml").write_text(VCR.replace("status:", "stat:"))
    broken = run("convert", tmp_path / "a.yaml", cassette, "--force")
    assert broken.exit_code == 2 and entries(cassette) == before
    (tmp_path / "a.yaml").write_text(VCR)
    assert run("convert", tmp_path / "a.yaml", cassette, "--force").exit_code == 0
    assert [entry.status for entry in entries(cassette)] == [200]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("none.har", "b.jsonl"), "none.har"),
        (("a.har", "b.jsonl"), "is not a HAR"),
        (("a.yaml", "b.jsonl"), "is not a cassette of vcrpy"),
        (("a.flow", "b.jsonl"), "is not a flow file"),
        (("a.txt", "b.jsonl"), "its suffix must be one of .har"),
        (("all.jsonl", "b.xyz"), "its suffix must be .har or .flow"),
        (("all.jsonl", "a.har"), "already exists"),
        (("a.har", "b.flow"), "can only be converted to a cassette (.jsonl)"),
        (("none.jsonl", "b.har"), "none.jsonl"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    cassette: Path, arguments: tuple[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(cassette.parent)
    for name in ("a.har", "a.yaml", "a.flow", "a.txt"):
        Path(name).write_text("- nothing\n")
    before = sorted(path.name for path in Path().iterdir())
    done = run("convert", *arguments)
    assert done.exit_code == 2
    assert told in done.stderr and done.stderr.count("\n") == 1
    # Nothing is left of what could not be made: neither empty, nor half.
    assert sorted(path.name for path in Path().iterdir()) == before


@pytest.mark.parametrize("target", ["b.har", "b.flow", "b.jsonl"])
@pytest.mark.parametrize("is_there", [True, False])
def test_an_exchange_that_cannot_be_read_leaves_what_is_there_as_it_was(
    cassette: Path, target: str, is_there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(row: Row) -> NoReturn:
        raise LookError(f"exchange {row.n} cannot be read")

    monkeypatch.setattr("cli.convert.load", broken)
    place = cassette.with_name(target)
    if is_there:
        place.write_text("what was there")
    load(cassette)  # its index, which is no output
    before = sorted(cassette.parent.iterdir())
    done = run(
        "convert",
        cassette,
        place,
        "--force",
        "--format",
        "openai-jsonl" if target == "b.jsonl" else target[2:].replace("flow", "flows"),
    )
    assert done.exit_code == 2 and "exchange 1 cannot be read" in done.stderr
    assert sorted(cassette.parent.iterdir()) == before
    assert not is_there or place.read_text() == "what was there"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no /dev/stdout")
def test_the_output_can_be_a_pipe(cassette: Path, tmp_path: Path) -> None:
    script = f'"{UNDERSTUDY}" convert "{cassette}" /dev/stdout --force --format openai-jsonl | head -1'
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout)["messages"] and done.stderr == ""


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("name", ["a.har", "a.flow", "a.yaml"])
def test_a_broken_file_never_gives_a_traceback(cassette: Path, tmp_path: Path, name: str, seed: int) -> None:
    if name == "a.yaml":
        (tmp_path / name).write_text(VCR)
    else:
        run("convert", cassette, tmp_path / name)
    chance = random.Random(seed)
    data = bytearray((tmp_path / name).read_bytes())
    for _ in range(chance.randint(1, 5)):
        place = chance.randrange(len(data))
        data[place : place + chance.randrange(3)] = bytes([chance.randrange(256)])
    (tmp_path / name).write_bytes(data)
    done = run("convert", tmp_path / name, tmp_path / "back.jsonl")
    assert done.exit_code in (0, 2)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception

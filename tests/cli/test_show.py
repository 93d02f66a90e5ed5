"""`understudy show` and `understudy diff`, on cassettes of every kind of exchange."""

import json
import os
import random
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.cells import cell_len
from typer.testing import CliRunner, Result

from cassettes.show import listing
from cassettes.show.cassette import open_cassette
from cassettes.show.listing import Choice
from cassettes.show.parts import Part, said
from cli.show import NUMBERS, diff, show
from tests.cassettes.show import tapes
from tests.end_to_end.understudy import UNDERSTUDY

cli = typer.Typer()
cli.command(context_settings=NUMBERS)(show)
cli.command()(diff)

KINDS = [
    tapes.streamed_chat,
    tapes.chat_at_once,
    tapes.tools,
    tapes.responses_at_once,
    tapes.responses_streamed,
    tapes.legacy,
    tapes.refused,
]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture
def cassette(tmp_path: Path) -> Path:
    path = tmp_path / "a.jsonl"
    with tapes.recorder(path) as recorder:
        for n in range(3):
            for kind in KINDS:
                kind(recorder, n)
    return path


def test_a_list_has_a_line_for_each_exchange_and_what_they_come_to(cassette: Path) -> None:
    shown = run("show", cassette)
    lines = shown.stdout.splitlines()
    assert shown.exit_code == 0
    assert len(lines) == 1 + 3 * len(KINDS) + 1
    assert "gpt-4o → claude-sonnet-4-5" in lines[1] and "200" in lines[1] and "done" in lines[1]
    assert "429" in shown.stdout
    assert lines[-1].startswith(f"{3 * len(KINDS)} exchanges (3 failed), ")


def test_a_list_for_programs_tells_the_same(cassette: Path) -> None:
    told = json.loads(run("show", cassette, "--json").stdout)
    assert len(told["exchanges"]) == 3 * len(KINDS)
    assert told["exchanges"][0]["status"] == 200


def listed(path: Path, *options: object) -> list[int]:
    """Return the numbers that a list for programs has, and see that the one for people has the same."""
    told = json.loads(run("show", path, *options, "--json").stdout)
    numbers = [one["n"] for one in told["exchanges"]]
    lines = run("show", path, *options).stdout.splitlines()
    assert [int(line.split()[0]) for line in lines[1:-1]] == numbers
    count = f"{len(numbers)} of {told['listed']['of']}" if len(numbers) < told["listed"]["of"] else str(len(numbers))
    assert lines[-1].startswith(f"{count} exchange")
    assert f", {told['total']['input']} tokens in" in lines[-1]
    assert told["total"]["input"] == sum(one["tokens"]["input"] or 0 for one in told["exchanges"])
    assert told["listed"]["failed"] == sum(one["ended"] != "done" for one in told["exchanges"])
    return numbers


@pytest.fixture
def every(tmp_path: Path) -> Path:
    """One exchange of each kind, those that failed among them."""
    return tapes.everything(tmp_path / "every.jsonl", of_each=1)


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ((), [*range(1, 13)]),
        (("--failed",), [7, 8, 9, 10]),
        (("--grep", "PARIS"), [3, 5]),  # in the arguments of a call
        (("--grep", "^You are too"), [7]),  # in an error
        (("--grep", "gradient"), [11]),  # in an answer
        (("--grep", "Hello", "--failed"), [7, 8, 10]),
        (("--model", "davinci"), [6]),
        (("--model", "SONNET-4"), [1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12]),
        (("--model", "gpt-4*", "--slow", "1"), [2, 4, 12]),
        (("--slow", "2"), [12]),
    ],
)
def test_options_choose_what_is_listed_together(every: Path, options: tuple[str, ...], numbers: list[int]) -> None:
    assert listed(every, *options) == numbers


def test_a_list_of_nothing_says_so(every: Path) -> None:
    assert run("show", every, "--grep", "nobody said this").stdout == "0 of 12 exchanges, 0 tokens in, 0 out\n"


def test_a_list_tells_the_words_of_question_and_answer_and_how_it_ended(every: Path) -> None:
    rows = json.loads(run("show", every, "--json").stdout)["exchanges"]
    assert [(row["question"], row["answer"]) for row in rows[:5]] == [
        ("Hello 0", "Hello 0."),
        ("Hello 0", "Hello 0."),
        ("And in Rome?", '→ weather({"city": "Rome"})'),
        ("Hello 0", "Hello 0."),
        ("← cold", "It is cold."),
    ]
    ended = [(row["status"], row["ended"]) for row in rows[6:10]]
    assert ended == [(429, "failed"), (200, "failed"), (200, "cut_by_app"), (200, "interrupted")]
    assert rows[6]["error"]["code"] == "rate_limit_exceeded"
    assert all("429" in line or "done" not in line for line in run("show", every, "--failed").stdout.splitlines())
    assert ": 429, failed" in run("show", every, 7).stdout


def test_tokens_and_dollars_are_claudes_whatever_the_app_was_told(tmp_path: Path) -> None:
    with tapes.recorder(tmp_path / "a.jsonl") as recorder:
        for _ in range(2):
            recording = tapes.begin(recorder, tapes.ask("Hello", stream=True))
            usage = {"input_tokens": 9, "cache_read_input_tokens": 91, "output_tokens": 50}
            recording.event(701, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage})
            # The app asked for no usage, and was told none.
            tapes.stream(recording, [tapes.chunk({"content": "Hello."}, "stop"), tapes.sse("[DONE]")])
    told = json.loads(run("show", tmp_path / "a.jsonl", "--json").stdout)
    price = (9 * 3 + 91 * 0.3 + 50 * 15) / 1e6
    for row in told["exchanges"]:
        assert row["tokens"] == {"input": 100, "cached": 91, "cache_written": 0, "output": 50, "reasoning": None}
        assert row["cost_usd"] == pytest.approx(price)
    assert told["total"]["cost_usd"] == pytest.approx(2 * price)
    assert run("show", tmp_path / "a.jsonl").stdout.splitlines()[-1] == (
        f"2 exchanges, 200 tokens in (91 % cached), 100 out, {2 * price:.4f} USD"
    )
    one = json.loads(run("show", tmp_path / "a.jsonl", 1, "--json").stdout)
    assert (one["tokens"]["input"], one["cost_usd"]) == (100, pytest.approx(price))


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 120, 160, 240, 400])
def test_a_list_is_as_wide_as_the_terminal_and_says_which_columns_it_leaves_out(every: Path, width: int) -> None:
    lines = [line.plain for line in listing.list_lines(open_cassette(every), Choice(), width)]
    head, rows = lines[0], lines[1:13]
    assert max(map(cell_len, [head, *rows])) <= max(width, 23)
    said = lines[13].removeprefix("too narrow for: ").removesuffix(" (--json has them)").split(", ")
    shown = [name for name in listing.COLUMNS if name in head]
    assert shown == [name for name in listing.COLUMNS if name not in said]
    left_out = [name for name in listing.COLUMNS if name not in shown]
    order = [name for name, least in listing.STEPS if not least]
    assert set(left_out) == set(order[: len(left_out)])
    if width == 80:
        assert {"#", "model", "USD", "status", "ended", "question"} <= set(shown)
    assert {"#", "status", "ended"} <= set(shown)


def test_a_terminal_of_80_columns_gets_lines_of_80(every: Path) -> None:
    env = {"PATH": os.environ["PATH"], "COLUMNS": "80", "FORCE_COLOR": "1", "NO_COLOR": "1"}
    done = subprocess.run([UNDERSTUDY, "show", every], env=env, capture_output=True, text=True, timeout=60)
    lines = re.sub(r"\x1b\[\d*m", "", done.stdout).splitlines()
    assert max(map(cell_len, lines[:13])) <= 80 and lines[13].startswith("too narrow for: ")
    assert done.stderr == ""


def exchange(recorder: Any, model: str, *, ended: bool, how: str = "done") -> None:
    """Record a stream that told the app no usage; ``ended``: whether Claude came to its end."""
    recording = recorder.begin("POST", "/v1/chat/completions", [], json.dumps(tapes.ask("Hello")).encode())
    usage = {"input_tokens": 10, "cache_read_input_tokens": 300, "output_tokens": 1}
    recording.event(1, {"type": "message_start", "message": {"model": model, "usage": usage}})
    if ended:
        final = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {**usage, "output_tokens": 40}}
        recording.event(2, final)
    recording.respond(3, 200, tapes.STREAM)
    recording.chunk(4, tapes.chunk({"content": "Hello."}))
    recording.end(how, at_ms=5)


def test_tokens_and_dollars_are_claudes_where_the_app_was_told_none(tmp_path: Path) -> None:
    with tapes.recorder(tmp_path / "a.jsonl") as recorder:
        exchange(recorder, "claude-opus-5-5", ended=True)
        exchange(recorder, "claude-opus-5-5", ended=False, how="cut_by_app")

    lines = run("show", tmp_path / "a.jsonl").stdout.splitlines()
    told = json.loads(run("show", tmp_path / "a.jsonl", "--json").stdout)
    one = json.loads(run("show", tmp_path / "a.jsonl", "1", "--json").stdout)

    assert lines[-1] == "2 exchanges (1 failed), 620 tokens in (97 % cached), 41 out, 0.0010 USD"
    assert [(row["tokens"]["input"], row["tokens"]["output"]) for row in told["exchanges"]] == [(310, 40), (310, 1)]
    assert [row["tokens"]["cached"] for row in told["exchanges"]] == [300, 300]
    assert [row["cost_usd"] for row in told["exchanges"]] == pytest.approx([0.0009, 0.00012])
    assert (told["total"]["input"], told["total"]["cost_usd"]) == (620, pytest.approx(0.00102))
    assert (one["tokens"]["input"], one["cost_usd"]) == (310, pytest.approx(0.0009))


def test_dollars_that_are_computed_from_what_the_app_was_told_are_marked(tmp_path: Path) -> None:
    with tapes.recorder(tmp_path / "a.jsonl") as recorder:
        recording = recorder.begin("POST", "/v1/chat/completions", [], json.dumps(tapes.ask("Hello")).encode())
        recording.respond(3, 200, [*tapes.JSON[:1], ("x-understudy-model", "opus")])
        recording.end("done", at_ms=5, usage={"prompt_tokens": 1000, "completion_tokens": 100}, cost_usd=9.0)

    told = json.loads(run("show", tmp_path / "a.jsonl", "--json").stdout)["exchanges"][0]

    assert "≈0.0060" in run("show", tmp_path / "a.jsonl").stdout.splitlines()[1].split()
    assert (told["cost_usd"], told["is_estimated"]) == (pytest.approx(0.006), True)


def test_the_dollars_of_a_model_whose_price_is_not_known_are_no_zero(tmp_path: Path) -> None:
    with tapes.recorder(tmp_path / "a.jsonl") as recorder:
        exchange(recorder, "claude-opus-9", ended=True)
    alone = run("show", tmp_path / "a.jsonl").stdout.splitlines()
    with tapes.recorder(tmp_path / "a.jsonl") as recorder:
        exchange(recorder, "claude-opus-5-5", ended=True)
    both = run("show", tmp_path / "a.jsonl").stdout.splitlines()
    told = json.loads(run("show", tmp_path / "a.jsonl", "--json").stdout)

    assert "?" in alone[1].split()
    assert alone[-1] == "1 exchange, 310 tokens in (97 % cached), 40 out, 1 of unknown price"
    assert both[-1] == "2 exchanges, 620 tokens in (97 % cached), 80 out, 0.000900 USD, and 1 of unknown price"
    assert [row["cost_usd"] for row in told["exchanges"]] == [None, pytest.approx(0.0009)]
    assert told["total"]["unpriced"] == 1
    assert "price unknown" in run("show", tmp_path / "a.jsonl", "1").stdout


@pytest.mark.parametrize("which", ["1", f"-{3 * len(KINDS)}", "e1"])
def test_an_exchange_is_found_by_number_from_either_end_and_by_id(cassette: Path, which: str) -> None:
    shown = run("show", cassette, which)
    assert shown.exit_code == 0
    assert shown.stdout.startswith(f"exchange 1 of {3 * len(KINDS)}: e1")
    assert "Hello 0." in shown.stdout
    assert "first token" in shown.stdout


def test_an_exchange_reads_like_a_conversation_with_its_tools_and_thoughts(cassette: Path) -> None:
    shown = run("show", cassette, "3").stdout
    for told in ("Weather 0?", "weather", '"city": "Paris"', "And in Rome?", "They want Rome.", '"city": "Rome"'):
        assert told in shown


@pytest.mark.parametrize("n", range(1, len(KINDS) + 1))
def test_every_kind_of_exchange_is_told_to_people_and_to_programs(cassette: Path, n: int) -> None:
    assert run("show", cassette, n).exit_code == 0
    told = json.loads(run("show", cassette, n, "--json").stdout)
    assert told["id"] == f"e{n}"


def test_show_escapes_control_characters(tmp_path: Path) -> None:
    evil = "\x1b[2J\x1b]0;title\x07 [bold red]markup[/] \u202e \x9b31m"
    with tapes.recorder(tmp_path / "a.jsonl") as recorder:
        tapes.whole(tapes.begin(recorder, tapes.ask(evil)), tapes.completion(evil))
    for arguments in (
        ("show", tmp_path / "a.jsonl"),
        ("show", tmp_path / "a.jsonl", "--grep", "title"),
        ("show", tmp_path / "a.jsonl", "--json"),
        ("show", tmp_path / "a.jsonl", 1),
    ):
        shown = run(*arguments).stdout
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(shown)
    assert "[bold red]markup[/]" in shown
    assert "\\x1b[2J" in shown


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("show", "none.jsonl"), "there is no file none.jsonl"),
        (("show", "no.jsonl"), "no.jsonl"),
        (("show", "a.jsonl", "99"), "has no exchange 99"),
        (("show", "a.jsonl", "nonsense"), "has no exchange nonsense"),
        (("show", "a.jsonl", "--grep", "("), "--grep (: missing )"),
        (("show", "a.jsonl", "1", "--failed"), "1 selects one exchange"),
        (("diff", "a.jsonl:1", "none.jsonl"), "none.jsonl"),
        (("diff", "a.jsonl:99", "a.jsonl:1"), "has no exchange 99"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    cassette: Path, arguments: tuple[str, ...], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(cassette.parent)
    Path("no.jsonl").write_text("nothing of ours\n")
    done = run(*arguments)
    assert done.exit_code == 2
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_reader_may_close_the_pipe_early(cassette: Path) -> None:
    command = f'"{UNDERSTUDY}" show "{cassette}" | head -1'
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize("seed", range(60))
def test_a_broken_cassette_is_read_as_far_as_it_goes_and_never_a_traceback(cassette: Path, seed: int) -> None:
    chance = random.Random(seed)
    lines = cassette.read_bytes().splitlines(keepends=True)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(lines))
        match chance.randrange(6):
            case 0:
                lines[place] = lines[place][: chance.randrange(len(lines[place]))] + b"\n"
            case 1:
                other = chance.randrange(len(lines))
                lines[place], lines[other] = lines[other], lines[place]
            case 2:
                lines[place] = lines[place].replace(b'"', b"\xff", 1)
            case 3:
                lines[place] = b'{"cassette": "understudy", "version": 99}\n'
            case 4:
                lines[place] = b'{"id": "e1", "n": 1, "at": 1e999, "event": [[[]]]}\n'
            case _:
                del lines[place]
    cassette.write_bytes(b"".join(lines))
    for arguments in (
        ("show", cassette),
        ("show", cassette, "--json"),
        ("show", cassette, 1),
        ("diff", cassette, cassette),
    ):
        done = run(*arguments)
        assert done.exit_code in (0, 1, 2)
        assert done.exception is None or isinstance(done.exception, SystemExit)


def test_a_cassette_is_the_same_as_itself(cassette: Path) -> None:
    assert run("diff", cassette, cassette).exit_code == 0
    assert run("diff", f"{cassette}:1", f"{cassette}:1").exit_code == 0


def test_diff_shows_differences_of_request_answer_and_usage(cassette: Path, tmp_path: Path) -> None:
    with tapes.recorder(tmp_path / "b.jsonl") as recorder:
        tapes.whole(tapes.begin(recorder, tapes.ask("Hello 0", temperature=1)), tapes.completion("Good day."))
    done = run("diff", f"{cassette}:2", f"{tmp_path / 'b.jsonl'}:1")
    assert done.exit_code == 1
    assert "temperature" in done.stdout and "Good day." in done.stdout and "Hello 0." in done.stdout
    assert [line.split(":")[0] for line in done.stdout.splitlines()[:2]] == ["A (-)", "B (+)"]
    assert "temperature: only in B:" in done.stdout
    assert "recorded" not in done.stdout


def test_exchanges_without_a_partner_are_named(cassette: Path, tmp_path: Path) -> None:
    with tapes.recorder(tmp_path / "b.jsonl") as recorder:
        tapes.streamed_chat(recorder, 0)
    done = run("diff", cassette, tmp_path / "b.jsonl", "--json")
    assert done.exit_code == 1
    assert len(json.loads(done.stdout)) >= 1


def test_another_time_is_no_difference_unless_that_is_asked(tmp_path: Path) -> None:
    for name, first_ms in (("a", 800.0), ("b", 1500.0)):
        with tapes.recorder(tmp_path / f"{name}.jsonl") as recorder:
            recording = tapes.begin(recorder, tapes.ask("Hello", stream=True))
            tapes.stream(recording, tapes.chat_chunks(["a", "b"]), first_ms=first_ms)
    pair = (tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    assert run("diff", *pair).exit_code == 0
    assert run("diff", *pair, "--timing").exit_code == 1


@pytest.mark.parametrize(
    ("item", "parts"),
    [
        (
            {"type": "web_search_call", "id": "ws_1", "action": {"type": "search", "query": "why"}},
            [Part("tool_call", "why", "web_search", "ws_1")],
        ),
        (
            {"type": "mcp_call", "id": "m", "server_label": "crm", "name": "look", "arguments": "{}", "output": "yes"},
            [Part("tool_call", "{}", "crm.look", "m"), Part("tool_result", "yes", "", "m")],
        ),
        (
            {"type": "mcp_list_tools", "id": "m", "server_label": "crm", "tools": [{"name": "look"}, {"name": "x"}]},
            [Part("tool_result", "tools: look, x", "crm", "m")],
        ),
        (
            {"type": "tool_search_output", "call_id": "c", "tools": [{"name": "look"}]},
            [Part("tool_result", "tools: look", "", "c")],
        ),
        (
            {"type": "compaction", "id": "c", "encrypted_content": "gAAA"},
            [Part("reasoning", "(notes on the conversation so far, encrypted)")],
        ),
        (
            {"type": "agent_message", "content": [{"type": "encrypted_content", "encrypted_content": "Count."}]},
            [Part("text", "Count.")],
        ),
        ({"type": "mcp_list_tools", "tools": "none"}, [Part("tool_result", "tools: ", "", "")]),
        ({"type": "web_search_call"}, [Part("tool_call", "", "web_search", "")]),
    ],
)
def test_items_of_servers_and_agents_are_shown(item: dict[str, Any], parts: list[Part]) -> None:
    assert list(said(item).parts) == parts

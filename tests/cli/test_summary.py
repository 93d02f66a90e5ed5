"""The line with which `understudy run` ends."""

from pathlib import Path

import pytest

from addons.count_requests import Requests
from api.meter import NameUse
from cassettes.usage import Total
from cli.summary import dollars, summary

OPUS = Total(input=8000, cached=7000, output=1000, cost_usd=0.035)
SONNET = Total(input=4310, cached=2971, output=1204, cost_usd=0.006)
BOTH = Total(input=12310, cached=9971, output=2204, cost_usd=0.041)
UNKNOWN = Total(input=10, output=1, unpriced=2)


def test_the_line_has_requests_tokens_cost_and_who_answered() -> None:
    names = [NameUse("gpt-5", "claude-opus-5-5", 3, OPUS), NameUse("gpt-4o", "claude-sonnet-5-5", 11, SONNET)]

    line = summary(Requests(all=14, failed=1), BOTH, names, recorded=Path("chat.jsonl"))

    assert line == (
        "14 requests (1 failed), 12,310 tokens in (81 % cached), 2,204 out, $0.041,"
        " gpt-5 → opus 3 ($0.035) · gpt-4o → sonnet 11 ($0.006), recorded in chat.jsonl"
    )


@pytest.mark.parametrize(
    ("requests", "told"),
    [
        (Requests(all=1), "1 request"),
        (Requests(all=2, failed=2), "2 requests (2 failed)"),
        (Requests(all=1200, failed=1, left=2), "1,200 requests (1 failed, 2 cut off by the program)"),
    ],
)
def test_requests_that_claude_never_saw(requests: Requests, told: str) -> None:
    assert summary(requests, Total(), []) == told


def test_answers_from_a_cassette_are_said_to_be_that() -> None:
    assert summary(Requests(all=3), Total(), [], replayed=3) == "3 requests, answered from the cassette"
    assert summary(Requests(all=3, failed=1), Total(), [], replayed=2) == "3 requests (1 failed), 2 from the cassette"


@pytest.mark.parametrize(
    ("asked", "model", "who"),
    [
        ("gpt-5", "claude-opus-5-5", "gpt-5 → opus 1"),
        ("claude-opus-4-8", "claude-opus-4-8", "claude-opus-4-8 1"),
        ("opus", "claude-opus-5-5", "opus 1"),
        ("", "claude-opus-5-5", "opus 1"),
        ("gpt-5", "claude-opus-4-8", "gpt-5 → claude-opus-4-8 1"),
    ],
)
def test_the_summary_names_the_requested_and_the_answering_model(asked: str, model: str, who: str) -> None:
    line = summary(Requests(all=1), OPUS, [NameUse(asked, model, 1, OPUS)])

    assert line.endswith(f"$0.035, {who}")


def test_a_name_cannot_steer_the_terminal() -> None:
    line = summary(Requests(all=1), OPUS, [NameUse("\x1b[2J\nx", "claude-opus-5-5", 1, OPUS)])

    assert line.endswith("$0.035, \\x1b[2J\\nx → opus 1")


def test_many_names_are_not_all_shown() -> None:
    names = [NameUse(f"gpt-{number}", "claude-opus-5-5", 1, OPUS) for number in range(9)]

    line = summary(Requests(all=9), OPUS, names, rehearsal=True)

    assert line.endswith("gpt-4 → opus 1 · 4 more names")


def test_an_unknown_price_is_said_and_never_zero() -> None:
    name = NameUse("x", "claude-tragedian-9", 2, UNKNOWN)
    mixed = Total(input=10, output=1, cost_usd=0.5, unpriced=1)

    assert ", price unknown, " in summary(Requests(all=2), UNKNOWN, [name])
    assert ", $0.500 and the unknown price of 1 request, " in summary(Requests(all=2), mixed, [name, name])


def test_a_rehearsal_costs_nothing() -> None:
    line = summary(Requests(all=1), OPUS, [NameUse("gpt-5", "claude-opus-5-5", 1, OPUS)], rehearsal=True)

    assert line.endswith(", no cost (rehearsal), gpt-5 → opus 1")


@pytest.mark.parametrize(
    ("amount", "text"),
    [(1234.567, "$1,234.57"), (0.0411, "$0.041"), (0.00042, "$0.00042"), (0.0000421, "$0.000042"), (0.0, "$0")],
)
def test_dollars_show_what_matters(amount: float, text: str) -> None:
    assert dollars(amount) == text

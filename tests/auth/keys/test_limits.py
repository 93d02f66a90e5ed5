"""Which limit stands in the way, and what the headers say of it."""

import pytest

from auth.keys.limits import (
    NANO,
    Budget,
    Kind,
    Limit,
    Refusal,
    Usage,
    decide,
    duration,
    headers_for,
    message,
    nanodollars,
)

NOW = 1_763_683_200.25


@pytest.mark.parametrize(
    ("budget", "usage", "tokens", "usd", "expected"),
    [
        pytest.param(Budget(), Usage(NOW, requests=10**9, running=10**9), 10**9, 1e6, None, id="no limit, no refusal"),
        pytest.param(Budget(requests_per_minute=2), Usage(NOW, requests=1), 0, 0, None, id="one request is left"),
        pytest.param(
            Budget(requests_per_minute=2), Usage(NOW, requests=2), 0, 0, ("rate", "requests"), id="none is left"
        ),
        pytest.param(Budget(tokens_per_minute=100), Usage(NOW, tokens=99), 0, 0, None, id="a token is left"),
        pytest.param(Budget(tokens_per_minute=100), Usage(NOW, tokens=100), 0, 0, ("rate", "tokens"), id="no token is"),
        pytest.param(
            Budget(tokens_per_minute=100), Usage(NOW, tokens=50), 50, 0, None, id="it may come to what is left"
        ),
        pytest.param(
            Budget(tokens_per_minute=100), Usage(NOW, tokens=50), 51, 0, ("rate", "tokens"), id="it may come to more"
        ),
        pytest.param(
            Budget(tokens_per_minute=100), Usage(NOW), 999, 0, None, id="more than a minute's, and all is left"
        ),
        pytest.param(
            Budget(tokens_per_minute=100), Usage(NOW, tokens=1), 999, 0, ("rate", "tokens"), id="more, and some is used"
        ),
        pytest.param(Budget(concurrent=2), Usage(NOW, running=1), 0, 0, None, id="a place is free"),
        pytest.param(Budget(concurrent=2), Usage(NOW, running=2), 0, 0, ("rate", "concurrent"), id="no place is"),
        pytest.param(
            Budget(usd_per_day=1), Usage(NOW, spent_today=NANO - 1), 0, 0, None, id="the least of money is left"
        ),
        pytest.param(
            Budget(usd_per_day=1), Usage(NOW, spent_today=NANO), 0, 0, ("quota", "usd_per_day"), id="the day's is spent"
        ),
        pytest.param(
            Budget(usd_total=1), Usage(NOW, spent_total=NANO), 0, 0, ("quota", "usd_total"), id="all of it is spent"
        ),
        pytest.param(
            Budget(usd_total=1),
            Usage(NOW, spent_total=1),
            0,
            1.5,
            None,
            id="it may cost more than is left, alone",
        ),
        pytest.param(
            Budget(usd_total=1),
            Usage(NOW, reserved=1),
            0,
            1.5,
            ("rate", "usd_total"),
            id="it may cost more than is left, beside another",
        ),
        pytest.param(
            Budget(usd_total=1),
            Usage(NOW, reserved=NANO // 2),
            0,
            0.6,
            ("rate", "usd_total"),
            id="what runs may cost it",
        ),
        pytest.param(
            Budget(usd_total=1, usd_per_day=1, requests_per_minute=1),
            Usage(NOW, requests=1, reserved=NANO // 2, spent_today=NANO, spent_total=NANO // 4),
            0,
            0.6,
            ("quota", "usd_per_day"),
            id="what waiting does not help is said first",
        ),
    ],
)
def test_the_limit_in_the_way(
    budget: Budget, usage: Usage, tokens: int, usd: float, expected: tuple[Kind, Limit] | None
) -> None:
    refusal = decide(budget, usage, tokens, nanodollars(usd))

    assert refusal == (Refusal(*expected) if expected else None)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (-3, "0s"),
        (0.02, "20ms"),
        (0.0001, "1ms"),
        (0.9999, "1s"),
        (1, "1s"),
        (8.64, "8.64s"),
        (59.999, "59.999s"),
        (60, "1m0s"),
        (60.0000002, "1m0s"),
        (360, "6m0s"),
        (3600, "1h0m0s"),
        (86399.5, "23h59m59.5s"),
    ],
)
def test_a_duration_is_written_as_openai_writes_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_headers_tell_what_is_left_and_when_all_of_it_is() -> None:
    usage = Usage(NOW, requests=3, last_request_at=NOW - 20, tokens=700, last_tokens_at=NOW - 59.98)

    assert headers_for(Budget(requests_per_minute=10, tokens_per_minute=1000), usage) == (
        ("x-ratelimit-limit-requests", "10"),
        ("x-ratelimit-remaining-requests", "7"),
        ("x-ratelimit-reset-requests", "40s"),
        ("x-ratelimit-limit-tokens", "1000"),
        ("x-ratelimit-remaining-tokens", "300"),
        ("x-ratelimit-reset-tokens", "20ms"),
    )


def test_tokens_of_running_requests_count_for_at_least_a_minute() -> None:
    usage = Usage(NOW, tokens=1200, tokens_running=500, last_tokens_at=NOW - 59)

    assert headers_for(Budget(tokens_per_minute=1000), usage)[1:] == (
        ("x-ratelimit-remaining-tokens", "0"),
        ("x-ratelimit-reset-tokens", "1m0s"),
    )


def test_there_are_no_headers_for_what_has_no_limit() -> None:
    assert headers_for(Budget(concurrent=1, usd_total=5), Usage(NOW, requests=3)) == ()


@pytest.mark.parametrize("limit", [0, -1, float("nan"), float("inf"), 1e300])
@pytest.mark.parametrize("name", ["requests_per_minute", "tokens_per_minute", "concurrent", "usd_per_day", "usd_total"])
def test_a_limit_is_a_number_above_zero(name: str, limit: float) -> None:
    with pytest.raises(ValueError, match=name):
        Budget(**{name: limit})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("refusal", "retry_after_s", "text"),
    [
        (Refusal("rate", "requests"), 5.5, "This key may make 7 requests per minute. Try again in 5.5s."),
        (Refusal("rate", "tokens"), 60, "This key may use 900 tokens per minute. Try again in 1m0s."),
        (Refusal("rate", "concurrent"), 1, "This key may have 2 requests running at once. Try again in 1s."),
        (Refusal("quota", "usd_total"), None, "This key may spend 20 USD in all, and too little of that is left."),
        (
            Refusal("rate", "usd_per_day"),
            1,
            "This key may spend 1.5 USD a day (UTC), and its running requests may use it up. Try again in 1s.",
        ),
    ],
)
def test_the_message_says_which_limit_and_what_to_do(refusal: Refusal, retry_after_s: float | None, text: str) -> None:
    budget = Budget(7, 900, 2, 1.5, 20)

    assert message(refusal, retry_after_s, budget) == text


def test_money_adds_up_exactly() -> None:
    assert sum(nanodollars(0.1) for _ in range(10)) == nanodollars(1.0)

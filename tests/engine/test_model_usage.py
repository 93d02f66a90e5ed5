"""What a process has used by its own account, and what of it was not heard."""

from engine.model_usage import Used, read, unheard
from translate.usage import MessageUsage


def test_unreported_usage_is_the_result_minus_the_events() -> None:
    heard = [MessageUsage("claude-sonnet-5-5-20260801", {"input_tokens": 10, "output_tokens": 4})]
    used = read(
        {
            "claude-sonnet-5-5": {"inputTokens": 10, "outputTokens": 9, "cacheCreationEphemeral1hInputTokens": 0},
            "claude-haiku-5-5": {
                "inputTokens": 7,
                "cacheCreationInputTokens": 6,
                "cacheCreationEphemeral1hInputTokens": 6,
            },
            "claude-opus-5-5": {"inputTokens": 0},
            "nonsense": 7,
        }
    )

    sonnet, haiku = unheard(used, heard)

    assert (sonnet.model, sonnet.usage["input_tokens"], sonnet.usage["output_tokens"]) == ("claude-sonnet-5-5", 0, 5)
    assert (haiku.model, haiku.usage["input_tokens"]) == ("claude-haiku-5-5", 7)
    assert haiku.usage["cache_creation"] == {"ephemeral_1h_input_tokens": 6}
    assert unheard(read(None), heard) == []


def test_two_names_of_one_model_are_one_model() -> None:
    used = read(
        {
            "claude-opus-5-5": {"inputTokens": 1, "costUSD": 0.5, "costBasis": "list"},
            "claude-opus-5-5[1m]": {"inputTokens": 2, "costUSD": 0.25, "costBasis": "list"},
        }
    )

    assert list(used) == ["claude-opus-5-5"]
    assert (used["claude-opus-5-5"].counts["input_tokens"], used["claude-opus-5-5"].usd) == (3, 0.75)


def test_usage_since_an_earlier_result_is_the_difference() -> None:
    first = Used({"input_tokens": 3}, 1.0, is_priced=True)
    then = Used({"input_tokens": 5}, 1.5, is_priced=True)

    assert then.since(first) == Used({"input_tokens": 2}, 0.5, is_priced=True)
    assert then.since(None) == then

"""Counting, and the simulated prompt cache."""

from typing import Any

import pytest

from rehearsal.tokens import FLAT_TOKENS, PromptCache, count, count_prompt, pieces

MARK = {"cache_control": {"type": "ephemeral"}}


def request(
    *texts: str, model: str = "claude-x", system: Any = None, marked: bool = True, ttl: str = "5m"
) -> dict[str, Any]:
    """A conversation of these texts, the last one marked for the cache."""
    control = {"cache_control": {"type": "ephemeral", "ttl": ttl}} if marked else {}
    blocks = [[{"type": "text", "text": text}] for text in texts]
    blocks[-1][0] |= control  # type: ignore[arg-type]
    messages = [{"role": ("user", "assistant")[i % 2], "content": block} for i, block in enumerate(blocks)]
    return {"model": model, "messages": messages} | ({"system": system} if system else {})


def total(usage: dict[str, Any]) -> int:
    return sum(usage[key] for key in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"))


@pytest.mark.parametrize("text", ["", "a", "abcd", "abcde", "ein Wörtchen", "🎭" * 9])
def test_a_text_is_cut_into_as_many_pieces_as_it_counts(text: str) -> None:
    assert len(pieces(text)) == count(text)
    assert "".join(pieces(text)) == text


def test_a_plain_string_counts_as_one_text_block() -> None:
    as_string = {"system": "rules", "messages": [{"role": "user", "content": "Hello"}]}
    as_blocks = {
        "system": [{"type": "text", "text": "rules"}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
    }

    assert count_prompt(as_string) == count_prompt(as_blocks) == 4


def test_an_image_counts_flat() -> None:
    image = {"type": "image", "source": {"type": "base64", "data": "x" * 100_000}}

    assert count_prompt({"messages": [{"role": "user", "content": [image]}]}) == FLAT_TOKENS


def test_without_markers_nothing_is_cached() -> None:
    cache = PromptCache()
    usages = [cache.usage(request("Hello there", marked=False)) for _ in range(2)]

    assert usages[0] == usages[1]
    assert (usages[0]["input_tokens"], total(usages[0])) == (3, 3)


def test_the_first_request_writes_and_the_same_again_reads() -> None:
    cache = PromptCache()
    first, again = cache.usage(request("Hello there")), cache.usage(request("Hello there"))

    assert (first["cache_creation_input_tokens"], first["cache_read_input_tokens"]) == (2, 0)
    assert (again["cache_creation_input_tokens"], again["cache_read_input_tokens"]) == (0, 2)
    assert first["input_tokens"] == again["input_tokens"] == 1


def test_the_next_turn_reads_what_the_last_one_wrote() -> None:
    cache = PromptCache()
    cache.usage(request("a" * 400))
    usage = cache.usage(request("a" * 400, "b" * 40, "c" * 40))

    assert usage["cache_read_input_tokens"] == 100
    assert usage["cache_creation_input_tokens"] == 19
    assert total(usage) == count_prompt(request("a" * 400, "b" * 40, "c" * 40)) == 120


def test_a_marker_on_the_system_prompt_is_shared_by_conversations() -> None:
    cache = PromptCache()
    system = [{"type": "text", "text": "s" * 40} | MARK]
    cache.usage(request("one", system=system))
    usage = cache.usage(request("two", system=system))

    assert usage["cache_read_input_tokens"] == 10


@pytest.mark.parametrize(
    "other",
    [request("b" * 40), request("a" * 40, model="claude-y"), request("a" * 40, system="s")],
    ids=["another text", "another model", "another system prompt"],
)
def test_another_beginning_reads_nothing(other: dict[str, Any]) -> None:
    cache = PromptCache()
    cache.usage(request("a" * 40))

    assert cache.usage(other)["cache_read_input_tokens"] == 0


@pytest.mark.parametrize(("ttl", "key"), [("5m", "ephemeral_5m_input_tokens"), ("1h", "ephemeral_1h_input_tokens")])
def test_cache_writes_are_counted_by_their_ttl(ttl: str, key: str) -> None:
    usage = PromptCache().usage(request("a" * 40, ttl=ttl))

    assert usage["cache_creation"][key] == usage["cache_creation_input_tokens"] == 9
    assert sum(usage["cache_creation"].values()) == 9


def test_the_billing_block_of_claude_code_does_not_change_the_prompt() -> None:
    cache = PromptCache()
    billing = [{"type": "text", "text": f"x-anthropic-billing-header: cc_version={n}"} for n in (1, 2)]
    cache.usage(request("a" * 40, system=[billing[0]]))

    assert cache.usage(request("a" * 40, system=[billing[1]]))["cache_read_input_tokens"] == 9


def test_the_cache_forgets_the_oldest_beyond_its_limit() -> None:
    cache = PromptCache(limit=1)
    cache.usage(request("a" * 40))
    cache.usage(request("b" * 40))

    assert cache.usage(request("a" * 40))["cache_read_input_tokens"] == 0

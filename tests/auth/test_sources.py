"""Where Claude Code's credentials come from."""

import pytest

from auth.sources import LOGIN, SOURCES, find_source


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: str(source.variable))
def test_each_variable_is_a_source(source: object) -> None:
    assert find_source({source.variable: "1x"}) is source  # type: ignore[attr-defined]


@pytest.mark.parametrize("value", ["", "0", "false"])
def test_a_variable_that_is_off_is_none(value: str) -> None:
    assert find_source({"CLAUDE_CODE_USE_BEDROCK": value}) is LOGIN


def test_a_key_wins_over_a_token() -> None:
    assert find_source({"CLAUDE_CODE_OAUTH_TOKEN": "t", "ANTHROPIC_API_KEY": "k"}).variable == "ANTHROPIC_API_KEY"


def test_without_any_it_is_the_login_that_claude_keeps() -> None:
    source = find_source({"PATH": "/bin"})

    assert (source.bare, source.own_config_dir) == (False, False)

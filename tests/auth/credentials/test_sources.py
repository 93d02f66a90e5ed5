"""Where Claude Code's credentials come from."""

from itertools import pairwise
from pathlib import Path

import pytest

from auth.credentials.sources import (
    BEARER,
    HELPER,
    LOGIN,
    PROVIDERS,
    SOURCES,
    Source,
    SourceError,
    are_surely_missing,
    cli_settings,
    environment,
    find_source,
    found_sources,
    not_inherited,
)

COMMAND = "print-the-key"


def setting(source: Source) -> dict[str, str]:
    """Return the environment in which a source, and no other, is there."""
    return {source.variable: "1" if source.is_cloud else f"secret of {source.name}"} if source.variable else {}


ALL = {name: value for source in SOURCES for name, value in setting(source).items()}
named = pytest.mark.parametrize("source", PROVIDERS, ids=lambda source: source.name)


@named
def test_each_source_is_found_by_itself(source: Source) -> None:
    assert find_source(setting(source), api_key_helper=COMMAND if source is HELPER else None) is source


@pytest.mark.parametrize(
    ("winner", "loser"),
    list(pairwise(PROVIDERS)),
    ids=lambda source: source.name if isinstance(source, Source) else None,
)
def test_the_higher_of_two_sources_in_the_table_wins(winner: Source, loser: Source) -> None:
    helper = COMMAND if HELPER in (winner, loser) else None

    assert find_source(setting(winner) | setting(loser), api_key_helper=helper) is winner


def test_the_order_is_the_documented_one() -> None:
    assert [source.name for source in PROVIDERS] == [
        "bedrock",
        "foundry",
        "anthropic-aws",
        "anthropic-google-cloud",
        "mantle",
        "vertex",
        "api-key",
        "api-key-helper",
        "auth-token",
        "oauth-token",
        "login",
    ]


def test_all_that_are_there_are_found_the_winner_first() -> None:
    assert found_sources(ALL, api_key_helper=COMMAND) == list(PROVIDERS[:-1])


@pytest.mark.parametrize("value", ["", "0", "false", "no", "off", "banana"])
def test_a_switch_that_is_not_on_is_off(value: str) -> None:
    assert find_source({"CLAUDE_CODE_USE_BEDROCK": value}) is LOGIN


@pytest.mark.parametrize("value", ["1", "true", "YES", "on"])
def test_a_switch_has_several_words_for_on(value: str) -> None:
    assert find_source({"CLAUDE_CODE_USE_BEDROCK": value}).name == "bedrock"


def test_a_key_that_is_only_blanks_is_none() -> None:
    assert find_source({"ANTHROPIC_API_KEY": "  "}) is LOGIN


def test_without_any_it_is_the_login_that_claude_keeps() -> None:
    source = find_source({"PATH": "/bin"})

    assert source is LOGIN
    assert (source.bare, source.own_config_dir) == (False, False)


@named
def test_a_forced_source_wins_over_all_others(source: Source) -> None:
    assert find_source(ALL, forced=source.name, api_key_helper=COMMAND) is source


@pytest.mark.parametrize("source", PROVIDERS[:-1], ids=lambda source: source.name)
def test_forcing_what_is_not_there_says_what_is_missing(source: Source) -> None:
    others = {name: value for name, value in ALL.items() if name != source.variable}

    with pytest.raises(SourceError, match=source.variable or "api_key_helper") as caught:
        find_source(others, forced=source.name)

    assert "secret of" not in str(caught.value)


def test_forcing_what_nobody_knows_names_those_there_are() -> None:
    with pytest.raises(SourceError, match=r"no provider 'carrier-pigeon'; there are bedrock, .*login"):
        find_source(ALL, forced="carrier-pigeon")


@named
def test_the_other_sources_are_taken_from_the_environment(source: Source) -> None:
    left = {name: value for name, value in (ALL | environment(source, ALL)).items() if value}

    assert left.keys() - set(source.others) == setting(source).keys()


def test_unset_variables_are_not_emptied() -> None:
    assert environment(LOGIN, {"PATH": "/bin", "ANTHROPIC_API_KEY": ""}) == {}


@pytest.mark.parametrize("source", [source for source in SOURCES if source.is_cloud], ids=lambda source: source.name)
def test_a_gateway_before_a_cloud_keeps_its_bearer_token(source: Source) -> None:
    environ = ALL | {str(source.skip_auth): "1"}

    assert "ANTHROPIC_AUTH_TOKEN" not in environment(source, environ)
    assert environment(source, environ)["ANTHROPIC_API_KEY"] == ""
    assert environment(source, ALL)["ANTHROPIC_AUTH_TOKEN"] == ""


def test_an_address_and_headers_stay_with_every_source() -> None:
    environ = ALL | {"ANTHROPIC_BASE_URL": "http://gateway", "ANTHROPIC_CUSTOM_HEADERS": "A: b"}

    emptied = {name for source in PROVIDERS for name in environment(source, environ)}
    assert emptied & {"ANTHROPIC_BASE_URL", "ANTHROPIC_CUSTOM_HEADERS"} == set()


def test_only_the_helper_needs_a_setting_of_claude_code() -> None:
    assert cli_settings(HELPER, COMMAND) == {"apiKeyHelper": COMMAND}
    assert all(cli_settings(source, COMMAND) == {} for source in PROVIDERS if source is not HELPER)


def test_only_logins_by_oauth_go_without_bare_and_only_a_kept_one_into_the_persons_folder() -> None:
    assert [source.name for source in PROVIDERS if not source.bare] == ["oauth-token", "login"]
    assert [source.name for source in PROVIDERS if not source.own_config_dir] == ["login"]


@named
def test_the_secrets_of_the_others_are_not_inherited(source: Source) -> None:
    hidden = not_inherited(source)

    assert not hidden & {source.variable, *source.secrets, *source.others}
    for other in SOURCES:
        assert set(other.secrets) <= hidden | {source.variable, BEARER, *source.secrets, *source.others}


def test_a_cloud_inherits_what_its_libraries_read() -> None:
    by_name = {source.name: source.inherits for source in SOURCES}

    assert "AWS_*" in by_name["bedrock"]
    assert "GOOGLE_*" in by_name["vertex"]
    assert "AZURE_*" in by_name["foundry"]
    assert by_name["api-key"] == ()


@pytest.mark.parametrize(
    ("environ", "system", "missing"),
    [
        ({}, "linux", True),
        ({"ANTHROPIC_API_KEY": "sk-ant-x"}, "linux", False),
        ({}, "darwin", False),
    ],
)
def test_credentials_are_surely_missing_only_where_no_login_can_be(
    environ: dict[str, str], system: str, missing: bool, tmp_path: Path
) -> None:
    env = {"HOME": str(tmp_path), **environ}
    assert are_surely_missing(env, system=system) == missing

    (tmp_path / ".claude").mkdir()
    (tmp_path / ".claude" / ".credentials.json").write_text("{}")
    assert not are_surely_missing(env, system=system)
    assert are_surely_missing({**env, "CLAUDE_CONFIG_DIR": str(tmp_path)}, system=system) == missing

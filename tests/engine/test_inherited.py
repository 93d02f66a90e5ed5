"""What `claude` inherits is a list of names."""

import pytest

from engine.inherited import inherited


@pytest.mark.parametrize("name", ["PATH", "HOME", "LC_ALL", "https_proxy", "NO_PROXY", "SSL_CERT_FILE", "SystemRoot"])
def test_basic_variables_are_inherited(name: str) -> None:
    assert inherited({name: "x"}) == {name: "x"}


@pytest.mark.parametrize("name", ["UNDERSTUDY_STORE_KEY", "DATABASE_URL", "AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY"])
def test_variables_of_other_programs_are_not_inherited(name: str) -> None:
    assert inherited({name: "x"}) == {}


def test_further_names_are_patterns_in_any_case() -> None:
    assert inherited({"VAULT_ADDR": "x", "OP_TOKEN": "y", "OTHER": "z"}, ["vault_*", "OP_TOKEN"]) == {
        "VAULT_ADDR": "x",
        "OP_TOKEN": "y",
    }


def test_a_removed_variable_is_inherited_only_if_named() -> None:
    environ = {"ANTHROPIC_API_KEY": "x", "ANTHROPIC_MODEL": "y"}

    assert inherited(environ, without=["ANTHROPIC_API_KEY"]) == {"ANTHROPIC_MODEL": "y"}
    assert inherited(environ, ["ANTHROPIC_API_KEY"], ["ANTHROPIC_API_KEY"]) == environ


def test_no_pattern_hands_on_our_own_settings() -> None:
    assert inherited({"UNDERSTUDY_STORE_KEY": "x", "Understudy_Store": "y"}, ["*"]) == {}

"""An app's tools have names for Claude, and are found again by them."""

from translate.responses.offered import Offered, claude_name, has_grammar, offered_tools

FUNCTION = {"type": "function", "name": "look"}
CUSTOM = {"type": "custom", "name": "patch"}


def test_tools_are_found_again_by_claudes_names() -> None:
    namespace = {"type": "namespace", "name": "crm", "tools": [FUNCTION, CUSTOM]}

    assert offered_tools([FUNCTION, CUSTOM, namespace]) == {
        "patch": Offered("patch", kind="custom"),
        "crm__look": Offered("look", "crm"),
        "crm__patch": Offered("patch", "crm", "custom"),
    }


def test_deferred_tools_know_what_finds_them_until_it_has() -> None:
    lazy = {**FUNCTION, "defer_loading": True}
    namespace = {"type": "namespace", "name": "crm", "tools": [lazy, CUSTOM]}
    search = {"type": "tool_search"}

    found = offered_tools([lazy, namespace, search])
    assert (found["look"], found["crm__look"]) == (
        Offered("look", "look", deferred=lazy),
        Offered("look", "crm", "function", namespace),
    )
    assert found["crm__patch"].deferred is None
    assert offered_tools([lazy, namespace, search], found=[lazy]) == {k: v for k, v in found.items() if k != "look"}
    assert offered_tools([lazy, {**search, "execution": "client"}]).keys() == {"tool_search"}


def test_a_function_that_is_loaded_late_has_a_namespace_of_its_own() -> None:
    lazy = {**FUNCTION, "defer_loading": True}
    search = {"type": "tool_search"}

    assert offered_tools([lazy, search], [lazy], {"look"})["look"] == Offered("look", "look")
    assert offered_tools([], [FUNCTION], {"look"})["look"] == Offered("look", "look")
    assert offered_tools([FUNCTION], [FUNCTION], {"look"}) == {}
    assert offered_tools([], [{**CUSTOM, "name": "look"}], {"look"})["look"].namespace is None


def test_a_name_without_a_namespace_is_itself() -> None:
    assert (claude_name("look"), claude_name("look", "crm")) == ("look", "crm__look")


def test_only_custom_tools_have_grammars() -> None:
    assert has_grammar({**CUSTOM, "format": {"type": "grammar"}})
    assert not has_grammar({**FUNCTION, "format": {"type": "grammar"}})
    assert not has_grammar({**CUSTOM, "format": {"type": "text"}})

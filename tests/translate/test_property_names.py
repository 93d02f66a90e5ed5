"""Property names that Claude's API does not accept are renamed there and back."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from translate.property_names import (
    ACCEPTED,
    KeyRenamer,
    names_of,
    names_of_tools,
    renamed_keys,
    renamed_message,
    renamed_schema,
    renamed_tools,
    reversed_names,
)
from translate.turn import Message

TEXT = {"type": "string"}


def named(*names: str, **fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": dict.fromkeys(names, TEXT), **fields}


@pytest.mark.parametrize(
    "name",
    ["filter[bundleId]", "$.xgafv", "größe", "x" * 65, "", "a b", "日本", "a/b", "a~b", 'a"b', "a\nb", "🙂" * 70],
)
def test_a_name_that_is_not_accepted_gets_one_that_is(name: str) -> None:
    (made,) = names_of(named(name, "city")).values()

    assert ACCEPTED.fullmatch(made)


def test_names_that_are_accepted_stay() -> None:
    assert names_of(named("city", "a.b-c_d", "x" * 64)) == {}


def test_a_name_is_the_same_in_every_schema() -> None:
    assert names_of(named("a[b]"))["a[b]"] == names_of(named("x", "a[b]", "ö"))["a[b]"]


def test_names_that_look_alike_stay_apart_also_from_those_that_are_accepted() -> None:
    odd = ["a[b]", "a(b)", "a{b}", "y" * 70, "y" * 71]
    taken = names_of(named(*odd)).values()

    names = names_of(named(*odd, *taken))

    assert len({*names.values(), *taken}) == 2 * len(odd)


def test_properties_are_renamed_wherever_a_schema_has_them() -> None:
    inner = named("a[b]", required=["a[b]"])
    schema = {
        "type": "object",
        "properties": {
            "a[b]": TEXT,
            "list": {"type": "array", "items": inner},
            "either": {"anyOf": [inner, {"type": "null"}]},
            "defined": {"$ref": "#/$defs/T[int]"},
            "elsewhere": {"$ref": "#/properties/a[b]"},
            "properties": {"type": "object", "additionalProperties": inner},
            "tuple": {"prefixItems": [inner], "items": False},
        },
        "required": ["a[b]", "list"],
        "$defs": {"T[int]": inner},
        "dependentRequired": {"a[b]": ["list", "a[b]"]},
        "default": {"a[b]": "a[b]"},
    }
    names = names_of(schema)
    new = names["a[b]"]

    renamed = renamed_schema(schema, names)

    told = {"type": "string", "description": "(name: a[b])"}
    inside = {"type": "object", "properties": {new: told}, "required": [new]}
    assert list(names) == ["a[b]"]
    assert renamed["properties"] == {
        new: told,
        "list": {"type": "array", "items": inside},
        "either": {"anyOf": [inside, {"type": "null"}]},
        "defined": {"$ref": "#/$defs/T[int]"},
        "elsewhere": {"$ref": f"#/properties/{new}"},
        "properties": {"type": "object", "additionalProperties": inside},
        "tuple": {"prefixItems": [inside], "items": False},
    }
    assert renamed["required"] == [new, "list"]
    assert renamed["$defs"] == {"T[int]": inside}
    assert renamed["dependentRequired"] == {new: ["list", new]}
    assert renamed["default"] == {new: "a[b]"}


def test_a_description_is_kept_and_tells_the_name() -> None:
    schema = {"type": "object", "properties": {"a[b]": {"type": "string", "description": "What."}, "c[d]": True}}
    names = names_of(schema)

    renamed = renamed_schema(schema, names)["properties"]

    assert renamed == {names["a[b]"]: {"type": "string", "description": "What. (name: a[b])"}, names["c[d]"]: True}


def test_calls_of_the_history_are_renamed_by_their_tools_and_nothing_else_is() -> None:
    tools: list[dict[str, Any]] = [{"name": "f", "input_schema": named("a[b]")}, {"name": "g", "input_schema": {}}]
    tools.append({"name": "web_search"})
    names = names_of_tools(tools)
    call = {"type": "tool_use", "id": "1", "name": "f", "input": {"z": 1, "a[b]": {"a[b]": "a[b]"}}}
    other = {"type": "tool_use", "id": "2", "name": "g", "input": {"a[b]": 1}}
    said = {"type": "text", "text": "a[b]"}
    new = names["f"]["a[b]"]

    renamed = renamed_message(Message("assistant", (said, call, other)), names)

    assert list(names) == ["f"]
    assert renamed.content == (said, {**call, "input": {"z": 1, new: {new: "a[b]"}}}, other)
    assert list(renamed.content[1]["input"]) == ["z", new]
    assert renamed_tools(tools, names)[1:] == tuple(tools[1:])


NAMES = {"a_1": "a[b]", "größe_2": 'ö"\\', "c": "c"}
KEYS = st.sampled_from([*NAMES, "a", "a_1x", "", 'q"', "\\"]) | st.text(max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | KEYS,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(KEYS, inside, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=4)


@settings(suppress_health_check=[HealthCheck.too_slow])  # a busy machine is slow, too
@given(
    value=st.dictionaries(KEYS, VALUES, max_size=4),
    ascii=st.booleans(),
    indent=st.sampled_from([None, 1]),
    data=st.data(),
)
def test_keys_are_renamed_in_a_text_that_arrives_in_any_pieces(
    value: Any, ascii: bool, indent: int | None, data: st.DataObject
) -> None:
    text = json.dumps(value, ensure_ascii=ascii, indent=indent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=10)))
    renamer = KeyRenamer(NAMES)

    pieces = [renamer.feed(text[a:b]) for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    assert json.loads("".join(pieces) + renamer.finish(), object_pairs_hook=list) == json.loads(
        json.dumps(value), object_pairs_hook=lambda pairs: [(NAMES.get(key, key), item) for key, item in pairs]
    )


def test_only_a_key_is_held_back() -> None:
    renamer = KeyRenamer({"a_1": "a[b]"})

    told = [renamer.feed(char) for char in '{"a_1":"a_1","x":["a_1"]}']

    assert told == ["{", *[""] * 4, '"a[b]"', ":", *'"a_1"', ",", "", "", '"x"', ":", "[", *'"a_1"', "]", "}"]


def test_an_escaped_key_is_the_same_key() -> None:
    assert KeyRenamer({"ab": "c"}).feed(r'{"\u0061b": 1, "\u0061": 2}') == r'{"c": 1, "\u0061": 2}'


@pytest.mark.parametrize("text", ['{"a_', '{"a_1": "x', "}]{", '"a_1"', "", "[,", '{"a\\'])
def test_a_text_that_breaks_off_or_is_not_json_loses_nothing(text: str) -> None:
    renamer = KeyRenamer({"none": "x", "a_1": "a_1"})

    assert renamer.feed(text) + renamer.finish() == text


def test_the_way_there_and_back_leads_to_the_same_names() -> None:
    value = {"a[b]": [{"ö": 1, "plain": {"a[b]": 2}}]}
    names = names_of(named("a[b]", "ö", "plain"))

    assert renamed_keys(renamed_keys(value, names), reversed_names(names)) == value

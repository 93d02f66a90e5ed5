"""JSON paths of the settings: what they name, and that a path which is not understood is refused."""

import pytest

from cassettes.redact.json_path import parse_path
from settings import SettingsError, load


@pytest.mark.parametrize(
    ("rule", "path", "matches"),
    [
        ("$.a.b", ["a", "b"], True),
        ("$.a.b", ["a"], False),
        ("$.a.b", ["a", "b", "0", "c"], True),
        ("$.a.b", ["a", "bc"], False),
        ("$.a[*].b", ["a", "0", "b"], True),
        ("$.a.*.b", ["a", "0", "b"], True),
        ("$.a[1]", ["a", "1"], True),
        ("$.a[1]", ["a", "11"], False),
        ("$..b", ["a", "0", "b"], True),
        ("$..b", ["b"], True),
        ("$..[0].x", ["a", "0", "x"], True),
        ("$..*.x", ["a", "x"], True),
        ("$.a.**.b", ["a", "x", "y", "b"], True),
        ("$.*", ["a"], True),
        ("$['a']", ["a"], True),
        ('$["x.y"].z', ["x.y", "z"], True),
        ('$["x.y"].z', ["x", "y", "z"], False),
        ("$['it\\'s']", ["it's"], True),
        (r"""$['say "x"']""", ['say "x"'], True),
        (r'$["a\"b\u0041"]', ['a"bA'], True),
        ("$['*']", ["*"], True),
        ("$['*']", ["a"], False),
        ("$.größe.x-y.$ref", ["größe", "x-y", "$ref"], True),
    ],
)
def test_a_path_names_its_places_and_all_inside_of_them(rule: str, path: list[str], matches: bool) -> None:
    assert parse_path(rule).names(path) is matches


REFUSED = [
    *("", "a.b", "$", "$.", "$a", "$.a.", "$.a..", "$...a", "$. a", "$.a b"),
    *("$.a[0:2].b", "$.a[-1]", "$.a[01]", "$.a[0,1]", "$.a['b','c']", "$.a[?@.b]", "$.a[?(@.b)]", "$.a[]", "$.a[b]"),
    *("$.a*", "$.a*b", "$*", "$.a'b'", "$['a'", "$['a]", r"$['\q']", "$..", "$.**", "$.a]", "$.length()", "@.a"),
]


@pytest.mark.parametrize("path", REFUSED)
def test_what_is_not_understood_is_refused_with_what_is_supported(path: str) -> None:
    with pytest.raises(ValueError, match=r"Supported are: \$\.name"):
        parse_path(path)


@pytest.mark.parametrize("name", ["record_redact_paths", "replay_ignore_paths"])
def test_the_settings_refuse_it_at_the_start(name: str) -> None:
    with pytest.raises(SettingsError, match=r"is not understood from '\[0:2\]\.b' on"):
        load({name: ["$.a[0:2].b"]}, {}, None)

"""Keys that nothing reads are found at every depth, and told in a report of bounded length."""

from typing import Any

import pytest

from translate.known_keys import (
    BREAKPOINTS,
    MOST_CHARACTERS,
    UNKNOWN,
    ByKind,
    Each,
    Only,
    Shape,
    Unused,
    below,
    ignored_keys,
    keys,
    report,
    short,
)

SHAPE = keys(
    "all",
    one=keys("a"),
    many=Each(ByKind({"x": keys("type", "a"), "y": keys("type")})),
    level=Unused("there is one level", unless=(0, "auto")),
    sealed=Only(lambda value: value == "ours", "it is not ours", None),
)


def found(value: Any, skip: tuple[str, ...] = (), shape: Shape = SHAPE) -> list[str]:
    return list(ignored_keys(value, shape, skip=skip))


@pytest.mark.parametrize(
    ("value", "paths"),
    [
        ({"all": {"what": "ever"}}, []),
        ({"one": {"a": {"b": 1}, "c": 1}}, ["one.c"]),
        ({"many": [{"type": "x", "a": 1}, {"type": "y", "a": 1}]}, ["many[1].a"]),
        ({"new": 1}, ["new"]),
        ({"new": None, "one": {"c": None}}, []),
        ({"level": "auto"}, []),
        ({"level": "high"}, ["level"]),
        ({"level": False}, ["level"]),
        ({"sealed": "ours"}, []),
        ({"sealed": "theirs"}, ["sealed"]),
        # Another type than the shape says is for the translation to refuse.
        ({"one": "text", "many": {"type": "z"}}, []),
        ({"many": [{"type": ["x"]}, "text", None]}, []),
    ],
)
def test_a_key_that_nothing_reads_is_found(value: Any, paths: list[str]) -> None:
    assert found(value) == paths


def test_what_is_below_a_reported_path_is_not_reported_again() -> None:
    value = {"one": {"c": 1}, "many": [{"type": "y", "b": 1}, {"type": "y", "b": 1}]}

    assert found(value, skip=("one", "many[0]")) == ["many[1].b"]
    assert found(value, skip=("one.c",)) == ["many[0].b", "many[1].b"]


def test_each_path_says_why_it_has_no_effect() -> None:
    value = {"cache_control": {}, "other": 1, "level": 2}

    assert [path.why for path in ignored_keys(value, SHAPE)] == [BREAKPOINTS, UNKNOWN, "there is one level"]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("name", "a.name"),
        ("$defs", "a.$defs"),
        ("x-y", "a.x-y"),
        ("", 'a[""]'),
        ("b.c", 'a["b.c"]'),
        ("a,\r\nb: c", r'a["a,\r\nb: c"]'),
        ("é", r'a["\u00e9"]'),
        ("x" * 65, f'a["{"x" * 64}\\u2026"]'),
    ],
)
def test_the_path_of_any_key_can_stand_in_a_header(name: str, path: str) -> None:
    assert below("a", name) == path
    assert path.isascii()
    assert path.isprintable()


def test_paths_that_differ_in_their_indexes_alone_become_one() -> None:
    assert short(["m[0].c[1].x", "m[3].c[0].x", "m[3].c[0].y", "seed"]) == ["m[].c[].x", "m[3].c[0].y", "seed"]


def test_a_report_is_bounded_and_counts_the_rest() -> None:
    assert report(["seed", "user"]) == "seed, user"
    assert report(f"k{n}" for n in range(1000)) == ", ".join(f"k{n}" for n in range(100)) + ", and 900 more"

    long = [f"{'x' * 60}{n}" for n in range(99)]
    told = report(long)
    assert len(told) <= MOST_CHARACTERS + len(", and 99 more")
    assert told.endswith(f", and {99 - told.count('x,') - len([w for w in told.split(', ') if w in long])} more")

"""Pseudonyms."""

import stat
from pathlib import Path

from cassettes.redact.pseudonyms import Names, highest_numbers


def test_the_same_secret_has_the_same_name_also_later(tmp_path: Path) -> None:
    first = [
        Names(tmp_path / "names").name(secret, kind) for secret, kind in (("a", "key"), ("b", "key"), ("a", "token"))
    ]

    assert first == ["redacted:key-1", "redacted:key-2", "redacted:key-1"]


def test_two_that_share_a_file_never_give_one_name_twice(tmp_path: Path) -> None:
    one, other = Names(tmp_path / "names"), Names(tmp_path / "names")

    assert [one.name("a", "key"), other.name("b", "key"), one.name("b", "key"), other.name("c", "key")] == [
        "redacted:key-1",
        "redacted:key-2",
        "redacted:key-2",
        "redacted:key-3",
    ]


def test_the_file_has_no_secret_and_is_its_owners(tmp_path: Path) -> None:
    Names(tmp_path / "names").name("a secret value", "key")

    assert b"secret" not in (tmp_path / "names").read_bytes()
    assert stat.S_IMODE((tmp_path / "names").stat().st_mode) == 0o600


def test_the_names_of_two_cassettes_have_nothing_in_common(tmp_path: Path) -> None:
    for name in ("one", "other"):
        Names(tmp_path / name).name("a secret value", "key")

    lines = [(tmp_path / name).read_text().split() for name in ("one", "other")]
    assert set(lines[0]) & set(lines[1]) == {"key-1"}


def test_a_torn_line_names_nothing_and_spoils_nothing(tmp_path: Path) -> None:
    Names(tmp_path / "names").name("a", "key")
    with (tmp_path / "names").open("ab") as file:
        file.write(b"0123456789")

    assert [Names(tmp_path / "names").name(secret, "key") for secret in "ab"] == ["redacted:key-1", "redacted:key-2"]
    assert Names(tmp_path / "names").name("b", "key") == "redacted:key-2"


def test_counting_goes_on_behind_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("redacted:key-7 redacted:private-key-2\nredacted:key-3 redacted:held")

    assert highest_numbers([tmp_path / "a.jsonl"]) == {"key": 7, "private-key": 2}
    assert Names(tmp_path / "names", [tmp_path / "a.jsonl"]).name("a", "key") == "redacted:key-8"
    assert Names(tmp_path / "names").name("b", "private-key") == "redacted:private-key-3"


def test_a_name_that_cannot_be_written_is_given_all_the_same_and_written_with_the_next(tmp_path: Path) -> None:
    failures: list[OSError] = []
    (tmp_path / "folder").mkdir()
    names = Names(tmp_path / "folder" / "names", failed=failures.append)
    (tmp_path / "folder").rename(tmp_path / "away")
    without = [names.name(secret, "key") for secret in "aba"]
    (tmp_path / "away").rename(tmp_path / "folder")
    names.name("c", "key")

    assert without == ["redacted:key-1", "redacted:key-2", "redacted:key-1"]
    assert len(failures) == 2
    assert [Names(tmp_path / "folder" / "names").name(secret, "key") for secret in "cbad"] == [
        f"redacted:key-{number}" for number in (3, 2, 1, 4)
    ]

"""Which files a cassette is made of."""

from pathlib import Path

from cassettes.files import all_files, index_path, part_path, parts, side_folder


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_text("")


def test_a_cassettes_parts_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    touch(tmp_path, "a.jsonl", "a.10.jsonl", "a.2.jsonl", "a.1.jsonl", "a.02.jsonl", "ab.2.jsonl", "a.2.jsonl.bak")

    assert [path.name for path in parts(tmp_path / "a.jsonl")] == ["a.jsonl", "a.2.jsonl", "a.10.jsonl"]
    assert part_path(tmp_path / "a.jsonl", 1) == tmp_path / "a.jsonl"
    assert part_path(tmp_path / "a.jsonl", 2) == tmp_path / "a.2.jsonl"


def test_a_folder_has_every_file_once(tmp_path: Path) -> None:
    touch(tmp_path, "b.jsonl", "a.jsonl", "a.2.jsonl", "a.10.jsonl", "lone.3.jsonl", "notes.txt")

    names = [path.name for path in all_files(tmp_path)]
    assert names == ["a.jsonl", "a.2.jsonl", "a.10.jsonl", "b.jsonl", "lone.3.jsonl"]


def test_a_part_shares_its_cassettes_folder_and_has_its_own_index(tmp_path: Path) -> None:
    touch(tmp_path, "a.jsonl", "a.2.jsonl")

    assert side_folder(tmp_path / "a.2.jsonl") == side_folder(tmp_path / "a.jsonl") == tmp_path / "a.jsonl.d"
    assert side_folder(tmp_path / "lone.2.jsonl") == tmp_path / "lone.2.jsonl.d"
    assert index_path(tmp_path / "a.2.jsonl") == tmp_path / "a.jsonl.d" / "a.2.index"

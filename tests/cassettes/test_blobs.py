"""Large base64, kept beside."""

import base64
from pathlib import Path

import pytest

from cassettes.blobs import MIN_CHARACTERS, BlobError, Blobs

LARGE = base64.b64encode(b"%PDF" + bytes(range(256)) * 20).decode()


def test_large_base64_is_put_away_and_put_back(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    value = {"a": [LARGE, f"data:image/png;base64,{LARGE}"], "$blob": LARGE, "b": "short"}

    away = blobs.put_away(value)

    problems: list[str] = []
    assert blobs.put_back(away, problems) == value and problems == []
    assert len(str(away)) < 1000 and len(list(tmp_path.iterdir())) == 1
    assert away["$literal"]["a"][0]["media"] == "application/pdf"
    assert away["$literal"]["a"][1]["before"] == "data:image/png;base64,"


@pytest.mark.parametrize(
    "text",
    [
        LARGE[: MIN_CHARACTERS - 4],
        LARGE + "\n",
        LARGE.rstrip("=") + "!",
        "word " * 2000,
        LARGE[:-1],
        LARGE[:5000] + "B==",
    ],
)
def test_base64_that_would_not_decode_to_the_same_text_stays(tmp_path: Path, text: str) -> None:
    away = Blobs(tmp_path).put_away({"x": text})

    assert away["x"] == text or Blobs(tmp_path).put_back(away, []) == {"x": text}
    assert away["x"] == text or len(text) >= MIN_CHARACTERS


@pytest.mark.parametrize("name", ["", "sha256:../../etc/passwd", "sha256:" + "0" * 64, "md5:1"])
def test_a_name_that_is_none_or_leads_nowhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BlobError):
        Blobs(tmp_path).get(name)


def test_a_missing_blob_leaves_its_reference_and_is_said(tmp_path: Path) -> None:
    reference = {"$blob": "sha256:" + "0" * 64, "media": "image/png"}
    problems: list[str] = []

    assert Blobs(tmp_path).put_back([reference], problems) == [reference]
    assert problems == [f"the blob sha256:{'0' * 64} is not there"]

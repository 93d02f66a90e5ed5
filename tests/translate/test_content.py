"""Content parts become blocks, or are refused by their index."""

import base64
from typing import Any

import pytest

from translate.content import text_blocks, user_blocks
from translate.errors import OpenAIError

PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)
JPEG = b"\xff\xd8\xff\xe0" + bytes(8)
PDF = b"%PDF-1.7 ..."


def data_url(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def file(**fields: str) -> dict[str, Any]:
    return {"type": "file", "file": fields}


def test_a_string_is_one_block_of_text() -> None:
    assert user_blocks("Hello", "m") == [{"type": "text", "text": "Hello"}]


@pytest.mark.parametrize("empty", ["", " \n", "\ufeff", "\ufeff\n", [], [{"type": "text", "text": "  "}]])
def test_empty_content_gives_no_block(empty: Any) -> None:
    assert user_blocks(empty, "m") == []


def test_parts_keep_their_order() -> None:
    parts = [{"type": "text", "text": "a"}, image("https://example.com/x.png"), {"type": "text", "text": "b"}]

    assert [block["type"] for block in user_blocks(parts, "m")] == ["text", "image", "text"]


def test_an_https_image_is_passed_on_by_its_address() -> None:
    assert user_blocks([image("https://example.com/x.png")], "m") == [
        {"type": "image", "source": {"type": "url", "url": "https://example.com/x.png"}}
    ]


def test_an_image_in_the_request_is_passed_on_byte_for_byte() -> None:
    (block,) = user_blocks([image(data_url(PNG, "image/png"))], "m")

    assert block["source"]["media_type"] == "image/png"
    assert base64.b64decode(block["source"]["data"]) == PNG


@pytest.mark.parametrize(
    ("data", "said", "told"),
    [
        (PNG, "image/jpeg", "image/png"),
        (JPEG, "image/jpg", "image/jpeg"),
        (JPEG, "image/png; charset=binary", "image/jpeg"),
        (b"GIF89a...", "image/*", "image/gif"),
        (b"RIFF....WEBP", "IMAGE/PNG", "image/webp"),
    ],
)
def test_an_image_is_what_its_bytes_say(data: bytes, said: str, told: str) -> None:
    (block,) = user_blocks([image(data_url(data, said))], "m")

    assert block["source"]["media_type"] == told


def test_base64_in_the_url_alphabet_and_with_line_breaks_is_understood() -> None:
    data = PNG + bytes(range(240, 256))
    encoded = base64.urlsafe_b64encode(data).decode().rstrip("=")

    (block,) = user_blocks([image(f"data:image/png;base64,{encoded[:9]}\n{encoded[9:]}")], "m")

    assert base64.b64decode(block["source"]["data"]) == data


def test_a_pdf_is_a_document_with_its_name() -> None:
    (block,) = user_blocks([file(file_data=data_url(PDF, "application/pdf"), filename="a.pdf")], "m")

    assert block["source"]["media_type"] == "application/pdf"
    assert block["title"] == "a.pdf"


def test_a_pdf_may_come_without_a_data_url() -> None:
    (block,) = user_blocks([file(file_data=base64.b64encode(PDF).decode())], "m")

    assert base64.b64decode(block["source"]["data"]) == PDF


def test_a_text_file_is_a_document_of_text() -> None:
    (block,) = user_blocks([file(file_data=data_url("a,b\n1,ä".encode(), "text/csv"), filename="t.csv")], "m")

    assert block["source"] == {"type": "text", "media_type": "text/plain", "data": "a,b\n1,ä"}


def test_a_data_url_may_be_percent_encoded() -> None:
    (block,) = user_blocks([file(file_data="data:text/plain,a%20b", filename="x.txt")], "m")

    assert block["source"]["data"] == "a b"


def test_an_assistants_refusal_is_text() -> None:
    assert text_blocks([{"type": "refusal", "refusal": "No."}], "m", ("text", "refusal")) == [
        {"type": "text", "text": "No."}
    ]


@pytest.mark.parametrize(
    ("part", "param", "code"),
    [
        ({"type": "input_audio", "input_audio": {}}, "m.content[1].type", "invalid_value"),
        ({"type": "refusal", "refusal": "x"}, "m.content[1].type", "invalid_value"),
        ({}, "m.content[1].type", "invalid_value"),
        ("x", "m.content[1].type", "invalid_value"),
        ({"type": "text"}, "m.content[1].text", "missing_required_parameter"),
        ({"type": "text", "text": 3}, "m.content[1].text", "invalid_type"),
        ({"type": "image_url", "image_url": "x"}, "m.content[1].image_url", "invalid_type"),
        (image("http://example.com/x.png"), "m.content[1].image_url.url", "invalid_image_url"),
        (image("file:///etc/passwd"), "m.content[1].image_url.url", "invalid_image_url"),
        (image("https://[x/y.png"), "m.content[1].image_url.url", "invalid_image_url"),
        (image("data:image/png"), "m.content[1].image_url.url", "invalid_value"),
        (image("data:image/png;base64,a"), "m.content[1].image_url.url", "invalid_base64"),
        (image(data_url(b"BM......", "image/bmp")), "m.content[1].image_url.url", "invalid_image_format"),
        (image(data_url(b"BM......", "image/png")), "m.content[1].image_url.url", "invalid_image_format"),
        (image(data_url(PNG, "text/plain")), "m.content[1].image_url.url", "invalid_image_format"),
        (image(data_url(PNG, "")), "m.content[1].image_url.url", "invalid_image_format"),
        ({"type": "file", "file": "x"}, "m.content[1].file", "invalid_type"),
        (file(file_id="file-1"), "m.content[1].file.file_id", "unsupported_value"),
        (file(), "m.content[1].file.file_data", "missing_required_parameter"),
        (file(file_data=data_url(b"\xff\xfe", "text/plain")), "m.content[1].file.file_data", "invalid_value"),
        (file(file_data=data_url(b"PK\x03\x04", "application/zip")), "m.content[1].file.file_data", "unsupported_file"),
    ],
)
def test_an_unsupported_part_is_refused_with_its_index(part: Any, param: str, code: str) -> None:
    with pytest.raises(OpenAIError) as caught:
        user_blocks([{"type": "text", "text": "see"}, part], "m")

    assert (caught.value.status, caught.value.param, caught.value.code) == (400, param, code)


@pytest.mark.parametrize(
    ("more", "title"),
    [
        ({"filename": "main.rs", "file_data": data_url(b"fn main(){}", "application/octet-stream")}, "main.rs"),
        ({"filename": "a.ts", "file_data": data_url("let a = '\u00e9'\r\n".encode(), "video/mp2t")}, "a.ts"),
        ({"file_data": base64.b64encode(b"hello").decode()}, None),
    ],
)
def test_a_file_of_unknown_type_is_text_if_its_bytes_are(more: dict[str, Any], title: str | None) -> None:
    (block,) = user_blocks([{"type": "file", "file": more}], "m")

    assert (block["type"], block["source"]["type"], block.get("title")) == ("document", "text", title)


@pytest.mark.parametrize("data", [b"", b"a\x00b", b"\xff\xfe", b"GIF89a\x01\x00", b"\x1f\x8b\x08"])
def test_a_file_of_unknown_type_with_other_bytes_is_refused(data: bytes) -> None:
    with pytest.raises(OpenAIError, match="neither a PDF nor text"):
        user_blocks([{"type": "file", "file": {"file_data": data_url(data, "application/octet-stream")}}], "m")

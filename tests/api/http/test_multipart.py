"""Forms with files are read as browsers and SDKs write them, and others are refused."""

import contextlib
from typing import Any

import httpx
import pytest

from api.http.multipart import MAX_FIELD_BYTES, MAX_PARTS, Part, field, read_form
from translate.errors import OpenAIError


def form(*, boundary: str = "b", **more: Any) -> tuple[str, bytes]:
    """A form as httpx writes it."""
    request = httpx.Request(
        "POST", "http://x", headers={"content-type": f"multipart/form-data; boundary={boundary}"}, **more
    )
    return request.headers["content-type"], request.read()


def test_fields_and_files_are_read_as_httpx_writes_them() -> None:
    data = b"--b\r\n\r\n--b--\0\xff\r\n"
    read = read_form(
        *form(
            boundary="bound",
            data={"purpose": "batch", "expires_after[seconds]": "3600"},
            files={"file": ('a "quoted" é.jsonl', data, "application/jsonl"), "other": ("b", b"")},
        )
    )

    assert read == {
        "purpose": Part(b"batch"),
        "expires_after[seconds]": Part(b"3600"),
        "file": Part(data, 'a "quoted" é.jsonl', "application/jsonl"),
        "other": Part(b"", "b", "application/octet-stream"),
    }
    assert field(read, "purpose") == "batch"
    assert field(read, "nothing") is None


@pytest.mark.parametrize(
    ("head", "name"),
    [
        ('form-data; name="file"; filename="caf\u00e9.txt"', "café.txt"),
        ("form-data; name=file; filename*=UTF-8''caf%C3%A9.txt", "café.txt"),
        (r'form-data; name="file"; filename="a\"b.txt"', 'a"b.txt'),
        ('form-data; filename="x"; name="file"', "x"),
    ],
)
def test_names_are_read_as_others_write_them(head: str, name: str) -> None:
    body = b"a preamble\r\n--b  \r\ncontent-disposition: " + head.encode() + b"\r\n\r\nx\r\n--b--\r\nand an end"

    assert read_form('multipart/form-data; boundary="b"', body) == {"file": Part(b"x", name)}


HEAD = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n'


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        pytest.param("application/json", b"{}", id="no form"),
        pytest.param("", b"", id="nothing"),
        pytest.param("multipart/form-data", HEAD + b"x\r\n--b--", id="no boundary is named"),
        pytest.param("multipart/form-data; boundary=c", HEAD + b"x\r\n--b--", id="another boundary"),
        pytest.param("multipart/form-data; boundary=b", HEAD + b"x", id="no end"),
        pytest.param("multipart/form-data; boundary=b", HEAD + b"x\r\n--b", id="half of an end"),
        pytest.param("multipart/form-data; boundary=b", b"--b\r\nx\r\n--b--", id="no headers"),
        pytest.param("multipart/form-data; boundary=b", b"--b\r\n\r\nx\r\n--b--", id="no name"),
        pytest.param("multipart/form-data; boundary=b", b"--b\r\n" + b"x" * 20_000 + b"\r\n\r\n\r\n--b--", id="long"),
        pytest.param(
            "multipart/form-data; boundary=b",
            b"\r\n".join([HEAD + b"x"] * (MAX_PARTS + 1)) + b"\r\n--b--",
            id="too many parts",
        ),
    ],
)
def test_what_is_no_such_form_is_refused(content_type: str, body: bytes) -> None:
    with pytest.raises(OpenAIError) as raised:
        read_form(content_type, body)

    assert raised.value.status == 400


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param("filename*=idna''abc", id="an encoding that cannot replace"),
        pytest.param("filename*=undefined''a", id="an encoding that always fails"),
        pytest.param("filename*=a\0b''abc", id="an encoding with NUL"),
        pytest.param(f"filename*{'1' * 4400}*=utf-8''a", id="a long number"),
        pytest.param(f"x*{'1' * 4400}*=utf-8''a", id="a long number of another parameter"),
    ],
)
def test_parameters_that_cannot_be_decoded_are_refused(wrong: str) -> None:
    body = f'--b\r\nContent-Disposition: form-data; name="a"; {wrong}\r\n\r\nx\r\n--b--'.encode()
    typed = f'--b\r\nContent-Disposition: form-data; name="a"\r\nContent-Type: x/y; {wrong}\r\n\r\nx\r\n--b--'.encode()

    with pytest.raises(OpenAIError) as raised:
        read_form("multipart/form-data; boundary=b", body)
    assert (raised.value.status, raised.value.code) == (400, "invalid_multipart_form")
    # What nobody reads does no harm, or is refused in the same way.
    with contextlib.suppress(OpenAIError):
        assert read_form("multipart/form-data; boundary=b", typed)["a"].data == b"x"


def test_a_boundary_that_cannot_be_decoded_is_refused() -> None:
    with pytest.raises(OpenAIError) as raised:
        read_form(f"multipart/form-data; boundary*{'1' * 4400}*=utf-8''b", HEAD + b"x\r\n--b--")

    assert (raised.value.status, raised.value.code) == (400, "invalid_content_type")


@pytest.mark.parametrize("value", ["utf-7''%2B2AA-", "unicode-escape''%5Cud800"])
def test_names_have_no_lone_surrogates(value: str) -> None:
    body = f'--b\r\nContent-Disposition: form-data; name="a"; filename*={value}\r\n\r\nx\r\n--b--'.encode()

    assert read_form("multipart/form-data; boundary=b", body) == {"a": Part(b"x", "?")}


@pytest.mark.parametrize("part", [Part(b"x", "x.txt"), Part(b"\xff"), Part(b"x" * (MAX_FIELD_BYTES + 1))])
def test_a_field_is_a_short_text(part: Part) -> None:
    with pytest.raises(OpenAIError) as raised:
        field({"purpose": part}, "purpose")

    assert (raised.value.status, raised.value.param) == (400, "purpose")

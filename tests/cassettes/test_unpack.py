"""What is compressed is undone, within a limit."""

import gzip
import zlib
from collections.abc import Callable

import brotli  # type: ignore[import-untyped]
import pytest
import zstandard

from cassettes.unpack import MAX_GZIP_MEMBERS, UnknownEncodingError, unpack, unpack_all


def without_frame(body: bytes) -> bytes:
    pack = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return pack.compress(body) + pack.flush()


PACKED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "gzip in two parts": ("gzip", lambda body: gzip.compress(body[:50]) + gzip.compress(body[50:])),
    "gzip in many parts": (
        "gzip",
        lambda body: b"".join(gzip.compress(body[n : n + 5000]) for n in range(0, len(body), 5000)),
    ),
    "gzip with zeros after it": ("gzip", lambda body: gzip.compress(body) + bytes(100)),
    "deflate": ("deflate", zlib.compress),
    "deflate without a frame": ("deflate", without_frame),
    "br": ("br", brotli.compress),
    "zstd": ("zstd", zstandard.compress),
    "capitals": (" GZIP", gzip.compress),
}


@pytest.mark.parametrize("how", PACKED)
def test_a_body_is_unpacked_up_to_a_limit(how: str) -> None:
    encoding, pack = PACKED[how]
    body = b"many times " * 100_000

    assert unpack(pack(body), encoding, len(body) + 1) == body
    # The library of `br` may give some that it has already.
    assert 1000 <= len(unpack(pack(body), encoding, 1000)) < len(body)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
@pytest.mark.parametrize("body", [b"{}", b'{"model": "gpt-4o"}'])
def test_a_body_without_the_named_encoding_is_an_error(encoding: str, body: bytes) -> None:
    with pytest.raises(ValueError, match=encoding):
        unpack(body, encoding, 1000)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
def test_half_of_a_body_is_an_error(encoding: str) -> None:
    whole = PACKED[encoding][1](b"many times " * 1000)

    with pytest.raises(ValueError, match=encoding):
        unpack(whole[: len(whole) // 2], encoding, 100_000)


@pytest.mark.parametrize("encoding", ["", "identity", "unknown"])
def test_a_body_with_an_unknown_encoding_is_not_changed(encoding: str) -> None:
    assert unpack(b"{}", encoding, 1) == b"{}"


@pytest.mark.parametrize(
    ("encodings", "pack"),
    [
        ("", lambda body: body),
        ("identity", lambda body: body),
        ("x-gzip", gzip.compress),
        ("gzip, br", lambda body: brotli.compress(gzip.compress(body))),
        ("identity,GZIP ,zstd", lambda body: zstandard.compress(gzip.compress(body))),
    ],
)
def test_all_encodings_are_undone_the_last_one_first(encodings: str, pack: Callable[[bytes], bytes]) -> None:
    assert unpack_all(pack(b"{}"), encodings, 100) == b"{}"


@pytest.mark.parametrize("encodings", ["compress", "gzip, rot13", "gzip, gzip, gzip"])
def test_encodings_that_cannot_be_undone_are_named(encodings: str) -> None:
    with pytest.raises(UnknownEncodingError):
        unpack_all(b"{}", encodings, 100)


def test_a_window_that_would_take_much_memory_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
    packed = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    body = packed.compress(b"x") + packed.flush()

    with pytest.raises(ValueError, match="zstd"):
        unpack(body, "zstd", 100)


def test_gzip_of_too_many_parts_is_an_error() -> None:
    part = gzip.compress(b"")

    assert unpack(part * MAX_GZIP_MEMBERS, "gzip", 1000) == b""
    with pytest.raises(ValueError, match="parts"):
        unpack(part * (MAX_GZIP_MEMBERS + 1), "gzip", 1000)


@pytest.mark.parametrize("more", [b"x", bytes(10) + b"x", gzip.compress(b"b")[:-1]])
def test_what_is_no_gzip_after_a_part_is_an_error(more: bytes) -> None:
    with pytest.raises(ValueError, match="gzip"):
        unpack(gzip.compress(b"a") + more, "gzip", 1000)

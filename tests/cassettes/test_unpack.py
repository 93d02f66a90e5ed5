"""What is compressed is undone, within a limit."""

import gzip
import zlib
from collections.abc import Callable

import brotli  # type: ignore[import-untyped]
import pytest
import zstandard

from cassettes.unpack import unpack


def without_frame(body: bytes) -> bytes:
    pack = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return pack.compress(body) + pack.flush()


PACKED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "gzip in two parts": ("gzip", lambda body: gzip.compress(body[:50]) + gzip.compress(body[50:])),
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

"""What is compressed is recorded as what it is, within a limit. The rest: end_to_end/test_record_and_replay.py."""

import gzip
import zlib

import brotli  # type: ignore[import-untyped]
import pytest
import zstandard
from mitmproxy.test import tutils

from addons.record import decoded

PACKED = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.compress,
}


@pytest.mark.parametrize("encoding", PACKED)
def test_a_compressed_body_is_unpacked_up_to_a_limit(encoding: str) -> None:
    body = b"a secret, many times " * 100_000
    request = tutils.treq(content=PACKED[encoding](body), headers=[(b"content-encoding", encoding.encode())])

    assert decoded(request, len(body)) == body
    # One more byte than the limit says that there is more. The library of `br` may give some that it has already.
    assert 1000 < len(decoded(request, 1000)) < len(body)


@pytest.mark.parametrize("encoding", [*PACKED, "identity", "unknown"])
def test_what_cannot_be_unpacked_is_as_it_came(encoding: str) -> None:
    request = tutils.treq(content=b"{}", headers=[(b"content-encoding", encoding.encode())])

    assert decoded(request, 1000) == b"{}"

"""What is compressed is recorded as what it is, within a limit. The rest: end_to_end/test_record_and_replay.py."""

import gzip

import pytest
from mitmproxy.test import tutils

from addons.record import decoded


def test_a_compressed_body_is_recorded_unpacked_up_to_one_byte_more_than_the_limit() -> None:
    body = b"a secret, many times " * 100_000
    request = tutils.treq(content=gzip.compress(body), headers=[(b"content-encoding", b"gzip")])

    assert decoded(request, len(body)) == body
    assert decoded(request, 1000) == body[:1001]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "identity", "unknown"])
def test_what_cannot_be_unpacked_is_recorded_as_it_came(encoding: str) -> None:
    request = tutils.treq(content=b"{}", headers=[(b"content-encoding", encoding.encode())])

    assert decoded(request, 1000) == b"{}"

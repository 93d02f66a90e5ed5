"""Decodes content encodings (https://www.rfc-editor.org/rfc/rfc9110#name-content-codings), up to a size limit."""

import gzip
import io
import zlib

import brotli  # type: ignore[import-untyped]
import zstandard


def unpack(body: bytes, encoding: str, most: int) -> bytes:
    """Return a body without its content encoding. If it is longer than ``most`` bytes, return only the beginning.

    Without a limit, a small body could fill the memory. With ``br`` the result can be slightly longer than ``most``. A
    body with an unknown encoding is returned unchanged. Raises ValueError if the body does not have this encoding.
    """
    try:
        match encoding.strip().lower():
            case "gzip":
                with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
                    return file.read(most)
            case "deflate":
                return _inflate(body, most)
            case "br":
                return _brotli(body, most)
            case "zstd":
                with zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True) as reader:
                    return bytes(reader.read(most))
            case _:
                return body
    except (OSError, EOFError, zlib.error, brotli.error, zstandard.ZstdError) as error:
        raise ValueError(f"this is not {encoding}: {error}") from error


def _inflate(body: bytes, most: int) -> bytes:
    for window in (zlib.MAX_WBITS, -zlib.MAX_WBITS):  # some servers leave out the zlib header
        undo = zlib.decompressobj(window)
        try:
            data = undo.decompress(body, most)
        except zlib.error:
            continue
        if len(data) >= most or (undo.eof and not undo.unused_data):
            return data
    raise ValueError("this is not deflate")


def _brotli(body: bytes, most: int) -> bytes:
    undo = brotli.Decompressor()
    data = bytes(undo.process(body, output_buffer_limit=most))
    if len(data) < most and not undo.is_finished():
        raise ValueError("this is not br")
    return data

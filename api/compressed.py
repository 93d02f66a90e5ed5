"""Request bodies that are compressed (``content-encoding``).

OpenAI accepts them, and some SDKs and agents send them. They are undone here, before anything reads the body: the
endpoints, the cassette that is replayed, and what looks for a model in the body.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from api.body_bounds import Bounds
from api.failures import CODES
from api.http.responder import Responder
from api.http.server import Request
from cassettes.unpack import ENCODINGS, UnknownEncodingError, unpack_all
from translate.errors import OpenAIError

# Threads of their own: few, because each may fill ``most`` bytes before they are counted.
_threads = ThreadPoolExecutor(2, thread_name_prefix="decompress")

# The reader of bodies and the length describe the body as it was sent.
_OF_THE_BODY = ("content-encoding", "content-length", "transfer-encoding")


async def uncompressed(request: Request, exchange: Responder, most: int) -> Request:
    """Return a request with its body as it was before it was compressed, of at most ``most`` bytes.

    Raises OpenAIError: 400 for a body that is not so compressed, 413 for one that is too long, and 415 for an unknown
    encoding. The answer to the last lists the known ones in ``accept-encoding``.
    """
    encodings = ",".join(value for name, value in request.headers if name == "content-encoding")
    if not encodings or not request.body:
        return request
    try:
        # This can take a second, and other requests must not wait for it.
        body = await asyncio.get_running_loop().run_in_executor(_threads, unpack_all, request.body, encodings, most + 1)
    except UnknownEncodingError as error:
        exchange.headers.append(("accept-encoding", ", ".join(ENCODINGS)))
        message = f"Unsupported content-encoding: {error}. Supported values are: {', '.join(ENCODINGS)}."
        raise OpenAIError(message, status=415, code="unsupported_content_encoding") from None
    except ValueError:
        message = f"We could not decompress the body of your request: it is not valid {encodings}."
        raise OpenAIError(message, code="invalid_content_encoding") from None
    if len(body) > most:
        message = f"The request body is larger than {most} bytes once it is decompressed."
        raise OpenAIError(message, status=413, code="request_too_large")
    headers = [field for field in request.headers if field[0] not in _OF_THE_BODY]
    return replace(request, headers=(*headers, ("content-length", str(len(body)))), body=body)


@contextlib.contextmanager
def held(bounds: Bounds, body: bytes, holder: int | None) -> Iterator[None]:
    """Count a decompressed body while its request is answered. Raises OpenAIError (503) if all together are too large.

    ``holder`` stands for the request's API key, None for none.
    """
    key = id(body)
    if (refusal := bounds.hold(key, len(body), holder)) is not None:
        status, message = refusal
        raise OpenAIError(message, status=status, type="server_error", code=CODES.get(status), retry_after_s=1)
    try:
        yield
    finally:
        bounds.release(key)

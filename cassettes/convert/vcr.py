"""Reads vcrpy's YAML cassettes (version 1): https://vcrpy.readthedocs.io. They have no times and no chunks."""

import base64
import binascii
import datetime
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import Node, ScalarNode

from cassettes.convert.exchange import ConvertError, Exchange, decoded

MIN_BYTES = 1024 * 1024
"""Aliases may always expand to this size."""


def from_vcr(path: Path) -> Iterator[Exchange]:
    """Yield the exchanges of a cassette. No code in the file is run. Raises ConvertError, OSError."""
    try:
        loaded = _loaded(path.read_bytes())
        interactions = loaded["interactions"]
    except ConvertError as error:
        raise ConvertError(f"{path} is not a cassette of vcrpy: {error}") from None
    except (YAMLError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ConvertError(f"{path} is not a cassette of vcrpy: {str(error).splitlines()[0]}") from None
    started = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC)
    for number, one in enumerate(interactions if isinstance(interactions, list) else []):
        try:
            yield _exchange(one, started + datetime.timedelta(seconds=number))
        except (KeyError, TypeError, ValueError, AttributeError, OSError, binascii.Error) as error:
            told = f"{type(error).__name__}: {error}"
            raise ConvertError(f"{path}: interactions[{number}] cannot be read: {told}") from None


def _loaded(text: bytes) -> Any:
    """Load a YAML document. Raises ConvertError if its aliases would expand to much more than the size of the file.

    A few lines with aliases of aliases can expand to gigabytes, or to a value that contains itself.
    """
    yaml = YAML(typ="safe", pure=True)
    document = yaml.compose(text)
    if document is None:
        return None
    if _size_without_aliases(document) > 10 * len(text) + MIN_BYTES:
        raise ConvertError("its aliases (*name) stand for far more than the file has")
    return yaml.constructor.construct_document(document)


def _size_without_aliases(document: Node) -> float:
    """Return the approximate size of a document with all aliases expanded; infinity if one contains itself."""
    sizes: dict[int, float] = {}
    left = [(document, False)]
    while left:
        node, inside_is_known = left.pop()
        if isinstance(node, ScalarNode):
            sizes[id(node)] = 1 + len(node.value)
            continue
        inside = [part for pair in node.value for part in (pair if isinstance(pair, tuple) else (pair,))]
        if inside_is_known:
            sizes[id(node)] = 1 + sum(sizes[id(part)] for part in inside)
        elif id(node) not in sizes:
            # The size is not known yet. A node that refers to it now is inside it.
            sizes[id(node)] = math.inf
            left += [(node, True), *((part, False) for part in inside)]
    return sizes[id(document)]


def _exchange(one: Any, started: datetime.datetime) -> Exchange:
    request, response = one["request"], one["response"]
    # Before version 6 vcrpy used other names for the answers that httpx received.
    status = response["status"] if "status" in response else response["status_code"]
    headers = _pairs(response.get("headers"))
    encoding = next((value.lower() for name, value in headers if name.lower() == "content-encoding"), "")
    body = decoded(_bytes(response["body"] if "body" in response else response.get("content")), encoding)
    return Exchange(
        started=started,
        method=str(request["method"]),
        url=str(request["uri"]),
        headers=_pairs(request.get("headers")),
        body=_bytes(request.get("body")),
        status=int(status["code"] if isinstance(status, Mapping) else status),
        answer_headers=headers,
        chunks=((0.0, body),) if body else (),
        ms=0.0,
    )


def _pairs(headers: Any) -> tuple[tuple[str, str], ...]:
    return tuple(
        (str(name), str(value))
        for name, values in dict(headers or {}).items()
        for value in (values if isinstance(values, list) else [values])
    )


def _bytes(body: Any) -> bytes:
    if isinstance(body, Mapping):
        if "base64_string" in body:
            return base64.b64decode(str(body["base64_string"]), validate=True)
        return _bytes(body.get("string"))
    return body if isinstance(body, bytes) else str(body or "").encode("utf-8", "surrogatepass")

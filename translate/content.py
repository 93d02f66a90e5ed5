"""OpenAI's content parts -> Claude's content blocks.

Sources: https://platform.openai.com/docs/guides/images-vision and …/pdf-files,
https://docs.anthropic.com/en/docs/build-with-claude/vision and …/pdf-support. Nothing is dropped. A part that Claude
does not accept is refused, and the error names its index. :mod:`api.images` checks later whether images can be decoded,
and whether they are small enough.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from translate.errors import OpenAIError
from translate.turn import ContentBlock

# The image types that Claude accepts, each with a test of the file's first bytes.
IMAGE_TYPES: dict[str, Callable[[bytes], bool]] = {
    "image/png": lambda data: data.startswith(b"\x89PNG\r\n\x1a\n"),
    "image/jpeg": lambda data: data.startswith(b"\xff\xd8\xff"),
    "image/gif": lambda data: data.startswith((b"GIF87a", b"GIF89a")),
    "image/webp": lambda data: data[:4] == b"RIFF" and data[8:12] == b"WEBP",
}
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
TEXT_TYPES = ("text/", "application/json", "application/xml", "application/yaml", "application/x-yaml")
TEXT_ENDINGS = (".txt", ".md", ".csv", ".json", ".xml", ".html", ".yaml", ".yml", ".py", ".js", ".ts", ".log", ".tsv")


def text_block(text: str) -> ContentBlock:
    """Return a text block."""
    return {"type": "text", "text": text}


def is_blank(text: str) -> bool:
    """Whether a text has no visible character. For Claude Code, a byte order mark is not visible."""
    return not text.replace("\ufeff", "").strip()


def text_blocks(content: Any, path: str, kinds: Sequence[str] = ("text",)) -> list[ContentBlock]:
    """Return the blocks of content that may only have text (and refusals, in an assistant message).

    Text without a visible character gives no block, because the Messages API refuses it.
    """
    return blocks(content, path, {kind: PARTS[kind] for kind in kinds})


def user_blocks(content: Any, path: str) -> list[ContentBlock]:
    """Return the blocks of a user message. Raises OpenAIError (400) that names a part that is not accepted."""
    return blocks(content, path, {kind: part for kind, part in PARTS.items() if kind != "refusal"})


def blocks(content: Any, path: str, parts: Mapping[str, "Part"]) -> list[ContentBlock]:
    """Return the blocks of a string or of a list of parts."""
    if isinstance(content, str):
        return [] if is_blank(content) else [text_block(content)]
    result = []
    for index, raw in enumerate(content):
        where = f"{path}.content[{index}]"
        kind = str(raw.get("type")) if isinstance(raw, dict) else ""
        if kind not in parts:
            raise OpenAIError(
                f"Invalid value: '{where}.type' is {kind!r}; supported here: {', '.join(map(repr, parts))}.",
                param=f"{where}.type",
                code="invalid_value",
            )
        block = parts[kind](raw, where)
        if block["type"] != "text" or not is_blank(block["text"]):
            result.append(block)
    return result


type Part = Callable[[dict[str, Any], str], ContentBlock]


def _text(raw: dict[str, Any], where: str) -> ContentBlock:
    return text_block(_string(raw, "text", where))


def _refusal(raw: dict[str, Any], where: str) -> ContentBlock:
    return text_block(_string(raw, "refusal", where))


def _image(raw: dict[str, Any], where: str) -> ContentBlock:
    image = raw.get("image_url")
    where = f"{where}.image_url"
    if not isinstance(image, dict):
        raise OpenAIError(f"Invalid type for '{where}': expected an object.", param=where, code="invalid_type")
    url = _string(image, "url", where)
    if url.lower().startswith("data:"):
        media_type, data = _data_url(url, f"{where}.url")
        return _base64_block("image", image_type(media_type, data, f"{where}.url"), data)
    if _scheme(url) != "https":
        raise _invalid_image(f"{where}.url", "an image's URL must be https: or data:", "invalid_image_url")
    return {"type": "image", "source": {"type": "url", "url": url}}


def _scheme(url: str) -> str:
    try:
        return urlsplit(url).scheme.lower()
    except ValueError:  # not a URL, such as "https://[x"
        return ""


def image_type(said: str, data: bytes, param: str) -> str:
    """Return the type of an image from its bytes. ``said`` is the type in its URL. Raises OpenAIError (400).

    OpenAI ignores the type in the URL, and many apps always send ``image/jpeg`` or ``image/jpg``. Claude's API refuses
    an image whose type is wrong.
    """
    found = next((name for name, begins in IMAGE_TYPES.items() if begins(data)), None)
    if found is not None and said.startswith("image/"):
        return found
    supported = ", ".join(name.removeprefix("image/") for name in IMAGE_TYPES)
    raise _invalid_image(param, f"it is none of {supported}", "invalid_image_format")


def _file(raw: dict[str, Any], where: str) -> ContentBlock:
    file = raw.get("file")
    where = f"{where}.file"
    if not isinstance(file, dict):
        raise OpenAIError(f"Invalid type for '{where}': expected an object.", param=where, code="invalid_type")
    if file.get("file_id") and file.get("file_data") is None:
        message = f"Unsupported value: '{where}.file_id': there are no uploaded files here; send 'file_data'."
        raise OpenAIError(message, param=f"{where}.file_id", code="unsupported_value")
    name = file.get("filename") or ""
    text = _string(file, "file_data", where)
    media_type, data = _data_url(text, f"{where}.file_data") if text.startswith("data:") else ("", _bytes(text, where))
    title = {"title": name} if isinstance(name, str) and name else {}
    if data.startswith(b"%PDF-"):
        return {**_base64_block("document", "application/pdf", data), **title}
    if media_type.startswith(TEXT_TYPES) or str(name).lower().endswith(TEXT_ENDINGS) or _is_text(data):
        return {"type": "document", "source": _text_source(data, f"{where}.file_data"), **title}
    message = f"Invalid value: '{where}.file_data' is neither a PDF nor text, which is what Claude takes."
    raise OpenAIError(message, param=f"{where}.file_data", code="unsupported_file")


def _is_text(data: bytes) -> bool:
    """Whether a file of unknown type is text: it is UTF-8 and has no control characters but white space.

    Browsers and apps send source code as ``application/octet-stream``.
    """
    try:
        return bool(data) and _CONTROL.search(data.decode("utf-8")) is None
    except UnicodeDecodeError:
        return False


def _text_source(data: bytes, param: str) -> dict[str, str]:
    try:
        return {"type": "text", "media_type": "text/plain", "data": data.decode("utf-8")}
    except UnicodeDecodeError:
        raise OpenAIError(f"Invalid value: '{param}' is not UTF-8 text.", param=param, code="invalid_value") from None


PARTS: dict[str, Part] = {"text": _text, "image_url": _image, "file": _file, "refusal": _refusal}
"""The types of parts that Claude accepts. ``input_audio`` is not among them."""


def _base64_block(kind: str, media_type: str, data: bytes) -> dict[str, Any]:
    # Encoded again, because the app may have used line breaks or the URL alphabet, which Claude's API refuses.
    encoded = base64.b64encode(data).decode("ascii")
    return {"type": kind, "source": {"type": "base64", "media_type": media_type, "data": encoded}}


def _data_url(url: str, param: str) -> tuple[str, bytes]:
    head, comma, payload = url.partition(",")
    if not comma:
        raise OpenAIError(f"Invalid value: '{param}' is no data URL.", param=param, code="invalid_value")
    media_type, *attributes = head[len("data:") :].split(";")
    if "base64" in [attribute.strip().lower() for attribute in attributes]:
        return media_type.strip().lower(), _bytes(payload, param)
    return media_type.strip().lower(), unquote_to_bytes(payload)


def _bytes(text: str, param: str) -> bytes:
    try:
        compact = "".join(text.split()).replace("-", "+").replace("_", "/")
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise OpenAIError(f"Invalid base64 in '{param}'.", param=param, code="invalid_base64") from None


def _string(raw: Mapping[str, Any], name: str, where: str) -> str:
    value = raw.get(name)
    if isinstance(value, str):
        return value
    param = f"{where}.{name}"
    if value is None:
        message = f"Missing required parameter: '{param}'."
        raise OpenAIError(message, param=param, code="missing_required_parameter")
    raise OpenAIError(f"Invalid type for '{param}': expected a string.", param=param, code="invalid_type")


def _invalid_image(param: str, why: str, code: str) -> OpenAIError:
    return OpenAIError(f"Invalid image in '{param}': {why}.", param=param, code=code)

"""Images that Claude Code passes on as they are.

Beyond certain limits the CLI re-encodes an image and adds words to the prompt, and one that it cannot read becomes a
sentence about that (facts F25, F26). So images are looked into here first: what is broken is refused, what is too large
is scaled down once.
"""

import asyncio
import base64
import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil
from typing import Any

from PIL import ExifTags, Image, UnidentifiedImageError

from translate.errors import OpenAIError
from translate.turn import ContentBlock, Message, Turn

MAX_BYTES = 490_000  # 498,384 bytes passed as they were, 549,417 did not (fact F25)
MAX_SIDE = 2000
# The newer models see an image in patches of 28 pixels a side, and Claude Code scales down what has more than they take
# (1932 x 1932 passed as it was, 2000 x 1868 did not). The older ones' images are kept to it too, for one rule.
PATCH = 28
MAX_PATCHES = 4784
MAX_PIXELS = 100_000_000  # beyond that, decoding is a way to fill the memory
QUALITIES = (90, 80, 65, 50)

# EXIF's orientation -> what makes the image upright.
UPRIGHT: dict[Any, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


async def fit_pictures(turn: Turn, sent: Any = None, root: str = "") -> Turn:
    """Return the turn with its images inside the limits.

    ``sent`` is what the app has sent, at the path ``root`` (``messages``, ``input``): there is looked for the place of
    an image that is broken, by which OpenAIError (400) names it.
    """
    if not any(_is_inline(inside) for message in turn.messages for block in message.content for inside in _with(block)):
        return turn
    # Decoding takes its time, and other streams must not wait for it.
    return await asyncio.to_thread(_fit_turn, turn, places(sent, root), root)


def places(value: Any, path: str) -> dict[str, str]:
    """Return where the images that an app sent along are, by their data: ``messages[0].content[1].image_url.url``."""
    found: dict[str, str] = {}
    # By hand, since what an app sends may lie deeper than Python goes.
    left = [(value, path)]
    while left:
        value, path = left.pop()
        if isinstance(value, str) and value[:5].lower() == "data:":
            found[value.partition(",")[2]] = path
        elif isinstance(value, dict):
            left += [(inside, f"{path}.{name}") for name, inside in value.items()]
        elif isinstance(value, list):
            left += [(inside, f"{path}[{index}]") for index, inside in enumerate(value)]
    return found


def _fit_turn(turn: Turn, where: Mapping[str, str], root: str) -> Turn:
    def fitted(block: ContentBlock) -> ContentBlock:
        if _is_inline(block):
            return fit(block, where.get(block["source"]["data"], root))
        if block["type"] == "tool_result" and isinstance(block.get("content"), list):
            return {**block, "content": [fitted(inside) for inside in block["content"]]}
        return block

    messages = [Message(message.role, tuple(map(fitted, message.content))) for message in turn.messages]
    return replace(turn, messages=tuple(messages))


def _with(block: ContentBlock) -> Sequence[ContentBlock]:
    """Return a block, and what is in it if it is a tool's result."""
    inside = block.get("content") if block["type"] == "tool_result" else None
    return (block, *inside) if isinstance(inside, list) else (block,)


def _is_inline(block: ContentBlock) -> bool:
    return bool(block["type"] == "image" and block["source"]["type"] == "base64")


def fit(block: ContentBlock, where: str) -> ContentBlock:
    """Return an image block inside the limits. ``where`` is its place in the request, for the error."""
    source: dict[str, Any] = block["source"]
    data = base64.b64decode(source["data"])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise _broken(where, f"it has more than {MAX_PIXELS:,} pixels")
                image.load()
                if len(data) <= MAX_BYTES and _side(*image.size) == max(image.size):
                    return block
                media_type, smaller = _smaller(image)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombWarning):
        raise _broken(where, "it cannot be decoded") from None
    return {**block, "source": {**source, "media_type": media_type, "data": base64.b64encode(smaller).decode("ascii")}}


def _smaller(image: Image.Image) -> tuple[str, bytes]:
    """Scale and encode an image until it is inside the limits; transparency is kept by WebP, the rest becomes JPEG."""
    transparent = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
    # What is written has no EXIF data, which in a photograph says which side is up.
    if (turned := UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation))) is not None:
        image = image.transpose(turned)
    form, media_type = ("WEBP", "image/webp") if transparent else ("JPEG", "image/jpeg")
    if image.mode.startswith("I"):
        # Sixteen bits of grey, all but the darkest of which a conversion would make white.
        image = image.point(lambda value: value * (1 / 257)).convert("L")
    image = image.convert("RGBA" if transparent else "RGB")
    side = _side(*image.size)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    while True:
        for quality in QUALITIES:
            buffer = io.BytesIO()
            image.save(buffer, form, quality=quality)
            if buffer.tell() <= MAX_BYTES:
                return media_type, buffer.getvalue()
        image.thumbnail((image.width * 3 // 4, image.height * 3 // 4), Image.Resampling.LANCZOS)


def _side(width: int, height: int) -> int:
    """Return how long the longer side of an image of this shape may be, at most as long as it is."""
    longer = max(width, height)
    side = min(longer, MAX_SIDE)
    while ceil(width * side / longer / PATCH) * ceil(height * side / longer / PATCH) > MAX_PATCHES:
        side -= 1
    return side


def _broken(where: str, why: str) -> OpenAIError:
    return OpenAIError(f"Invalid image in '{where}': {why}.", param=where, code="invalid_image")

"""A program that scales images down, in a process of its own: what a hostile image takes is taken from no one else.

It is run by its path (``python -I image_process.py MEBIBYTES``) and knows only the standard library and Pillow, so it
starts in a tenth of a second. On its standard input an image is four bytes with its length, then its bytes. The answer
is a letter and likewise so many bytes: ``J`` or ``W`` and a JPEG or a WebP image, ``E`` and why there is none. It ends
with its input.
"""

import contextlib
import io
import struct
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator
from math import ceil
from typing import Any, BinaryIO

from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError

MAX_BYTES = 490_000  # 498,384 bytes passed as they were, 549,417 did not (fact F25)
MAX_SIDE = 2000
# The newer models see an image in patches of 28 pixels a side, and Claude Code scales down what has more than they take
# (1932 x 1932 passed as it was, 2000 x 1868 did not). The older ones' images are kept to it too, for one rule.
PATCH = 28
MAX_PATCHES = 4784
QUALITIES = (90, 80, 65, 50)

FORMS = ("PNG", "JPEG", "GIF", "WEBP")
"""Claude's, in Pillow's words. Others of its decoders are not tried on what strangers send."""

# A scan of a JPEG is a pass over all of its pixels, and takes two bytes at least. Encoders make ten.
MAX_SCANS = 32
SCAN = b"\xff\xda"

BROKEN = (
    *(UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError, EOFError),
    *(struct.error, zlib.error),
)
"""What Pillow raises for an image that it cannot decode."""

UNDECODABLE = "it cannot be decoded"
TOO_MUCH_MEMORY = "decoding it takes too much memory"

# Texts inside a PNG are unpacked before its pixels are; nothing here reads them.
PngImagePlugin.MAX_TEXT_CHUNK = 256 * 1024
PngImagePlugin.MAX_TEXT_MEMORY = 1024 * 1024

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


class ImageError(Exception):
    """An image cannot be used. The message says why, as the second half of a sentence."""


def look(data: bytes, max_pixels: int) -> bool:
    """Whether an image must be scaled down or encoded anew; if not, it is decoded here, to see that it can be.

    Its size is read from its head before a pixel is decoded. Raises ImageError.
    """
    with _decoding(), Image.open(io.BytesIO(data), formats=FORMS) as image:
        if image.width * image.height > max_pixels:
            raise ImageError(f"it has {image.width} x {image.height} pixels, more than {max_pixels:,}")
        if image.format == "JPEG" and data.count(SCAN) > MAX_SCANS:
            raise ImageError(f"it has more than {MAX_SCANS} scans")
        if len(data) > MAX_BYTES or side_of(*image.size) < max(image.size):
            return True
        image.load()
        return False


def smaller(data: bytes) -> tuple[str, bytes]:
    """Scale and encode an image until it is inside the limits, and return its new type and bytes.

    Transparency is kept by WebP, the rest becomes JPEG. Raises ImageError.
    """
    with _decoding(), Image.open(io.BytesIO(data), formats=FORMS) as image:
        return _encoded(image)


@contextlib.contextmanager
def _decoding() -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            # How many pixels are too many is decided here.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield
    except MemoryError:
        raise ImageError(TOO_MUCH_MEMORY) from None
    except BROKEN:
        raise ImageError(UNDECODABLE) from None


def _encoded(image: Image.Image) -> tuple[str, bytes]:
    transparent = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
    # What is written has no EXIF data, which in a photograph says which side is up.
    turned = UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation))
    form, media_type = ("WEBP", "image/webp") if transparent else ("JPEG", "image/jpeg")
    side = side_of(*image.size)
    if image.mode in ("RGB", "RGBA", "L", "LA", "CMYK") and "transparency" not in image.info:
        # Before anything else is done with so many pixels. Of a JPEG, only as many are decoded as are needed.
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    if image.mode.startswith("I"):
        # Sixteen bits of grey, all but the darkest of which a conversion would make white.
        image = image.point(lambda value: value * (1 / 257)).convert("L")
    image = image.convert("RGBA" if transparent else "RGB")
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    if turned is not None:
        image = image.transpose(turned)
    while True:
        for quality in QUALITIES:
            buffer = io.BytesIO()
            image.save(buffer, form, quality=quality)
            if buffer.tell() <= MAX_BYTES:
                return media_type, buffer.getvalue()
        image.thumbnail((image.width * 3 // 4, image.height * 3 // 4), Image.Resampling.LANCZOS)


def side_of(width: int, height: int) -> int:
    """Return how long the longer side of an image of this shape may be, at most as long as it is."""
    longer = max(width, height)
    side = min(longer, MAX_SIDE)
    while ceil(width * side / longer / PATCH) * ceil(height * side / longer / PATCH) > MAX_PATCHES:
        side -= 1
    return side


def limit_memory(mebibytes: int) -> None:
    """Let this process have so much memory and no more, where the system can hold it to that."""
    try:
        import resource
    except ImportError:  # Windows
        return
    size = mebibytes * 1024 * 1024
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def serve(incoming: BinaryIO, outgoing: BinaryIO, work: Callable[[bytes], tuple[str, bytes]] = smaller) -> None:
    """Answer image after image until there are no more."""
    while len(head := incoming.read(4)) == 4:
        try:
            media_type, made = work(incoming.read(int.from_bytes(head)))
            letter = {"image/jpeg": b"J", "image/webp": b"W"}[media_type]
        except ImageError as error:
            letter, made = b"E", str(error).encode()
        except MemoryError:
            letter, made = b"E", TOO_MUCH_MEMORY.encode()
        outgoing.write(letter + len(made).to_bytes(4) + made)
        outgoing.flush()


if __name__ == "__main__":
    limit_memory(int(sys.argv[1]))
    with contextlib.suppress(BrokenPipeError):
        serve(sys.stdin.buffer, sys.stdout.buffer)

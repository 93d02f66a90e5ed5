"""A program that scales images down in a separate process, so that a hostile image affects no other work.

Run it by its path (``python -I image_process.py MEBIBYTES``). It imports only the standard library and Pillow, so it
starts in a tenth of a second. Each image on standard input is four bytes with its length, then its bytes. Each answer
is a letter, four bytes with a length, then as many bytes. ``J`` comes with a JPEG image, ``W`` with a WebP image, and
``E`` with an error message. The program ends at the end of its input.
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

MAX_BYTES = 490_000  # 498,384 bytes were unchanged, 549,417 were not (fact F25)
MAX_SIDE = 2000
# Newer models divide an image into patches of 28 x 28 pixels. Claude Code scales an image down if it has too many
# patches (1932 x 1932 was unchanged, 2000 x 1868 was not). For simplicity the limit applies to older models too.
PATCH = 28
MAX_PATCHES = 4784
QUALITIES = (90, 80, 65, 50)

FORMS = ("PNG", "JPEG", "GIF", "WEBP")
"""Pillow's names of the formats that Claude accepts. Its other decoders are never used on clients' data."""

# Each scan of a JPEG is a pass over all pixels, but may need only two bytes. Encoders usually make ten scans.
MAX_SCANS = 32
SCAN = b"\xff\xda"

BROKEN = (
    *(UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError, EOFError),
    *(struct.error, zlib.error),
)
"""The exceptions that Pillow raises for an image that it cannot decode."""

UNDECODABLE = "it cannot be decoded"
TOO_MUCH_MEMORY = "decoding it takes too much memory"

# Pillow decompresses the text chunks of a PNG before its pixels. They are not needed, so limit their size.
PngImagePlugin.MAX_TEXT_CHUNK = 256 * 1024
PngImagePlugin.MAX_TEXT_MEMORY = 1024 * 1024

# EXIF orientation -> the transposition that makes the image upright.
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
    """An image cannot be used. The message gives the reason, as the second half of a sentence."""


def look(data: bytes, max_pixels: int) -> bool:
    """Whether an image must be scaled down or encoded again. If not, decode it here to check that it is valid.

    The dimensions are read from the header before any pixel is decoded. Raises ImageError.
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
    """Scale and encode an image until it is within the limits. Return its new media type and bytes.

    Transparent images become WebP, all others JPEG. Raises ImageError.
    """
    with _decoding(), Image.open(io.BytesIO(data), formats=FORMS) as image:
        return _encoded(image)


@contextlib.contextmanager
def _decoding() -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            # look() limits the number of pixels, so ignore Pillow's own limit.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield
    except MemoryError:
        raise ImageError(TOO_MUCH_MEMORY) from None
    except BROKEN:
        raise ImageError(UNDECODABLE) from None


def _encoded(image: Image.Image) -> tuple[str, bytes]:
    transparent = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
    # The output has no EXIF data. So apply the orientation that the EXIF data of a photograph gives.
    turned = UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation))
    form, media_type = ("WEBP", "image/webp") if transparent else ("JPEG", "image/jpeg")
    side = side_of(*image.size)
    if image.mode in ("RGB", "RGBA", "L", "LA", "CMYK") and "transparency" not in image.info:
        # Scale down first, since other steps are slow on so many pixels. A JPEG is then decoded at a lower resolution.
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    if image.mode.startswith("I"):
        # 16-bit grey: a plain conversion would make all but the darkest values white.
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
    """Return the longer side, in pixels, that an image of this shape may have. It is never scaled up."""
    longer = max(width, height)
    side = min(longer, MAX_SIDE)
    while ceil(width * side / longer / PATCH) * ceil(height * side / longer / PATCH) > MAX_PATCHES:
        side -= 1
    return side


def limit_memory(mebibytes: int) -> None:
    """Limit the memory of this process, if the system supports it."""
    try:
        import resource
    except ImportError:  # Windows
        return
    size = mebibytes * 1024 * 1024
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def serve(incoming: BinaryIO, outgoing: BinaryIO, work: Callable[[bytes], tuple[str, bytes]] = smaller) -> None:
    """Read images and write answers until the input ends."""
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

"""Images are brought inside the limits within which Claude Code leaves them alone."""

import asyncio
import base64
import io
import random
import struct
import sys
import zlib
from collections.abc import AsyncIterator
from math import ceil
from typing import Any

import pytest
from PIL import ExifTags, Image, ImageOps

from api.image_process import MAX_BYTES, MAX_PATCHES, MAX_SIDE, PATCH
from api.images import Images, places
from translate.errors import OpenAIError
from translate.turn import ContentBlock, Message, Turn

pytestmark = pytest.mark.anyio


def picture(width: int, height: int, form: str = "PNG", mode: str = "RGB", noise: bool = False) -> bytes:
    image = Image.new(mode, (width, height))
    if noise:
        bands = len(image.getbands())
        image = Image.frombytes(mode, (width, height), random.Random(1).randbytes(width * height * bands))
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


@pytest.fixture
async def images() -> AsyncIterator[Images]:
    async with Images() as images:
        yield images


def block(data: bytes, media_type: str = "image/png") -> ContentBlock:
    source = {"type": "base64", "media_type": media_type, "data": base64.b64encode(data).decode()}
    return {"type": "image", "source": source}


def opened(result: ContentBlock) -> tuple[bytes, Image.Image]:
    data = base64.b64decode(result["source"]["data"])
    return data, Image.open(io.BytesIO(data))


async def test_an_image_inside_the_limits_is_left_alone(images: Images) -> None:
    original = block(picture(40, 30))

    assert await images.fit(original, "m") is original


async def test_a_long_side_is_scaled_down_and_the_shape_kept(images: Images) -> None:
    _, image = opened(await images.fit(block(picture(4000, 1000)), "m"))

    assert image.size == (MAX_SIDE, MAX_SIDE // 4)


@pytest.mark.parametrize("size", [(2000, 2000), (3000, 2900), (2000, 1868), (1960, 1930)])
async def test_more_patches_than_a_model_takes_are_scaled_down_and_the_shape_kept(
    images: Images, size: tuple[int, int]
) -> None:
    _, image = opened(await images.fit(block(picture(*size)), "m"))

    assert ceil(image.width / PATCH) * ceil(image.height / PATCH) <= MAX_PATCHES
    assert max(image.size) > 1900
    assert image.width / image.height == pytest.approx(size[0] / size[1], rel=1e-3)


@pytest.mark.parametrize("size", [(1932, 1932), (2000, 1848), (2000, 1)])
async def test_an_image_within_the_models_limit_of_patches_is_not_scaled(images: Images, size: tuple[int, int]) -> None:
    original = block(picture(*size))

    assert await images.fit(original, "m") is original


async def test_too_many_bytes_are_encoded_smaller(images: Images) -> None:
    result = await images.fit(block(picture(900, 900, noise=True)), "m")

    data, image = opened(result)
    assert len(data) <= MAX_BYTES
    assert (image.format, result["source"]["media_type"]) == ("JPEG", "image/jpeg")


async def test_transparency_survives(images: Images) -> None:
    _, image = opened(await images.fit(block(picture(600, 600, mode="RGBA", noise=True)), "m"))

    assert image.format == "WEBP"
    assert image.mode == "RGBA"


@pytest.mark.parametrize("orientation", range(9))
async def test_a_photograph_that_says_which_side_is_up_stands_so(images: Images, orientation: int) -> None:
    photograph = Image.new("RGB", (3000, 400))
    photograph.paste("white", (0, 0, 1500, 200))
    exif = photograph.getexif()
    exif[ExifTags.Base.Orientation] = orientation
    buffer = io.BytesIO()
    photograph.save(buffer, "JPEG", exif=exif)

    _, image = opened(await images.fit(block(buffer.getvalue(), "image/jpeg"), "m"))

    upright = ImageOps.exif_transpose(photograph)
    assert max(image.size) == MAX_SIDE
    for part in ((0.1, 0.1), (0.9, 0.1), (0.1, 0.9), (0.9, 0.9)):
        wanted, found = (
            picture.convert("L").getpixel((int(picture.width * part[0]), int(picture.height * part[1])))
            for picture in (upright, image)
        )
        assert found == pytest.approx(wanted, abs=9)


async def test_sixteen_bits_of_grey_keep_their_shades(images: Images) -> None:
    grey = Image.frombytes("I;16", (4000, 4), struct.pack("<4000H", *range(0, 64_000, 16)) * 4)
    buffer = io.BytesIO()
    grey.save(buffer, "PNG")

    _, image = opened(await images.fit(block(buffer.getvalue()), "m"))

    shades = [image.convert("L").getpixel((x, 0)) for x in (5, 500, 1000, 1500, 1995)]
    assert shades == pytest.approx([0, 62, 124, 187, 248], abs=3)


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n", picture(40, 30)[:-30], b"not an image"])
async def test_a_broken_image_is_refused_by_its_place(images: Images, data: bytes) -> None:
    with pytest.raises(OpenAIError) as caught:
        await images.fit(block(data), "messages[0].content[3].image_url.url")

    assert (caught.value.status, caught.value.code) == (400, "invalid_image")
    assert caught.value.param == "messages[0].content[3].image_url.url"


def test_the_places_are_those_of_the_images_that_were_sent_along() -> None:
    sent = {"type": "image_url", "image_url": {"url": "data:image/png;base64,xx"}}
    linked = {"type": "image_url", "image_url": {"url": "https://example.com/x.png"}}
    messages = [{"role": "user", "content": "x"}, {"role": "user", "content": [linked, sent]}]

    assert places(messages, "messages") == {"xx": "messages[1].content[1].image_url.url"}


def test_a_deeply_nested_image_is_found_and_named_by_its_first_place() -> None:
    deep: object = "data:image/png;base64,xx"
    for _ in range(100_000):
        deep = [deep]

    assert places(["data:,yy", "data:,yy", deep], "input")["yy"] == "input[0]"


async def test_an_image_that_a_tool_gave_is_fitted_or_refused_by_its_place(images: Images) -> None:
    def turn(data: bytes) -> Turn:
        result: ContentBlock = {"type": "tool_result", "tool_use_id": "t", "content": [block(data)]}
        return Turn(model="haiku", messages=(Message("user", (result,)),))

    broken = {
        "output": [{"type": "input_image", "image_url": f"data:image/png;base64,{block(b'x')['source']['data']}"}]
    }
    fitted = await images.fit_turn(turn(picture(3000, 10)))
    with pytest.raises(OpenAIError) as caught:
        await images.fit_turn(turn(b"x"), [broken], "input")

    assert opened(fitted.messages[0].content[0]["content"][0])[1].width == MAX_SIDE
    assert caught.value.param == "input[0].output[0].image_url"


async def test_a_turn_without_images_is_the_same_turn(images: Images) -> None:
    turn = Turn(model="haiku", messages=(Message("user", ({"type": "text", "text": "Hi"},)),))

    assert await images.fit_turn(turn) is turn


async def test_every_image_of_a_turn_is_fitted_in_its_place(images: Images) -> None:
    url: ContentBlock = {"type": "image", "source": {"type": "url", "url": "https://example.com/x.png"}}
    text: ContentBlock = {"type": "text", "text": "see"}
    turn = Turn(model="haiku", messages=(Message("user", (text, block(picture(3000, 10)), url)),))

    fitted = await images.fit_turn(turn)

    blocks = fitted.messages[0].content
    assert (blocks[0], blocks[2]) == (text, url)
    assert opened(blocks[1])[1].width == MAX_SIDE


def refused(caught: pytest.ExceptionInfo[OpenAIError]) -> tuple[int, str | None, str]:
    return caught.value.status, caught.value.code, caught.value.message


async def test_an_image_of_too_many_pixels_is_refused_by_its_head_alone() -> None:
    # Nothing follows the head, so whoever decoded it would say that it cannot be decoded.
    head = picture(10, 10)[:16] + struct.pack(">II", 9400, 9400) + b"\x08\x02\0\0\0"
    head += struct.pack(">I", zlib.crc32(head[12:]))
    async with Images() as images:
        with pytest.raises(OpenAIError) as caught:
            await images.fit(block(head + struct.pack(">I", 10) + b"IDAT"), "m")

    assert refused(caught) == (
        400,
        "invalid_image",
        "Invalid image in 'm': it has 9400 x 9400 pixels, more than 64,000,000.",
    )


async def test_an_image_that_needs_no_scaling_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_process(*_: object, **__: object) -> None:
        pytest.fail("a process was started")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", no_process)
    async with Images() as images:
        await images.fit(block(picture(1900, 1900)), "m")


async def test_a_process_is_kept_for_the_next_image_and_ended_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    start = asyncio.create_subprocess_exec

    async def starting(*args: Any, **kwargs: Any) -> Any:
        started.append(await start(*args, **kwargs))
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", starting)
    async with Images() as images:
        for _ in range(3):
            await images.fit(block(picture(3000, 10)), "m")

    (process,) = started
    assert process.returncode is not None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="this system does not bound a process's memory")
async def test_an_image_that_takes_too_much_memory_is_refused_and_the_next_one_is_not() -> None:
    async with Images(memory_mb=256) as images:
        with pytest.raises(OpenAIError) as caught:
            await images.fit(block(picture(7000, 7000, mode="RGBA")), "m")
        _, image = opened(await images.fit(block(picture(3000, 10)), "m"))

    assert refused(caught)[:2] == (400, "invalid_image")
    assert "too much memory" in refused(caught)[2]
    assert image.width == MAX_SIDE


async def test_a_process_that_dies_takes_its_image_with_it_and_nothing_else(
    images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying = "import os, sys; sys.stdin.buffer.read(4); os._exit(11)"
    start = asyncio.create_subprocess_exec
    with monkeypatch.context() as patched:
        patched.setattr(
            asyncio, "create_subprocess_exec", lambda *_, **kwargs: start(sys.executable, "-c", dying, **kwargs)
        )
        with pytest.raises(OpenAIError) as caught:
            await images.fit(block(picture(3000, 10)), "m")
    _, image = opened(await images.fit(block(picture(3000, 10)), "m"))

    assert refused(caught) == (400, "invalid_image", "Invalid image in 'm': the process that decoded it died.")
    assert image.width == MAX_SIDE


async def test_an_image_that_takes_too_long_is_refused_and_its_process_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    start = asyncio.create_subprocess_exec
    busy = "import sys; sys.stdin.buffer.read(4)\nwhile True: pass"
    monkeypatch.setattr(
        asyncio, "create_subprocess_exec", lambda *_, **kwargs: start(sys.executable, "-c", busy, **kwargs)
    )
    async with Images(time_s=0.2) as images:
        with pytest.raises(OpenAIError, match=r"takes more than 0\.2 s") as caught:
            await images.fit(block(picture(3000, 10)), "m")

    assert caught.value.status == 400


async def test_when_no_place_comes_free_it_is_said_to_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    start, started = asyncio.create_subprocess_exec, asyncio.Event()

    async def starting(*_: str, **kwargs: Any) -> Any:
        process = await start(sys.executable, "-c", "import sys; sys.stdin.read()", **kwargs)
        started.set()
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", starting)
    async with Images(max_waiting=0) as images:
        first = asyncio.create_task(images.fit(block(picture(3000, 10)), "m"))
        await started.wait()
        with pytest.raises(OpenAIError) as caught:
            await images.fit(block(picture(3000, 10)), "m")
        first.cancel()
        await asyncio.wait([first])

    assert (caught.value.status, caught.value.code, caught.value.retry_after_s) == (503, "overloaded", 1)


async def test_a_jpeg_with_hundreds_of_scans_is_refused(images: Images) -> None:
    data = picture(40, 30, "JPEG")
    with pytest.raises(OpenAIError, match="more than 32 scans"):
        await images.fit(block(data[:-2] + b"\xff\xda\0\0" * 300 + data[-2:], "image/jpeg"), "m")


async def test_texts_that_unpack_to_more_than_anyone_reads_are_refused(images: Images) -> None:
    text = b"zTXt" + b"a\0\0" + zlib.compress(bytes(50_000_000))
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    data = picture(40, 30)
    with pytest.raises(OpenAIError, match="cannot be decoded"):
        await images.fit(block(data[:33] + chunk + data[33:]), "m")

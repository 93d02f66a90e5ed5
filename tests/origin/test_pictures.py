"""Images are brought inside the limits within which Claude Code leaves them alone."""

import base64
import io
import random
import struct
from math import ceil

import pytest
from PIL import ExifTags, Image, ImageOps

from origin.pictures import MAX_BYTES, MAX_PATCHES, MAX_SIDE, PATCH, fit, fit_pictures, places
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


def block(data: bytes, media_type: str = "image/png") -> ContentBlock:
    source = {"type": "base64", "media_type": media_type, "data": base64.b64encode(data).decode()}
    return {"type": "image", "source": source}


def opened(result: ContentBlock) -> tuple[bytes, Image.Image]:
    data = base64.b64decode(result["source"]["data"])
    return data, Image.open(io.BytesIO(data))


def test_an_image_inside_the_limits_is_left_alone() -> None:
    original = block(picture(40, 30))

    assert fit(original, "m") is original


def test_a_long_side_is_scaled_down_and_the_shape_kept() -> None:
    _, image = opened(fit(block(picture(4000, 1000)), "m"))

    assert image.size == (MAX_SIDE, MAX_SIDE // 4)


@pytest.mark.parametrize("size", [(2000, 2000), (3000, 2900), (2000, 1868), (1960, 1930)])
def test_more_patches_than_a_model_takes_are_scaled_down_and_the_shape_kept(size: tuple[int, int]) -> None:
    _, image = opened(fit(block(picture(*size)), "m"))

    assert ceil(image.width / PATCH) * ceil(image.height / PATCH) <= MAX_PATCHES
    assert max(image.size) > 1900
    assert image.width / image.height == pytest.approx(size[0] / size[1], rel=1e-3)


@pytest.mark.parametrize("size", [(1932, 1932), (2000, 1848), (2000, 1)])
def test_as_many_patches_as_a_model_takes_are_left_alone(size: tuple[int, int]) -> None:
    original = block(picture(*size))

    assert fit(original, "m") is original


def test_too_many_bytes_are_encoded_smaller() -> None:
    result = fit(block(picture(900, 900, noise=True)), "m")

    data, image = opened(result)
    assert len(data) <= MAX_BYTES
    assert (image.format, result["source"]["media_type"]) == ("JPEG", "image/jpeg")


def test_transparency_survives() -> None:
    _, image = opened(fit(block(picture(600, 600, mode="RGBA", noise=True)), "m"))

    assert image.format == "WEBP"
    assert image.mode == "RGBA"


@pytest.mark.parametrize("orientation", range(9))
def test_a_photograph_that_says_which_side_is_up_stands_so(orientation: int) -> None:
    photograph = Image.new("RGB", (3000, 400))
    photograph.paste("white", (0, 0, 1500, 200))
    exif = photograph.getexif()
    exif[ExifTags.Base.Orientation] = orientation
    buffer = io.BytesIO()
    photograph.save(buffer, "JPEG", exif=exif)

    _, image = opened(fit(block(buffer.getvalue(), "image/jpeg"), "m"))

    upright = ImageOps.exif_transpose(photograph)
    assert max(image.size) == MAX_SIDE
    for part in ((0.1, 0.1), (0.9, 0.1), (0.1, 0.9), (0.9, 0.9)):
        wanted, found = (
            picture.convert("L").getpixel((int(picture.width * part[0]), int(picture.height * part[1])))
            for picture in (upright, image)
        )
        assert found == pytest.approx(wanted, abs=9)


def test_sixteen_bits_of_grey_keep_their_shades() -> None:
    grey = Image.frombytes("I;16", (4000, 4), struct.pack("<4000H", *range(0, 64_000, 16)) * 4)
    buffer = io.BytesIO()
    grey.save(buffer, "PNG")

    _, image = opened(fit(block(buffer.getvalue()), "m"))

    shades = [image.convert("L").getpixel((x, 0)) for x in (5, 500, 1000, 1500, 1995)]
    assert shades == pytest.approx([0, 62, 124, 187, 248], abs=3)


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n", picture(40, 30)[:-30], b"not an image"])
def test_a_broken_image_is_refused_by_its_place(data: bytes) -> None:
    with pytest.raises(OpenAIError) as caught:
        fit(block(data), "messages[0].content[3].image_url.url")

    assert (caught.value.status, caught.value.code) == (400, "invalid_image")
    assert caught.value.param == "messages[0].content[3].image_url.url"


def test_the_places_are_those_of_the_images_that_were_sent_along() -> None:
    sent = {"type": "image_url", "image_url": {"url": "data:image/png;base64,xx"}}
    linked = {"type": "image_url", "image_url": {"url": "https://example.com/x.png"}}
    messages = [{"role": "user", "content": "x"}, {"role": "user", "content": [linked, sent]}]

    assert places(messages, "messages") == {"xx": "messages[1].content[1].image_url.url"}


def test_what_lies_deep_is_found_too_and_the_first_place_counts() -> None:
    deep: object = "data:image/png;base64,xx"
    for _ in range(100_000):
        deep = [deep]

    assert places(["data:,yy", "data:,yy", deep], "input")["yy"] == "input[0]"


async def test_an_image_that_a_tool_gave_is_fitted_or_refused_by_its_place() -> None:
    def turn(data: bytes) -> Turn:
        result: ContentBlock = {"type": "tool_result", "tool_use_id": "t", "content": [block(data)]}
        return Turn(model="haiku", messages=(Message("user", (result,)),))

    broken = {
        "output": [{"type": "input_image", "image_url": f"data:image/png;base64,{block(b'x')['source']['data']}"}]
    }
    fitted = await fit_pictures(turn(picture(3000, 10)))
    with pytest.raises(OpenAIError) as caught:
        await fit_pictures(turn(b"x"), [broken], "input")

    assert opened(fitted.messages[0].content[0]["content"][0])[1].width == MAX_SIDE
    assert caught.value.param == "input[0].output[0].image_url"


async def test_a_turn_without_images_is_the_same_turn() -> None:
    turn = Turn(model="haiku", messages=(Message("user", ({"type": "text", "text": "Hi"},)),))

    assert await fit_pictures(turn) is turn


async def test_every_image_of_a_turn_is_fitted_in_its_place() -> None:
    url: ContentBlock = {"type": "image", "source": {"type": "url", "url": "https://example.com/x.png"}}
    text: ContentBlock = {"type": "text", "text": "see"}
    turn = Turn(model="haiku", messages=(Message("user", (text, block(picture(3000, 10)), url)),))

    fitted = await fit_pictures(turn)

    blocks = fitted.messages[0].content
    assert (blocks[0], blocks[2]) == (text, url)
    assert opened(blocks[1])[1].width == MAX_SIDE

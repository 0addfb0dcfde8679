"""Images of any kind open right, and what is none, or too much, is named."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gaplib.datasets.pairs import open_image


def _png(size, mode=(8, 2), chunks=b""):
    """A PNG that claims a size, without any pixels."""
    head = struct.pack(">II5B", *size, *mode, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts)
    return b"\x89PNG\r\n\x1a\n" + body


def _saved(image, kind, **options):
    to = io.BytesIO()
    image.save(to, kind, **options)
    return to.getvalue()


NOISE = Image.effect_noise((64, 64), 50)
BROKEN = {
    "bomb.png": _png((60_000, 60_000)),
    "cut.png": _saved(NOISE, "png")[:900],
    "cut.jpg": _saved(NOISE, "jpeg")[:900],
    "cut.tif": _saved(NOISE, "tiff")[:900],
    "empty.jpg": b"",
    "no-pixels.png": _png((0, 5)),
    "text.jpg": b"not an image",
    "head.gif": _saved(NOISE, "gif")[:12],
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_images_are_named(tmp_path, name):
    (tmp_path / name).write_bytes(BROKEN[name])
    with pytest.raises(ValueError, match=f"row 7: '{name}' is not a readable image") as error:
        open_image(name, tmp_path, "row 7")
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=f"row 8: of {len(BROKEN[name])} bytes is not a readable image"):
        open_image(BROKEN[name], where="row 8")
    with pytest.raises(ValueError, match="row 9: 'gone.png' is not a readable image"):
        open_image("gone.png", tmp_path, "row 9")


def test_print_colours_and_animations_open_right():
    colours = Image.new("RGB", (8, 8), (200, 30, 60))
    image = open_image(_saved(colours.convert("CMYK"), "jpeg", quality=95))
    assert image.mode == "RGB" and np.abs(np.subtract(image.getpixel((4, 4)), (200, 30, 60))).max() < 8
    frames = [Image.new("RGB", (8, 8), c) for c in ("red", "blue", "green")]
    for kind in ("gif", "webp", "png"):
        options = {"lossless": True} if kind == "webp" else {}
        moving = _saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert open_image(moving).getpixel((4, 4)) == (255, 0, 0), kind


def test_images_are_upright_and_on_white(tmp_path):
    clear = Image.new("RGBA", (4, 2), (0, 0, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    clear.save(tmp_path / "clear.png", exif=exif)
    image = open_image("clear.png", tmp_path)
    assert image.size == (2, 4) and image.getpixel((0, 0)) == (255, 255, 255)


def test_16_bit_grey_keeps_its_range(tmp_path):
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    (tmp_path / "deep.tif").write_bytes(_saved(Image.fromarray(ramp.astype(">u2")), "tiff"))
    (tmp_path / "deep.pgm").write_bytes(b"P5 8 8 65535\n" + ramp.astype(">u2").tobytes())
    for name in ("deep.png", "deep.tif", "deep.pgm"):
        values = np.asarray(open_image(name, tmp_path))[..., 0]
        np.testing.assert_allclose(values, ramp / 257, atol=1)


def test_grey_levels_that_are_neither_of_8_nor_of_16_bits_are_refused(tmp_path):
    for levels in (np.linspace(0, 1, 64, dtype=np.float32), np.arange(-32, 32, dtype=np.int32)):
        Image.fromarray(levels.reshape(8, 8)).save(tmp_path / "odd.tif")
        with pytest.raises(ValueError, match="neither of 8 nor of 16 bits"):
            open_image("odd.tif", tmp_path)


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path, recwarn):
    """Twelve kilobytes of PNG, valid to the last pixel, that PIL opens as a hundred million pixels."""
    (tmp_path / "bomb.png").write_bytes(_saved(Image.new("1", (10_000, 10_000)), "png"))
    assert (tmp_path / "bomb.png").stat().st_size < 20_000
    message = (
        r"row 7: 'bomb.png' is not a readable image \(it would decode to more than the 89,478,485 pixels of "
        r"PIL.Image.MAX_IMAGE_PIXELS; shrink it, or raise that bound"
    )
    for size in (None, 224):
        with pytest.raises(ValueError, match=message):
            open_image("bomb.png", tmp_path, "row 7", size)
    assert not recwarn.list


def test_the_bound_is_pils_own(monkeypatch):
    small = _saved(NOISE, "png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 64 - 1)
    with pytest.raises(ValueError, match="more than the 4,095 pixels"):
        open_image(small)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert open_image(small).size == (64, 64)


def test_a_photograph_is_decoded_no_larger_than_its_use_needs():
    photograph = Image.linear_gradient("L").resize((1600, 1200)).convert("RGB")
    whole = _saved(photograph, "jpeg", quality=95)
    shrunk = open_image(whole, size=224)
    assert shrunk.size == (400, 300) and open_image(whole).size == (1600, 1200)
    apart = np.subtract(open_image(whole).resize((224, 224)), np.asarray(shrunk.resize((224, 224)), float))
    assert np.abs(apart).max() < 4
    assert open_image(_saved(NOISE, "png"), size=8).size == (64, 64)  # a format that cannot
    assert open_image(whole, size=5000).size == (1600, 1200)


def test_whatever_holds_an_image_opens(tmp_path):
    red = Image.new("RGB", (8, 8), (200, 0, 0))
    red.save(tmp_path / "red.png")
    held = (tmp_path / "red.png").read_bytes()
    for image in (Path("red.png"), tmp_path / "red.png", held, bytearray(held), memoryview(held), red, np.asarray(red)):
        assert open_image(image, tmp_path).getpixel((0, 0)) == (200, 0, 0)
    opened = open_image(red)
    opened.putpixel((0, 0), (0, 0, 0))
    assert red.getpixel((0, 0)) == (200, 0, 0)
    for image, shown in ((np.zeros(5), r"of shape \(5,\)"), (5, "5"), (None, "None"), ("x" * 3_000_000, "'xxx")):
        with pytest.raises(ValueError, match=f"row 3: {shown}.* is not a readable image") as error:
            open_image(image, tmp_path, "row 3")
        assert len(str(error.value)) < 500

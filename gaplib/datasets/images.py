"""One image of a pair table: where it is, and how it is opened whatever it is."""

import io
import os
import re
import warnings
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image, ImageOps, UnidentifiedImageError

from gaplib.datasets.shown import shown

INSIDE = re.compile(r"(.+\.(?:arrow(?=#.+#\d+$)|tar(?=#\d+\+\d+$)))#(.+)", re.DOTALL)  # as `split_place` has it
BOMBS = (Image.DecompressionBombWarning, Image.DecompressionBombError)


def open_image(
    image: bytes | str | Path | np.ndarray | Image.Image,
    root: str | Path | None = None,
    where: str = "image",
    size: int | None = None,
) -> Image.Image:
    """An image of a pair table as an RGB PIL image: upright, transparent parts on white.

    Parameters
    ----------
    image : bytes, str, Path, ndarray or PIL image
        The encoded file, or its path under `root`, or its place in a file there (see `split_place`); or pixels. Of an
        animation, the first frame is taken.
    root : Path, optional
    where : str
        What to call it in an error.
    size : int, optional
        Pixels a side that will be used. A format that can be decoded at a fraction of its size (JPEG) then is, at no
        less than this: a photograph of 24 megapixels costs a sixteenth of the memory.

    Raises
    ------
    ValueError
        If the file is not there or not an image, is cut short, has no pixels, or has more than PIL's own bound,
        `PIL.Image.MAX_IMAGE_PIXELS` (89 million).
    """
    try:
        with _opened(image, root) as opened:
            if size is not None:
                opened.draft(None, (size, size))
            ImageOps.exif_transpose(opened, in_place=True)
            if 0 in opened.size:
                raise ValueError("it has no pixels")
            return _on_white(_eight_bit(opened)).convert("RGB")
    except Exception as error:  # on damaged files PIL raises nearly anything
        raise ValueError(f"{where}: {shown(image)} is not a readable image ({_why(error)})") from error


def _why(error):
    if isinstance(error, BOMBS):
        bound = f"more than the {Image.MAX_IMAGE_PIXELS:,} pixels of PIL.Image.MAX_IMAGE_PIXELS"
        return f"it would decode to {bound}; shrink it, or raise that bound if you trust it"
    if isinstance(error, UnidentifiedImageError):
        return "it begins like none that PIL knows"
    return getattr(error, "strerror", None) or error


def _opened(image, root):
    if isinstance(image, Image.Image):
        return image.copy()
    if isinstance(image, np.ndarray):
        return Image.fromarray(image)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(_source(image, root))


def _eight_bit(image):
    if image.mode == "F" or (image.mode == "I" and any(grey not in range(2**16) for grey in image.getextrema())):
        raise ValueError("its grey levels are neither of 8 nor of 16 bits; save it as one of them")
    if image.mode.startswith("I"):  # PIL clips 16-bit grey to its lowest 256 levels
        return Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    return image


def _on_white(image):
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def _source(image, root):
    if isinstance(image, bytes | bytearray | memoryview):
        return io.BytesIO(image)
    file, inside = split_place(os.fspath(image))
    path = os.path.join(root or ".", file)
    if inside is None:
        return path
    if file.endswith(".tar"):
        start, size = map(int, inside.split("+"))
        with open(path, "rb") as tar:
            tar.seek(start)
            return io.BytesIO(tar.read(size))
    column, row = inside.rsplit("#", 1)
    return io.BytesIO(_stored(path, os.stat(path).st_mtime_ns, column)[int(row)].as_py())


@lru_cache(maxsize=256)
def _stored(path, changed, column):
    """The image bytes of an Arrow file that the library `datasets` wrote, mapped rather than read."""
    images = pa.ipc.open_stream(pa.memory_map(path)).read_all()[column]
    return pc.struct_field(images, "bytes") if pa.types.is_struct(images.type) else images


def split_place(image: str) -> tuple[str, str | None]:
    """File and place in it of an image inside a stored Arrow table or a tar; file and None of one that is a file.

    Examples
    --------
    >>> split_place("train/data-00000-of-00001.arrow#image#12"), split_place("train-00.tar#1536+807")
    (('train/data-00000-of-00001.arrow', 'image#12'), ('train-00.tar', '1536+807'))
    >>> split_place("photos/#12.jpg")
    ('photos/#12.jpg', None)
    """
    match = INSIDE.fullmatch(image)
    return (match[1], match[2]) if match else (image, None)


def cell(image, where: str = "image"):
    """An image as a pair table holds it: a path, the bytes of a file, or nothing where it is missing."""
    if isinstance(image, Path):
        return str(image)
    if isinstance(image, bytearray | memoryview):
        return bytes(image)
    if isinstance(image, np.ndarray | Image.Image):
        file = io.BytesIO()
        open_image(image, where=where).save(file, "PNG")
        return file.getvalue()
    if isinstance(image, str | bytes) or is_missing(image):
        return image
    kind = type(image).__name__
    raise ValueError(f"{where}: the image must be a path, the bytes of a file, an array or a PIL image, not {kind}")


def is_missing(value) -> bool:
    """Whether a value of a table is None, NaN or its like."""
    return bool(pd.api.types.is_scalar(value) and pd.isna(value))

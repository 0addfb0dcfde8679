"""One image of a pair table: where it is, and how it is opened whatever it is."""

import io
import os
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image, ImageOps


def open_image(image, root=None, where="image"):
    """An image of a pair table as an RGB PIL image: upright, transparent parts on white.

    Parameters
    ----------
    image : bytes or str
        The encoded file, or its path under `root`, or `FILE.arrow#ROW` there (see `member`). Of an animation, the first
        frame is taken.
    root : Path, optional
    where : str
        What to call it in an error.

    Raises
    ------
    ValueError
        If the file is not there or not an image, is cut short, has no pixels, or is too large to be one.
    """
    try:
        with Image.open(_source(image, root)) as opened:
            upright = ImageOps.exif_transpose(opened)
            if 0 in upright.size:
                raise ValueError("it has no pixels")
            if upright.mode == "F" or (upright.mode == "I" and not _sixteen_bit(*upright.getextrema())):
                raise ValueError("its grey levels are neither of 8 nor of 16 bits; save it as one of them")
            if upright.mode.startswith("I"):  # PIL clips 16-bit grey to its lowest 256 levels
                upright = Image.fromarray((np.asarray(upright) / 257).astype(np.uint8))
            if "A" in upright.getbands() or "transparency" in upright.info:
                upright = upright.convert("RGBA")
                upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
            return upright.convert("RGB")
    except Exception as error:  # on damaged files PIL raises nearly anything
        raise ValueError(f"{where}: {named(image)} is not a readable image ({error})") from error


def _sixteen_bit(low, high):
    return low >= 0 and high < 2**16


def _source(image, root):
    if isinstance(image, bytes):
        return io.BytesIO(image)
    file, row = member(image)
    path = os.path.join(root or ".", file)
    return path if row is None else io.BytesIO(_stored(path, os.stat(path).st_mtime_ns)[row].as_py())


@lru_cache(maxsize=256)
def _stored(path, changed):
    """The image bytes of an Arrow file that the library `datasets` wrote, mapped rather than read."""
    table = pa.ipc.open_stream(pa.memory_map(path)).read_all()
    return pc.struct_field(table["image"], "bytes")


def member(image):
    """File and row of an image inside a stored Arrow table; file and None of an image that is a file itself.

    Examples
    --------
    >>> member("train/data-00000-of-00001.arrow#12"), member("photos/#12.jpg")
    (('train/data-00000-of-00001.arrow', 12), ('photos/#12.jpg', None))
    """
    file, mark, row = image.rpartition(".arrow#")
    return (f"{file}.arrow", int(row)) if mark and row.isdecimal() else (image, None)


def named(image):
    return f"of {len(image)} bytes" if isinstance(image, bytes) else repr(image)

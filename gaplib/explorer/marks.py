"""What the page shows of each pair drawn: its colour and label, its text, its image in small."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from gaplib.datasets.pairs import open_image

PALETTE = ("#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#B8AC1F", "#0072B2", "#D55E00")  # of the most frequent labels
OTHER = "#8A8A8A"
SHADES = 64  # of a continuous scale
NO_LABEL = "no label"
LONGEST = 200  # characters shown of a text
THUMBNAIL = 72  # pixels


def one_a_pair(values: Sequence | None, name: str, chosen: np.ndarray, total: int) -> list | None:
    """The values of the pairs drawn; None where nothing was given."""
    if values is None:
        return None
    if getattr(values, "ndim", None) == 1:
        values = values.tolist()  # an array's numbers without their types, a table's column without its index
    if not isinstance(values, Sequence | np.ndarray) or len(values) != total:
        many = len(values) if hasattr(values, "__len__") else repr(values)
        raise ValueError(f"{name}: one a pair needed, got {many} for {total} pairs")
    return [values[row] for row in chosen]


def coloured(labels: list | None) -> dict | None:
    """The label of each pair, its colour, and the legend: a scale of many different floats, else a colour a label."""
    if labels is None:
        return None
    labels = pd.Series(labels).replace([np.inf, -np.inf], np.nan)
    continuous = pd.api.types.is_float_dtype(labels) and labels.nunique() > len(PALETTE)
    if continuous:
        names = labels.map("{:.4g}".format)
    else:
        names = labels.convert_dtypes().astype(object).map(short)  # whole numbers without ".0"
    names = names.mask(labels.isna() | (names.str.strip() == ""), NO_LABEL)
    colours = _scale(labels) if continuous else _frequent(names)
    numbers, distinct = pd.factorize(names)
    return colours | {"continuous": continuous, "all": numbers.tolist(), "names": distinct.tolist()}


def ramp() -> list[str]:
    """The colours of a continuous scale, as #rrggbb.

    Examples
    --------
    >>> len(ramp()), ramp()[0]
    (64, '#463480')
    """
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colour) for colour in colormaps["viridis"](np.linspace(0.15, 0.95, SHADES))]  # its ends would vanish


def _scale(values):
    """Colours from the least value to the greatest; grey where there is none."""
    low = values.min()
    high = values.max()
    missing = values.isna()
    shades = ((values - low) / (high - low) * (SHADES - 1)).round()
    return {
        "colours": [*ramp(), OTHER],
        "codes": shades.mask(missing, SHADES).astype(int).tolist(),
        "shown": [f"{low:.4g}", f"{high:.4g}"] + [NO_LABEL] * bool(missing.any()),
    }


def _frequent(names):
    """A colour each for the most frequent names, grey for all the others."""
    counts = names.value_counts(sort=False).sort_values(ascending=False, kind="stable")
    frequent = counts.index[: len(PALETTE)]
    others = len(counts) - len(frequent)
    codes = frequent.get_indexer(names)
    return {
        "colours": [*PALETTE, OTHER],
        "codes": np.where(codes < 0, len(PALETTE), codes).tolist(),  # -1: not among the frequent
        "shown": [*frequent, f"{others} other{'s' * (others > 1)}"] if others else list(frequent),
    }


def short(text: object) -> str:
    """At most as much of a text as is shown, in characters that can be written; empty where there is none.

    Examples
    --------
    >>> short("a drawing"), len(short("a" * 1000))
    ('a drawing', 200)
    """
    text = "" if pd.isna(text) else str(text).encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "\u2026"


def thumbnails(images: list | None, chosen: np.ndarray, root: Path | None) -> dict | None:
    """Each different image once, in small, and which of them each pair has: -1 for none."""
    if images is None:
        return None
    images = [bytes(image) if isinstance(image, bytearray | memoryview) else image for image in images]
    keys = pd.Series([_key(image) for image in images], dtype=object)
    index, _ = pd.factorize(keys)
    first = np.flatnonzero(keys.notna() & ~keys.duplicated())
    return {"index": index.tolist(), "pictures": [_small(images[k], root, f"images, row {chosen[k]}") for k in first]}


def _key(image):
    """What tells images apart: a path or bytes themselves, None or NaN for none, and anything else as the object."""
    return image if image is None or isinstance(image, str | bytes | float) else id(image)


def _small(image, root, where):
    small = open_image(image, root, where, size=2 * THUMBNAIL)
    small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    small.save(file, "WEBP", quality=60)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"

"""OpenClipart drawings with their human-written titles and keywords; the label is the subject category."""

import pandas as pd

from gaplib import paths
from gaplib.datasets.pairs import About, Dataset


def clipart() -> Dataset:
    """The committed clipart pairs (see `data/README.md` for their origin and how they were cleaned).

    Returns
    -------
    pairs.Dataset
        64 x 64 RGB images as bytes; multiclass.
    """
    if not paths.CHECKOUT:
        raise FileNotFoundError(
            "the embedded pairs come with a clone of the repository (data/pairs), not with the installed package"
        )
    pairs = pd.read_parquet(paths.PAIRS / "clipart.parquet")
    about = About(
        name="clipart",
        domain="natural",
        task="multiclass",
        labels=tuple(sorted(pairs["label"].unique())),
        licence="public domain (CC0)",
        citation="Open Clip Art Library, release 0.18",
    )
    return Dataset(pairs, about)

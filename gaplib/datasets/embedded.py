"""Drawings that ship with the repository: OpenClipart with titles and keywords, and emoji with theirs."""

from pathlib import Path

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
    return _drawings("clipart", "public domain (CC0)", "Open Clip Art Library, release 0.18")


def emoji() -> Dataset:
    """The committed emoji: several sets' versions of each, with keywords that never name its Unicode group.

    Returns
    -------
    pairs.Dataset
        64 x 64 RGB images as bytes; multiclass, the label is the Unicode group. All versions of an emoji, and its kin
        in other colours, sexes or directions, have one `group`; `source` and `licence` say whose drawing it is.
    """
    sets = "Noto Emoji, Twemoji, Fluent Emoji, EmojiTwo, FxEmojis, as packaged by Iconify; Unicode CLDR keywords"
    return _drawings("emoji", "Apache-2.0, CC-BY-4.0, MIT (by drawing: column `licence`)", sets)


def _drawings(name, licence, citation):
    pairs = pd.read_parquet(committed(name))
    return Dataset(
        pairs, About(name, "natural", "multiclass", tuple(sorted(set(pairs["label"]))), None, licence, citation)
    )


def committed(name: str) -> Path:
    """The file of embedded pairs.

    Raises
    ------
    FileNotFoundError
        If gaplib was installed without a checkout.
    """
    if not paths.CHECKOUT:
        raise FileNotFoundError(
            "the embedded pairs come with a checkout of the repository (data/pairs), not with the package"
        )
    return paths.PAIRS / f"{name}.parquet"

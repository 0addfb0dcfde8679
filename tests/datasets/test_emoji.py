"""Emoji: real versions of each by several sets, none in two splits, and no text that names its Unicode group."""

import re

import numpy as np
import pytest

from gaplib import datasets, paths
from gaplib.datasets.pairs import SPLITS, open_image

NAMED = re.compile(r"smiley|emotion|people|animal|nature|food|drink|travel|place\b|activit|object|symbol|emoji", re.I)


@pytest.fixture(scope="module")
def table():
    return datasets.load("emoji").pairs


def test_every_group_is_in_every_split(table):
    assert len(table) > 3000 and (paths.PAIRS / "emoji.parquet").stat().st_size < 4.2e6
    counts = table.groupby(["label", "split"]).size().unstack()
    assert list(counts) == sorted(SPLITS) and len(counts) == 8 and (counts >= 10).all(axis=None)


def test_all_versions_of_an_emoji_are_in_one_split(table):
    assert (table.groupby("group")["split"].nunique() == 1).all()
    assert table["image"].is_unique
    assert table.groupby("group")["source"].nunique().median() >= 4


def test_no_text_names_a_group(table):
    named = table["text"][table["text"].str.contains(NAMED)]
    assert named.empty, named.iloc[0]


def test_versions_have_texts_of_their_own(table):
    assert (table.groupby("group")["text"].nunique() > 1).mean() > 0.7


def test_whose_drawing_it_is(table):
    licences = table.groupby("source")["licence"].unique().map(list)
    assert all(len(one) == 1 for one in licences)
    assert {one[0] for one in licences} == {"Apache-2.0", "CC-BY-4.0", "MIT"}
    readme = (paths.DATA / "README.md").read_text()
    for source, n in table["source"].value_counts().items():
        assert f"({n})" in readme, source


def test_pictures_are_drawings_on_white(table):
    pixels = np.stack([np.asarray(open_image(image)) for image in table["image"][::50]])
    assert pixels.shape[1:] == (64, 64, 3) and (pixels[:, 0, 0] > 250).all()
    assert (pixels.std(axis=(1, 2, 3)) > 5).all()

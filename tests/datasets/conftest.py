"""Datasets are loaded where nothing that was made stands in the way of a name; whole generated ones are drawn once."""

from functools import cache

import pandas as pd
import pytest
from shared import once

from gaplib import datasets
from gaplib.datasets.pairs import Dataset


@pytest.fixture(autouse=True)
def _root(root):
    """An empty folder for what is made."""


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """A function that loads a whole embedded dataset, which takes seconds to draw."""

    def draw(folder):
        datasets.load(folder.name).pairs.to_parquet(folder / "pairs.parquet")

    @cache
    def load(name):
        if name in ("clipart", "emoji"):
            return datasets.load(name)
        pairs = pd.read_parquet(once(tmp_path_factory, name, draw) / "pairs.parquet")
        return Dataset(pairs, datasets.REGISTRY[name](n=2).about)

    return load

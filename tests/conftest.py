"""What every test gets: no network beyond loopback, its own folder for what is made, one set of made features."""

import gc
import os
import runpy
from functools import cache
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # these two as in gaplib.study; read when NumPy and torch load
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import nbformat  # noqa: F401 - before there are many objects: among them, its grammar takes ten times as long
import numpy as np
import pandas as pd
import pytest
from made import sphere
from shared import once

from gaplib import datasets
from gaplib.datasets.pairs import About, Dataset
from gaplib.features import Features

collect_ignore = ["helpers"]
# Files of more than half a minute; those that read what `test_smoke` makes come well after it, lest they wait.
LONGEST = ["test_smoke", "test_browser", "test_small_studies", "test_paper", "test_extract", "test_fusion"]
LONGEST += ["test_cluster", "test_jupyterlab", "test_book", "test_encoders", "test_hub", "test_pairs", "test_fundus"]
OFFLINE = str(Path(__file__).parent / "helpers" / "offline")
os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": OFFLINE}
runpy.run_path(f"{OFFLINE}/sitecustomize.py")


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty folder for what is made."""
    monkeypatch.setenv("GAPLIB_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """A function that loads a whole embedded dataset, which takes seconds to draw: once for all workers."""

    def draw(folder):
        datasets.load(folder.name).pairs.to_parquet(folder / "pairs.parquet")

    @cache
    def load(name):
        if name in ("clipart", "emoji"):
            return datasets.load(name)
        pairs = pd.read_parquet(once(tmp_path_factory, name, draw) / "pairs.parquet")
        return Dataset(pairs, datasets.REGISTRY[name](n=2).about)

    return load


@pytest.fixture
def make_features():
    """A function that makes features of a task: two cones, labels told partly by each modality."""

    def make(task, n=600, d=16, seed=0):
        rng = np.random.default_rng(seed)
        image, text = (sphere(rng, n, d, mean) for mean in rng.normal(size=(2, d)) / np.sqrt(d))
        signal = image @ rng.normal(size=(d, 3)) + text @ rng.normal(size=(d, 3)) + 0.3 * rng.normal(size=(n, 3))
        split = np.repeat(["train", "val", "test"], [n - 2 * (n // 4), n // 4, n // 4])
        pairs = pd.DataFrame({"image": np.arange(n).astype(str), "text": "a", "split": split, "group": np.arange(n)})
        labels = ("a", "b", "c")
        if task == "multilabel":
            pairs[list(labels)] = (signal > np.quantile(signal, 0.6, axis=0)).astype(int)
        else:
            labels = labels[: 2 if task == "binary" else 3]
            pairs["label"] = np.array(labels)[signal[:, : len(labels)].argmax(1)]
        about = About("made", "natural", task, labels)
        return Features(image, text, np.arange(n), np.arange(n), pairs, about, "made-encoder")

    return make


def pytest_collection_finish():
    """What is imported stays: no search for garbage need go through it again."""
    gc.freeze()


def pytest_collection_modifyitems(items):
    """The longest files first, for what two workers get last must be short."""
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))

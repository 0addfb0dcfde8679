"""Runs of a sweep: which rows each is trained on, the training set's draw and the seed's validation cut."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from gaplib.features import Features

HELD_OUT = 0.1  # of the training rows, drawn by each seed, where a dataset has no validation split


class Run(NamedTuple):
    """A training set and a seed; rows are numbers of pairs, and a pair may be in a resampled set more than once."""

    set: int
    seed: int
    fitted: np.ndarray  # what treatments are fitted on: the training set
    train: np.ndarray  # the same, less what was cut for validation
    val: np.ndarray


def draw_runs(features: Features, seeds: Sequence[int], sets: int = 1, share: float = 1.0) -> list[Run]:
    """The first training set with every seed; each that is drawn with one of its own, so that both vary together."""
    val = features.rows("val")
    made = []
    for number in range(sets):
        rows = training_set(features, number, share)
        for seed in [max(seeds) + number] if number else seeds:
            train, held_out = (rows, val) if len(val) else _cut(rows, seed)
            made.append(Run(number, seed, rows, train, held_out))
    return made


def training_set(features: Features, number: int, share: float) -> np.ndarray:
    """Rows of a training set, whole groups together.

    Set 0 is the train split, or a share of its groups: the first of an order, so smaller shares lie in larger ones.
    Every other set draws as many groups, with replacement, from all of the split.
    """
    rows = features.rows("train")
    if number == 0 and share == 1:
        return rows
    codes, names = pd.factorize(features.pairs["group"].iloc[rows])
    if (codes < 0).any():
        raise ValueError(f"dataset {features.about.name!r}: training sets are drawn by group, and some row has none")
    rng = np.random.default_rng(number)
    size = max(1, round(share * len(names)))
    drawn = rng.integers(len(names), size=size) if number else rng.permutation(len(names))[:size]
    return np.repeat(rows, np.bincount(drawn, minlength=len(names))[codes])


def _cut(rows, seed):
    """Training rows and a tenth of them for validation, such that no pair is in both."""
    pairs = np.unique(rows)
    held_out = max(1, round(HELD_OUT * len(pairs)))
    val = np.sort(np.random.default_rng(seed).permutation(pairs)[:held_out])
    return rows[~np.isin(rows, val)], val

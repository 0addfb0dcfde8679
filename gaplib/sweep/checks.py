"""What is refused before any training: grids, heads, splits and labels that cannot work."""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gaplib import modulate
from gaplib.datasets.pairs import label_columns
from gaplib.features import Features
from gaplib.names import pick
from gaplib.rows import check_pairs, check_seed, scan
from gaplib.sweep.probe import Converged, Examples, Head
from gaplib.sweep.scores import truths

FUSIONS = {"early": (0, 128), "late": (64,)}  # and the published sizes of their hidden layers
HELD_OUT = 0.1  # of the training rows, drawn by each seed, where a dataset has no validation split
COPIES = 6  # of the weights: gradient, two moments, the best so far, and a moment's work


def check_seeds(seeds: Sequence[int]) -> list[int]:
    """Seeds as a list, each of them once."""
    if isinstance(seeds, str) or not np.iterable(seeds):
        raise ValueError(f"seeds must be a list of numbers, got {seeds!r}")
    return _each_once([check_seed(seed) for seed in seeds], "seed")


def check_lambdas(lams: Sequence[float]) -> list[float]:
    """Lambdas as a list, each of them once, at least two."""
    lams = modulate.check_lambdas(lams)
    if len(lams) < 2:
        raise ValueError(f"a sweep needs at least two lambdas, got {lams}")
    return _each_once(lams, "lambda")


def _each_once(values, name):
    if not values or len(set(values)) < len(values):
        raise ValueError(f"every {name} must be given once, got {values}")
    return values


def check_head(fusion: str, hidden: int, protocol: str, training) -> Head:
    """The head of a probe, if there is such a one and it can be trained so."""
    usual = " or ".join(map(str, pick(FUSIONS, fusion, "fusion")))
    whole = isinstance(hidden, int) and not isinstance(hidden, bool)
    if not whole or hidden < 0 or (fusion == "late" and hidden == 0):
        raise ValueError(f"hidden must be a number of units, {usual} as published, for {fusion} fusion; got {hidden!r}")
    head = Head(fusion, hidden)
    if isinstance(training, Converged) and head != Head():
        raise ValueError(f"protocol {protocol!r} is a logistic regression: early fusion, hidden=0")
    return head


def check_memory(head: Head, lams, width: int) -> None:
    """Refuse a hidden layer whose probes would not fit in this machine's memory."""
    if not hasattr(os, "sysconf"):  # Windows does not say
        return
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    needed = COPIES * 4 * len(lams) * head.hidden * 2 * width
    if needed > there:
        raise ValueError(
            f"hidden={head.hidden}: the probes of one seed would take {needed / 2**30:,.0f} GiB, and this machine has "
            f"{there / 2**30:.0f}; take fewer units or fewer lambdas"
        )


@dataclass(frozen=True)
class Labelled:
    """Labelled pairs and their splits, checked.

    `image` and `text` (n, d); `y` as `pairs.targets` gives it, without columns that cannot be learned; `rows` by split:
    train and val (seeds, rows), the same for every seed but for a validation cut drawn by it, and test (rows).
    """

    image: np.ndarray
    text: np.ndarray
    y: np.ndarray
    task: str
    rows: dict[str, np.ndarray]

    def examples(self, moved) -> Examples:
        """What the probes learn from; `moved(image, text)` moves the rows, and no test row is among them."""
        known = np.union1d(self.rows["train"], self.rows["val"])
        train, val = (np.searchsorted(known, self.rows[split]) for split in ("train", "val"))
        return Examples.of(moved(self.image[known], self.text[known]), self.y[known], self.task, train, val)


def labelled(features: Features, seeds: Sequence[int]) -> Labelled:
    """Labelled pairs of features, with the splits that each seed uses.

    Raises
    ------
    ValueError
        If a row is not of unit norm, a split is missing, or labels cannot be learned or scored.
    """
    rows = split_rows(features, seeds)
    columns = check_labels(features, rows)
    image, text = check_pairs(*features.paired())
    scan(image, "image")
    scan(text, "text")
    task = features.about.task
    y = features.targets[:, columns] if task == "multilabel" else features.targets
    return Labelled(image, text, y, task, rows)


def split_rows(features: Features, seeds: Sequence[int]) -> dict[str, np.ndarray]:
    """Rows of each split: train and val (seeds, rows), test (rows)."""
    train, val, test = (features.rows(split) for split in ("train", "val", "test"))
    for split, some in (("train", train), ("test", test)):
        if not len(some):
            raise ValueError(f"dataset {features.about.name!r}: there is no {split} split")
    if len(val):
        return {"train": np.stack([train] * len(seeds)), "val": np.stack([val] * len(seeds)), "test": test}
    held_out = max(1, round(HELD_OUT * len(train)))
    orders = np.stack([np.random.default_rng(seed).permutation(train) for seed in seeds])
    return {"train": np.sort(orders[:, held_out:]), "val": np.sort(orders[:, :held_out]), "test": test}


def check_labels(features: Features, rows: dict[str, np.ndarray]) -> np.ndarray:
    """Refuse labels that cannot be learned or scored; returns the places of the labels that can."""
    _check_columns(features)
    about = features.about
    where = f"dataset {about.name!r}"
    many = about.task == "multilabel"
    still = np.zeros(len(about.labels), bool)
    for split, by_seed in rows.items():
        cut = split == "val" and not len(features.rows("val"))
        for some in np.atleast_2d(by_seed):
            truth = truths(features.targets[some], "multilabel" if many else "multiclass", len(about.labels))
            flat = truth.all(0) | ~truth.any(0)
            if cut and flat.all():
                raise ValueError(f"{where}: a tenth of train, cut for validation, holds one class; give a val split")
            if many and not cut:  # a cut is scored by what it holds
                still |= flat
            if not many and not cut and not truth.any(0).all():
                missing = _named(about.labels, ~truth.any(0))
                raise ValueError(f"{where}, split {split!r}: no pair of {missing}; take more pairs or merge classes")
    return _varying(still, about.labels, where)


def _varying(still, labels, where):
    names = _named(labels, still)
    if still.all():
        raise ValueError(f"{where}: no label varies in every split ({names}); take more pairs")
    if still.any():
        warnings.warn(f"{where}: left out, for it never varies in some split: {names}", stacklevel=5)
    return np.flatnonzero(~still)


def _named(labels, chosen):
    return ", ".join(repr(label) for label, yes in zip(labels, chosen, strict=True) if yes)


def _check_columns(features):
    about = features.about
    where = f"dataset {about.name!r}"
    if about.task is None:
        raise ValueError(f"{where} has no labels, and a sweep learns labels; cone, gap and modulate need none")
    pick(["binary", "multiclass", "multilabel"], about.task, f"task of {where}:")
    wanted = label_columns(about)
    missing = [column for column in wanted if column not in features.pairs]
    if missing:
        raise ValueError(f"{where} is said to be {about.task}, but has no column {', '.join(map(repr, missing))}")
    labels = ", ".join(map(repr, about.labels))
    if about.task == "multilabel":
        if not features.pairs[wanted].isin([0, 1]).all(axis=None):
            raise ValueError(f"{where}: multilabel columns must hold 0 and 1 only")
    elif (features.targets < 0).any():
        raise ValueError(f"{where}: a label is none of {labels}")
    elif about.task == "binary" and len(about.labels) != 2:
        raise ValueError(f"{where} is binary but has labels {labels}")

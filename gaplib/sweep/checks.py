"""What is refused before any training: grids, heads, splits and labels that cannot work."""

import numbers
import os
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gaplib import modulate
from gaplib.datasets.pairs import check_labels
from gaplib.features import Features
from gaplib.names import pick
from gaplib.rows import check_pairs, check_seed, check_whole, scan
from gaplib.sweep.closed_form import TREATMENTS
from gaplib.sweep.probe import Converged, Head, Training
from gaplib.sweep.runs import Run, draw_runs
from gaplib.sweep.scores import truths

FUSIONS = {"early": (0, 128), "late": (64,)}  # and the published sizes of their hidden layers
COPIES = 6  # of the weights: gradient, two moments, the best so far, and a moment's work


def check_seeds(seeds: Sequence[int]) -> list[int]:
    """Seeds as a list, each of them once."""
    _check_list(seeds, "seeds must be a list of numbers")
    return _each_once([check_seed(seed) for seed in seeds], "seed")


def check_treatments(names: Sequence[str]) -> list[str]:
    """Names of treatments as a list, each of them once."""
    _check_list(names, "treatments must be a list of names")
    return _each_once([pick([*TREATMENTS], name, "treatment") for name in names], "treatment")


def check_lambdas(lams: Sequence[float]) -> list[float]:
    """Lambdas as a list, each of them once, at least two."""
    lams = modulate.check_lambdas(lams)
    if len(lams) < 2:
        raise ValueError(f"a sweep needs at least two lambdas, got {lams}")
    return _each_once(lams, "lambda")


def _check_list(values, needed):
    if isinstance(values, str) or not np.iterable(values):
        raise ValueError(f"{needed}, got {values!r}")


def _each_once(values, name):
    if not values or len(set(values)) < len(values):
        raise ValueError(f"every {name} must be given once, got {values}")
    return values


def check_head(fusion: str, hidden: int, training: Training | Converged) -> Head:
    """The head of a probe, if there is such a one and it can be trained so."""
    usual = " or ".join(map(str, pick(FUSIONS, fusion, "fusion")))
    needed = f"hidden must be a number of units, {usual} as published, for {fusion} fusion"
    check_whole(hidden, needed, least=int(fusion == "late"))
    if not isinstance(training, (Training, Converged)):
        raise ValueError(f"training must be a sweep.Training(...) or a sweep.Converged(...), got {training!r}")
    head = Head(fusion, hidden)
    if isinstance(training, Converged) and head != Head():
        raise ValueError("a converged probe is a logistic regression: early fusion, hidden=0")
    return head


def check_times(times: Sequence[int] | None, training: Training | Converged) -> list[int]:
    """Epochs at which to score, ascending; none when it is None."""
    if times is None:
        return []
    if isinstance(training, Converged):
        raise ValueError("times are epochs, which a converged probe does not have; give a sweep.Training")
    needed = "times must be a list of epochs, 1 or more"
    _check_list(times, needed)
    return sorted(_each_once([check_whole(time, needed) for time in times], "time"))


def check_sets(sets: int, share: float) -> None:
    """Refuse a number of training sets, or a share of the train split, that there cannot be."""
    check_whole(sets, "sets must be a number of training sets, 1 or more")
    if isinstance(share, bool) or not isinstance(share, numbers.Real) or not 0 < share <= 1:
        raise ValueError(f"share must be a part of the train split, above 0 and up to 1, got {share!r}")


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


class Labelled(NamedTuple):
    """Labelled pairs, checked.

    `image` and `text` (n, d); `y` as `pairs.targets` gives it, without columns that cannot be learned; `outputs` of a
    probe; `test` rows, and their `groups`; `runs`, what is trained on.
    """

    image: np.ndarray
    text: np.ndarray
    y: np.ndarray
    task: str
    outputs: int
    test: np.ndarray
    groups: np.ndarray
    runs: list[Run]


def labelled(features: Features, seeds: Sequence[int], sets: int = 1, share: float = 1.0) -> Labelled:
    """Labelled pairs of features whose splits can be learned from and scored, and the runs of so many training sets.

    Raises
    ------
    ValueError
        If a row is not of unit norm, a split is missing, labels cannot be learned or scored, or a training set or its
        validation rows hold one class.
    """
    columns = _learnable_labels(features, seeds)
    image, text = check_pairs(*features.paired())
    scan(image, "image")
    scan(text, "text")
    task = features.about.task
    y = features.targets[:, columns] if task == "multilabel" else features.targets
    outputs = 1 if task == "binary" else len(columns)
    test = features.rows("test")
    groups = features.pairs["group"].to_numpy()[test]
    drawn = draw_runs(features, seeds, sets, share)
    _check_runs(drawn, y, share)
    return Labelled(image, text, y, task, outputs, test, groups, drawn)


def _check_runs(drawn, y, share):
    """Refuse training sets from which nothing can be learned."""
    for run in drawn:
        for rows in (run.train, run.val):
            if not len(rows) or (y[rows] == y[rows[0]]).all():
                raise ValueError(
                    f"training set {run.set} or its validation rows hold one class; take a larger share than {share:g}"
                )


def _learnable_labels(features, seeds):
    """The places of the labels that can be learned and scored; a ValueError where there are none, or too few rows."""
    about = features.about
    where = f"dataset {about.name!r}"
    if about.task is None:
        raise ValueError(f"{where} has no labels, and a sweep learns labels; cone, gap and modulate need none")
    check_labels(features.pairs, about, where)
    of_seeds = draw_runs(features, seeds if not len(features.rows("val")) else seeds[:1])
    rows = {"train": [run.train for run in of_seeds]}
    rows["val"] = [run.val for run in of_seeds]
    rows["test"] = [features.rows("test")]
    many = about.task == "multilabel"
    still = np.zeros(len(about.labels), bool)
    for split, by_seed in rows.items():
        cut = split == "val" and not len(features.rows("val"))
        for some in by_seed:
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
        # Callers lie at several depths, so no line of theirs is named; the message names the dataset.
        warnings.warn(f"{where}: left out, for it never varies in some split: {names}", stacklevel=1)
    return np.flatnonzero(~still)


def _named(labels, chosen):
    return ", ".join(repr(label) for label, yes in zip(labels, chosen, strict=True) if yes)

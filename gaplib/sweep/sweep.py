"""Sweeps over lambda: train the probes, score them, and keep everything in one tidy table."""

import warnings
from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd
import torch
from scipy.special import log_softmax

from gaplib.datasets.pairs import label_columns
from gaplib.encoders import pick_device
from gaplib.modulate import check_lambda
from gaplib.names import pick
from gaplib.rows import check_pairs, scan
from gaplib.sweep import closed_form, probe
from gaplib.sweep.scores import CELL, auc, choose, curve, metrics, sensitivity, truths
from gaplib.sweep.verdicts import compare, contrasts

__all__ = [
    "CELL",
    "FUSIONS",
    "LAMS",
    "PROTOCOLS",
    "PUBLISHED",
    "SEEDS",
    "Sweep",
    "auc",
    "choose",
    "compare",
    "contrasts",
    "curve",
    "metrics",
    "sensitivity",
    "sweep",
]


def __dir__():  # what tab completion shows
    return __all__


LAMS = tuple(np.round(np.linspace(0, 1, 11), 1).tolist())
SEEDS = (42, 43, 44, 45, 46)
HELD_OUT = 0.1  # of the training rows, drawn by each seed, where a dataset has no validation split

# What is done to the rows, and how the probe is trained on them.
PROTOCOLS = {
    "published": (closed_form.shift, probe.Training()),
    "converged": (closed_form.shift, probe.Converged()),
    "no-renorm": (closed_form.no_renorm, probe.Converged(strengths=(100.0,))),  # flat whatever the strength
    "rescale": (closed_form.rescale, probe.Training()),
    "gap-kept": (closed_form.gap_kept, probe.Training()),
}
FUSIONS = {"early": (0, 128), "late": (64,)}  # and the published sizes of their hidden layers

# The published pipeline with its quirks: `sweep(features, **PUBLISHED)`. The gap is fitted on all rows, test rows
# included; each seed cuts its own 10 % for validation where there is no such split; with several classes, the published
# "AUC" is this table's `auc_hard`, that of hard predictions.
PUBLISHED = {"protocol": "published", "fusion": "early", "hidden": 0, "fit_on": "all"}


@dataclass(frozen=True, repr=False)
class Sweep:
    """Results of a sweep.

    `table` is tidy: dataset, encoder, protocol, fusion, hidden, lam, seed, split, metric, value. `scores`, float32
    (seeds, lambdas, test rows, outputs), are what its AUCs rank: logits, or logarithms of probabilities where there are
    several classes. `truth`, bool (test rows, outputs), are the labels; what the macro mean leaves out is in neither.
    `groups` (test rows) are codes of the patient, lesion or image that a row belongs to; by default each has its own.
    """

    table: pd.DataFrame
    scores: np.ndarray
    truth: np.ndarray
    probes: probe.Probes
    lams: tuple = ()
    groups: np.ndarray | None = None

    @property
    def best(self):
        """The lambda chosen on validation data."""
        return float(choose(self.table)["lam"].iloc[0])

    def __repr__(self):
        at, seeds = choose(self.table).iloc[0], self.table["seed"].nunique()
        return (
            f"Sweep({at['dataset']} x {at['encoder']}, {at['protocol']}, {len(self.lams)} lambdas, {seeds} seeds: "
            f"test AUC {at['mean']:.3f} at lambda {at['lam']:g}, chosen on validation data)"
        )

    def _repr_html_(self):
        wide = curve(self.table).set_index("lam")[["mean", "std"]].add_prefix("test AUC, ").T
        return f"<p>{escape(repr(self))}</p>{wide.to_html(float_format='{:.3f}'.format)}"


def sweep(
    features, lams=LAMS, seeds=SEEDS, protocol="published", fusion="early", hidden=0, fit_on="train", device="auto"
):
    """Train and score probes on features moved by every lambda, for every seed.

    Parameters
    ----------
    features : features.Features
    lams : sequence of float
        Lambdas in the sense of `modulate.shift`, anywhere on the real line; at least two.
    seeds : sequence of int
        Each seed gives the initial weights, the batch order and, where there is no validation split, its cut.
    protocol : str
        "published": AdamW with early stopping (arXiv 2603.17246). "converged": L2-regularised logistic regression to
        convergence, its strength chosen on validation data. And three controls. "no-renorm": converged, on rows shifted
        but not renormalised; flat, by algebra. "rescale": published training, no shift, rows scaled by the mean factor
        that the shift would have given. "gap-kept": published training, both clouds moved by the same vector, so that
        their position changes and the gap does not. Converged probes do not depend on a seed; the first is used.
    fusion : str
        "early": one layer on the concatenation; "late": one branch a modality, then concatenated.
    hidden : int
        Hidden units: 0 (a linear probe) or 128 for early fusion, 64 a branch for late fusion in the published work.
    fit_on : str
        "train": the gap is fitted on training rows. "all": on all rows, test rows included, to reproduce the paper.
    device : str
        "auto" takes a GPU where there is one.

    Returns
    -------
    Sweep

    Raises
    ------
    ValueError
        Before any training: if there are fewer than two lambdas, one is not a finite number, a name is unknown, a
        lambda or seed is repeated, hidden units and head do not go together, a label is none of the dataset's, a split
        is missing, or a class is missing from a split. A multilabel column that never varies in some split is left
        out, with a warning that names it.

    References
    ----------
    arXiv 2603.17246.
    """
    fit, training = pick(PROTOCOLS, protocol, "protocol")
    converged = isinstance(training, probe.Converged)
    lams, seeds = check_grid(lams, seeds)
    _check_head(protocol, converged, fusion, hidden)
    pick({"train": 0, "all": 0}, fit_on, "rows to fit the gap on:")
    about, seeds = features.about, seeds[: 1 if converged else None]
    rows = split_rows(features, seeds)
    columns = check_labels(features, rows)
    y = features.targets[:, columns] if about.task == "multilabel" else features.targets
    image, text = (scan(x, name) for x, name in zip(check_pairs(*features.paired()), ("image", "text"), strict=True))
    fitted = slice(None) if fit_on == "all" else features.rows("train")
    move = fit(image[fitted], text[fitted], np.array(lams))
    known = np.flatnonzero(features.pairs["split"] != "test")
    place = np.zeros(len(image), int)
    place[known] = np.arange(len(known))  # of a row among those that are trained on or stopped by
    dtype = torch.float64 if converged else torch.float32
    every = closed_form.Moved(image[known], text[known], move, pick_device(device), dtype)
    train, val, describe = place[rows["train"]], place[rows["val"]], f"{about.name} x {features.encoder}, {protocol}"
    if converged:
        probes = probe.converge(every, y[known], about.task, train[0], val[0], move, training, describe)
    else:
        head = probe.Head(fusion, hidden)
        probes = probe.train(every, y[known], about.task, train, val, seeds, move, head, training, describe)
    del every
    records = []
    for split in ("val", "test"):
        some, where = np.unique(rows[split], return_inverse=True)
        scores, where = probes.scores(image[some], text[some]), where.reshape(rows[split].shape)
        for i, seed in enumerate(seeds):
            for j, lam in enumerate(lams):
                values = metrics(scores[i, j, where[i]], y[rows[split][i]], about.task)
                records += [(lam, seed, split, name, value) for name, value in values.items()]
    table = pd.DataFrame(records, columns=["lam", "seed", "split", "metric", "value"])
    named = protocol if fit_on == "train" else f"{protocol}, gap of all rows"
    for column, value in zip(CELL, (about.name, features.encoder, named, fusion, hidden), strict=True):
        table.insert(CELL.index(column), column, value)
    scores = log_softmax(scores, axis=-1) if about.task == "multiclass" else scores
    truth, groups = truths(y[some], about.task, scores.shape[-1]), pd.factorize(features.pairs["group"].iloc[some])[0]
    return Sweep(table, scores, truth, probes, tuple(lams), groups)


def check_grid(lams, seeds):
    """Lambdas and seeds as lists, each of them once."""
    lams, seeds = [check_lambda(lam) for lam in lams], list(seeds)
    if len(lams) < 2:
        raise ValueError(f"a sweep needs at least two lambdas, got {lams}")
    for what, values in (("lambda", lams), ("seed", seeds)):
        if not values or len(set(values)) < len(values):
            raise ValueError(f"every {what} must be given once, got {values}")
    return lams, seeds


def _check_head(protocol, converged, fusion, hidden):
    pick(FUSIONS, fusion, "fusion")
    if isinstance(hidden, bool) or not isinstance(hidden, int) or hidden < 0 or (fusion == "late" and not hidden):
        usual = " or ".join(map(str, FUSIONS[fusion]))
        raise ValueError(f"hidden must be a number of units, {usual} as published, for {fusion} fusion; got {hidden!r}")
    if converged and (fusion, hidden) != ("early", 0):
        raise ValueError(f"protocol {protocol!r} is a logistic regression: early fusion, hidden=0")


def split_rows(features, seeds):
    """Rows of each split, (seeds, rows): the same for every seed, but for a validation cut drawn by it."""
    train, val, test = (features.rows(split) for split in ("train", "val", "test"))
    for split, some in (("train", train), ("test", test)):
        if not len(some):
            raise ValueError(f"dataset {features.about.name!r}: there is no {split} split")
    if len(val):
        cuts = [(train, val)] * len(seeds)
    else:
        held_out = max(1, round(HELD_OUT * len(train)))
        orders = [np.random.default_rng(seed).permutation(train) for seed in seeds]
        cuts = [(np.sort(order[held_out:]), np.sort(order[:held_out])) for order in orders]
    parts = [np.stack(part) for part in zip(*cuts, strict=True)]
    return {"train": parts[0], "val": parts[1], "test": np.stack([test] * len(seeds))}


def check_labels(features, rows):
    """Refuse labels that cannot be learned or scored; returns the multilabel columns that can."""
    about, where = features.about, f"dataset {features.about.name!r}"
    pick({"binary": 0, "multiclass": 0, "multilabel": 0}, about.task, f"task of {where}:")
    wanted = label_columns(about)
    if missing := [column for column in wanted if column not in features.pairs]:
        raise ValueError(f"{where} is said to be {about.task}, but has no column {', '.join(map(repr, missing))}")
    if about.task == "multilabel" and not features.pairs[wanted].isin([0, 1]).all(axis=None):
        raise ValueError(f"{where}: multilabel columns must hold 0 and 1 only")
    y = features.targets
    if about.task != "multilabel" and (y < 0).any():
        raise ValueError(f"{where}: a label is none of {', '.join(map(repr, about.labels))}")
    if about.task == "binary" and len(about.labels) != 2:
        raise ValueError(f"{where} is binary but has labels {', '.join(map(repr, about.labels))}")
    still, kind = np.zeros(len(about.labels), bool), "multilabel" if about.task == "multilabel" else "multiclass"
    for split, some in [(name, some) for name, seeds in rows.items() for some in seeds]:
        positives = truths(y[some], kind, len(about.labels)).sum(0)
        flat = (positives == 0) | (positives == len(some))
        if split == "val" and not len(features.rows("val")):  # a cut by seed: scored by what it holds
            if flat.all():
                raise ValueError(f"{where}: a tenth of train, cut for validation, holds one class; give a val split")
        elif about.task == "multilabel":
            still |= flat
        elif not positives.all():
            missing = ", ".join(repr(about.labels[code]) for code in np.flatnonzero(positives == 0))
            raise ValueError(f"{where}, split {split!r}: no pair of {missing}; take more pairs or merge classes")
    names = ", ".join(repr(name) for name, no in zip(about.labels, still, strict=True) if no)
    if still.all():
        raise ValueError(f"{where}: no label varies in every split ({names}); take more pairs")
    if still.any():
        warnings.warn(f"{where}: left out, for it never varies in some split: {names}", stacklevel=3)
    return np.flatnonzero(~still)

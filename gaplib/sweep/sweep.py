"""Sweeps over lambda: train the probes, score them, and keep everything in one tidy table."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd
import torch
from scipy.special import log_softmax

from gaplib.encoders import pick_device
from gaplib.features import Features
from gaplib.names import pick
from gaplib.sweep import checks, closed_form, probe, work
from gaplib.sweep.scores import CELL, choose, curve, metrics, truths

LAMS = tuple(np.round(np.linspace(0, 1, 11), 1).tolist())
SEEDS = (42, 43, 44, 45, 46)

# What is done to the rows, and how the probe is trained on them.
PROTOCOLS = {
    "published": (closed_form.lambda_shift, probe.Training()),
    "converged": (closed_form.lambda_shift, probe.Converged()),
    "no-renorm": (closed_form.no_renorm, probe.Converged(strengths=(100.0,))),  # flat whatever the strength
    "rescale": (closed_form.rescale, probe.Training()),
    "gap-kept": (closed_form.gap_kept, probe.Training()),
}

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
    `groups` (test rows) name the patient, lesion or image that a row belongs to; by default each has its own.
    """

    table: pd.DataFrame
    scores: np.ndarray
    truth: np.ndarray
    probes: probe.Probes
    lams: tuple = ()
    groups: np.ndarray | None = None

    @property
    def best(self) -> float:
        """The lambda chosen on validation data."""
        return float(choose(self.table)["lam"].iloc[0])

    def __repr__(self):
        at = choose(self.table).iloc[0]
        return (
            f"Sweep({at['dataset']} x {at['encoder']}, {at['protocol']}, {len(self.lams)} lambdas, "
            f"{self.table['seed'].nunique()} seeds: test AUC {at['mean']:.3f} at lambda {at['lam']:g}, "
            "chosen on validation data)"
        )

    def _repr_html_(self):
        wide = curve(self.table).set_index("lam")[["mean", "std"]].add_prefix("test AUC, ").T
        return f"<p>{escape(repr(self))}</p>{wide.to_html(float_format='{:.3f}'.format)}"


def sweep(
    features: Features,
    lams: Sequence[float] = LAMS,
    seeds: Sequence[int] = SEEDS,
    protocol: str = "published",
    fusion: str = "early",
    hidden: int = 0,
    fit_on: str = "train",
    device: str = "auto",
    training: probe.Training | probe.Converged | None = None,
) -> Sweep:
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
    training : probe.Training or probe.Converged, optional
        Instead of the protocol's own, and of its kind.

    Returns
    -------
    Sweep

    Raises
    ------
    ValueError
        Before any training: if there are fewer than two lambdas, one is not a finite number or too large, a name is
        unknown, a lambda or seed is repeated, a seed is no whole number, hidden units and head do not go together or
        do not fit in memory, a label is none of the dataset's, a split is missing, or a class is missing from a split.
        A multilabel column that never varies in some split is left out, with a warning that names it.

    References
    ----------
    arXiv 2603.17246.
    """
    fit, usual = pick(PROTOCOLS, protocol, "protocol")
    training = _training(training, usual, protocol)
    head = checks.check_head(fusion, hidden, protocol, training)
    pick(["train", "all"], fit_on, "rows to fit the gap on:")
    lams = checks.check_lambdas(lams)
    seeds = checks.check_seeds(seeds)[: 1 if isinstance(training, probe.Converged) else None]
    pairs = checks.labelled(features, seeds)
    checks.check_memory(head, lams, pairs.image.shape[1])
    fitted = slice(None) if fit_on == "all" else features.rows("train")
    move = fit(pairs.image[fitted], pairs.text[fitted], np.array(lams))
    describe = f"{features.about.name} x {features.encoder}, {protocol}"
    probes = _train(pairs, move, seeds, head, training, pick_device(device), describe)
    named = protocol if fit_on == "train" else f"{protocol}, gap of all rows"
    cell = (features.about.name, features.encoder, named, fusion, hidden)
    groups = features.pairs["group"].to_numpy()
    return _scored(probes, pairs, groups, lams, seeds, cell)


def _training(training, usual, protocol):
    if training is None:
        return usual
    if type(training) is not type(usual):
        raise ValueError(f"protocol {protocol!r} takes a probe.{type(usual).__name__}, got {training!r}")
    return training


def _train(pairs, move, seeds, head, training, device, describe):
    """Probes of all seeds: side by side on a CPU, all at once on a GPU."""
    converged = isinstance(training, probe.Converged)
    dtype = torch.float64 if converged else torch.float32
    examples = pairs.examples(lambda image, text: closed_form.Moved(image, text, move, device, dtype))

    def train(place, step):
        some = examples.some(place)
        if converged:
            return probe.converge(some, training, step)
        return probe.train(some, seeds[place], head, training, step)

    places = [slice(i, i + 1) for i in range(len(seeds))] if device == "cpu" else [slice(None)]
    rows = examples.train.shape[1] if converged else training.batch
    product = 2 * rows * pairs.image.shape[1] * move.steps.shape[1] * max(head.hidden, examples.outputs)
    steps = len(training.strengths) if converged else training.epochs
    with work.bar(len(places) * steps, describe) as step:
        return probe.Probes.stacked(work.side_by_side(train, places, step, product))


def _scored(probes, pairs, groups, lams, seeds, cell):
    """The sweep that trained probes are."""
    logits = {split: _logits(probes, pairs, split) for split in ("val", "test")}
    table = _table(logits, pairs, lams, seeds, cell)
    test = pairs.rows["test"]
    scores = log_softmax(logits["test"], axis=-1) if pairs.task == "multiclass" else logits["test"]
    truth = truths(pairs.y[test], pairs.task, scores.shape[-1])
    return Sweep(table, scores, truth, probes, tuple(lams), groups[test])


def _logits(probes, pairs, split):
    """Logits of a split's rows, (seeds, lambdas, rows, outputs)."""
    rows = pairs.rows[split]
    some, where = np.unique(rows, return_inverse=True)
    scores = probes.scores(pairs.image[some], pairs.text[some])
    if rows.ndim == 1:
        return scores
    return np.stack([of_seed[:, at] for of_seed, at in zip(scores, where.reshape(rows.shape), strict=True)])


def _table(logits, pairs, lams, seeds, cell):
    """The tidy table of a sweep, from logits by split."""
    records = []
    for split, by_seed in logits.items():
        rows = np.broadcast_to(pairs.rows[split], (len(seeds), by_seed.shape[2]))
        for i, seed in enumerate(seeds):
            y = pairs.y[rows[i]]
            for j, lam in enumerate(lams):
                values = metrics(by_seed[i, j], y, pairs.task)
                records += [(*cell, lam, seed, split, name, value) for name, value in values.items()]
    return pd.DataFrame(records, columns=[*CELL, "lam", "seed", "split", "metric", "value"])

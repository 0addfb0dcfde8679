"""Sweeps over the strengths of a treatment: train the probes, score them, and keep everything in one tidy table."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import chain

import numpy as np
import pandas as pd

from gaplib.encoders import pick_device
from gaplib.features import Features
from gaplib.names import pick
from gaplib.sweep import checks, probe
from gaplib.sweep.fit import Plan, fit
from gaplib.sweep.scores import CELL, choose, curve, metrics, ranked, truths

LAMS = tuple(np.round(np.linspace(0, 1, 11), 1).tolist())
SEEDS = (42, 43, 44, 45, 46)
TIMES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

# The published pipeline with its quirks: `sweep(features, **PUBLISHED)`. The gap is fitted on all rows, test rows
# included; each seed cuts its own 10 % for validation where there is no such split; with several classes, the published
# "AUC" is this table's `auc_hard`, that of hard predictions.
PUBLISHED = {"treatment": "shift", "fusion": "early", "hidden": 0, "fit_on": "all"}


@dataclass(frozen=True, repr=False)
class Sweep:
    """Results of a sweep; a run is a training set with a seed.

    `table` is tidy: dataset, encoder, treatment, training, fusion, hidden, lam, set, seed, split, metric, value; `path`
    is such a table of the AUC along training, with epoch, or None. `scores`, float32 (runs, lambdas, test rows,
    outputs), are what its AUCs rank: logits, or logarithms of probabilities where there are several classes. `truth`,
    bool (test rows, outputs), are the labels; what the macro mean leaves out is in neither. `groups` (test rows) name
    the patient, lesion or image that a row belongs to. `sets` and `seeds` (runs,) say what a run is.
    """

    table: pd.DataFrame
    scores: np.ndarray
    truth: np.ndarray
    probes: probe.Probes
    lams: tuple[float, ...]
    groups: np.ndarray
    sets: np.ndarray
    seeds: np.ndarray
    path: pd.DataFrame | None = None

    @property
    def best(self) -> float:
        """The lambda chosen on validation data."""
        return float(choose(self.table)["lam"].iloc[0])

    def __repr__(self):
        at = choose(self.table).iloc[0]
        return (
            f"Sweep({at['dataset']} x {at['encoder']}, {at['treatment']}, {at['training']}, {len(self.lams)} lambdas, "
            f"{len(self.scores)} runs: test AUC {at['mean']:.3f} at lambda {at['lam']:g}, chosen on validation data)"
        )

    def _repr_html_(self):
        wide = curve(self.table).set_index("lam")[["mean", "std"]].add_prefix("test AUC, ").T
        return f"<p>{escape(repr(self))}</p>{wide.to_html(float_format='{:.3f}'.format)}"


def sweep(
    features: Features,
    lams: Sequence[float] = LAMS,
    seeds: Sequence[int] = SEEDS,
    treatment: str = "shift",
    training: probe.Training | probe.Converged = probe.Training(),  # noqa: B008
    fusion: str = "early",
    hidden: int = 0,
    fit_on: str = "train",
    device: str = "auto",
    times: Sequence[int] | None = None,
    sets: int = 1,
    share: float = 1.0,
) -> Sweep:
    """Train and score probes on features under every strength of a treatment, by several seeds and training sets.

    Parameters
    ----------
    features : features.Features
    lams : sequence of float
        Strengths, at least two: 0 is as encoded, 1 the whole treatment. Anywhere on the real line; for "standardise"
        and "whiten" from 0 to 1.
    seeds : sequence of int
        Each gives the initial weights, the batch order, the direction of a placebo and, where there is no validation
        split, its cut. Converged probes depend on no seed; but for the placebo, the first is used.
    treatment : str
        One of `TREATMENTS`, whose functions say the equations: "shift" (`modulate.shift`), "shift-only" (without
        renormalising), "rescale" and "rescale-each" (its lengths alone), "gap-kept" (both clouds moved together),
        "placebo" (random directions), "centre", "standardise", "whiten".
    training : Training or Converged
        AdamW with early stopping, by default as published (arXiv 2603.17246); or L2-regularised logistic regression to
        convergence, its strength chosen on validation data.
    fusion : str
        "early": one layer on the concatenation; "late": one branch a modality, then concatenated.
    hidden : int
        Hidden units: 0 (a linear probe) or 128 for early fusion, 64 a branch for late fusion in the published work.
    fit_on : str
        "train": the treatment is fitted on the run's training set. "all": on all rows, test rows included, to reproduce
        the paper.
    device : str
        "auto" takes a GPU where there is one.
    times : sequence of int, optional
        Epochs after which to score validation and test rows, in one training that does not stop before the last:
        `Sweep.path`. What is kept, and all else, is as without.
    sets : int
        Training sets: the train split by every seed, then so many less one drawn from it, whole groups with
        replacement, each by a seed of its own (that after the last, and so on).
    share : float
        Of the train split's groups, how many each training set has.

    Returns
    -------
    Sweep

    Raises
    ------
    ValueError
        Before any training: if there are fewer than two lambdas, one is not a finite number or too large, a name is
        unknown, a lambda, seed or time is repeated, a seed is no whole number, training, hidden units and head do not
        go together or do not fit in memory, a label is none of the dataset's, a split is missing, a class is missing
        from a split, or a training set holds one class. A multilabel column that never varies in some split is left
        out, with a warning that names it.

    References
    ----------
    arXiv 2603.17246.
    """
    options = {"training": training, "fusion": fusion, "hidden": hidden, "fit_on": fit_on, "device": device}
    return sweeps(features, [treatment], lams, seeds, **options, times=times, sets=sets, share=share)[0]


def sweeps(
    features: Features,
    treatments: Sequence[str],
    lams: Sequence[float] = (0.0, 1.0),
    seeds: Sequence[int] = SEEDS,
    training: probe.Training | probe.Converged = probe.Training(),  # noqa: B008
    fusion: str = "early",
    hidden: int = 0,
    fit_on: str = "train",
    device: str = "auto",
    times: Sequence[int] | None = None,
    sets: int = 1,
    share: float = 1.0,
) -> list[Sweep]:
    """Sweeps of several treatments, one each, all probes trained together.

    As encoded, at strength 0, the rows are the same under every treatment, and are trained on once.

    Parameters
    ----------
    features, lams, seeds, training, fusion, hidden, fit_on, device, times, sets, share
        As in `sweep`. Converged probes have every seed if the placebo is among the treatments.
    treatments : sequence of str
        Of `TREATMENTS`, each once.

    Raises
    ------
    ValueError
        As `sweep`; if a treatment is repeated, or there is none.
    """
    treatments = checks.check_treatments(treatments)
    lams = checks.check_lambdas(lams)
    plan = Plan(
        strengths=_strengths(treatments, lams),
        fit_on=pick(["train", "all"], fit_on, "rows to fit the treatment on:"),
        head=checks.check_head(fusion, hidden, training),
        training=training,
        times=checks.check_times(times, training),
        device=pick_device(device),
    )
    checks.check_sets(sets, share)
    seeds = _needed(checks.check_seeds(seeds), plan)
    pairs = checks.labelled(features, seeds, sets, share)
    checks.check_memory(plan.head, plan.lams, pairs.image.shape[1])
    parts = fit(plan, pairs, f"{features.about.name} x {features.encoder}, {', '.join(treatments)}")
    trained = [(name, lam) for name, own in plan.strengths.items() for lam in own]
    made = []
    for name in treatments:
        places = [trained.index((name if lam else treatments[0], lam)) for lam in lams]
        cell = _cell(features, plan, name, share)
        made.append(_gathered([part.at(places) for part in parts], lams, pairs, cell))
    return made


def _strengths(treatments, lams):
    """What is trained on: every treatment at every strength, but only the first at 0, where all are the same."""
    first, *others = treatments
    moved = np.array([lam for lam in lams if lam])
    return {first: np.array(lams)} | dict.fromkeys(others, moved)


def _needed(seeds, plan):
    """The seeds that probes depend on: converged ones on none, but for the placebo, whose direction they draw."""
    return seeds[:1] if plan.converged and "placebo" not in plan.strengths else seeds


def _cell(features, plan, treatment, share):
    """What the sweep is of, by the columns of `CELL`."""
    return {
        "dataset": features.about.name,
        "encoder": features.encoder,
        "treatment": treatment if plan.fit_on == "train" else f"{treatment}, fitted on all rows",
        "training": plan.training.name if share == 1 else f"{plan.training.name}, share={share:g}",
        "fusion": plan.head.fusion,
        "hidden": plan.head.hidden,
    }


def _gathered(parts, lams, pairs, cell):
    """The sweep that the parts of its runs are."""
    logits = {split: list(chain.from_iterable(part.logits[split] for part in parts)) for split in ("val", "test")}
    paths = {key: np.concatenate([part.path[key] for part in parts]) for key in parts[0].path}
    return Sweep(
        table=_table(logits, lams, pairs, cell),
        scores=ranked(np.stack(logits["test"]), pairs.task),
        truth=truths(pairs.y[pairs.test], pairs.task, pairs.outputs),
        probes=probe.Probes.stacked([part.probes for part in parts]),
        lams=tuple(lams),
        groups=pairs.groups,
        sets=np.array([run.set for run in pairs.runs]),
        seeds=np.array([run.seed for run in pairs.runs]),
        path=_path_table(paths, lams, pairs.runs, cell) if paths else None,
    )


def _table(logits, lams, pairs, cell):
    """All metrics of every split, run and lambda."""
    records = []
    for split, of_runs in logits.items():
        for run, of_run in zip(pairs.runs, of_runs, strict=True):
            y = pairs.y[run.val if split == "val" else pairs.test]
            for lam, of_lam in zip(lams, of_run, strict=True):
                values = metrics(of_lam, y, pairs.task)
                records += [(lam, run.set, run.seed, split, name, value) for name, value in values.items()]
    return _tidy(records, ["lam", "set", "seed", "split", "metric", "value"], cell)


def _path_table(paths, lams, runs, cell):
    """The AUC of every epoch, split, run and lambda."""
    records = []
    for (epoch, split), aucs in paths.items():
        for run, of_run in zip(runs, aucs, strict=True):
            at = (run.set, run.seed, epoch, split, "auc")
            records += [(lam, *at, value) for lam, value in zip(lams, of_run, strict=True)]
    return _tidy(records, ["lam", "set", "seed", "epoch", "split", "metric", "value"], cell)


def _tidy(records, columns, cell):
    table = pd.DataFrame(records, columns=columns)
    return pd.DataFrame(cell, index=table.index)[CELL].join(table)

"""Sweeps over lambda: train the probes, score them, and keep everything in one tidy table."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.special import expit, softmax
from scipy.stats import rankdata
from sklearn.metrics import accuracy_score, f1_score

from gaplib import probe
from gaplib.gap import gap_vector
from gaplib.modulate import check_lambda
from gaplib.names import pick
from gaplib.rows import check_pairs, scan

LAMS = tuple(np.round(np.linspace(0, 1, 11), 1).tolist())
SEEDS = (42, 43, 44, 45, 46)
CELL = ["dataset", "encoder", "protocol", "fusion"]
PROTOCOLS = {"published": probe.Training()}
FUSIONS = {"early": probe.train}


@dataclass(frozen=True)
class Sweep:
    """Results of a sweep.

    `table` is tidy: dataset, encoder, protocol, fusion, lam, seed, split, metric, value.
    """

    table: pd.DataFrame = field(repr=False)
    probes: probe.Probes = field(repr=False)

    @property
    def best(self):
        """The lambda chosen on validation data."""
        return float(choose(self.table)["lam"].iloc[0])


def sweep(features, lams=LAMS, seeds=SEEDS, protocol="published", fusion="early", device="cpu"):
    """Train and score probes on features moved by every lambda, for every seed.

    The gap is fitted on the training rows. Labels are learned from [text | image] by a linear probe.

    Parameters
    ----------
    features : features.Features
    lams : sequence of float
        Lambdas in the sense of `modulate.shift`.
    seeds : sequence of int
        Each seed gives the initial weights and the batch order.
    protocol : str
        "published": method of arXiv 2603.17246 (AdamW, early stopping on validation loss).
    fusion : str
        "early": one linear layer on the concatenation.
    device : str

    Returns
    -------
    Sweep

    Raises
    ------
    ValueError
        If a lambda is not a finite number, a name is unknown, a lambda or seed is repeated, or a class is missing
        from a split.

    References
    ----------
    arXiv 2603.17246.
    """
    training, train = pick(PROTOCOLS, protocol, "protocol"), pick(FUSIONS, fusion, "fusion")
    lams = [check_lambda(lam) for lam in lams]
    for what, values in (("lambda", lams), ("seed", list(seeds))):
        if not values or len(set(values)) < len(values):
            raise ValueError(f"every {what} must be given once, got {values}")
    _check_classes(features)
    about, y = features.about, features.targets
    image, text = (scan(x, name) for x, name in zip(check_pairs(*features.paired()), ("image", "text"), strict=True))
    rows = {split: features.rows(split) for split in ("train", "val", "test")}
    gap = gap_vector(image[rows["train"]], text[rows["train"]])
    probes = train(
        image, text, y, about.task, rows["train"], rows["val"], lams, seeds, gap, training, device,
        describe=f"{about.name} x {features.encoder}",
    )  # fmt: skip
    records = []
    for split in ("val", "test"):
        logits = probes.scores(image[rows[split]], text[rows[split]])
        for i, seed in enumerate(seeds):
            for j, lam in enumerate(lams):
                values = metrics(logits[i, j], y[rows[split]], about.task)
                records += [(lam, seed, split, name, value) for name, value in values.items()]
    table = pd.DataFrame(records, columns=["lam", "seed", "split", "metric", "value"])
    for column, value in zip(CELL, (about.name, features.encoder, protocol, fusion), strict=True):
        table.insert(CELL.index(column), column, value)
    return Sweep(table, probes)


def _check_classes(features):
    about, y = features.about, features.targets
    for split in ("train", "val", "test"):
        part = y[features.rows(split)]
        if about.task == "multilabel":
            missing = [n for n, c in zip(about.labels, part.T, strict=True) if len(np.unique(c)) < 2]
        else:
            missing = [name for code, name in enumerate(about.labels) if code not in part]
        if missing:
            raise ValueError(
                f"dataset {about.name!r}, split {split!r}: no variation of {', '.join(map(repr, missing))}; "
                "take more pairs or merge classes"
            )


def metrics(logits, y, task):
    """Accuracy, macro-F1 and score AUC of logits.

    AUC is of scores, never of hard predictions; macro one-vs-rest over classes, macro over labels. Multilabel
    accuracy is that of all labels of a row at once.

    Parameters
    ----------
    logits : ndarray of shape (n, outputs)
    y : ndarray of shape (n,), or (n, outputs) when the task is multilabel
    task : str

    Returns
    -------
    dict

    Examples
    --------
    >>> metrics(np.array([[-1.0], [2.0], [1.0]]), np.array([0, 1, 1]), "binary")
    {'acc': 1.0, 'macro_f1': 1.0, 'auc': 1.0}
    """
    if task == "multiclass":
        scores, hard = softmax(logits, axis=1), logits.argmax(1)
        truth = y[:, None] == np.arange(logits.shape[1])
    else:
        scores, hard = expit(logits), (logits > 0).astype(int)
        truth = y.reshape(scores.shape) > 0
        if task == "binary":
            hard = hard[:, 0]
    return {
        "acc": float(accuracy_score(y, hard)),
        "macro_f1": float(f1_score(y, hard, average="macro", zero_division=0)),
        "auc": float(auc(scores, truth).mean()),
    }


def auc(scores, truth):
    """Area under the ROC curve of every column, from the ranks of the scores (Mann-Whitney).

    Parameters
    ----------
    scores : ndarray of shape (n, k)
    truth : ndarray of bool of shape (n, k)

    Returns
    -------
    ndarray of shape (k,)
        NaN for a column that holds one class only.

    Examples
    --------
    >>> auc(np.array([[0.1], [0.4], [0.35], [0.8]]), np.array([[False], [False], [True], [True]]))
    array([0.75])
    """
    positives = truth.sum(0)
    ranks = np.where(truth, rankdata(scores, axis=0), 0).sum(0)
    with np.errstate(invalid="ignore"):
        return (ranks - positives * (positives + 1) / 2) / (positives * (len(truth) - positives))


def curve(table, metric="auc", split="test"):
    """Mean and sample standard deviation over seeds, by cell and lambda.

    Returns
    -------
    DataFrame
        dataset, encoder, protocol, fusion, lam, mean, std.
    """
    rows = table[(table["metric"] == metric) & (table["split"] == split)]
    return rows.groupby([*CELL, "lam"], sort=False)["value"].agg(["mean", "std"]).reset_index()


def choose(table, metric="auc"):
    """The lambda of each cell with the best mean validation score, and the test score there.

    The smallest such lambda when several are equally good.

    Returns
    -------
    DataFrame
        dataset, encoder, protocol, fusion, lam, mean, std.
    """
    val = curve(table, metric, "val").sort_values("lam", kind="stable")
    best = val.loc[val.groupby(CELL, sort=False)["mean"].idxmax(), [*CELL, "lam"]]
    return best.merge(curve(table, metric, "test"), on=[*CELL, "lam"])


def sensitivity(table, metric="auc", draws=999, seed=0):
    """How much lambda moves the test score: max - min of the mean curve, and what seeds alone would give.

    For the latter, each seed's curve without the means of seed and lambda is kept whole, because neighbouring lambdas
    err together, and weighted by a standard normal number. `by_chance` is the median of the range of the mean of
    these over the draws, `by_chance_95` its 95 % quantile.

    Returns
    -------
    DataFrame
        dataset, encoder, protocol, fusion, range, by_chance, by_chance_95.
    """
    rng, records = np.random.default_rng(seed), []
    rows = table[(table["metric"] == metric) & (table["split"] == "test")]
    for cell, group in rows.groupby(CELL, sort=False):
        scores = group.pivot(index="seed", columns="lam", values="value").to_numpy()
        noise = scores - scores.mean(0) - scores.mean(1, keepdims=True) + scores.mean()
        noise *= np.sqrt(len(scores) / max(len(scores) - 1, 1))  # centring took a share of the variance
        chance = np.ptp(rng.normal(size=(draws, len(noise))) @ noise / len(noise), axis=1)
        records.append((*cell, np.ptp(scores.mean(0)), np.median(chance), np.quantile(chance, 0.95)))
    return pd.DataFrame(records, columns=[*CELL, "range", "by_chance", "by_chance_95"])

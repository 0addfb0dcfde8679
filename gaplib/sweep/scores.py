"""Scores of probes and their tables: metrics, AUC, mean curves, the lambda chosen on validation data."""

import numpy as np
import pandas as pd
from scipy.special import log_softmax
from scipy.stats import rankdata
from sklearn.metrics import accuracy_score, f1_score

CELL = ["dataset", "encoder", "treatment", "training", "fusion", "hidden"]


def truths(y: np.ndarray, task: str, outputs: int) -> np.ndarray:
    """Labels as a bool matrix (n, outputs), one column an output; `y` as `pairs.targets` gives it."""
    return y[:, None] == np.arange(outputs) if task == "multiclass" else y.reshape(len(y), outputs) > 0


def ranked(logits: np.ndarray, task: str) -> np.ndarray:
    """What an AUC ranks: logits, or logarithms of probabilities where there are several classes."""
    return log_softmax(logits, axis=-1) if task == "multiclass" else logits


def metrics(logits: np.ndarray, y: np.ndarray, task: str) -> dict[str, float]:
    """Accuracy, macro-F1, score AUC and hard AUC of logits.

    `auc` is of scores; macro one-vs-rest over classes, macro over labels. `auc_hard` is the same of hard predictions,
    as the published multiclass numbers are. Multilabel accuracy is that of all labels of a row at once.

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
    {'acc': 1.0, 'macro_f1': 1.0, 'auc': 1.0, 'auc_hard': 1.0}
    """
    truth = truths(y, task, logits.shape[1])
    if task == "multiclass":
        hard = logits.argmax(1)
        chosen = truths(hard, task, logits.shape[1])
    else:
        chosen = logits > 0
        hard = chosen[:, 0].astype(int) if task == "binary" else chosen.astype(int)
    return {
        "acc": float(accuracy_score(y, hard)),
        "macro_f1": float(f1_score(y, hard, average="macro", zero_division=0)),
        "auc": float(macro_auc(logits, y, task)),
        "auc_hard": float(np.nanmean(auc(chosen, truth))),
    }


def auc(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of every column, from the ranks of the scores (Mann-Whitney).

    Parameters
    ----------
    scores : ndarray of shape (..., n, k)
    truth : ndarray of bool of shape (n, k)
        Where either has one column, it stands for all.

    Returns
    -------
    ndarray of shape (..., k)
        NaN for a column that holds one class only.

    Examples
    --------
    >>> auc(np.array([[0.1], [0.4], [0.35], [0.8]]), np.array([[False], [False], [True], [True]]))
    array([0.75])
    """
    positives = truth.sum(0)
    ranks = np.where(truth, rankdata(scores, axis=-2), 0).sum(-2)
    with np.errstate(invalid="ignore"):
        return (ranks - positives * (positives + 1) / 2) / (positives * (len(truth) - positives))


def macro_auc(logits: np.ndarray, y: np.ndarray, task: str) -> np.ndarray:
    """Mean AUC over outputs of logits (..., n, outputs), of labels as `metrics` takes them: (...).

    Outputs that hold one class only are left out.

    Examples
    --------
    >>> logits = np.array([[[-1.0], [2.0], [1.0]], [[3.0], [2.0], [1.0]]])
    >>> macro_auc(logits, np.array([0, 1, 1]), "binary")
    array([1., 0.])
    """
    truth = truths(y, task, logits.shape[-1])
    return np.nanmean(auc(ranked(logits.astype(float), task), truth), axis=-1)


def curve(table: pd.DataFrame, metric: str = "auc", split: str = "test") -> pd.DataFrame:
    """Mean and sample standard deviation over seeds, by cell and lambda, and by epoch where there is such a column.

    Of the train split itself: training sets that were drawn from it are for its uncertainty.

    Returns
    -------
    DataFrame
        dataset, encoder, treatment, training, fusion, hidden, lam, (epoch,) mean, std.
    """
    rows = table[(table["metric"] == metric) & (table["split"] == split) & (table["set"] == 0)]
    by = [*CELL, "lam", *table.columns.intersection(["epoch"])]
    return rows.groupby(by, sort=False)["value"].agg(["mean", "std"]).reset_index()


def choose(table: pd.DataFrame, metric: str = "auc") -> pd.DataFrame:
    """The lambda of each cell with the best mean validation score, and the test score there.

    The smallest such lambda when several are equally good.

    Returns
    -------
    DataFrame
        dataset, encoder, treatment, training, fusion, hidden, lam, mean, std.
    """
    val = curve(table, metric, "val").sort_values("lam", kind="stable")
    best = val.loc[val.groupby(CELL, sort=False)["mean"].idxmax(), [*CELL, "lam"]]
    return best.merge(curve(table, metric, "test"), on=[*CELL, "lam"])

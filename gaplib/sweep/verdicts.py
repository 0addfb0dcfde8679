"""Does lambda matter? Contrasts between lambdas with their uncertainty, and one verdict a cell."""

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

from gaplib.sweep.scores import CELL, choose, sensitivity

VERDICTS = (
    "an intermediate lambda is better",
    "closing is better",
    "leaving it is better",
    "no detectable difference",
)
CONTRASTS = {"lam_0": ("lam", 0.0), "lam_1": ("lam", 1.0), "one_0": (1.0, 0.0)}
LEVEL = 0.05


def contrasts(runs, resamples=4999, seed=0):
    """What moving the gap does to the test AUC of each cell, with intervals, adjusted p-values and a verdict.

    Lambda is chosen on validation data. Differences are of AUCs averaged over seeds, with a 95 % paired bootstrap over
    test rows (percentile), whole groups at a time: a patient's pairs are not independent. The trained probes count as
    given. An intermediate lambda must beat both 0 and 1, so its p-value is the larger of the two; to beat 0 alone tells
    it not from closing, and is no verdict.
    Holm's adjustment is over all cells of a protocol and head, both questions together: being wrong in any cell has
    probability 5 % at most.

    Parameters
    ----------
    runs : sequence of sweep.Sweep
        Each with lambdas 0 and 1.
    resamples : int
        At least; more are drawn where the adjustment over many cells needs finer p-values.
    seed : int

    Returns
    -------
    DataFrame
        One row a run: its cell, n_test, auc_0, auc_1, lam (as chosen), auc_lam; for lam_0 = AUC(lam) - AUC(0), lam_1 =
        AUC(lam) - AUC(1) and one_0 = AUC(1) - AUC(0) the difference, `_low`, `_high` and two-sided `_p`;
        p_intermediate and p_closing, adjusted; verdict; range and by_chance_95 as in `sweep.sensitivity`.

    Raises
    ------
    ValueError
        If there is no run, or a run lacks lambda 0 or 1.
    """
    if not runs:
        raise ValueError("contrasts need at least one sweep")
    cells = pd.concat([run.table[["protocol", "fusion", "hidden"]].head(1) for run in runs]).value_counts().max()
    resamples = max(resamples, int(np.ceil(8 * cells / LEVEL)))  # twice what two questions and two sides need
    records = []
    for run in runs:
        if not {0.0, 1.0} <= set(run.lams):
            raise ValueError(f"contrasts need lambdas 0 and 1 in every sweep, got {list(run.lams)}")
        lam = float(choose(run.table)["lam"].iloc[0])
        record = run.table[CELL].iloc[0].to_dict() | {"n_test": len(run.truth), "lam": lam}
        for name, (one, other) in CONTRASTS.items():
            pair = [run.lams.index(lam if at == "lam" else at) for at in (one, other)]
            record |= _difference(name, *(run.scores[:, i] for i in pair), run, resamples, seed)
        scored = run.table[(run.table["metric"] == "auc") & (run.table["split"] == "test")]
        chosen = scored.groupby("lam")["value"].mean()
        record |= {"auc_0": chosen[0.0], "auc_1": chosen[1.0], "auc_lam": chosen[lam]}
        records.append(record | sensitivity(run.table).iloc[0][["range", "by_chance_95"]].to_dict())
    table = pd.DataFrame(records)
    between = (table["lam"] > 0) & (table["lam"] < 1) & (table["lam_0"] > 0) & (table["lam_1"] > 0)
    table["p_intermediate"] = np.where(between, table[["lam_0_p", "lam_1_p"]].max(axis=1), 1.0)
    table["p_closing"] = table["one_0_p"]
    for _, rows in table.groupby(["protocol", "fusion", "hidden"], sort=False).groups.items():
        adjusted = holm(table.loc[rows, ["p_intermediate", "p_closing"]].to_numpy().ravel())
        table.loc[rows, ["p_intermediate", "p_closing"]] = adjusted.reshape(-1, 2)
    table["verdict"] = [_verdict(row) for row in table.itertuples()]
    return table


def _verdict(row):
    if row.p_intermediate <= LEVEL:
        return VERDICTS[0]
    if row.p_closing <= LEVEL:
        return VERDICTS[1] if row.one_0 > 0 else VERDICTS[2]
    return VERDICTS[3]


def holm(p):
    """Holm's step-down adjustment: compare the results with the level that any error may have.

    References
    ----------
    Holm 1979.

    Examples
    --------
    >>> holm(np.array([0.01, 0.04, 0.03]))
    array([0.03, 0.06, 0.06])
    """
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted


def _difference(name, one, other, run, resamples, seed):
    """Difference of the mean macro AUC of `one` and `other`, (seeds, rows, outputs), with its paired bootstrap."""
    truth, groups = run.truth, np.arange(len(run.truth)) if run.groups is None else run.groups
    rng, n = np.random.default_rng(seed), groups.max() + 1
    counts = rng.multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float32)[:, groups]
    draws, kept = np.zeros((truth.shape[1], resamples)), np.zeros(truth.shape[1])
    for k, labels in enumerate(truth.T):
        positive, negative = np.flatnonzero(labels), np.flatnonzero(~labels)
        weight = counts[:, negative]
        won = np.zeros(resamples)
        for some in np.array_split(positive, max(1, len(positive) * len(negative) // 2**24)):
            # AUC is the share of pairs of a positive and a negative that are in order; seeds average inside the pairs.
            order = sum(
                _in_order(a[:, k], some, negative) - _in_order(b[:, k], some, negative)
                for a, b in zip(one, other, strict=True)
            ) / len(one)
            kept[k] += order.sum(dtype=float) / (len(positive) * len(negative))
            won += np.einsum("bp,bp->b", counts[:, some], weight @ order.T)
        mass = counts[:, positive].sum(1, dtype=float) * weight.sum(1, dtype=float)
        draws[k] = np.divide(won, mass, out=np.full(resamples, np.nan), where=mass > 0)
    draws = np.nanmean(draws[:, np.isfinite(draws).any(0)], axis=0)  # a resample of one class only has no AUC
    low, high = np.quantile(draws, [0.025, 0.975])
    below, above = (draws <= 0).sum(), (draws >= 0).sum()
    p = min(1.0, 2 * (min(below, above) + 1) / (len(draws) + 1))
    return {name: kept.mean(), f"{name}_low": low, f"{name}_high": high, f"{name}_p": p}


def _in_order(scores, positive, negative):
    difference = scores[positive][:, None] - scores[negative]
    return (np.sign(difference) / 2 + 0.5).astype(np.float32)


def _means_apart(a, b, axis=-1):
    return a.mean(axis) - b.mean(axis)


def compare(table, by, value="range", seed=0):
    """Difference between two kinds of cells in the mean of `value`, with a 95 % bootstrap interval over cells.

    Cells count as exchangeable here; with few datasets or encoders, which share data, the interval is too narrow.

    Parameters
    ----------
    table : DataFrame
        From `contrasts`, with a column `by` of two kinds.
    by : str
        Such as "dataset_domain".
    value : str
    seed : int

    Returns
    -------
    dict
        by, one, other (the kinds), cells (of each), difference (one - other), low, high; the interval is NaN where a
        kind has fewer than two cells.

    Raises
    ------
    ValueError
        If there are not exactly two kinds.

    Examples
    --------
    >>> table = pd.DataFrame({"kind": list("aabb"), "range": [3.0, 4.0, 1.0, 2.0]})
    >>> compare(table, "kind")["difference"]
    2.0
    """
    kinds = sorted(table[by].unique())
    if len(kinds) != 2:
        raise ValueError(f"{by!r} must have two kinds to compare, got {kinds}")
    groups = [table.loc[table[by] == kind, value].to_numpy() for kind in kinds]
    low = high = np.nan
    if min(map(len, groups)) > 1:
        rng = np.random.default_rng(seed)
        low, high = bootstrap(groups, _means_apart, method="percentile", rng=rng).confidence_interval
    difference = float(groups[0].mean() - groups[1].mean())
    named = {"by": by, "one": kinds[0], "other": kinds[1], "cells": tuple(map(len, groups))}
    return named | {"difference": difference, "low": float(low), "high": float(high)}

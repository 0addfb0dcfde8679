"""Does lambda matter? Contrasts between lambdas with their uncertainty, and one verdict a cell."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

from gaplib.rows import check_seed
from gaplib.sweep import work
from gaplib.sweep.scores import CELL
from gaplib.sweep.sweep import Sweep

VERDICTS = (
    "an intermediate lambda is better",
    "closing is better",
    "leaving it is better",
    "no detectable difference",
)
HEAD = ["treatment", "training", "fusion", "hidden"]
ADJUSTED = ["p_intermediate", "p_closing"]
LEVEL = 0.05
BLOCK = 2**22  # pairs of a positive and a negative that are compared at once


def contrasts(runs: Sequence[Sweep], resamples: int = 4999, seed: int = 0) -> pd.DataFrame:
    """What moving the gap does to the test AUC of each cell, with intervals, adjusted p-values and a verdict.

    Lambda is chosen on validation data. Differences are of AUCs averaged over seeds, with a 95 % paired bootstrap over
    test rows (percentile), whole groups at a time: a patient's pairs are not independent. The trained probes count as
    given. An intermediate lambda must beat both 0 and 1, so its p-value is the larger of the two; to beat 0 alone tells
    it not from closing, and is no verdict.
    Holm's adjustment is over all cells of a treatment, training and head, both questions together: being wrong in any
    cell has probability 5 % at most.

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
        If there is no run, something is no sweep, a run lacks lambda 0 or 1, or a row has no group.
    """
    _check_runs(runs)
    seed = check_seed(seed)
    cells = pd.concat([run.table[HEAD].head(1) for run in runs]).value_counts().max()
    resamples = max(resamples, int(np.ceil(8 * cells / LEVEL)))  # twice what two questions and two sides need
    with work.bar(sum(run.truth.shape[1] for run in runs), "contrasts") as step:
        table = pd.DataFrame([_cell(run, resamples, seed, step) for run in runs])
    between = (table["lam"] > 0) & (table["lam"] < 1) & (table["lam_0"] > 0) & (table["lam_1"] > 0)
    table["p_intermediate"] = np.where(between, table[["lam_0_p", "lam_1_p"]].max(axis=1), 1.0)
    table["p_closing"] = table["one_0_p"]
    for rows in table.groupby(HEAD, sort=False).groups.values():
        adjusted = holm(table.loc[rows, ADJUSTED].to_numpy().ravel())
        table.loc[rows, ADJUSTED] = adjusted.reshape(-1, 2)
    table["verdict"] = [_verdict(row) for row in table.itertuples()]
    return table


def _check_runs(runs):
    if isinstance(runs, (Sweep, pd.DataFrame)) or not all(isinstance(run, Sweep) for run in runs):
        raise ValueError("contrasts need a list of what sweep.sweep returns, as it is: [run, another]; no tables")
    if not len(runs):
        raise ValueError("contrasts need at least one sweep")
    for run in runs:
        if not {0.0, 1.0} <= set(run.lams):
            raise ValueError(f"contrasts need lambdas 0 and 1 in every sweep, got {list(run.lams)}")
        groups = _groups(run)
        if len(groups) != len(run.truth) or (groups < 0).any():
            raise ValueError(
                f"{run!r}: groups must name the patient, lesion or image of each of the {len(run.truth)} test rows, "
                f"and got {len(groups)}, {(groups < 0).sum()} of them empty"
            )


def _groups(run):
    """Codes of the rows that are drawn together; -1 where there is none."""
    return np.arange(len(run.truth)) if run.groups is None else pd.factorize(np.asarray(run.groups))[0]


def _cell(run, resamples, seed, step):
    """The row of a run, without what needs the others."""
    lam = run.best
    auc = run.table[(run.table["metric"] == "auc") & (run.table["split"] == "test")]
    means = auc.groupby("lam")["value"].mean()
    rises = _rises(run, {lam, 1.0} - {0.0}, _resampled(_groups(run), resamples, seed), step)
    return (
        run.table[CELL].iloc[0].to_dict()
        | {"n_test": len(run.truth), "lam": lam}
        | _interval("lam_0", rises[lam], rises[0.0])
        | _interval("lam_1", rises[lam], rises[1.0])
        | _interval("one_0", rises[1.0], rises[0.0])
        | {"auc_0": means[0.0], "auc_1": means[1.0], "auc_lam": means[lam]}
        | sensitivity(run.table).iloc[0][["range", "by_chance_95"]].to_dict()
    )


def _resampled(groups, resamples, seed):
    """How often each row is drawn, (resamples, rows), whole groups at a time."""
    n = groups.max() + 1
    rng = np.random.default_rng(seed)
    counts = np.empty((resamples, len(groups)), np.float32)
    for some in np.array_split(counts, 1 + counts.size // BLOCK):  # of whole numbers of eight bytes only a part
        some[:] = rng.multinomial(n, np.full(n, 1 / n), size=len(some))[:, groups]
    return counts


def _rises(run, lams, counts, step):
    """By lambda AUC(lam) - AUC(0), means over seeds and outputs: first of all rows, then of each resample."""
    still = run.scores[:, run.lams.index(0.0)]

    def of_output(k, step):
        step()
        moved = [run.scores[:, run.lams.index(lam), :, k] for lam in lams]
        return [_output_rise(scores, still[..., k], run.truth[:, k], counts) for scores in moved]

    rises = np.array(work.side_by_side(of_output, range(run.truth.shape[1]), step))
    rises = rises[..., np.isfinite(rises).any((0, 1))]  # a resample of one class only has no AUC
    zero = {0.0: np.zeros(rises.shape[-1])}
    return zero | dict(zip(lams, np.nanmean(rises, axis=0), strict=True))


def _output_rise(one, other, positive, counts):
    """As `_rises`, of one output: scores (seeds, rows), whether a row is positive, counts (resamples, rows).

    AUC is the share of pairs of a positive and a negative that are in order. A resample weighs such a pair by how often
    it drew both; seeds average inside the pairs.
    """
    places = np.flatnonzero(positive)
    pairs = len(places) * (len(positive) - len(places))
    value = 0.0
    won = np.zeros(len(counts))
    for some in np.array_split(places, max(1, len(places) * len(positive) // BLOCK)):
        order = sum(in_order(a, some) - in_order(b, some) for a, b in zip(one, other, strict=True)) / len(one)
        order[:, positive] = 0
        value += order.sum(dtype=float) / pairs
        won += np.einsum("bp,bp->b", counts[:, some], counts @ order.T)
    drawn = counts[:, places].sum(1, dtype=float)
    mass = drawn * (counts.sum(1, dtype=float) - drawn)
    return np.append(value, np.divide(won, mass, out=np.full(len(counts), np.nan), where=mass > 0))


def in_order(scores: np.ndarray, some: np.ndarray) -> np.ndarray:
    """Whether the rows `some` score above each row: 1, 0, or half where they tie; (some, rows).

    Examples
    --------
    >>> in_order(np.array([0.0, 1.0, 1.0]), np.array([1]))
    array([[1. , 0.5, 0.5]], dtype=float32)
    """
    difference = scores[some][:, None] - scores
    return (np.sign(difference) / 2 + 0.5).astype(np.float32)


def _interval(name, one, other):
    """Difference of two rises, with its 95 % interval and two-sided p-value."""
    difference, *draws = one - other
    draws = np.array(draws)
    low, high = np.quantile(draws, [0.025, 0.975])
    fewer = min((draws <= 0).sum(), (draws >= 0).sum())
    p = min(1.0, 2 * (fewer + 1) / (draws.size + 1))
    return {name: difference, f"{name}_low": low, f"{name}_high": high, f"{name}_p": p}


def _verdict(row):
    if row.p_intermediate <= LEVEL:
        return VERDICTS[0]
    if row.p_closing <= LEVEL:
        return VERDICTS[1] if row.one_0 > 0 else VERDICTS[2]
    return VERDICTS[3]


def holm(p: np.ndarray) -> np.ndarray:
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


def sensitivity(table: pd.DataFrame, metric: str = "auc", draws: int = 999, seed: int = 0) -> pd.DataFrame:
    """How much lambda moves the test score: max - min of the mean curve, and what seeds alone would give.

    For the latter, each seed's curve without the means of seed and lambda is kept whole, because neighbouring lambdas
    err together, and weighted by a standard normal number. `by_chance` is the median of the range of the mean of
    these over the draws, `by_chance_95` its 95 % quantile; NaN with a single seed.

    Returns
    -------
    DataFrame
        dataset, encoder, treatment, training, fusion, hidden, range, by_chance, by_chance_95.
    """
    rng = np.random.default_rng(check_seed(seed))
    records = []
    rows = table[(table["metric"] == metric) & (table["split"] == "test")]
    for cell, group in rows.groupby(CELL, sort=False):
        scores = group.pivot(index=["set", "seed"], columns="lam", values="value").to_numpy()
        noise = scores - scores.mean(0) - scores.mean(1, keepdims=True) + scores.mean()
        noise *= np.sqrt(len(scores) / max(len(scores) - 1, 1))  # centring took a share of the variance
        if len(scores) < 2:  # no noise can be seen
            noise = np.full_like(noise, np.nan)
        chance = np.ptp(rng.normal(size=(draws, len(noise))) @ noise / len(noise), axis=1)
        records.append((*cell, np.ptp(scores.mean(0)), np.median(chance), np.quantile(chance, 0.95)))
    return pd.DataFrame(records, columns=[*CELL, "range", "by_chance", "by_chance_95"])


def compare(table: pd.DataFrame, by: str, value: str = "range", seed: int = 0) -> dict:
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
        by, one, other (the kinds), cells (of each), difference (one - other), low, high, told (in words). The interval
        is NaN where a kind has fewer than two cells; with one kind only the difference is NaN, and other is "".

    Raises
    ------
    ValueError
        If there is no such column, or there are more than two kinds, or none.

    Examples
    --------
    >>> table = pd.DataFrame({"kind": list("aabb"), "range": [3.0, 4.0, 1.0, 2.0]})
    >>> row = compare(table, "kind")
    >>> row["difference"], row["told"]
    (2.0, 'the interval excludes 0')
    """
    seed = check_seed(seed)
    for column in (by, value):
        if column not in table:
            raise ValueError(f"there is no column {column!r} to compare; there are {', '.join(map(str, table))}")
    groups = {kind: rows.to_numpy() for kind, rows in table.groupby(by)[value]}
    if len(groups) not in (1, 2):
        raise ValueError(f"{by!r} must have two kinds to compare, got {list(groups)}")
    if len(groups) == 1:
        groups |= {"": np.array([])}
    one, other = groups.values()
    difference = one.mean() - other.mean() if len(other) else np.nan
    low, high = _apart(one, other, seed)
    named = dict(zip(("by", "one", "other"), (by, *groups), strict=True))
    numbers = {"difference": float(difference), "low": float(low), "high": float(high)}
    return named | {"cells": (len(one), len(other))} | numbers | {"told": _told(other, low, high)}


def _apart(one, other, seed):
    """95 % interval of the difference of means; NaN where there are too few cells."""
    if min(len(one), len(other)) < 2:
        return np.nan, np.nan
    rng = np.random.default_rng(seed)
    return bootstrap((one, other), _means_apart, method="percentile", rng=rng).confidence_interval


def _means_apart(one, other, axis=-1):
    return one.mean(axis) - other.mean(axis)


def _told(other, low, high):
    if not len(other):
        return "one kind only: nothing to compare it with"
    if np.isnan(low):
        return "too few cells for an interval"
    return "the interval excludes 0" if low * high > 0 else "the interval includes 0"

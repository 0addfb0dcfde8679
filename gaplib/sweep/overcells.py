"""Over cells: how large an effect is on the whole, whether kinds of data differ in it, and what predicts it."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import comb
from scipy.stats import norm, permutation_test, spearmanr
from scipy.stats import t as student

from gaplib import cone
from gaplib.features import Features
from gaplib.gap import gap_vector
from gaplib.modulate import shifted_norms
from gaplib.sweep.checks import labelled
from gaplib.sweep.scores import auc, truths

LEAST = 3  # datasets of a kind, cells of a summary
LEVEL = 0.05
FACTORS = ("dataset", "encoder")  # whose effects the cells of one share
INTERVALS = ["low", "high", "predicted_low", "predicted_high"]


def summary(table: pd.DataFrame, value: str = "difference") -> dict[str, float]:
    """Random-effects summary of cells with known standard errors: mean, spread, and what to expect of a new cell.

    Each cell's effect is the mean plus an effect of its dataset, one of its encoder, one of its own, and its error; the
    three variances are estimated by restricted maximum likelihood. Cells of one dataset are no independent witnesses:
    the intervals are of Student's t with the degrees of freedom of the factor with the fewest levels, less one.

    Parameters
    ----------
    table : DataFrame
        One row a cell, as from `verdicts.contrasts`: dataset, encoder, the effect and its standard error, se.
    value : str
        Column of the effect.

    Returns
    -------
    dict
        cells; mean, se, low, high (95 %); tau, the standard deviation of true effects over cells, and its parts,
        tau_dataset and tau_encoder, where there are several, and tau_cell; predicted_low and predicted_high, 95 %, of
        the true effect in a new cell.

    Raises
    ------
    ValueError
        If there are fewer than three cells, or a value or standard error is missing or negative.

    References
    ----------
    Viechtbauer 2005 (REML); Higgins, Thompson & Spiegelhalter 2009 (prediction interval).

    Examples
    --------
    >>> cells = pd.DataFrame({"dataset": list("aabbcc"), "encoder": list("xyxyxy"), "se": 0.001})
    >>> found = summary(cells.assign(difference=[0.01, 0.012, 0.02, 0.021, 0.0, 0.001]))
    >>> round(found["mean"], 4), round(found["tau_dataset"], 4)
    (0.0107, 0.01)
    """
    if len(table) < LEAST or table[[value, "se"]].isna().any(axis=None) or (table["se"] < 0).any():
        raise ValueError(f"needed: {LEAST} cells or more, each with {value!r} and 'se'; got {len(table)} rows")
    unit = float(table[value].std() + table["se"].mean()) or 1.0  # so that the search has numbers near 1
    effects = table[value].to_numpy(float) / unit
    errors = table["se"].to_numpy(float) / unit
    factors = [name for name in FACTORS if table[name].nunique() > 1]
    shared = _shared(table, factors)
    taus = _taus(effects, errors, shared)
    precision = np.linalg.inv(_covariance(errors, shared, taus))
    mean = float(precision.sum(0) @ effects / precision.sum())
    error = float(precision.sum() ** -0.5)
    tau = float(np.linalg.norm(taus))
    df = min([len(effects), *(table[name].nunique() for name in factors)]) - 1
    reach = float(student.isf(LEVEL / 2, df))
    far = reach * np.hypot(tau, error)
    told = {"mean": mean, "se": error, "low": mean - reach * error, "high": mean + reach * error, "tau": tau}
    told |= {f"tau_{name}": float(part) for name, part in zip([*factors, "cell"], taus, strict=True)}
    told |= {"predicted_low": float(mean - far), "predicted_high": float(mean + far)}
    return {"cells": len(effects)} | {name: unit * number for name, number in told.items()}


def summaries(table: pd.DataFrame, by: list[str], value: str = "difference") -> pd.DataFrame:
    """`summary` of each group of cells, one row a group, in their order.

    Parameters
    ----------
    table : DataFrame
        One row a cell and group.
    by : list of str
        The columns that tell the groups apart.
    value : str
        As in `summary`.

    Returns
    -------
    DataFrame
        The columns of `by`; cells, mean, low, high, predicted_low, predicted_high. Of fewer than three cells the mean
        is the plain one, and all intervals are NaN.

    Raises
    ------
    ValueError
        As `summary`.

    Examples
    --------
    >>> cells = pd.DataFrame({"treatment": "shift", "dataset": list("ab"), "difference": [0.01, 0.03], "se": 0.001})
    >>> summaries(cells, ["treatment"])[["cells", "mean", "low"]].values.tolist()
    [[2.0, 0.02, nan]]
    """
    rows = []
    for group, part in table.groupby(by, sort=False):
        few = {"cells": len(part), "mean": part[value].mean()}
        found = summary(part, value) if len(part) >= LEAST else few
        rows.append(dict(zip(by, group, strict=True)) | found)
    return pd.DataFrame(rows).reindex(columns=[*by, "cells", "mean", *INTERVALS])


def _shared(table, factors):
    """For each factor, and for the cell itself, whether two cells share it: (factors + 1, cells, cells)."""
    codes = [pd.factorize(table[name])[0] for name in factors]
    codes.append(np.arange(len(table)))
    return np.array([np.equal.outer(code, code) for code in codes], float)


def _taus(effects, errors, shared):
    """Standard deviations of the random effects, by restricted maximum likelihood."""

    def deviance(taus):
        covariance = _covariance(errors, shared, taus)
        precision = np.linalg.inv(covariance)
        left = effects - precision.sum(0) @ effects / precision.sum()
        return np.linalg.slogdet(covariance)[1] + np.log(precision.sum()) + left @ precision @ left

    tries = []
    for size in (0.1, 0.5):  # the likelihood may have two hills
        start = np.full(len(shared), size)
        tries.append(minimize(deviance, start, bounds=[(0, 10)] * len(shared), method="L-BFGS-B"))
    return min(tries, key=lambda found: found.fun).x


def _covariance(errors, shared, taus):
    """Of the effects as seen, (cells, cells)."""
    known = np.diag(errors**2 + 1e-9)  # a cell without any error must not weigh infinitely
    return known + np.tensordot(taus**2, shared, axes=1)


def compare(table: pd.DataFrame, by: str, value: str = "squared", unit: str = "dataset") -> dict:
    """Difference between two kinds of data in the mean of `value`, by exact permutation over datasets.

    Cells of one dataset share rows and training sets, so datasets, each the mean of its cells, are what is exchanged.

    Parameters
    ----------
    table : DataFrame
        One row a cell, with a column `by` of two kinds, and `value`: of `verdicts.sensitivity`, say.
    by : str
        Such as "dataset_domain".
    value : str
    unit : str
        What belongs to one kind as a whole: "dataset", or "encoder" where encoders are of two kinds.

    Returns
    -------
    dict
        one, other (the kinds), units (how many of each), difference (one - other), p (two-sided; NaN with fewer
        than three a kind), smallest_p (that there could be with so many), told (in words).

    Raises
    ------
    ValueError
        If there is no such column, there are not two kinds, or a unit belongs to both.

    Examples
    --------
    >>> cells = pd.DataFrame({"kind": list("aaabbb"), "dataset": list("uvwxyz"), "squared": [4.0, 5, 6, 1, 2, 3]})
    >>> row = compare(cells, "kind")
    >>> row["difference"], row["told"]
    (3.0, 'p = 0.10 over 3 and 3 datasets, of which the smallest possible is 0.10')
    """
    for column in (by, value, unit):
        if column not in table:
            raise ValueError(f"there is no column {column!r} to compare; there are {', '.join(map(str, table))}")
    means = table.groupby([by, unit])[value].mean()
    kinds = means.index.unique(by)
    if len(kinds) != 2 or means.index.get_level_values(unit).duplicated().any():
        raise ValueError(f"{by!r} must have two kinds to compare, each {unit} of one; got {list(kinds)}")
    one, other = (means[kind].to_numpy() for kind in kinds)
    p, smallest = _exchanged(one, other)
    told = f"p = {p:.2f} over {len(one)} and {len(other)} {unit}s, of which the smallest possible is {smallest:.2f}"
    if np.isnan(p):
        told = f"not asked: {len(one)} and {len(other)} {unit}s, and a kind must be known by {LEAST} or more"
    row = {"one": kinds[0], "other": kinds[1], "units": (len(one), len(other))}
    return row | {"difference": float(one.mean() - other.mean()), "p": p, "smallest_p": smallest, "told": told}


def _exchanged(one, other):
    """Two-sided p-value of a difference of means over all ways to exchange, and the smallest there can be."""
    if min(len(one), len(other)) < LEAST:
        return np.nan, np.nan
    found = permutation_test((one, other), _means_apart, n_resamples=np.inf, vectorized=True)
    return float(found.pvalue), float(min(1, 2 / comb(len(one) + len(other), len(one))))


def _means_apart(one, other, axis=-1):
    return one.mean(axis) - other.mean(axis)


def predictors_of(features: Features, seeds: Sequence[int]) -> dict[str, str | float]:
    """What may predict how a cell reacts to lambda = 1, from the embeddings of its test rows.

    The gap is that of its train split.

    Parameters
    ----------
    features : features.Features
    seeds : sequence of int

    Returns
    -------
    dict
        dataset, encoder; n; centroid_distance; resultant_image and resultant_text (mean resultant length R);
        signal_image and signal_text, how far the AUC of x.gap alone lies from .5, mean over outputs; factor_mean and
        factor_variance of 1 / |x'| of both modalities, where |x'|^2 = 1 + 2 s x.gap + s^2 |gap|^2 and s is -1/2 for
        images, 1/2 for texts.

    Raises
    ------
    ValueError
        As `checks.labelled`.
    """
    pairs = labelled(features, seeds)
    test = pairs.test
    train = features.rows("train")
    truth = truths(pairs.y[test], pairs.task, pairs.outputs)
    gap = gap_vector(pairs.image[train], pairs.text[train])
    told = {"dataset": features.about.name, "encoder": features.encoder, "n": len(test)}
    told["centroid_distance"] = float(np.linalg.norm(gap))
    factors = []
    for name, x, step in (("image", pairs.image[test], -0.5), ("text", pairs.text[test], 0.5)):
        along = x @ gap
        of_outputs = auc(along[:, None], truth)
        told[f"resultant_{name}"] = cone.mean_resultant_length(x)
        told[f"signal_{name}"] = float(np.nanmean(np.abs(of_outputs - 0.5)))
        factors.append(1 / shifted_norms(x, np.array([step]), gap))
    return told | {"factor_mean": float(np.mean(factors)), "factor_variance": float(np.var(factors))}


def from_convergence(table: pd.DataFrame) -> pd.DataFrame:
    """How much AUC at lambda 0 the published training leaves on the table: dataset, encoder, from_convergence.

    Parameters
    ----------
    table : DataFrame
        From `verdicts.contrasts`, of one treatment and head under both trainings.

    Examples
    --------
    >>> cells = pd.DataFrame({"dataset": "a", "encoder": "b", "training": ["published", "converged"]})
    >>> from_convergence(cells.assign(auc_0=[0.75, 1.0]))["from_convergence"].tolist()
    [0.25]
    """
    auc_0 = table.pivot(index=["dataset", "encoder"], columns="training", values="auc_0")
    return (auc_0["converged"] - auc_0["published"]).rename("from_convergence").reset_index()


def rank_correlations(table: pd.DataFrame, effect: str, names: Sequence[str]) -> pd.DataFrame:
    """Rank correlation of an effect with each of its possible predictors, over cells.

    The interval takes cells as independent, which those of one dataset are not; what is left of the correlation when
    any one dataset is taken out says how much that matters.

    Parameters
    ----------
    table : DataFrame
        One row a cell.
    effect : str
    names : sequence of str
        Columns that may predict it.

    Returns
    -------
    DataFrame
        predictor, cells, rho, low and high (95 %; NaN with three cells or fewer), lowest_without_one and
        highest_without_one.

    References
    ----------
    Bonett & Wright 2000 (interval).

    Examples
    --------
    >>> cells = pd.DataFrame({"dataset": list("aabbc"), "gap": [1, 2, 3, 4, 5], "effect": [1, 2, 3, 5, 4]})
    >>> rank_correlations(cells, "effect", ["gap"])[["rho", "lowest_without_one"]].round(2).to_numpy().tolist()
    [[0.9, 0.5]]
    """
    rows = []
    for name in names:
        rho = spearmanr(table[name], table[effect]).statistic
        with np.errstate(divide="ignore"):
            reach = norm.isf(LEVEL / 2) * np.sqrt((1 + rho**2 / 2) / (len(table) - 3)) if len(table) > 3 else np.nan
            low, high = np.tanh(np.arctanh(rho) + np.array([-reach, reach]))
        kept = [table[table["dataset"] != one] for one in table["dataset"].unique()]
        without = [spearmanr(part[name], part[effect]).statistic for part in kept if len(part) > 2]
        ends = (np.min(without), np.max(without)) if without else (np.nan, np.nan)
        rows.append((name, len(table), rho, low, high, *ends))
    columns = ["predictor", "cells", "rho", "low", "high", "lowest_without_one", "highest_without_one"]
    return pd.DataFrame(rows, columns=columns)

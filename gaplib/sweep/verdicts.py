"""Does lambda matter? One verdict a cell, with its uncertainty, and what tells it from the controls."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from gaplib.rows import check_seed
from gaplib.sweep.scores import CELL
from gaplib.sweep.sweep import Sweep
from gaplib.sweep.uncertainty import Contrast, auc_pseudovalues, contrast

VERDICTS = ("better", "worse", "equivalent", "undecided")
CONTROLS = ("placebo", "rescale", "standardise")
LEVEL = 0.05
MARGIN = 0.005


def contrasts(sweeps: Sequence[Sweep], margin: float = MARGIN) -> pd.DataFrame:
    """What lambda = 1 does to the test AUC of each cell against lambda = 0, and a verdict: `judge` of `rises`."""
    return judge(rises(sweeps), margin)


def rises(sweeps: Sequence[Sweep]) -> pd.DataFrame:
    """AUC(1) - AUC(0) of each cell on test rows, with its uncertainty from test rows and training sets.

    Both sources count by whole groups (`uncertainty.contrast`). Each drawn training set has a seed of its own, so its
    source holds the seeds' scatter, too.

    Parameters
    ----------
    sweeps : sequence of sweep.Sweep
        Each with lambdas 0 and 1, and best with resampled training sets.

    Returns
    -------
    DataFrame
        One row a sweep: its cell; n_test, groups, resamples (training sets beside the given one); auc_0, auc_1,
        difference; se_rows, se_sets (NaN with fewer than two resamples), se, and df, the degrees of freedom.

    Raises
    ------
    ValueError
        If there is no sweep, something is none, a sweep lacks lambda 0 or 1, or a row has no group.
    """
    return pd.DataFrame([_row(sweep) for sweep in _checked(sweeps)])


def _row(sweep):
    """What is known of one sweep."""
    zero = _auc(sweep, 0.0)
    one = _auc(sweep, 1.0)
    rise = contrast(one - zero)
    return _cell(sweep) | {
        "n_test": len(sweep.truth),
        "groups": zero.shape[1],
        "resamples": len(zero) - 1,
        "auc_0": zero[0].mean(),
        "auc_1": one[0].mean(),
        "difference": rise.difference,
        "se_rows": rise.se_rows,
        "se_sets": rise.se_sets,
        "se": rise.se,
        "df": rise.df,
    }


def judge(table: pd.DataFrame, margin: float = MARGIN) -> pd.DataFrame:
    """Verdicts on rises.

    *better* or *worse*: the interval, Holm-adjusted over the cells of the same treatment, training and head, lies
    beyond 0. *equivalent*: neither of them, and the 90 % interval lies within the margin (two one-sided tests).
    *undecided*: none of these.

    Parameters
    ----------
    table : DataFrame
        From `rises`; of several calls, if all are one study.
    margin : float
        The largest difference of AUC that makes no difference.

    Returns
    -------
    DataFrame
        The table with low_90 and high_90; low and high, adjusted, and p and p_holm; detectable, the difference that the
        cell would have shown with 80 % power at the level of its family; margin; verdict.

    Raises
    ------
    ValueError
        If the margin is not positive.

    References
    ----------
    Holm 1979; Schuirmann 1987 (two one-sided tests).
    """
    if not margin > 0:
        raise ValueError(f"the margin must be above 0: the largest difference of AUC that does not count; got {margin}")
    table = table.reset_index(drop=True)
    seen = [Contrast(*row) for row in table[["difference", "se_rows", "se_sets", "df"]].itertuples(index=False)]
    table[["low_90", "high_90"]] = [rise.interval(2 * LEVEL) for rise in seen]
    table["p"] = [rise.p for rise in seen]
    stepped = _holm_by_family(table, table["p"])
    sizes = table.groupby(_family(table), sort=False)["p"].transform("size")
    levels = (LEVEL * table["p"] / stepped).fillna(LEVEL / sizes)  # beyond 0 at this level just where p_holm is small
    table["p_holm"] = stepped.clip(upper=1)
    table[["low", "high"]] = [rise.interval(level) for rise, level in zip(seen, levels, strict=True)]
    table["detectable"] = [rise.detectable(LEVEL / size) for rise, size in zip(seen, sizes, strict=True)]
    table["margin"] = margin
    table["verdict"] = [_verdict(row) for row in table.itertuples()]
    return table


def _verdict(row):
    if row.p_holm <= LEVEL:
        return "better" if row.difference > 0 else "worse"
    return "equivalent" if -row.margin < row.low_90 and row.high_90 < row.margin else "undecided"


def intermediate(sweeps: Sequence[Sweep]) -> pd.DataFrame:
    """Whether an intermediate lambda, chosen on validation data, is better than both ends.

    A gate comes first: AUC(chosen) against AUC(0), two-sided, Holm-adjusted over the cells of the same treatment,
    training and head. In the cells where it opens, AUC(chosen) > AUC(1), one-sided, Holm-adjusted over these. Each of
    the two steps errs in any cell with probability 5 % at most.

    Parameters
    ----------
    sweeps : sequence of sweep.Sweep
        As for `contrasts`, with lambdas between 0 and 1.

    Returns
    -------
    DataFrame
        One row a sweep: its cell; lam, as chosen; over_0 and over_1, differences of AUC; p_over_0, adjusted; p_over_1,
        adjusted, and NaN where the gate is shut; intermediate, the answer.

    Raises
    ------
    ValueError
        As `contrasts`.
    """
    rows = []
    for sweep in _checked(sweeps):
        lam = sweep.best
        chosen = _auc(sweep, lam)
        zero = contrast(chosen - _auc(sweep, 0.0))
        one = contrast(chosen - _auc(sweep, 1.0))
        told = {"lam": lam, "over_0": zero.difference, "over_1": one.difference}
        rows.append(_cell(sweep) | told | {"p_over_0": zero.p, "p_over_1": one.p_above(0.0)})
    table = pd.DataFrame(rows)
    table["p_over_0"] = _holm_by_family(table, table["p_over_0"]).clip(upper=1)
    opened = (table["p_over_0"] <= LEVEL) & (table["over_0"] > 0)
    table["p_over_1"] = _holm_by_family(table, table["p_over_1"].where(opened)).clip(upper=1)
    table["intermediate"] = table["p_over_1"] <= LEVEL
    return table


def leads(sweeps: Sequence[Sweep], margin: float = MARGIN) -> pd.DataFrame:
    """How far `shift` at 1 is ahead of each of `CONTROLS` at 1, on the same test rows and training sets.

    Parameters
    ----------
    sweeps : sequence of sweep.Sweep
        Of each cell the treatment "shift" and the controls.
    margin : float
        Difference of AUC.

    Returns
    -------
    DataFrame
        One row a cell: dataset, encoder, training, fusion, hidden; over_{control}, the difference of AUC, and
        se_{control}; p_ahead, one-sided against the margin: all controls must be beaten, so the largest of theirs.

    Raises
    ------
    ValueError
        As `contrasts`; if a cell lacks a treatment or has it twice, or two treatments have other test rows.
    """
    cells = {}
    for sweep in _checked(sweeps):
        cell = _cell(sweep)
        treatment = cell.pop("treatment")
        of_cell = cells.setdefault(tuple(cell.items()), {})
        if treatment in of_cell:
            raise ValueError(f"{cell}: treatment {treatment!r} is given twice")
        of_cell[treatment] = sweep
    return pd.DataFrame([dict(cell) | _ahead(dict(cell), by, margin) for cell, by in cells.items()])


def judge_leads(table: pd.DataFrame) -> pd.DataFrame:
    """Leads with p_holm, adjusted over the cells of the same training and head, and the answer: matters."""
    table = table.assign(p_holm=_holm_by_family(table, table["p_ahead"]).clip(upper=1))
    return table.assign(matters=table["p_holm"] <= LEVEL)


def _ahead(cell, by_treatment, margin):
    """How far `shift` is ahead of each control in a cell, and the p-value of all."""
    missing = {"shift", *CONTROLS} - set(by_treatment)
    if missing:
        raise ValueError(f"{cell}: no sweep of treatment {', '.join(sorted(missing))}; there are {list(by_treatment)}")
    shift = by_treatment["shift"]
    told = {}
    p = []
    for control in CONTROLS:
        other = by_treatment[control]
        if not np.array_equal(shift.truth, other.truth) or set(shift.sets) != set(other.sets):
            raise ValueError(f"{cell}: 'shift' and {control!r} were scored on other test rows or training sets")
        lead = contrast(_auc(shift, 1.0) - _auc(other, 1.0))
        told |= {f"over_{control}": lead.difference, f"se_{control}": lead.se}
        p.append(lead.p_above(margin))
    return told | {"p_ahead": max(p)}


def sensitivity(sweeps: Sequence[Sweep]) -> pd.DataFrame:
    """How strongly the test AUC reacts to lambda: its least-squares slope, and the squared slope less its noise.

    The range (max - min) of a curve and the size of a slope grow with noise; slope^2 - se^2 does not, and is right on
    average, so it may be negative where there is nothing but noise. Uncertainty as in `rises`.

    Returns
    -------
    DataFrame
        One row a sweep: its cell; resamples; slope, AUC per unit of lambda; se_rows, se_sets, se; low and high, 95 %;
        squared.

    Raises
    ------
    ValueError
        As `contrasts`.
    """
    rows = []
    for sweep in _checked(sweeps):
        away = np.array(sweep.lams) - np.mean(sweep.lams)
        curves = np.array([_auc(sweep, lam) for lam in sweep.lams])
        slope = contrast(np.tensordot(away / (away**2).sum(), curves, axes=1))
        low, high = slope.interval(LEVEL)
        told = {"resamples": len(np.unique(sweep.sets)) - 1, "slope": slope.difference, "low": low, "high": high}
        told |= {"se_rows": slope.se_rows, "se_sets": slope.se_sets, "se": slope.se}
        rows.append(_cell(sweep) | told | {"squared": slope.difference**2 - slope.se**2})
    return pd.DataFrame(rows)


def best_inside(sweeps: Sequence[Sweep], draws: int = 9999, seed: int = 0) -> pd.DataFrame:
    """Whether the test curve is highest between 0 and 1, and how often it would be if lambda did nothing.

    The latter is of flat curves with the noise of this one, which neighbouring lambdas share: normal, with the
    covariance over lambdas that test rows and training sets give. Curves of independent points would be highest inside
    in 9 of 11 draws.

    Returns
    -------
    DataFrame
        One row a sweep: its cell; lam, the best one from 0 to 1 on *test* rows; inside; by_chance, a share.

    Raises
    ------
    ValueError
        As `contrasts`.
    """
    rng = np.random.default_rng(check_seed(seed))
    rows = []
    for sweep in _checked(sweeps):
        lams = np.array([lam for lam in sweep.lams if 0 <= lam <= 1])
        curves = np.array([_auc(sweep, lam) for lam in lams])
        drawn = lams[_flat_curves(curves, draws, rng).argmax(1)]
        best = lams[curves[:, 0].mean(1).argmax()]
        by_chance = ((drawn > 0) & (drawn < 1)).mean()
        rows.append(_cell(sweep) | {"lam": best, "inside": 0 < best < 1, "by_chance": by_chance})
    return pd.DataFrame(rows)


def _flat_curves(curves, draws, rng):
    """Noise of curves (lambdas, training sets, groups) around no effect at all, (draws, lambdas)."""
    covariance = np.cov(curves[:, 0]) / curves.shape[2]
    if curves.shape[1] > 2:
        covariance = covariance + np.cov(curves[:, 1:].mean(2))
    return rng.multivariate_normal(np.zeros(len(curves)), covariance, size=draws, method="eigh")


def _checked(sweeps):
    if isinstance(sweeps, (Sweep, pd.DataFrame)) or not all(isinstance(sweep, Sweep) for sweep in sweeps):
        raise ValueError("a list of what sweep.sweep returns is needed, as it is: [run, another]; no tables")
    if not len(sweeps):
        raise ValueError("at least one sweep is needed")
    for sweep in sweeps:
        if not {0.0, 1.0} <= set(sweep.lams):
            raise ValueError(f"lambdas 0 and 1 are needed in every sweep, got {list(sweep.lams)}")
        if 0 not in sweep.sets:
            raise ValueError(
                f"{_cell(sweep)}: no run of training set 0, the training set itself; got sets {sweep.sets}"
            )
        groups = _groups(sweep)
        if len(groups) != len(sweep.truth) or (groups < 0).any():
            raise ValueError(
                f"{_cell(sweep)}: groups must name the patient, lesion or image of each of the {len(sweep.truth)} test "
                f"rows, and got {len(groups)}, {(groups < 0).sum()} of them empty"
            )
    return sweeps


def _groups(sweep):
    """Codes of the rows that are drawn together; -1 where there is none."""
    return pd.factorize(sweep.groups)[0]


def _cell(sweep):
    return sweep.table[CELL].iloc[0].to_dict()


def _auc(sweep, lam):
    """Pseudo-values of the test AUC at a lambda, mean over seeds: (training sets, groups), the given set first."""
    groups = _groups(sweep)
    of_runs = [auc_pseudovalues(scores, sweep.truth, groups) for scores in sweep.scores[:, sweep.lams.index(lam)]]
    return np.array([np.mean(np.array(of_runs)[sweep.sets == s], axis=0) for s in np.unique(sweep.sets)])


def _family(table):
    """The columns that cells of one family share."""
    return [name for name in ("treatment", "training", "fusion", "hidden") if name in table]


def _holm_by_family(table, p):
    """Holm's adjustment within each family, not cut at 1; missing p-values stay so and do not count."""
    return p.groupby([table[name] for name in _family(table)], sort=False).transform(holm)


def holm(p: pd.Series) -> pd.Series:
    """Holm's step-down adjustment, not cut at 1: compare the results with the level that any error may have.

    References
    ----------
    Holm 1979.

    Examples
    --------
    >>> holm(pd.Series([0.01, 0.04, 0.03])).tolist()
    [0.03, 0.06, 0.06]
    """
    ordered = p.sort_values()  # missing ones last
    left = ordered.count() - np.arange(len(ordered))
    return (ordered * left).cummax().reindex(p.index)

"""How far a test AUC may be off, from both sources: the test rows and the training set.

Test rows need no bootstrap: an AUC is a mean over pairs of rows, so what each group of rows adds to it is known. These
pseudo-values have the AUC as their mean and its variance as that of a mean, and a difference of AUCs is a difference of
arrays. With a row for each training set they are a two-way table, and each way is one source of uncertainty.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student


@dataclass(frozen=True)
class Contrast:
    """A difference, the standard error that each source gives it, and the degrees of freedom of both together.

    `se_sets` is NaN where fewer than two resampled training sets were seen: `se` then holds for the given one only.
    """

    difference: float
    se_rows: float
    se_sets: float
    df: float

    @property
    def se(self) -> float:
        """Standard error from both sources."""
        return float(np.hypot(self.se_rows, np.nan_to_num(self.se_sets)))

    @property
    def p(self) -> float:
        """Two-sided p-value against no difference."""
        return min(1.0, 2 * self._tail(abs(self.difference)))

    def p_above(self, bound: float) -> float:
        """One-sided p-value against a difference of at most `bound`."""
        return self._tail(self.difference - bound)

    def interval(self, level: float) -> tuple[float, float]:
        """Two-sided interval that misses the truth with probability `level`."""
        half = float(student.isf(level / 2, self.df)) * self.se
        return self.difference - half, self.difference + half

    def detectable(self, level: float, power: float = 0.8) -> float:
        """The smallest true difference that a two-sided test at `level` finds with probability `power`."""
        return float(student.isf(level / 2, self.df) + student.isf(1 - power, self.df)) * self.se

    def _tail(self, away):
        """Probability of being off by `away` or more; without any noise, as of a probe that is indifferent, 0 or 1."""
        return float(student.sf(away / self.se, self.df)) if self.se else float(away <= 0)


def contrast(pseudovalues: np.ndarray) -> Contrast:
    r"""The mean over test groups of the first row, the given training set, with its uncertainty from both sources.

    With P_sg the pseudo-value of test group g (of G) under training set s, and a bar for the mean over groups::

        variance = var_g(P_0g) / G  +  max(0, var_s(mean_g P_sg) - sum_g var_s(P_sg - mean_g P_sg) / (G (G - 1)))

    The first term is that of the test rows. The second, over resampled training sets (s > 0), is that of the training
    set: not divided by their number, for all are drawn from the one training set that there is, and less what the
    finite test set adds to their spread, which the first term holds already. Degrees of freedom are Satterthwaite's:
    with four resamples that give most of the variance, hardly more than three.

    Parameters
    ----------
    pseudovalues : ndarray of shape (training sets, groups)
        From `auc_pseudovalues`, or what is linear in them: a difference between lambdas, a slope. The first row is that
        of the training set itself, the others are those of resamples of its groups.

    Raises
    ------
    ValueError
        If there are fewer than two groups.

    References
    ----------
    DeLong et al. 1988; Obuchowski 1997 (groups); Efron & Tibshirani 1993 (resamples); Satterthwaite 1946.

    Examples
    --------
    >>> found = contrast(np.array([[0.01, 0.01], [0.03, 0.03], [0.02, 0.02]]))
    >>> round(found.difference, 3), round(found.se, 4), round(found.df, 1)
    (0.01, 0.0071, 1.0)
    """
    groups = pseudovalues.shape[1]
    if groups < 2:
        raise ValueError(f"two groups of test rows are needed to see how much they differ, got {groups}")
    given, *resamples = pseudovalues.mean(1).tolist()
    rows = float(pseudovalues[0].var(ddof=1)) / groups
    if len(resamples) < 2:
        return Contrast(given, rows**0.5, np.nan, groups - 1)
    centred = pseudovalues[1:] - pseudovalues[1:].mean(1, keepdims=True)
    both = float(centred.var(0, ddof=1).sum()) / (groups * (groups - 1))
    seen = float(np.var(resamples, ddof=1))
    training = max(0.0, seen - both)
    noise = rows**2 / (groups - 1) + seen**2 / (len(resamples) - 1)
    df = (rows + training) ** 2 / noise if noise else groups - 1
    return Contrast(given, rows**0.5, training**0.5, df)


def auc_pseudovalues(scores: np.ndarray, truth: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """One number a group of rows, with the AUC (mean over outputs) as their mean.

    It is the AUC plus the number of groups times their influence. A row's influence is the share of the rows of the
    other class with which it is in order (ties count half) less the AUC, over the number of rows of its own class.

    Parameters
    ----------
    scores : ndarray of shape (rows, outputs)
    truth : ndarray of bool of shape (rows, outputs)
    groups : ndarray of int of shape (rows,)
        Codes from 0 of what is drawn together: a patient's rows, say.

    Returns
    -------
    ndarray of shape (groups,)

    Raises
    ------
    ValueError
        If an output holds one class only.

    References
    ----------
    DeLong et al. 1988; Sun & Xu 2014 (from ranks); Obuchowski 1997 (groups).

    Examples
    --------
    >>> scores = np.array([[0.1], [0.4], [0.35], [0.8]])
    >>> truth = np.array([[False], [False], [True], [True]])
    >>> auc_pseudovalues(scores, truth, np.arange(4))
    array([1.25, 0.25, 0.25, 1.25])
    """
    if (truth.all(0) | ~truth.any(0)).any():
        raise ValueError("an output holds one class only, so it has no AUC: leave it out")
    aucs = np.empty(truth.shape[1])
    influence = np.zeros(len(truth))
    for output, positive in enumerate(truth.T):
        share = _in_order(scores[:, output], positive)
        aucs[output] = share[positive].mean()
        influence += (share - aucs[output]) / np.where(positive, positive.sum(), (~positive).sum())
    of_groups = np.bincount(groups, influence / len(aucs))
    return aucs.mean() + len(of_groups) * of_groups


def _in_order(scores, positive):
    """Of each row the share of rows of the other class with which it is in order; ties count half."""
    share = np.empty(len(scores))
    share[positive] = _below(scores[positive], np.sort(scores[~positive]))
    share[~positive] = 1 - _below(scores[~positive], np.sort(scores[positive]))
    return share


def _below(values, ordered):
    """Of each value the share of ordered ones below it; those equal to it count half."""
    return (np.searchsorted(ordered, values) + np.searchsorted(ordered, values, "right")) / (2 * len(ordered))

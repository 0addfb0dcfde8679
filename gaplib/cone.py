"""How narrow the cone of one modality is: rows of unit norm in, a number out.

Every measure refuses, with a ValueError that says which row: an array that is not of shape (n, d) and floating type,
too few rows, rows that are not finite, rows that are not of unit norm.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from gaplib import rows
from gaplib.isotropy import effective_rank, iso_score, participation_ratio, uniformity

__all__ = [
    "cone_angle",
    "effective_rank",
    "iso_score",
    "mean_cosine",
    "mean_resultant_length",
    "participation_ratio",
    "spherical_variance",
    "summary",
    "uniformity",
    "vmf_kappa",
]


def __dir__():  # what tab completion shows
    return __all__


def mean_cosine(x):
    """Mean cosine between two different rows, mean over i != j of x_i . x_j = (|sum x|^2 - n) / (n (n - 1)).

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Unit-norm rows, n >= 2.

    Returns
    -------
    float
        In [-1 / (n - 1), 1]; near 0 for isotropic rows, 1 when all rows are the same.

    Raises
    ------
    ValueError
        If there are fewer than two rows, or a row is not finite or not of unit norm.

    References
    ----------
    Ethayarajh 2019; Liang et al. 2022.

    Examples
    --------
    >>> round(mean_cosine(np.array([[1.0, 0.0], [0.6, 0.8]])), 6)
    0.6
    """
    x = rows.check(x, "x", least=2)
    mean, variance = rows.moments(x, "x")
    return float(mean @ mean - variance / (len(x) - 1))


def mean_resultant_length(x):
    """Length of the mean row, R = |mean x|: the source paper's cone strength.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Unit-norm rows.

    Returns
    -------
    float
        0 for rows that cancel, 1 when all rows are the same.

    Raises
    ------
    ValueError
        If x is empty, or a row is not finite or not of unit norm.

    References
    ----------
    Mardia & Jupp 2000; arXiv 2603.17246.

    Examples
    --------
    >>> mean_resultant_length(np.eye(2))
    0.7071...
    """
    return float(np.linalg.norm(rows.moments(rows.check(x, "x"), "x").mean))


def spherical_variance(x):
    """One minus the mean resultant length, 1 - R; exact in tight cones, where R is near 1.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Unit-norm rows.

    Returns
    -------
    float
        0 when all rows are the same, 1 for rows that cancel.

    Raises
    ------
    ValueError
        As `mean_resultant_length`.

    References
    ----------
    Mardia & Jupp 2000.

    Examples
    --------
    >>> spherical_variance(np.eye(2))
    0.2928...
    """
    mean, variance = rows.moments(rows.check(x, "x"), "x")
    return variance / (1 + float(np.linalg.norm(mean)))  # 1 - R^2 is the variance of unit rows


def vmf_kappa(x):
    """Concentration of a von Mises-Fisher distribution fitted to the rows, R (d - R^2) / (1 - R^2).

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Unit-norm rows.

    Returns
    -------
    float
        0 for rows that cancel; large for tight cones.

    Raises
    ------
    ValueError
        As `mean_resultant_length`, and if all rows are the same, where kappa has no bound.

    References
    ----------
    Banerjee et al. 2005.

    Examples
    --------
    >>> round(vmf_kappa(np.eye(2)), 4)  # R^2 = 1/2, d = 2
    2.1213
    """
    x = rows.check(x, "x")
    mean, variance = rows.moments(x, "x")
    r = float(np.linalg.norm(mean))
    if variance <= rows.nothing(x):
        raise ValueError("x: all rows are the same, so kappa has no bound")
    return r * (x.shape[1] - r**2) / variance


class ConeAngle(NamedTuple):
    """Angles to the mean direction, in degrees: their mean, and the angle that holds 95 % of the rows."""

    mean: float
    q95: float


def cone_angle(x):
    """Angles between the rows and their mean direction, in two passes.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Unit-norm rows.

    Returns
    -------
    ConeAngle
        `mean` and `q95`, in degrees.

    Raises
    ------
    ValueError
        As `mean_resultant_length`, and if the rows cancel, so that there is no mean direction.

    Examples
    --------
    >>> round(cone_angle(np.eye(2)).mean, 6)
    45.0
    """
    x = rows.check(x, "x")
    mean = rows.moments(x, "x").mean
    length = np.linalg.norm(mean)
    if length < 1e-12:
        raise ValueError("x: the rows cancel, so they have no mean direction")
    # The chord keeps its precision in tight cones, where the arc cosine of a number near 1 loses it.
    chord = np.concatenate([np.linalg.norm(block - mean / length, axis=1) for block in rows.blocks(x, "x")])
    angles = np.degrees(2 * np.arcsin(np.clip(chord / 2, 0, 1)))
    return ConeAngle(float(angles.mean()), float(np.quantile(angles, 0.95)))


def summary(x):
    """Every measure of the cone, by name; angles as `cone_angle_mean` and `cone_angle_q95`.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Unit-norm rows, n >= 2, not all the same.

    Returns
    -------
    pandas.Series

    Raises
    ------
    ValueError
        As the measures.

    Examples
    --------
    >>> round(float(summary(np.eye(3))["effective_rank"]), 6)
    2.0
    """
    measures = (mean_cosine, mean_resultant_length, spherical_variance, vmf_kappa, effective_rank)
    values = {f.__name__: f(x) for f in (*measures, participation_ratio, iso_score, uniformity)}
    return pd.Series(values | {f"cone_angle_{k}": v for k, v in cone_angle(x)._asdict().items()})

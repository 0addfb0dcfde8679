"""The measures of one modality, how narrow its cone is and how evenly it fills it: rows of unit norm in, a number out.

Every measure refuses, with a ValueError that says which row: an array that is not of shape (n, d) and floating type,
too few rows, rows that are not finite, rows that are not of unit norm.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from gaplib import rows

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


def mean_cosine(x: ArrayLike) -> float:
    """Mean cosine between two different rows (Ethayarajh 2019; Liang et al. 2022).

    It is the mean over i != j of x_i . x_j = (|sum x|^2 - n) / (n (n - 1)).

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

    Examples
    --------
    >>> round(mean_cosine(np.array([[1.0, 0.0], [0.6, 0.8]])), 6)
    0.6
    """
    x = rows.check(x, "x", least=2)
    mean, variance = rows.moments(x, "x")
    return float(mean @ mean - variance / (len(x) - 1))


def mean_resultant_length(x: ArrayLike) -> float:
    """Length of the mean row, R = |mean x|: the source paper's cone strength (Mardia & Jupp 2000; arXiv 2603.17246).

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

    Examples
    --------
    >>> mean_resultant_length(np.eye(2))
    0.7071...
    """
    return float(np.linalg.norm(rows.moments(rows.check(x, "x"), "x").mean))


def spherical_variance(x: ArrayLike) -> float:
    """One minus the mean resultant length, 1 - R; exact in tight cones, where R is near 1 (Mardia & Jupp 2000).

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Unit-norm rows.

    Returns
    -------
    float
        0 when all rows are the same, 1 for rows that cancel.

    Examples
    --------
    >>> spherical_variance(np.eye(2))
    0.2928...
    """
    mean, variance = rows.moments(rows.check(x, "x"), "x")
    return variance / (1 + float(np.linalg.norm(mean)))  # 1 - R^2 is the variance of unit rows


def vmf_kappa(x: ArrayLike) -> float:
    """Concentration of the von Mises-Fisher distribution of the rows, R (d - R^2) / (1 - R^2) (Banerjee et al. 2005).

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


def cone_angle(x: ArrayLike) -> ConeAngle:
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
    direction = (mean / length).astype(rows.precision(x))
    # The chord keeps its precision in tight cones, where the arc cosine of a number near 1 loses it.
    squared_chords = np.concatenate([rows.squares(piece - direction) for piece in rows.pieces(x)]).astype(float)
    angles = np.degrees(2 * np.arcsin(np.minimum(np.sqrt(squared_chords) / 2, 1)))
    return ConeAngle(float(angles.mean()), float(np.quantile(angles, 0.95)))


def effective_rank(x: ArrayLike) -> float:
    """Exponential of the entropy of the L1-normalised singular values of the centred rows (Roy & Vetterli 2007).

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Unit-norm rows, n >= 2.

    Returns
    -------
    float
        From 1, a line, to min(n - 1, d), all directions alike.

    Raises
    ------
    ValueError
        As `mean_cosine`, and if all rows are the same.

    Examples
    --------
    >>> round(effective_rank(np.eye(3)), 6)  # three points span a plane
    2.0
    """
    p = np.sqrt(_spectrum(x))
    p = p[p > 0] / p.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


def participation_ratio(x: ArrayLike) -> float:
    """Effective number of directions, (sum e)^2 / sum e^2 of the covariance eigenvalues e.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Unit-norm rows, n >= 2.

    Returns
    -------
    float
        From 1, a line, to d, all directions alike.

    Examples
    --------
    >>> round(participation_ratio(np.eye(3)), 6)
    2.0
    """
    e = _spectrum(x)
    return float(e.sum() ** 2 / (e**2).sum())


def iso_score(x: ArrayLike) -> float:
    """How evenly the principal components share the variance: IsoScore (Rudman et al. 2022).

    With w the d variances along the principal components, w^ = sqrt(d) w / |w| and
    delta = |w^ - 1| / sqrt(2 (d - sqrt d)), it is ((d - delta^2 (d - sqrt d))^2 - d) / (d (d - 1)).

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Unit-norm rows, n >= 2, d >= 2.

    Returns
    -------
    float
        (k - 1) / (d - 1) when k of d directions share the variance evenly: 0 for a line, 1 for all directions alike.

    Raises
    ------
    ValueError
        As `effective_rank`, and if d is 1.

    Examples
    --------
    >>> round(iso_score(np.eye(3)), 6)  # k = 2 of d = 3
    0.5
    """
    w = _spectrum(x)
    d = len(w)
    if d < 2:
        raise ValueError("x: the IsoScore needs rows of at least two dimensions, got 1")
    delta2 = ((np.sqrt(d) * w / np.linalg.norm(w) - 1) ** 2).sum() / (2 * (d - np.sqrt(d)))
    return float(((d - delta2 * (d - np.sqrt(d))) ** 2 - d) / (d * (d - 1)))


def _spectrum(x):
    """Eigenvalues of the covariance, scaled to a largest of 1; those that are rounding errors are 0."""
    x = rows.check(x, "x", least=2)
    e = np.linalg.eigvalsh(rows.covariance(x, "x")[1])
    if e[-1] <= rows.nothing(x):
        raise ValueError("x: all rows are the same, so they spread in no direction")
    e = e / e[-1]
    return np.where(e > np.finfo(rows.precision(x)).eps, e, 0)


def uniformity(x: ArrayLike, sample: int | None = rows.SAMPLE, seed: int = 0) -> float:
    """Logarithm of the mean over i != j of exp(-2 |x_i - x_j|^2) (Wang & Isola 2020).

    Compares all rows with all rows, so it takes a seeded sample of at most `sample` rows; None takes all of them.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Unit-norm rows, n >= 2.
    sample : int or None
    seed : int

    Returns
    -------
    float
        In [-8, 0]; 0 when all rows are the same, near -4 for uniform rows in many dimensions.

    Examples
    --------
    >>> round(uniformity(np.eye(3)), 6)
    -4.0
    """
    x = rows.sample(rows.scan(rows.check(x, "x", least=2), "x"), sample, seed)
    y = (x - x.mean(0, dtype=float)).astype(float)  # about the mean, distances stay exact in tight cones
    n = len(y)
    square = rows.squares(y)
    total = 0.0
    for start in range(0, n, 1024):
        here = np.arange(start, min(start + 1024, n))
        distance = np.maximum(square[here, None] + square - 2 * y[here] @ y.T, 0)
        distance[np.arange(len(here)), here] = 0
        total += float(np.expm1(-2 * distance).sum())
    return float(np.log1p(total / (n * (n - 1))))


MEASURES = (
    mean_cosine,
    mean_resultant_length,
    spherical_variance,
    vmf_kappa,
    effective_rank,
    participation_ratio,
    iso_score,
    uniformity,
)


def summary(x: ArrayLike) -> pd.Series:
    """Every measure of the cone, by name; angles as `cone_angle_mean` and `cone_angle_q95`.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Unit-norm rows, n >= 2, not all the same.

    Returns
    -------
    pandas.Series

    Examples
    --------
    >>> round(float(summary(np.eye(3))["effective_rank"]), 6)
    2.0
    """
    values = {measure.__name__: measure(x) for measure in MEASURES}
    mean, q95 = cone_angle(x)
    return pd.Series(values | {"cone_angle_mean": mean, "cone_angle_q95": q95})

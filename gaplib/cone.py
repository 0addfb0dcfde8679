"""The measures of one modality, how narrow its cone is and how evenly it fills it: rows of unit norm in, a number out.

In every measure, `x` holds n rows of unit norm, shape (n, d), as an array, a torch tensor or a table of floating type.
A ValueError says which row is not finite or not of unit norm, or that there are fewer rows than the measure needs:
one, or two where it compares different rows. Rows are read in blocks, so n may reach a million.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from gaplib import rows

CHUNK = 64  # MiB of distances that are compared at a time

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
    r"""Mean cosine between two different rows (Ethayarajh 2019; Liang et al. 2022).

    .. math:: \frac{1}{n (n - 1)} \sum_{i \ne j} x_i \cdot x_j = \frac{\left| \sum_i x_i \right|^2 - n}{n (n - 1)}

    From -1 / (n - 1) to 1: near 0 for isotropic rows, 1 when all rows are the same.

    Examples
    --------
    >>> round(mean_cosine(np.array([[1.0, 0.0], [0.6, 0.8]])), 6)
    0.6
    """
    x = rows.check(x, "x", least=2)
    mean, variance = rows.moments(x, "x")
    return float(mean @ mean - variance / (len(x) - 1))


def mean_resultant_length(x: ArrayLike) -> float:
    r"""Length of the mean row: the source paper's cone strength (Mardia & Jupp 2000; arXiv 2603.17246).

    .. math:: R = \left| \frac{1}{n} \sum_i x_i \right|

    From 0, for rows that cancel, to 1, when all rows are the same.

    Examples
    --------
    >>> mean_resultant_length(np.eye(2))
    0.7071...
    """
    return float(np.linalg.norm(rows.moments(rows.check(x, "x"), "x").mean))


def spherical_variance(x: ArrayLike) -> float:
    """One minus the mean resultant length; exact in tight cones, where that is near 1 (Mardia & Jupp 2000).

    .. math:: 1 - R

    From 0, when all rows are the same, to 1, for rows that cancel.

    Examples
    --------
    >>> spherical_variance(np.eye(2))
    0.2928...
    """
    mean, variance = rows.moments(rows.check(x, "x"), "x")
    return variance / (1 + float(np.linalg.norm(mean)))  # 1 - R^2 is the variance of unit rows


def vmf_kappa(x: ArrayLike) -> float:
    r"""Concentration of the von Mises-Fisher distribution of the rows (Banerjee et al. 2005).

    .. math:: \hat{\kappa} = \frac{R (d - R^2)}{1 - R^2}

    From 0, for rows that cancel, upwards: large for tight cones, and refused when all rows are the same, where it has
    no bound.

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
    r"""Angles between the rows and their mean direction, in degrees; refused when the rows cancel and have none.

    .. math:: \theta_i = \arccos \frac{x_i \cdot m}{|m|}, \quad m = \frac{1}{n} \sum_j x_j

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
    r"""Exponential of the entropy of the L1-normalised singular values of the centred rows (Roy & Vetterli 2007).

    .. math:: \exp \left( - \sum_k p_k \log p_k \right), \quad p_k = \frac{\sigma_k}{\sum_j \sigma_j}

    From 1, a line, to min(n - 1, d), all directions alike; refused when all rows are the same.

    Examples
    --------
    >>> round(effective_rank(np.eye(3)), 6)  # three points span a plane
    2.0
    """
    p = np.sqrt(_spectrum(x))
    p = p[p > 0] / p.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


def participation_ratio(x: ArrayLike) -> float:
    r"""Effective number of directions, of the eigenvalues e of the covariance.

    .. math:: \frac{(\sum_k e_k)^2}{\sum_k e_k^2}

    From 1, a line, to d, all directions alike; refused when all rows are the same.

    Examples
    --------
    >>> round(participation_ratio(np.eye(3)), 6)
    2.0
    """
    e = _spectrum(x)
    return float(e.sum() ** 2 / (e**2).sum())


def iso_score(x: ArrayLike) -> float:
    r"""How evenly the principal components share the variance: IsoScore (Rudman et al. 2022).

    .. math:: \frac{(d - \delta^2 (d - \sqrt{d}))^2 - d}{d (d - 1)}

    .. math:: \delta = \frac{|\hat{w} - 1|}{\sqrt{2 (d - \sqrt{d})}}, \quad \hat{w} = \frac{\sqrt{d} \, w}{|w|}

    Here w are the d variances along the principal components. The score is (k - 1) / (d - 1) when k of d directions
    share the variance evenly, so 0 for a line and 1 for all directions alike. Refused when all rows are the same, or d
    is 1.

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
    r"""How evenly the rows cover the sphere, from all their distances (Wang & Isola 2020).

    .. math:: \log \frac{1}{n (n - 1)} \sum_{i \ne j} \exp \left( -2 |x_i - x_j|^2 \right)

    From -8 to 0: 0 when all rows are the same, near -4 for uniform rows in many dimensions. Compares all rows with all
    rows, in chunks, so it takes a seeded sample of at most `sample` rows; None takes all of them.

    Examples
    --------
    >>> round(uniformity(np.eye(3)), 6)
    -4.0
    """
    from sklearn.metrics import pairwise_distances_chunked  # takes a second to import

    x = rows.sample(rows.scan(rows.check(x, "x", least=2), "x"), sample, seed)
    y = (x - x.mean(0, dtype=float)).astype(float)  # about the mean, distances stay exact in tight cones
    chunks = pairwise_distances_chunked(y, metric="euclidean", squared=True, working_memory=CHUNK)
    total = sum(float(np.expm1(-2 * squared).sum()) for squared in chunks)  # expm1(0) = 0: i = j adds nothing
    return float(np.log1p(total / (len(y) * (len(y) - 1))))


# What a summary holds, besides `cone_angle`, which gives two numbers.
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

    Examples
    --------
    >>> round(float(summary(np.eye(3))["effective_rank"]), 6)
    2.0
    """
    values = {measure.__name__: measure(x) for measure in MEASURES}
    mean, q95 = cone_angle(x)
    return pd.Series(values | {"cone_angle_mean": mean, "cone_angle_q95": q95})

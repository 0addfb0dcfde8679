"""How narrow the cone of one modality is: rows of unit norm in, a number out."""

from typing import NamedTuple

import numpy as np

from gaplib import rows


def mean_cosine(x):
    """Mean cosine between two different rows, (|sum x|^2 - n) / (n (n - 1)).

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
        If there are fewer than two rows, or a row is not finite or is zero.

    References
    ----------
    Ethayarajh 2019; Liang et al. 2022.

    Examples
    --------
    >>> mean_cosine(np.eye(3))
    0.0
    """
    x = rows.check(x, "x", least=2)
    total, n = x.sum(0, dtype=float), len(x)
    return float((total @ total - n) / (n * (n - 1)))


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
        If x is empty, or a row is not finite or is zero.

    References
    ----------
    Mardia & Jupp 2000; arXiv 2603.17246.

    Examples
    --------
    >>> mean_resultant_length(np.eye(2))
    0.7071...
    """
    return float(np.linalg.norm(rows.check(x, "x").mean(0, dtype=float)))


class ConeAngle(NamedTuple):
    """Angles to the mean direction, in degrees: their mean, and the angle that holds 95 % of the rows."""

    mean: float
    q95: float


def cone_angle(x):
    """Angles between the rows and their mean direction.

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
        If x is empty, a row is not finite or is zero, or the rows cancel, so that there is no mean direction.

    Examples
    --------
    >>> round(cone_angle(np.eye(2)).mean, 6)
    45.0
    """
    x = rows.check(x, "x")
    mean = x.mean(0, dtype=float)
    length = np.linalg.norm(mean)
    if length < 1e-12:
        raise ValueError("x: the rows cancel, so they have no mean direction")
    # The chord keeps its precision in tight cones, where the arc cosine of a number near 1 loses it.
    chord = np.linalg.norm(x - mean / length, axis=1)
    angles = np.degrees(2 * np.arcsin(np.clip(chord / 2, 0, 1)))
    return ConeAngle(float(angles.mean()), float(np.quantile(angles, 0.95)))

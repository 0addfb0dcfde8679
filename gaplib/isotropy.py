"""How evenly the rows of one modality fill their directions: the measures of `cone` that look beyond the mean row."""

import numpy as np

from gaplib import rows


def effective_rank(x):
    """Exponential of the entropy of the L1-normalised singular values of the centred rows.

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
        As `cone.mean_cosine`, and if all rows are the same.

    References
    ----------
    Roy & Vetterli 2007.

    Examples
    --------
    >>> round(effective_rank(np.eye(3)), 6)  # three points span a plane
    2.0
    """
    p = np.sqrt(_spectrum(x))
    p = p[p > 0] / p.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


def participation_ratio(x):
    """Effective number of directions, (sum e)^2 / sum e^2 of the covariance eigenvalues e.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Unit-norm rows, n >= 2.

    Returns
    -------
    float
        From 1, a line, to d, all directions alike.

    Raises
    ------
    ValueError
        As `effective_rank`.

    Examples
    --------
    >>> round(participation_ratio(np.eye(3)), 6)
    2.0
    """
    e = _spectrum(x)
    return float(e.sum() ** 2 / (e**2).sum())


def iso_score(x):
    """How evenly the principal components share the variance: IsoScore.

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

    References
    ----------
    Rudman et al. 2022.

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
    return np.where(e > np.finfo(np.result_type(x, np.float32)).eps, e, 0)


def uniformity(x, sample=rows.SAMPLE, seed=0):
    """Logarithm of the mean over i != j of exp(-2 |x_i - x_j|^2).

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

    Raises
    ------
    ValueError
        As `cone.mean_cosine`.

    References
    ----------
    Wang & Isola 2020.

    Examples
    --------
    >>> round(uniformity(np.eye(3)), 6)
    -4.0
    """
    x = rows.sample(rows.scan(rows.check(x, "x", least=2), "x"), sample, seed)
    y = (x - x.mean(0, dtype=float)).astype(float)  # about the mean, distances stay exact in tight cones
    square, n, total = np.einsum("ij,ij->i", y, y), len(y), 0.0
    for start in range(0, n, 1024):
        part = y[start : start + 1024]
        distance = np.maximum(square[start : start + 1024, None] + square - 2 * part @ y.T, 0)
        distance[np.arange(len(part)), np.arange(start, start + len(part))] = 0
        total += float(np.expm1(-2 * distance).sum())
    return float(np.log1p(total / (n * (n - 1))))

"""Moving the image cloud and the text cloud along the line between their centroids."""

import numbers

import numpy as np

from gaplib import gap as measures
from gaplib import rows


def shift(image, text, lam, gap=None):
    """The lambda shift: both clouds moved towards each other, then put back on the unit sphere.

    text'  = normalise(text  + (lam / 2) gap)
    image' = normalise(image - (lam / 2) gap),   gap = mean(image) - mean(text)

    lam = 0 leaves the rows as encoded; at lam = 1 the centroids coincide *before* renormalising, so the centroid
    distance after it is small but need not be 0; lam < 0 widens the gap and lam > 1 overshoots. This is not the delta
    of Liang et al. 2022, which counts in units of the unit gap direction, nor mean-centring.

    Parameters
    ----------
    image, text : ndarray of shape (n, d)
        Unit-norm rows; the row counts may differ.
    lam : float
        Any finite number.
    gap : ndarray of shape (d,), optional
        The gap vector to move along, fitted on other (training) rows; by default that of these rows.

    Returns
    -------
    (ndarray, ndarray)
        The moved `image` and `text`, unit norm.

    Raises
    ------
    ValueError
        If the widths differ, a row is not finite or is zero, lam or gap is not finite, gap has another width, or a
        row is moved to the origin.

    References
    ----------
    arXiv 2603.17246.

    Examples
    --------
    >>> image, text = shift(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]), lam=1.0)
    >>> np.allclose(image, text)
    True
    """
    image, text = rows.check_two(image, text)
    lam, gap = check_lambda(lam), check_gap(gap, image, text)
    return _move(image, -lam / 2 * gap, "image"), _move(text, lam / 2 * gap, "text")


def check_lambda(lam):
    """`lam` as a float, or a ValueError when it is not a finite number."""
    if isinstance(lam, bool) or not isinstance(lam, numbers.Real) or not np.isfinite(lam):
        raise ValueError(f"lambda must be a finite number, got {lam!r}")
    return float(lam)


def check_gap(gap, image, text):
    """`gap` as a finite vector as wide as the rows; that of `image` and `text` when it is None."""
    if gap is None:
        return measures.gap_vector(image, text)
    gap = np.asarray(gap, float)
    if gap.shape != (image.shape[1],) or not np.isfinite(gap).all():
        raise ValueError(f"gap must be a finite vector of length {image.shape[1]}, got shape {gap.shape}")
    return gap


def shifted_norms(x, steps, gap):
    """Norms that rows would have after `x + step * gap`, for many steps at once and without moving anything.

    |x'|^2 = 1 + 2 step x.gap + step^2 |gap|^2 for unit-norm x. With it, a linear score of a moved and renormalised
    row is (w.x + step w.gap) / |x'|: one matrix product serves every lambda.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Unit-norm rows.
    steps : ndarray of shape (m,)
        -lambda / 2 for images, +lambda / 2 for texts.
    gap : ndarray of shape (d,)

    Returns
    -------
    ndarray of shape (n, m)

    Examples
    --------
    >>> shifted_norms(np.eye(2), np.array([0.0, 1.0]), np.array([1.0, 0.0]))
    array([[1.        , 2.        ],
           [1.        , 1.41421356]])
    """
    along = (x @ gap)[:, None]
    return np.sqrt(np.maximum(1 + 2 * steps * along + steps**2 * (gap @ gap), 0))


def _move(x, by, name):
    moved = x + by.astype(x.dtype)
    norms = np.linalg.norm(moved, axis=1, keepdims=True)
    if (norms < 1e-12).any():
        raise ValueError(f"{name}: row {int(norms.argmin())} is moved to the origin and has no direction there")
    return moved / norms

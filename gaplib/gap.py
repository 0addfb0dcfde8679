"""How far apart the two modalities are: rows of unit norm in, a number out.

"Paired" measures need row i of `image` to belong to row i of `text`, and refuse unequal row counts; the others do not.
Every measure refuses, with a ValueError that says which row: arrays that are not of shape (n, d) and floating type,
unequal widths, too few rows, rows that are not finite, rows that are not of unit norm.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from gaplib import rows
from gaplib.overlap import frechet_distance, linear_separability, mmd, neighbour_mixing

__all__ = [
    "alignment",
    "centroid_distance",
    "frechet_distance",
    "gap_vector",
    "linear_separability",
    "mmd",
    "neighbour_mixing",
    "paired_cosine",
    "paired_distance",
    "recall_at_k",
    "relative_gap",
    "summary",
]


def __dir__():  # what tab completion shows
    return __all__


def gap_vector(image, text):
    """Displacement from the text centroid to the image centroid, mean(image) - mean(text).

    Parameters
    ----------
    image, text : ndarray of shape (n, d)
        Unit-norm rows; the row counts may differ.

    Returns
    -------
    ndarray of shape (d,)

    Raises
    ------
    ValueError
        If the widths differ, a row is not finite or not of unit norm, or an array is empty.

    References
    ----------
    Liang et al. 2022.

    Examples
    --------
    >>> gap_vector(np.eye(2)[:1], np.eye(2)[1:])
    array([ 1., -1.])
    """
    image, text = rows.check_two(image, text)
    return rows.moments(image, "image").mean - rows.moments(text, "text").mean


def centroid_distance(image, text):
    """Length of the gap vector, |mean(image) - mean(text)| (also called L2M).

    Parameters
    ----------
    image, text : ndarray of shape (n, d)
        Unit-norm rows; the row counts may differ.

    Returns
    -------
    float
        In [0, 2].

    Raises
    ------
    ValueError
        As `gap_vector`.

    References
    ----------
    Liang et al. 2022.

    Examples
    --------
    >>> centroid_distance(np.eye(2)[:1], np.eye(2)[1:])
    1.4142...
    """
    return float(np.linalg.norm(gap_vector(image, text)))


def paired_distance(image, text):
    """Mean distance inside the pairs, mean over i of |image_i - text_i| (also called L2I).

    Parameters
    ----------
    image, text : ndarray of shape (n, d)
        Unit-norm rows, paired.

    Returns
    -------
    float
        In [0, 2]; at least the centroid distance.

    Raises
    ------
    ValueError
        As `gap_vector`, and if the row counts differ.

    References
    ----------
    Schrodi et al. 2025.

    Examples
    --------
    >>> paired_distance(np.eye(2), np.eye(2)[::-1])
    1.4142...
    """
    return _over_pairs(image, text, lambda i, t: np.sqrt(_square(i - t)))


def paired_cosine(image, text):
    """Mean cosine of the pairs, mean over i of image_i . text_i.

    Parameters
    ----------
    image, text : ndarray of shape (n, d)
        Unit-norm rows, paired.

    Returns
    -------
    float
        In [-1, 1].

    Raises
    ------
    ValueError
        As `paired_distance`.

    References
    ----------
    Wang & Isola 2020.

    Examples
    --------
    >>> paired_cosine(np.eye(2), np.eye(2))
    1.0
    """
    return _over_pairs(image, text, lambda i, t: np.einsum("ij,ij->i", i, t))


def alignment(image, text):
    """Mean squared distance inside the pairs, mean over i of |image_i - text_i|^2 = 2 - 2 paired cosine.

    Parameters
    ----------
    image, text : ndarray of shape (n, d)
        Unit-norm rows, paired.

    Returns
    -------
    float
        In [0, 4]; small is aligned.

    Raises
    ------
    ValueError
        As `paired_distance`.

    References
    ----------
    Wang & Isola 2020.

    Examples
    --------
    >>> alignment(np.eye(2), np.eye(2)[::-1])
    2.0
    """
    return _over_pairs(image, text, lambda i, t: _square(i - t))


def _square(y):
    return np.einsum("ij,ij->i", y, y)


def _over_pairs(image, text, each):
    image, text = rows.check_pairs(image, text)
    blocks = zip(rows.blocks(image, "image"), rows.blocks(text, "text"), strict=True)
    return sum(float(each(i, t).sum(dtype=float)) for i, t in blocks) / len(image)


def relative_gap(image, text):
    """Relative modality gap, RMG = D / (D + (D_ii + D_tt) / 2), in two passes.

    With the distance d = (1 - cosine) / 2, D is the mean over the pairs, and D_ii and D_tt are the means over
    different rows inside a modality. Three formulas go by this name; this is the one of Schrodi et al.

    Parameters
    ----------
    image, text : ndarray of shape (n, d)
        Unit-norm rows, paired, n >= 2.

    Returns
    -------
    float
        0 when every pair coincides; 1 when each modality is one point and the points differ.

    Raises
    ------
    ValueError
        As `paired_distance`, and if there are fewer than two pairs, or all rows of both modalities are one point.

    References
    ----------
    Schrodi et al. 2025.

    Examples
    --------
    >>> round(relative_gap(np.eye(2), np.eye(2)[::-1]), 6)
    0.5
    """
    image, text = rows.check_pairs(image, text, least=2)
    # For unit rows 1 - cosine is half a squared distance, which keeps its precision in tight cones.
    between = alignment(image, text) / 4
    spread = rows.moments(image, "image").variance + rows.moments(text, "text").variance
    within = spread / 4 * len(image) / (len(image) - 1)
    if between + within <= rows.nothing(image):
        raise ValueError("image and text are all one point: the relative gap is 0 / 0")
    return between / (between + within)


# Cosines closer than this are equal: equal rows need not give equal sums in single precision.
TIE = 1e-6


class Recall(NamedTuple):
    """Share of queries whose own partner is among the k nearest."""

    image_to_text: float
    text_to_image: float


def recall_at_k(image, text, k):
    """Recall@k of pair retrieval by cosine, in both directions. Compares all rows with all rows, in chunks.

    Parameters
    ----------
    image, text : ndarray of shape (n, d)
        Unit-norm rows, paired.
    k : int
        1 <= k <= n.

    Returns
    -------
    Recall
        `image_to_text` and `text_to_image`; chance is k / n. Where others are as near as the partner, because a
        text occurs twice, say, it counts by its chance to be among the first k of them.

    Raises
    ------
    ValueError
        As `paired_distance`, and if k is not an integer between 1 and n.

    Examples
    --------
    >>> recall_at_k(np.eye(3), np.eye(3), 1)
    Recall(image_to_text=1.0, text_to_image=1.0)
    """
    image, text = rows.check_pairs(image, text)
    k = rows.check_k(k, len(image), "the number of pairs")
    image, text = rows.scan(image, "image"), rows.scan(text, "text")
    return Recall(_recall(image, text, k), _recall(text, image, k))


def _recall(query, gallery, k, chunk=1024):
    hits = 0.0
    for start in range(0, len(query), chunk):
        similarity = query[start : start + chunk] @ gallery.T
        own = similarity[np.arange(len(similarity)), np.arange(start, start + len(similarity))]
        nearer = (similarity > own[:, None] + TIE).sum(1)
        tied = (np.abs(similarity - own[:, None]) <= TIE).sum(1)
        hits += float(np.clip((k - nearer) / tied, 0, 1).sum())
    return hits / len(query)


def summary(image, text, k=None, by_lambda=None, gap=None):
    """Every measure of the gap, by name, as encoded or after lambda shifts.

    What compares all rows with all rows, recall included, takes a seeded sample of at most `rows.SAMPLE` pairs.

    Parameters
    ----------
    image, text : ndarray of shape (n, d)
        Unit-norm rows, paired, n >= 5.
    k : int, optional
        Of `recall_at_k` and `neighbour_mixing`; by default 10, or the number of pairs where there are fewer.
    by_lambda : sequence of float, optional
        Lambdas to shift by.
    gap : ndarray of shape (d,), optional
        What to shift along, as in `modulate.shift`.

    Returns
    -------
    pandas.Series, or pandas.DataFrame
        One value a measure; with `by_lambda` one row a lambda.

    Raises
    ------
    ValueError
        As the measures, and as `modulate.shift`.

    Examples
    --------
    >>> x = np.eye(8)
    >>> summary(x, x, k=1)[["paired_cosine", "recall_image_to_text"]].tolist()
    [1.0, 1.0]
    >>> summary(x, -x, k=1, by_lambda=[0, 1])["centroid_distance"].round(3).tolist()
    [0.707, 0.0]
    """
    if by_lambda is not None:
        from gaplib.modulate import shift

        table = {lam: summary(*shift(image, text, lam, gap), k) for lam in by_lambda}
        return pd.DataFrame(table.values(), index=pd.Index(table, name="lam"))
    measures = (centroid_distance, paired_distance, paired_cosine, alignment, relative_gap, linear_separability)
    image, text = rows.check_pairs(image, text, least=5)
    k = min(10, len(image)) if k is None else k
    values = {f.__name__: f(image, text) for f in (*measures, mmd, frechet_distance)}
    values["neighbour_mixing"] = neighbour_mixing(image, text, k)
    recall = recall_at_k(*(rows.sample(x, rows.SAMPLE) for x in (image, text)), k)
    return pd.Series(values | {f"recall_{way}": value for way, value in recall._asdict().items()})

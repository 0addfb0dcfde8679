"""How far apart the two modalities are: rows of unit norm in, a number out.

"Paired" measures need row i of `image` to belong to row i of `text`; the others do not.
"""

from typing import NamedTuple

import numpy as np

from gaplib import cone, rows


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
        If the widths differ, a row is not finite or is zero, or an array is empty.

    References
    ----------
    Liang et al. 2022.

    Examples
    --------
    >>> gap_vector(np.eye(2)[:1], np.eye(2)[1:])
    array([ 1., -1.])
    """
    image, text = rows.check_two(image, text)
    return image.mean(0, dtype=float) - text.mean(0, dtype=float)


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
        If the row counts or widths differ, a row is not finite or is zero, or an array is empty.

    References
    ----------
    Wang & Isola 2020.

    Examples
    --------
    >>> paired_cosine(np.eye(2), np.eye(2))
    1.0
    """
    image, text = rows.check_pairs(image, text)
    return float(np.einsum("ij,ij->i", image, text).mean(dtype=float))


def relative_gap(image, text):
    """Relative modality gap, RMG = D / (D + (D_ii + D_tt) / 2).

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
        If the row counts or widths differ, there are fewer than two rows, a row is not finite or is zero, or all
        rows of both modalities are one point.

    References
    ----------
    Schrodi et al. 2025.

    Examples
    --------
    >>> relative_gap(np.eye(2), np.eye(2)[::-1])
    0.5
    """
    image, text = rows.check_pairs(image, text, least=2)
    between = (1 - paired_cosine(image, text)) / 2
    within = (2 - cone.mean_cosine(image) - cone.mean_cosine(text)) / 4
    if between + within <= 0:
        raise ValueError("image and text are all one point: the relative gap is 0 / 0")
    return between / (between + within)


# Cosines closer than this are equal: equal rows need not give equal sums in single precision.
TIE = 1e-6


class Recall(NamedTuple):
    """Share of queries whose own partner is among the k nearest."""

    image_to_text: float
    text_to_image: float


def recall_at_k(image, text, k):
    """Recall@k of pair retrieval by cosine, in both directions.

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
        If the row counts or widths differ, a row is not finite or is zero, or k is not between 1 and n.

    Examples
    --------
    >>> recall_at_k(np.eye(3), np.eye(3), 1)
    Recall(image_to_text=1.0, text_to_image=1.0)
    """
    image, text = rows.check_pairs(image, text)
    if not 1 <= k <= len(image):
        raise ValueError(f"k must be between 1 and the number of pairs, {len(image)}, got {k}")
    return Recall(_recall(image, text, k), _recall(text, image, k))


def _recall(query, gallery, k, chunk=1024):
    # Works on chunks of queries, so n x n similarities never exist at once.
    hits = 0.0
    for start in range(0, len(query), chunk):
        similarity = query[start : start + chunk] @ gallery.T
        own = similarity[np.arange(len(similarity)), np.arange(start, start + len(similarity))]
        nearer = (similarity > own[:, None] + TIE).sum(1)
        tied = (np.abs(similarity - own[:, None]) <= TIE).sum(1)
        hits += float(np.clip((k - nearer) / tied, 0, 1).sum())
    return hits / len(query)

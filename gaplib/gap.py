"""The measures of two modalities, how far apart they are and how far they overlap: rows of unit norm in, a number out.

"Paired" measures need row i of `image` to belong to row i of `text`, and refuse unequal row counts; the others do not.
Every measure refuses, with a ValueError that says which row: arrays that are not of shape (n, d) and floating type,
unequal widths, too few rows, rows that are not finite, rows that are not of unit norm.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from gaplib import rows

# scikit-learn is imported where it is used: it takes seconds to open, and most readers of `gap` do without.

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


def gap_vector(image: ArrayLike, text: ArrayLike) -> np.ndarray:
    """Displacement from the text centroid to the image centroid, mean(image) - mean(text) (Liang et al. 2022).

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

    Examples
    --------
    >>> gap_vector(np.eye(2)[:1], np.eye(2)[1:])
    array([ 1., -1.])
    """
    image, text = rows.check_two(image, text)
    return rows.moments(image, "image").mean - rows.moments(text, "text").mean


def centroid_distance(image: ArrayLike, text: ArrayLike) -> float:
    """Length of the gap vector, |mean(image) - mean(text)| (L2M; Liang et al. 2022).

    Parameters
    ----------
    image, text : ndarray of shape (n, d)
        Unit-norm rows; the row counts may differ.

    Returns
    -------
    float
        In [0, 2].

    Examples
    --------
    >>> centroid_distance(np.eye(2)[:1], np.eye(2)[1:])
    1.4142...
    """
    return float(np.linalg.norm(gap_vector(image, text)))


def paired_distance(image: ArrayLike, text: ArrayLike) -> float:
    """Mean distance inside the pairs, mean over i of |image_i - text_i| (L2I; Schrodi et al. 2025).

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

    Examples
    --------
    >>> paired_distance(np.eye(2), np.eye(2)[::-1])
    1.4142...
    """
    return _over_pairs(image, text, lambda i, t: np.sqrt(rows.squares(i - t)))


def paired_cosine(image: ArrayLike, text: ArrayLike) -> float:
    """Mean cosine of the pairs, mean over i of image_i . text_i (Wang & Isola 2020).

    Parameters
    ----------
    image, text : ndarray of shape (n, d)
        Unit-norm rows, paired.

    Returns
    -------
    float
        In [-1, 1].

    Examples
    --------
    >>> paired_cosine(np.eye(2), np.eye(2))
    1.0
    """
    return _over_pairs(image, text, lambda i, t: np.einsum("ij,ij->i", i, t))


def alignment(image: ArrayLike, text: ArrayLike) -> float:
    """Mean squared distance inside the pairs, |image_i - text_i|^2 = 2 - 2 paired cosine (Wang & Isola 2020).

    Parameters
    ----------
    image, text : ndarray of shape (n, d)
        Unit-norm rows, paired.

    Returns
    -------
    float
        In [0, 4]; small is aligned.

    Examples
    --------
    >>> alignment(np.eye(2), np.eye(2)[::-1])
    2.0
    """
    return _over_pairs(image, text, lambda i, t: rows.squares(i - t))


def _over_pairs(image: ArrayLike, text: ArrayLike, each: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> float:
    """Mean over the pairs of what `each` gives for blocks of them."""
    image, text = rows.check_pairs(image, text)
    total = 0.0
    for pair in zip(rows.blocks(image, "image"), rows.blocks(text, "text"), strict=True):
        total += float(each(*pair).sum(dtype=float))
    return total / len(image)


def relative_gap(image: ArrayLike, text: ArrayLike) -> float:
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


def recall_at_k(image: ArrayLike, text: ArrayLike, k: int) -> Recall:
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
    rows.scan(image, "image")
    rows.scan(text, "text")
    return Recall(_recall(image, text, k), _recall(text, image, k))


def _recall(query, gallery, k, chunk=1024):
    hits = 0.0
    for start in range(0, len(query), chunk):
        similarity = query[start : start + chunk] @ gallery.T
        own = similarity.diagonal(start)[:, None]  # row i of these queries is row start + i of the gallery
        nearer = (similarity > own + TIE).sum(1)
        tied = (np.abs(similarity - own) <= TIE).sum(1)
        hits += float(np.clip((k - nearer) / tied, 0, 1).sum())
    return hits / len(query)


def linear_separability(image: ArrayLike, text: ArrayLike, sample: int | None = rows.SAMPLE, seed: int = 0) -> float:
    """Held-out accuracy of a logistic regression that tells image from text (Shi et al. 2023).

    Stratified 5-fold, on a seeded sample of as many rows of each modality, at most `sample` (None: as many as there
    are), so that chance is 1/2. The regression is scikit-learn's, with its default penalty.

    Parameters
    ----------
    image, text : ndarray of shape (n, d)
        Unit-norm rows, n >= 5; the row counts may differ.
    sample : int or None
    seed : int

    Returns
    -------
    float
        In [0, 1]; 1 when a plane separates the modalities, 1/2 when they cannot be told apart.

    Raises
    ------
    ValueError
        As `gap_vector`, and if a modality has fewer than five rows.

    Examples
    --------
    >>> linear_separability(np.eye(2)[[0] * 9], np.eye(2)[[1] * 9])
    1.0
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    image, text = _scanned(image, text, least=5)
    few = min(len(image), len(text), rows.check_sample(sample, least=5) or len(image))
    x, side = _together(image, text, few, seed)
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    return float(cross_val_score(LogisticRegression(max_iter=1000), x, side, cv=folds).mean())


def neighbour_mixing(
    image: ArrayLike, text: ArrayLike, k: int = 10, sample: int | None = rows.SAMPLE, seed: int = 0
) -> float:
    """Share of cross-modal points among the k nearest neighbours, over its expectation when mixed.

    Compares all rows with all rows, so it takes a seeded sample of at most `sample` rows of each modality (None: all);
    the sample is pairs when the row counts are equal.

    Parameters
    ----------
    image, text : ndarray of shape (n, d)
        Unit-norm rows; the row counts may differ.
    k : int
        Neighbours of each point, itself not counted.
    sample : int or None
    seed : int

    Returns
    -------
    float
        0 when no point has a neighbour of the other modality, 1 when they are mixed; more when a row's nearest
        neighbours are its partners.

    Raises
    ------
    ValueError
        As `gap_vector`, and if k is not an integer between 1 and the number of points less one.

    Examples
    --------
    >>> neighbour_mixing(np.eye(2)[[0] * 9], np.eye(2)[[1] * 9], k=3)
    0.0
    """
    from sklearn.neighbors import NearestNeighbors

    x, side = _together(*_scanned(image, text), sample, seed)
    k = rows.check_k(k, len(x) - 1, "the number of points less one")
    near = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(x).kneighbors(return_distance=False)
    n = len(side)
    n_text = side.sum()
    expected = 2 * n_text * (n - n_text) / (n * (n - 1))
    return float((side[near] != side[:, None]).mean() / expected)


def mmd(image: ArrayLike, text: ArrayLike, sample: int | None = 2000, seed: int = 0) -> float:
    """Unbiased squared maximum mean discrepancy with a Gaussian kernel (Gretton et al. 2012).

    The kernel is exp(-|x - y|^2 / (2 s^2)), and s the median distance between different points of both modalities
    together. Compares all rows with all rows, so it takes a seeded sample of at most `sample` rows of each (None: all).

    Parameters
    ----------
    image, text : ndarray of shape (n, d)
        Unit-norm rows, n >= 2; the row counts may differ.
    sample : int or None
    seed : int

    Returns
    -------
    float
        Near 0, and as often below it as above, when the modalities are distributed alike; at most 2.

    Raises
    ------
    ValueError
        As `gap_vector`, and if a modality has fewer than two rows, or half of all points coincide.

    Examples
    --------
    >>> mmd(np.eye(3)[[0, 0, 1]], np.eye(3)[[2, 2, 1]]) > 0
    True
    """
    from scipy.spatial.distance import squareform
    from sklearn.metrics import pairwise_distances

    x, side = _together(*_scanned(image, text, least=2), sample, seed)
    square = pairwise_distances(x, metric="sqeuclidean")
    scale = np.median(squareform(square, checks=False))
    if scale <= 0:
        raise ValueError("image and text: at least half of all distances are 0, so the kernel has no median width")
    kernel = np.exp(square / (-2 * scale), out=square)
    n = int((side == 0).sum())  # images come first
    within = _mean_off_diagonal(kernel[:n, :n]) + _mean_off_diagonal(kernel[n:, n:])
    return float(within - 2 * kernel[:n, n:].mean())


def _mean_off_diagonal(square):
    n = len(square)
    return (square.sum() - np.trace(square)) / (n * (n - 1))


def frechet_distance(image: ArrayLike, text: ArrayLike) -> float:
    """Frechet distance of the Gaussians fitted to each modality (Dowson & Landau 1982).

    |dm|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) is the squared 2-Wasserstein distance, and the "FID" when
    rows are Inception features.

    Parameters
    ----------
    image, text : ndarray of shape (n, d)
        Unit-norm rows, n >= 2; the row counts may differ.

    Returns
    -------
    float
        0 when means and covariances agree; at least the squared centroid distance.

    Raises
    ------
    ValueError
        As `gap_vector`, and if a modality has fewer than two rows.

    Examples
    --------
    >>> round(frechet_distance(np.eye(3)[:2], -np.eye(3)[:2]), 6)
    2.0
    """
    image, text = rows.check_two(image, text, least=2)
    m1, c1 = rows.covariance(image, "image")
    m2, c2 = rows.covariance(text, "text")
    e, v = np.linalg.eigh(c1)
    root = v * np.sqrt(np.maximum(e, 0))  # c1 = root root', so root' c2 root has the eigenvalues of c1 c2
    overlap = np.sqrt(np.maximum(np.linalg.eigvalsh(root.T @ c2 @ root), 0)).sum()
    apart = m1 - m2
    return float(apart @ apart + max(np.trace(c1) + np.trace(c2) - 2 * overlap, 0))


def _scanned(image, text, least=1):
    image, text = rows.check_two(image, text, least)
    rows.scan(image, "image")
    rows.scan(text, "text")
    return image, text


def _together(image, text, sample, seed):
    """A sample of both modalities about their common mean, where distances stay exact, and 1 for each text row."""
    parts = [rows.sample(x, sample, seed).astype(float) for x in (image, text)]
    x = np.concatenate(parts)
    return x - x.mean(0), np.repeat([0, 1], [len(part) for part in parts])


# What a summary holds, besides `neighbour_mixing` and `recall_at_k`, which need a number of neighbours.
MEASURES = (
    centroid_distance,
    paired_distance,
    paired_cosine,
    alignment,
    relative_gap,
    linear_separability,
    mmd,
    frechet_distance,
)


def summary(image: ArrayLike, text: ArrayLike, k: int | None = None) -> pd.Series:
    """Every measure of the gap, by name; recalls as `recall_image_to_text` and `recall_text_to_image`.

    What compares all rows with all rows, recall included, takes a seeded sample of at most `rows.SAMPLE` pairs. After
    lambda shifts: `modulate.by_lambda(image, text, lams, measure=gap.summary)`.

    Parameters
    ----------
    image, text : ndarray of shape (n, d)
        Unit-norm rows, paired, n >= 5.
    k : int, optional
        Of `recall_at_k` and `neighbour_mixing`; by default 10, or the number of pairs where there are fewer.

    Returns
    -------
    pandas.Series

    Raises
    ------
    ValueError
        As the measures.

    Examples
    --------
    >>> x = np.eye(8)
    >>> summary(x, x, k=1)[["paired_cosine", "recall_image_to_text"]].tolist()
    [1.0, 1.0]
    """
    image, text = rows.check_pairs(image, text, least=5)
    k = min(10, len(image)) if k is None else k
    values = {measure.__name__: measure(image, text) for measure in MEASURES}
    values["neighbour_mixing"] = neighbour_mixing(image, text, k)
    recall = recall_at_k(rows.sample(image, rows.SAMPLE), rows.sample(text, rows.SAMPLE), k)
    values["recall_image_to_text"] = recall.image_to_text
    values["recall_text_to_image"] = recall.text_to_image
    return pd.Series(values)

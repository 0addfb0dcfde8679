"""The measures of two modalities, how far apart they are and how far they overlap: rows of unit norm in, a number out.

In every measure, `image` and `text` hold rows of unit norm, shape (n, d) with the same d, as arrays, torch tensors or
tables of floating type. "Of pairs" means that row i of one belongs to row i of the other, and that unequal row counts
are refused; elsewhere they may differ. A ValueError says which row is not finite or not of unit norm, that widths
differ, or that there are fewer rows than the measure needs: one, where it does not say more.

Measures that compare all rows with all rows take a sample, chosen by `seed`, of at most `sample` rows of each modality
(None: all); it is of pairs when the row counts are equal. The others read in blocks, so n may reach a million.
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
    r"""Displacement from the text centroid to the image centroid, (d,) (Liang et al. 2022).

    .. math:: \mathrm{gap} = \frac{1}{n} \sum_i \mathrm{image}_i - \frac{1}{m} \sum_j \mathrm{text}_j

    Examples
    --------
    >>> gap_vector(np.eye(2)[:1], np.eye(2)[1:])
    array([ 1., -1.])
    """
    image, text = rows.check_two(image, text)
    return rows.moments(image, "image").mean - rows.moments(text, "text").mean


def centroid_distance(image: ArrayLike, text: ArrayLike) -> float:
    r"""Length of the gap vector, from 0 to 2 (L2M; Liang et al. 2022).

    .. math:: \left| \mathrm{gap} \right|

    Examples
    --------
    >>> centroid_distance(np.eye(2)[:1], np.eye(2)[1:])
    1.4142...
    """
    return float(np.linalg.norm(gap_vector(image, text)))


def paired_distance(image: ArrayLike, text: ArrayLike) -> float:
    r"""Mean distance of pairs (L2I; Schrodi et al. 2025).

    .. math:: \frac{1}{n} \sum_i \left| \mathrm{image}_i - \mathrm{text}_i \right|

    From 0 to 2; at least the centroid distance.

    Examples
    --------
    >>> paired_distance(np.eye(2), np.eye(2)[::-1])
    1.4142...
    """
    return _over_pairs(image, text, lambda i, t: np.sqrt(rows.squares(i - t)))


def paired_cosine(image: ArrayLike, text: ArrayLike) -> float:
    r"""Mean cosine of pairs, from -1 to 1 (Wang & Isola 2020).

    .. math:: \frac{1}{n} \sum_i \mathrm{image}_i \cdot \mathrm{text}_i

    Examples
    --------
    >>> paired_cosine(np.eye(2), np.eye(2))
    1.0
    """
    return _over_pairs(image, text, lambda i, t: np.einsum("ij,ij->i", i, t))


def alignment(image: ArrayLike, text: ArrayLike) -> float:
    r"""Mean squared distance of pairs (Wang & Isola 2020).

    .. math:: \frac{1}{n} \sum_i \left| \mathrm{image}_i - \mathrm{text}_i \right|^2

    From 0, aligned, to 4; 2 - 2 `paired_cosine`.

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
    r"""Relative modality gap (RMG) of at least two pairs (Schrodi et al. 2025).

    .. math:: \mathrm{RMG} = \frac{D}{D + (D_{ii} + D_{tt}) / 2}

    With the distance (1 - cosine) / 2, D is the mean over the pairs, and D_ii and D_tt are the means over different
    rows inside a modality. From 0, when every pair coincides, to 1, when each modality is one point; refused when both
    are the same point. Three formulas go by this name.

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
    """Recall@k of pairs by cosine, in both directions, 1 <= k <= n; chance is k / n.

    Where others are as near as the partner, because a text occurs twice, say, it counts by its chance to be among the
    first k of them. Compares all rows with all rows, in chunks, without a sample.

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

    1 when a plane separates them, about 1/2 when they cannot be told apart: the sample has as many rows of each.
    Stratified 5-fold, so it needs five rows of each; the regression is scikit-learn's, with its default penalty.

    Examples
    --------
    >>> linear_separability(np.eye(2)[[0] * 9], np.eye(2)[[1] * 9])
    1.0
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    image, text = rows.check_two(image, text, least=5)
    few = min(len(image), len(text), rows.check_sample(sample, least=5) or len(image))
    x, side = _together(image, text, few, seed)
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    return float(cross_val_score(LogisticRegression(max_iter=1000), x, side, cv=folds).mean())


def neighbour_mixing(
    image: ArrayLike, text: ArrayLike, k: int = 10, sample: int | None = rows.SAMPLE, seed: int = 0
) -> float:
    r"""Share of cross-modal points among the k nearest neighbours, over its expectation when mixed.

    .. math:: \frac{\mathrm{share}}{2 n m / ((n + m) (n + m - 1))}

    0 when no point has a neighbour of the other modality, 1 when they are mixed; more when a row's nearest neighbours
    are its partners. A point is no neighbour of itself, so k is less than the number of points.

    Examples
    --------
    >>> neighbour_mixing(np.eye(2)[[0] * 9], np.eye(2)[[1] * 9], k=3)
    0.0
    """
    from sklearn.neighbors import NearestNeighbors

    x, side = _together(*rows.check_two(image, text), sample, seed)
    k = rows.check_k(k, len(x) - 1, "the number of points less one")
    near = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(x).kneighbors(return_distance=False)
    n = len(side)
    n_text = side.sum()
    expected = 2 * n_text * (n - n_text) / (n * (n - 1))
    return float((side[near] != side[:, None]).mean() / expected)


def mmd(image: ArrayLike, text: ArrayLike, sample: int | None = 2000, seed: int = 0) -> float:
    r"""Unbiased squared maximum mean discrepancy with a Gaussian kernel (Gretton et al. 2012).

    .. math:: \mathrm{MMD}^2 = \mathrm{mean}_{i \ne j} \, \kappa(\mathrm{image}_i, \mathrm{image}_j)
        + \mathrm{mean}_{i \ne j} \, \kappa(\mathrm{text}_i, \mathrm{text}_j)
        - 2 \, \mathrm{mean}_{i, j} \, \kappa(\mathrm{image}_i, \mathrm{text}_j)

    .. math:: \kappa(x, y) = \exp \left( - \frac{|x - y|^2}{2 s^2} \right)

    Here s is the median distance between different points of both modalities together; refused when that is 0. Near 0,
    and as often below it as above, when at least two rows of each are distributed alike; at most 2.

    Examples
    --------
    >>> mmd(np.eye(3)[[0, 0, 1]], np.eye(3)[[2, 2, 1]]) > 0
    True
    """
    from scipy.spatial.distance import pdist, squareform

    x, side = _together(*rows.check_two(image, text, least=2), sample, seed)
    squared = pdist(x, "sqeuclidean")
    scale = np.median(squared)
    if scale <= 0:
        raise ValueError("image and text: at least half of all distances are 0, so the kernel has no median width")
    kernel = squareform(np.exp(squared / (-2 * scale)))  # 0 on the diagonal, so a sum is over different points
    m = int(side.sum())
    n = len(side) - m  # images come first
    within = kernel[:n, :n].sum() / (n * (n - 1)) + kernel[n:, n:].sum() / (m * (m - 1))
    return float(within - 2 * kernel[:n, n:].mean())


def frechet_distance(image: ArrayLike, text: ArrayLike) -> float:
    r"""Frechet distance of the Gaussians fitted to each modality, of at least two rows each (Dowson & Landau 1982).

    .. math:: |m_1 - m_2|^2 + \mathrm{tr} \left( C_1 + C_2 - 2 (C_1 C_2)^{1/2} \right)

    With means m and covariances C, this is the squared 2-Wasserstein distance, and the "FID" when rows are Inception
    features. 0 when both agree; at least the squared centroid distance.

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


def _together(image, text, sample, seed):
    """A sample of both modalities about their common mean, where distances stay exact, and 1 for each text row."""
    image = rows.sample(rows.scan(image, "image"), sample, seed).astype(float)
    text = rows.sample(rows.scan(text, "text"), sample, seed).astype(float)
    x = np.concatenate([image, text])
    return x - x.mean(0), np.repeat([0, 1], [len(image), len(text)])


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

    Needs at least five pairs. `k` is that of `neighbour_mixing` and of `recall_at_k`, which takes a sample here too: by
    default 10, or the number of pairs where there are fewer. After lambda shifts:
    `modulate.by_lambda(image, text, lams, measure=gap.summary)`.

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
    values |= {f"recall_{direction}": share for direction, share in recall._asdict().items()}
    return pd.Series(values)

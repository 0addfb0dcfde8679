"""How far the modalities overlap as distributions: the measures of `gap` that look beyond centroids and pairs."""

import numpy as np

from gaplib import rows

# scikit-learn is imported where it is used: it takes seconds to open, and most readers of `gap` do without.


def linear_separability(image, text, sample=rows.SAMPLE, seed=0):
    """Held-out accuracy of a logistic regression that tells image from text (stratified 5-fold).

    Takes a seeded sample of as many rows of each modality, at most `sample` (None: as many as there are), so that
    chance is 1/2. The regression is scikit-learn's, with its default penalty.

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
        As `gap.gap_vector`, and if a modality has fewer than five rows.

    References
    ----------
    Shi et al. 2023.

    Examples
    --------
    >>> linear_separability(np.eye(2)[[0] * 9], np.eye(2)[[1] * 9])
    1.0
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    image, text = _scanned(image, text, least=5)
    few = min(len(image), len(text), sample or len(image))
    x, side = _together(image, text, few, seed)
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    return float(cross_val_score(LogisticRegression(max_iter=1000), x, side, cv=folds).mean())


def neighbour_mixing(image, text, k=10, sample=rows.SAMPLE, seed=0):
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
        As `gap.gap_vector`, and if k is not an integer between 1 and the number of points less one.

    Examples
    --------
    >>> neighbour_mixing(np.eye(2)[[0] * 9], np.eye(2)[[1] * 9], k=3)
    0.0
    """
    from sklearn.neighbors import NearestNeighbors

    x, side = _together(*_scanned(image, text), sample, seed)
    k = rows.check_k(k, len(x) - 1, "the number of points less one")
    near = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(x).kneighbors(return_distance=False)
    n_text, n = side.sum(), len(side)
    expected = 2 * n_text * (n - n_text) / (n * (n - 1))
    return float((side[near] != side[:, None]).mean() / expected)


def mmd(image, text, sample=2000, seed=0):
    """Unbiased squared maximum mean discrepancy with the Gaussian kernel exp(-|x - y|^2 / (2 s^2)).

    s is the median distance between different points of both modalities together. Compares all rows with all rows, so
    it takes a seeded sample of at most `sample` rows of each modality (None: all).

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
        As `gap.gap_vector`, and if a modality has fewer than two rows, or half of all points coincide.

    References
    ----------
    Gretton et al. 2012.

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
    n, m = (side == 0).sum(), (side == 1).sum()
    inside = [kernel[side == s][:, side == s] for s in (0, 1)]
    within = sum((part.sum() - np.trace(part)) / (len(part) * (len(part) - 1)) for part in inside)
    return float(within - 2 * kernel[:n, n : n + m].mean())


def frechet_distance(image, text):
    """Frechet distance of the Gaussians fitted to each modality, |dm|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)).

    This is the squared 2-Wasserstein distance, the "FID" when rows are Inception features.

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
        As `gap.gap_vector`, and if a modality has fewer than two rows.

    References
    ----------
    Dowson & Landau 1982.

    Examples
    --------
    >>> round(frechet_distance(np.eye(3)[:2], -np.eye(3)[:2]), 6)
    2.0
    """
    image, text = rows.check_two(image, text, least=2)
    (m1, c1), (m2, c2) = rows.covariance(image, "image"), rows.covariance(text, "text")
    e, v = np.linalg.eigh(c1)
    root = v * np.sqrt(np.maximum(e, 0))  # c1 = root root', so root' c2 root has the eigenvalues of c1 c2
    overlap = np.sqrt(np.maximum(np.linalg.eigvalsh(root.T @ c2 @ root), 0)).sum()
    return float((m1 - m2) @ (m1 - m2) + max(np.trace(c1) + np.trace(c2) - 2 * overlap, 0))


def _scanned(image, text, least=1):
    image, text = rows.check_two(image, text, least)
    return rows.scan(image, "image"), rows.scan(text, "text")


def _together(image, text, sample, seed):
    """A sample of both modalities about their common mean, where distances stay exact, and 1 for each text row."""
    parts = [rows.sample(x, sample, seed).astype(float) for x in (image, text)]
    x = np.concatenate(parts)
    return x - x.mean(0), np.repeat([0, 1], [len(part) for part in parts])

"""Low-dimensional views in which both modalities share one map."""

import warnings
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from gaplib import names, rows
from gaplib.modulate import check_gap, check_lambdas, shift

# Points whose shadow on the view is shorter than this have no direction in it.
SHORT = 1e-9


def shared_pca(image: ArrayLike, text: ArrayLike, n_components: int = 3) -> np.ndarray:
    """Directions of greatest variance of both clouds together, not centred away from the origin.

    The sphere's centre must stay where it is for cones to look like cones, so rows are projected without centring:
    the first direction is that of the gap-and-cone, and projections of unit rows stay inside the unit ball.

    Parameters
    ----------
    image, text : ndarray of shape (n, d)
    n_components : int
        At most d.

    Returns
    -------
    ndarray of shape (n_components, d)
        Orthonormal rows; each sign is fixed so that its largest entry is positive.

    Examples
    --------
    >>> shared_pca(np.eye(3), np.eye(3), 2).shape
    (2, 3)
    """
    image, text = rows.check_two(image, text)
    n_components = rows.check_k(n_components, image.shape[1], "the width", "n_components")
    products = _products(image, "image") + _products(text, "text")
    _, axes = np.linalg.eigh(products.astype(float))
    axes = axes[:, ::-1][:, :n_components].T
    peaks = axes[np.arange(len(axes)), np.abs(axes).argmax(1)]
    return axes * np.sign(peaks)[:, None]


def _products(x, name):
    return sum(block.T @ block for block in rows.blocks(x, name))


def to_sphere(x: ArrayLike, axes: np.ndarray) -> np.ndarray:
    """Rows seen along `axes` and put back on the unit sphere, (n, 3): directions, not distances, are kept.

    Examples
    --------
    >>> to_sphere(np.array([[0.0, 2.0, 0.0]]), np.eye(3))
    array([[0., 1., 0.]])
    """
    seen = rows.as_array(x, "x").astype(float) @ axes.T
    return seen / np.maximum(np.linalg.norm(seen, axis=1, keepdims=True), SHORT)


def geodesic(start: np.ndarray, end: np.ndarray, n: int = 24) -> np.ndarray:
    """Points of the shorter great-circle arcs between unit rows, by spherical linear interpolation.

    Parameters
    ----------
    start, end : ndarray of shape (m, 3)
    n : int
        Points an arc.

    Returns
    -------
    ndarray of shape (m, n, 3)

    Examples
    --------
    >>> geodesic(np.eye(3)[:1], np.eye(3)[1:2], 3).round(3)
    array([[[1.   , 0.   , 0.   ],
            [0.707, 0.707, 0.   ],
            [0.   , 1.   , 0.   ]]])
    """
    angle = np.arccos(np.clip(np.einsum("ij,ij->i", start, end), -1, 1))[:, None, None]
    t = np.linspace(0, 1, n)[:, None]
    sine = np.sin(angle)
    line = (1 - t) * start[:, None] + t * end[:, None]
    arc = np.sin((1 - t) * angle) * start[:, None] + np.sin(t * angle) * end[:, None]
    arcs = np.where(sine < 1e-6, line, arc / np.maximum(sine, 1e-12))  # where points coincide, the line is the arc
    return arcs / np.linalg.norm(arcs, axis=2, keepdims=True)


def umap(
    image: ArrayLike, text: ArrayLike, seed: int = 42, n_neighbors: int = 15, min_dist: float = 0.1
) -> tuple[np.ndarray, np.ndarray]:
    """One seeded two-dimensional UMAP of both modalities (McInnes et al. 2018), started from PCA.

    Coordinates differ between machines and versions even with a seed; read neighbourhoods, not distances.

    Parameters
    ----------
    image, text : ndarray of shape (n, d)
        Unit-norm rows.
    seed : int
    n_neighbors : int
    min_dist : float

    Returns
    -------
    (ndarray, ndarray)
        Image and text coordinates, (n, 2) each.
    """
    from sklearn.decomposition import PCA

    UMAP = names.extra("umap", "notebooks").UMAP
    image, text = rows.check_two(image, text, least=2)
    seed = rows.check_seed(seed)
    both = np.concatenate([rows.scan(image, "image"), rows.scan(text, "text")])
    start = PCA(2, random_state=seed).fit_transform(both)
    reducer = UMAP(
        n_neighbors=n_neighbors, min_dist=min_dist, metric="cosine", init=start / start[:, 0].std(), random_state=seed,
        n_jobs=1,
    )  # fmt: skip
    view = reducer.fit_transform(both)
    return view[: len(image)], view[len(image) :]


def umap_by_lambda(
    image: ArrayLike,
    text: ArrayLike,
    lams: Iterable[float],
    gap: ArrayLike | None = None,
    seed: int = 42,
    n_neighbors: int = 15,
    min_dist: float = 0.1,
) -> tuple[list[float], np.ndarray]:
    """One seeded two-dimensional UMAP of both modalities at many lambdas, so that what moves is the data.

    An aligned fit: every lambda has its own neighbourhoods, all are laid out together, and each row is held, gently,
    where it is one lambda before and after. (One plain UMAP of all rows at all lambdas does not do: the nearest
    neighbours of a row are its own copies, and the clouds stand still as threads.)

    Parameters
    ----------
    image, text : ndarray of shape (n, d)
        Unit-norm rows, paired. The time grows with rows times lambdas: 200 pairs at 6 lambdas take some ten seconds.
    lams : sequence of float
        In rising order, at least two.
    gap : ndarray of shape (d,), optional
        As in `modulate.shift`.
    seed : int
    n_neighbors : int
    min_dist : float

    Returns
    -------
    (list of float, ndarray of shape (lams, 2, n, 2))
        The lambdas; and for each the coordinates of the images and of the texts.

    Raises
    ------
    ValueError
        If the rows are not pairs, are no more than the neighbours, or the lambdas do not rise.
    """
    AlignedUMAP = names.extra("umap", "notebooks").AlignedUMAP
    image, text = rows.check_pairs(image, text, least=1 + n_neighbors)
    seed = rows.check_seed(seed)
    lams = check_lambdas(lams)
    if len(lams) < 2 or (np.diff(lams) <= 0).any():
        raise ValueError(f"lambdas must be at least two, in rising order, got {lams}")
    gap = check_gap(gap, image, text)
    moved = [np.concatenate(shift(image, text, lam, gap)) for lam in lams]
    # A firmer hold (1e-2 over three lambdas, umap-learn's) leaves the islands where they are, whatever lambda does.
    reducer = AlignedUMAP(
        n_neighbors=n_neighbors, min_dist=min_dist, metric="cosine", random_state=seed, transform_seed=seed,
        n_epochs=100, alignment_regularisation=3e-3, alignment_window_size=1,
    )  # fmt: skip
    same = {row: row for row in range(2 * len(image))}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="n_jobs value")  # only says that a seed allows one thread
        reducer.fit(moved, relations=[same] * (len(lams) - 1))
    return lams, np.stack(list(reducer.embeddings_)).reshape(len(lams), 2, len(image), 2)

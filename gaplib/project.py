"""Low-dimensional views in which both modalities share one map; `image` and `text` are as in `gaplib.gap`."""

import warnings
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from gaplib import names, rows
from gaplib.modulate import check_gap, check_lambdas, shift


def shared_pca(image: ArrayLike, text: ArrayLike, n_components: int = 3) -> np.ndarray:
    """Directions of greatest variance of both clouds together, not centred away from the origin.

    The sphere's centre must stay where it is for cones to look like cones, so rows are projected without centring:
    the first direction is that of the gap-and-cone, and projections of unit rows stay inside the unit ball. Gives at
    most d orthonormal rows, (n_components, d); each sign is fixed so that the largest entry is positive.

    Examples
    --------
    >>> shared_pca(np.eye(3), np.eye(3), 2).shape
    (2, 3)
    """
    image, text = rows.check_two(image, text)
    n_components = rows.check_k(n_components, image.shape[1], "the width", "n_components")
    image_products = sum(block.T @ block for block in rows.blocks(image, "image"))
    text_products = sum(block.T @ block for block in rows.blocks(text, "text"))
    _, axes = np.linalg.eigh((image_products + text_products).astype(float))
    axes = axes[:, ::-1][:, :n_components].T
    peaks = axes[np.arange(len(axes)), np.abs(axes).argmax(1)]
    return axes * np.sign(peaks)[:, None]


def to_sphere(x: ArrayLike, axes: np.ndarray) -> np.ndarray:
    """Rows seen along `axes` and put back on the unit sphere, (n, 3): directions, not distances, are kept.

    Examples
    --------
    >>> to_sphere(np.array([[0.0, 2.0, 0.0]]), np.eye(3))
    array([[0., 1., 0.]])
    """
    return _unit(rows.as_array(x, "x").astype(float) @ axes.T)


def _unit(x):
    """Rows divided by their norms; those too short to have a direction stay short."""
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)


def geodesic(start: np.ndarray, end: np.ndarray, n: int = 24) -> np.ndarray:
    """Points at even turns along the shorter great-circle arcs between m pairs of unit rows, (m, n, 3).

    Examples
    --------
    >>> geodesic(np.eye(3)[:1], np.eye(3)[1:2], 3).round(3)
    array([[[1.   , 0.   , 0.   ],
            [0.707, 0.707, 0.   ],
            [0.   , 1.   , 0.   ]]])
    """
    cosine = np.einsum("ij,ij->i", start, end)[:, None]
    across = _unit(end - cosine * start)  # at right angles to the start, on the way to the end
    turn = np.linspace(0, 1, n)[:, None] * np.arccos(np.clip(cosine, -1, 1))[:, None]
    return np.cos(turn) * start[:, None] + np.sin(turn) * across[:, None]


def umap(
    image: ArrayLike, text: ArrayLike, seed: int = 42, n_neighbors: int = 15, min_dist: float = 0.1
) -> tuple[np.ndarray, np.ndarray]:
    """One seeded two-dimensional UMAP of both modalities (McInnes et al. 2018), started from PCA.

    Gives the coordinates of images and of texts, (n, 2) each. They differ between machines and versions even with a
    seed; read neighbourhoods, not distances.
    """
    from sklearn.decomposition import PCA  # takes a second to import

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
    """One seeded two-dimensional UMAP of pairs at many lambdas, so that what moves is the data.

    An aligned fit: every lambda has its own neighbourhoods, all are laid out together, and each row is held, gently,
    where it is one lambda before and after. (One plain UMAP of all rows at all lambdas does not do: the nearest
    neighbours of a row are its own copies, and the clouds stand still as threads.) The time grows with rows times
    lambdas: 200 pairs at 6 lambdas take some ten seconds.

    Takes more pairs than neighbours and at least two lambdas, in rising order; `gap` is as in `modulate.shift`. Gives
    the lambdas and, for each, the coordinates of images and of texts: (lambdas, 2, n, 2).
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

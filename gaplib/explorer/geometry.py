"""The numbers with which the browser moves both clouds.

Along a fixed axis a moved row is at (x.axis + s gap.axis) / |x'|, with |x'| from x.gap and |gap|, so the browser finds
every lambda exactly from four numbers a row. What depends on all rows is computed here, for each place of the slider.
"""

import base64

import numpy as np
from numpy.typing import ArrayLike
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from gaplib import modulate, project

STEP = 0.005
LAMS = np.round(np.arange(-0.5, 1.5 + STEP / 2, STEP), 3)
# The places of the slider, and what is told at each.
SLIDER = {"first": float(LAMS[0]), "step": STEP, "steps": len(LAMS), "measures": modulate.LABELS}
ARCS = 100  # pairs joined on the sphere
NEAREST = 5  # neighbours of a row
MATRIX = 60  # pairs whose cosines are all shown: two pixels a row

Both = tuple[np.ndarray, np.ndarray]  # image and text rows of the same pairs


def panel(image: np.ndarray, text: np.ndarray, gap: np.ndarray, ordered: np.ndarray, seed: int) -> dict:
    """What moves the rows drawn: where they and the gap lie along three shared axes, and what they have in common.

    Two of the axes span the `plane` that is drawn, those along which the gap is longest; `held` is the share of its
    length to be seen there. The sphere is seen from the `front`, where its rows are.
    """
    axes = project.shared_pca(image, text, 3)
    gap_seen = axes @ gap
    plane = np.sort(np.argsort(-np.abs(gap_seen), kind="stable")[:2])
    length = np.linalg.norm(gap)
    directions = np.vstack([axes, gap]).T
    x, y, _ = axes @ (image.sum(0) + text.sum(0))
    some = np.concatenate([image[ordered], text[ordered]])
    return _reach(image, text, gap, axes[plane], seed) | {
        "rows": pack([image @ directions, text @ directions]),
        "pairs": pack(_cosines(image, text, seed)),
        "neighbours": neighbours(image, text),
        "matrix": pack(some @ some.T),
        "gap": gap_seen.tolist(),
        "gap2": float(length**2),
        "plane": plane.tolist(),
        "held": float(np.linalg.norm(gap_seen[plane]) / max(length, 1e-9)),
        "front": float(np.arctan2(y, x)) + 0.2,
    }


def _reach(image, text, gap, plane, seed):
    """How far the rows lie apart in the plane, and the `least` cosine, over some lambdas of the slider."""
    moved = [modulate.shift(image, text, lam, gap) for lam in (LAMS[0], 0, 0.5, 1, LAMS[-1])]
    places = np.concatenate([x @ plane.T for both in moved for x in both])
    least = min(_cosines(*both, seed)[:, [0, 2]].min() for both in moved)
    return box(places.min(0), places.max(0)) | {"least": float(least)}


def box(low: np.ndarray, high: np.ndarray) -> dict:
    """What a flat view shows: where its middle is, and how far it extends."""
    return {"middle": ((low + high) / 2).tolist(), "extent": (high - low).tolist()}


def _cosines(image, text, seed):
    """Of each image its cosine with its own text, another pair's number, and its cosine with that pair's text."""
    order = np.random.default_rng(seed).permutation(len(image))
    other = np.empty_like(order)
    other[order] = np.roll(order, 1)  # the next in one cycle of all, so never its own
    paired = np.einsum("ij,ij->i", image, text)
    unpaired = np.einsum("ij,ij->i", image, text[other])
    return np.column_stack([paired, other, unpaired])


def neighbours(image: np.ndarray, text: np.ndarray) -> str:
    """The nearest rows of each row in the encoder's own space, all d dimensions of it, packed.

    For images and then texts, those among the images and those among the texts: (2, 2, n, k, 2), the pair and the
    cosine. Never a row itself. The browser finds their cosines at every lambda; who is nearest is as encoded, since
    for other lambdas it would need the rows themselves (2 MB of 2,000 pairs, 512 wide, instead of 0.4).
    """
    both = (image, text)
    found = [[_nearest(here, there) for there in both] for here in both]
    return pack(found)


def _nearest(here, there):
    """Of each row the k nearest others, (n, k, 2): their number and the cosine, the nearest first."""
    from sklearn.neighbors import NearestNeighbors

    near = NearestNeighbors(n_neighbors=min(NEAREST, len(here) - 1), algorithm="brute").fit(there)
    others = None if here is there else here  # of None, it finds those of the rows themselves but for each itself
    numbers = near.kneighbors(others, return_distance=False)
    cosines = np.einsum("ij,ikj->ik", here, there[numbers])
    return np.stack([numbers, cosines], axis=-1)


def by_cluster(encoded: list[Both]) -> np.ndarray:
    """An order of pairs in which those that are alike to all encoders stand together: the leaves of average linkage.

    Alike: the cosines of their images and of their texts, each block in standard units, so that no encoder's wide cone
    drowns another's narrow one.
    """
    others = ~np.eye(len(encoded[0][0]), dtype=bool)
    alike = 0
    for x in (x for both in encoded for x in both):
        cosines = x @ x.T
        alike = alike + (cosines - cosines[others].mean()) / max(cosines[others].std(), 1e-9)
    apart = np.where(others, alike[others].max() - alike, 0)
    return leaves_list(linkage(squareform(apart, checks=False), "average", optimal_ordering=True))


def pack(numbers: ArrayLike) -> str:
    """Numbers as the page reads them: single precision, row by row."""
    return base64.b64encode(np.asarray(numbers, "<f4").tobytes()).decode()

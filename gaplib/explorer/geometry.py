"""The numbers with which the browser moves both clouds.

Along a fixed axis a moved row is at (x.axis + s gap.axis) / |x'|, with |x'| from x.gap and |gap|, so the browser finds
every lambda exactly from four numbers a row. What depends on all rows is computed here, for each place of the slider.
"""

import base64

import numpy as np
from numpy.typing import ArrayLike

from gaplib import modulate, project

STEP = 0.005
LAMS = np.round(np.arange(-0.5, 1.5 + STEP / 2, STEP), 3)
MEASURES = {
    "centroid_distance": "centroid distance",
    "mean_cosine_image": "mean cosine, images",
    "mean_cosine_text": "mean cosine, texts",
    "paired_cosine": "paired cosine",
    "relative_gap": "relative gap (RMG)",
}
ARCS = 100  # pairs joined on the sphere


def measured(image: np.ndarray, text: np.ndarray, gap: np.ndarray) -> dict:
    """The measures of all rows at every place of the slider."""
    table = modulate.by_lambda(image, text, LAMS, gap)
    return {
        "measures": list(MEASURES),
        "names": list(MEASURES.values()),
        "first": float(LAMS[0]),
        "step": STEP,
        "steps": len(LAMS),
        "numbers": pack(table[list(MEASURES)].to_numpy().T),
    }


def geometry(image: np.ndarray, text: np.ndarray, gap: np.ndarray, seed: int) -> dict:
    """What moves the rows drawn: where they and the gap lie along three shared axes, and what pairs have in common.

    Two of the axes span the `plane` that is drawn, those along which the gap is longest; `held` is the share of its
    length to be seen there.
    """
    axes = project.shared_pca(image, text, 3)
    gap_seen = axes @ gap
    longest_first = np.argsort(-np.abs(gap_seen), kind="stable")
    plane = np.sort(longest_first[:2])
    length = np.linalg.norm(gap)
    directions = np.vstack([axes, gap]).T
    return {
        "rows": pack([image @ directions, text @ directions]),
        "pairs": pack(_cosines(image, text, seed)),
        "gap": gap_seen.tolist(),
        "gap2": float(length**2),
        "plane": plane.tolist(),
        "arcs": ARCS,
        "held": float(np.linalg.norm(gap_seen[plane]) / max(length, 1e-9)),
    }


def _cosines(image, text, seed):
    """Of each image its cosine with its own text, another pair's number, and its cosine with that pair's text."""
    order = np.random.default_rng(seed).permutation(len(image))
    other = np.empty_like(order)
    other[order] = np.roll(order, 1)  # the next in one cycle of all, so never its own
    paired = np.einsum("ij,ij->i", image, text)
    unpaired = np.einsum("ij,ij->i", image, text[other])
    return np.column_stack([paired, other, unpaired])


def pack(numbers: ArrayLike) -> str:
    """Numbers as the page reads them: single precision, row by row."""
    return base64.b64encode(np.asarray(numbers, "<f4").tobytes()).decode()

"""The numbers with which the browser moves both clouds.

Along fixed directions a moved row is (x.axis + s gap.axis) / |x'|, so that the browser computes every lambda exactly.
What depends on all rows is computed here, for each lambda the slider can take.
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


def numbers(image: np.ndarray, text: np.ndarray, gap: np.ndarray) -> dict:
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
    """What the browser needs to move the rows drawn, and the plane of the two axes along which the gap is longest."""
    axes = project.shared_pca(image, text, 3)
    axes = np.pad(axes, ((0, 3 - len(axes)), (0, 0)))  # rows may be narrower than that
    along = axes @ gap
    longest_first = np.argsort(-np.abs(along), kind="stable")
    plane = np.sort(longest_first[:2])
    length = max(np.linalg.norm(gap), project.SHORT)
    partner = _partners(len(image), seed)
    seen_images = np.column_stack([image @ axes.T, image @ gap])
    seen_texts = np.column_stack([text @ axes.T, text @ gap])
    paired = np.einsum("ij,ij->i", image, text)
    unpaired = np.einsum("ij,ij->i", image, text[partner])
    return {
        "rows": pack(np.stack([seen_images, seen_texts])),
        "pairs": pack(np.column_stack([paired, partner, unpaired])),
        "gap": along.tolist(),
        "gap2": float(gap @ gap),
        "plane": plane.tolist(),
        "arcs": ARCS,
        "held": float(np.linalg.norm(along[plane]) / length),
    }


def _partners(n, seed):
    """For each row another one, unpaired: the next in one random cycle of all."""
    order = np.random.default_rng(seed).permutation(n)
    partner = np.empty_like(order)
    partner[order] = np.roll(order, 1)
    return partner


def pack(numbers: ArrayLike) -> str:
    """Numbers as the page reads them: single precision, row by row."""
    return base64.b64encode(np.asarray(numbers, "<f4").tobytes()).decode()

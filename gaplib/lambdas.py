"""Measures of the gap and of both cones as a function of lambda, in closed form."""

import numpy as np
import pandas as pd

from gaplib import modulate, rows


def by_lambda(image, text, lams, gap=None):
    """Measures of all rows after the lambda shift, at many lambdas, without moving a row.

    With |x'|^2 = 1 + 2 s x.gap + s^2 |gap|^2, the sum of the moved rows is a product of the rows with 1 / |x'|, and
    the cosine of a pair is (x.y + s_y x.gap + s_x y.gap + s_x s_y |gap|^2) / (|x'| |y'|). One pass over the rows.

    Parameters
    ----------
    image, text : ndarray of shape (n, d)
        Unit-norm rows, paired, n >= 2.
    lams : sequence of float
    gap : ndarray of shape (d,), optional
        As in `modulate.shift`.

    Returns
    -------
    DataFrame
        One row a lambda: centroid_distance, mean_cosine_image, mean_cosine_text, paired_cosine, relative_gap.

    Raises
    ------
    ValueError
        As `modulate.shift`, and if the rows are not pairs.

    Examples
    --------
    >>> x = np.eye(4)
    >>> by_lambda(x, -x, [0, 1])["centroid_distance"].tolist()
    [1.0, 0.0]
    """
    image, text = rows.check_pairs(image, text, least=2)
    gap = modulate.check_gap(gap, image, text)
    half = np.array([modulate.check_lambda(lam) for lam in lams])[:, None] / 2
    n, steps, start = len(image), {"image": -half, "text": half}, 0
    centroids, cosine = {name: np.zeros((len(half), len(gap))) for name in steps}, np.zeros(len(half))
    for pair in zip(rows.blocks(image, "image"), rows.blocks(text, "text"), strict=True):
        pair, scales = [np.asarray(x, float) for x in pair], []
        for x, (name, s) in zip(pair, steps.items(), strict=True):
            norms = modulate.shifted_norms(x, s[:, 0], gap).T
            if norms.min() < 1e-6:
                row = start + int(norms.min(0).argmin())
                raise ValueError(f"{name}: row {row} is moved to the origin and has no direction there")
            scales.append(1 / norms)
            centroids[name] += scales[-1] @ x + s * scales[-1].sum(1, keepdims=True) * gap
        apart = np.einsum("ij,ij->i", *pair) + half * ((pair[0] - pair[1]) @ gap) - half**2 * (gap @ gap)
        cosine += (apart * scales[0] * scales[1]).sum(1)
        start += len(pair[0])
    cone = {name: ((c**2).sum(1) - n) / (n * (n - 1)) for name, c in centroids.items()}
    between, within = (1 - cosine / n) / 2, (2 - cone["image"] - cone["text"]) / 4
    table = pd.DataFrame({"centroid_distance": np.linalg.norm(centroids["image"] - centroids["text"], axis=1) / n})
    table = table.assign(mean_cosine_image=cone["image"], mean_cosine_text=cone["text"], paired_cosine=cosine / n)
    return table.assign(relative_gap=between / (between + within)).set_index(pd.Index(lams, name="lam"))

"""Rows that tests make."""

import numpy as np


def sphere(rng, n, d, mean):
    """Rows of unit norm around a direction."""
    x = rng.normal(size=(n, d)) / np.sqrt(d) + mean
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)

"""Rows that tests make."""

import numpy as np
from scipy.stats import vonmises_fisher


def sphere(rng, n, d, mean):
    """Rows of unit norm around a direction."""
    x = rng.normal(size=(n, d)) / np.sqrt(d) + mean
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def unit(x):
    """Rows divided by their norms."""
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def vmf(kappa, d, n, seed=0):
    """Rows of a von Mises-Fisher distribution around the first direction."""
    return unit(vonmises_fisher(np.eye(d)[0], kappa).rvs(n, random_state=np.random.default_rng(seed)))

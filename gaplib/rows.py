"""What every measure asks of its rows, and one way through them: in blocks that fit a cache.

A million embeddings, in memory or mapped from a file, are read once or twice and never copied whole. `check` and its
kin look at shapes and types only; whoever reads the rows reads them through `blocks`, which looks at every row.
"""

from typing import NamedTuple

import numpy as np

BLOCK = 2**18  # numbers, not bytes: with as many rows in each, paired blocks stay paired whatever their types
NORM = 1e-3  # how far from 1 a norm may be: half-precision embeddings are off by 5e-4
TIGHT = 1e-2  # variance below which 1 - |mean|^2 in single precision has lost digits
SAMPLE = 5000  # rows that measures comparing all rows with all rows take of each modality


def check(x, name, least=1):
    """`x` as a float array of shape (n, d); its rows are not read yet.

    Parameters
    ----------
    x : array_like of shape (n, d)
    name : str
        What to call it in an error.
    least : int
        The fewest rows that will do.

    Raises
    ------
    ValueError
        If it is not 2-D, not of a real floating type, or has too few rows.

    Examples
    --------
    >>> check([[1, 0]], "image")
    Traceback (most recent call last):
    ...
    ValueError: image: expected floating-point embeddings of shape (n, d), got int64 of shape (1, 2)
    """
    x = np.asarray(x)
    if x.ndim != 2 or x.dtype.kind != "f" or not x.shape[1]:
        raise ValueError(
            f"{name}: expected floating-point embeddings of shape (n, d), got {x.dtype} of shape {x.shape}"
        )
    if len(x) < least:
        raise ValueError(f"{name}: expected at least {least} row{'s' * (least > 1)}, got {len(x)}")
    return x


def check_two(image, text, least=1):
    """Both modalities checked, and of the same width."""
    image, text = check(image, "image", least), check(text, "text", least)
    if image.shape[1] != text.shape[1]:
        raise ValueError(f"image and text embeddings differ in width: {image.shape[1]} and {text.shape[1]}")
    return image, text


def check_pairs(image, text, least=1):
    """Both modalities checked, of the same width, row i of one belonging to row i of the other."""
    image, text = check_two(image, text, least)
    if len(image) != len(text):
        raise ValueError(f"paired rows needed, got {len(image)} image and {len(text)} text embeddings")
    return image, text


def check_k(k, most, what, name="k"):
    """`k` as an int from 1 to `most`."""
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or not 1 <= k <= most:
        raise ValueError(f"{name} must be an integer between 1 and {what}, {most}, got {k!r}")
    return int(k)


def blocks(x, name):
    """Successive rows of `x` as float32 or float64 blocks of about `BLOCK` numbers, every row looked at.

    Raises
    ------
    ValueError
        If a row is not finite or is not of unit norm (says which).

    Examples
    --------
    >>> [block.shape for block in blocks(np.eye(1000), "image")]
    [(262, 1000), (262, 1000), (262, 1000), (214, 1000)]
    >>> list(blocks(np.array([[1.0, 0.0], [3.0, 4.0]]), "image"))
    Traceback (most recent call last):
    ...
    ValueError: image: row 1 has norm 5, not 1 (the worst of 1 such rows); divide rows by their norms
    """
    for block, _ in _blocks(x, name):
        yield block


def _blocks(x, name):
    step, kind = max(1, BLOCK // x.shape[1]), np.float32 if x.dtype.itemsize <= 4 else np.float64
    for start in range(0, len(x), step):
        block = np.asarray(x[start : start + step], kind)
        with np.errstate(over="ignore", invalid="ignore"):
            square = np.einsum("ij,ij->i", block, block)
        if not np.abs(square - 1).max() < 2 * NORM:  # true for nan, too
            _refuse(x, name)
        yield block, square


def _refuse(x, name):
    parts = np.array_split(x, np.arange(2048, len(x), 2048))
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.concatenate([np.linalg.norm(part.astype(float), axis=1) for part in parts])
    for bad, what in ((~np.isfinite(norms), "not finite"), (norms == 0, "zero")):
        if bad.any():
            raise ValueError(f"{name}: row {int(bad.argmax())} is {what}; drop or repair it")
    off = np.abs(norms - 1)
    worst, many = int(off.argmax()), int((off > NORM / 2).sum())
    raise ValueError(
        f"{name}: row {worst} has norm {norms[worst]:.4g}, not 1 (the worst of {many} such rows); "
        "divide rows by their norms"
    )


def scan(x, name):
    """Look at every row; returns `x`."""
    for _ in blocks(x, name):
        pass
    return x


def sample(x, size, seed=0):
    """`size` rows chosen by `seed`, in order, or all rows when there are no more or `size` is None.

    Arrays of as many rows give the same choice, so pairs stay pairs.
    """
    if size is not None and size < 2:
        raise ValueError(f"sample must be at least 2 rows, or None for all, got {size}")
    if size is None or len(x) <= size:
        return np.asarray(x)
    return x[np.sort(np.random.default_rng(seed).choice(len(x), size, replace=False))]


def normalise(x, name, first=0):
    """Rows divided by their norms.

    Parameters
    ----------
    x : ndarray of shape (n, d)
    name : str
        What to call it in an error.
    first : int
        Number of the first row, where x is part of something.

    Raises
    ------
    ValueError
        If a row is not finite or is zero (says which).

    Examples
    --------
    >>> normalise(np.array([[3.0, 4.0]]), "image")
    array([[0.6, 0.8]])
    """
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.linalg.norm(x, axis=1, keepdims=True)
    wrong = ~(np.isfinite(norms[:, 0]) & (norms[:, 0] > 0))
    if wrong.any():
        row = int(wrong.argmax())
        what = "zero" if norms[row, 0] == 0 else "not finite"
        raise ValueError(f"{name}: row {first + row} is {what}, so it has no direction; drop or repair it")
    return x / norms


def nothing(x):
    """The largest variance of rows of x's type that may be rounding alone."""
    return float(np.finfo(np.result_type(x, np.float32)).eps) ** 2


class Moments(NamedTuple):
    """Mean row, shape (d,), and variance, the mean squared distance of the rows to it."""

    mean: np.ndarray
    variance: float


def moments(x, name):
    """Mean and variance of the rows, in one pass; in two in a cone so tight that 1 - |mean|^2 would cancel.

    Examples
    --------
    >>> moments(np.eye(2), "x")
    Moments(mean=array([0.5, 0.5]), variance=0.5)
    """
    total, square = np.zeros(x.shape[1]), 0.0
    for block, squares in _blocks(x, name):
        total += block.sum(0)
        square += float(squares.sum(dtype=float))
    mean = total / len(x)
    variance = square / len(x) - float(mean @ mean)
    return Moments(mean, variance) if variance > TIGHT else _tight_moments(x, name, mean)


def _tight_moments(x, name, about):
    # About any point near the mean, nothing cancels.
    about, total, square = about.astype(np.result_type(x, np.float32)), np.zeros(x.shape[1]), 0.0
    for block in blocks(x, name):
        y = block - about
        total += y.sum(0)
        square += float(np.einsum("ij,ij->i", y, y).sum(dtype=float))
    beyond = total / len(x)
    return Moments(about + beyond, max(square / len(x) - float(beyond @ beyond), 0.0))


def covariance(x, name, about=None):
    """Mean row and covariance matrix (divided by n - 1) of the rows, in one pass; in two in a tight cone, as `moments`.

    Examples
    --------
    >>> covariance(np.eye(2), "x")[1]
    array([[ 0.5, -0.5],
           [-0.5,  0.5]])
    """
    origin = 0 if about is None else about.astype(np.result_type(x, np.float32))
    total, products, start, stop = np.zeros(x.shape[1]), np.zeros((x.shape[1], x.shape[1])), 0, 0
    for block in blocks(x, name):
        total += block.sum(0) if about is None else (block - origin).sum(0)
        stop += len(block)
        if stop - start >= 32 * len(block) or stop == len(x):  # matrix products want more rows than a cache holds
            part = np.asarray(x[start:stop], block.dtype)
            part = part if about is None else part - origin
            products += part.T @ part
            start = stop
    n, beyond = len(x), total / len(x)
    spread = (products - n * np.outer(beyond, beyond)) / (n - 1)
    if about is None and np.trace(spread) < 10 * TIGHT:
        return covariance(x, name, beyond)
    return origin + beyond, spread

"""What every measure asks of its rows, and one way through them: in blocks that fit a cache.

A million embeddings, in memory or mapped from a file, are read once or twice and never copied whole. `check` and its
kin look at shapes and types only; whoever reads the rows first reads them through `blocks`, which looks at every row.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

BLOCK = 2**18  # numbers, not bytes: with as many rows in each, paired blocks stay paired whatever their types
NORM = 1e-3  # how far from 1 a norm may be: half-precision embeddings are off by 5e-4
TIGHT = 1e-2  # variance below which 1 - |mean|^2 in single precision has lost digits
SAMPLE = 5000  # rows that measures comparing all rows with all rows take of each modality


def as_array(x: ArrayLike, name: str) -> np.ndarray:
    """`x` as a NumPy array; it may be a torch tensor, a SciPy sparse matrix or a table as well.

    Raises
    ------
    ValueError
        If it cannot be one, or is a masked array that hides something: what is hidden would be used.

    Examples
    --------
    >>> as_array(np.ma.masked_greater([[0.6, 0.8]], 0.7), "image")
    Traceback (most recent call last):
    ...
    ValueError: image: a masked array that hides 1 value; drop or repair these rows
    """
    if hasattr(x, "detach"):  # a torch tensor: torch itself takes seconds to import
        x = x.detach().cpu().to_dense()
        x = (x.float() if "float" in str(x.dtype) and x.dtype.itemsize < 4 else x).numpy()  # NumPy has no bfloat16
    elif hasattr(x, "toarray"):
        x = x.toarray()
    hidden = int(np.ma.count_masked(x)) if isinstance(x, np.ma.MaskedArray) else 0
    if hidden:
        raise ValueError(
            f"{name}: a masked array that hides {hidden} value{'s' * (hidden > 1)}; drop or repair these rows"
        )
    try:
        return np.asarray(x)
    except ValueError as error:
        raise ValueError(f"{name}: cannot be read as an array ({error})") from error


def check(x: ArrayLike, name: str, least: int = 1) -> np.ndarray:
    """`x` as a float array of shape (n, d); its rows are not read yet.

    Parameters
    ----------
    x : array_like of shape (n, d)
        Whatever `as_array` takes.
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
    x = as_array(x, name)
    if x.ndim != 2 or x.dtype.kind != "f" or not x.shape[1]:
        raise ValueError(
            f"{name}: expected floating-point embeddings of shape (n, d), got {x.dtype} of shape {x.shape}"
        )
    if len(x) < least:
        raise ValueError(f"{name}: expected at least {least} row{'s' * (least > 1)}, got {len(x)}")
    return x


def check_two(image: ArrayLike, text: ArrayLike, least: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Both modalities checked, and of the same width."""
    image = check(image, "image", least)
    text = check(text, "text", least)
    if image.shape[1] != text.shape[1]:
        raise ValueError(f"image and text embeddings differ in width: {image.shape[1]} and {text.shape[1]}")
    return image, text


def check_pairs(image: ArrayLike, text: ArrayLike, least: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Both modalities checked, of the same width, row i of one belonging to row i of the other."""
    image, text = check_two(image, text, least)
    if len(image) != len(text):
        raise ValueError(f"paired rows needed, got {len(image)} image and {len(text)} text embeddings")
    return image, text


def check_k(k: int, most: int, what: str, name: str = "k") -> int:
    """`k` as an int from 1 to `most`."""
    if not _whole(k) or not 1 <= k <= most:
        raise ValueError(f"{name} must be an integer between 1 and {what}, {most}, got {k!r}")
    return int(k)


def check_seed(seed: int) -> int:
    """`seed` as an int that NumPy and scikit-learn take."""
    if not _whole(seed) or not 0 <= seed < 2**32:
        raise ValueError(f"seed must be an integer from 0 to 2**32 - 1, got {seed!r}")
    return int(seed)


def check_sample(size: int | None, least: int = 2) -> int | None:
    """The size of a sample: an int of at least `least`, or None for all rows."""
    if size is not None and (not _whole(size) or size < least):
        raise ValueError(f"sample must be at least {least} rows, a whole number, or None for all, got {size!r}")
    return size


def _whole(number):
    return isinstance(number, (int, np.integer)) and not isinstance(number, bool)


def precision(x: np.ndarray) -> type:
    """The type that rows are reckoned in: half precision is kept for storage alone."""
    return np.float32 if x.dtype.itemsize <= 4 else np.float64


def pieces(x: np.ndarray) -> Iterator[np.ndarray]:
    """Successive rows of `x` as float32 or float64 blocks of about `BLOCK` numbers, for rows looked at before.

    Examples
    --------
    >>> [piece.shape for piece in pieces(np.eye(1000))]
    [(262, 1000), (262, 1000), (262, 1000), (214, 1000)]
    """
    step = max(1, BLOCK // x.shape[1])
    for start in range(0, len(x), step):
        yield np.asarray(x[start : start + step], precision(x))


def squares(x: np.ndarray) -> np.ndarray:
    """Squared norms of the rows."""
    return np.einsum("ij,ij->i", x, x)


def blocks(x: np.ndarray, name: str) -> Iterator[np.ndarray]:
    """The pieces of `x`, every row looked at.

    Raises
    ------
    ValueError
        If a row is not finite or is not of unit norm (says which).

    Examples
    --------
    >>> list(blocks(np.array([[1.0, 0.0], [3.0, 4.0]]), "image"))
    Traceback (most recent call last):
    ...
    ValueError: image: row 1 has norm 5, not 1 (the worst of 1 such rows); divide rows by their norms
    """
    for block, _ in _with_squares(x, name):
        yield block


def _with_squares(x, name):
    for block in pieces(x):
        with np.errstate(over="ignore", invalid="ignore"):
            square = squares(block)
        if not np.abs(square - 1).max() < 2 * NORM:  # true for nan, too
            _refuse(x, name)
        yield block, square


def _refuse(x, name):
    norms = np.concatenate([_norms(part) for part in pieces(x)])
    _refuse_no_direction(norms, name)
    off = np.abs(norms - 1)
    worst = int(off.argmax())
    raise ValueError(
        f"{name}: row {worst} has norm {norms[worst]:.4g}, not 1 (the worst of {(off > NORM / 2).sum()} such rows); "
        "divide rows by their norms"
    )


def _norms(x):
    """Norms of the rows in double precision; neither too large nor too small for their squares."""
    scaled, exponents = _scaled(x.astype(float))
    with np.errstate(over="ignore"):
        return np.ldexp(np.sqrt(squares(scaled)), exponents)


def _scaled(x):
    """Each row divided by a power of two that brings it near 1, which is exact; and the exponents, (n,)."""
    with np.errstate(invalid="ignore"):
        _, exponents = np.frexp(np.abs(x).max(axis=1))
        return np.ldexp(x, -exponents[:, None]), exponents


def _refuse_no_direction(norms, name, first=0):
    for bad, what in ((np.isnan(norms), "not finite"), (norms == 0, "zero")):
        if bad.any():
            row = first + int(bad.argmax())
            raise ValueError(f"{name}: row {row} is {what}, so it has no direction; drop or repair it")


def scan(x: np.ndarray, name: str) -> np.ndarray:
    """Look at every row; returns `x`."""
    for _ in blocks(x, name):
        pass
    return x


def sample(x: ArrayLike, size: int | None, seed: int = 0) -> np.ndarray:
    """`size` rows chosen by `seed`, in order, or all rows when there are no more or `size` is None.

    Arrays of as many rows give the same choice, so pairs stay pairs.
    """
    x = as_array(x, "rows")
    size = check_sample(size)
    seed = check_seed(seed)
    if size is None or len(x) <= size:
        return x
    return x[np.sort(np.random.default_rng(seed).choice(len(x), size, replace=False))]


def normalise(x: ArrayLike, name: str, first: int = 0) -> np.ndarray:
    """Rows divided by their norms, however large or small these are.

    Parameters
    ----------
    x : array_like of float, shape (n, d)
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
    >>> normalise(np.array([[3.0, 4.0], [3e200, 4e200]]), "image")
    array([[0.6, 0.8],
           [0.6, 0.8]])
    """
    scaled, _ = _scaled(as_array(x, name))
    norms = np.linalg.norm(scaled, axis=1)
    _refuse_no_direction(norms, name, first)
    return scaled / norms[:, None]


def nothing(x: np.ndarray) -> float:
    """The largest variance of rows of x's type that may be rounding alone."""
    return float(np.finfo(precision(x)).eps) ** 2


class Moments(NamedTuple):
    """Mean row, shape (d,), and variance, the mean squared distance of the rows to it."""

    mean: np.ndarray
    variance: float


def moments(x: np.ndarray, name: str) -> Moments:
    """Mean and variance of the rows, in one pass; in two in a cone so tight that 1 - |mean|^2 would cancel.

    Examples
    --------
    >>> moments(np.eye(2), "x")
    Moments(mean=array([0.5, 0.5]), variance=0.5)
    """
    total = np.zeros(x.shape[1])
    square = 0.0
    for block, norms in _with_squares(x, name):
        total += block.sum(0)
        square += float(norms.sum(dtype=float))
    mean = total / len(x)
    variance = square / len(x) - float(mean @ mean)
    return Moments(mean, variance) if variance > TIGHT else _tight_moments(x, mean)


def _tight_moments(x, about):
    about = about.astype(precision(x))  # about any point near the mean, nothing cancels
    total = np.zeros(x.shape[1])
    square = 0.0
    for piece in pieces(x):
        y = piece - about
        total += y.sum(0)
        square += float(squares(y).sum(dtype=float))
    beyond = total / len(x)
    return Moments(about + beyond, max(square / len(x) - float(beyond @ beyond), 0.0))


def covariance(x: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean row and covariance matrix (divided by n - 1) of the rows; about the mean where a cone is tight.

    Examples
    --------
    >>> covariance(np.eye(2), "x")[1]
    array([[ 0.5, -0.5],
           [-0.5,  0.5]])
    """
    mean, variance = moments(x, name)
    kind = precision(x)
    about = mean.astype(kind) if variance < 10 * TIGHT else None
    products = np.zeros((len(mean), len(mean)))
    step = 32 * max(1, BLOCK // len(mean))  # matrix products want more rows than a cache holds
    for start in range(0, len(x), step):
        part = np.asarray(x[start : start + step], kind)
        part = part if about is None else part - about
        products += part.T @ part
    beyond = mean if about is None else mean - about
    return mean, (products - len(x) * np.outer(beyond, beyond)) / (len(x) - 1)

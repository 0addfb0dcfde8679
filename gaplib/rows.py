"""What every measure asks of its rows, and one way through them: in blocks that fit a cache.

A million embeddings, in memory or mapped from a file, are read once or twice and never copied whole. So `check` and its
kin look at shapes and types only, and rows are looked at as they are read: by `blocks`, which refuses a row that is not
finite or not of unit norm. In every function, `name` is what an error calls the rows.
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
    """`x`, which may be a torch tensor or a table as well, as a NumPy array; masked values are refused, not used."""
    if np.ma.is_masked(x):
        raise ValueError(f"{name}: a masked array that hides {np.ma.count_masked(x)} values; drop or repair these rows")
    try:
        if hasattr(x, "detach"):  # a torch tensor: torch itself takes seconds to import
            x = x.detach().cpu()
            x = x.float() if str(x.dtype) == "torch.bfloat16" else x  # which NumPy does not have
        return np.asarray(x)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: cannot be read as an array ({error})") from error


def check(x: ArrayLike, name: str, least: int = 1) -> np.ndarray:
    """`x` as an array of shape (n, d), of floating type and with at least `least` rows; these are not read yet.

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
    """`k` as an int from 1 to `most`, which is `what`."""
    return check_whole(k, f"{name} must be an integer between 1 and {what}, {most}", 1, most)


def check_seed(seed: int) -> int:
    """`seed` as an int that NumPy and scikit-learn take."""
    return check_whole(seed, "seed must be an integer from 0 to 2**32 - 1", 0, 2**32 - 1)


def check_sample(size: int | None, least: int = 2) -> int | None:
    """The size of a sample: an int of at least `least`, or None for all rows."""
    needed = f"sample must be at least {least} rows, a whole number, or None for all"
    return None if size is None else check_whole(size, needed, least)


def check_whole(number: int, needed: str, least: int = 1, most: float = np.inf) -> int:
    """`number` as an int within these bounds; `needed` begins the error where it is none.

    Examples
    --------
    >>> check_whole(0, "workers must be a whole number from 1")
    Traceback (most recent call last):
    ...
    ValueError: workers must be a whole number from 1, got 0
    """
    if not isinstance(number, int | np.integer) or isinstance(number, bool) or not least <= number <= most:
        raise ValueError(f"{needed}, got {number!r}")
    return int(number)


def precision(x: np.ndarray) -> type:
    """The type that rows are reckoned in: half precision is kept for storage alone."""
    return np.float32 if x.dtype.itemsize <= 4 else np.float64


def pieces(x: np.ndarray, size: int = BLOCK) -> Iterator[np.ndarray]:
    """Successive rows of `x` as float32 or float64 arrays of about `size` numbers, for rows looked at before."""
    step = max(1, size // x.shape[1])
    for start in range(0, len(x), step):
        yield np.asarray(x[start : start + step], precision(x))


def squares(x: np.ndarray) -> np.ndarray:
    """Squared norms of the rows."""
    return np.einsum("ij,ij->i", x, x)


def blocks(x: np.ndarray, name: str) -> Iterator[np.ndarray]:
    """The pieces of `x`; a row that is not finite or not of unit norm is refused.

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
        square = squares(block)
        if not np.abs(square - 1).max() < 2 * NORM:  # true for nan, too
            _refuse(x, name)
        yield block, square


def _refuse(x, name):
    norms = np.sqrt(np.concatenate([squares(piece.astype(float)) for piece in pieces(x)]))
    _refuse_no_direction(norms, name)
    off = np.abs(norms - 1)
    worst = int(off.argmax())
    raise ValueError(
        f"{name}: row {worst} has norm {norms[worst]:.4g}, not 1 (the worst of {(off > NORM / 2).sum()} such rows); "
        "divide rows by their norms"
    )


def _refuse_no_direction(norms, name):
    for bad, what in ((~np.isfinite(norms), "not finite"), (norms == 0, "zero")):
        if bad.any():
            raise ValueError(f"{name}: row {bad.argmax()} is {what}, so it has no direction; drop or repair it")


def scan(x: np.ndarray, name: str) -> np.ndarray:
    """Look at every row; returns `x`."""
    for _ in blocks(x, name):
        pass
    return x


def sample(x: np.ndarray, size: int | None, seed: int = 0) -> np.ndarray:
    """`size` rows chosen by `seed`, in order, or all rows when there are no more or `size` is None.

    Arrays of as many rows give the same choice, so pairs stay pairs.
    """
    size = check_sample(size)
    seed = check_seed(seed)
    if size is None or len(x) <= size:
        return x
    return x[np.sort(np.random.default_rng(seed).choice(len(x), size, replace=False))]


def normalise(x: ArrayLike, name: str) -> np.ndarray:
    """Rows divided by their norms; one that is zero or not finite is refused.

    Examples
    --------
    >>> normalise(np.array([[3.0, 4.0]]), "image")
    array([[0.6, 0.8]])
    """
    x = as_array(x, name)
    x = x.astype(precision(x), copy=False)
    _, exponents = np.frexp(np.abs(x).max(axis=1))
    x = np.ldexp(x, -exponents[:, None])  # near 1, and exactly: no row is too long or too short to square
    norms = np.linalg.norm(x, axis=1)
    _refuse_no_direction(norms, name)
    return x / norms[:, None]


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
    mean, variance = _moments(_with_squares(x, name), len(x))
    if variance > TIGHT:
        return Moments(mean, variance)
    near = mean.astype(precision(x))
    apart = (piece - near for piece in pieces(x))
    beyond, variance = _moments(((part, squares(part)) for part in apart), len(x))
    return Moments(near + beyond, max(variance, 0.0))


def _moments(parts, n):
    """Mean and variance of n rows that come in parts, with their squared norms."""
    total = 0.0
    square = 0.0
    for part, of_rows in parts:
        total += part.sum(0).astype(float)
        square += float(of_rows.sum(dtype=float))
    mean = total / n
    return mean, square / n - float(mean @ mean)


def covariance(x: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean row and covariance matrix (divided by n - 1) of the rows.

    Examples
    --------
    >>> covariance(np.eye(2), "x")[1]
    array([[ 0.5, -0.5],
           [-0.5,  0.5]])
    """
    mean = moments(x, name).mean
    about = mean.astype(precision(x))
    products = 0.0
    for piece in pieces(x, 16 * BLOCK):  # matrix products want more rows than a cache holds
        apart = piece - about
        products += (apart.T @ apart).astype(float)
    return mean, products / (len(x) - 1)

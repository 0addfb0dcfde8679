"""Moving the image cloud and the text cloud: the lambda shift, its rivals, lambda as a scikit-learn transformer.

Every move takes unit-norm rows and gives unit-norm rows, (n, d); `gap` or `fit` let it be fitted on other (training)
rows than those moved. `by_lambda` measures what the shift does, at many lambdas. Bad rows are refused as in
`gaplib.gap`.
"""

import numbers
import warnings
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from gaplib import gap as measures
from gaplib import rows

__all__ = ["LambdaShift", "by_lambda", "centre", "drop_gap_dims", "liang_shift", "realign", "shift", "shifted_norms"]

LARGEST = 1e6  # of lambda and of the gap's entries: beyond, single precision forgets the rows
ORIGIN = 1e-6  # nearer to it than rounding can tell

Rows = tuple[np.ndarray, np.ndarray]  # of images and of texts


def shift(image: ArrayLike, text: ArrayLike, lam: float, gap: ArrayLike | None = None) -> Rows:
    """The lambda shift: both clouds moved towards each other, then put back on the unit sphere (arXiv 2603.17246).

    text'  = normalise(text  + (lam / 2) gap)
    image' = normalise(image - (lam / 2) gap),   gap = mean(image) - mean(text)

    Before renormalising, the centroid distance becomes |1 - lam| times what it was: lam = 0 leaves the rows as
    encoded; at lam = 1 the centroids coincide, so after renormalising their distance is small but need not be 0;
    lam < 0 widens the gap and lam > 1 overshoots. This is not the delta of `liang_shift`, nor mean-centring.

    Parameters
    ----------
    image, text : ndarray of shape (n, d)
        Unit-norm rows; the row counts may differ.
    lam : float
        Any number from -1e6 to 1e6.
    gap : ndarray of shape (d,), optional
        The gap vector to move along, fitted on other (training) rows; by default that of these rows.

    Returns
    -------
    (ndarray, ndarray)
        The moved `image` and `text`, unit norm.

    Raises
    ------
    ValueError
        If the widths differ, a row is not finite or not of unit norm, lam or gap is not finite or is larger than 1e6,
        gap has another width, or a row is moved to the origin.

    Examples
    --------
    >>> image, text = shift(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]), lam=1.0)
    >>> np.allclose(image, text)
    True
    """
    image, text = rows.check_two(image, text)
    lam = check_lambda(lam)
    gap = check_gap(gap, image, text)
    return _moved(image, -lam / 2 * gap, "image"), _moved(text, lam / 2 * gap, "text")


def liang_shift(image: ArrayLike, text: ArrayLike, delta: float, gap: ArrayLike | None = None) -> Rows:
    """The shift of Liang et al. 2022: as `shift`, but counted in units of length along the gap.

    text'  = normalise(text  + (delta / 2) gap / |gap|)
    image' = normalise(image - (delta / 2) gap / |gap|)

    Before renormalising, the centroid distance becomes |centroid distance - delta|: the same delta closes a narrow gap
    and hardly touches a wide one. It is `shift` with lam = delta / |gap|.

    Parameters
    ----------
    image, text : ndarray of shape (n, d)
        Unit-norm rows; the row counts may differ.
    delta : float
        Any number from -1e6 to 1e6.
    gap : ndarray of shape (d,), optional
        As in `shift`.

    Returns
    -------
    (ndarray, ndarray)

    Raises
    ------
    ValueError
        As `shift`, and if the gap is zero, so that it has no direction.

    Examples
    --------
    >>> image, text = liang_shift(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]), delta=2**0.5)
    >>> np.allclose(image, text)
    True
    """
    image, text = rows.check_two(image, text)
    delta = check_lambda(delta, "delta")
    gap = check_gap(gap, image, text)
    length = np.linalg.norm(gap)
    if length < 1e-12:
        raise ValueError("the centroids coincide, so the gap has no direction to move along")
    half = delta / 2 * (gap / length)
    return _moved(image, -half, "image"), _moved(text, half, "text")


def centre(image: ArrayLike, text: ArrayLike, fit: Rows | None = None) -> Rows:
    """Each modality's own mean taken off, then renormalised (as in GR-CLIP and I0T).

    Before renormalising, both centroids are at the origin and their distance is 0; after it, it is small. Unlike
    `shift` it also takes away the cones, since no mean direction is left.

    Parameters
    ----------
    image, text : ndarray of shape (n, d)
        Unit-norm rows; the row counts may differ.
    fit : (ndarray, ndarray), optional
        The image and text rows whose means are taken off; by default these.

    Returns
    -------
    (ndarray, ndarray)

    Raises
    ------
    ValueError
        As `shift`, for `fit` too.

    Examples
    --------
    >>> x = np.array([[0.6, 0.8], [0.6, -0.8]])
    >>> centre(x, x)[0]
    array([[ 0.,  1.],
           [ 0., -1.]])
    """
    image, text = rows.check_two(image, text)
    fit_image, fit_text = _fit(fit, image, text)
    image_mean = rows.moments(fit_image, "image").mean
    text_mean = rows.moments(fit_text, "text").mean
    return _moved(image, -image_mean, "image"), _moved(text, -text_mean, "text")


def realign(image: ArrayLike, text: ArrayLike, fit: Rows | None = None) -> Rows:
    """ReAlign: texts alone are moved, onto the mean and the spread of the images.

    text'  = normalise(s (text - mean_text) + mean_image),   s = sqrt(tr cov_image / tr cov_text)
    text'' = normalise(text' - mean(text') + mean_image)

    Before the last renormalising, the centroids coincide; after it, their distance is small. Images stay as they are.

    Parameters
    ----------
    image, text : ndarray of shape (n, d)
        Unit-norm rows; the row counts may differ.
    fit : (ndarray, ndarray), optional
        The image and text rows that means and spreads are taken from; by default these.

    Returns
    -------
    (ndarray, ndarray)
        `image` as it was, and the moved `text`.

    Raises
    ------
    ValueError
        As `shift`, for `fit` too, and if all texts are the same, so that they have no spread.

    Examples
    --------
    >>> x = np.array([[0.6, 0.8], [0.6, -0.8]])
    >>> np.allclose(realign(x, -x)[1], -x[:, [0, 1]] * [-1, 1])
    True
    """
    image, text = rows.check_two(image, text)
    fit_image, fit_text = _fit(fit, image, text)
    images = rows.moments(fit_image, "image")
    texts = rows.moments(fit_text, "text")
    if texts.variance <= rows.nothing(fit_text):
        raise ValueError("text: all rows are the same, so there is no spread to scale")
    scale = float(np.sqrt(images.variance / texts.variance))

    def first(x):
        return _moved(x, images.mean - scale * texts.mean, "text", scale)

    again = images.mean - rows.moments(first(fit_text), "text").mean
    return rows.scan(image, "image"), _moved(first(text), again, "text")


def drop_gap_dims(image: ArrayLike, text: ArrayLike, k: int, gap: ArrayLike | None = None) -> Rows:
    """The k dimensions in which the centroids differ most taken out, then renormalised (Schrodi et al. 2025).

    Before renormalising, the squared centroid distance loses the k largest squared entries of the gap vector; after it,
    the distance may be larger again, since rows that lost much are stretched much.

    Parameters
    ----------
    image, text : ndarray of shape (n, d)
        Unit-norm rows; the row counts may differ.
    k : int
        1 <= k < d.
    gap : ndarray of shape (d,), optional
        As in `shift`.

    Returns
    -------
    (ndarray, ndarray)
        Of shape (n, d - k).

    Raises
    ------
    ValueError
        As `shift`, and if k is not an integer between 1 and d - 1.

    Examples
    --------
    >>> drop_gap_dims(np.array([[0.8, 0.6, 0.0]]), np.array([[0.0, 0.6, 0.8]]), k=1)[0].round(3)
    array([[1., 0.]])
    """
    image, text = rows.check_two(image, text)
    gap = check_gap(gap, image, text)
    k = rows.check_k(k, len(gap) - 1, "the width less one")
    keep = np.sort(np.argsort(-np.abs(gap), kind="stable")[k:])
    rows.scan(image, "image")
    rows.scan(text, "text")
    return _onto_sphere(image[:, keep], "image"), _onto_sphere(text[:, keep], "text")


class LambdaShift(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """The lambda shift as a scikit-learn transformer on columns [image | text | anything else].

    `fit` takes the gap vector from the rows it is given and `transform` moves any rows along it, so in a pipeline under
    cross-validation lambda can be chosen without a held-out row ever touching the gap.

    Parameters
    ----------
    lam : float
        As in `shift`.
    n_dims : int or None
        Width of one modality: columns [0, n_dims) are the image embedding, [n_dims, 2 n_dims) the text embedding, and
        what follows is passed through. None: half of the columns (one left over is passed through).

    Attributes
    ----------
    gap_ : ndarray of shape (n_dims,)
        mean(image) - mean(text) of the rows fitted on.

    Raises
    ------
    ValueError
        If lam is not a finite number, there are too few columns, or an embedding is zero. An embedding that is not of
        unit norm is normalised, with a warning: most often the columns are not where `n_dims` says.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> rng = np.random.default_rng(0)
    >>> image, text = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in rng.normal(1, 1, size=(2, 50, 4)))
    >>> model = make_pipeline(LambdaShift(lam=0.5), LogisticRegression())
    >>> model.fit(np.hstack([image, text]), image[:, 0] > 0.5).predict(np.hstack([image, text])).shape
    (50,)
    """

    def __init__(self, lam=0.0, n_dims=None):
        self.lam = lam
        self.n_dims = n_dims

    def fit(self, X, y=None):
        """Take the gap vector from the rows of X, shape (n, columns); y is not used."""
        X = validate_data(self, X, dtype=(np.float64, np.float32))
        check_lambda(self.lam)
        image, text = self._halves(X)
        self.gap_ = measures.gap_vector(image, text)
        return self

    def transform(self, X):
        """X, shape (n, columns), with both embeddings moved and renormalised."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        image, text = self._halves(X)
        return np.hstack([*shift(image, text, self.lam, self.gap_), X[:, 2 * len(self.gap_) :]])

    def _halves(self, X):
        width = X.shape[1] // 2 if self.n_dims is None else self.n_dims
        rows.check_k(width, X.shape[1] // 2, f"half of n_features = {X.shape[1]}", "n_dims")
        return _normalised(X[:, :width], "image"), _normalised(X[:, width : 2 * width], "text")


def _normalised(x, name):
    unit = rows.normalise(x, name)
    with np.errstate(over="ignore"):
        norms = np.linalg.norm(x, axis=1)
    worst = int(np.abs(norms - 1).argmax())
    if abs(norms[worst] - 1) > rows.NORM:
        warnings.warn(
            f"LambdaShift: {name} row {worst} has norm {norms[worst]:.4g}, not 1; normalised. "
            "Are the columns [image | text | anything else], and is n_dims the width of one embedding?",
            stacklevel=3,
        )
    return unit


def by_lambda(
    image: ArrayLike,
    text: ArrayLike,
    lams: Iterable[float],
    gap: ArrayLike | None = None,
    measure: Callable[[np.ndarray, np.ndarray], pd.Series] | None = None,
) -> pd.DataFrame:
    """Measures of the gap and of both cones after the lambda shift, at many lambdas.

    Without a `measure`, five are found in closed form, without moving a row: as |x'|^2 = 1 + 2 s x.gap + s^2 |gap|^2,
    the sum of the moved rows is a product of the rows with 1 / |x'|, and the cosine of a pair is
    (x.y + s_y x.gap + s_x y.gap + s_x s_y |gap|^2) / (|x'| |y'|). One pass over the rows serves all lambdas.

    Parameters
    ----------
    image, text : ndarray of shape (n, d)
        Unit-norm rows, paired, n >= 2.
    lams : sequence of float
        At least one.
    gap : ndarray of shape (d,), optional
        As in `shift`.
    measure : callable, optional
        Of the moved images and texts, such as `gap.summary`; gives values by name, a row of the table.

    Returns
    -------
    DataFrame
        One row a lambda: centroid_distance, mean_cosine_image, mean_cosine_text, paired_cosine, relative_gap (NaN where
        all rows are one point); or what `measure` gives.

    Raises
    ------
    ValueError
        As `shift`, and if the rows are not pairs or there is no lambda.

    Examples
    --------
    >>> x = np.eye(8)
    >>> by_lambda(x, -x, [0, 1])["centroid_distance"].round(3).tolist()
    [0.707, 0.0]
    >>> by_lambda(x, -x, [0, 1], measure=measures.summary).shape
    (2, 11)
    """
    image, text = rows.check_pairs(image, text, least=2)
    lams = check_lambdas(lams)
    gap = check_gap(gap, image, text)
    if measure is None:
        table = _closed_form(image, text, lams, gap)
    else:
        table = pd.DataFrame([measure(*shift(image, text, lam, gap)) for lam in lams])
    return table.set_axis(pd.Index(lams, name="lam"))


class _Side(NamedTuple):
    """Rows of one modality and what brings them to every lambda: x' = (x + step gap) / norm."""

    x: np.ndarray  # (n, d)
    steps: np.ndarray  # (lambdas,)
    factors: np.ndarray  # 1 / norm, (n, lambdas)
    gap: np.ndarray  # (d,)

    def sum(self):
        """Sum of the moved rows at every lambda, (lambdas, d)."""
        return self.factors.T @ self.x + np.outer(self.steps * self.factors.sum(0), self.gap)

    def cosines(self, other):
        """Cosine of every pair at every lambda, (n, lambdas)."""
        as_encoded = np.einsum("ij,ij->i", self.x, other.x)[:, None]
        along = other.steps * (self.x @ self.gap)[:, None] + self.steps * (other.x @ self.gap)[:, None]
        product = as_encoded + along + self.steps * other.steps * (self.gap @ self.gap)
        return product * self.factors * other.factors


def _side(x, steps, gap, name, first):
    x = x.astype(float)
    norms = shifted_norms(x, steps, gap)
    _refuse_origin(norms.min(1), name, first)
    return _Side(x, steps, 1 / norms, gap)


def _closed_form(image, text, lams, gap):
    half = np.array(lams) / 2
    image_sum = np.zeros((len(lams), len(gap)))
    text_sum = np.zeros((len(lams), len(gap)))
    cosine = np.zeros(len(lams))
    start = 0
    for image_block, text_block in zip(rows.blocks(image, "image"), rows.blocks(text, "text"), strict=True):
        images = _side(image_block, -half, gap, "image", start)
        texts = _side(text_block, half, gap, "text", start)
        image_sum += images.sum()
        text_sum += texts.sum()
        cosine += images.cosines(texts).sum(0)
        start += len(image_block)
    n = len(image)
    table = pd.DataFrame({"centroid_distance": np.linalg.norm(image_sum - text_sum, axis=1) / n})
    table["mean_cosine_image"] = (rows.squares(image_sum) - n) / (n * (n - 1))
    table["mean_cosine_text"] = (rows.squares(text_sum) - n) / (n * (n - 1))
    table["paired_cosine"] = cosine / n
    between = (1 - table["paired_cosine"]) / 2
    within = (2 - table["mean_cosine_image"] - table["mean_cosine_text"]) / 4
    table["relative_gap"] = between / (between + within)
    return table


def shifted_norms(x: np.ndarray, steps: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """Norms that rows would have after `x + step * gap`, for many steps at once and without moving anything.

    |x'|^2 = 1 + 2 step x.gap + step^2 |gap|^2 for unit-norm x. With it, a linear score of a moved and renormalised
    row is (w.x + step w.gap) / |x'|: one matrix product serves every lambda.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Unit-norm rows.
    steps : ndarray of shape (m,)
        -lambda / 2 for images, +lambda / 2 for texts.
    gap : ndarray of shape (d,)

    Returns
    -------
    ndarray of shape (n, m)

    Examples
    --------
    >>> shifted_norms(np.eye(2), np.array([0.0, 1.0]), np.array([1.0, 0.0]))
    array([[1.        , 2.        ],
           [1.        , 1.41421356]])
    """
    along = (x @ gap)[:, None]
    return np.sqrt(np.maximum(1 + 2 * steps * along + steps**2 * (gap @ gap), 0))


def check_lambda(lam: float, name: str = "lambda") -> float:
    """`lam` as a float, or a ValueError when it is not a finite number that leaves something of the rows."""
    if isinstance(lam, bool) or not isinstance(lam, numbers.Real) or not abs(lam) <= LARGEST:  # nan is refused, too
        raise ValueError(f"{name} must be a finite number from {-LARGEST:g} to {LARGEST:g}, got {lam!r}")
    return float(lam)


def check_lambdas(lams: Iterable[float]) -> list[float]:
    """`lams` as a list of floats, at least one."""
    if isinstance(lams, str) or not np.iterable(lams):
        raise ValueError(f"lambdas must be a sequence of numbers, got {lams!r}")
    lams = [check_lambda(lam) for lam in lams]
    if not lams:
        raise ValueError("at least one lambda is needed, got none")
    return lams


def check_gap(gap: ArrayLike | None, image: np.ndarray, text: np.ndarray) -> np.ndarray:
    """`gap` as a finite vector as wide as the rows; that of `image` and `text` when it is None."""
    if gap is None:
        return measures.gap_vector(image, text)
    gap = rows.as_array(gap, "gap")
    width = image.shape[1]
    if gap.shape != (width,) or gap.dtype.kind not in "fiu" or not (np.abs(gap) <= LARGEST).all():
        raise ValueError(
            f"gap must be a finite vector of length {width}, of numbers from {-LARGEST:g} to {LARGEST:g}, "
            f"got {gap.dtype} of shape {gap.shape}"
        )
    return gap.astype(float)


def _fit(fit, image, text):
    """`fit` checked to be as wide as the rows; the rows themselves when it is None."""
    if fit is None:
        return image, text
    try:
        fit_image, fit_text = fit
    except (TypeError, ValueError) as error:
        raise ValueError("fit must be two arrays, (image, text), to fit the move on") from error
    fit_image, fit_text = rows.check_two(fit_image, fit_text)
    rows.check_two(fit_image, image)
    return fit_image, fit_text


def _moved(x, by, name, scale=1):
    """normalise(scale x + by), in blocks."""
    out = np.empty(x.shape, rows.precision(x))
    start = 0
    for block in rows.blocks(x, name):
        stop = start + len(block)
        out[start:stop] = _onto_sphere(scale * block + by.astype(block.dtype), name, start)
        start = stop
    return out


def _onto_sphere(moved, name, first=0):
    norms = np.linalg.norm(moved, axis=1)
    _refuse_origin(norms, name, first)
    return moved / norms[:, None]


def _refuse_origin(norms, name, first):
    nearest = int(norms.argmin())
    if norms[nearest] < ORIGIN:
        raise ValueError(f"{name}: row {first + nearest} is moved to the origin and has no direction there")

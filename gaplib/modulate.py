r"""Moving the image cloud and the text cloud: the lambda shift, its rivals, lambda as a scikit-learn transformer.

.. math:: x' = \mathrm{normalise}(\mathrm{scale} \cdot x + \mathrm{by})

Every move has this form, of `image` and `text` as in `gaplib.gap`: rows of unit norm, shape (n, d),
as many images as texts or not. It gives both, moved and of unit norm again. `by_lambda` measures what the shift does.

What a move takes from rows it may take from others than it moves, so that nothing is fitted on test rows: `gap`, a
finite vector of shape (d,), is the gap to move along, and `fit`, (image, text), the rows whose means are used. By
default both are of the rows moved. Besides what `gaplib.gap` refuses, a ValueError says what is wrong with a lambda, a
gap or a fit, and which row is moved to the origin, where it has no direction.
"""

import numbers
import warnings
from collections.abc import Callable, Iterable

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
LABELS = {  # of what `by_lambda` finds by itself, in figures
    "centroid_distance": "centroid distance",
    "mean_cosine_image": "mean cosine, images",
    "mean_cosine_text": "mean cosine, texts",
    "paired_cosine": "paired cosine",
    "relative_gap": "relative gap (RMG)",
}

Rows = tuple[np.ndarray, np.ndarray]  # of images and of texts


def shift(image: ArrayLike, text: ArrayLike, lam: float, gap: ArrayLike | None = None) -> Rows:
    r"""The lambda shift: both clouds moved towards each other, then put back on the unit sphere (arXiv 2603.17246).

    .. math:: \mathrm{image}' = \mathrm{normalise} \left( \mathrm{image} - \frac{\lambda}{2} \, \mathrm{gap} \right)

    .. math:: \mathrm{text}' = \mathrm{normalise} \left( \mathrm{text} + \frac{\lambda}{2} \, \mathrm{gap} \right)

    The gap is mean(image) - mean(text), or the one given. Before renormalising, the centroid distance becomes
    abs(1 - lam) times what it was: lam = 0 leaves the rows as encoded; at lam = 1 the centroids coincide, so after
    renormalising their distance is small but need not be 0; lam < 0 widens the gap and lam > 1 overshoots. This is not
    the delta of `liang_shift`, nor mean-centring. lam may be any number from -1e6 to 1e6.

    Examples
    --------
    >>> image, text = shift(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]), lam=1.0)
    >>> np.allclose(image, text)
    True
    """
    image, text = rows.check_two(image, text)
    half = check_lambda(lam) / 2 * check_gap(gap, image, text)
    return _moved(image, "image", by=-half), _moved(text, "text", by=half)


def liang_shift(image: ArrayLike, text: ArrayLike, delta: float, gap: ArrayLike | None = None) -> Rows:
    r"""The shift of Liang et al. 2022: as `shift`, but counted in units of length along the gap.

    .. math:: \mathrm{image}' = \mathrm{normalise} \left(
        \mathrm{image} - \frac{\delta}{2} \frac{\mathrm{gap}}{|\mathrm{gap}|} \right)

    .. math:: \mathrm{text}' = \mathrm{normalise} \left(
        \mathrm{text} + \frac{\delta}{2} \frac{\mathrm{gap}}{|\mathrm{gap}|} \right)

    Before renormalising, the centroid distance becomes abs(centroid distance - delta): the same delta closes a narrow
    gap and hardly touches a wide one. It is `shift` with lam = delta over the length of the gap. A gap of zero has no
    direction: refused.

    Examples
    --------
    >>> image, text = liang_shift(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]), delta=2**0.5)
    >>> np.allclose(image, text)
    True
    """
    image, text = rows.check_two(image, text)
    gap = check_gap(gap, image, text)
    length = np.linalg.norm(gap)
    if length < 1e-12:
        raise ValueError("the centroids coincide, so the gap has no direction to move along")
    return shift(image, text, check_lambda(delta, "delta"), gap / length)


def centre(image: ArrayLike, text: ArrayLike, fit: Rows | None = None) -> Rows:
    r"""Each modality's own mean taken off, then renormalised (as in GR-CLIP and I0T).

    .. math:: x' = \mathrm{normalise}(x - \mathrm{mean}(x))

    Before renormalising, both centroids are at the origin and their distance is 0; after it, it is small. Unlike
    `shift` it also takes away the cones, since no mean direction is left.

    Examples
    --------
    >>> x = np.array([[0.6, 0.8], [0.6, -0.8]])
    >>> centre(x, x)[0]
    array([[ 0.,  1.],
           [ 0., -1.]])
    """
    image, text = rows.check_two(image, text)
    fit_image, fit_text = _check_fit(fit, image, text)
    image_mean = rows.moments(fit_image, "image").mean
    text_mean = rows.moments(fit_text, "text").mean
    return _moved(image, "image", by=-image_mean), _moved(text, "text", by=-text_mean)


def realign(image: ArrayLike, text: ArrayLike, fit: Rows | None = None) -> Rows:
    r"""ReAlign: texts alone are moved, onto the mean and the spread of the images.

    .. math:: \mathrm{text}' = \mathrm{normalise} \left( s \, (\mathrm{text} - \mathrm{mean}(\mathrm{text}))
        + \mathrm{mean}(\mathrm{image}) \right), \quad
        s = \sqrt{\frac{\mathrm{tr} \, C_\mathrm{image}}{\mathrm{tr} \, C_\mathrm{text}}}

    .. math:: \mathrm{text}'' = \mathrm{normalise} \left( \mathrm{text}' - \mathrm{mean}(\mathrm{text}')
        + \mathrm{mean}(\mathrm{image}) \right)

    Before the last renormalising, the centroids coincide; after it, their distance is small. Images stay as they are.
    Texts that are all the same have no spread and are refused.

    Examples
    --------
    >>> x = np.array([[0.6, 0.8], [0.6, -0.8]])
    >>> np.allclose(realign(x, -x)[1], -x[:, [0, 1]] * [-1, 1])
    True
    """
    image, text = rows.check_two(image, text)
    fit_image, fit_text = _check_fit(fit, image, text)
    images = rows.moments(fit_image, "image")
    texts = rows.moments(fit_text, "text")
    if texts.variance <= rows.nothing(fit_text):
        raise ValueError("text: all rows are the same, so there is no spread to scale")
    scale = float(np.sqrt(images.variance / texts.variance))
    onto = images.mean - scale * texts.mean
    middle = rows.moments(_moved(fit_text, "text", by=onto, scale=scale), "text").mean
    moved = _moved(text, "text", by=onto, scale=scale)
    return rows.scan(image, "image"), _moved(moved, "text", by=images.mean - middle)


def drop_gap_dims(image: ArrayLike, text: ArrayLike, k: int, gap: ArrayLike | None = None) -> Rows:
    """The k dimensions in which the centroids differ most taken out, then renormalised (Schrodi et al. 2025).

    Before renormalising, the squared centroid distance loses the k largest squared entries of the gap vector; after it,
    the distance may be larger again, since rows that lost much are stretched much. 1 <= k < d; gives rows of shape
    (n, d - k).

    Examples
    --------
    >>> drop_gap_dims(np.array([[0.8, 0.6, 0.0]]), np.array([[0.0, 0.6, 0.8]]), k=1)[0].round(3)
    array([[1., 0.]])
    """
    image, text = rows.check_two(image, text)
    gap = check_gap(gap, image, text)
    k = rows.check_k(k, len(gap) - 1, "the width less one")
    kept = np.ones(len(gap), bool)
    kept[np.argsort(-np.abs(gap), kind="stable")[:k]] = False
    return _moved(image, "image", scale=kept)[:, kept], _moved(text, "text", scale=kept)[:, kept]


def _moved(x, name, by=0.0, scale=1.0):
    """The move of one modality, normalise(scale x + by), in blocks."""
    kind = rows.precision(x)
    out = np.empty(x.shape, kind)
    start = 0
    for block in rows.blocks(x, name):
        moved = np.asarray(scale, kind) * block + np.asarray(by, kind)
        norms = _off_origin(np.linalg.norm(moved, axis=1), name, start)
        out[start : start + len(block)] = moved / norms[:, None]
        start += len(block)
    return out


def _off_origin(norms, name, first):
    """Norms of moved rows, at one lambda or at many; the first row has the number `first`."""
    row = np.unravel_index(norms.argmin(), norms.shape)[0]
    if norms[row].min() < ORIGIN:
        raise ValueError(f"{name}: row {first + row} is moved to the origin and has no direction there")
    return norms


class LambdaShift(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """The lambda shift as a scikit-learn transformer on columns [image | text | anything else].

    `fit` takes the gap vector from the rows it is given and `transform` moves any rows along it, so in a pipeline under
    cross-validation lambda can be chosen without a held-out row ever touching the gap. An embedding that is not of unit
    norm is normalised, with a warning: most often the columns are not where `n_dims` says.

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
        self.gap_ = measures.gap_vector(*self._halves(X))
        return self

    def transform(self, X):
        """X, shape (n, columns), with both embeddings moved and renormalised."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        image, text = shift(*self._halves(X), self.lam, self.gap_)
        return np.hstack([image, text, X[:, 2 * len(self.gap_) :]])

    def _halves(self, X):
        half = X.shape[1] // 2
        width = half if self.n_dims is None else self.n_dims
        rows.check_k(width, half, f"half of n_features = {X.shape[1]}", "n_dims")
        return _normalised(X[:, :width], "image"), _normalised(X[:, width : 2 * width], "text")


def _normalised(x, name):
    unit = rows.normalise(x, name)
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
    """Measures of the gap and of both cones after the lambda shift of at least two pairs, a row for each lambda.

    `measure` takes the moved images and texts and gives values by name, as `gap.summary` does. Without it, five are
    found in one pass, and no row is moved: centroid_distance, mean_cosine_image, mean_cosine_text, paired_cosine and
    relative_gap (NaN where all rows are one point).

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
        table = _in_closed_form(image, text, np.array(lams), gap)
    else:
        table = pd.DataFrame([measure(*shift(image, text, lam, gap)) for lam in lams])
    return table.set_axis(pd.Index(lams, name="lam"))


def _in_closed_form(image, text, lams, gap):
    image_sum, text_sum, cosine_sum = _sums(image, text, lams / 2, gap)
    n = len(image)
    table = pd.DataFrame({"centroid_distance": np.linalg.norm(image_sum - text_sum, axis=1) / n})
    table["mean_cosine_image"] = (rows.squares(image_sum) - n) / (n * (n - 1))
    table["mean_cosine_text"] = (rows.squares(text_sum) - n) / (n * (n - 1))
    table["paired_cosine"] = cosine_sum / n
    between = (1 - table["paired_cosine"]) / 2
    within = (2 - table["mean_cosine_image"] - table["mean_cosine_text"]) / 4
    table["relative_gap"] = between / (between + within)
    return table


def _sums(image, text, half, gap):
    """Over all pairs, the sums of image', (lambdas, d), of text' and of their cosine, (lambdas,).

    With h half a lambda, an image x becomes x' = (x - h gap) / a and its text y' = (y + h gap) / b, where a and b are
    the norms of what is above them. So the sum of x' is a product of the rows with 1 / a, and
    x'.y' = (x.y + h (x - y).gap - h^2 |gap|^2) / (a b).
    """
    image_sum = text_sum = cosine_sum = 0.0
    start = 0
    for x, y in zip(rows.blocks(image, "image"), rows.blocks(text, "text"), strict=True):
        x = x.astype(float)
        y = y.astype(float)
        x_factors = 1 / _off_origin(shifted_norms(x, -half, gap), "image", start)
        y_factors = 1 / _off_origin(shifted_norms(y, half, gap), "text", start)
        image_sum += x_factors.T @ x - np.outer(half * x_factors.sum(0), gap)
        text_sum += y_factors.T @ y + np.outer(half * y_factors.sum(0), gap)
        paired = np.einsum("ij,ij->i", x, y)[:, None]
        product = paired + half * ((x - y) @ gap)[:, None] - half**2 * (gap @ gap)
        cosine_sum += (product * x_factors * y_factors).sum(0)
        start += len(x)
    return image_sum, text_sum, cosine_sum


def shifted_norms(x: np.ndarray, steps: np.ndarray, gap: np.ndarray) -> np.ndarray:
    r"""Norms that n unit rows would have after x + step gap, for m steps at once and without moving anything, (n, m).

    .. math:: |x'|^2 = 1 + 2 \, \mathrm{step} \; x \cdot \mathrm{gap} + \mathrm{step}^2 \, |\mathrm{gap}|^2

    The step is -lambda / 2 for images and lambda / 2 for texts. With it, one matrix product serves every lambda, for a
    linear score of a moved and renormalised row is

    .. math:: \frac{w \cdot x + \mathrm{step} \; w \cdot \mathrm{gap}}{|x'|}

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
    if not np.iterable(lams):
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


def _check_fit(fit, image, text):
    """`fit`, as wide as the rows; the rows themselves when it is None."""
    if fit is None:
        return image, text
    if not isinstance(fit, tuple | list) or len(fit) != 2:
        raise ValueError("fit must be two arrays, (image, text), to fit the move on")
    fit_image, fit_text = rows.check_two(*fit)
    if fit_image.shape[1] != image.shape[1]:
        raise ValueError(f"fit and rows differ in width: {fit_image.shape[1]} and {image.shape[1]}")
    return fit_image, fit_text

"""Moving the image cloud and the text cloud: the lambda shift, its rivals, and lambda as a scikit-learn transformer.

Every function takes unit-norm rows and gives unit-norm rows. `gap` or `fit` let the move be fitted on other (training)
rows than those moved. Bad rows are refused as in `gaplib.gap`.
"""

import numbers
import warnings

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from gaplib import gap as measures
from gaplib import rows

__all__ = ["LambdaShift", "centre", "drop_gap_dims", "liang_shift", "realign", "shift", "shifted_norms"]


def __dir__():  # what tab completion shows
    return __all__


def shift(image, text, lam, gap=None):
    """The lambda shift: both clouds moved towards each other, then put back on the unit sphere.

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
        Any finite number.
    gap : ndarray of shape (d,), optional
        The gap vector to move along, fitted on other (training) rows; by default that of these rows.

    Returns
    -------
    (ndarray, ndarray)
        The moved `image` and `text`, unit norm.

    Raises
    ------
    ValueError
        If the widths differ, a row is not finite or not of unit norm, lam or gap is not finite, gap has another width,
        or a row is moved to the origin.

    References
    ----------
    arXiv 2603.17246.

    Examples
    --------
    >>> image, text = shift(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]), lam=1.0)
    >>> np.allclose(image, text)
    True
    """
    image, text = rows.check_two(image, text)
    lam, gap = check_lambda(lam), check_gap(gap, image, text)
    return _moved(image, -lam / 2 * gap, "image"), _moved(text, lam / 2 * gap, "text")


def liang_shift(image, text, delta, gap=None):
    """The shift of Liang et al.: as `shift`, but counted in units of length along the gap.

    text'  = normalise(text  + (delta / 2) gap / |gap|)
    image' = normalise(image - (delta / 2) gap / |gap|)

    Before renormalising, the centroid distance becomes |centroid distance - delta|: the same delta closes a narrow gap
    and hardly touches a wide one. It is `shift` with lam = delta / |gap|.

    Parameters
    ----------
    image, text : ndarray of shape (n, d)
        Unit-norm rows; the row counts may differ.
    delta : float
        Any finite number.
    gap : ndarray of shape (d,), optional
        As in `shift`.

    Returns
    -------
    (ndarray, ndarray)

    Raises
    ------
    ValueError
        As `shift`, and if the gap is zero, so that it has no direction.

    References
    ----------
    Liang et al. 2022.

    Examples
    --------
    >>> image, text = liang_shift(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]), delta=2**0.5)
    >>> np.allclose(image, text)
    True
    """
    image, text = rows.check_two(image, text)
    delta, gap = check_lambda(delta, "delta"), check_gap(gap, image, text)
    length = np.linalg.norm(gap)
    if length < 1e-12:
        raise ValueError("the centroids coincide, so the gap has no direction to move along")
    return shift(image, text, delta / float(length), gap)


def centre(image, text, fit=None):
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
    means = [rows.moments(x, name).mean for x, name in zip(_fit(fit, image, text), ("image", "text"), strict=True)]
    return _moved(image, -means[0], "image"), _moved(text, -means[1], "text")


def realign(image, text, fit=None):
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
    to, image_spread = rows.moments(fit_image, "image")
    mean, text_spread = rows.moments(fit_text, "text")
    if text_spread <= rows.nothing(fit_text):
        raise ValueError("text: all rows are the same, so there is no spread to scale")
    scale = float(np.sqrt(image_spread / text_spread))

    def first(x):
        return _moved(x, to - scale * mean, "text", scale)

    again = to - rows.moments(first(fit_text), "text").mean
    return rows.scan(image, "image"), _moved(first(text), again, "text")


def drop_gap_dims(image, text, k, gap=None):
    """The k dimensions in which the centroids differ most taken out, then renormalised.

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

    References
    ----------
    Schrodi et al. 2025.

    Examples
    --------
    >>> drop_gap_dims(np.array([[0.8, 0.6, 0.0]]), np.array([[0.0, 0.6, 0.8]]), k=1)[0].round(3)
    array([[1., 0.]])
    """
    image, text = rows.check_two(image, text)
    gap = check_gap(gap, image, text)
    k = rows.check_k(k, len(gap) - 1, "the width less one")
    keep = np.sort(np.argsort(-np.abs(gap), kind="stable")[k:])
    none = np.zeros(len(keep))
    for x, name in ((image, "image"), (text, "text")):
        rows.scan(x, name)
    return _onto_sphere(image[:, keep], none, "image"), _onto_sphere(text[:, keep], none, "text")


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
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    if not norms.all():
        raise ValueError(f"{name}: row {int(norms.argmin())} is zero; drop or repair it")
    worst = int(np.abs(norms - 1).argmax())
    if abs(norms[worst, 0] - 1) > rows.NORM:
        warnings.warn(
            f"LambdaShift: {name} row {worst} has norm {norms[worst, 0]:.4g}, not 1; normalised. "
            "Are the columns [image | text | anything else], and is n_dims the width of one embedding?",
            stacklevel=3,
        )
    return x / norms


def check_lambda(lam, name="lambda"):
    """`lam` as a float, or a ValueError when it is not a finite number."""
    if isinstance(lam, bool) or not isinstance(lam, numbers.Real) or not np.isfinite(lam):
        raise ValueError(f"{name} must be a finite number, got {lam!r}")
    return float(lam)


def check_gap(gap, image, text):
    """`gap` as a finite vector as wide as the rows; that of `image` and `text` when it is None."""
    if gap is None:
        return measures.gap_vector(image, text)
    gap = np.asarray(gap, float)
    if gap.shape != (image.shape[1],) or not np.isfinite(gap).all():
        raise ValueError(f"gap must be a finite vector of length {image.shape[1]}, got shape {gap.shape}")
    return gap


def _fit(fit, image, text):
    """`fit` checked to be as wide as the rows; the rows themselves when it is None."""
    if fit is None:
        return image, text
    fit = rows.check_two(*fit)
    rows.check_two(fit[0], image)
    return fit


def shifted_norms(x, steps, gap):
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


def _moved(x, by, name, scale=1):
    """normalise(scale x + by), in blocks."""
    out, start = np.empty(x.shape, np.result_type(x, np.float32)), 0
    for block in rows.blocks(x, name):
        out[start : start + len(block)] = _onto_sphere(block, by, name, scale, start)
        start += len(block)
    return out


def _onto_sphere(x, by, name, scale=1, start=0):
    moved = scale * x + by.astype(x.dtype)
    norms = np.linalg.norm(moved, axis=1, keepdims=True)
    if (norms < 1e-6).any():  # nearer than rounding can tell from the origin
        raise ValueError(f"{name}: row {start + int(norms.argmin())} is moved to the origin and has no direction there")
    return moved / norms

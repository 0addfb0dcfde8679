"""Treatments of paired rows, at every strength at once, in closed form.

A treatment makes of a row x, at strength lam,

    x' = (x + lam a v) A / |x + lam b v|

so a linear score of it is (x . u + lam a v . u) / |x + lam b v| with u = A w: rows are multiplied once, and every
strength follows by a rank-one correction and a factor. Treatments are fitted on training rows and leave the rows as
encoded at strength 0.
"""

from collections.abc import Callable
from copy import copy
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.covariance import ledoit_wolf
from sklearn.preprocessing import StandardScaler

from gaplib.gap import gap_vector
from gaplib.modulate import ORIGIN
from gaplib.rows import moments

APART = (0.5, -0.5)  # along the gap, text first: towards each other
ALONG = (-0.5, -0.5)
BACK = (-1.0, -1.0)
NOT = (0.0, 0.0)


class Move(NamedTuple):
    """A treatment, fitted: what a row of text (first) and one of image (second) become at each strength."""

    directions: np.ndarray  # v, (2, d)
    added: tuple[float, float]  # a
    measured: tuple[float, float]  # b: 0 leaves the length as it is
    linear: np.ndarray | None = None  # A, (2, strengths, 1 or d) if diagonal, else (2, strengths, d, d); none: identity


def shift(image: np.ndarray, text: np.ndarray, lams: np.ndarray, seed: int) -> Move:
    """What `modulate.shift` does: x' = normalise(x + lam a gap), a = 1/2 for texts and -1/2 for images."""
    gap = gap_vector(image, text)
    return Move(np.array([gap, gap]), APART, APART)


def shift_only(image: np.ndarray, text: np.ndarray, lams: np.ndarray, seed: int) -> Move:
    """Position alone: x' = x + lam a gap, to which a converged probe with a free bias is indifferent."""
    return shift(image, text, lams, seed)._replace(measured=NOT)


def rescale(image: np.ndarray, text: np.ndarray, lams: np.ndarray, seed: int) -> Move:
    """Length alone, on average: x' = x mean(1 / |x + lam a gap|), the mean over training rows."""
    each = rescale_each(image, text, lams, seed)
    means = []
    for x, v, b, name in zip((text, image), each.directions, each.measured, ("text", "image"), strict=True):
        lengths = norms(_along(x, v[None])[0], v, b * lams, name)
        means.append((1 / lengths).mean(0)[:, None])
    return each._replace(measured=NOT, linear=np.array(means))


def rescale_each(image: np.ndarray, text: np.ndarray, lams: np.ndarray, seed: int) -> Move:
    """Length alone, row by row: x' = x / |x + lam a gap|."""
    return shift(image, text, lams, seed)._replace(added=NOT)


def gap_kept(image: np.ndarray, text: np.ndarray, lams: np.ndarray, seed: int) -> Move:
    """Moved as far as by the shift, but together: x' = normalise(x - lam / 2 gap) for texts and images."""
    return shift(image, text, lams, seed)._replace(added=ALONG, measured=ALONG)


def placebo(image: np.ndarray, text: np.ndarray, lams: np.ndarray, seed: int) -> Move:
    """The shift along any direction of the gap's length: x' = normalise(x + lam a v), v drawn by each seed anew."""
    v = np.random.default_rng(seed).normal(size=image.shape[1])
    v *= np.linalg.norm(gap_vector(image, text)) / np.linalg.norm(v)
    return Move(np.array([v, v]), APART, APART)


def centre(image: np.ndarray, text: np.ndarray, lams: np.ndarray, seed: int) -> Move:
    """What `modulate.centre` does at strength 1: x' = normalise(x - lam mean)."""
    return Move(np.array([moments(text, "text").mean, moments(image, "image").mean]), BACK, BACK)


def standardise(image: np.ndarray, text: np.ndarray, lams: np.ndarray, seed: int) -> Move:
    """Each feature's mean off, and its standard deviation out: x' = (x - lam mean) / sd^lam; z-scores at strength 1.

    A feature that does not vary keeps its scale.
    """
    _check_shares("standardise", lams)
    spreads = np.array([StandardScaler().fit(x).scale_ for x in (text, image)])
    linear = spreads[:, None] ** -lams[:, None]
    return centre(image, text, lams, seed)._replace(measured=NOT, linear=linear)


def whiten(image: np.ndarray, text: np.ndarray, lams: np.ndarray, seed: int) -> Move:
    """Features without correlation: x' = (x - lam mean) C^(-lam / 2), C the covariance, shrunk (Ledoit & Wolf 2004)."""
    _check_shares("whiten", lams)
    linear = np.array([_powers(ledoit_wolf(x.astype(float))[0], -lams / 2) for x in (text, image)])
    return centre(image, text, lams, seed)._replace(measured=NOT, linear=linear)


TREATMENTS: dict[str, Callable] = {
    "shift": shift,
    "shift-only": shift_only,
    "rescale": rescale,
    "rescale-each": rescale_each,
    "gap-kept": gap_kept,
    "placebo": placebo,
    "centre": centre,
    "standardise": standardise,
    "whiten": whiten,
}


def _check_shares(name, lams):
    if lams.min() < 0 or lams.max() > 1:
        raise ValueError(f"a strength of {name!r} is from 0 (as encoded) to 1, got {lams.tolist()}")


def _powers(covariance, exponents):
    """The covariance to the power of each exponent, (exponents, d, d)."""
    values, axes = np.linalg.eigh(covariance)
    values[values < 1e-14] = 1  # rows that do not vary keep their scale
    powers = values ** exponents[:, None]
    return (axes * powers[:, None]) @ axes.T


def _along(x, directions):
    """x . v of every row in double precision, but without such a copy of all rows; (directions, n)."""
    parts = np.array_split(x, max(1, len(x) // 4096))
    return np.concatenate([directions @ part.astype(float).T for part in parts], axis=1)


def norms(along: np.ndarray, v: np.ndarray, steps: np.ndarray, name: str) -> np.ndarray:
    """|x + step v| of unit rows, (n, steps), from x . v (n,) and v (d,); a row at the origin is a ValueError."""
    norms = np.sqrt(np.maximum(_squares(along[:, None], v @ v, steps), 0))
    if norms.min() < ORIGIN:
        row, place = np.unravel_index(norms.argmin(), norms.shape)
        raise ValueError(
            f"{name}: pair {row} is moved to the origin and has no direction there; leave lambda number {place} out"
        )
    return norms


def _squares(along, square, steps):
    """|x + step v|^2 of unit rows."""
    return 1 + 2 * steps * along + steps**2 * square


class Half:
    """One modality of all pairs, its rows `x` (n, d), and a move of it for each run.

    `directions` are v (runs, d), `along` x . v (runs, n), and `linear` A (runs, strengths, ...), if there is one.
    """

    def __init__(self, x, moves, place, lams, name):
        like = {"device": x.device, "dtype": x.dtype}
        directions = np.array([move.directions[place] for move in moves])
        along = _along(x.numpy(force=True), directions)
        self.x = x
        self.added = moves[0].added[place]
        self.measured = moves[0].measured[place]
        for products, v in zip(along, directions, strict=True):
            norms(products, v, self.measured * lams, name)
        self.directions = torch.as_tensor(directions, **like)
        self.along = torch.as_tensor(along, **like)
        self.linear = None
        if moves[0].linear is not None:
            self.linear = torch.as_tensor(np.array([move.linear[place] for move in moves]), **like)

    def at(self, place):
        """The same rows under one of the strengths, by its place."""
        one = copy(self)
        one.linear = None if self.linear is None else self.linear[:, [place]]
        return one

    def of(self, rows):
        """The pairs `rows` (runs, batch) as encoded, (runs, batch, d): a quarter of the time of indexing."""
        return F.embedding(rows, self.x)

    def folded(self, weight):
        """A w, for weights (runs, strengths, outputs, d)."""
        if self.linear is None:
            return weight
        return weight * self.linear[:, :, None] if self.linear.ndim == 3 else weight @ self.linear

    def project(self, weight, lams, rows):
        """w . x' of the pairs `rows` (runs, batch): (runs, batch, strengths, outputs)."""
        weight = self.folded(weight)
        products = (self.of(rows) @ weight.flatten(1, 2).mT).unflatten(2, weight.shape[1:3])
        shifts = self.added * lams[..., None] * (weight @ self.directions[:, None, :, None])[..., 0]
        return (products + shifts[:, None]) * self.factors(lams, rows)[..., None]

    def factors(self, lams, rows):
        """1 / |x + lam b v|, (runs, batch, strengths)."""
        square = self.directions.square().sum(-1)[:, None, None]
        squares = _squares(self.along.gather(1, rows)[..., None], square, self.measured * lams[:, None])
        return squares.clamp(min=ORIGIN**2).rsqrt()  # in single precision a row near the origin may seem beyond it

    def rows(self, lams, rows):
        """Moved rows of each run's pairs `rows` (runs, k): (runs, strengths, k, d)."""
        shifts = (self.added * lams)[..., None, None] * self.directions[:, None, None]
        return self.folded((self.of(rows)[:, None] + shifts) * self.factors(lams, rows).mT[..., None])


class Moved:
    """Paired rows (n, d), as encoded, and what is needed to have them under every strength of each run's move.

    `image` and `text` are tensors, `moves` one a run, `lams` (strengths,) those they were fitted for. A row that is
    moved to the origin is a ValueError.
    """

    def __init__(self, image, text, moves, lams):
        self.lams = torch.as_tensor(np.array([lams] * len(moves)), dtype=text.dtype, device=text.device)
        named = enumerate([(text, "text"), (image, "image")])  # as in [text | image]
        self.halves = [Half(x, moves, place, lams, name) for place, (x, name) in named]

    def project(self, weight, rows, lams=None):
        """Text and image parts of w . x' for each run's pairs `rows` (runs, batch).

        `weight` has shape (runs, strengths, outputs, 2 d); each part (runs, batch, strengths, outputs). `lams` (runs,
        strengths) instead of the strengths that the moves were fitted for.
        """
        lams = self.lams if lams is None else lams
        return [half.project(part, lams, rows) for half, part in zip(self.halves, weight.chunk(2, -1), strict=True)]

    def folded(self, weight):
        """A w, for weights (runs, strengths, outputs, 2 d)."""
        return torch.cat([half.folded(part) for half, part in zip(self.halves, weight.chunk(2, -1), strict=True)], -1)

    def at(self, place):
        """The same rows under one of the strengths, by its place."""
        one = copy(self)
        one.lams = self.lams[:, [place]]
        one.halves = [half.at(place) for half in self.halves]
        return one

    def moments(self, rows, chunk=1024):
        """Mean (runs, strengths, 2 d) and covariance (runs, strengths, 2 d, 2 d) of moved rows [text | image]."""
        total = square = 0
        for some in rows.split(chunk, 1):
            both = torch.cat([half.rows(self.lams, some) for half in self.halves], -1)
            total = total + both.sum(-2)
            square = square + both.mT @ both
        mean = total / rows.shape[1]
        return mean, square / rows.shape[1] - mean[..., :, None] * mean[..., None, :]

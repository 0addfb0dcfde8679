"""Treatments of paired rows, at every strength at once, in closed form.

A treatment makes of a row x, at strength lam,

    x' = (x + lam a v) A / |x + lam b v|

so a linear score of it is (x . u + lam a v . u) / |x + lam b v| with u = A w: rows are multiplied once, and every
strength follows by a rank-one correction and a factor. Treatments are fitted on training rows and leave the rows as
encoded at strength 0.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.covariance import ledoit_wolf
from sklearn.preprocessing import StandardScaler

from gaplib.gap import gap_vector
from gaplib.modulate import ORIGIN
from gaplib.rows import moments

APART = np.array([[0.5], [-0.5]])  # along the gap, text first: towards each other
ALONG = np.array([[-0.5], [-0.5]])
BACK = np.array([[-1.0], [-1.0]])
NOT = np.array([[0.0], [0.0]])


class Move(NamedTuple):
    """A treatment, fitted: what a row of text (first) and one of image (second) become at each strength.

    Where a shape below has "strengths", 1 stands for the same at all.
    """

    directions: np.ndarray  # v, (2, strengths, d)
    added: np.ndarray  # a, (2, strengths)
    measured: np.ndarray  # b, (2, strengths): 0 leaves the length as it is
    linear: np.ndarray | None = None  # A, (2, strengths, 1 or d) if diagonal, else (2, strengths, d, d); none: identity

    def at(self, places: Sequence[int]) -> "Move":
        """What it is at some of the strengths, by their places."""
        return Move(*(part if part is None or part.shape[1] == 1 else part[:, places] for part in self))


def joined(moves: Sequence[Move], counts: Sequence[int]) -> Move:
    """Treatments side by side, each at so many strengths of its own, as one move."""
    if len(moves) == 1:
        return moves[0]
    ndim = max((move.linear.ndim for move in moves if move.linear is not None), default=0)
    if ndim:
        moves = [move._replace(linear=_linear(move, full=ndim == 4)) for move in moves]
    columns = zip(*moves, strict=True)
    return Move(*(None if parts[0] is None else _concatenated(parts, counts) for parts in columns))


def _concatenated(parts, counts):
    """Parts (2, strengths or 1, ...) one after the other along the strengths."""
    whole = [np.broadcast_to(part, (2, count, *part.shape[2:])) for part, count in zip(parts, counts, strict=True)]
    return np.concatenate(whole, axis=1)


def _linear(move, full):
    """A of a move for all features, (2, strengths or 1, d), or in full, (2, strengths or 1, d, d)."""
    d = move.directions.shape[-1]
    linear = np.ones((2, 1, 1)) if move.linear is None else move.linear
    if linear.ndim == 3:
        linear = np.broadcast_to(linear, (*linear.shape[:2], d))
    return linear[..., None] * np.eye(d) if full and linear.ndim == 3 else linear


def fit_shift(image: np.ndarray, text: np.ndarray, lams: np.ndarray, seed: int) -> Move:
    """What `modulate.shift` does: x' = normalise(x + lam a gap), a = 1/2 for texts and -1/2 for images."""
    gap = gap_vector(image, text)
    return Move(np.array([[gap], [gap]]), APART, APART)


def fit_shift_only(image: np.ndarray, text: np.ndarray, lams: np.ndarray, seed: int) -> Move:
    """Position alone: x' = x + lam a gap, to which a converged probe with a free bias is indifferent."""
    return fit_shift(image, text, lams, seed)._replace(measured=NOT)


def fit_rescale(image: np.ndarray, text: np.ndarray, lams: np.ndarray, seed: int) -> Move:
    """Length alone, on average: x' = x mean(1 / |x + lam a gap|), the mean over training rows."""
    each = fit_rescale_each(image, text, lams, seed)
    means = []
    for x, v, b, name in zip((text, image), each.directions, each.measured, ("text", "image"), strict=True):
        lengths = norms(_along(x, v), v, b * lams, name)
        means.append((1 / lengths).mean(0)[:, None])
    return each._replace(measured=NOT, linear=np.array(means))


def fit_rescale_each(image: np.ndarray, text: np.ndarray, lams: np.ndarray, seed: int) -> Move:
    """Length alone, row by row: x' = x / |x + lam a gap|."""
    return fit_shift(image, text, lams, seed)._replace(added=NOT)


def fit_gap_kept(image: np.ndarray, text: np.ndarray, lams: np.ndarray, seed: int) -> Move:
    """Moved as far as by the shift, but together: x' = normalise(x - lam / 2 gap) for texts and images."""
    return fit_shift(image, text, lams, seed)._replace(added=ALONG, measured=ALONG)


def fit_placebo(image: np.ndarray, text: np.ndarray, lams: np.ndarray, seed: int) -> Move:
    """The shift along any direction of the gap's length: x' = normalise(x + lam a v), v drawn by each seed anew."""
    v = np.random.default_rng(seed).normal(size=image.shape[1])
    v *= np.linalg.norm(gap_vector(image, text)) / np.linalg.norm(v)
    return Move(np.array([[v], [v]]), APART, APART)


def fit_centre(image: np.ndarray, text: np.ndarray, lams: np.ndarray, seed: int) -> Move:
    """What `modulate.centre` does at strength 1: x' = normalise(x - lam mean)."""
    means = [[moments(text, "text").mean], [moments(image, "image").mean]]
    return Move(np.array(means), BACK, BACK)


def fit_standardise(image: np.ndarray, text: np.ndarray, lams: np.ndarray, seed: int) -> Move:
    """Each feature's mean off, and its standard deviation out: x' = (x - lam mean) / sd^lam; z-scores at strength 1.

    A feature that does not vary keeps its scale.
    """
    _check_shares("standardise", lams)
    spreads = np.array([StandardScaler().fit(x).scale_ for x in (text, image)])
    linear = spreads[:, None] ** -lams[:, None]
    return fit_centre(image, text, lams, seed)._replace(measured=NOT, linear=linear)


def fit_whiten(image: np.ndarray, text: np.ndarray, lams: np.ndarray, seed: int) -> Move:
    """Features without correlation: x' = (x - lam mean) C^(-lam / 2), C the covariance, shrunk (Ledoit & Wolf 2004)."""
    _check_shares("whiten", lams)
    linear = np.array([_powers(ledoit_wolf(x.astype(float))[0], -lams / 2) for x in (text, image)])
    return fit_centre(image, text, lams, seed)._replace(measured=NOT, linear=linear)


TREATMENTS: dict[str, Callable] = {
    "shift": fit_shift,
    "shift-only": fit_shift_only,
    "rescale": fit_rescale,
    "rescale-each": fit_rescale_each,
    "gap-kept": fit_gap_kept,
    "placebo": fit_placebo,
    "centre": fit_centre,
    "standardise": fit_standardise,
    "whiten": fit_whiten,
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
    """x . v of every row in double precision, but without such a copy of all rows; (n, directions)."""
    parts = np.array_split(x, max(1, len(x) // 4096))
    return np.concatenate([part.astype(float) @ directions.T for part in parts])


def norms(along: np.ndarray, directions: np.ndarray, steps: np.ndarray, name: str) -> np.ndarray:
    """|x + step v| of unit rows, (n, steps), from x . v (n, steps) and v (steps, d); 1 stands for the same at all.

    A row at the origin is a ValueError.
    """
    norms = np.sqrt(np.maximum(_squares(along, (directions**2).sum(-1), steps), 0))
    if norms.min() < ORIGIN:
        row, place = np.unravel_index(norms.argmin(), norms.shape)
        raise ValueError(
            f"{name}: pair {row} is moved to the origin and has no direction there; leave lambda number {place} out"
        )
    return norms


def _squares(along, square, steps):
    """|x + step v|^2 of unit rows."""
    return 1 + 2 * steps * along + steps**2 * square


class Modality:
    """One modality of all pairs, its rows `x` (n, d), and a move of it for each run.

    `directions` are v (runs, strengths, d), `along` x . v (runs, n, strengths), `added` a and `measured` b
    (strengths,), with 1 for the same at all strengths; `linear` is A (runs, strengths, ...), if there is one.
    """

    def __init__(self, x, moves, place, lams, name):
        like = {"device": x.device, "dtype": x.dtype}
        rows = x.numpy(force=True)
        directions = np.array([move.directions[place] for move in moves])
        along = np.array([_along(rows, of_run) for of_run in directions])
        for products, of_run in zip(along, directions, strict=True):
            norms(products, of_run, moves[0].measured[place] * lams, name)
        self.x = x
        self.added = torch.as_tensor(moves[0].added[place], **like)
        self.measured = torch.as_tensor(moves[0].measured[place], **like)
        self.directions = torch.as_tensor(directions, **like)
        self.along = torch.as_tensor(along, **like)
        self.linear = None
        if moves[0].linear is not None:
            self.linear = torch.as_tensor(np.array([move.linear[place] for move in moves]), **like)

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
        shifts = (self.added * lams)[..., None] * (weight @ self.directions[..., None])[..., 0]
        return (products + shifts[:, None]) * self.factors(lams, rows)[..., None]

    def factors(self, lams, rows):
        """1 / |x + lam b v|, (runs, batch, strengths)."""
        square = self.directions.square().sum(-1)[:, None]
        along = torch.stack([of_run[some] for of_run, some in zip(self.along, rows, strict=True)])
        squares = _squares(along, square, self.measured * lams[:, None])
        return squares.clamp(min=ORIGIN**2).rsqrt()  # in single precision a row near the origin may seem beyond it

    def rows(self, lams, rows):
        """Moved rows of each run's pairs `rows` (runs, k): (runs, strengths, k, d)."""
        shifts = (self.added * lams)[..., None, None] * self.directions[:, :, None]
        return self.folded((self.of(rows)[:, None] + shifts) * self.factors(lams, rows).mT[..., None])


class Moved:
    """Paired rows (n, d), as encoded, and what is needed to have them under every strength of each run's move.

    `image` and `text` are tensors, `moves` one a run, `lams` (strengths,) those they were fitted for. A row that is
    moved to the origin is a ValueError.
    """

    def __init__(self, image, text, moves, lams):
        self.lams = torch.as_tensor(np.array([lams] * len(moves)), dtype=text.dtype, device=text.device)
        named = enumerate([(text, "text"), (image, "image")])  # as in [text | image]
        self.moves = moves
        self.modalities = [Modality(x, moves, place, lams, name) for place, (x, name) in named]

    def project(self, weight, rows, lams=None):
        """Text and image parts of w . x' for each run's pairs `rows` (runs, batch).

        `weight` has shape (runs, strengths, outputs, 2 d); each part (runs, batch, strengths, outputs). `lams` (runs,
        strengths) instead of the strengths that the moves were fitted for.
        """
        lams = self.lams if lams is None else lams
        parts = zip(self.modalities, weight.chunk(2, -1), strict=True)
        return [modality.project(part, lams, rows) for modality, part in parts]

    def folded(self, weight):
        """A w, for weights (runs, strengths, outputs, 2 d)."""
        parts = zip(self.modalities, weight.chunk(2, -1), strict=True)
        return torch.cat([modality.folded(part) for modality, part in parts], -1)

    def rows(self, rows):
        """Moved rows [text | image] of each run's pairs `rows` (runs, k): (runs, strengths, k, 2 d)."""
        return torch.cat([modality.rows(self.lams, rows) for modality in self.modalities], -1)

    def at(self, place):
        """The same rows under one of the strengths, by its place."""
        text, image = (modality.x for modality in self.modalities)
        return Moved(image, text, [move.at([place]) for move in self.moves], self.lams[0, [place]].numpy(force=True))

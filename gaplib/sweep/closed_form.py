"""Paired rows under every lambda at once, in closed form.

A moved row is (x + step v) c, with v the gap and c = 1 / |x + step v| when it is renormalised, so its score is
(w.x + step w.v) c: the rows are multiplied once and every lambda follows by a rank-one correction and a factor.
"""

from typing import NamedTuple

import numpy as np
import torch

from gaplib.gap import gap_vector
from gaplib.modulate import shifted_norms
from gaplib.rows import moments

FAR = 1e4  # times its length that a row may be moved: single precision keeps three digits of it
NEAR = 1e-6  # of the origin: rounding can tell no direction there


class Move(NamedTuple):
    """What a lambda does to a row, fitted: along `direction` (d,) by `steps` (2, lambdas), text first, image second.

    Then every row is renormalised, or multiplied by `factors` (2, lambdas) where they are given.
    """

    direction: np.ndarray
    steps: np.ndarray
    factors: np.ndarray | None


def lambda_shift(image: np.ndarray, text: np.ndarray, lams: np.ndarray) -> Move:
    """What `modulate.shift` does.

    Raises
    ------
    ValueError
        If a lambda is so large that nothing of the rows would be left.
    """
    return _checked(Move(gap_vector(image, text), np.outer((0.5, -0.5), lams), None), lams)


def no_renorm(image: np.ndarray, text: np.ndarray, lams: np.ndarray) -> Move:
    """The shift without renormalising: a constant shift, to which a probe with a free bias is indifferent."""
    return lambda_shift(image, text, lams)._replace(factors=np.ones((2, len(lams))))


def rescale(image: np.ndarray, text: np.ndarray, lams: np.ndarray) -> Move:
    """No shift; rows scaled by the mean factor 1 / |x'| that the shift would have given: step size alone."""
    move = lambda_shift(image, text, lams)
    text_factors = (1 / _norms(text, move.steps[0], move.direction, "text")).mean(0)
    image_factors = (1 / _norms(image, move.steps[1], move.direction, "image")).mean(0)
    return Move(move.direction, np.zeros_like(move.steps), np.array([text_factors, image_factors]))


def gap_kept(image: np.ndarray, text: np.ndarray, lams: np.ndarray) -> Move:
    """Both clouds moved by the same vector, the midpoint of their centroids to the origin at 1: the gap stays."""
    middle = (moments(image, "image").mean + moments(text, "text").mean) / 2
    return _checked(Move(middle, np.outer((-1.0, -1.0), lams), np.ones((2, len(lams)))), lams)


def _checked(move, lams):
    far = np.abs(move.steps).max(0) * np.linalg.norm(move.direction)
    if far.max() > FAR:
        raise ValueError(
            f"lambda {lams[far.argmax()]:g} moves rows by {far.max():.3g} times their length, and hardly a digit of "
            "them is left; take lambdas nearer to 0 and 1"
        )
    return move


def _norms(x, steps, direction, name):
    """Norms of the moved rows, (n, lambdas), in double precision but without such a copy of all rows."""
    parts = np.array_split(x, max(1, len(x) // 4096))
    norms = np.concatenate([shifted_norms(part.astype(float), steps, direction) for part in parts])
    if norms.min() < NEAR:
        row, place = np.unravel_index(norms.argmin(), norms.shape)
        raise ValueError(
            f"{name}: pair {row} is moved to the origin and has no direction there; leave lambda number {place} out"
        )
    return norms


class Half(NamedTuple):
    """One modality of pairs: its rows (n, d), and what moves them: factors (n, lambdas) and steps (lambdas,)."""

    rows: torch.Tensor
    factors: torch.Tensor
    steps: torch.Tensor

    def some(self, rows):
        """The half of the pairs `rows`, of any shape."""
        return Half(self.rows[rows], self.factors[rows], self.steps)


class Moved:
    """Paired rows (n, d), as encoded, and what is needed to have them under every lambda of a move.

    A row that is moved to the origin is a ValueError.
    """

    def __init__(self, image, text, move, device="cpu", dtype=torch.float32):
        self.move = move
        self.like = {"device": device, "dtype": dtype}
        self.direction = torch.as_tensor(move.direction, **self.like)
        self.halves = [self._half(0, text, "text"), self._half(1, image, "image")]  # as in [text | image]

    def _half(self, place, x, name):
        steps = self.move.steps[place]
        if self.move.factors is None:
            factors = torch.as_tensor(1 / _norms(x, steps, self.move.direction, name), **self.like)
        else:
            factors = torch.as_tensor(self.move.factors[place], **self.like).expand(len(x), -1)
        return Half(torch.as_tensor(x, **self.like), factors, torch.as_tensor(steps, **self.like))

    def project(self, weight, rows=None):
        """Text and image parts of w.x' for pairs `rows` (seeds, batch), or for all pairs for each seed.

        `weight` has shape (seeds, lambdas, outputs, 2 d); each part (seeds, batch, lambdas, outputs).
        """
        halves = self.halves if rows is None else [half.some(rows) for half in self.halves]
        weights = weight.chunk(2, -1)
        return [_project(*pair, self.direction) for pair in zip(weights, halves, strict=True)]

    def mean(self, rows):
        """Mean moved row [text | image] of the pairs `rows` under every lambda, (lambdas, 2 d)."""
        means = []
        for half in self.halves:
            some = half.some(rows)
            shifts = (some.steps * some.factors.mean(0))[:, None] * self.direction
            means.append(some.factors.mT @ some.rows / len(some.rows) + shifts)
        return torch.cat(means, -1)


class Moving:
    """As `Moved`, with one lambda for each seed that may be learned: the shift is a smooth function of it.

    |x + s gap|^2 = |x|^2 + 2 s x.gap + s^2 |gap|^2, s = lambda / 2 for texts and -lambda / 2 for images.
    """

    def __init__(self, image, text, gap):
        self.direction = torch.as_tensor(gap, dtype=torch.float32)
        self.halves = [(torch.as_tensor(text), 0.5), (torch.as_tensor(image), -0.5)]

    def project(self, weight, lam, rows=None):
        """As `Moved.project` for lambdas `lam` (seeds, 1)."""
        parts = []
        for half_weight, (x, sign) in zip(weight.chunk(2, -1), self.halves, strict=True):
            some = x.expand(len(lam), -1, -1) if rows is None else x[rows]
            steps = sign * lam
            along = some @ self.direction
            square = 1 + 2 * steps * along + steps**2 * self.direction.square().sum()
            parts.append(_project(half_weight, Half(some, square.rsqrt()[..., None], steps), self.direction))
        return parts


def _project(weight, half, direction):
    products = (half.rows @ weight.flatten(1, 2).mT).unflatten(2, weight.shape[1:3])
    along = half.steps[..., None] * (weight @ direction)
    return (products + along[:, None]) * half.factors[..., None]

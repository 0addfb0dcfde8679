"""Paired rows under every lambda at once, in closed form.

A moved row is (x + step v) c, with v the gap and c = 1 / |x + step v| when it is renormalised, so its score is
(w.x + step w.v) c: the rows are multiplied once and every lambda follows by a rank-one correction and a factor. The
gradient takes the same route back.
"""

from typing import NamedTuple

import numpy as np
import torch

from gaplib.gap import gap_vector
from gaplib.modulate import shifted_norms
from gaplib.rows import moments


class Move(NamedTuple):
    """What a lambda does to a row, fitted: along `direction` (d,) by `steps` (2, lambdas), text first, image second.

    Then every row is renormalised, or multiplied by `factors` (2, lambdas) where they are given.
    """

    direction: np.ndarray
    steps: np.ndarray
    factors: np.ndarray | None


def shift(image, text, lams):
    """The lambda shift of `modulate.shift`."""
    return Move(gap_vector(image, text), np.outer((0.5, -0.5), lams), None)


def no_renorm(image, text, lams):
    """The shift without renormalising: a constant shift, to which a probe with a free bias is indifferent."""
    return shift(image, text, lams)._replace(factors=np.ones((2, len(lams))))


def rescale(image, text, lams):
    """No shift; rows scaled by the mean factor 1 / |x'| that the shift would have given: step size alone."""
    move = shift(image, text, lams)
    halves = zip((text, image), move.steps, strict=True)
    factors = [(1 / _norms(x, steps, move.direction)).mean(0) for x, steps in halves]
    return Move(move.direction, np.zeros_like(move.steps), np.array(factors))


def gap_kept(image, text, lams):
    """Both clouds moved by the same vector, the midpoint of their centroids to the origin at 1: the gap stays."""
    middle = (moments(image, "image").mean + moments(text, "text").mean) / 2
    return Move(middle, np.outer((-1.0, -1.0), lams), np.ones((2, len(lams))))


def _norms(x, steps, direction):
    """`shifted_norms` in double precision, without a copy of all rows."""
    parts = np.array_split(x, max(1, len(x) // 4096))
    return np.concatenate([shifted_norms(np.asarray(part, float), steps, direction) for part in parts])


class Moved:
    """Paired rows, as encoded, and what is needed to have them under every lambda of a move.

    Parameters
    ----------
    image, text : ndarray of shape (n, d)
    move : Move
    device : str
    dtype : torch.dtype
    """

    def __init__(self, image, text, move, device="cpu", dtype=torch.float32):
        def tensor(array):
            return torch.as_tensor(np.asarray(array), dtype=dtype, device=device)

        self.direction, self.halves = tensor(move.direction), []
        for half, x in enumerate((text, image)):  # as in [text | image]
            steps = move.steps[half]
            if move.factors is None:
                factors = tensor(1 / _norms(x, steps, move.direction))
            else:
                factors = tensor(move.factors[half]).expand(len(x), -1)
            self.halves.append((tensor(x), factors, tensor(steps)))

    def __len__(self):
        return len(self.halves[0][0])

    def project(self, weight, rows=None):
        """Text and image parts of w.x' for pairs `rows` (seeds, batch), or for all pairs for each seed.

        `weight` has shape (seeds, lambdas, outputs, 2 d); each part (seeds, batch, lambdas, outputs).
        """
        parts = []
        for half, (x, factors, steps) in zip(weight.chunk(2, -1), self.halves, strict=True):
            seeds, lams, outputs, width = half.shape
            if rows is not None:
                x, factors = x[rows], factors[rows]
            along = x @ half.reshape(seeds, lams * outputs, width).mT
            moved = along.unflatten(2, (lams, outputs)) + (steps[:, None] * (half @ self.direction))[:, None]
            parts.append(moved * factors[..., None])
        return parts

    def gradient(self, errors, rows=None):
        """Gradient of `weight` from those of the text and image parts, shaped as `project` gives them."""
        halves = []
        for error, (x, factors, steps) in zip(errors, self.halves, strict=True):
            if rows is not None:
                x, factors = x[rows], factors[rows]
            scaled = error * factors[..., None]
            along = scaled.flatten(2).mT @ x
            moved = (steps[:, None] * scaled.sum(1))[..., None] * self.direction
            halves.append(along.unflatten(1, scaled.shape[2:]) + moved)
        return torch.cat(halves, -1)

    def mean(self, rows):
        """Mean moved row [text | image] of the pairs `rows` under every lambda, (lambdas, 2 d)."""
        halves = []
        for x, factors, steps in self.halves:
            x, factors = x[rows], factors[rows]
            halves.append(factors.mT @ x / len(x) + (steps * factors.mean(0))[:, None] * self.direction)
        return torch.cat(halves, -1)

"""Linear probes of every lambda and seed, trained at once.

A moved and renormalised row is (x + step gap) / |x + step gap|, so its score is (w.x + step w.gap) / |x + step gap|:
the rows are multiplied once and every lambda follows by a rank-one correction and a division. Seeds differ only in
initial weights and batch order, so they stack as well; the gradient takes the same route back.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from gaplib.modulate import shifted_norms


class Training(NamedTuple):
    """How probes are trained; the defaults are the published protocol (arXiv 2603.17246)."""

    lr: float = 3e-4
    weight_decay: float = 0.01
    batch: int = 512
    epochs: int = 100
    patience: int = 10


@dataclass(frozen=True)
class Probes:
    """Trained linear probes on [text | image], one per seed and lambda.

    `weight` has shape (seeds, lambdas, outputs, 2 d), `bias` (seeds, lambdas, outputs), `epochs` (seeds, lambdas):
    the epoch whose weights were kept. A binary task has one output.
    """

    weight: np.ndarray
    bias: np.ndarray
    epochs: np.ndarray
    lams: np.ndarray
    gap: np.ndarray

    def scores(self, image, text):
        """Logits of paired rows, float32 of shape (seeds, lambdas, n, outputs)."""
        moved = _Moved(image, text, self.lams, self.gap)
        logits = moved.logits(*(torch.from_numpy(p) for p in (self.weight, self.bias)))
        return logits.movedim(2, 1).numpy()


class _Moved:
    """Paired rows under every lambda: the rows as encoded, the gap, and the norms after the shift."""

    def __init__(self, image, text, lams, gap, device="cpu"):
        lams, gap = np.asarray(lams, float), np.asarray(gap, float)
        self.halves = []  # text first, as in [text | image]: rows, 1 / norms after the shift, steps along the gap
        for x, sign in ((text, 0.5), (image, -0.5)):
            norms = shifted_norms(np.asarray(x, float), sign * lams, gap)
            arrays = (np.asarray(a, np.float32) for a in (x, 1 / norms, sign * lams))
            self.halves.append(tuple(torch.as_tensor(a, device=device) for a in arrays))
        self.gap = torch.as_tensor(gap.astype(np.float32), device=device)

    def logits(self, weight, bias, rows=None):
        """Logits (seeds, batch, lambdas, outputs) of the pairs `rows` (seeds, batch), or of all pairs for each seed."""
        total = bias[:, None]
        for half, (x, inverse, step) in zip(weight.chunk(2, -1), self.halves, strict=True):
            seeds, lams, outputs, width = half.shape
            if rows is not None:
                x, inverse = x[rows], inverse[rows]
            along = x @ half.reshape(seeds, lams * outputs, width).mT
            shifted = along.unflatten(2, (lams, outputs)) + (step[:, None] * (half @ self.gap))[:, None]
            total = total + shifted * inverse[..., None]
        return total

    def weight_gradient(self, rows, error):
        """Gradient of the weights from the gradient `error` of the logits, both shaped as in `logits`."""
        halves = []
        for x, inverse, step in self.halves:
            scaled = error * inverse[rows][..., None]
            along = scaled.flatten(2).mT @ x[rows]
            shifted = (step[:, None] * scaled.sum(1))[..., None] * self.gap
            halves.append(along.unflatten(1, scaled.shape[2:]) + shifted)
        return torch.cat(halves, -1)


def balanced(y, task):
    """Class weights of the published protocol, as `loss` takes them.

    Multiclass: n / (classes * count). Binary: the positive weight, negatives / positives. Multilabel:
    n / (classes * positives) for each label.

    Examples
    --------
    >>> balanced(np.array([0, 0, 0, 1]), "binary")
    tensor([3.])
    """
    if task == "binary":
        weights = [(y == 0).sum() / (y == 1).sum()]
    else:
        counts = y.sum(0) if task == "multilabel" else np.bincount(y)
        weights = len(y) / (len(counts) * np.maximum(counts, 1))
    return torch.tensor(np.asarray(weights), dtype=torch.float32)


def loss(logits, y, weights, task):
    """Mean loss of each (seed, lambda) cell.

    Parameters
    ----------
    logits : Tensor of shape (seeds, batch, lambdas, outputs)
    y : Tensor of shape (seeds, batch), or (seeds, batch, outputs) when the task is multilabel
    weights : Tensor
        From `balanced`.
    task : str

    Returns
    -------
    Tensor of shape (seeds, lambdas)
    """
    if task == "multiclass":
        weight = weights[y]
        each = -F.log_softmax(logits, -1).gather(3, y[:, :, None, None].expand(-1, -1, logits.shape[2], 1))[..., 0]
        return (each * weight[..., None]).sum(1) / weight.sum(1, keepdim=True)
    target = (y if task == "multilabel" else y[..., None]).float()[:, :, None].expand_as(logits)
    positive, weight = (weights, None) if task == "binary" else (None, weights)
    each = F.binary_cross_entropy_with_logits(logits, target, weight, pos_weight=positive, reduction="none")
    return each.mean((1, 3))


def train(image, text, y, task, train, val, lams, seeds, gap, training=None, device="cpu", describe="probes"):
    """Train one linear early-fusion probe per (seed, lambda) cell, all of them together.

    Each cell is exactly what a loop over single probes gives: its own seed draws `torch.nn.Linear`'s initial weights
    and, every epoch, a permutation of the training rows; AdamW; the weights of the best validation loss are kept, and
    a cell stops after `patience` epochs without a better one.

    Parameters
    ----------
    image, text : ndarray of shape (n, d)
        Unit-norm rows, paired.
    y : ndarray
        int64 codes of shape (n,), or a 0/1 matrix of shape (n, k) when the task is multilabel.
    task : str
        "binary", "multiclass" or "multilabel".
    train, val : ndarray of int
        Rows to train on and to stop by.
    lams, seeds : sequence
    gap : ndarray of shape (d,)
        Fitted on training rows.
    training : Training, optional
    device : str
    describe : str
        What the progress bar says.

    Returns
    -------
    Probes
    """
    training = training or Training()
    outputs = {"binary": 1, "multiclass": int(np.max(y)) + 1, "multilabel": y.shape[-1]}[task]
    weight, bias, orders = _start(seeds, len(lams), 2 * image.shape[1], outputs, device)
    fit, held_out = (_Moved(image[rows], text[rows], lams, gap, device) for rows in (train, val))
    y_fit, y_val = (torch.as_tensor(y[rows], device=device) for rows in (train, val))
    y_val = y_val.expand(len(seeds), *y_val.shape)
    weights = balanced(y[train], task).to(device)
    optimiser = torch.optim.AdamW([weight, bias], training.lr, weight_decay=training.weight_decay, fused=True)
    best = _Best(weight, bias, training.patience)
    for epoch in (bar := tqdm(range(training.epochs), desc=describe, unit="epoch", leave=False)):
        order = torch.stack([torch.randperm(len(train), generator=g) for g in orders]).to(device)
        for rows in order.split(training.batch, dim=1):
            logits = fit.logits(weight, bias, rows).requires_grad_()
            error = torch.autograd.grad(loss(logits, y_fit[rows], weights, task).sum(), logits)[0]
            weight.grad, bias.grad = fit.weight_gradient(rows, error), error.sum(1)
            optimiser.step()
        value = loss(held_out.logits(weight, bias), y_val, weights, task)
        if best.update(epoch, value, weight, bias):
            break
        bar.set_postfix(stopped=f"{int(best.stopped.sum())}/{best.stopped.numel()}", refresh=False)
    kept = (best.weight, best.bias, best.epoch)
    return Probes(*(p.cpu().numpy() for p in kept), np.asarray(lams, float), np.asarray(gap, float))


def _start(seeds, lams, width, outputs, device):
    """Each seed's `torch.nn.Linear` initialisation, the same for every lambda, and its generator of batch orders."""
    layers = []
    for seed in seeds:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layers.append(torch.nn.Linear(width, outputs))
    weight = torch.stack([layer.weight.detach() for layer in layers])[:, None].repeat(1, lams, 1, 1)
    bias = torch.stack([layer.bias.detach() for layer in layers])[:, None].repeat(1, lams, 1)
    return weight.to(device), bias.to(device), [torch.Generator().manual_seed(seed) for seed in seeds]


class _Best:
    """The best weights of every cell so far, and which cells have stopped."""

    def __init__(self, weight, bias, patience):
        self.weight, self.bias, self.patience = weight.clone(), bias.clone(), patience
        self.value = torch.full(weight.shape[:2], torch.inf, device=weight.device)
        self.epoch = torch.zeros(weight.shape[:2], dtype=torch.long, device=weight.device)
        self.stopped = torch.zeros(weight.shape[:2], dtype=torch.bool, device=weight.device)

    def update(self, epoch, value, weight, bias):
        """Keep what improved; returns whether every cell has stopped."""
        better = (value < self.value) & ~self.stopped
        self.value = torch.where(better, value, self.value)
        self.epoch = torch.where(better, epoch, self.epoch)
        self.weight[better], self.bias[better] = weight[better], bias[better]
        self.stopped |= epoch - self.epoch >= self.patience
        return bool(self.stopped.all())

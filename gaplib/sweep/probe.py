"""Probes of every lambda and seed, trained at once on paired rows moved in closed form (`gaplib.moved`).

Seeds differ only in initial weights, batch order and validation cut, so they stack beside the lambdas. Only what comes
after the first layer is left to autograd.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from gaplib.sweep.closed_form import Move, Moved


class Training(NamedTuple):
    """How probes are trained; the defaults are the published protocol (arXiv 2603.17246)."""

    lr: float = 3e-4
    weight_decay: float = 0.01
    batch: int = 512
    epochs: int = 100
    patience: int = 10


class Converged(NamedTuple):
    """Logistic regression to convergence (L-BFGS), its L2 strength chosen on validation loss, one for each lambda.

    The loss is the mean loss of the rows plus |w|^2 / (2 C n); `strengths` are the C, as in scikit-learn, strongest
    penalty first. The bias is free.
    """

    strengths: tuple = (1.0, 10.0, 100.0, 1000.0)
    iterations: int = 500
    tolerance: float = 1e-5


class Head(NamedTuple):
    """Shape of a probe: "early" fusion of [text | image], or "late" fusion of one branch a modality; `hidden` units.

    Early: linear when `hidden` is 0, else Linear-ReLU-Linear. Late: Linear-ReLU a modality, concatenated, Linear.
    """

    fusion: str = "early"
    hidden: int = 0


@dataclass(frozen=True)
class Probes:
    """Trained probes, one per seed and lambda.

    `weights` by name: `weight` (seeds, lambdas, outputs or hidden, 2 d), `bias`, and with hidden units `out` and
    `out_bias`. `epochs` (seeds, lambdas): the epoch whose weights were kept. A binary task has one output.
    """

    weights: dict
    epochs: np.ndarray
    move: Move
    head: Head

    def scores(self, image, text, chunk=4096):
        """Logits of paired rows, float32 of shape (seeds, lambdas, n, outputs)."""
        weights, parts = {k: torch.from_numpy(v) for k, v in self.weights.items()}, []
        for start in range(0, len(image), chunk):
            some = slice(start, start + chunk)
            moved = Moved(image[some], text[some], self.move, dtype=weights["weight"].dtype)
            parts.append(_logits(_join(moved.project(weights["weight"]), self.head), weights).movedim(2, 1))
        return torch.cat(parts, 2).float().numpy()


def _join(parts, head):
    return [parts[0] + parts[1]] if head.fusion == "early" else parts


def _logits(joined, weights):
    """Logits (seeds, batch, lambdas, outputs) from the joined parts of the first layer."""
    if "out" not in weights:
        return joined[0] + weights["bias"][:, None]
    units = F.relu(torch.cat(joined, -1) + weights["bias"][:, None])
    return (units.transpose(1, 2) @ weights["out"].mT).transpose(1, 2) + weights["out_bias"][:, None]


def balanced(y, task, classes=0):
    """Class weights of the published protocol, as `loss` takes them, for one seed's training labels.

    Multiclass: n / (classes * count). Binary: the positive weight, negatives / positives. Multilabel:
    n / (classes * positives) for each label.

    Examples
    --------
    >>> balanced(np.array([0, 0, 0, 1]), "binary")
    tensor([3.])
    """
    if task == "binary":
        weights = [(y == 0).sum() / max((y == 1).sum(), 1)]
    else:
        counts = y.sum(0) if task == "multilabel" else np.bincount(y, minlength=classes)
        weights = len(y) / (len(counts) * np.maximum(counts, 1))
    return torch.tensor(np.asarray(weights), dtype=torch.float32)


def loss(logits, y, weights, task):
    """Mean loss of each (seed, lambda) cell.

    Parameters
    ----------
    logits : Tensor of shape (seeds, batch, lambdas, outputs)
    y : Tensor of shape (seeds, batch), or (seeds, batch, outputs) when the task is multilabel
    weights : Tensor of shape (seeds, k)
        From `balanced`, one row a seed.
    task : str

    Returns
    -------
    Tensor of shape (seeds, lambdas)
    """
    if task == "multiclass":
        weight = weights.gather(1, y)
        each = -F.log_softmax(logits, -1).gather(3, y[:, :, None, None].expand(-1, -1, logits.shape[2], 1))[..., 0]
        return (each * weight[..., None]).sum(1) / weight.sum(1, keepdim=True)
    target = (y if task == "multilabel" else y[..., None]).to(logits.dtype)[:, :, None].expand_as(logits)
    positive, weight = (weights[:, None, None], None) if task == "binary" else (None, weights[:, None, None])
    each = F.binary_cross_entropy_with_logits(logits, target, weight, pos_weight=positive, reduction="none")
    return each.mean((1, 3))


def outputs(y, task):
    """How many outputs a probe of these labels has."""
    return {"binary": 1, "multiclass": int(np.max(y)) + 1, "multilabel": y.shape[-1]}[task]


def train(moved, y, task, train, val, seeds, move, head=None, training=None, describe="probes"):
    """Train one probe per (seed, lambda) cell, all of them together.

    Each cell is exactly what a loop over single probes gives: its own seed draws `torch.nn.Linear`'s initial weights
    and, every epoch, a permutation of the training rows; AdamW; the weights of the best validation loss are kept, and
    a cell stops after `patience` epochs without a better one.

    Parameters
    ----------
    moved : moved.Moved
        Every row that is trained on or stopped by.
    y : ndarray
        Their labels: int64 codes of shape (n,), or a 0/1 matrix of shape (n, k) when the task is multilabel.
    task : str
        "binary", "multiclass" or "multilabel".
    train, val : ndarray of int of shape (seeds, n)
        Rows to train on and to stop by.
    seeds : sequence
    move : moved.Move
    head : Head, optional
    training : Training, optional
    describe : str
        What the progress bar says.

    Returns
    -------
    Probes
    """
    head, training = head or Head(), training or Training()
    device, lams = moved.direction.device, move.steps.shape[1]
    weights = _start(seeds, lams, len(move.direction), outputs(y, task), head, device)
    orders = [torch.Generator().manual_seed(seed) for seed in seeds]
    balance = torch.stack([balanced(y[rows], task, outputs(y, task)) for rows in train]).to(device)
    y, train, val = (torch.as_tensor(a, device=device) for a in (y, train, val))
    optimiser = torch.optim.AdamW(weights.values(), training.lr, weight_decay=training.weight_decay, fused=True)
    best, later = _Best(weights, training.patience), [w for name, w in weights.items() if name != "weight"]
    for epoch in (bar := tqdm(range(training.epochs), desc=describe, unit="epoch", leave=False)):
        order = torch.stack([torch.randperm(train.shape[1], generator=g) for g in orders]).to(device)
        for rows in train.gather(1, order).split(training.batch, dim=1):
            joined = [part.requires_grad_() for part in _join(moved.project(weights["weight"], rows), head)]
            for w in later:
                w.requires_grad_()
            total = loss(_logits(joined, weights), y[rows], balance, task).sum()
            errors, grads = _split(torch.autograd.grad(total, [*joined, *later]), len(joined))
            weights["weight"].grad = moved.gradient(errors if len(errors) == 2 else 2 * errors, rows)
            for w, grad in zip(later, grads, strict=True):
                w.requires_grad_(False).grad = grad.contiguous()  # the fused step reads memory, not strides
            optimiser.step()
        value = _evaluate(moved, weights, head, y, val, balance, task, training.batch)
        if best.update(epoch, value, weights):
            break
        bar.set_postfix(stopped=f"{int(best.stopped.sum())}/{best.stopped.numel()}", refresh=False)
    kept = {name: w.cpu().numpy() for name, w in best.weights.items()}
    return Probes(kept, best.epoch.cpu().numpy(), move, head)


def _split(some, n):
    return list(some[:n]), some[n:]


def _evaluate(moved, weights, head, y, rows, balance, task, batch):
    """Loss of each cell on `rows`: whole when linear, in batches where hidden units would take too much memory."""
    step = rows.shape[1] if head.hidden == 0 else 4 * batch
    total, mass = 0, 0
    for part in rows.split(step, dim=1):
        value = loss(_logits(_join(moved.project(weights["weight"], part), head), weights), y[part], balance, task)
        # A weighted mean is a mean by weight, not by row.
        share = balance.gather(1, y[part]).sum(1, keepdim=True) if task == "multiclass" else part.shape[1]
        total, mass = total + value * share, mass + share
    return total / mass


def _start(seeds, lams, d, out, head, device):
    """Each seed's `torch.nn.Linear` initialisation, the same for every lambda."""
    stacks = []
    for seed in seeds:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if head.fusion == "late":
                first = [torch.nn.Linear(d, head.hidden) for _ in range(2)]
            else:
                first = [torch.nn.Linear(2 * d, head.hidden or out)]
            drawn = {"weight": torch.cat([layer.weight for layer in first], 1)}
            drawn["bias"] = torch.cat([layer.bias for layer in first])
            if head.hidden:
                last = torch.nn.Linear(len(drawn["bias"]), out)
                drawn |= {"out": last.weight, "out_bias": last.bias}
        stacks.append({name: w.detach() for name, w in drawn.items()})
    return {
        name: torch.stack([s[name] for s in stacks])[:, None].repeat(1, lams, *[1] * w.ndim).to(device)
        for name, w in stacks[0].items()
    }


class _Best:
    """The best weights of every cell so far, and which cells have stopped."""

    def __init__(self, weights, patience):
        self.weights, self.patience = {name: w.clone() for name, w in weights.items()}, patience
        cells, device = weights["bias"].shape[:2], weights["bias"].device
        self.value = torch.full(cells, torch.inf, device=device)
        self.epoch = torch.zeros(cells, dtype=torch.long, device=device)
        self.stopped = torch.zeros(cells, dtype=torch.bool, device=device)

    def update(self, epoch, value, weights):
        """Keep what improved; returns whether every cell has stopped."""
        better = (value < self.value) & ~self.stopped
        self.value = torch.where(better, value, self.value)
        self.epoch = torch.where(better, epoch, self.epoch)
        for name, w in weights.items():
            self.weights[name][better] = w[better]
        self.stopped |= epoch - self.epoch >= self.patience
        return bool(self.stopped.all())


def converge(moved, y, task, train, val, move, training=None, describe="converged"):
    """Fit one regularised logistic regression per lambda to convergence, all of them together.

    Rows are centred at their mean under each lambda, which a free bias makes a mere change of variables: conditioning
    is better, and a shift by a constant changes nothing at all.

    Parameters
    ----------
    moved : moved.Moved
        In double precision.
    y, task, move, describe
        As in `train`.
    train, val : ndarray of int
        Rows to fit and to choose the strength by.
    training : Converged, optional

    Returns
    -------
    Probes
        With one "seed"; `epochs` counts the chosen strength's place in `training.strengths`.
    """
    training = training or Converged()
    lams, out = move.steps.shape[1], outputs(y, task)
    balance = balanced(y[train], task)[None].to(moved.direction)
    y, train, val = (torch.as_tensor(a, device=moved.direction.device) for a in (y, train, val))
    y_train, y_val, train, val = y[train][None], y[val][None], train[None], val[None]
    centre = moved.mean(train[0])
    spread, axes = torch.linalg.eigh(torch.cat([x[train[0]] for x, *_ in moved.halves], 1).T.cov(correction=0))
    weight = inner = torch.zeros(1, lams, out, 2 * len(move.direction)).to(moved.direction)
    bias = torch.zeros(1, lams, out).to(moved.direction)

    def logits(weight, rows):
        return sum(moved.project(weight, rows)) + (bias - (weight * centre[:, None]).sum(-1))[:, None]

    best = _Best({"weight": inner, "bias": bias}, patience=1)  # a weaker penalty that is worse for all ends the search
    for place, strength in enumerate(tqdm(training.strengths, desc=describe, unit="strength", leave=False)):
        penalty = 1 / (strength * train.shape[1])
        # weight = inner @ scale makes the curvature about the same in all directions: tens of steps, not hundreds.
        scale = axes / (spread.clamp(min=0) / 4 + penalty).sqrt() @ axes.T
        if place:
            inner = torch.linalg.solve(scale, weight, left=False)
        optimiser = torch.optim.LBFGS(
            [inner, bias], max_iter=training.iterations, tolerance_grad=training.tolerance, tolerance_change=1e-12,
            history_size=20, line_search_fn="strong_wolfe",
        )  # fmt: skip

        def closure(inner=inner, scale=scale, penalty=penalty):
            weight = inner @ scale
            leaf = logits(weight, train).requires_grad_()
            total = loss(leaf, y_train, balance, task).sum()
            error = torch.autograd.grad(total, leaf)[0]
            down = error.sum(1)
            slope = moved.gradient([error, error], train) - down[..., None] * centre[:, None] + penalty * weight
            inner.grad, bias.grad = slope @ scale, down
            return total.detach() + penalty / 2 * (weight**2).sum()

        optimiser.step(closure)
        weight = inner @ scale
        if best.update(place, loss(logits(weight, val), y_val, balance, task), {"weight": weight, "bias": bias}):
            break
    weight, bias = best.weights["weight"], best.weights["bias"]
    kept = {"weight": weight, "bias": bias - (weight * centre[:, None]).sum(-1)}
    return Probes({name: w.cpu().numpy() for name, w in kept.items()}, best.epoch.cpu().numpy(), move, Head())

"""Probes of every lambda and seed, trained at once on paired rows moved in closed form.

Seeds differ only in initial weights, batch order and validation cut, so they stack beside the lambdas.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from gaplib.sweep.closed_form import Move, Moved, Moving


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

    weights: dict[str, np.ndarray]
    epochs: np.ndarray
    move: Move
    head: Head

    def scores(self, image: np.ndarray, text: np.ndarray, chunk: int = 4096) -> np.ndarray:
        """Logits of paired rows, float32 of shape (seeds, lambdas, n, outputs)."""
        weights = {name: torch.from_numpy(weight) for name, weight in self.weights.items()}
        parts = []
        for start in range(0, len(image), chunk):
            some = slice(start, start + chunk)
            moved = Moved(image[some], text[some], self.move, dtype=weights["weight"].dtype)
            parts.append(logits(moved.project(weights["weight"]), weights, self.head))
        return torch.cat(parts, 1).movedim(2, 1).float().numpy()

    @classmethod
    def stacked(cls, parts: list["Probes"]) -> "Probes":
        """Probes of some seeds after those of others."""
        weights = {name: np.concatenate([part.weights[name] for part in parts]) for name in parts[0].weights}
        return cls(weights, np.concatenate([part.epochs for part in parts]), parts[0].move, parts[0].head)


def logits(projections, weights, head):
    """Logits (seeds, batch, lambdas, outputs) from what `Moved.project` makes of the first layer's weights."""
    text, image = projections
    first = text + image if head.fusion == "early" else torch.cat([text, image], -1)
    first = first + weights["bias"][:, None]
    if not head.hidden:
        return first
    by_lambda = F.relu(first).transpose(1, 2) @ weights["out"].mT
    return by_lambda.transpose(1, 2) + weights["out_bias"][:, None]


def balanced(y: np.ndarray, task: str, classes: int = 0) -> torch.Tensor:
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


def loss(logits: torch.Tensor, y: torch.Tensor, weights: torch.Tensor, task: str) -> torch.Tensor:
    """Mean loss of each cell, (seeds, lambdas).

    Of logits (seeds, batch, lambdas, outputs), labels (seeds, batch), or (seeds, batch, outputs) when the task is
    multilabel, and one row of class weights a seed, from `balanced`.
    """
    if task == "multiclass":
        weight = weights.gather(1, y)
        true = y[:, :, None, None].expand(-1, -1, logits.shape[2], 1)
        each = -F.log_softmax(logits, -1).gather(3, true)[..., 0]
        return (each * weight[..., None]).sum(1) / weight.sum(1, keepdim=True)
    target = y[..., None] if task == "binary" else y
    target = target.to(logits.dtype)[:, :, None].expand_as(logits)
    kind = "pos_weight" if task == "binary" else "weight"
    weighing = {kind: weights[:, None, None]}
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none", **weighing).mean((1, 3))


@dataclass(frozen=True)
class Examples:
    """Labelled pairs under every lambda, and which of them each seed trains on and stops by.

    `y` (n,) or (n, k) as `loss` takes it; `balance` (seeds, ...) from `balanced`; `train` and `val` (seeds, rows).
    """

    moved: Moved | Moving
    y: torch.Tensor
    task: str
    outputs: int
    balance: torch.Tensor
    train: torch.Tensor
    val: torch.Tensor

    @classmethod
    def of(cls, moved, y: np.ndarray, task: str, train: np.ndarray, val: np.ndarray) -> "Examples":
        """From labels as `pairs.targets` gives them and rows (seeds, n)."""
        outputs = {"binary": 1, "multiclass": int(np.max(y)) + 1, "multilabel": y.shape[-1]}[task]
        balance = torch.stack([balanced(y[rows], task, outputs) for rows in train]).to(moved.direction)
        y, train, val = (torch.as_tensor(array, device=balance.device) for array in (y, train, val))
        return cls(moved, y, task, outputs, balance, train, val)

    def some(self, seeds: slice) -> "Examples":
        """Those of some of the seeds."""
        return replace(self, balance=self.balance[seeds], train=self.train[seeds], val=self.val[seeds])

    def loss(self, logits, rows):
        """Mean loss of each cell on the pairs `rows` (seeds, batch)."""
        return loss(logits, self.y[rows], self.balance, self.task)

    def batches(self, orders, size):
        """Training rows of one epoch, (seeds, size) at a time, shuffled by a generator for each seed."""
        shuffled = [torch.randperm(self.train.shape[1], generator=order) for order in orders]
        return self.train.gather(1, torch.stack(shuffled).to(self.train.device)).split(size, dim=1)

    def validation_loss(self, logits_of, size):
        """Mean loss of each cell on the validation rows, of which `size` are gone through at a time."""
        parts = [logits_of(rows) for rows in self.val.split(size, dim=1)]
        return self.loss(torch.cat(parts, 1), self.val)


def train(examples: Examples, seeds, head: Head, training: Training, step: Callable = lambda: None) -> Probes:
    """Train one probe per (seed, lambda) cell, all of them together.

    Each cell is exactly what a loop over single probes gives: its own seed draws `torch.nn.Linear`'s initial weights
    and, every epoch, a permutation of the training rows; AdamW; the weights of the best validation loss are kept, and
    a cell stops after `patience` epochs without a better one. `step` is called after every epoch.
    """
    moved = examples.moved
    weights = initial(seeds, moved.move.steps.shape[1], len(moved.direction), examples.outputs, head)
    weights = {name: weight.to(moved.direction.device) for name, weight in weights.items()}

    def logits_of(rows):
        return logits(moved.project(weights["weight"], rows), weights, head)

    best = fit(examples, logits_of, weights, [{"params": list(weights.values())}], seeds, training, step)
    return best.probes(moved.move, head)


def fit(examples, logits_of, weights, groups, seeds, training, step):
    """Minimise the loss of all cells with AdamW and early stopping; returns their `Best`.

    `weights` (seeds, lambdas, ...), by name, change in place, and `logits_of(rows)` are the logits by what they are;
    `groups` are the weights again, as an optimiser takes them.
    """
    for weight in weights.values():
        weight.requires_grad_()
    optimiser = torch.optim.AdamW(groups, training.lr, weight_decay=training.weight_decay, fused=True)
    orders = [torch.Generator().manual_seed(seed) for seed in seeds]
    best = Best(weights, training.patience)
    for epoch in range(training.epochs):
        for rows in examples.batches(orders, training.batch):
            optimiser.zero_grad()
            examples.loss(logits_of(rows), rows).sum().backward()
            optimiser.step()
        with torch.no_grad():
            best.update(epoch, examples.validation_loss(logits_of, 4 * training.batch), weights)
        step()
        if best.stopped.all():
            break
    return best


def initial(seeds, lams, d, outputs, head):
    """Each seed's `torch.nn.Linear` initialisation, (seeds, lambdas, ...), the same for every lambda."""
    drawn = [_draw(torch.Generator().manual_seed(seed), d, outputs, head) for seed in seeds]
    stacks = {name: torch.stack([weights[name] for weights in drawn]) for name in drawn[0]}
    return {name: stack[:, None].repeat(1, lams, *[1] * (stack.ndim - 1)) for name, stack in stacks.items()}


def _draw(generator, d, outputs, head):
    if head.fusion == "late":
        layers = [_linear(generator, d, head.hidden), _linear(generator, d, head.hidden)]
    else:
        layers = [_linear(generator, 2 * d, head.hidden or outputs)]
    weight = torch.cat([layer[0] for layer in layers], 1)
    bias = torch.cat([layer[1] for layer in layers])
    if not head.hidden:
        return {"weight": weight, "bias": bias}
    out, out_bias = _linear(generator, len(bias), outputs)
    return {"weight": weight, "bias": bias, "out": out, "out_bias": out_bias}


def _linear(generator, width, outputs):
    """What `torch.nn.Linear` draws, which knows no generator of its own."""
    weight = torch.nn.init.kaiming_uniform_(torch.empty(outputs, width), a=5**0.5, generator=generator)
    bound = 1 / width**0.5
    return weight, torch.nn.init.uniform_(torch.empty(outputs), -bound, bound, generator=generator)


class Best:
    """The best weights of every cell so far, the epoch that they are of, and which cells have stopped."""

    def __init__(self, weights, patience):
        self.weights = {name: weight.detach().clone() for name, weight in weights.items()}
        self.patience = patience
        some = next(iter(self.weights.values()))
        cells = some.shape[:2]
        self.value = torch.full(cells, torch.inf, device=some.device)
        self.epoch = torch.zeros(cells, dtype=torch.long, device=some.device)
        self.stopped = torch.zeros(cells, dtype=torch.bool, device=some.device)

    def update(self, epoch, value, weights):
        """Keep what improved, in cells that have not stopped."""
        better = (value < self.value) & ~self.stopped
        self.value = torch.where(better, value, self.value)
        self.epoch = torch.where(better, epoch, self.epoch)
        for name, weight in weights.items():
            self.weights[name][better] = weight.detach()[better]
        self.stopped |= epoch - self.epoch >= self.patience

    def probes(self, move, head):
        weights = {name: weight.cpu().numpy() for name, weight in self.weights.items()}
        return Probes(weights, self.epoch.cpu().numpy(), move, head)


def converge(examples: Examples, training: Converged, step: Callable = lambda: None) -> Probes:
    """Fit one regularised logistic regression per lambda to convergence, all of them together.

    The examples are in double precision and of one seed; `step` is called after every strength. The probes' `epochs`
    are the chosen strength's place in `training.strengths`.
    """
    centred = _Centred(examples)
    lams, width = centred.mean.shape
    weight = torch.zeros(1, lams, examples.outputs, width).to(centred.mean)
    bias = torch.zeros(1, lams, examples.outputs).to(centred.mean)
    best = Best({"weight": weight, "bias": bias}, patience=1)  # a weaker penalty that is worse for all ends the search
    for place, strength in enumerate(training.strengths):
        weight, bias = centred.minimise(weight, bias, 1 / (strength * examples.train.shape[1]), training)
        value = examples.loss(centred.logits(weight, bias, examples.val), examples.val)
        best.update(place, value, {"weight": weight, "bias": centred.free_bias(weight, bias)})
        step()
        if best.stopped.all():
            break
    return best.probes(examples.moved.move, Head())


class _Centred:
    """Logistic regression on rows centred at their mean under each lambda.

    A free bias makes that a mere change of variables: conditioning is better, and a shift by a constant changes nothing
    at all.
    """

    def __init__(self, examples):
        self.examples = examples
        rows = examples.train[0]
        self.mean = examples.moved.mean(rows)
        both = torch.cat([half.rows[rows] for half in examples.moved.halves], 1)
        self.spread, self.axes = torch.linalg.eigh(both.mT.cov(correction=0))

    def free_bias(self, weight, bias):
        """The bias that goes with rows as they are."""
        return bias - (weight * self.mean[:, None]).sum(-1)

    def logits(self, weight, bias, rows):
        text, image = self.examples.moved.project(weight, rows)
        return text + image + self.free_bias(weight, bias)[:, None]

    def minimise(self, weight, bias, penalty, training):
        """Weight and bias that minimise mean loss + penalty / 2 |weight|^2, from those of another penalty."""
        # weight = inner @ scale makes the curvature about the same in all directions: tens of steps, not hundreds.
        scale = self.axes / (self.spread.clamp(min=0) / 4 + penalty).sqrt() @ self.axes.mT
        inner = torch.linalg.solve(scale, weight, left=False).requires_grad_()
        bias = bias.clone().requires_grad_()
        optimiser = torch.optim.LBFGS(
            [inner, bias], max_iter=training.iterations, tolerance_grad=training.tolerance, tolerance_change=1e-12,
            history_size=20, line_search_fn="strong_wolfe",
        )  # fmt: skip

        def closure():
            optimiser.zero_grad()
            weight = inner @ scale
            logits = self.logits(weight, bias, self.examples.train)
            total = self.examples.loss(logits, self.examples.train).sum() + penalty / 2 * weight.square().sum()
            total.backward()
            return total

        optimiser.step(closure)
        return (inner @ scale).detach(), bias.detach()

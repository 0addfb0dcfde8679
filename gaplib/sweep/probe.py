"""Probes of every strength of a treatment, trained at once on paired rows moved in closed form.

Runs, each of a training set and a seed, stack beside the strengths.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from gaplib.sweep.closed_form import Move, Moved
from gaplib.sweep.scores import macro_auc


class Training(NamedTuple):
    """How probes are trained; the defaults are the published protocol (arXiv 2603.17246)."""

    lr: float = 3e-4
    weight_decay: float = 0.01
    batch: int = 512
    epochs: int = 100
    patience: int = 10

    @property
    def name(self) -> str:
        """As it stands in tables, "published", or what differs from that.

        Examples
        --------
        >>> Training(lr=1e-3, batch=32).name
        'lr=0.001, batch=32'
        """
        return _differences(self, Training()) or "published"


class Converged(NamedTuple):
    """Linear probe to convergence (L-BFGS), its L2 strength C chosen by validation AUC, one for each lambda.

    It minimises `loss` of the n training rows, class weights included, plus w.w / (2 C n); the bias is free. With one
    output that is scikit-learn's C; with several classes it is for sample weights of mean 1; and of k labels, whose
    losses are averaged, each has scikit-learn's probe of C / k.

    `strengths` are the C to try, ascending. While the best stands at an end, ten times as much, or a tenth, is tried
    too, within `bounds`; a best C at a bound is taken. `tolerance` is of the gradient, on rows of unit covariance.
    """

    strengths: tuple[float, ...] = (1.0, 10.0)
    bounds: tuple[float, float] = (1e-3, 1e6)
    iterations: int = 500
    tolerance: float = 1e-4

    @property
    def name(self) -> str:
        """As it stands in tables, "converged", and what differs from the defaults."""
        return ", ".join(filter(None, ["converged", _differences(self, Converged())]))


def _differences(training, usual):
    fields = zip(training._fields, training, usual, strict=True)
    return ", ".join(f"{name}={value}" for name, value, other in fields if value != other)


class Head(NamedTuple):
    """Shape of a probe: "early" fusion of [text | image], or "late" fusion of one branch a modality; `hidden` units.

    Early: linear when `hidden` is 0, else Linear-ReLU-Linear. Late: Linear-ReLU a modality, concatenated, Linear.
    """

    fusion: str = "early"
    hidden: int = 0


class Trained(NamedTuple):
    """Weights of all cells by name, (runs, lambdas, ...), and the epoch or the C that was kept, (runs, lambdas).

    `weight` is (runs, lambdas, outputs or hidden, 2 d), then `bias`, and with hidden units `out` and `out_bias`. `path`
    are the weights after the epochs that were asked for, by epoch.
    """

    weights: dict[str, torch.Tensor]
    kept: torch.Tensor
    path: dict[int, dict[str, torch.Tensor]]


@dataclass(frozen=True)
class Probes:
    """Trained probes, one per run and lambda.

    `weights` as in `Trained`, with what is linear in a treatment folded in; `kept` (runs, lambdas): the epoch, or the C
    of converged probes, that was chosen; `moves`, one a run. A binary task has one output.
    """

    weights: dict[str, np.ndarray]
    kept: np.ndarray
    moves: list[Move]
    lams: tuple[float, ...]
    head: Head

    @classmethod
    def of(cls, trained: Trained, moved: Moved, head: Head) -> "Probes":
        """What was trained on moved rows."""
        weights = trained.weights | {"weight": moved.folded(trained.weights["weight"])}
        arrays = {name: weight.numpy(force=True) for name, weight in weights.items()}
        unfolded = [move._replace(linear=None) for move in moved.moves]
        return cls(arrays, trained.kept.numpy(force=True), unfolded, tuple(moved.lams[0].tolist()), head)

    def at(self, places: Sequence[int]) -> "Probes":
        """Those of some strengths, by their places."""
        weights = {name: weight[:, places] for name, weight in self.weights.items()}
        moves = [move.at(places) for move in self.moves]
        return Probes(weights, self.kept[:, places], moves, tuple(self.lams[place] for place in places), self.head)

    @classmethod
    def stacked(cls, parts: "Sequence[Probes]") -> "Probes":
        """Probes of some runs after those of others."""
        weights = {name: np.concatenate([part.weights[name] for part in parts]) for name in parts[0].weights}
        kept = np.concatenate([part.kept for part in parts])
        return cls(weights, kept, sum([part.moves for part in parts], []), parts[0].lams, parts[0].head)

    def scores(self, image: np.ndarray, text: np.ndarray) -> np.ndarray:
        """Logits of paired rows, float32 of shape (runs, lambdas, n, outputs)."""
        weights = {name: torch.from_numpy(weight) for name, weight in self.weights.items()}
        image, text = (torch.from_numpy(x).to(weights["weight"]) for x in (image, text))
        moved = Moved(image, text, self.moves, np.array(self.lams))
        return score(moved, weights, self.head, torch.arange(len(image)).expand(len(self.moves), -1))


def score(moved: Moved, weights: dict, head: Head, rows: torch.Tensor, chunk: int = 4096) -> np.ndarray:
    """Logits of each run's pairs `rows` (runs, k), float32 of shape (runs, lambdas, k, outputs)."""
    with torch.no_grad():
        parts = [logits(moved, weights, head, some) for some in rows.split(chunk, 1)]
    return torch.cat(parts, 1).movedim(2, 1).float().numpy(force=True)


def logits(moved, weights, head, rows):
    """Logits (runs, batch, lambdas, outputs) of each run's pairs `rows` (runs, batch).

    Under `lam` of the weights (runs, lambdas), if lambda is among them, else under the strengths of the moves.
    """
    text, image = moved.project(weights["weight"], rows, weights.get("lam"))
    first = text + image if head.fusion == "early" else torch.cat([text, image], -1)
    first = first + weights["bias"][:, None]
    if not head.hidden:
        return first
    by_lambda = F.relu(first).transpose(1, 2) @ weights["out"].mT
    return by_lambda.transpose(1, 2) + weights["out_bias"][:, None]


def balanced(y: np.ndarray, task: str, classes: int = 0) -> torch.Tensor:
    """Class weights of the published protocol, as `loss` takes them, for one run's training labels.

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
    """Mean loss of each cell, (runs, lambdas).

    Of logits (runs, batch, lambdas, outputs), labels (runs, batch), or (runs, batch, outputs) when the task is
    multilabel, and one row of class weights a run, from `balanced`.
    """
    if task == "multiclass":
        weight = weights.gather(1, y)
        true = y[:, :, None, None].expand(-1, -1, logits.shape[2], 1)
        classes_first = logits.movedim(3, 1)  # over few classes that lie side by side it takes five times as long
        each = -F.log_softmax(classes_first, 1).movedim(1, 3).gather(3, true)[..., 0]
        return (each * weight[..., None]).sum(1) / weight.sum(1, keepdim=True)
    target = y[..., None] if task == "binary" else y
    target = target.to(logits.dtype)[:, :, None].expand_as(logits)
    kind = "pos_weight" if task == "binary" else "weight"
    weighing = {kind: weights[:, None, None]}
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none", **weighing).mean((1, 3))


@dataclass(frozen=True)
class Examples:
    """Labelled pairs under every strength, and which of them each run trains on and stops by.

    `y` (n,) or (n, k) as `loss` takes it; `train` and `val` (runs, rows).
    """

    moved: Moved
    y: torch.Tensor
    task: str
    outputs: int
    train: torch.Tensor
    val: torch.Tensor

    @cached_property
    def balance(self) -> torch.Tensor:
        """Class weights of each run's training rows."""
        y = self.y.numpy(force=True)
        weights = [balanced(y[rows], self.task, self.outputs) for rows in self.train.numpy(force=True)]
        return torch.stack(weights).to(self.moved.lams)

    def loss(self, logits, rows):
        """Mean loss of each cell on the pairs `rows` (runs, batch)."""
        return loss(logits, self.y[rows], self.balance, self.task)

    def batches(self, orders, size):
        """Training rows of one epoch, (runs, size) at a time, shuffled by a generator for each run."""
        shuffled = [torch.randperm(self.train.shape[1], generator=order) for order in orders]
        return self.train.gather(1, torch.stack(shuffled).to(self.train.device)).split(size, dim=1)

    def validation_loss(self, logits_of, size):
        """Mean loss of each cell on the validation rows, of which `size` are gone through at a time."""
        with torch.no_grad():
            parts = [logits_of(rows) for rows in self.val.split(size, dim=1)]
            return self.loss(torch.cat(parts, 1), self.val)


def train(
    examples: Examples,
    seeds: Sequence[int],
    head: Head,
    training: Training,
    times: Sequence[int] = (),
    step: Callable = lambda: None,
    lam: torch.Tensor | None = None,
    lam_lr: float = 0.0,
) -> Trained:
    """Train one probe per (run, lambda) cell, all of them together.

    Each cell is exactly what a loop over single probes gives: its own seed draws `torch.nn.Linear`'s initial weights
    and, every epoch, a permutation of the training rows; AdamW; the weights of the best validation loss are kept, and
    a cell stops after `patience` epochs without a better one. For the path, all go on to the last of `times`. `step`
    is called after every epoch. If there is `lam` (runs, lambdas), it is learned, too: changed in place, by the step
    size `lam_lr` and without weight decay, and kept among the weights.
    """
    moved = examples.moved
    drawn = initial(seeds, moved.lams.shape[1], moved.modalities[0].x.shape[1], examples.outputs, head)
    weights = {name: weight.to(moved.lams).requires_grad_() for name, weight in drawn.items()}
    groups = [{"params": list(weights.values())}]
    if lam is not None:
        weights["lam"] = lam.requires_grad_()
        groups.append({"params": [lam], "lr": lam_lr, "weight_decay": 0.0})
    best = Best(weights, training)
    path = {}

    def logits_of(rows):
        return logits(moved, weights, head, rows)

    for epoch in descend(examples, logits_of, groups, seeds, training):
        if not best.over:
            best.update(epoch, examples.validation_loss(logits_of, 4 * training.batch), weights)
        if epoch in times:
            path[epoch] = {name: weight.detach().clone() for name, weight in weights.items()}
        step()
        if best.over and epoch >= max(times, default=0):
            return Trained(best.weights, best.epoch, path)


def descend(examples, logits_of, groups, seeds, training) -> Iterator[int]:
    """Minimise the loss of all cells with AdamW, epoch by epoch: yields 1, 2, ... when so many are done.

    `groups` are the weights as an optimiser takes them, changed in place; `logits_of(rows)` what they make of rows.
    """
    optimiser = torch.optim.AdamW(groups, training.lr, weight_decay=training.weight_decay, fused=True)
    orders = [torch.Generator().manual_seed(seed) for seed in seeds]
    for epoch in count(1):
        for rows in examples.batches(orders, training.batch):
            optimiser.zero_grad()
            examples.loss(logits_of(rows), rows).sum().backward()
            optimiser.step()
        yield epoch


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

    def __init__(self, weights, training):
        self.weights = {name: weight.detach().clone() for name, weight in weights.items()}
        self.training = training
        some = next(iter(self.weights.values()))
        cells = some.shape[:2]
        self.value = torch.full(cells, torch.inf, device=some.device)
        self.epoch = torch.zeros(cells, dtype=torch.long, device=some.device)
        self.stopped = torch.zeros(cells, dtype=torch.bool, device=some.device)
        self.over = False

    def update(self, epoch, value, weights):
        """Keep what improved, in cells that have not stopped."""
        better = (value < self.value) & ~self.stopped
        self.value = torch.where(better, value, self.value)
        self.epoch = torch.where(better, epoch, self.epoch)
        for name, weight in weights.items():
            self.weights[name][better] = weight.detach()[better]
        self.stopped |= epoch - self.epoch >= self.training.patience
        self.over = epoch >= self.training.epochs or bool(self.stopped.all())


class Fit(NamedTuple):
    """What one strength gives: weight (1, 1, outputs, 2 d), bias (1, 1, outputs), and the validation AUC."""

    weight: torch.Tensor
    bias: torch.Tensor
    auc: float = np.nan


def converge(examples: Examples, training: Converged, step: Callable = lambda: None) -> Trained:
    """Fit a regularised logistic regression for each lambda to convergence.

    One lambda after the other: together, each would need as many steps as the slowest, and all strengths of any. The
    examples are in double precision and of one run; `step` is called after every fit.
    """
    alone = [replace(examples, moved=examples.moved.at(place)) for place in range(examples.moved.lams.shape[1])]
    best = [_tuned(of_lam, training, step) for of_lam in alone]
    weights = {name: torch.cat([getattr(fit, name) for _, fit in best], 1) for name in ("weight", "bias")}
    return Trained(weights, torch.tensor([[strength for strength, _ in best]]), {})


def _tuned(examples, training, step):
    """The strength with the best validation AUC at one lambda, and what it gives; the smallest of equals."""
    centred = _Centred(examples)
    truth = examples.y[examples.val[0]].numpy(force=True)
    fits = {}
    waiting = list(training.strengths)
    while waiting:
        strength = waiting.pop(0)
        near = min(fits, key=lambda other: abs(np.log(other / strength)), default=None)
        start = fits[near] if fits else centred.start
        weight, bias = centred.minimise(start, 1 / (strength * examples.train.shape[1]), training)
        scores = score(examples.moved, {"weight": weight, "bias": bias}, Head(), examples.val)
        fits[strength] = Fit(weight, bias, macro_auc(scores[0], truth, examples.task).item())
        waiting = waiting or _further(fits, training.bounds)
        step()
    best = _best(fits)
    return best, fits[best]


def _further(fits, bounds):
    """The strength to try next, beyond the end at which the best one stands, within the bounds."""
    best = _best(fits)
    smallest, largest = bounds
    if best == max(fits) and best * 10 <= largest:
        return [best * 10]
    if best == min(fits) and best / 10 >= smallest:
        return [best / 10]
    return []


def _best(fits):
    """The strength with the best AUC; the strongest penalty of equals."""
    return max(sorted(fits), key=lambda strength: fits[strength].auc)


class _Centred:
    """Logistic regression on rows centred at their mean under one lambda.

    A free bias makes that a mere change of variables: conditioning is better, and a shift by a constant changes nothing
    at all.
    """

    def __init__(self, examples):
        self.examples = examples
        self.rows = examples.moved.rows(examples.train)
        self.mean = self.rows.mean(2)
        self.rows -= self.mean[:, :, None]  # in place: of a large dataset they are gigabytes
        covariance = self.rows.mT @ self.rows / self.rows.shape[2]
        self.spread, self.axes = torch.linalg.eigh(covariance)

    @property
    def start(self):
        """No probe yet."""
        cells = (*self.mean.shape[:2], self.examples.outputs)
        return Fit(self.mean.new_zeros(*cells, self.mean.shape[-1]), self.mean.new_zeros(cells))

    def minimise(self, start, penalty, training):
        """Weight and bias that minimise mean loss + penalty / 2 |weight|^2, from those of another penalty."""
        # weight = inner @ scale makes the curvature about the same in all directions: tens of steps, not hundreds.
        curvature = (self.spread.clamp(min=0) / 4 + penalty).sqrt()[..., None, :]
        scale = self.axes / curvature @ self.axes.mT
        inner = (start.weight @ (self.axes * curvature @ self.axes.mT)).requires_grad_()
        centred_bias = (start.bias + self._offset(start.weight)).requires_grad_()
        optimiser = torch.optim.LBFGS(
            [inner, centred_bias], max_iter=training.iterations, tolerance_grad=training.tolerance,
            tolerance_change=1e-12, history_size=20, line_search_fn="strong_wolfe",
        )  # fmt: skip

        def closure():
            optimiser.zero_grad()
            weight = inner @ scale
            total = self.loss(weight, centred_bias) + penalty / 2 * weight.square().sum()
            total.backward()
            return total

        optimiser.step(closure)
        weight = (inner @ scale).detach()
        return weight, centred_bias.detach() - self._offset(weight)

    def _offset(self, weight):
        """What the mean of the rows scores."""
        return (weight * self.mean[:, :, None]).sum(-1)

    def loss(self, weight, bias):
        """Mean loss on the training rows, centred."""
        # One run and lambda, as plain matrices: a batched product takes ten times as long for its gradient.
        scores = (self.rows[0, 0] @ weight[0, 0].T)[None, :, None] + bias[:, None]
        return self.examples.loss(scores, self.examples.train).sum()

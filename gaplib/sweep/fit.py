"""From runs to their scores: fit the treatment, train the probes, score validation and test rows."""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch

from gaplib.sweep import probe, work
from gaplib.sweep.checks import Labelled
from gaplib.sweep.closed_form import TREATMENTS, Moved, joined
from gaplib.sweep.scores import macro_auc


class Plan(NamedTuple):
    """What is done in every run; `strengths` are each treatment's own, by its name."""

    strengths: dict[str, np.ndarray]
    fit_on: str
    head: probe.Head
    training: probe.Training | probe.Converged
    times: list[int]
    device: str

    @property
    def lams(self) -> np.ndarray:
        """The strengths of all treatments, one treatment's after the other's."""
        return np.concatenate([*self.strengths.values()])

    @property
    def converged(self) -> bool:
        """Whether probes are trained to convergence."""
        return isinstance(self.training, probe.Converged)


class Part(NamedTuple):
    """Results of some runs.

    `logits` by split, (runs, lambdas, rows, outputs); `path` by epoch and split, AUCs (runs, lambdas).
    """

    probes: probe.Probes
    logits: dict[str, np.ndarray]
    path: dict[tuple[int, str], np.ndarray]

    def at(self, places: Sequence[int]) -> "Part":
        """Those of some strengths, by their places."""
        logits = {split: some[:, places] for split, some in self.logits.items()}
        path = {key: some[:, places] for key, some in self.path.items()}
        return Part(self.probes.at(places), logits, path)


def fit(plan: Plan, pairs: Labelled, describe: str) -> list[Part]:
    """The results of the runs, in their order: side by side on a CPU, all of one size together on a GPU."""
    dtype = torch.float64 if plan.converged else torch.float32
    text, image = (torch.as_tensor(x, dtype=dtype, device=plan.device) for x in (pairs.text, pairs.image))

    def fit_some(some, step):
        moved = Moved(image, text, [_move(plan, pairs, run) for run in some], plan.lams)
        trained = _trained(plan, pairs, moved, some, step)
        return _part(plan, pairs, moved, trained, some)

    together = _together(plan, pairs.runs)
    steps = len(plan.training.strengths) if plan.converged else max([plan.training.epochs, *plan.times])
    with work.bar(len(together) * steps, describe) as step:
        return work.side_by_side(fit_some, together, step, _largest_product(plan, pairs))


def _together(plan, runs):
    """Lists of runs that are trained at once."""
    if plan.device == "cpu" or plan.converged:
        return [[run] for run in runs]
    return [list(some) for _, some in groupby(runs, lambda run: (len(run.train), len(run.val)))]


def _largest_product(plan, pairs):
    """Operations of the largest product of a step of training."""
    rows = max(len(run.train) for run in pairs.runs) if plan.converged else plan.training.batch
    return 2 * rows * pairs.image.shape[1] * len(plan.lams) * max(plan.head.hidden, pairs.outputs)


def _move(plan, pairs, run):
    """The run's treatments, fitted."""
    rows = slice(None) if plan.fit_on == "all" else run.fitted
    image = pairs.image[rows]
    text = pairs.text[rows]
    moves = [TREATMENTS[name](image, text, lams, run.seed) for name, lams in plan.strengths.items()]
    return joined(moves, [len(lams) for lams in plan.strengths.values()])


def _trained(plan, pairs, moved, runs, step):
    """The probes of runs of one size."""
    train, val = (_stacked(rows, moved) for rows in ([run.train for run in runs], [run.val for run in runs]))
    y = torch.as_tensor(pairs.y, device=train.device)
    examples = probe.Examples(moved, y, pairs.task, pairs.outputs, train, val)
    if plan.converged:
        return probe.converge(examples, plan.training, step)
    return probe.train(examples, [run.seed for run in runs], plan.head, plan.training, plan.times, step)


def _part(plan, pairs, moved, trained, runs):
    """What trained probes score."""
    rows = {"val": [run.val for run in runs], "test": [pairs.test] * len(runs)}
    logits = {}
    path = {}
    for split, of_runs in rows.items():
        places = _stacked(of_runs, moved)
        logits[split] = probe.score(moved, trained.weights, plan.head, places)
        for epoch, weights in trained.path.items():
            then = probe.score(moved, weights, plan.head, places)
            aucs = [macro_auc(some, pairs.y[at], pairs.task) for some, at in zip(then, of_runs, strict=True)]
            path[epoch, split] = np.array(aucs)
    return Part(probe.Probes.of(trained, moved, plan.head), logits, path)


def _stacked(rows, moved):
    """Rows of runs as a tensor (runs, rows) where the moved rows are."""
    return torch.as_tensor(np.stack(rows), device=moved.lams.device)

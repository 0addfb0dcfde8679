"""Whole studies in milliseconds, of which the truth is known: what verdicts are calibrated on.

A row belongs to a group and has eight features for every lambda, x = quality(lambda) * label + noise: the noise of
neighbouring lambdas is alike. A probe is the difference of the means of the two classes in its training set. For a
probe w the AUC of the population is Phi(w.mean / (sqrt(2) |w|)), so the truth is a mean over training sets.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm, ttest_1samp

from gaplib import sweep

WIDTH = 8


class World(NamedTuple):
    """What a study is drawn from: quality at each lambda, sizes, share of positives, spread of the seeds."""

    quality: tuple = (0.4, 0.4)
    n_train: int = 200
    n_test: int = 400
    resamples: int = 4
    seeds: int = 3
    positive: float = 0.4
    of_group: int = 2
    turn: float = 0.5  # radians from lambda 0 to 1: how unlike the noise of both is
    of_seed: float = 0.02


def draw(world, n, rng):
    """Features (lambdas, n, width), labels and groups of n rows."""
    groups = np.arange(n) // world.of_group
    noise = rng.normal(size=(2, n, WIDTH)) + rng.normal(size=(2, groups[-1] + 1, WIDTH))[:, groups]
    angle = np.linspace(0, world.turn, len(world.quality))
    turned = np.tensordot([np.cos(angle), np.sin(angle)], noise / np.sqrt(2), axes=(0, 0))
    y = rng.random(n) < world.positive
    return turned + np.array(world.quality)[:, None, None] * y[:, None], y, groups


def train(x, y, counts):
    """Probes (sets, lambdas, width) of training sets that hold each row so many times, counts (sets, n)."""
    positive = counts * y
    negative = counts * ~y
    sums = positive / positive.sum(1, keepdims=True) - negative / negative.sum(1, keepdims=True)
    return np.einsum("sn,lnd->sld", sums, x)


def population_auc(world, probes):
    """AUC of probes (..., lambdas, width) on all rows there could be."""
    signal = probes.sum(-1) * np.array(world.quality)
    return norm.cdf(signal / np.linalg.norm(probes, axis=-1) / np.sqrt(2))


def truth(world, sets=4000, seed=0):
    """AUC at each lambda, mean over training sets and rows of the population."""
    rng = np.random.default_rng(seed)
    once = np.ones((1, world.n_train))
    probes = np.concatenate([train(*draw(world, world.n_train, rng)[:2], once) for _ in range(sets)])
    probes = probes + world.of_seed * rng.normal(size=probes.shape)
    return population_auc(world, probes).mean(0)


def study(world, rng):
    """Scores (runs, lambdas, rows) of test and of validation rows with their labels and groups; the set of each run.

    The training set itself is learned by all seeds, each resample of its groups by one.
    """
    x, y, groups = draw(world, world.n_train, rng)
    many = groups[-1] + 1
    drawn = rng.multinomial(many, np.full(many, 1 / many), size=world.resamples)
    probes = train(x, y, np.vstack([np.ones(world.n_train), drawn[:, groups]]))
    sets = np.repeat(np.arange(world.resamples + 1), [world.seeds] + [1] * world.resamples)
    probes = probes[sets] + world.of_seed * rng.normal(size=(len(sets), *probes.shape[1:]))
    parts = {}
    for split, n in (("test", world.n_test), ("val", world.n_test // 2)):
        x, y, groups = draw(world, n, rng)
        scores = (x @ probes.transpose(1, 2, 0)).transpose(2, 0, 1)
        parts[split] = scores.astype(np.float32), y, groups
    return parts, sets


def made(world, rng, **cell):
    """A study as the sweep of a cell: its dataset, treatment and so on as given."""
    named = {"dataset": "made", "encoder": "mini-clip", "treatment": "shift", "training": "published"}
    named = named | {"fusion": "early", "hidden": 0} | cell
    parts, sets = study(world, rng)
    lams = np.linspace(0, 1, len(world.quality)).round(2)
    places = {
        "lam": np.tile(lams, len(sets)),
        "set": np.repeat(sets, len(lams)),
        "seed": np.repeat(np.arange(len(sets)), len(lams)),
    }
    tables = []
    for split, (scores, y, _) in parts.items():
        columns = scores.reshape(-1, len(y)).T
        aucs = sweep.auc(columns, y[:, None])
        tables.append(pd.DataFrame(named | places | {"split": split, "metric": "auc", "value": aucs}))
    scores, y, groups = parts["test"]
    seeds = np.arange(len(sets))
    return sweep.Sweep(
        pd.concat(tables), scores[..., None], y[:, None], None, tuple(lams.tolist()), groups, sets, seeds
    )


def many(world, studies, rng):
    """So many studies, each a family of its own: Holm's adjustment lends them nothing."""
    return [made(world, rng, training=f"study {i}") for i in range(studies)]


def p_over_seeds(run):
    """What papers do: a t-test of AUC(1) - AUC(0) over the seeds of one training set and one test set."""
    of_seeds = run.scores[run.sets == 0, :, :, 0]
    rises = [np.diff(sweep.auc(scores[[0, -1]].T, run.truth)) for scores in of_seeds]
    return ttest_1samp(np.concatenate(rises), 0).pvalue

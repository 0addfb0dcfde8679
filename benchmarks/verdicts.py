"""How often the verdicts of gaplib.sweep are wrong, what they can see, and what they cost.

    python benchmarks/verdicts.py [STUDIES]

What contrasts of 430 classes and 20,000 test rows cost. Then, over simulated studies of known truth
(`tests/helpers/simulated.py`; 500 by default), the share called better or worse where there is no difference, and
equivalent where the difference is the margin: 5 % at most is promised, and 500 studies tell 5 % to +-2 points.
Beside them a t-test over the seeds of one training set, which is what papers do. Then how often a true difference is
found, and what a chosen lambda and a best one inside are on flat curves.
"""

import resource
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))
from simulated import World, made, many, p_over_seeds, truth

from gaplib import sweep
from gaplib.sweep import verdicts
from gaplib.sweep.scores import CELL

WORLDS = {
    "as below": World(),
    "few training rows, many test rows": World(n_train=100, n_test=2000),
    "many training rows, few test rows": World(n_train=800, n_test=200),
    "6 % positives": World(n_test=400, positive=0.06),
    "two resamples": World(resamples=2),
    "nine resamples": World(resamples=9),
}


def cost(rows=20_000, classes=430, runs=9):
    """Seconds and peak memory of contrasts of one large cell, and the size of its scores."""
    rng = np.random.default_rng(0)
    label = np.arange(rows) % classes
    scores = rng.standard_normal((runs, 2, rows, classes), np.float32)
    scores[:, :, np.arange(rows), label] += 1
    sets = np.maximum(np.arange(runs) - 4, 0)
    table = pd.DataFrame([dict.fromkeys(CELL, "large")])
    run = sweep.Sweep(table, scores, label[:, None] == np.arange(classes), None, (0.0, 1.0), label, sets, sets)
    start = time.perf_counter(), time.process_time()
    verdicts.contrasts([run])
    took = time.perf_counter() - start[0]
    busy = time.process_time() - start[1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # GiB on Linux
    print(f"contrasts, {rows:,} test rows, {classes} classes, {runs} runs (scores {scores.nbytes / 2**30:.2f} GiB):")
    print(f"{took:.0f} s ({busy:.0f} s of one core), peak {peak:.2f} GiB\n", flush=True)


def share(told):
    return f"{np.mean(told):7.1%}"


def calibration(studies):
    print(f"{'':36}{'better or worse':>16}{'equivalent':>12}{'t over seeds':>14}   SD seen, se_rows, se_sets")
    for name, world in WORLDS.items():
        rng = np.random.default_rng(0)
        null = many(world, studies, rng)
        told = verdicts.contrasts(null)
        seeds = [p_over_seeds(run) <= verdicts.LEVEL for run in null]
        edge = world._replace(quality=(0.4, 0.46))
        margin = float(np.diff(truth(edge)).item())
        same = verdicts.contrasts(many(edge, studies, rng), margin)
        wrong = told["verdict"].isin(["better", "worse"])
        equal = (same["low_90"] > -margin) & (same["high_90"] < margin)
        spread = f"{told['difference'].std():.4f}"
        for source in ("se_rows", "se_sets"):
            spread += f", {np.sqrt((told[source] ** 2).mean()):.4f}"
        print(f"{name:36}{share(wrong):>16}{share(equal):>12}{share(seeds):>14}   {spread}", flush=True)


def power(studies):
    print("\nfound better, by true difference of AUC (columns) and test rows; 400 training rows")
    qualities = (0.42, 0.44, 0.46, 0.5)
    worlds = [World(quality=(0.4, quality), n_train=400) for quality in qualities]
    print(f"{'test rows':>10}" + "".join(f"{np.diff(truth(world)).item():>9.3f}" for world in worlds) + "   detectable")
    for n in (250, 1000, 4000):
        rng = np.random.default_rng(0)
        line = f"{n:>10}"
        for world in worlds:
            told = verdicts.contrasts(many(world._replace(n_test=n), studies, rng))
            line += f"{share(told['verdict'] == 'better'):>9}"
        print(f"{line}{told['detectable'].median():>13.3f}", flush=True)


def chosen(studies):
    """Twelve cells at a time, of flat curves: how often any is said to have a better lambda in between."""
    rng = np.random.default_rng(0)
    world = World(quality=(0.4,) * 6)
    told = []
    inside = []
    for _ in range(studies // 10):
        runs = [made(world, rng, dataset=f"d{i}") for i in range(12)]
        told.append(verdicts.intermediate(runs)["intermediate"].any())
        inside.append(verdicts.best_inside(runs, draws=999)[["inside", "by_chance"]].mean())
    seen, chance = np.mean(inside, axis=0)
    print(f"\nflat curves: a lambda in between is called better in any of 12 cells in{share(told)} of studies;")
    print(f"the best one of the test curve lies inside in {seen:.0%}; by chance, says best_inside, {chance:.0%}")


def main():
    studies = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    cost()
    calibration(studies)
    power(max(studies // 4, 20))
    chosen(studies)


if __name__ == "__main__":
    main()

"""Contrasts and verdicts: the bootstrap is that of AUCs, errors stay within their level, and real effects are found."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gaplib import sweep
from gaplib.sweep import verdicts

LAMS = (0.0, 0.5, 1.0)


def made_run(name, quality, n=600, seeds=3, seed=0, noise=0.3):
    """A sweep whose test and validation scores tell the label as well as `quality` says at each lambda.

    A row's own noise is shared by all lambdas and seeds, as it is when one probe is trained on rows that hardly move.
    """
    rng, scores = np.random.default_rng(seed), {}
    for split in ("val", "test"):
        truth = rng.random(n) < 0.4
        own = rng.normal(size=n)
        part = [[q * truth + own + noise * rng.normal(size=n) for q in quality] for _ in range(seeds)]
        scores[split] = np.array(part)[..., None].astype(np.float32), truth[:, None]
    rows = [
        (lam, s, split, "auc", float(sweep.auc(values[s, i], truth).mean()))
        for split, (values, truth) in scores.items()
        for s in range(seeds)
        for i, lam in enumerate(LAMS)
    ]
    table = pd.DataFrame(rows, columns=["lam", "seed", "split", "metric", "value"])
    for column, value in zip(sweep.CELL, (name, "made", "published", "early", 0), strict=True):
        table.insert(sweep.CELL.index(column), column, value)
    return sweep.Sweep(table, *scores["test"], None, LAMS)


def test_differences_are_those_of_the_aucs_and_their_bootstrap_is_that_of_the_rows():
    run = made_run("a", (0.5, 1.0, 0.8), n=80)
    row = sweep.contrasts([run], resamples=400).iloc[0]
    assert row["lam"] in LAMS and row["n_test"] == 80
    assert row["one_0"] == pytest.approx(row["auc_1"] - row["auc_0"], abs=1e-6)
    assert row["lam_0"] == pytest.approx(row["auc_lam"] - row["auc_0"], abs=1e-6)
    counts = np.random.default_rng(0).multinomial(80, np.full(80, 1 / 80), size=400)
    naive = []
    for count in counts:
        rows = np.repeat(np.arange(80), count)
        truth = np.repeat(run.truth[rows], 3, axis=1)
        mean = np.mean([sweep.auc(s[:, rows, 0].T, truth) for s in run.scores], axis=0)
        naive.append(mean[2] - mean[0])
    assert (row["one_0_low"], row["one_0_high"]) == pytest.approx(tuple(np.quantile(naive, [0.025, 0.975])), abs=1e-6)


def test_ties_count_half():
    scores = np.array([0.0, 1.0, 1.0, 2.0])
    order = verdicts.in_order(scores, np.array([1, 3]))
    np.testing.assert_array_equal(order, [[1, 0.5, 0.5, 0], [1, 1, 1, 0.5]])


def test_holm_is_the_step_down_adjustment():
    p = np.array([0.001, 0.2, 0.03, 0.012])
    np.testing.assert_allclose(verdicts.holm(p), [0.004, 0.2, 0.06, 0.036])


@pytest.mark.slow
def test_where_lambda_cannot_matter_hardly_any_cell_gets_a_verdict():
    # Twenty studies of twelve cells: three scores of one quality that differ by noise alone.
    told = cells = wrong = 0
    for study in range(20):
        runs = [made_run(f"d{i}", (0.8, 0.8, 0.8), n=300, seed=1000 * study + i) for i in range(12)]
        table = sweep.contrasts(runs, resamples=999)
        missed = table["verdict"] != verdicts.VERDICTS[-1]
        told, cells, wrong = told + missed.sum(), cells + len(table), wrong + missed.any()
    assert told / cells <= 0.05 and wrong / 20 <= 0.15  # without Holm's adjustment a third of the studies are wrong


@pytest.mark.slow
def test_an_intermediate_lambda_that_wins_by_three_hundredths_is_found():
    found, margins = 0, []
    for study in range(2):
        runs = [made_run(f"d{i}", (0.8, 0.93, 0.8), n=2500, seed=1000 * study + i, noise=0.2) for i in range(12)]
        table = sweep.contrasts(runs, resamples=999)
        found += (table["verdict"] == verdicts.VERDICTS[0]).sum()
        margins += [*table["auc_lam"] - table[["auc_0", "auc_1"]].max(axis=1)]
    assert np.mean(margins) == pytest.approx(0.03, abs=0.006)
    assert found / 24 >= 0.9


def test_closing_and_leaving_are_told_apart():
    runs = [made_run("up", (0.5, 0.8, 1.1)), made_run("down", (1.1, 0.8, 0.5)), made_run("flat", (0.8, 0.8, 0.8))]
    assert sweep.contrasts(runs, resamples=999)["verdict"].tolist() == [
        "closing is better",
        "leaving it is better",
        "no detectable difference",
    ]


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_shuffled_labels_and_the_constant_shift_hardly_ever_get_a_verdict(make_features, task):
    # Real sweeps: eight studies of one cell a protocol, so that Holm's adjustment lends them nothing.
    told = []
    for seed in range(8):
        features = make_features(task, n=400, seed=seed)
        still = sweep.sweep(features, lams=LAMS, seeds=[1], protocol="no-renorm")
        columns = list(features.about.labels) if task == "multilabel" else ["label"]
        order = np.random.default_rng(seed).permutation(len(features.pairs))
        features.pairs[columns] = features.pairs[columns].to_numpy()[order]
        shuffled = [sweep.sweep(features, lams=LAMS, seeds=[1, 2], protocol=p) for p in ("published", "converged")]
        table = sweep.contrasts([still, *shuffled], resamples=999)
        assert table.loc[0, "one_0"] == pytest.approx(0, abs=1e-6)
        told += [*(table["verdict"] != verdicts.VERDICTS[-1])[1:]]
    assert np.mean(told) <= 0.05


def test_kinds_of_cells_are_compared_with_an_interval():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"kind": ["medical"] * 8 + ["natural"] * 4, "range": rng.normal(size=12) / 100})
    table.loc[:7, "range"] += 0.1
    row = sweep.compare(table, "kind")
    assert row["low"] < row["difference"] < row["high"] and row["low"] > 0 and row["cells"] == (8, 4)
    assert np.isnan(sweep.compare(table[:9], "kind")["low"])
    one = sweep.compare(table[:8], "kind")
    assert one["cells"] == (8, 0) and one["told"] == "one kind only: nothing to compare it with"
    assert np.isnan([one["difference"], one["low"], one["high"]]).all()
    with pytest.raises(ValueError, match="'kind' must have two kinds"):
        sweep.compare(table.assign(kind=["a", "b", "c"] * 4), "kind")
    with pytest.raises(ValueError, match="no column 'domain' to compare; there are kind, range"):
        sweep.compare(table, "domain")


def test_refusals():
    with pytest.raises(ValueError, match="at least one sweep"):
        sweep.contrasts([])
    run = made_run("a", (1, 1, 1))
    with pytest.raises(ValueError, match="contrasts need lambdas 0 and 1"):
        sweep.contrasts([sweep.Sweep(run.table, run.scores, run.truth, None, (0.0, 0.5, 0.9))])


def test_rows_of_one_group_are_drawn_together():
    run = made_run("a", (0.5, 0.8, 0.8), n=150, seeds=1)
    scores, truth = np.repeat(run.scores, 3, axis=2), np.repeat(run.truth, 3, axis=0)
    grouped = replace(run, scores=scores, truth=truth, groups=np.repeat(np.arange(150), 3))
    table = sweep.contrasts([run, grouped, replace(grouped, groups=None)], resamples=999)
    (low, same_low, _), (high, same_high, _) = table["one_0_low"], table["one_0_high"]
    assert (same_low, same_high) == pytest.approx((low, high), abs=1e-6)  # thrice the same says no more than once
    width = table["one_0_high"] - table["one_0_low"]
    assert width[2] < 0.7 * width[0]


def test_many_cells_are_given_the_resamples_that_their_adjustment_needs():
    runs = [made_run(f"d{i}", (0.2, 0.8, 1.6), n=200, seeds=1, seed=i) for i in range(26)]
    assert (sweep.contrasts(runs, resamples=99)["verdict"] == "closing is better").all()


@pytest.mark.parametrize(
    "groups",
    [np.r_[np.nan, np.arange(1.0, 150)], np.array([None, *range(149)]), np.arange(7)],
)
def test_rows_without_a_group_are_refused(groups):
    with pytest.raises(ValueError, match="groups must name the patient, lesion or image of each of the 150 test rows"):
        sweep.contrasts([replace(made_run("a", (0.5, 0.8, 0.8), n=150), groups=groups)])


def test_groups_that_are_empty_in_the_pair_table_are_refused_not_merged(make_features):
    features = make_features("binary")
    features.pairs["group"] = features.pairs["group"].astype(object).where(features.pairs.index % 7 > 0)
    run = sweep.sweep(features, [0, 1], [1], training=sweep.Training(epochs=2))
    with pytest.raises(ValueError, match="groups must name the patient"):
        sweep.contrasts([run])


def test_only_sweeps_are_contrasted():
    run = made_run("a", (0.5, 0.8, 0.8), n=150)
    for wrong in (run, run.table, [run.table], [run, None]):
        with pytest.raises(ValueError, match="contrasts need a list of what sweep.sweep returns"):
            sweep.contrasts(wrong)


@pytest.mark.parametrize("seed", [-1, 0.5, "a", 2**70])
def test_seeds_that_cannot_work_are_refused(seed):
    run = made_run("a", (0.5, 0.8, 0.8), n=150)
    table = pd.DataFrame({"kind": list("aabb"), "range": [3.0, 4.0, 1.0, 2.0]})
    for call in (lambda: sweep.contrasts([run], seed=seed), lambda: sweep.compare(table, "kind", seed=seed)):
        with pytest.raises(ValueError, match="seed must be an integer"):
            call()
    with pytest.raises(ValueError, match="seed must be an integer"):
        sweep.sensitivity(run.table, seed=seed)


@pytest.mark.parametrize("seeds", [1, 3])
def test_one_cell_alone_has_a_row(seeds):
    row = sweep.contrasts([made_run("a", (0.5, 0.8, 0.8), n=150, seeds=seeds)], resamples=99).iloc[0]
    assert row["verdict"] in verdicts.VERDICTS and np.isnan(row["by_chance_95"]) == (seeds == 1)

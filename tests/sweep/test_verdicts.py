"""Verdicts: pseudo-values are those of AUCs, both ways to be wrong stay within 5 %, and real effects are found."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, ttest_1samp
from simulated import World, made, many, p_over_seeds, truth

from gaplib import sweep
from gaplib.sweep import uncertainty, verdicts

STUDIES = 300
MOST = binom.isf(0.01, STUDIES, verdicts.LEVEL) / STUDIES  # .08: a true rate of 5 % stays below in 99 of 100 seeds


def cells(world, count, seed=0):
    rng = np.random.default_rng(seed)
    return [made(world, rng, dataset=f"d{i}") for i in range(count)]


def test_pseudovalues_have_the_auc_as_mean_and_its_jackknife_as_spread():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(120, 2)).round(1)  # rounded: ties
    label = rng.random((120, 2)) < 0.4
    groups = np.arange(120) // 3
    found = uncertainty.auc_pseudovalues(scores, label, groups)
    assert found.mean() == pytest.approx(sweep.auc(scores, label).mean(), abs=1e-12)
    without = [sweep.auc(scores[groups != g], label[groups != g]).mean() for g in range(40)]
    jackknife = 40 * found.mean() - 39 * np.array(without)
    assert np.corrcoef(found, jackknife)[0, 1] > 0.999
    assert found.std() == pytest.approx(jackknife.std(), rel=0.05)
    with pytest.raises(ValueError, match="holds one class only"):
        uncertainty.auc_pseudovalues(scores, label | [True, False], groups)


def test_each_source_of_uncertainty_is_what_it_says():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=400)
    sets = rng.normal(size=(9, 1))
    own = 2 * rng.normal(size=(9, 400))
    rows_only = uncertainty.contrast(np.tile(rows, (9, 1)))
    assert (rows_only.se_rows, rows_only.se_sets) == pytest.approx((rows.std(ddof=1) / 20, 0))
    both = uncertainty.contrast(rows + sets)
    assert both.se_sets == pytest.approx(sets[1:].std(ddof=1)) and both.df < 9
    # What only the finite test set adds to the spread of the resamples is no second time counted.
    mixed = [uncertainty.contrast(rows + 2 * rng.normal(size=(9, 400))).se_sets for _ in range(50)]
    assert np.mean(np.square(mixed)) < 0.5 * 4 / 400 and uncertainty.contrast(rows + sets + own).se_sets > 0.3
    assert np.isnan(uncertainty.contrast(rows[None]).se_sets)
    with pytest.raises(ValueError, match="two groups of test rows"):
        uncertainty.contrast(np.ones((3, 1)))


def test_intervals_p_values_and_power_belong_together():
    found = uncertainty.Contrast(0.01, 0.003, 0.004, 12.0)
    assert found.se == pytest.approx(0.005)
    assert found.interval(found.p)[0] == pytest.approx(0, abs=1e-12)
    assert found.p_above(found.interval(0.1)[0]) == pytest.approx(0.05)
    critical = found.interval(0.05)[1] - found.difference
    missed = uncertainty.Contrast(found.detectable(0.05), 0.003, 0.004, 12.0).p_above(critical)
    assert missed == pytest.approx(0.2)  # a difference of that size stays below what is called one in a fifth of draws
    still = uncertainty.Contrast(0.0, 0.0, 0.0, 5.0)
    assert (still.p, still.p_above(0), still.p_above(-0.1)) == (1, 1, 0)


def test_holm_is_the_step_down_adjustment():
    p = pd.Series([0.001, 0.2, np.nan, 0.03, 0.012, 0.03])
    np.testing.assert_allclose(verdicts.holm(p), [0.005, 0.2, np.nan, 0.09, 0.048, 0.09])


@pytest.mark.parametrize(
    "world",
    [World(), World(n_train=100, n_test=1000), World(positive=0.08)],
    ids=["even", "training sets weigh most", "few positives"],
)
def test_hardly_any_cell_without_a_difference_is_called_better_or_worse(world):
    runs = many(world, STUDIES, np.random.default_rng(0))
    assert verdicts.contrasts(runs)["verdict"].isin(["better", "worse"]).mean() <= MOST
    # The simulation can tell: a t-test over seeds, which leaves out both sources, is wrong in most cells.
    assert np.mean([p_over_seeds(run) <= 0.05 for run in runs]) > 0.4


def test_hardly_any_real_sweep_of_shuffled_labels_shows_a_difference(make_features):
    rng = np.random.default_rng(0)
    features = make_features("binary", n=300)
    runs = []
    for _ in range(20):
        features.pairs["label"] = rng.permutation(features.pairs["label"])
        runs.append(sweep.sweep(features, [0, 1], [1], training=sweep.Training(lr=0.03, epochs=10), sets=5))
    assert (verdicts.contrasts(runs)["p"] <= verdicts.LEVEL).sum() <= binom.isf(0.01, 20, verdicts.LEVEL)
    assert all(len(set(run.seeds)) == 5 for run in runs)


def test_hardly_any_cell_at_the_edge_of_the_margin_is_called_equivalent():
    world = World(quality=(0.4, 0.48), n_test=1000, n_train=400)
    edge = float(np.diff(truth(world, 1000)).item())
    table = verdicts.contrasts(many(world, STUDIES, np.random.default_rng(0)), margin=edge)
    inside = (table["low_90"] > -edge) & (table["high_90"] < edge)
    assert inside.mean() <= MOST
    assert table["difference"].mean() == pytest.approx(edge, abs=0.002)
    assert (table["verdict"] == "equivalent").mean() <= inside.mean()


def test_what_is_detectable_is_found_and_equivalent_needs_many_rows():
    steep = verdicts.contrasts(cells(World(quality=(0.4, 0.6), n_test=1000, n_train=400), 12))
    assert (steep["verdict"] == "better").mean() > 0.9 and (steep["difference"] > steep["detectable"]).mean() > 0.9
    assert (
        verdicts.contrasts(cells(World(quality=(0.6, 0.4), n_test=1000, n_train=400), 3))["verdict"] == "worse"
    ).all()
    flat = cells(World(n_train=2000, n_test=4000, turn=0.1), 2)
    assert (verdicts.contrasts(flat)["verdict"] == "equivalent").all()
    assert (verdicts.contrasts(flat, margin=1e-4)["verdict"] != "equivalent").all()


def test_the_table_says_what_it_was_made_of():
    run = made(World(quality=(0.4, 0.4, 0.5)), np.random.default_rng(0))
    row = sweep.contrasts([run]).iloc[0]
    assert (row["n_test"], row["groups"], row["resamples"]) == (400, 200, 4)
    assert row["difference"] == pytest.approx(row["auc_1"] - row["auc_0"], abs=1e-6)
    given = run.scores[run.sets == 0, :, :, 0]
    aucs = [np.mean([sweep.auc(of_seed[i][:, None], run.truth) for of_seed in given]) for i in (0, 2)]
    assert (row["auc_0"], row["auc_1"]) == pytest.approx(tuple(aucs))
    assert row["se"] == pytest.approx(np.hypot(row["se_rows"], row["se_sets"]))
    alone = sweep.contrasts([replace(run, scores=run.scores[:3], sets=run.sets[:3])]).iloc[0]
    assert alone["se_rows"] == row["se_rows"] == alone["se"] and np.isnan(alone["se_sets"])


def test_adjusted_intervals_lie_beyond_0_just_where_the_verdict_says():
    table = verdicts.contrasts(cells(World(quality=(0.4, 0.46), n_test=1000, n_train=400), 24))
    beyond = table["low"] * table["high"] > 0
    assert (beyond == table["verdict"].isin(["better", "worse"])).all() and 0 < beyond.sum() < 24
    assert (table["p_holm"] >= table["p"]).all() and (table["p"] <= 0.05).sum() > beyond.sum()


def test_rows_of_one_group_count_once():
    run = made(World(of_group=1), np.random.default_rng(0))
    thrice = replace(run, scores=np.repeat(run.scores, 3, axis=2), truth=np.repeat(run.truth, 3, axis=0))
    grouped = replace(thrice, groups=np.repeat(run.groups, 3))
    one, same, apart = verdicts.contrasts([run, grouped, replace(thrice, groups=np.arange(1200))])["se_rows"]
    assert same == pytest.approx(one) and apart == pytest.approx(one / np.sqrt(3), rel=0.01)


def test_an_intermediate_lambda_must_beat_both_ends():
    hill = World(quality=(0.4, 0.7, 0.4), n_train=400, n_test=1000)
    table = verdicts.intermediate(cells(hill, 3))
    assert (table["lam"] == 0.5).all() and table["intermediate"].all()
    rising = verdicts.intermediate(cells(hill._replace(quality=(0.3, 0.6, 0.62)), 3))
    assert (rising["p_over_0"] <= 0.05).all() and not rising["intermediate"].any()
    falling = verdicts.intermediate(cells(hill._replace(quality=(0.7, 0.5, 0.3)), 2))
    assert (falling["lam"] == 0).all() and falling["p_over_1"].isna().all() and not falling["intermediate"].any()


def test_flat_curves_hardly_ever_have_an_intermediate_lambda_and_their_best_is_inside_as_often_as_chance_says():
    flat = World(quality=(0.4,) * 5, seeds=1)
    runs = many(flat, STUDIES, np.random.default_rng(0))
    assert verdicts.intermediate(runs)["intermediate"].mean() <= MOST
    table = verdicts.best_inside(runs, draws=500)
    assert table["by_chance"].mean() == pytest.approx(table["inside"].mean(), abs=0.08)
    assert table["by_chance"].mean() < 0.5  # and not the three in five of independent points


def treatments(**qualities):
    """Sweeps of treatments on the same rows and training sets, as far as one generator can give them."""
    world = World(n_train=1000, n_test=2000)
    runs = []
    for name, quality in ({"placebo": 0.4, "rescale": 0.4, "standardise": 0.4} | qualities).items():
        runs.append(made(world._replace(quality=(0.4, quality)), np.random.default_rng(0), treatment=name))
    return runs


def test_lambda_matters_only_where_shift_beats_every_control_by_the_margin():
    clear = verdicts.judge_leads(verdicts.leads(treatments(shift=0.6))).iloc[0]
    assert clear["matters"] and clear["over_placebo"] > 0.05
    assert not verdicts.judge_leads(verdicts.leads(treatments(shift=0.6), margin=0.2))["matters"].any()
    tied = verdicts.judge_leads(verdicts.leads(treatments(shift=0.6, standardise=0.6))).iloc[0]
    assert not tied["matters"] and tied["over_standardise"] == 0 and tied["over_rescale"] == clear["over_rescale"]
    runs = treatments(shift=0.6)
    with pytest.raises(ValueError, match="no sweep of treatment rescale"):
        verdicts.leads([run for run in runs if run.table["treatment"].iloc[0] != "rescale"])
    with pytest.raises(ValueError, match="'shift' is given twice"):
        verdicts.leads([*runs, runs[-1]])
    other = [replace(runs[0], truth=~runs[0].truth), *runs[1:]]
    with pytest.raises(ValueError, match="'shift' and 'placebo' were scored on other test rows"):
        verdicts.leads(other)


def test_squared_slope_less_its_noise_is_right_on_average_where_the_range_is_not():
    world = World(quality=(0.4, 0.4, 0.4), seeds=1)
    table = sweep.sensitivity(cells(world, 150))
    assert abs(ttest_1samp(table["squared"], 0).statistic) < 2.6
    assert (table["low"] <= 0).mean() > 0.9 and (table["slope"] ** 2).mean() > 2 * abs(table["squared"].mean())
    line = made(world._replace(quality=(0.4, 0.6, 0.9)), np.random.default_rng(0))
    test = line.table[(line.table["split"] == "test") & (line.table["set"] == 0)]
    slope = np.polyfit(test["lam"], test["value"], 1)[0]
    assert sweep.sensitivity([line])["slope"].item() == pytest.approx(slope, abs=1e-6)


def test_refusals():
    run = made(World(), np.random.default_rng(0))
    with pytest.raises(ValueError, match="at least one sweep"):
        sweep.contrasts([])
    for wrong in (run, run.table, [run.table], [run, None]):
        with pytest.raises(ValueError, match="a list of what sweep.sweep returns is needed"):
            sweep.contrasts(wrong)
    with pytest.raises(ValueError, match="lambdas 0 and 1 are needed"):
        sweep.contrasts([replace(run, lams=(0.0, 0.9))])
    with pytest.raises(ValueError, match="no run of training set 0"):
        sweep.contrasts([replace(run, sets=run.sets + 1)])
    with pytest.raises(ValueError, match="margin must be above 0"):
        sweep.contrasts([run], margin=0)
    with pytest.raises(ValueError, match="seed must be an integer"):
        verdicts.best_inside([run], seed=-1)


@pytest.mark.parametrize(
    "groups",
    [np.r_[np.nan, np.arange(1.0, 400)], np.array([None, *range(399)]), np.arange(7)],
)
def test_rows_without_a_group_are_refused(groups):
    run = replace(made(World(), np.random.default_rng(0)), groups=groups)
    with pytest.raises(ValueError, match="groups must name the patient, lesion or image of each of the 400 test rows"):
        sweep.contrasts([run])

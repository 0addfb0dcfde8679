"""Over cells: what is known of the truth comes back, with the uncertainty that so few datasets leave."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom
from simulated import World, made
from sklearn.metrics import roc_auc_score

from gaplib import cone
from gaplib.gap import gap_vector
from gaplib.modulate import shift
from gaplib.sweep import overcells, verdicts

MEAN, TAUS = 0.004, (0.006, 0.003, 0.002)  # of dataset, encoder, cell


def drawn(rng, datasets=6, encoders=4, taus=TAUS):
    """Effects of cells as a random-effects model has them."""
    errors = rng.uniform(0.001, 0.004, (datasets, encoders))
    of_dataset = taus[0] * rng.normal(size=(datasets, 1))
    of_encoder = taus[1] * rng.normal(size=encoders)
    effects = MEAN + of_dataset + of_encoder + np.hypot(taus[2], errors) * rng.normal(size=errors.shape)
    places = np.indices(errors.shape).reshape(2, -1)
    cells = pd.DataFrame(places.T, columns=["dataset", "encoder"])
    return cells.assign(difference=effects.ravel(), se=errors.ravel())


def test_a_summary_covers_the_mean_as_often_as_it_says_and_a_new_cell_too():
    rng = np.random.default_rng(0)
    found = pd.DataFrame([overcells.summary(drawn(rng)) for _ in range(120)])
    least = binom.ppf(0.01, 120, 0.95) / 120  # coverage of 95 % stays above in 99 of 100 seeds
    assert ((found["low"] <= MEAN) & (found["high"] >= MEAN)).mean() >= least
    new = MEAN + np.linalg.norm(TAUS) * rng.normal(size=len(found))
    assert ((found["predicted_low"] <= new) & (found["predicted_high"] >= new)).mean() >= least
    assert np.median(found["tau_dataset"]) == pytest.approx(TAUS[0], abs=0.002)
    assert (found["predicted_high"] - found["predicted_low"] > found["high"] - found["low"]).all()


def test_cells_as_like_as_their_errors_allow_have_no_spread_and_the_weighted_mean():
    cells = drawn(np.random.default_rng(0), taus=(0, 0, 0))
    cells["difference"] = MEAN + 0.1 * (cells["difference"] - MEAN)
    found = overcells.summary(cells)
    assert found["tau"] < 1e-6 and found["cells"] == 24
    weights = 1 / cells["se"] ** 2
    assert found["mean"] == pytest.approx((weights * cells["difference"]).sum() / weights.sum(), rel=1e-3)
    assert found["se"] == pytest.approx(weights.sum() ** -0.5, rel=1e-3)
    scaled = overcells.summary(cells.assign(difference=100 * cells["difference"], se=100 * cells["se"]))
    assert scaled["mean"] == pytest.approx(100 * found["mean"], rel=1e-6)


def test_a_study_of_one_dataset_has_a_summary_and_one_of_two_cells_has_none():
    cells = drawn(np.random.default_rng(0))
    one = overcells.summary(cells[cells["dataset"] == 0])
    assert "tau_dataset" not in one and one["tau_encoder"] >= 0
    for wrong in (cells[:2], cells.assign(se=np.nan), cells.assign(se=-1.0)):
        with pytest.raises(ValueError, match="needed: 3 cells or more, each with 'difference' and 'se'"):
            overcells.summary(wrong)


def kinds(one, other, encoders=4):
    """Cells of so many medical and natural datasets; the medical ones react."""
    names = [("medical", f"m{i}", 1 + i / 10) for i in range(one)]
    names += [("natural", f"n{i}", i / 10) for i in range(other)]
    cells = pd.DataFrame(names, columns=["kind", "dataset", "squared"])
    return cells.merge(pd.DataFrame({"encoder": range(encoders)}), "cross")


def test_kinds_are_exchanged_by_datasets_not_by_cells():
    assert overcells.compare(kinds(3, 3), "kind")["p"] == pytest.approx(2 / 20)  # however many encoders
    assert overcells.compare(kinds(3, 3, encoders=1), "kind")["p"] == pytest.approx(2 / 20)
    many = overcells.compare(kinds(5, 4), "kind")
    assert many["p"] == many["smallest_p"] == pytest.approx(2 / 126) and many["units"] == (5, 4)
    assert many["difference"] == pytest.approx(1.2 - 0.15) and "p = 0.02 over 5 and 4 datasets" in many["told"]
    few = overcells.compare(kinds(3, 2), "kind")
    assert np.isnan(few["p"]) and few["told"].startswith("not asked: 3 and 2 datasets")


def test_what_cannot_be_compared_is_refused():
    cells = kinds(3, 3)
    with pytest.raises(ValueError, match=r"'kind' must have two kinds to compare, .*; got \['medical'\]"):
        overcells.compare(cells[cells["kind"] == "medical"], "kind")
    with pytest.raises(ValueError, match="each dataset of one"):
        overcells.compare(cells.assign(kind=np.tile(["a", "b"], 12)), "kind")
    with pytest.raises(ValueError, match="no column 'domain' to compare; there are kind, dataset"):
        overcells.compare(cells, "domain")


def test_predictors_of_a_cell_are_of_its_test_rows_and_of_the_gap_of_its_train_split(make_features):
    features = make_features("multiclass")
    image, text = features.paired("test")
    gap = gap_vector(*features.paired("train"))
    label = np.eye(3, dtype=bool)[features.targets[features.rows("test")]]
    found = overcells.predictors_of(features, [42])
    assert (found["dataset"], found["encoder"], found["n"]) == ("made", "made-encoder", len(image))
    assert found["centroid_distance"] == pytest.approx(np.linalg.norm(gap))
    assert found["resultant_text"] == cone.mean_resultant_length(text)
    aucs = [roc_auc_score(of_class, image @ gap) for of_class in label.T]
    assert found["signal_image"] == pytest.approx(np.abs(np.array(aucs) - 0.5).mean())
    lengths = [np.linalg.norm(x + s * gap, axis=1) for x, s in ((image, -0.5), (text, 0.5))]
    assert found["factor_mean"] == pytest.approx((1 / np.array(lengths)).mean(), rel=1e-5)
    assert found["factor_variance"] == pytest.approx((1 / np.array(lengths)).var(), rel=1e-3)
    moved, _ = shift(image, text, 1, gap=gap)
    np.testing.assert_allclose(moved * lengths[0][:, None], image - gap / 2, atol=1e-6)


def test_a_label_that_lies_along_the_gap_has_the_strongest_signal(make_features):
    features = make_features("binary")
    along = features.image @ gap_vector(*features.paired("train"))
    features.pairs["label"] = np.where(along > np.median(along), "b", "a")
    assert overcells.predictors_of(features, [42])["signal_image"] == pytest.approx(0.5)


def test_rank_correlations_have_an_interval_and_are_seen_without_each_dataset():
    rng = np.random.default_rng(0)
    cells = pd.DataFrame({"dataset": np.repeat(list("abcdef"), 4), "effect": rng.normal(size=24)})
    cells["same"] = cells["effect"] ** 3
    cells["noise"] = rng.normal(size=24)
    table = overcells.rank_correlations(cells, "effect", ["same", "noise"]).set_index("predictor")
    assert table.loc["same", ["rho", "low", "high"]].tolist() == pytest.approx([1, 1, 1])
    noise = table.loc["noise"]
    assert (
        noise["low"] < 0 < noise["high"] and noise["lowest_without_one"] < noise["rho"] < noise["highest_without_one"]
    )
    few = overcells.rank_correlations(cells[:3], "effect", ["noise"]).iloc[0]
    assert np.isnan(few["low"]) and np.isnan(few["lowest_without_one"])


def test_verdicts_are_summed_up_as_they_are():
    rng = np.random.default_rng(0)
    runs = []
    for dataset in "abc":
        for training in ("published", "converged"):
            runs += [made(World(), rng, dataset=dataset, encoder=e, training=training) for e in "xy"]
    table = verdicts.contrasts(runs)
    found = overcells.summary(table[table["training"] == "published"])
    assert found["cells"] == 6 and found["low"] < 0 < found["high"]
    assert len(overcells.from_convergence(table)) == 6
    assert len(verdicts.sensitivity(runs)) == 12


def test_each_group_has_its_summary_and_one_of_two_cells_its_plain_mean():
    cells = drawn(np.random.default_rng(0)).assign(training="published")
    few = cells[:2].assign(training="converged")
    found = overcells.summaries(pd.concat([cells, few]), ["training"]).set_index("training")
    whole = overcells.summary(cells)
    assert found.loc["published"].to_dict() == {name: whole[name] for name in found}
    assert found.loc["converged", "mean"] == few["difference"].mean() and found.loc["converged", "cells"] == 2
    assert found.loc["converged", overcells.INTERVALS].isna().all()

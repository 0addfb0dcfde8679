"""Sweeps: tidy results, right metrics, choice on validation data, and refusals before any training."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from gaplib import probe, sweep


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A hundred steps of the published size teach little on so few rows."""
    monkeypatch.setitem(sweep.PROTOCOLS, "published", probe.Training(lr=0.03, epochs=40))


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_sweep_is_tidy_and_learns(make_features, task):
    features = make_features(task)
    result = sweep.sweep(features, lams=[0, 0.5, 1], seeds=[42, 43])
    table = result.table
    assert list(table) == ["dataset", "encoder", "protocol", "fusion", "lam", "seed", "split", "metric", "value"]
    assert len(table) == 3 * 2 * 2 * 3 and table["value"].between(0, 1).all()
    assert not table.duplicated(["lam", "seed", "split", "metric"]).any()
    assert table.loc[table["metric"] == "auc", "value"].mean() > 0.6
    assert result.best in (0, 0.5, 1)


def test_sweep_fits_the_gap_on_training_rows(make_features):
    features = make_features("binary")
    before = sweep.sweep(features, lams=[1], seeds=[1]).probes.gap
    image, text = features.paired("train")
    np.testing.assert_allclose(before, image.mean(0, dtype=float) - text.mean(0, dtype=float), atol=1e-6)
    features.image[features.rows("test")] *= -1
    np.testing.assert_array_equal(sweep.sweep(features, lams=[1], seeds=[1]).probes.gap, before)


def test_auc_is_scikit_learns():
    rng = np.random.default_rng(0)
    scores, truth = rng.normal(size=(200, 4)).round(1), rng.random((200, 4)) < 0.3  # rounded: ties
    expected = [roc_auc_score(truth[:, k], scores[:, k]) for k in range(4)]
    np.testing.assert_allclose(sweep.auc(scores, truth), expected, atol=1e-12)
    assert np.isnan(sweep.auc(scores[:, :1], np.zeros((200, 1), bool)))[0]


def test_multiclass_auc_is_of_scores_one_against_the_rest():
    rng = np.random.default_rng(0)
    logits, y = rng.normal(size=(300, 5)), rng.integers(0, 5, 300)
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert sweep.metrics(logits, y, "multiclass")["auc"] == pytest.approx(
        roc_auc_score(y, probabilities, multi_class="ovr", average="macro")
    )


def test_lambda_is_chosen_on_validation_not_on_test(make_features):
    table = sweep.sweep(make_features("binary"), lams=[0, 1], seeds=[1, 2]).table
    auc = table["metric"] == "auc"
    table.loc[auc, "value"] = 0.5
    table.loc[auc & (table["split"] == "val") & (table["lam"] == 1), "value"] = 0.6
    table.loc[auc & (table["split"] == "test") & (table["lam"] == 0), "value"] = 0.9
    chosen = sweep.choose(table)
    assert chosen["lam"].tolist() == [1] and chosen["mean"].tolist() == [0.5]


def test_sensitivity_against_seeds_alone(make_features):
    table = sweep.sweep(make_features("binary"), lams=[0, 0.5, 1], seeds=[1, 2, 3]).table
    rows, rng = (table["metric"] == "auc") & (table["split"] == "test"), np.random.default_rng(0)
    table.loc[rows, "value"] = 0.7 + 0.01 * rng.normal(size=rows.sum())
    flat = sweep.sensitivity(table).iloc[0]
    assert flat["range"] < 2 * flat["by_chance_95"]
    table.loc[rows, "value"] += 0.2 * table.loc[rows, "lam"]
    steep = sweep.sensitivity(table).iloc[0]
    assert steep["range"] == pytest.approx(0.2, abs=0.03)
    # What seeds give does not depend on what lambda does.
    assert steep["by_chance_95"] == pytest.approx(flat["by_chance_95"])


def test_refusals(make_features):
    features = make_features("multiclass")
    for options, message in [
        ({"lams": [0, float("nan")]}, "lambda must be a finite number"),
        ({"lams": [0, 0]}, "every lambda must be given once"),
        ({"seeds": [1, 1]}, "every seed must be given once"),
        ({"seeds": []}, "every seed must be given once"),
        ({"protocol": "publishd"}, "unknown protocol 'publishd': did you mean 'published'"),
        ({"fusion": "late"}, "unknown fusion 'late'"),
    ]:
        with pytest.raises(ValueError, match=message):
            sweep.sweep(features, **options)
    features.pairs.loc[(features.pairs["split"] == "val") & (features.pairs["label"] == "c"), "label"] = "a"
    with pytest.raises(ValueError, match="split 'val': no variation of 'c'"):
        sweep.sweep(features)

"""Sweeps: tidy results, right metrics, choice on validation data, and refusals before any training."""

from dataclasses import replace

import numpy as np
import pytest
from made import sphere
from sklearn.metrics import roc_auc_score

from gaplib import features, sweep
from gaplib.sweep.runs import draw_runs
from gaplib.sweep.scores import CELL

QUICK = sweep.Training(lr=0.03, epochs=40)  # a hundred steps of the published size teach little on so few rows
CONVERGED = sweep.Converged(strengths=(100.0,), bounds=(100.0, 100.0))


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize(
    ("treatment", "training", "fusion", "hidden"),
    [(name, QUICK, "early", 0) for name in sweep.TREATMENTS]
    + [("shift", QUICK, "early", 128), ("rescale", QUICK, "late", 64)]
    + [("shift", CONVERGED, "early", 0), ("shift-only", CONVERGED, "early", 0)],
)
def test_sweep_is_tidy_and_learns(make_features, task, treatment, training, fusion, hidden):
    features, seeds = make_features(task), [42, 43]
    result = sweep.sweep(features, [0.2, 0, 1], seeds, treatment, training, fusion, hidden)
    table, n = result.table, 1 if training is CONVERGED else 2
    assert list(table) == [*CELL, "lam", "set", "seed", "split", "metric", "value"]
    assert len(table) == 3 * n * 2 * 4 and table["value"].between(0, 1).all()
    assert not table.duplicated(["lam", "set", "seed", "split", "metric"]).any()
    assert table.loc[table["metric"] == "auc", "value"].mean() > 0.6
    assert result.best in (0.2, 0, 1)
    mean = sweep.curve(table)["mean"].to_numpy()
    again = [np.mean([sweep.auc(s[j], result.truth).mean() for s in result.scores]) for j in range(3)]
    np.testing.assert_allclose(mean, again, atol=1e-6)
    assert training is not CONVERGED or treatment != "shift-only" or np.ptp(mean) < 1e-6


def test_a_cell_is_named_by_what_was_done(make_features):
    features = make_features("binary")
    told = sweep.sweep(features, [0, 1], [1], "centre", sweep.Training(lr=0.01, epochs=2), share=0.25).table.iloc[0]
    assert (told["treatment"], told["training"]) == ("centre", "lr=0.01, epochs=2, share=0.25")
    told = sweep.sweep(features, [0, 1], [1], **sweep.PUBLISHED).table.iloc[0]
    assert (told["treatment"], told["training"]) == ("shift, fitted on all rows", "published")


def direction_of(result):
    return result.probes.moves[0].directions[0, 0]


def test_gap_is_fitted_on_training_rows_or_on_all(make_features):
    features = make_features("binary")
    before = direction_of(sweep.sweep(features, [0, 1], seeds=[1]))
    image, text = features.paired("train")
    np.testing.assert_allclose(before, image.mean(0, dtype=float) - text.mean(0, dtype=float), atol=1e-6)
    features.image[features.rows("test")] *= -1
    np.testing.assert_array_equal(direction_of(sweep.sweep(features, [0, 1], seeds=[1])), before)
    image, text = features.paired()
    every = direction_of(sweep.sweep(features, [0, 1], [1], **sweep.PUBLISHED))
    np.testing.assert_allclose(every, image.mean(0, dtype=float) - text.mean(0, dtype=float), atol=1e-6)


def test_each_seed_cuts_its_own_validation_rows_where_there_are_none(make_features):
    features = make_features("binary")
    features.pairs["split"] = features.pairs["split"].replace("val", "train")
    one, other = draw_runs(features, [1, 2])
    assert len(one.train) == len(other.train) == 405 and len(one.val) == len(other.val) == 45
    assert not set(one.train) & set(one.val) and set(one.val) != set(other.val)
    assert sweep.sweep(features, [0, 1], [1, 2]).table["value"].notna().all()


def test_a_validation_cut_without_some_class_is_scored_by_the_others(make_features):
    features = make_features("multiclass", n=100)
    features.pairs["split"] = features.pairs["split"].replace("val", "train")
    with pytest.raises(ValueError, match="'train': no pair of 'c'"):
        rare = features.pairs["label"].where(
            features.pairs["split"] == "test", features.pairs["label"].replace("c", "a")
        )
        sweep.sweep(replace(features, table=features.pairs.assign(label=rare)), [0, 1], [1])
    cut = draw_runs(features, [1])[0].val
    features.pairs.loc[cut, "label"] = ["a", "b"] * (len(cut) // 2) + ["a"] * (len(cut) % 2)
    assert sweep.sweep(features, [0, 1], [1]).table["value"].notna().all()
    features.pairs.loc[cut, "label"] = "a"
    with pytest.raises(ValueError, match="cut for validation, holds one class"):
        sweep.sweep(features, [0, 1], [1])


def test_a_label_that_never_varies_is_left_out_and_named(make_features):
    features = make_features("multilabel")
    features.pairs.loc[features.pairs["split"] == "test", "b"] = 0
    with pytest.warns(UserWarning, match="left out, for it never varies in some split: 'b'"):
        result = sweep.sweep(features, [0, 1], [1])
    assert result.truth.shape[1] == 2 and result.table["value"].notna().all()


def test_a_sweep_shows_itself(make_features):
    result = sweep.sweep(make_features("binary"), [0, 1], [1, 2])
    at = sweep.choose(result.table).iloc[0]
    assert repr(result).startswith("Sweep(made x made-encoder, shift, published, 2 lambdas, 2 runs: test AUC ")
    assert f"{at['mean']:.3f} at lambda {at['lam']:g}" in repr(result)
    assert f"{at['mean']:.3f}</td>" in result._repr_html_()


def test_auc_of_large_logits_keeps_their_order():
    logits = np.linspace(20, 60, 400, dtype=np.float32)[:, None]  # of all of which the logistic function makes 1
    y = (np.random.default_rng(0).random(400) < 0.5).astype(int)
    expected = roc_auc_score(y, logits[:, 0])
    assert sweep.metrics(logits, y, "binary")["auc"] == pytest.approx(expected, abs=1e-9)
    both = np.hstack([np.zeros_like(logits), logits / 2])
    assert sweep.metrics(both, y, "multiclass")["auc"] == pytest.approx(expected, abs=1e-9)


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


def test_hard_auc_is_of_predictions():
    rng = np.random.default_rng(0)
    logits, y = rng.normal(size=(300, 5)), rng.integers(0, 5, 300)
    hard = np.eye(5)[logits.argmax(1)]
    expected = np.mean([roc_auc_score(y == k, hard[:, k]) for k in range(5)])
    assert sweep.metrics(logits, y, "multiclass")["auc_hard"] == pytest.approx(expected)


def test_lambda_is_chosen_on_validation_not_on_test(make_features):
    table = sweep.sweep(make_features("binary"), lams=[0, 1], seeds=[1, 2]).table
    auc = table["metric"] == "auc"
    table.loc[auc, "value"] = 0.5
    table.loc[auc & (table["split"] == "val") & (table["lam"] == 1), "value"] = 0.6
    table.loc[auc & (table["split"] == "test") & (table["lam"] == 0), "value"] = 0.9
    chosen = sweep.choose(table)
    assert chosen["lam"].tolist() == [1] and chosen["mean"].tolist() == [0.5]


def test_refusals(make_features):
    features = make_features("multiclass")
    for options, message in [
        ({"lams": [0, float("nan")]}, "lambda must be a finite number"),
        ({"lams": [0, 0]}, "every lambda must be given once"),
        ({"lams": [0.5]}, "at least two lambdas, got \\[0.5\\]"),
        ({"seeds": [1, 1]}, "every seed must be given once"),
        ({"seeds": []}, "every seed must be given once"),
        ({"treatment": "shft"}, "unknown treatment 'shft': did you mean 'shift'"),
        ({"fusion": "lat"}, "unknown fusion 'lat': did you mean 'late'"),
        ({"fusion": "late"}, "hidden must be a number of units, 64 as published, for late fusion, got 0"),
        ({"hidden": -1}, "hidden must be a number of units, 0 or 128 as published"),
        ({"training": sweep.Converged(), "hidden": 128}, "a converged probe is a logistic regression"),
        ({"training": "converged"}, "training must be a sweep.Training\\(...\\) or a sweep.Converged"),
        ({"training": sweep.Converged(), "times": [1]}, "times are epochs, which a converged probe does not have"),
        ({"times": [1, 0]}, "times must be a list of epochs, 1 or more, got 0"),
        ({"times": [5, 5]}, "every time must be given once"),
        ({"sets": 0}, "sets must be a number of training sets, 1 or more, got 0"),
        ({"share": 1.5}, "share must be a part of the train split, above 0 and up to 1, got 1.5"),
        ({"share": 1e-9}, "training set 0 or its validation rows hold one class; take a larger share than 1e-09"),
        ({"treatment": "whiten", "lams": [0, 2]}, "a strength of 'whiten' is from 0 \\(as encoded\\) to 1"),
        ({"fit_on": "test"}, "unknown rows to fit the treatment on"),
    ]:
        with pytest.raises(ValueError, match=message):
            sweep.sweep(features, **options)

    def changed(task, column, rows, value):
        made = make_features(task)
        made.pairs.loc[rows(made.pairs), column] = value
        return made

    def said(task, other):
        made = make_features(task)
        return replace(made, about=replace(made.about, task=other))

    for made, message in [
        (
            changed("multiclass", "label", lambda p: (p["split"] == "val") & (p["label"] == "c"), "a"),
            "split 'val': no pair of 'c'; take more pairs",
        ),
        (
            changed("binary", "label", lambda p: p.index == 3, "zebra"),
            "row 3 \\(label 'zebra'\\): unknown label; use 'a', 'b'",
        ),
        (changed("multilabel", "b", lambda p: p.index == 3, 2), "row 3 \\(b 2\\): label 'b' must be 0 or 1"),
        (said("binary", "multilabel"), "no column 'a', 'b'; needed: image, text, split, group, a, b"),
        (said("multilabel", "multiclass"), "no column 'label'; needed: image, text, split, group, label"),
        (said("binary", "regression"), "unknown task of dataset 'made': 'regression'"),
        (changed("binary", "split", lambda p: p["split"] == "test", "train"), "split 'test' has no rows"),
    ]:
        with pytest.raises(ValueError, match=message):
            sweep.sweep(made)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": [-1]}, "seed must be an integer from 0 .* got -1"),
        ({"seeds": [0.5]}, "seed must be an integer .* got 0.5"),
        ({"seeds": [2**70]}, "seed must be an integer .* got 1180591620717411303424"),
        ({"seeds": ["a"]}, "seed must be an integer .* got 'a'"),
        ({"seeds": "42"}, "seeds must be a list of numbers, got '42'"),
        ({"seeds": 42}, "seeds must be a list of numbers, got 42"),
        ({"lams": 0.5}, "lambdas must be a sequence of numbers, got 0.5"),
        ({"lams": [0, 1, 1e30]}, "lambda must be a finite number from .* got 1e\\+30"),
        ({"lams": [0, 1, -1e300]}, "lambda must be a finite number from .* got -1e\\+300"),
        ({"hidden": 10**9}, "hidden=1000000000: the probes of one seed would take .* GiB, and this machine has"),
        ({"hidden": 2.5}, "hidden must be a number of units"),
        ({"device": "cuda:99"}, "cuda:99"),
    ],
)
def test_values_that_cannot_work_are_refused_in_words(make_features, options, message):
    with pytest.raises(ValueError, match=message):
        sweep.sweep(make_features("binary"), **options)


@pytest.mark.parametrize("treatment", sweep.TREATMENTS)
@pytest.mark.parametrize("lam", [1e30, -1e30, 1e300])
def test_a_lambda_that_leaves_nothing_of_the_rows_is_refused(make_features, treatment, lam):
    with pytest.raises(ValueError, match="lambda must be a finite number from -1e\\+06 to 1e\\+06, got"):
        sweep.sweep(make_features("binary"), [0, 1, lam], [1], treatment)


def test_a_large_lambda_gives_numbers(make_features):
    assert sweep.sweep(make_features("binary"), [-1e6, 0, 1e6], [1]).table["value"].notna().all()


@pytest.mark.parametrize(
    ("treatment", "training"), [("shift", QUICK), ("shift", CONVERGED), ("rescale", QUICK), ("rescale-each", QUICK)]
)
def test_a_row_at_the_origin_is_refused(make_features, treatment, training):
    features = make_features("binary")
    features.image[:] = np.eye(16)[0]
    features.text[:] = -np.eye(16)[0]
    with pytest.raises(ValueError, match="text: pair 0 is moved to the origin"):
        sweep.sweep(features, [0, 1], [1], treatment, training)


def test_a_training_of_ones_own_is_used(make_features):
    result = sweep.sweep(make_features("binary"), [0, 1], [1], training=sweep.Training(epochs=2))
    assert result.probes.kept.max() == 2


def test_features_without_labels_are_refused_in_words():
    rng = np.random.default_rng(0)
    image = sphere(rng, 40, 8, np.ones(8))
    text = sphere(rng, 40, 8, np.ones(8))
    with pytest.raises(ValueError, match="dataset 'arrays' has no labels, and a sweep learns labels"):
        sweep.sweep(features.from_arrays(image, text), [0, 1], [1])

"""The batched probes against single ones, trained as a reader of the equations would, or by scikit-learn."""

import numpy as np
import pytest
import single
import torch
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from gaplib import sweep
from gaplib.sweep.runs import draw_runs
from gaplib.sweep.scores import CELL
from gaplib.sweep.sweep import Sweep

HEADS = [("early", 0), ("early", 128), ("late", 64)]


def one_by_one(features, treatment, lams, seeds, training, sets=1, share=1.0, **options):
    """Scores (runs, lambdas, rows, outputs) of single probes, and of those along the way by epoch."""
    image, text = features.paired()
    scores, paths = [], []
    for run in draw_runs(features, seeds, sets, share):
        for lam in lams:
            moved = single.treat(treatment, image, text, run.fitted, lam, run.seed)
            labels = features.targets, features.about.task
            made, path = single.train(*moved, *labels, run.train, run.val, run.seed, training, **options)
            scores.append(made)
            paths.append(path)
    shape = (-1, len(lams), *scores[0].shape)
    by_epoch = {epoch: np.reshape([path[epoch] for path in paths], shape) for epoch in paths[0]}
    return np.reshape(scores, shape), by_epoch


def assert_same(result: Sweep, scores, features, atol=1e-4):
    scores = scores[:, :, features.rows("test")]
    expected = log_softmax(scores, -1) if features.about.task == "multiclass" else scores
    np.testing.assert_allclose(result.scores, expected, atol=atol)


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize(
    ("training", "fusion", "hidden"),
    [
        (sweep.Training(batch=64, epochs=12), "early", 0),
        (sweep.Training(lr=0.1, batch=50, epochs=60, patience=3), "early", 0),
        (sweep.Training(lr=3e-3, batch=64, epochs=8), "early", 128),
        (sweep.Training(lr=3e-3, batch=64, epochs=8), "late", 64),
    ],
)
def test_equals_single_probes(make_features, task, training, fusion, hidden):
    features = make_features(task)
    lams, seeds = [-0.5, 0.0, 0.7, 1.0], [42, 43]
    result = sweep.sweep(features, lams, seeds, training=training, fusion=fusion, hidden=hidden)
    scores, _ = one_by_one(features, "shift", lams, seeds, training, fusion=fusion, hidden=hidden)
    assert_same(result, scores, features, 1e-3 if hidden else 2e-4)


@pytest.mark.parametrize("treatment", sweep.TREATMENTS)
@pytest.mark.parametrize(("fusion", "hidden"), HEADS)
def test_every_treatment_is_its_equation_along_training_and_for_every_set(make_features, treatment, fusion, hidden):
    features = make_features("binary", n=300)
    training = sweep.Training(lr=1e-3, batch=64, epochs=4, patience=2)
    asked = {"sets": 2, "share": 0.5, "fusion": fusion, "hidden": hidden, "times": (1, 3, 7)}
    lams, seeds = [0.0, 0.4, 1.0], [42, 43]
    result = sweep.sweep(features, lams, seeds, treatment, training, **asked)
    scores, by_epoch = one_by_one(features, treatment, lams, seeds, training, **asked)
    assert_same(result, scores, features)
    assert list(zip(result.sets, result.seeds, strict=True)) == [(0, 42), (0, 43), (1, 44)]
    for split in ("val", "test"):
        rows = features.rows(split)
        truth = features.targets[rows][:, None] > 0
        table = result.path[result.path["split"] == split].set_index(["epoch", "set", "seed", "lam"])["value"]
        assert sorted(table.index.unique("epoch")) == [1, 3, 7]
        for epoch, of_runs in by_epoch.items():
            expected = [sweep.auc(of_lam[rows], truth)[0] for of_run in of_runs for of_lam in of_run]
            np.testing.assert_allclose(table.loc[epoch], expected, atol=1e-4)


def test_a_path_changes_nothing_else(make_features):
    features = make_features("multiclass")
    training = sweep.Training(lr=0.1, batch=50, epochs=30, patience=2)
    plain = sweep.sweep(features, [0, 1], [1], training=training)
    path = sweep.sweep(features, [0, 1], [1], training=training, times=[40])
    np.testing.assert_array_equal(path.scores, plain.scores)
    assert plain.path is None and sweep.curve(path.path)["epoch"].eq(40).all()
    assert path.probes.kept.max() + 2 < 30


def test_probes_score_rows_of_ones_own(make_features):
    features = make_features("binary")
    image, text = features.paired("test")
    for treatment in ("whiten", "shift"):
        result = sweep.sweep(features, [0, 1], [1, 2], treatment, sweep.Training(epochs=3))
        np.testing.assert_allclose(result.probes.scores(image, text), result.scores, atol=1e-5)


# Training sets


def test_training_sets_are_drawn_by_whole_groups(make_features):
    features = make_features("binary", n=400)
    features.pairs["group"] //= 5
    rows = [run.train for run in draw_runs(features, [1], sets=3)]
    np.testing.assert_array_equal(rows[0], features.rows("train"))
    for drawn in rows[1:]:
        counts = np.bincount(drawn, minlength=len(features.pairs))[features.rows("train")].reshape(-1, 5)
        assert (counts == counts[:, :1]).all() and counts.max() > 1 and counts.sum() == 200
    assert not np.array_equal(*rows[1:])
    eighth, half = (draw_runs(features, [1], share=share)[0].train for share in (1 / 8, 1 / 2))
    assert len(eighth) == 25 and len(half) == 100 and set(eighth) < set(half)
    features.pairs.loc[3, "group"] = np.nan
    with pytest.raises(ValueError, match="drawn by group, and some row has none"):
        draw_runs(features, [1], sets=2)


def test_no_pair_is_trained_on_and_validated_on(make_features):
    features = make_features("binary")
    features.pairs["split"] = features.pairs["split"].replace("val", "train")
    for run in draw_runs(features, [1, 2], sets=3):
        assert len(run.val) and not set(run.train) & set(run.val)
        assert set(run.train) | set(run.val) == set(run.fitted)
    assert sweep.sweep(features, [0, 1], [1, 2], sets=2).table["value"].notna().all()


# Converged probes


def sklearn_scores(x, y, train, task, c, classes=3):
    """Scores of scikit-learn's logistic regression under the published class weights, centred over classes."""
    y = y[train]
    if task == "multiclass":
        weight = (len(y) / (classes * np.bincount(y)))[y]
        model = LogisticRegression(C=c, tol=1e-9, max_iter=5000).fit(x[train], y, weight)
        return model.decision_function(x)
    columns = []
    for truth in y.reshape(len(y), -1).T:
        weight = np.where(truth == 1, (truth == 0).sum() / (truth == 1).sum(), 1.0)
        if task == "multilabel":  # the mean over labels makes each label's loss a third
            weight = np.full(len(truth), len(truth) / (classes * truth.sum()))
        model = LogisticRegression(C=c / (1 if task == "binary" else classes), tol=1e-9, max_iter=5000)
        columns.append(model.fit(x[train], truth, weight).decision_function(x))
    return np.stack(columns, 1)


@pytest.mark.parametrize("treatment", ["shift", "standardise", "whiten"])
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_converged_is_scikit_learns_logistic_regression(make_features, task, treatment):
    features = make_features(task)
    image, text = features.paired()
    train, test = features.rows("train"), features.rows("test")
    training = sweep.Converged(strengths=(10.0,), bounds=(10.0, 10.0), tolerance=1e-9)
    lams = [0.0, 0.8]
    result = sweep.sweep(features, lams, [1, 2], treatment, training)
    assert result.scores.shape[0] == 1 and (result.probes.kept == 10).all()
    for lam, scores in zip(lams, result.scores[0], strict=True):
        x = np.hstack(single.treat(treatment, image, text, train, lam, 1)[::-1])
        expected = sklearn_scores(x, features.targets, train, task, 10.0)[test]
        expected = log_softmax(expected, -1) if task == "multiclass" else expected.reshape(scores.shape)
        np.testing.assert_allclose(scores, expected, atol=2e-3)


def test_the_strength_is_chosen_by_validation_auc_and_no_end_of_the_grid_is(make_features):
    features = make_features("multilabel")
    narrow = sweep.Converged(strengths=(1e-2, 1e-1))
    result = sweep.sweep(features, [0.0, 1.0], [1], training=narrow)
    assert (result.probes.kept > 0.1).all() and (result.probes.kept < narrow.bounds[1]).all()
    best = result.table.query("split == 'val' and metric == 'auc'").set_index("lam")["value"]
    for c in (1e-2, 1e-1, 1.0, 10.0, 100.0, 1e3):
        fixed = sweep.sweep(features, [0.0, 1.0], [1], training=sweep.Converged((c,), (c, c)))
        assert (fixed.table.query("split == 'val' and metric == 'auc'")["value"].to_numpy() <= best + 1e-3).all()
    assert result.table["training"].eq("converged, strengths=(0.01, 0.1)").all()
    bounded = sweep.Converged(strengths=(1e-2, 1e-1), bounds=(1e-2, 1e-1))
    assert (sweep.sweep(features, [0.0, 1.0], [1], training=bounded).probes.kept == 0.1).all()


def test_a_constant_shift_cannot_matter_to_a_converged_probe(make_features):
    features = make_features("binary")
    wrong = np.random.default_rng(0).random(len(features.pairs)) < 0.3  # else a plane separates, and nothing converges
    features.pairs["label"] = features.pairs["label"].map(str).where(~wrong, "a")
    training = sweep.Converged(strengths=(1e9,), bounds=(1e9, 1e9), tolerance=1e-10)  # hardly a penalty
    lams = [-2.0, 0.0, 0.5, 1.0, 3.0]
    still = sweep.sweep(features, lams, [1], "shift-only", training).scores[0]
    assert np.abs(still - still[:1]).max() < 1e-6 * np.abs(still).max()
    turned = sweep.sweep(features, lams, [1], "shift", training).scores[0]
    assert np.abs(turned - turned[1:2]).max() > 1e-2  # renormalising is what changes anything


def test_a_converged_placebo_has_a_direction_a_seed(make_features):
    training = sweep.Converged(strengths=(10.0,), bounds=(10.0, 10.0), tolerance=1e-9)
    result = sweep.sweep(make_features("binary"), [0.0, 1.0], [1, 2], "placebo", training)
    assert len(result.scores) == 2
    np.testing.assert_allclose(result.scores[0, 0], result.scores[1, 0], atol=1e-3)
    assert np.abs(result.scores[0, 1] - result.scores[1, 1]).max() > 1e-2


def test_probes_are_of_the_device_they_were_trained_on_and_the_same(make_features):
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    features = make_features("multiclass")
    for treatment in sweep.TREATMENTS:
        both = [sweep.sweep(features, [0, 1], [1, 2], treatment, device=device, sets=2) for device in ("cpu", "cuda")]
        np.testing.assert_allclose(both[0].scores, both[1].scores, atol=1e-4)


@pytest.mark.parametrize("training", [sweep.Training(lr=1e-2, epochs=5), sweep.Converged((10.0,), (10.0, 10.0))])
def test_treatments_trained_together_are_each_as_alone(make_features, training):
    features = make_features("multiclass")
    options = {"seeds": [1, 2], "training": training}
    if isinstance(training, sweep.Training):
        options |= {"sets": 2, "times": [3]}
    treatments = ["whiten", "shift", "placebo", "rescale", "standardise", "centre"]
    for name, together in zip(treatments, sweep.sweeps(features, treatments, [0, 0.5, 1], **options), strict=True):
        alone = sweep.sweep(features, [0, 0.5, 1], treatment=name, **options)
        np.testing.assert_allclose(together.scores[: len(alone.scores)], alone.scores, atol=1e-4)
        image, text = features.paired("test")
        logits = together.probes.scores(image, text)
        np.testing.assert_allclose(log_softmax(logits, -1), together.scores, atol=1e-4)
        told = together.table[list(CELL)].iloc[0]
        assert told.equals(alone.table[list(CELL)].iloc[0])
        if alone.path is not None:
            np.testing.assert_allclose(together.path["value"], alone.path["value"], atol=1e-3)
    for wrong in ("shift", [], ["shift", "shift"], ["shft"]):
        with pytest.raises(
            ValueError, match="treatments must be a list|treatment must be given once|unknown treatment"
        ):
            sweep.sweeps(features, wrong, seeds=[1])

"""Learned lambda against a gradient by finite differences, retrieval and zero-shot against their definitions."""

import numpy as np
import pytest
import torch

from gaplib import gap, sweep
from gaplib.modulate import shift
from gaplib.sweep import beyond, probe


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_lambda_is_learned_with_the_probe(make_features, task):
    features = make_features(task)
    path, kept = beyond.learn_lambda(features, [1, 2], training=probe.Training(lr=0.01, epochs=15))
    assert list(path) == ["dataset", "encoder", "seed", "epoch", "lam"]
    assert kept["seed"].tolist() == [1, 2] and kept["auc"].gt(0.6).all()
    first = path[path["epoch"] == 0].set_index("seed")["lam"]
    assert (first != 0).all() and first.abs().lt(0.2).all()
    for row in kept.itertuples():
        assert row.lam in path.loc[path["seed"] == row.seed, "lam"].to_numpy()


def test_a_lambda_without_a_step_of_its_own_is_a_fixed_one(make_features):
    features = make_features("binary")
    training = probe.Training(lr=0.01, epochs=10)
    path, kept = beyond.learn_lambda(features, [1], start=0.4, lr=0.0, training=training)
    assert path["lam"].tolist() == pytest.approx([0.4] * 10)
    fixed = sweep.sweep(features, [0.4, 1.0], [1], training=training)
    assert kept["auc"][0] == pytest.approx(sweep.curve(fixed.table)["mean"][0], abs=1e-3)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_lambda_goes_where_the_loss_falls(make_features, seed):
    # AdamW's first step is its step size against the sign of the gradient, here by finite differences of the shift.
    features = make_features("binary")
    (image, text), y = features.paired("train"), features.targets[features.rows("train")]
    along, balance = gap.gap_vector(image, text), probe.balanced(y, "binary")[None]
    torch.manual_seed(seed)
    head = torch.nn.Linear(2 * image.shape[1], 1)

    def cost(lam):
        moved = shift(image.astype(float), text.astype(float), lam, along)
        with torch.no_grad():
            logits = head.double()(torch.from_numpy(np.hstack(moved[::-1])))
        return float(probe.loss(logits[None, :, None], torch.from_numpy(y)[None], balance.double(), "binary"))

    start, training = 0.3, probe.Training(batch=10_000, epochs=1)
    slope = cost(start + 1e-3) - cost(start - 1e-3)
    path, _ = beyond.learn_lambda(features, [seed], start=start, lr=0.01, training=training)
    assert path["lam"][0] == pytest.approx(start - 0.01 * np.sign(slope), abs=1e-4)


def test_retrieval_and_zero_shot_are_their_definitions(make_features):
    features = make_features("multiclass")
    along = gap.gap_vector(*features.paired("train"))
    prompts = np.eye(16)[:3].astype(np.float32)
    image, text = shift(*features.paired("test"), 0.5, along)
    found = beyond.retrieval(features, [0.5], k=5).set_index("metric")["value"]
    assert found["recall@5 image to text"] == gap.recall_at_k(image, text, 5).image_to_text
    moved = shift(prompts, prompts, 0.5, along)[1]
    truth = features.targets[features.rows("test")]
    told = beyond.zero_shot(features, prompts, [0, 0.5]).set_index(["metric", "lam"])["value"]
    right = (image @ moved.T).argmax(1) == truth
    assert told["zero-shot accuracy", 0.5] == pytest.approx(right.mean())
    by_class = np.mean([right[truth == label].mean() for label in range(3)])
    assert told["zero-shot balanced accuracy", 0.5] == pytest.approx(by_class)
    multilabel = make_features("multilabel")
    assert beyond.zero_shot(multilabel, prompts, [0])["metric"][0] == "zero-shot auc"
    with pytest.raises(ValueError, match="one embedding a class, shape \\(3, 16\\), got \\(2, 16\\)"):
        beyond.zero_shot(features, prompts[:2], [0])

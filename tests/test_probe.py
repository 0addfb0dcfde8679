"""The batched probes against single probes trained one by one, as a reader of the protocol would."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gaplib import probe
from gaplib.gap import gap_vector
from gaplib.modulate import shift


def plain_loop(image, text, y, task, lam, seed, gap, rows, training):
    """One probe, one cell: torch.nn.Linear, AdamW, early stopping."""
    image, text = shift(image, text, lam, gap)
    x = torch.from_numpy(np.concatenate([text, image], 1))
    y, train, val = torch.from_numpy(y), *(torch.from_numpy(rows[s]) for s in ("train", "val"))
    count, n = (y[train].sum(0) if task != "multiclass" else y[train].bincount()), len(train)
    outputs = {"binary": 1, "multiclass": int(y.max()) + 1, "multilabel": y.shape[-1]}[task]

    def criterion(logits, truth):
        if task == "multiclass":
            return F.cross_entropy(logits, truth, weight=n / (outputs * count))
        if task == "binary":
            return F.binary_cross_entropy_with_logits(logits[:, 0], truth.float(), pos_weight=(n - count) / count)
        return F.binary_cross_entropy_with_logits(logits, truth, weight=n / (outputs * count))

    torch.manual_seed(seed)
    head = torch.nn.Linear(x.shape[1], outputs)
    order = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(head.parameters(), training.lr, weight_decay=training.weight_decay)
    best, kept, waited = np.inf, None, 0
    for _ in range(training.epochs):
        for batch in train[torch.randperm(n, generator=order)].split(training.batch):
            optimiser.zero_grad()
            criterion(head(x[batch]), y[batch]).backward()
            optimiser.step()
        with torch.no_grad():
            value = float(criterion(head(x[val]), y[val]))
        waited += 1
        if value < best:
            best, kept, waited = value, copy.deepcopy(head.state_dict()), 0
        if waited >= training.patience:
            break
    return kept["weight"].numpy(), kept["bias"].numpy()


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize(
    "training", [probe.Training(batch=64, epochs=12), probe.Training(lr=0.1, batch=50, epochs=60, patience=3)]
)
def test_equals_single_probes(make_features, task, training):
    features = make_features(task)
    (image, text), y = features.paired(), features.targets
    rows = {s: features.rows(s) for s in ("train", "val")}
    gap = gap_vector(image[rows["train"]], text[rows["train"]])
    lams, seeds = [-0.5, 0.0, 0.7, 1.0], [42, 43]
    probes = probe.train(image, text, y, task, rows["train"], rows["val"], lams, seeds, gap, training)
    for i, seed in enumerate(seeds):
        for j, lam in enumerate(lams):
            weight, bias = plain_loop(image, text, y, task, lam, seed, gap, rows, training)
            np.testing.assert_allclose(probes.weight[i, j], weight, atol=1e-4)
            np.testing.assert_allclose(probes.bias[i, j], bias, atol=1e-4)
            moved = np.concatenate(shift(image, text, lam, gap)[::-1], 1)
            np.testing.assert_allclose(probes.scores(image, text)[i, j], moved @ weight.T + bias, atol=2e-4)


def test_stops_early_and_keeps_the_best(make_features):
    features = make_features("binary")
    (image, text), rows = features.paired(), (features.rows("train"), features.rows("val"))
    training = probe.Training(lr=0.3, epochs=60, patience=3)
    probes = probe.train(image, text, features.targets, "binary", *rows, [0, 1], [1], gap_vector(image, text), training)
    assert probes.epochs.max() < 59

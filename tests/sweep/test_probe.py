"""The batched probes against single ones, trained as a reader of the protocol would or by scikit-learn."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression

from gaplib.gap import gap_vector
from gaplib.modulate import shift
from gaplib.sweep import closed_form, probe


class Late(torch.nn.Module):
    """One branch a modality on [text | image], concatenated, then a linear layer."""

    def __init__(self, d, hidden, out):
        super().__init__()
        self.text, self.image = torch.nn.Linear(d, hidden), torch.nn.Linear(d, hidden)
        self.out = torch.nn.Linear(2 * hidden, out)

    def forward(self, x):
        text, image = x.chunk(2, 1)
        return self.out(torch.cat([F.relu(self.text(text)), F.relu(self.image(image))], 1))


def build(head, d, out):
    if head.fusion == "late":
        return Late(d, head.hidden, out)
    if head.hidden:
        return torch.nn.Sequential(
            torch.nn.Linear(2 * d, head.hidden), torch.nn.ReLU(), torch.nn.Linear(head.hidden, out)
        )
    return torch.nn.Linear(2 * d, out)


def plain_loop(image, text, y, task, lam, seed, gap, rows, training, kind=None):
    """Scores of one probe, one cell, on all rows: torch modules, AdamW, early stopping."""
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
    head = build(kind or probe.Head(), image.shape[1], outputs)
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
    head.load_state_dict(kept)
    with torch.no_grad():
        return head(x).numpy()


def trained(features, lams, seeds, training, head=None, kind=closed_form.lambda_shift):
    (image, text), y, rows = features.paired(), features.targets, [features.rows(s) for s in ("train", "val")]
    move = kind(image[rows[0]], text[rows[0]], np.array(lams))
    train, val = (np.stack([r] * len(seeds)) for r in rows)
    examples = probe.Examples.of(closed_form.Moved(image, text, move), y, features.about.task, train, val)
    return probe.train(examples, seeds, head or probe.Head(), training)


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize(
    ("training", "head"),
    [
        (probe.Training(batch=64, epochs=12), probe.Head()),
        (probe.Training(lr=0.1, batch=50, epochs=60, patience=3), probe.Head()),
        (probe.Training(lr=3e-3, batch=64, epochs=8), probe.Head("early", 128)),
        (probe.Training(lr=3e-3, batch=64, epochs=8), probe.Head("late", 64)),
    ],
)
def test_equals_single_probes(make_features, task, training, head):
    features = make_features(task)
    (image, text), y = features.paired(), features.targets
    rows = {s: features.rows(s) for s in ("train", "val")}
    gap = gap_vector(image[rows["train"]], text[rows["train"]])
    lams, seeds = [-0.5, 0.0, 0.7, 1.0], [42, 43]
    probes = trained(features, lams, seeds, training, head)
    for i, seed in enumerate(seeds):
        for j, lam in enumerate(lams):
            scores = plain_loop(image, text, y, task, lam, seed, gap, rows, training, head)
            np.testing.assert_allclose(probes.scores(image, text)[i, j], scores, atol=1e-3 if head.hidden else 2e-4)


def test_stops_early_and_keeps_the_best(make_features):
    features = make_features("binary")
    assert trained(features, [0, 1], [1], probe.Training(lr=0.3, epochs=60, patience=3)).epochs.max() < 59


# The moves


@pytest.mark.parametrize("kind", [closed_form.no_renorm, closed_form.rescale, closed_form.gap_kept])
def test_moves_are_their_definitions(make_features, kind):
    image, text = make_features("binary").paired()
    lams, gap = np.array([0.0, 0.6, 1.3]), gap_vector(image, text)
    every = closed_form.Moved(image, text, kind(image, text, lams), dtype=torch.float64)
    rng = np.random.default_rng(0)
    weight = torch.from_numpy(rng.normal(size=(1, 3, 1, 2 * image.shape[1])))
    scores = sum(every.project(weight))[0, :, :, 0].numpy()
    middle = (image.mean(0) + text.mean(0)) / 2
    for j, lam in enumerate(lams):
        rows = {
            closed_form.no_renorm: lambda lam=lam: (text + lam / 2 * gap, image - lam / 2 * gap),
            closed_form.gap_kept: lambda lam=lam: (text - lam * middle, image - lam * middle),
            closed_form.rescale: lambda lam=lam: tuple(
                x * (1 / np.linalg.norm(x + step * gap, axis=1)).mean()
                for x, step in ((text, lam / 2), (image, -lam / 2))
            ),
        }[kind]()
        np.testing.assert_allclose(scores[:, j], np.hstack(rows) @ weight[0, j, 0].numpy(), atol=1e-5)
        if kind is closed_form.gap_kept:
            assert np.linalg.norm(rows[1].mean(0) - rows[0].mean(0)) == pytest.approx(np.linalg.norm(gap), abs=1e-6)


# Converged probes


def converged(features, lams, training, kind=closed_form.lambda_shift):
    (image, text), y, (train, val) = features.paired(), features.targets, (features.rows(s) for s in ("train", "val"))
    move = kind(image[train], text[train], np.array(lams))
    every = closed_form.Moved(image, text, move, dtype=torch.float64)
    return probe.converge(probe.Examples.of(every, y, features.about.task, train[None], val[None]), training)


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_converged_is_scikit_learns_logistic_regression(make_features, task):
    features = make_features(task)
    (image, text), y, train = features.paired(), features.targets, features.rows("train")
    training = probe.Converged(strengths=(10.0,), tolerance=1e-9)
    scores = converged(features, [0.0, 0.8], training).scores(image, text)[0]
    for j, lam in enumerate((0.0, 0.8)):
        x = np.hstack(shift(image, text, lam, gap_vector(image[train], text[train]))[::-1]).astype(float)
        for k in range(scores.shape[-1]):
            if task == "multiclass":
                weight = (len(train) / (3 * np.bincount(y[train])))[y[train]]
                # scikit-learn sums weighted losses, where the published loss is their weighted mean.
                model = LogisticRegression(C=10.0 * len(train) / weight.sum(), tol=1e-9, max_iter=5000)
                expected = model.fit(x[train], y[train], weight).decision_function(x)
                got = scores[j] - scores[j].mean(1, keepdims=True)
                np.testing.assert_allclose(got, expected - expected.mean(1, keepdims=True), atol=2e-3)
                break
            truth = y[train] if task == "binary" else y[train][:, k]
            positive = (truth == 0).sum() / (truth == 1).sum()
            weight = np.where(truth == 1, positive, 1.0) if task == "binary" else len(truth) / (3 * truth.sum())
            # The mean over three labels makes each label's loss a third.
            c = 10.0 / (1 if task == "binary" else 3)
            model = LogisticRegression(C=c, tol=1e-9, max_iter=5000)
            model.fit(x[train], truth, np.broadcast_to(weight, truth.shape).copy())
            np.testing.assert_allclose(scores[j][:, k], model.decision_function(x), atol=2e-3)


def test_a_constant_shift_cannot_matter_to_a_converged_probe(make_features):
    features = make_features("binary")
    wrong = np.random.default_rng(0).random(len(features.pairs)) < 0.3  # else a plane separates, and nothing converges
    features.pairs["label"] = features.pairs["label"].map(str).where(~wrong, "a")
    image, text = features.paired()
    training = probe.Converged(strengths=(1e9,), tolerance=1e-10)  # hardly a penalty
    lams = [-2.0, 0.0, 0.5, 1.0, 3.0]
    still = converged(features, lams, training, closed_form.no_renorm).scores(image, text)
    assert np.abs(still - still[:, :1]).max() < 1e-6 * np.abs(still).max()
    turned = converged(features, lams, training).scores(image, text)
    assert np.abs(turned - turned[:, 1:2]).max() > 1e-2  # renormalising is what changes anything

"""Lambda beyond a sweep: learned with the probe, and without training in retrieval and zero-shot classification."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import balanced_accuracy_score

from gaplib import gap as measures
from gaplib.features import Features
from gaplib.modulate import check_lambda, shift
from gaplib.rows import check
from gaplib.sweep import checks, closed_form, probe, work
from gaplib.sweep.scores import auc, macro_auc
from gaplib.sweep.sweep import SEEDS


def learn_lambda(
    features: Features,
    seeds: Sequence[int] = SEEDS,
    start: float = 0.0,
    lr: float = 1e-2,
    training: probe.Training = probe.Training(),  # noqa: B008
) -> tuple[pd.DataFrame, pd.DataFrame]:
    r"""Train lambda itself together with the linear early-fusion probe, by gradient through the closed form.

    .. math:: |x + s \, \mathrm{gap}|^2 = 1 + 2 s \, x \cdot \mathrm{gap} + s^2 \, |\mathrm{gap}|^2

    This is a smooth function of s = -lambda / 2 or lambda / 2, so the loss has a gradient in lambda. The gap is fitted
    on training rows; the probe trains as published, lambda by its own step size.

    Parameters
    ----------
    features : features.Features
    seeds : sequence of int
    start : float
        Lambda before the first step.
    lr : float
        AdamW's step for lambda; without weight decay.
    training : probe.Training

    Returns
    -------
    (DataFrame, DataFrame)
        The path: dataset, encoder, seed, epoch, lam. And what was kept, by validation loss: dataset, encoder, seed,
        lam, auc (test).

    Raises
    ------
    ValueError
        As `sweep.sweep`, of splits and labels.
    """
    seeds = checks.check_seeds(seeds)
    start = check_lambda(start, "start")
    pairs = checks.labelled(features, seeds)
    examples = _examples(pairs, seeds, start)
    lam = examples.moved.lams.clone()
    path = []

    def learn(_, step):
        def keep_and_step():
            path.append(lam.detach().clone())
            step()

        return probe.train(examples, seeds, probe.Head(), training, step=keep_and_step, lam=lam, lam_lr=lr)

    with work.bar(training.epochs, f"{features.about.name} x {features.encoder}, learned lambda") as step:
        (trained,) = work.side_by_side(learn, [0], step)
    test = torch.as_tensor(pairs.test).expand(len(seeds), -1)
    scores = probe.score(examples.moved, trained.weights, probe.Head(), test)[:, 0]
    aucs = macro_auc(scores, pairs.y[pairs.test], pairs.task)
    kept = pd.DataFrame({"seed": seeds, "lam": trained.weights["lam"][:, 0].tolist(), "auc": aucs})
    return _of_cell(features, _walked(path, trained, seeds, training)), _of_cell(features, kept)


def _examples(pairs, seeds, start):
    """What each seed learns from: pairs under the shift by one lambda, fitted on the train split."""
    fitted = pairs.runs[0].fitted
    move = closed_form.fit_shift(pairs.image[fitted], pairs.text[fitted], np.array([start]), 0)
    image = torch.as_tensor(pairs.image)
    text = torch.as_tensor(pairs.text)
    moved = closed_form.Moved(image, text, [move] * len(seeds), np.array([start]))
    train = torch.as_tensor(np.stack([run.train for run in pairs.runs]))
    val = torch.as_tensor(np.stack([run.val for run in pairs.runs]))
    return probe.Examples(moved, torch.as_tensor(pairs.y), pairs.task, pairs.outputs, train, val)


def _walked(path, trained, seeds, training):
    """The path of every seed until it stopped."""
    ends = torch.clamp(trained.kept[:, 0] + training.patience, max=len(path)).tolist()
    records = []
    for place, (seed, end) in enumerate(zip(seeds, ends, strict=True)):
        records += [(seed, epoch, float(path[epoch][place])) for epoch in range(end)]
    return pd.DataFrame(records, columns=["seed", "epoch", "lam"])


def retrieval(features: Features, lams: Sequence[float], k: int = 10) -> pd.DataFrame:
    """Recall@k of test pairs by lambda, in both directions; the gap is fitted on training rows.

    Returns
    -------
    DataFrame
        dataset, encoder, lam, metric, value.
    """
    gap = measures.gap_vector(*features.paired("train"))
    test = features.paired("test")
    records = []
    for lam in lams:
        recall = measures.recall_at_k(*shift(*test, lam, gap), k)
        records += [(lam, f"recall@{k} {way.replace('_', ' ')}", value) for way, value in recall._asdict().items()]
    return _of_cell(features, pd.DataFrame(records, columns=["lam", "metric", "value"]))


def zero_shot(features: Features, prompts: np.ndarray, lams: Sequence[float]) -> pd.DataFrame:
    """Zero-shot classification of test images by lambda: the class whose prompt is nearest.

    Images move along the gap as always, and so do the prompts, which are texts.

    Parameters
    ----------
    features : features.Features
    prompts : ndarray of shape (classes, d)
        Unit-norm embeddings of one prompt a class, in the order of `about.labels`.
    lams : sequence of float

    Returns
    -------
    DataFrame
        dataset, encoder, lam, metric, value: "zero-shot accuracy" and "zero-shot balanced accuracy", to which always
        naming the largest class is worth 1 / classes; or for multilabel data, where classes do not exclude each other,
        "zero-shot auc", the macro AUC of the cosines.

    Raises
    ------
    ValueError
        If there is not one prompt a class, of the features' width.
    """
    prompts = check(prompts, "prompts")
    wanted = (len(features.about.labels), features.image.shape[1])
    if prompts.shape != wanted:
        raise ValueError(f"prompts: expected one embedding a class, shape {wanted}, got {prompts.shape}")
    gap = measures.gap_vector(*features.paired("train"))
    image, _ = features.paired("test")
    truth = features.targets[features.rows("test")]
    records = []
    for lam in lams:
        moved_image, moved_prompts = shift(image, prompts, lam, gap)
        told = _zero_shot_scores(moved_image @ moved_prompts.T, truth, features.about.task)
        records += [(lam, f"zero-shot {metric}", value) for metric, value in told.items()]
    return _of_cell(features, pd.DataFrame(records, columns=["lam", "metric", "value"]))


def _zero_shot_scores(cosine, truth, task):
    if task == "multilabel":
        return {"auc": float(np.nanmean(auc(cosine, truth > 0)))}
    nearest = cosine.argmax(1)
    return {
        "accuracy": float((nearest == truth).mean()),
        "balanced accuracy": float(balanced_accuracy_score(truth, nearest)),
    }


def _of_cell(features, table):
    table.insert(0, "encoder", features.encoder)
    table.insert(0, "dataset", features.about.name)
    return table

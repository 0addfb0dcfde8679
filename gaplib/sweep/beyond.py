"""Lambda beyond a sweep: learned with the probe, and without training in retrieval and zero-shot classification."""

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import balanced_accuracy_score
from tqdm import tqdm

from gaplib import gap as measures
from gaplib.modulate import shift
from gaplib.rows import check
from gaplib.sweep import probe
from gaplib.sweep.scores import auc, metrics
from gaplib.sweep.sweep import check_grid, check_labels, split_rows

__all__ = ["learn_lambda", "retrieval", "zero_shot"]


def __dir__():  # what tab completion shows
    return __all__


def learn_lambda(features, seeds=(42, 43, 44, 45, 46), start=0.0, lr=1e-2, training=None):
    """Train lambda itself together with the linear early-fusion probe, by gradient through the closed form.

    |x + s gap|^2 = 1 + 2 s x.gap + s^2 |gap|^2 is a smooth function of s = -lambda / 2 or lambda / 2, so the loss has a
    gradient in lambda. The gap is fitted on training rows; the probe trains as published, lambda by its own step size.

    Parameters
    ----------
    features : features.Features
    seeds : sequence of int
    start : float
        Lambda before the first step.
    lr : float
        AdamW's step for lambda; without weight decay.
    training : probe.Training, optional

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
    _, seeds = check_grid((0, 1), seeds)
    training, about, rows = training or probe.Training(), features.about, split_rows(features, seeds)
    columns = check_labels(features, rows)
    y = features.targets[:, columns] if about.task == "multilabel" else features.targets
    image, text = features.paired()
    fitted = features.rows("train")
    gap = torch.tensor(measures.gap_vector(image[fitted], text[fitted]), dtype=torch.float32)
    path, kept = [], []
    for i, seed in enumerate(tqdm(seeds, desc=f"{about.name} x {features.encoder}, learned lambda", leave=False)):
        data = {k: (torch.from_numpy(text[r[i]]), torch.from_numpy(image[r[i]]), y[r[i]]) for k, r in rows.items()}
        lams, lam, logits = _learn(data, gap, about.task, probe.outputs(y, about.task), seed, start, lr, training)
        path += [(seed, epoch, value) for epoch, value in enumerate(lams)]
        kept.append((seed, lam, metrics(logits, data["test"][2], about.task)["auc"]))
    tables = pd.DataFrame(path, columns=["seed", "epoch", "lam"]), pd.DataFrame(kept, columns=["seed", "lam", "auc"])
    for table in tables:
        table.insert(0, "encoder", features.encoder)
        table.insert(0, "dataset", about.name)
    return tables


def _learn(data, gap, task, outputs, seed, start, lr, training):
    """Lambda after each epoch; then what was kept by validation loss: lambda, and the logits of the test rows."""
    torch.manual_seed(seed)
    head, lam = torch.nn.Linear(2 * len(gap), outputs), torch.nn.Parameter(torch.tensor(float(start)))
    groups = [{"params": head.parameters()}, {"params": [lam], "lr": lr, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, training.lr, weight_decay=training.weight_decay, fused=True)
    balance = probe.balanced(data["train"][2], task, outputs)[None]

    def logits(halves):
        total = head.bias
        for x, w, step in zip(halves, head.weight.chunk(2, 1), (lam / 2, -lam / 2), strict=True):
            norms = (1 + 2 * step * (x @ gap) + step**2 * (gap @ gap)).sqrt()
            total = total + (x @ w.T + step * (w @ gap)) / norms[:, None]
        return total

    def cost(*halves, truth):
        return probe.loss(logits(halves)[None, :, None], torch.from_numpy(truth)[None], balance, task).sum()

    path, best, order = [], (np.inf,), torch.Generator().manual_seed(seed)
    for epoch in range(training.epochs):
        for some in torch.randperm(len(data["train"][2]), generator=order).split(training.batch):
            optimiser.zero_grad()
            text, image, truth = (part[some] for part in data["train"])
            cost(text, image, truth=truth).backward()
            optimiser.step()
        with torch.no_grad():
            path.append(float(lam))
            text, image, truth = data["val"]
            value = float(cost(text, image, truth=truth))
            if value < best[0]:
                best = value, epoch, logits(data["test"][:2]).numpy()
        if epoch - best[1] >= training.patience:
            break
    return path, path[best[1]], best[2]


def retrieval(features, lams, k=10):
    """Recall@k of test pairs by lambda, in both directions; the gap is fitted on training rows.

    Returns
    -------
    DataFrame
        dataset, encoder, lam, metric, value.
    """
    gap, test = measures.gap_vector(*features.paired("train")), features.paired("test")
    rows = []
    for lam in lams:
        recall = measures.recall_at_k(*shift(*test, lam, gap), k)
        rows += [(lam, f"recall@{k} {way.replace('_', ' ')}", value) for way, value in recall._asdict().items()]
    return _named(features, rows)


def zero_shot(features, prompts, lams):
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
    about, prompts = features.about, check(prompts, "prompts")
    if prompts.shape != (len(about.labels), features.image.shape[1]):
        wanted = (len(about.labels), features.image.shape[1])
        raise ValueError(f"prompts: expected one embedding a class, shape {wanted}, got {prompts.shape}")
    gap, (image, _), y = measures.gap_vector(*features.paired("train")), features.paired("test"), features.targets
    truth, rows = y[features.rows("test")], []
    for lam in lams:
        moved_image, moved_prompts = shift(image, prompts, lam, gap)
        cosine = moved_image @ moved_prompts.T
        if about.task == "multilabel":
            rows.append((lam, "zero-shot auc", float(np.nanmean(auc(cosine, truth > 0)))))
        else:
            named = cosine.argmax(1)
            rows.append((lam, "zero-shot accuracy", float((named == truth).mean())))
            rows.append((lam, "zero-shot balanced accuracy", float(balanced_accuracy_score(truth, named))))
    return _named(features, rows)


def _named(features, rows):
    table = pd.DataFrame(rows, columns=["lam", "metric", "value"])
    table.insert(0, "encoder", features.encoder)
    table.insert(0, "dataset", features.about.name)
    return table

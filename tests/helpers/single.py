"""One probe under one treatment, as a reader of the equations would write it: torch modules, no batching tricks.

What the batched probes of gaplib.sweep must agree with. It imports nothing from gaplib. A seed gives the same initial
weights and batch orders here as there.
"""

import copy

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.covariance import LedoitWolf


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def treat(treatment, image, text, train, lam, seed):
    """Image and text rows under a treatment at a strength, fitted on the rows `train`."""
    image, text = image.astype(float), text.astype(float)
    gap = image[train].mean(0) - text[train].mean(0)
    closer = {"image": image - lam / 2 * gap, "text": text + lam / 2 * gap}
    lengths = {name: np.linalg.norm(x, axis=1, keepdims=True) for name, x in closer.items()}
    if treatment == "shift":
        return unit(closer["image"]), unit(closer["text"])
    if treatment == "shift-only":
        return closer["image"], closer["text"]
    if treatment == "rescale":
        return image * (1 / lengths["image"][train]).mean(), text * (1 / lengths["text"][train]).mean()
    if treatment == "rescale-each":
        return image / lengths["image"], text / lengths["text"]
    if treatment == "gap-kept":
        return unit(image - lam / 2 * gap), unit(text - lam / 2 * gap)
    if treatment == "placebo":
        direction = np.random.default_rng(seed).normal(size=len(gap))
        direction *= np.linalg.norm(gap) / np.linalg.norm(direction)
        return unit(image - lam / 2 * direction), unit(text + lam / 2 * direction)
    return tuple(_alone(treatment, x, x[train], lam) for x in (image, text))


def _alone(treatment, x, fitted, lam):
    """What is done to a modality by itself."""
    centred = x - lam * fitted.mean(0)
    if treatment == "centre":
        return unit(centred)
    if treatment == "standardise":
        return centred / fitted.std(0) ** lam
    values, axes = np.linalg.eigh(LedoitWolf().fit(fitted).covariance_)
    return centred @ axes @ np.diag(values ** (-lam / 2)) @ axes.T


class Late(torch.nn.Module):
    """One branch a modality on [text | image], concatenated, then a linear layer."""

    def __init__(self, d, hidden, out):
        super().__init__()
        self.text, self.image = torch.nn.Linear(d, hidden), torch.nn.Linear(d, hidden)
        self.out = torch.nn.Linear(2 * hidden, out)

    def forward(self, x):
        text, image = x.chunk(2, 1)
        return self.out(torch.cat([F.relu(self.text(text)), F.relu(self.image(image))], 1))


def build(fusion, hidden, d, out):
    if fusion == "late":
        return Late(d, hidden, out)
    if hidden:
        return torch.nn.Sequential(torch.nn.Linear(2 * d, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, out))
    return torch.nn.Linear(2 * d, out)


def loss_of(y, task, outputs):
    """Loss with balanced class weights from the training labels."""
    n = len(y)
    count = y.bincount(minlength=outputs) if task == "multiclass" else y.sum(0)
    if task == "multiclass":
        return lambda logits, y: F.cross_entropy(logits, y, weight=n / (outputs * count.clamp(min=1)))
    if task == "binary":
        weight = (n - count) / count
        return lambda logits, y: F.binary_cross_entropy_with_logits(logits[:, 0], y.float(), pos_weight=weight)
    return lambda logits, y: F.binary_cross_entropy_with_logits(logits, y, weight=n / (outputs * count.clamp(min=1)))


def train(image, text, y, task, train, val, seed, training, fusion="early", hidden=0, times=()):
    """Scores of one probe on all rows: of the best epoch, and by epoch along the way."""
    x = torch.from_numpy(np.hstack([text, image]).astype(np.float32))
    y = torch.from_numpy(y)
    train, val = torch.from_numpy(train), torch.from_numpy(val)
    outputs = {"binary": 1, "multiclass": int(y.max()) + 1, "multilabel": y.shape[-1]}[task]
    criterion = loss_of(y[train], task, outputs)
    torch.manual_seed(seed)
    model = build(fusion, hidden, image.shape[1], outputs)
    order = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), training.lr, weight_decay=training.weight_decay)
    best, kept, waited, stopped, path = np.inf, None, 0, False, {}
    for epoch in range(1, max([training.epochs, *times]) + 1):
        for batch in train[torch.randperm(len(train), generator=order)].split(training.batch):
            optimiser.zero_grad()
            criterion(model(x[batch]), y[batch]).backward()
            optimiser.step()
        with torch.no_grad():
            value = float(criterion(model(x[val]), y[val]))
            if epoch in times:
                path[epoch] = model(x).numpy()
        stopped = stopped or epoch > training.epochs
        if not stopped:
            waited += 1
            if value < best:
                best, kept, waited = value, copy.deepcopy(model.state_dict()), 0
            stopped = waited >= training.patience
    model.load_state_dict(kept)
    with torch.no_grad():
        return model(x).numpy(), path

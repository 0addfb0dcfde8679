"""The published protocol (arXiv 2603.17246) as a reader of the paper would write it: one probe at a time, plainly.

What gaplib.sweep must agree with, and what its cost is compared with. It imports nothing from gaplib. A seed gives the
same validation cut and initial weights here as there, for otherwise those draws, not the method, would make the
difference; the batch order is DataLoader's own.
"""

import copy

import numpy as np
import torch
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Pairs(Dataset):
    """Pairs, handed out one by one."""

    def __init__(self, image, text, y):
        self.image, self.text, self.y = (torch.from_numpy(a) for a in (image, text, y))

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.text[i], self.image[i], self.y[i]


class Early(nn.Module):
    """[text, image], then a linear layer, or one with a hidden layer before it."""

    def __init__(self, width, hidden, outputs):
        super().__init__()
        if hidden:
            self.head = nn.Sequential(nn.Linear(2 * width, hidden), nn.ReLU(), nn.Linear(hidden, outputs))
        else:
            self.head = nn.Linear(2 * width, outputs)

    def forward(self, text, image):
        return self.head(torch.cat([text, image], 1))


class Late(nn.Module):
    """A hidden layer for each modality, concatenated, then a linear layer."""

    def __init__(self, width, hidden, outputs):
        super().__init__()
        self.text = nn.Sequential(nn.Linear(width, hidden), nn.ReLU())
        self.image = nn.Sequential(nn.Linear(width, hidden), nn.ReLU())
        self.head = nn.Linear(2 * hidden, outputs)

    def forward(self, text, image):
        return self.head(torch.cat([self.text(text), self.image(image)], 1))


def move(image, text, lam):
    """Shift both clouds by lambda / 2 of the gap towards each other, and renormalise."""
    gap = image.mean(0) - text.mean(0)  # of all rows, test rows included: what was published
    image, text = image - lam / 2 * gap, text + lam / 2 * gap
    image = image / np.linalg.norm(image, axis=1, keepdims=True)
    text = text / np.linalg.norm(text, axis=1, keepdims=True)
    return image.astype(np.float32), text.astype(np.float32)


def criterion(y, task):
    """Loss with balanced class weights from the training labels."""
    n = len(y)
    if task == "multiclass":
        count = np.bincount(y)
        return nn.CrossEntropyLoss(weight=torch.tensor(n / (len(count) * count), dtype=torch.float32))
    if task == "binary":
        return nn.BCEWithLogitsLoss(pos_weight=torch.tensor((y == 0).sum() / (y == 1).sum(), dtype=torch.float32))
    return nn.BCEWithLogitsLoss(weight=torch.tensor(n / (y.shape[1] * y.sum(0)), dtype=torch.float32))


def predict(model, loader):
    """Logits and labels of everything a loader gives."""
    model.eval()
    with torch.no_grad():
        logits, y = zip(*((model(text, image), y) for text, image, y in loader), strict=True)
    return torch.cat(logits), torch.cat(y)


def metrics(logits, y, task):
    """Accuracy, macro-F1, AUC of scores, and AUC of hard predictions."""
    logits, y = logits.numpy(), y.numpy()
    if task == "multiclass":
        classes = np.arange(logits.shape[1])
        predicted, truth = logits.argmax(1), y[:, None] == classes
        scores, hard = torch.from_numpy(logits).softmax(1).numpy(), predicted[:, None] == classes
    elif task == "binary":
        scores, predicted, truth = logits[:, 0], (logits[:, 0] > 0).astype(int), y
        hard = predicted
    else:
        scores, predicted, truth = logits, (logits > 0).astype(int), y
        hard = predicted
    return {
        "acc": accuracy_score(y, predicted),
        "macro_f1": f1_score(y, predicted, average="macro", zero_division=0),
        "auc": roc_auc_score(truth, scores, average="macro"),
        "auc_hard": roc_auc_score(truth, hard, average="macro"),
    }


def run(
    image, text, y, task, split, lam, seed, hidden=0, fusion="early",
    epochs=100, batch=512, lr=3e-4, weight_decay=0.01, patience=10, workers=0,
):  # fmt: skip
    """Train and test one probe at one lambda with one seed.

    Parameters
    ----------
    image, text : ndarray of float32, shape (n, d)
        Unit-norm rows, paired.
    y : ndarray
        Codes of shape (n,), or a 0/1 float matrix of shape (n, k) when the task is multilabel.
    task : str
        "binary", "multiclass" or "multilabel".
    split : ndarray of str, shape (n,)
        "train", "val" or "test"; without "val", the seed draws a tenth of train.
    lam : float
    seed : int
        Gives the validation cut, the initial weights and the batch order.
    hidden : int
        Width of the hidden layer (late fusion: of each modality's); 0 for a linear probe.
    fusion : str
        "early" or "late".
    epochs, batch, lr, weight_decay, patience
        As published by default.
    workers : int
        Processes that load batches.

    Returns
    -------
    dict
        Test acc, macro_f1, auc and auc_hard.
    """
    image, text = move(image, text, lam)
    train, val, test = (np.flatnonzero(split == name) for name in ("train", "val", "test"))
    if not len(val):
        order, held_out = np.random.default_rng(seed).permutation(train), round(0.1 * len(train))
        train, val = np.sort(order[held_out:]), np.sort(order[:held_out])
    torch.manual_seed(seed)
    outputs = {"binary": 1, "multiclass": int(y.max()) + 1, "multilabel": y.shape[-1]}[task]
    model = {"early": Early, "late": Late}[fusion](image.shape[1], hidden, outputs)
    loss = criterion(y[train], task)
    optimiser = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)

    def loader(rows, shuffle=False):
        return DataLoader(Pairs(image[rows], text[rows], y[rows]), batch, shuffle, num_workers=workers)

    def value(logits, y):
        return loss(logits[:, 0], y.float()) if task == "binary" else loss(logits, y)

    train_loader, val_loader, test_loader = loader(train, shuffle=True), loader(val), loader(test)
    best, kept, waited = np.inf, None, 0
    for _ in range(epochs):
        model.train()
        for texts, images, labels in train_loader:
            optimiser.zero_grad()
            value(model(texts, images), labels).backward()
            optimiser.step()
        now = float(value(*predict(model, val_loader)))
        if now < best:
            best, kept, waited = now, copy.deepcopy(model.state_dict()), 0
        else:
            waited += 1
            if waited >= patience:
                break
    model.load_state_dict(kept)
    return metrics(*predict(model, test_loader), task)

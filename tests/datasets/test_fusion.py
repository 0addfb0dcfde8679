"""Fusion adds: some facts show only in the picture, some stand only in the text.

Shown on plain representations (words; colours, edges and pixels), so that it holds for the data whatever the encoder.
"""

import numpy as np
import pytest
from scipy.sparse import csr_array, hstack
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from gaplib import sweep
from gaplib.datasets import pairs


def look(image):
    """Small pixels, colour histograms, and histograms of edge directions by cell."""
    image = pairs.open_image(image)
    grey = np.asarray(image.convert("L"), float) / 255
    down, right = np.gradient(grey)
    direction = (np.arctan2(down, right) % np.pi / np.pi * 8).astype(int) % 8
    place = np.arange(len(grey)) // 12
    cell = place[:, None] * (place[-1] + 1) + place
    edges = np.bincount((8 * cell + direction).ravel(), np.hypot(right, down).ravel(), 8 * (cell[-1, -1] + 1))
    colours = [np.bincount(channel, minlength=16) for channel in np.asarray(image).reshape(-1, 3).T // 16]
    pixels = np.asarray(image.resize((32, 32)), float).ravel() / 255
    shares = np.concatenate(colours) / grey.size
    return np.concatenate([pixels, 5 * np.sqrt(shares), 5 * edges / (np.linalg.norm(edges) + 1e-6)])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "weight"),  # of the picture's features against those of the words
    [("phantom-cxr", 0.3), ("phantom-derm", 0.3), ("phantom-fundus", 0.3), ("emoji", 0.03), ("clipart-qa", 0.1)],
)
def test_both_modalities_beat_each_alone(whole, name, weight):
    table, about = whole(name)
    y = pairs.targets(table, about)
    y = y if about.task == "multilabel" else np.eye(len(about.labels))[y]
    train, test = ((table["split"] == split).to_numpy() for split in ("train", "test"))
    looks = np.array([look(image) for image in table["image"]])
    parts = PCA(150, random_state=0).fit(looks[train]).transform(looks)
    image = csr_array(weight * parts / parts[train].std(0))
    text = TfidfVectorizer(min_df=2, ngram_range=(1, 2)).fit(table["text"][train]).transform(table["text"])
    auc = []
    for x in (image, text, hstack([image, text]).tocsr()):
        probe = OneVsRestClassifier(LogisticRegression(max_iter=500)).fit(x[train], y[train])
        auc.append(sweep.auc(probe.decision_function(x[test]), y[test] > 0).mean())
    print(f"{name}: image {auc[0]:.3f}, text {auc[1]:.3f}, both {auc[2]:.3f}")
    assert auc[2] >= max(auc[:2]) + 0.02
    assert 0.6 < auc[0] < 0.95 and 0.6 < auc[1] < 0.95

"""Figures that move."""

import numpy as np
import pandas as pd
from PIL import Image

from gaplib import plots


def test_the_animation_moves_there_and_back(tmp_path):
    rng = np.random.default_rng(0)
    columns = ["dataset", "lam", "modality", "pair"]
    index = pd.MultiIndex.from_product([["one", "two"], [0.0, 0.5, 1.0], ["image", "text"], range(20)], names=columns)
    table = pd.DataFrame(rng.normal(size=(len(index), 2)), index, ["x", "y"]).reset_index()
    path = plots.umap_by_lambda(table.assign(encoder="made", seed=0), tmp_path / "deep" / "moving.gif")
    with Image.open(path) as gif:
        assert (gif.n_frames, gif.info["loop"], gif.width) == (16, 0, 770)
        pictures = []
        for frame in range(gif.n_frames):
            gif.seek(frame)
            pictures.append(np.asarray(gif.convert("RGB"), int))
    assert all(np.abs(b - a).sum() for a, b in zip(pictures, pictures[1:], strict=False))
    for there, back in zip(pictures[1:8], pictures[:8:-1], strict=True):
        np.testing.assert_array_equal(there, back)
    for colour in ((0, 114, 178), (213, 94, 0)):
        assert (np.abs(pictures[0] - colour).max(-1) < 70).sum() > 100

"""The trainer: losses as published, a run that is the same every time, folders that load as the hub's would."""

import numpy as np
import pandas as pd
import pytest
import torch
import train

from gaplib import encoders, paths
from gaplib.datasets.phantoms import derm


def test_sigmoid_loss_is_siglips():
    rng = torch.Generator().manual_seed(0)
    image, text = torch.nn.functional.normalize(torch.randn(2, 5, 4, generator=rng), dim=-1)
    scale, bias = torch.tensor(7.0), torch.tensor(-3.0)
    total = 0.0
    for i in range(5):
        for j in range(5):
            sign = 1 if i == j else -1
            total += float(torch.log1p(torch.exp(-sign * (scale * image[i] @ text[j] + bias))))
    assert float(train.contrastive_loss(image, text, scale, bias, "sigmoid")) == pytest.approx(total / 5, rel=1e-5)


def test_drop_words_never_drops_all():
    dropped = train.drop_words(["one two three"] * 200 + ["alone"] * 200, np.random.default_rng(0), 0.5)
    assert all(dropped) and {len(text.split()) for text in dropped[:200]} == {1, 2, 3}


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Minis in a temporary folder, trained on a handful of pairs."""
    monkeypatch.setattr(paths, "ENCODERS", tmp_path)
    registry = {name: encoders.REGISTRY[name]._replace(checkpoint=tmp_path / name) for name in train.RECIPES}
    monkeypatch.setattr(encoders, "REGISTRY", registry)
    monkeypatch.setattr(train, "CANDIDATES", 12)
    table = derm.phantom_derm(n=60, seed=5).pairs
    monkeypatch.setattr(train, "training_pairs", lambda data: (table[:48], table[48:]))
    recipes = {name: recipe._replace(batch=16) for name, recipe in train.RECIPES.items()}
    monkeypatch.setattr(train, "RECIPES", recipes)
    threads = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", train.RECIPES)
def test_training_is_reproducible_and_its_folder_loads(small, name):
    curve = train.train(name, steps=4, device="cpu")
    weights = next((small / name).glob("*.safetensors"))
    before = weights.read_bytes()
    encoder = encoders.load(name, "cpu")
    rows = encoder.encode_texts(["Age: 45 years.", "Age: 80 years."])
    assert rows.shape == (2, encoder.dim) and not np.allclose(rows[0], rows[1])
    assert curve["step"].tolist() == [0, 1, 2, 3, 4]
    assert (small / name / "README.md").read_text().startswith(f"# {name}")
    assert [path.name for path in small.iterdir()] == [name]
    pd.testing.assert_frame_equal(train.train(name, steps=4, device="cpu"), curve)
    assert weights.read_bytes() == before

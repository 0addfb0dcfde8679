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
    rng = np.random.default_rng(0)
    dropped = [train.drop_words("one two three", rng, 0.5) for _ in range(200)]
    assert all(dropped) and {len(text.split()) for text in dropped} == {1, 2, 3}
    assert {train.drop_words("alone", rng, 0.5) for _ in range(50)} == {"alone"}


def test_a_text_is_told_in_many_ways_and_says_nothing_else():
    rng = np.random.default_rng(0)
    told = {train.vary("red bus, coach, travel, icon", rng) for _ in range(400)}
    assert {"red bus", "red bus. coach", "red bus, travel, icon", "coach, travel"} <= told
    assert train.vary("bus", rng) == "bus"
    words = set(", ".join(told).replace(". ", ", ").split(", "))
    assert words == {"red bus", "coach", "travel", "icon"}


def test_an_epoch_shows_every_row_once_and_some_batches_are_of_one_source():
    recipe = train.RECIPES["mini-clip"]._replace(batch=10, apart=0.5)
    source = np.repeat(["a", "b", "few"], [300, 200, 7])
    batches = train._epoch(source, recipe, np.random.default_rng(0))
    rows = np.concatenate(batches)
    assert {len(batch) for batch in batches} == {10} and len(rows) == 500 and len(set(rows)) == 500
    alone = [len(set(source[batch])) == 1 for batch in batches]
    assert 10 < sum(alone) < 40


def test_ink_is_tinted_and_paper_stays_white():
    pixels = torch.ones(4, 3, 8, 8)
    pixels[:, :, 2:5] = -0.5
    tinted = train.tint(pixels, torch.Generator().manual_seed(0))
    assert (tinted[:, :, 5:] == 1).all()
    assert len({round(float(value), 4) for value in tinted[:, :, 3, 3].flatten()}) == 12


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Minis in a temporary folder, trained on a handful of pairs."""
    monkeypatch.setattr(paths, "ENCODERS", tmp_path)
    registry = {name: encoders.REGISTRY[name]._replace(place=tmp_path / name) for name in train.RECIPES}
    monkeypatch.setattr(encoders, "REGISTRY", registry)
    monkeypatch.setattr(train, "CANDIDATES", 12)
    table = derm.phantom_derm(n=60, seed=5).pairs.assign(varied=[True, False] * 30, source="skin")
    monkeypatch.setattr(train, "training_pairs", lambda data: table[:48])
    monkeypatch.setattr(train, "held_out", lambda data: table[48:])
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
    assert curve["scale"].nunique() == 1
    assert [path.name for path in small.iterdir()] == [name]
    learned = train.train(name, learned=True, steps=4, device="cpu")
    assert learned["scale"].nunique() > 1 and weights.read_bytes() == before
    card = (small / name / "README.md").read_text()
    assert card.startswith(f"# {name}") and "scale learned" in card
    pd.testing.assert_frame_equal(train.train(name, steps=4, device="cpu"), curve)
    assert weights.read_bytes() == before and (small / name / "curve-learned.csv").is_file()

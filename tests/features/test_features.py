"""Feature files: each distinct thing encoded once, damage noticed, changes noticed, nothing half-written."""

import numpy as np
import pandas as pd
import pytest
from counting import Counting, circle
from PIL import Image

from gaplib import features
from gaplib.datasets.pairs import About, Dataset


@pytest.fixture
def dataset(tmp_path):
    for i in range(6):
        Image.new("RGB", (4, 4), (i, 0, 0)).save(tmp_path / f"{i}.png")
    pairs = pd.DataFrame(
        {"image": [f"{i % 6}.png" for i in range(18)], "text": [f"{'x' * (i % 3)}t" for i in range(18)]}
    )
    pairs["split"] = [("train", "train", "train", "val", "test", "test")[i % 6] for i in range(18)]
    pairs["group"], pairs["label"] = pairs["image"], [("a", "b")[i % 2] for i in range(18)]
    return Dataset(pairs, About("made", "natural", "binary", ("a", "b"), tmp_path))


def test_each_distinct_image_and_text_is_encoded_once_and_then_loaded(root, dataset, capsys):
    encoder = Counting()
    first = features.extract(dataset, encoder)
    again = features.extract(dataset, encoder)
    assert (len(encoder.images), len(encoder.texts)) == (6, 3)
    assert capsys.readouterr().out.count("encoding") == 1
    for f in (first, again, features.load("made", "counting")):
        image, text = f.paired()
        assert image.shape == text.shape == (18, 2)
        np.testing.assert_allclose(image, circle([i % 6 for i in range(18)]), atol=1e-6)
        np.testing.assert_allclose(text, circle([len(t) for t in dataset.pairs["text"]]), atol=1e-6)
        assert f.about.labels == ("a", "b") and list(f.targets) == [i % 2 for i in range(18)]
        assert list(f.pairs["split"]) == list(dataset.pairs["split"])
    files = {"image.npy", "text.npy", "image_index.npy", "text_index.npy", "about.json", "pairs.parquet"}
    assert {p.name for p in (root / "data").rglob("*") if p.is_file()} == files


@pytest.mark.parametrize("change", ["checkpoint", "preprocessing", "text", "image"])
def test_a_change_encodes_anew_and_says_why(root, dataset, change, capsys):
    features.extract(dataset, Counting())
    encoder = Counting()
    if change == "text":
        dataset.pairs.loc[0, "text"] = "another"
    elif change == "image":
        Image.new("RGB", (5, 4), (9, 0, 0)).save(dataset.about.root / "0.png")
    else:
        setattr(encoder, change, "v2")
    features.extract(dataset, encoder)
    assert len(encoder.images) == 6
    name = {"text": "fingerprint", "image": "fingerprint"}.get(change, change)
    assert f"another {name}" in capsys.readouterr().out


def damage_cut(path):
    path.write_bytes(path.read_bytes()[:-40])


def damage_head(path):
    path.write_bytes(path.read_bytes()[:5])


def damage_flip(path):
    data = bytearray(path.read_bytes())
    data[-7 if path.suffix == ".npy" else 30] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [damage_cut, damage_head, damage_flip])
@pytest.mark.parametrize(
    "name", ["counting/image.npy", "counting/text_index.npy", "counting/about.json", "pairs.parquet"]
)
def test_damage_is_named_and_repaired(root, dataset, damage, name, capsys):
    features.extract(dataset, Counting())
    path = root / "data" / "features" / "made" / name
    whole = path.read_bytes()
    damage(path)
    with pytest.raises(ValueError, match=rf"{name}.*(cut short|damaged|missing)"):
        features.load("made", "counting")
    encoder = Counting()
    f = features.extract(dataset, encoder)
    assert f.paired()[0].shape == (18, 2)
    out = capsys.readouterr().out
    if name == "pairs.parquet":
        assert not encoder.images and "writing it again" in out
    else:
        assert len(encoder.images) == 6 and out.count("encoding made with counting: ") == 2
    assert path.read_bytes() == whole


def test_a_broken_image_stops_and_leaves_nothing(root, dataset):
    (dataset.about.root / "2.png").write_bytes(b"not an image")
    with pytest.raises(ValueError, match=r"dataset 'made', row 2: '2.png' is not a readable image"):
        features.extract(dataset, Counting())
    assert not list(root.rglob("about.json")) and not list(root.rglob("pairs.parquet"))


def test_missing_features(root):
    with pytest.raises(FileNotFoundError, match="no features of made by clip at .*; run notebook 01"):
        features.load("made", "clip")


def test_repr_is_short(root, dataset):
    assert len(repr(features.extract(dataset, Counting()))) < 200


def test_features_show_themselves(make_features):
    features = make_features("binary")
    assert repr(features) == "Features(made by made-encoder: 600 pairs of 600 images and 600 texts, 16 wide)"
    assert all(f"<td>{value}</td>" in features._repr_html_() for value in ("binary", "a, b", 300, 150))

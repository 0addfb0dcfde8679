"""The four minis: loaded as their big namesakes are, small, independent of the batch, as good as their cards say."""

import json
from functools import cache

import numpy as np
import open_clip
import pandas as pd
import pytest
from PIL import Image
from safetensors import safe_open
from transformers import CLIPModel, SiglipModel

from gaplib import encoders, paths
from gaplib.pairs import open_image

MINIS = {
    "mini-clip": CLIPModel,
    "mini-siglip": SiglipModel,
    "mini-biomedclip": open_clip.CustomTextCLIP,
    "mini-medsiglip": SiglipModel,
}
TEXTS = ["Red apple. fruit", "No focal consolidation. Heart size is normal.", "a", "Blunting of the left angle. " * 30]


@pytest.fixture(scope="module", params=MINIS)
def encoder(request):
    return encoders.load(request.param, "cpu")


@cache
def pairs_of(data):
    """Training and held-out pairs; drawing 40,000 phantoms takes a minute or two."""
    from gaplib.train import training_pairs

    return training_pairs(data)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    sizes = rng.integers(20, 200, (64, 2))
    return [Image.fromarray(rng.integers(0, 256, (h, w, 3), np.uint8)) for h, w in sizes]


def test_all_eight_names_are_registered():
    minis = {name.removeprefix("mini-") for name in MINIS}
    assert set(encoders.REGISTRY) == set(MINIS) | minis
    with pytest.raises(ValueError, match="unknown encoder 'mini-clop': did you mean 'mini-clip'"):
        encoders.load("mini-clop")


def test_class_size_and_precision(encoder):
    assert isinstance(encoder.model, MINIS[encoder.name])
    assert sum(p.numel() for p in encoder.model.parameters()) <= 3_000_000
    folder = paths.ENCODERS / encoder.name
    assert sum(f.stat().st_size for f in folder.iterdir()) <= 6_000_000
    with safe_open(next(folder.glob("*.safetensors")), "np") as weights:
        assert {str(weights.get_slice(k).get_dtype()) for k in weights.keys()} <= {"F16", "I64"}  # noqa: SIM118


def test_embeddings_are_unit_rows_whatever_the_batch(encoder, images):
    texts = [f"{text} {i}" for i in range(16) for text in TEXTS]
    for items, encode in ((images, encoder.encode_images), (texts, encoder.encode_texts)):
        whole = encode(items)
        assert whole.shape == (64, encoder.dim) and whole.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-5)
        for size in (1, 7):
            parts = np.concatenate([encode(items[i : i + size]) for i in range(0, 64, size)])
            np.testing.assert_allclose(parts, whole, atol=1e-5)
    assert encoder.encode_texts([]).shape == (0, encoder.dim)


def test_distinct_texts_are_told_apart(encoder):
    assert (encoder.encode_texts(TEXTS) @ encoder.encode_texts(TEXTS).T)[~np.eye(4, dtype=bool)].max() < 0.999


def test_card_and_curve(encoder):
    folder = paths.ENCODERS / encoder.name
    curve, card = pd.read_csv(folder / "curve.csv"), (folder / "README.md").read_text()
    measures = ["centroid_distance", "mean_cosine_image", "mean_cosine_text", "paired_cosine", "recall_at_10"]
    assert list(curve) == ["step", "loss", *measures] and curve.notna().all(axis=None) and len(curve) > 10
    for word in ("Data", "Licence", "Seed", "Parameters"):
        assert word in card
    assert curve["recall_at_10"].iloc[-1] >= (0.5 if encoders.REGISTRY[encoder.name].domain == "medical" else 0.2)


def test_held_out_recall_is_what_the_curve_says(encoder):
    from gaplib.gap import recall_at_k
    from gaplib.train import CANDIDATES, RECIPES

    _, held_out = pairs_of(RECIPES[encoder.name].data)
    image = encoder.encode_images([open_image(image) for image in held_out["image"]])
    recall = np.mean(recall_at_k(image, encoder.encode_texts(list(held_out["text"])), 10))
    said = pd.read_csv(paths.ENCODERS / encoder.name / "curve.csv")["recall_at_10"].iloc[-1]
    assert len(held_out) == CANDIDATES
    assert recall == pytest.approx(said, abs=0.01)  # weights were rounded to half precision after the curve


def test_open_clip_folder_needs_no_hub():
    config = json.loads((paths.ENCODERS / "mini-biomedclip" / "open_clip_config.json").read_text())
    assert config["model_cfg"]["text_cfg"]["hf_model_name"] == "."
    assert config["model_cfg"]["vision_cfg"]["timm_model_pretrained"] is False


def test_an_embedding_without_direction_is_refused(encoder, images):
    from dataclasses import replace

    dead = replace(encoder, image_tower=lambda pixels: encoder.image_tower(pixels) * 0)
    with pytest.raises(ValueError, match=f"{encoder.name}: image 0 has an embedding of norm 0"):
        dead.encode_images(images[:2])

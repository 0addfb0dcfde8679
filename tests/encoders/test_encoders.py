"""Encoders: the minis and the released four, as the libraries have them, whatever the batch, found by any name."""

import json
import multiprocessing
import re
import shutil

import checkpoints
import measure
import numpy as np
import open_clip
import pandas as pd
import pytest
import torch
import train
from PIL import Image
from safetensors import safe_open
from transformers import AutoModel, AutoProcessor, CLIPModel, SiglipModel

from gaplib import encoders, features, paths
from gaplib.datasets.pairs import About, Dataset, open_image
from gaplib.gap import recall_at_k

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


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    sizes = rng.integers(20, 200, (64, 2))
    return [Image.fromarray(rng.integers(0, 256, (h, w, 3), np.uint8)) for h, w in sizes]


def test_all_eight_names_are_registered_and_medsiglip_in_both_ways_of_resizing():
    minis = {name.removeprefix("mini-") for name in MINIS}
    assert set(encoders.REGISTRY) == set(MINIS) | minis | {"medsiglip-card"}
    with pytest.raises(ValueError, match="unknown encoder 'mini-clop': did you mean 'mini-clip'"):
        encoders.load("mini-clop")


def test_class_size_and_precision(encoder):
    assert isinstance(encoder.model, MINIS[encoder.name])
    assert sum(p.numel() for p in encoder.model.parameters()) <= 4_000_000
    folder = paths.ENCODERS / encoder.name
    assert sum(f.stat().st_size for f in folder.iterdir()) <= 9_000_000
    with safe_open(next(folder.glob("*.safetensors")), "np") as weights:
        assert {str(weights.get_slice(k).get_dtype()) for k in weights.keys()} <= {"F16", "I64"}  # noqa: SIM118


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of tiny checkpoints of the released four."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for name in checkpoints.NAMES:
        checkpoints.make(folder, name)
    return folder


@pytest.fixture(params=checkpoints.NAMES)
def released(request, folder, monkeypatch):
    monkeypatch.setenv("GAPLIB_CHECKPOINTS", str(folder))
    return encoders.load(request.param, "cpu")


@pytest.mark.parametrize("name", [*MINIS, *checkpoints.NAMES])
def test_embeddings_are_unit_rows_whatever_the_batch(name, folder, images, monkeypatch):
    monkeypatch.setenv("GAPLIB_CHECKPOINTS", str(folder))
    encoder = encoders.load(name, "cpu")
    texts = [f"{text} {i}" for i in range(16) for text in TEXTS]
    for items, encode in ((images, encoder.encode_images), (texts, encoder.encode_texts)):
        whole = encode(items)
        assert whole.shape == (64, encoder.dim) and whole.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-5)
        for size in (1, 7):
            parts = np.concatenate([encode(items[i : i + size]) for i in range(0, 64, size)])
            np.testing.assert_allclose(parts, whole, atol=1e-5)
    assert encoder.encode_texts([]).shape == (0, encoder.dim)


def by_the_library(encoder, folder, images, texts, model=None):
    """Image and text embeddings by the library's own call, of transformers with a model that is loaded already."""
    folder = folder / encoder.name
    if isinstance(encoder.model, open_clip.CustomTextCLIP):
        whole = folder.parent / "whole"  # open_clip wants all in one folder, named in the configuration
        shutil.copytree(folder, whole, dirs_exist_ok=True)
        shutil.copy(folder.parent / checkpoints.BERT / "config.json", whole)
        config = json.loads((folder / "open_clip_config.json").read_text())
        config["model_cfg"]["text_cfg"]["hf_model_name"] = str(whole)
        (whole / "open_clip_config.json").write_text(json.dumps(config))
        model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{whole}")
        pixels = torch.stack([transform(image) for image in images])
        tokens = open_clip.get_tokenizer(f"local-dir:{whole}")(texts)
        return model.eval().encode_image(pixels, normalize=True), model.encode_text(tokens, normalize=True)
    processor = AutoProcessor.from_pretrained(folder)
    inputs = processor(images=images, text=texts, padding="max_length", truncation=True, return_tensors="pt")
    model = model or AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    out = model(**inputs)
    return out.image_embeds, out.text_embeds


def test_the_released_four_are_as_the_library_has_them(released, folder, images):
    with torch.inference_mode():
        image, text = by_the_library(released, folder, images[:8], TEXTS)
    np.testing.assert_allclose(released.encode_images(images[:8]), image, atol=1e-5)
    np.testing.assert_allclose(released.encode_texts(TEXTS), text, atol=1e-5)
    assert released.encode_images(images[:8]).std(0).max() > 1e-3  # and they tell images apart


def test_medsiglip_as_its_card_evaluates_it(folder, tmp_path, monkeypatch):
    for name in ("medsiglip", "medsiglip-card"):
        (tmp_path / name).symlink_to(folder / "medsiglip")
    monkeypatch.setenv("GAPLIB_CHECKPOINTS", str(tmp_path))
    card, usual = (encoders.load(name, "cpu") for name in ("medsiglip-card", "medsiglip"))
    size = card.pixels([Image.new("RGB", (8, 8))]).shape[-1]
    noise = np.random.default_rng(0).integers(0, 256, (4 * size, 4 * size, 3), np.uint8)
    # From four pixels to one, without antialiasing: the mean of the two in the middle, along both sides.
    middle = noise.reshape(size, 4, size, 4, 3)[:, 1:3, :, 1:3].mean((1, 3)).astype(np.uint8)
    images = [Image.fromarray(noise)]
    np.testing.assert_allclose(card.pixels(images)[0].permute(1, 2, 0), middle / 127.5 - 1, atol=1e-5)
    assert card.pixels(images).std() > 1.5 * usual.pixels(images).std()  # which smooths
    np.testing.assert_array_equal(card.encode_texts(TEXTS), usual.encode_texts(TEXTS))
    assert card.preprocessing != usual.preprocessing and encoders.domain("medsiglip-card") == "medical"


def test_texts_are_padded_and_cut_as_published(released):
    context = {"clip": 77, "siglip": 64, "medsiglip": 64, "biomedclip": 256}[released.name]
    short, long = released.lengths(["a dog", "Blunting of the left angle. " * 200])
    tokens = released.tokens(["a dog", "Blunting of the left angle. " * 200])
    assert released.context == context == tokens.shape[1] and len(tokens) == 2
    assert short < context < long and f"{context} tokens" in released.preprocessing
    assert tokens[1, -1] == tokens[0, short - 1]  # a cut text still ends with the end of text
    assert len(tokens[0, short:].unique()) == 1 and len(tokens[1].unique()) > 5


def test_padding_changes_an_embedding_only_where_the_model_was_trained_with_it(released):
    tokenizer = released.tokens.args[0].tokenizer if released.name == "biomedclip" else released.tokens.args[0]
    ids = tokenizer(["a dog"], return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        bare = torch.nn.functional.normalize(released.text_tower(ids)).numpy()
    far = np.abs(bare - released.encode_texts(["a dog"])).max()
    assert far > 1e-3 if "siglip" in released.name else far < 1e-5


def bert_clip(folder):
    """A tiny ChineseCLIP: a dual encoder of transformers whose text tower must be told what is padding."""
    from transformers import BertTokenizerFast, ChineseCLIPConfig, ChineseCLIPImageProcessor, ChineseCLIPModel

    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    folder.mkdir()
    (folder / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdef", "skin", "lung"])
    )
    BertTokenizerFast.from_pretrained(folder, model_max_length=52).save_pretrained(folder)
    ChineseCLIPImageProcessor(size={"height": 32, "width": 32}, do_center_crop=False).save_pretrained(folder)
    text, vision = small | {"vocab_size": 13}, small | {"image_size": 32, "patch_size": 16}
    ChineseCLIPModel(ChineseCLIPConfig(text_config=text, vision_config=vision, projection_dim=24)).save_pretrained(
        folder
    )


def test_a_folder_of_another_family_gets_its_mask(tmp_path, images):
    bert_clip(tmp_path / "my own")
    encoder = encoders.load(f"local:{tmp_path}/my own", "cpu")
    assert (encoder.name, encoder.dim, encoder.context) == ("local-my-own", 24, 52)
    assert encoder.tokens(["a b", "c"]).shape == (2, 2, 52)
    ids = encoder.tokens.args[0](["a b"], return_tensors="pt")
    with torch.inference_mode():
        bare = encoder.model.get_text_features(**ids)
    bare = getattr(bare, "pooler_output", bare).numpy()
    np.testing.assert_allclose(encoder.encode_texts(["a b"]), bare / np.linalg.norm(bare), atol=1e-5)
    assert encoder.encode_images(images[:2]).shape == (2, 24)


def test_weights_that_open_clip_lists_load_by_their_tag(tmp_path, monkeypatch, images):
    towers = {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
    }
    folder = tmp_path / "laion" / "CLIP-ViT-B-16-laion2B-s34B-b88K"
    folder.mkdir(parents=True)
    preprocess = {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7]}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": towers, "preprocess_cfg": preprocess}))
    checkpoints.save_file(open_clip.CLIP(**towers).state_dict(), folder / "open_clip_model.safetensors")
    monkeypatch.setenv("GAPLIB_CHECKPOINTS", str(tmp_path))
    encoder = encoders.load("open_clip:ViT-B-16/laion2b_s34b_b88k", "cpu")
    assert encoder.name == "open_clip-ViT-B-16-laion2b_s34b_b88k" and encoder.context == 77 and encoder.dim == 24
    assert encoder.lengths(["a dog", "dog " * 200]) == [4, 202]
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    with torch.inference_mode():
        image = model.eval().encode_image(torch.stack([transform(i) for i in images[:4]]), normalize=True)
        text = model.encode_text(open_clip.tokenize(["a dog", "a cat"]), normalize=True)
    np.testing.assert_allclose(encoder.encode_images(images[:4]), image, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_texts(["a dog", "a cat"]), text, atol=1e-5)


def embed(spec, texts):
    """What another process does with the name of an encoder."""
    return encoders.load(spec, "cpu").encode_texts(texts)


def prepare(pixels, tokens, lengths, images, texts):
    """What a worker process does beside the forward pass."""
    return pixels(images), tokens(texts), lengths(texts)


@pytest.mark.slow
def test_other_processes_load_it_again_and_prepare_for_it(folder, images, monkeypatch):
    monkeypatch.setenv("GAPLIB_CHECKPOINTS", str(folder))
    monkeypatch.chdir(folder)
    loaded = [encoders.load(name, "cpu") for name in (*checkpoints.NAMES, "local:clip")]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for encoder in loaded:
            images = [image.convert("RGB") for image in images[:3]]
            pixels, tokens, lengths = pool.apply(
                prepare, (encoder.pixels, encoder.tokens, encoder.lengths, images, TEXTS)
            )
            torch.testing.assert_close(pixels, encoder.pixels(images), rtol=0, atol=0)
            torch.testing.assert_close(tokens, encoder.tokens(TEXTS), rtol=0, atol=0)
            assert lengths == encoder.lengths(TEXTS) and pixels.shape[1] == 3 and pixels.dtype == torch.float32
        rows = pool.apply(embed, (loaded[-1].spec, TEXTS))
    np.testing.assert_allclose(rows, loaded[0].encode_texts(TEXTS), atol=1e-6)
    assert loaded[-1].spec == f"local:{folder / 'clip'}"


def test_names_are_safe_as_file_names_and_known_without_loading(released):
    for spec in (released.spec, "hf:org/name@refs/pr/1", "open_clip:ViT-B-32/openai", "local:/some where/it is"):
        assert re.fullmatch(r"[\w.-]+", encoders.stored_name(spec))
    assert encoders.stored_name(released.spec) == released.name
    assert encoders.domain(released.name) == ("medical" if "med" in released.name else "general")
    assert released.name in repr(released) and len(repr(released)) < 200


def test_lower_precision_is_close(released, images):
    for dtype in ("bfloat16", "float16"):
        lower = encoders.load(released.name, "cpu", dtype)
        assert lower.precision == dtype and encoders.load(released.name, "cpu").precision == "float32"
        for rows, exact in (
            (lower.encode_images(images[:8]), released.encode_images(images[:8])),
            (lower.encode_texts(TEXTS), released.encode_texts(TEXTS)),
        ):
            assert rows.dtype == np.float32 and not np.array_equal(rows, exact)
            assert (rows * exact).sum(1).min() > 0.999


@pytest.mark.slow
@pytest.mark.parametrize(("name", "dim"), [("clip", 512), ("siglip", 768), ("biomedclip", 512), ("medsiglip", 1152)])
def test_the_released_architectures_at_their_full_size(root, tmp_path, monkeypatch, images, name, dim):
    folder = tmp_path / "full"
    checkpoints.make(folder, name, full=True)
    monkeypatch.setenv("GAPLIB_CHECKPOINTS", str(folder))
    encoder = encoders.load(name, "cpu")
    millions = {"clip": 151.3, "siglip": 203.4, "biomedclip": 195.9, "medsiglip": 878.3}  # of parameters
    assert sum(p.numel() for p in encoder.model.parameters()) / 1e6 == pytest.approx(millions[name], abs=0.1)
    assert encoder.dim == dim
    table = pd.DataFrame({"image": images[:2], "text": TEXTS[:2], "split": ["train", "test"], "group": ["a", "b"]})
    f = features.extract(Dataset(table, About("two", "natural")), encoder, workers=0)
    with torch.inference_mode():
        image, text = by_the_library(encoder, folder, images[:2], TEXTS[:2], encoder.model)
    shutil.rmtree(folder)  # gigabytes, which pytest would keep
    for stored, direct in zip(f.paired(), (image, text), strict=True):
        np.testing.assert_allclose(stored, direct, atol=1e-5)


def test_distinct_texts_are_told_apart(encoder):
    assert (encoder.encode_texts(TEXTS) @ encoder.encode_texts(TEXTS).T)[~np.eye(4, dtype=bool)].max() < 0.999


def test_card_and_curve(encoder):
    folder = paths.ENCODERS / encoder.name
    curve, card = pd.read_csv(folder / "curve.csv"), (folder / "README.md").read_text()
    measures = {"centroid_distance", "mean_cosine_image", "mean_cosine_text", "paired_cosine", "recall_at_10"}
    assert {"step", "loss", *measures} <= set(curve) and curve.notna().all(axis=None) and len(curve) > 10
    for word in ("Data", "Licence", "Seed", "Parameters"):
        assert word in card
    assert curve["recall_at_10"].iloc[-1] >= (0.5 if encoders.REGISTRY[encoder.name].domain == "medical" else 0.2)


def test_held_out_recall_is_what_the_curve_says(encoder):
    table = train.held_out(train.RECIPES[encoder.name].data)
    image = encoder.encode_images([open_image(image) for image in table["image"]])
    recall = np.mean(recall_at_k(image, encoder.encode_texts(list(table["text"])), 10))
    said = pd.read_csv(paths.ENCODERS / encoder.name / "curve.csv")["recall_at_10"].iloc[-1]
    assert train.CANDIDATES - len(train.PHANTOMS) < len(table) <= train.CANDIDATES
    assert recall == pytest.approx(said, abs=0.01)  # weights were rounded to half precision after the curve


@pytest.mark.parametrize("name", ["mini-clip", "mini-siglip"])
def test_general_minis_have_two_cones_apart_on_drawings_they_never_saw(name, whole):
    encoder = encoders.load(name, "cpu")
    for dataset in ("clipart", "emoji"):
        found = measure.measured(encoder, measure.candidates(whole(dataset).pairs))
        assert 0.7 <= found["distance"] <= 1.0, dataset
        assert 0.65 <= found["R image"] <= 0.9, dataset
        assert 0.65 <= found["R text"] <= 0.97, dataset
        inside = min(found["R image"], found["R text"]) ** 2  # about the mean cosine inside the wider cone
        assert found["unpaired"] + 0.01 < found["paired"] < inside, dataset


@pytest.mark.parametrize(
    ("name", "least_r"), [("mini-biomedclip", 0.8), ("mini-medsiglip", 0.55)]
)  # the released ones: .89 and .73
def test_medical_minis_have_two_cones_apart_on_phantoms_and_know_them(name, least_r, whole):
    encoder = encoders.load(name, "cpu")
    for dataset, least_recall in {"phantom-cxr": 0.35, "phantom-derm": 0.2, "phantom-fundus": 0.08}.items():
        found = measure.measured(encoder, measure.candidates(whole(dataset).pairs))
        assert 0.6 <= found["distance"] <= 1.0, dataset
        assert least_r <= found["R image"] <= 0.97, dataset
        assert least_r <= found["R text"] <= 0.97, dataset
        assert found["unpaired"] + 0.05 < found["paired"], dataset
        assert found["recall@10"] >= least_recall, dataset


def test_a_learned_scale_closes_the_gap_that_a_fixed_one_keeps_at_hardly_any_price():
    for name in train.RECIPES:
        folder = paths.ENCODERS / name
        fixed = pd.read_csv(folder / "curve.csv").iloc[-1]
        learned = pd.read_csv(folder / "curve-learned.csv").iloc[-1]
        assert fixed["step"] == learned["step"], name
        assert fixed["centroid_distance"] > learned["centroid_distance"] + 0.1, name
        assert fixed["recall_at_10"] > 0.95 * learned["recall_at_10"], name


def test_open_clip_folder_needs_no_hub():
    config = json.loads((paths.ENCODERS / "mini-biomedclip" / "open_clip_config.json").read_text())
    assert config["model_cfg"]["text_cfg"]["hf_model_name"] == "."
    assert config["model_cfg"]["vision_cfg"]["timm_model_pretrained"] is False


def test_an_embedding_without_direction_is_refused(encoder, images):
    from dataclasses import replace

    dead = replace(encoder, image_tower=lambda pixels: encoder.image_tower(pixels) * 0)
    with pytest.raises(ValueError, match=f"{encoder.name}, image embeddings: row 0 is zero"):
        dead.encode_images(images[:2])

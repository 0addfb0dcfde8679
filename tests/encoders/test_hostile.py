"""Checkpoints made by others: their code is never run nor asked about, and what is broken embeds nothing in silence."""

import builtins
import json
import shutil
import sys

import checkpoints
import numpy as np
import pytest
from huggingface_hub import constants

from gaplib import encoders, paths
from gaplib.encoders import trust

REFUSED = (
    "code of its own (auto_map)",
    "only known keys are passed on",
    "is no name of an architecture",
    "asks for more than safetensors of its own folder",
)


@pytest.fixture
def questions(monkeypatch):
    """What was asked on standard input; whoever asks gets a yes."""
    asked = []

    def answer(question=""):
        asked.append(question)
        return "y"

    monkeypatch.setattr(builtins, "input", answer)
    return asked


@pytest.mark.parametrize("way", ["local", "hf"])
@pytest.mark.parametrize("kind", checkpoints.HOSTILE)
def test_code_of_a_checkpoint_is_neither_run_nor_asked_about(kind, way, tmp_path, monkeypatch, questions):
    mark = tmp_path / "it was run"
    folder = checkpoints.hostile(tmp_path / "made", kind, mark)
    spec = f"local:{folder}"
    if way == "hf":
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        checkpoints.cached(tmp_path / "cache", folder, "evil/evil")
        spec = "hf:evil/evil"
    with pytest.raises(OSError) as caught:
        encoders.load(spec, "cpu")
    assert not mark.exists() and not questions
    assert any(words in str(caught.value) for words in REFUSED), caught.value


def test_a_library_left_to_itself_raises_instead_of_asking(tmp_path, questions):
    from transformers import AutoConfig

    folder = checkpoints.hostile(tmp_path, "transformers own model", tmp_path / "it was run")
    with trust.guarded(), pytest.raises(ValueError, match="custom code"):
        AutoConfig.from_pretrained(folder)
    assert not questions and not (tmp_path / "it was run").exists()


def test_an_unread_file_with_code_does_not_matter(tmp_path, questions):
    folder = checkpoints.make(tmp_path, "clip")
    (folder / "evil.py").write_text("raise SystemExit('it was run')")
    assert encoders.load(f"local:{folder}", "cpu").dim == 32 and not questions


def without_tokenizer(folder):
    for pattern in ("tokenizer*", "vocab*", "merges*", "special*", "added*", "*.model"):
        for path in folder.glob(pattern):
            path.unlink()


@pytest.mark.parametrize("name", checkpoints.NAMES)
def test_a_cache_without_tokenizer_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    without_tokenizer(checkpoints.make_cached(tmp_path, name))
    with pytest.raises(OSError, match="lacks the tokenizer: copy tokenizer.json, .*hf download"):
        encoders.load(name, "cpu")


def test_a_mini_without_its_words_is_refused(tmp_path):
    folder = shutil.copytree(paths.ENCODERS / "mini-biomedclip", tmp_path / "mini")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").unlink()
    with pytest.raises(OSError, match="lacks the tokenizer"):
        encoders.load(f"local:{folder}", "cpu")
    words = tokenizer["model"]["vocab"]
    tokenizer["model"]["vocab"] = {word: number for word, number in words.items() if word.startswith("[")}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(OSError, match="it embeds lung, skin, .* alike: the files of its tokenizer"):
        encoders.load(f"local:{folder}", "cpu")


@pytest.mark.parametrize("name", checkpoints.NAMES)
def test_another_tokenizer_is_another_preprocessing(name, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    snapshot = checkpoints.make_cached(tmp_path, name)
    before = encoders.load(name, "cpu")
    config = snapshot / "tokenizer_config.json"
    config.write_text(config.read_text() + "\n")
    after = encoders.load(name, "cpu")
    assert after.checkpoint == before.checkpoint and after.preprocessing != before.preprocessing


@pytest.mark.parametrize("name", ["mini-clip", "mini-biomedclip", *checkpoints.NAMES])
def test_a_special_token_in_a_caption_does_not_end_it(name, tmp_path, monkeypatch):
    for made in checkpoints.NAMES:
        checkpoints.make(tmp_path, made)
    monkeypatch.setenv("GAPLIB_CHECKPOINTS", str(tmp_path))
    encoder = encoders.load(name, "cpu")
    tokenizer = encoder.tokens.args[0]
    for special in getattr(tokenizer, "tokenizer", tokenizer).all_special_tokens:
        dog, cat = encoder.encode_texts([f"a {special} dog", f"a {special} two left chairs"])
        assert np.abs(dog - cat).max() > 1e-3
        np.testing.assert_allclose(dog, encoder.encode_texts(["a dog"])[0], atol=1e-5)
        assert encoder.lengths([f"a {special} dog"]) == encoder.lengths(["a dog"])


def test_a_special_token_does_not_end_a_caption_of_open_clips_own_tokenizer():
    import open_clip

    from gaplib.encoders import loaders

    tokenizer = open_clip.SimpleTokenizer()
    plain = loaders._plain(loaders._special_tokens(tokenizer), tokenizer.clean_fn)
    for mark in ("<end_of_text>", "<END_of_text>", "&lt;start_of_text&gt;"):
        texts = [f"a {mark} dog", "a dog"]
        marked, bare = loaders._open_clip_tokens(tokenizer, plain, texts)
        assert (marked == bare).all()
        assert loaders._open_clip_lengths(tokenizer, plain, texts) == [4, 4]


def test_nothing_is_said_while_loading_and_encoding(tmp_path, monkeypatch, capfd):
    import transformers

    for name in checkpoints.NAMES:
        checkpoints.make(tmp_path, name)
    monkeypatch.setenv("GAPLIB_CHECKPOINTS", str(tmp_path))
    transformers.logging.set_verbosity_info()
    transformers.logging.enable_progress_bar()
    capfd.readouterr()
    for name in ("mini-clip", "mini-siglip", "mini-biomedclip", "mini-medsiglip", *checkpoints.NAMES):
        encoder = encoders.load(name, "cpu")
        encoder.encode_texts(["a dog " * 300])
        encoder.lengths(["a dog " * 300])
    assert capfd.readouterr() == ("", "")
    assert transformers.logging.get_verbosity() == transformers.logging.INFO
    assert transformers.utils.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_warning()


@pytest.fixture(scope="module")
def mini():
    return encoders.load("mini-clip", "cpu")


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ("hello", "got one str, expected a list of strings"),
        (None, "got one NoneType, expected a list of strings"),
        (3, "got one int, expected a list of strings"),
        (["a", None], "item 1 is of type NoneType, expected a list of strings; fill in or leave out"),
        (["a", 2.5], "item 1 is of type float"),
        (["a", b"b"], "item 1 is of type bytes"),
        (["a", "b\ud800c"], r"text 1 has half a character, '\\ud800'"),
    ],
)
def test_texts_that_are_none(mini, texts, words):
    with pytest.raises(ValueError, match=words):
        mini.encode_texts(texts)


@pytest.mark.parametrize("kind", ["array", "bytes", "bytearray", "path", "none", "one", "one array"])
def test_images_that_are_none(mini, kind):
    from PIL import Image

    picture = Image.new("RGB", (8, 8))
    images = {
        "array": [np.zeros((8, 8, 3), np.uint8)],
        "bytes": [b"x"],
        "bytearray": [bytearray(b"x")],
        "path": [paths.REPO / "README.md"],
        "none": [None],
        "one": picture,
        "one array": np.zeros((2, 8, 8, 3), np.uint8),
    }[kind]
    with pytest.raises(ValueError, match=r"(item 0 is of type|got one) .*, expected a list of PIL images; gaplib"):
        mini.encode_images(images)
    assert mini.encode_images(iter([picture])).shape == (1, mini.dim)


@pytest.mark.parametrize("device", ["cuda", "cuda:17", "gpu", "", 3.5])
def test_a_device_that_is_not_there(device, monkeypatch):
    import torch

    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("it is there")
    with pytest.raises(ValueError, match="is not to be had: torch finds .* here; say 'auto' or 'cpu'"):
        encoders.load("mini-clip", device)


def test_minis_outside_a_clone(tmp_path, monkeypatch):
    gone = encoders.Source(tmp_path / "gone" / "mini-clip", None, "general", 32)
    monkeypatch.setitem(encoders.REGISTRY, "mini-clip", gone)
    monkeypatch.setattr(paths, "ENCODERS", tmp_path / "gone")
    with pytest.raises(OSError, match="come with a checkout .* .data/encoders/mini-clip.*GAPLIB_CHECKPOINTS"):
        encoders.load("mini-clip", "cpu")
    shutil.copytree(paths.REPO / "data" / "encoders" / "mini-clip", tmp_path / "mine" / "mini-clip")
    monkeypatch.setenv("GAPLIB_CHECKPOINTS", str(tmp_path / "mine"))
    assert encoders.load("mini-clip", "cpu").name == "mini-clip"


def test_without_the_model_libraries(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"this needs 'transformers': pip install \"gaplib\[encoders\]\""):
        encoders.load("mini-clip", "cpu")

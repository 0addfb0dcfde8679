"""Checkpoints with random weights, laid out as the hub lays out the four released encoders; tiny or of full size.

`make(folder, name)` for each of `NAMES`, and `GAPLIB_CHECKPOINTS=folder`, let `encoders.load(name)` work offline;
`make_cached(cache, name)` puts the same into a Hugging Face cache. Tokenizers know the words of `TEXTS` and the
letters; they are not fitted, as fitting breaks ties at random.
"""

import json
import re
import shutil

import torch
from safetensors.torch import save_file
from tokenizers import pre_tokenizers

from gaplib.encoders import REGISTRY
from gaplib.encoders.hub import SECOND

NAMES = ("clip", "siglip", "biomedclip", "medsiglip")
BERT = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"
TEXTS = [
    "No focal consolidation, pleural effusion or pneumothorax. Heart size is normal.",
    "Patient diagnosed via histo. Age: 45 years. Sex: male. Localization: lower extremity.",
    "Right eye, female, 62 years, diabetes for 10 years, uses insulin; no optic disc abnormality.",
    "what colour is the chair to the left of the table?",
    "two dogs run on a beach at dusk, a red bridge behind them",
    "egg, flour, butter, sugar, milk, salt, olive oil, tomato and onion",
    "0123456789 the quick brown fox jumps over the lazy dog!",
]
WORDS = list(dict.fromkeys(re.findall("[a-z]+", " ".join(TEXTS).lower())))
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
SIZES = {  # of the full models, as their configuration files have them
    "siglip": {"width": 768, "inner": 3072, "layers": 12, "heads": 12, "image": 384, "patch": 16},
    "medsiglip": {"width": 1152, "inner": 4304, "layers": 27, "heads": 16, "image": 448, "patch": 14},
}
TINY = {"width": 32, "inner": 64, "layers": 2, "heads": 2}


def make(folder, name, full=False, seed=0):
    """Write the checkpoint of one encoder to `folder/name`; BioMedCLIP's second repository beside it.

    Parameters
    ----------
    folder : Path
    name : str
        One of `NAMES`.
    full : bool
        The sizes of the released model; else a width of 32 and two layers.
    seed : int
        Of the weights.

    Returns
    -------
    Path
    """
    target = folder / name
    target.mkdir(parents=True)
    torch.manual_seed(seed)
    {"clip": _clip, "biomedclip": _biomedclip}.get(name, _siglip)(target, name, full)
    return target


def make_cached(cache, name):
    """The same in a Hugging Face cache, at the registry's revision; returns the snapshot's folder."""
    source = REGISTRY[name]
    made = make(cache / "made", name)
    (made.parent / BERT).mkdir(parents=True, exist_ok=True)
    snapshots = {source.place: (source.revision, made)}
    if name == "biomedclip":
        second, commit = SECOND[source.place]
        snapshots[second] = (commit, made.parent / second)
    for repository, (revision, files) in snapshots.items():
        cached(cache, files, repository, revision)
    return cache / f"models--{source.place.replace('/', '--')}" / "snapshots" / source.revision


MAP = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model", "AutoTokenizer": ["evil.Tokenizer", None]}
MAP |= {"AutoProcessor": "evil.Processor", "AutoImageProcessor": "evil.ImageProcessor"}
CODE, OWN = {"auto_map": MAP}, {"auto_map": MAP, "model_type": "own"}
TRUST = {"tokenizer_kwargs": {"trust_remote_code": True}}
EVIL = """
from pathlib import Path
import transformers
Path({mark!r}).touch()
class Config(transformers.BertConfig): pass
class Model(transformers.BertModel): pass
class Tokenizer(transformers.BertTokenizer): pass
class Processor(transformers.CLIPProcessor): pass
class ImageProcessor(transformers.CLIPImageProcessor): pass
"""


def _open_clip(**towers):
    return {"open_clip_config.json": {"model_cfg": towers}}


# What hostile checkpoints change: the one they start from, and entries of its files.
HOSTILE = {
    "open_clip trusts its tokenizer": ("biomedclip", _open_clip(text_cfg=TRUST) | {"tokenizer_config.json": CODE}),
    "open_clip trusts, without code": ("biomedclip", _open_clip(text_cfg=TRUST)),
    "open_clip tokenizer asks": ("biomedclip", {"tokenizer_config.json": CODE | {"tokenizer_class": "Own"}}),
    "open_clip text tower asks": ("biomedclip", {"config.json": OWN}),
    "open_clip text tower and tokenizer": ("biomedclip", {"config.json": OWN, "tokenizer_config.json": CODE}),
    "open_clip subfolder": ("biomedclip", _open_clip(text_cfg={"tokenizer_kwargs": {"subfolder": "../elsewhere"}})),
    "open_clip proxies": ("biomedclip", _open_clip(text_cfg={"tokenizer_kwargs": {"proxies": {"http": "evil"}}})),
    "open_clip vocabulary from elsewhere": (
        "biomedclip",
        _open_clip(text_cfg={"hf_tokenizer_name": None, "tokenizer_kwargs": {"bpe_path": "/etc/passwd"}}),
    ),
    "open_clip downloads nltk": (
        "biomedclip",
        _open_clip(text_cfg={"hf_tokenizer_name": None, "tokenizer_kwargs": {"reduction_mask": "syntax"}}),
    ),
    "open_clip config kwargs": (
        "biomedclip",
        _open_clip(text_cfg={"hf_model_config_kwargs": {"trust_remote_code": True}}),
    ),
    "open_clip unknown key": ("biomedclip", _open_clip(evil=1)),
    "open_clip unknown keyword": ("biomedclip", _open_clip(vision_cfg={"act_kwargs": {"evil": 1}})),
    "open_clip timm from the hub": ("biomedclip", _open_clip(vision_cfg={"timm_model_name": "hf-hub:evil/evil"})),
    "open_clip timm from a folder": ("biomedclip", _open_clip(vision_cfg={"timm_model_name": "local-dir:/evil"})),
    "open_clip kernel": ("biomedclip", {"config.json": {"model_type": "bert", "attn_implementation": "evil/kernel"}}),
    "transformers own model": ("siglip", {"config.json": OWN}),
    "transformers known model": ("siglip", {"config.json": CODE}),
    "transformers text tower": ("siglip", {"config.json": {"text_config": CODE}}),
    "transformers tokenizer": ("siglip", {"tokenizer_config.json": CODE | {"tokenizer_class": "Own"}}),
    "transformers old tokenizer": ("siglip", {"tokenizer_config.json": {"auto_map": ["evil.Tokenizer", None]}}),
    "transformers code elsewhere": ("siglip", {"config.json": {"auto_map": {"AutoModel": "evil/evil--evil.Model"}}}),
    "transformers processor": ("siglip", {"processor_config.json": CODE | {"processor_class": "Own"}}),
    "transformers images": ("siglip", {"preprocessor_config.json": CODE | {"image_processor_type": "Own"}}),
    "transformers everything": (
        "clip",
        {"config.json": OWN, "tokenizer_config.json": CODE, "processor_config.json": CODE},
    ),
    "transformers kernel": ("clip", {"config.json": {"attn_implementation": "evil/kernel"}}),
    "transformers kernel of a tower": ("clip", {"config.json": {"text_config": {"_attn_implementation": "evil/k"}}}),
    "transformers adapter": ("clip", {"adapter_config.json": {"base_model_name_or_path": "evil/evil"}}),
    "transformers pickled shard": (
        "clip",
        {"model.safetensors.index.json": {"metadata": {}, "weight_map": {"logit_scale": "pytorch_model.bin"}}},
    ),
    "transformers shard elsewhere": (
        "clip",
        {"model.safetensors.index.json": {"metadata": {}, "weight_map": {"logit_scale": "../x/model.safetensors"}}},
    ),
}


def hostile(folder, kind, mark):
    """A checkpoint that would have code of its own run, which touches the file `mark`; returns its folder."""
    base, changes = HOSTILE[kind]
    target = make(folder, base)
    (target / "evil.py").write_text(EVIL.format(mark=str(mark)))
    if base == "biomedclip":
        shutil.copy(folder / BERT / "config.json", target)
    for name, change in changes.items():
        path = target / name
        before = json.loads(path.read_text()) if path.is_file() else {}
        path.write_text(json.dumps(_merged(before, change)))
    return target


def _merged(before, change):
    """A JSON object with entries changed at any depth."""
    if not (isinstance(before, dict) and isinstance(change, dict)):
        return change
    return before | {key: _merged(before.get(key), value) for key, value in change.items()}


def cached(cache, folder, repository, commit="0" * 40):
    """Move a folder into a Hugging Face cache, as the main branch of a repository; returns the snapshot's folder."""
    home = cache / f"models--{repository.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(commit)
    return shutil.move(folder, home / "snapshots" / commit)


def _sized(model_class, config):
    """A model of a configuration; large ones are filled in place, which is faster than the libraries' own start."""
    with torch.device("meta"):
        model = model_class(config)
    return _filled(model.to_empty(device="cpu"))


def _filled(model):
    """The model with random weights: a million draws over and over, for a billion take half a minute."""
    state = model.state_dict()
    drawn = torch.randn(1_000_003, generator=torch.Generator().manual_seed(0))  # a prime: no two rows are alike
    for key, value in state.items():
        if key.endswith("position_ids"):
            value.copy_(torch.arange(value.shape[-1]))
        elif "norm" in key.lower() or "layrnorm" in key:
            value.fill_(float(key.endswith("weight")))
        elif value.is_floating_point():
            drawn = drawn.roll(9973)  # each layer its own
            flat = value.view(-1)
            for part in flat.split(len(drawn)):
                part.copy_(drawn[: len(part)])
            flat.mul_(0.02 if value.numel() > 1e5 else 0.1)
    return model


def _clip(folder, name, full):
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizerFast

    pieces = [(*word[:-1], f"{word[-1]}</w>") for word in WORDS]
    merges = dict.fromkeys(("".join(p[:i]), p[i]) for p in pieces for i in range(1, len(p)))
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = dict.fromkeys([*alphabet, *(f"{letter}</w>" for letter in alphabet), *map("".join, merges)])
    # As in the real vocabulary the end of a text is the highest number: the tower finds it by that.
    vocabulary = {word: i for i, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *map(" ".join, merges)]))
    tokenizer = CLIPTokenizerFast.from_pretrained(folder, model_max_length=77)
    image = 224 if full else 64
    ids = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}  # as on the hub: wrong, and known to be
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config=ids | ({} if full else small | {"vocab_size": len(vocabulary)}),
        vision_config={"image_size": image, "patch_size": 32} | ({} if full else small),
        projection_dim=512 if full else 32,
    )
    _sized(CLIPModel, config).save_pretrained(folder)
    images = CLIPImageProcessor(size={"shortest_edge": image}, crop_size={"height": image, "width": image})
    images.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _siglip(folder, name, full):
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel

    tokenizer = _sentencepiece(folder)
    size = SIZES[name] if full else TINY | {"image": 2 * SIZES[name]["patch"], "patch": SIZES[name]["patch"]}
    shared = {
        "hidden_size": size["width"],
        "intermediate_size": size["inner"],
        "num_hidden_layers": size["layers"],
        "num_attention_heads": size["heads"],
    }
    text = {"vocab_size": 32000 if full else len(tokenizer), "max_position_embeddings": 64}
    vision = {"image_size": size["image"], "patch_size": size["patch"]}
    _sized(SiglipModel, SiglipConfig(text_config=shared | text, vision_config=shared | vision)).save_pretrained(folder)
    images = SiglipImageProcessor(size={"height": size["image"], "width": size["image"]}, resample=3)
    images.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _sentencepiece(folder):
    """SigLIP's own tokenizer class on a SentencePiece model with the layout of its special tokens."""
    import sentencepiece
    from transformers import SiglipTokenizer

    model = folder / "spiece.model"
    with model.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([text.lower() for text in TEXTS]),
            model_writer=file,
            vocab_size=200,
            hard_vocab_limit=False,
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            minloglevel=2,
        )
    return SiglipTokenizer(str(model), model_max_length=64, model_input_names=["input_ids"])


def _biomedclip(folder, name, full):
    import open_clip
    from transformers import BertConfig, BertTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = [*special, *",.;:!?", *LETTERS, *(f"##{letter}" for letter in LETTERS), *WORDS]
    second = folder.parent / BERT
    second.mkdir(parents=True, exist_ok=True)
    for place in (folder, second):
        (place / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizerFast.from_pretrained(folder, do_lower_case=True).save_pretrained(folder)
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    bert = BertConfig() if full else BertConfig(vocab_size=len(vocabulary), **small)
    bert.save_pretrained(second)
    config = {
        "model_cfg": {
            "embed_dim": 512 if full else 32,
            "vision_cfg": {
                "timm_model_name": "vit_base_patch16_224" if full else "test_vit",
                "timm_model_pretrained": False,
                "timm_pool": "",
                "timm_proj": "linear",
                "image_size": 224 if full else 32,
            },
            "text_cfg": {
                "hf_model_name": BERT,
                "hf_tokenizer_name": BERT,
                "hf_proj_type": "mlp",
                "hf_pooler_type": "cls_last_hidden_state_pooler",
                "context_length": 256,
            },
        },
        "preprocess_cfg": {
            "mean": [0.48145466, 0.4578275, 0.40821073],
            "std": [0.26862954, 0.26130258, 0.27577711],
        },
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2))
    towers = config["model_cfg"]
    text = towers["text_cfg"] | {"hf_model_name": str(second), "hf_model_pretrained": False}
    model = _filled(open_clip.CustomTextCLIP(**towers | {"text_cfg": text}))
    save_file(model.state_dict(), folder / "open_clip_model.safetensors", metadata={"format": "pt"})

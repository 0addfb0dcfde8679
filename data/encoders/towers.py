"""Small untrained copies of the released architectures, saved exactly as the hub would hold them."""

import json
import math
import shutil

import torch

from gaplib.names import pick

WIDTH = 256  # of the towers and of the embeddings
HIDDEN = 384
HEADS = 4
IMAGE = 80
PATCH = 16
IMAGE_LAYERS = 3
TEXT_LAYERS = 2
WORDS = 3000
MEAN = STD = (0.5, 0.5, 0.5)
# Every byte that a word can end with. CLIP's unknown token is its end token, so an ending that its tokenizer did not
# know would cut a text there.
ENDINGS = [chr(code) for code in [*range(0x21, 0x7F), *range(0x4E00, 0x4E40)]]


def build(name, texts, context, folder, previous):
    """Write an untrained mini encoder into the new `folder`.

    Parameters
    ----------
    name : str
        One of `BUILDERS`.
    texts : list of str
        What the tokenizer learns its vocabulary from.
    context : int
        Tokens per text.
    folder : Path
    previous : Path
        Where an earlier one may be, whose tokenizer is kept: fitting a tokenizer breaks ties at random, so a mini can
        only be trained the same way again with the tokenizer it had.
    """
    builder = pick(BUILDERS, name, "mini encoder")
    folder.mkdir(parents=True)
    for kept in previous.glob("tokenizer*.json"):
        shutil.copy(kept, folder)
    builder(texts, context, folder)


def _tokenizer(folder, fit):
    """The tokenizer that the folder holds already, or a fitted one."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder) if (folder / "tokenizer.json").is_file() else fit()


def _towers(vocabulary, context):
    shared = {
        "hidden_size": WIDTH,
        "intermediate_size": HIDDEN,
        "num_attention_heads": HEADS,
    }
    vision = {"num_hidden_layers": IMAGE_LAYERS, "image_size": IMAGE, "patch_size": PATCH}
    text = {"num_hidden_layers": TEXT_LAYERS, "vocab_size": vocabulary, "max_position_embeddings": context}
    return shared | text, shared | vision


def _clip(texts, context, folder):
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

    seed = {"<|startoftext|>": 0, "<|endoftext|>": 1}
    untrained = CLIPTokenizer(vocab=seed, merges=[])
    fitted_to = texts + ENDINGS
    tokenizer = _tokenizer(folder, lambda: untrained.train_new_from_iterator(fitted_to, WORDS, show_progress=False))
    tokenizer.model_max_length = context
    text, vision = _towers(len(tokenizer), context)
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = CLIPConfig(
        text_config=text | ids | {"pad_token_id": tokenizer.pad_token_id},
        vision_config=vision,
        projection_dim=WIDTH,
    )
    images = CLIPImageProcessor(size={"shortest_edge": IMAGE}, crop_size={"height": IMAGE, "width": IMAGE})
    CLIPModel(config).save_pretrained(folder)
    CLIPProcessor(image_processor=images, tokenizer=tokenizer).save_pretrained(folder)


def _unigram(texts, context):
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.Unigram())
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    # SigLIP pads with its end token, so the end token comes first and serves as both.
    trainer = trainers.UnigramTrainer(
        vocab_size=WORDS, special_tokens=["</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="</s>", pad_token="</s>", unk_token="<unk>", model_max_length=context
    )


def _siglip(texts, context, folder):
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel, SiglipProcessor

    tokenizer = _tokenizer(folder, lambda: _unigram(texts, context))
    text, vision = _towers(len(tokenizer), context)
    ids = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    images = SiglipImageProcessor(size={"height": IMAGE, "width": IMAGE})
    model = SiglipModel(SiglipConfig(text_config=text | ids, vision_config=vision))
    # The paper's start (Zhai et al. 2023): most pairs do not match, and from a bias of 0 it takes long to learn that.
    torch.nn.init.constant_(model.logit_scale, math.log(10))
    torch.nn.init.constant_(model.logit_bias, -10)
    model.save_pretrained(folder)
    SiglipProcessor(image_processor=images, tokenizer=tokenizer).save_pretrained(folder)
    # transformers 5 writes a class that 4 does not know; both know this one.
    settings = folder / "tokenizer_config.json"
    known = json.loads(settings.read_text()) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    settings.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")


def _biomedclip(texts, context, folder):
    import open_clip
    from safetensors.torch import save_file
    from transformers import BertConfig, BertTokenizer

    seed = {token: i for i, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])}
    untrained = BertTokenizer(vocab=seed)
    tokenizer = _tokenizer(folder, lambda: untrained.train_new_from_iterator(texts, WORDS, show_progress=False))
    tokenizer.model_max_length = context
    tokenizer.save_pretrained(folder)
    text, _ = _towers(len(tokenizer), context)
    BertConfig(
        **text, pad_token_id=tokenizer.pad_token_id, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    ).save_pretrained(folder)
    model_cfg = {
        "embed_dim": WIDTH,
        "vision_cfg": {
            "timm_model_name": "test_vit4",
            "timm_model_pretrained": False,
            "timm_pool": "",
            "timm_proj": "linear",
            "image_size": IMAGE,
        },
        "text_cfg": {
            "hf_model_name": str(folder),
            "hf_tokenizer_name": ".",
            "hf_model_pretrained": False,
            "hf_proj_type": "mlp",
            "hf_pooler_type": "cls_last_hidden_state_pooler",
            "context_length": context,
        },
    }
    model = open_clip.CustomTextCLIP(**model_cfg)
    model_cfg["text_cfg"]["hf_model_name"] = "."
    preprocess = {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "shortest"}
    config = {"model_cfg": model_cfg, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2))
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")


BUILDERS = {
    "mini-clip": _clip,
    "mini-siglip": _siglip,
    "mini-biomedclip": _biomedclip,
    "mini-medsiglip": _siglip,
}

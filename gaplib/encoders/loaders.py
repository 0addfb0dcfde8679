"""From a folder with a checkpoint to its towers, by transformers or by open_clip; never by code of the checkpoint.

`pixels`, `tokens` and `lengths` are functions of this module with their first arguments filled in, so that they can be
sent to worker processes; torch and the model libraries are imported when a checkpoint is loaded.
"""

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from PIL import Image

from gaplib.encoders import hub, trust
from gaplib.names import pick

# Families whose text tower takes no mask: CLIP's is causal and pools the end of the text, which comes before the
# padding; SigLIP's was trained to see its padding (Zhai et al. 2023), and a mask would change its embeddings.
UNMASKED = ("clip", "siglip")
HERE = {"local_files_only": True, "trust_remote_code": False}
PROBES = ("lung", "skin", "left", "blue", "bird", "bone")  # of one length: to a tokenizer of no words they are one


class Towers(NamedTuple):
    """What `encoders.Encoder` is made of; the fields mean the same."""

    model: Any
    context: int
    preprocessing: str
    pixels: Callable
    tokens: Callable
    lengths: Callable
    image_tower: Callable
    text_tower: Callable
    dim: int = 0
    precision: str = "float32"


def load(checkpoint: hub.Checkpoint, context: int | None, device: str, precision: str) -> Towers:
    """Towers of a checkpoint in evaluation mode.

    Parameters
    ----------
    checkpoint : hub.Checkpoint
    context : int or None
        Tokens that a text is padded and cut to; None: as the checkpoint says.
    device, precision : str

    Raises
    ------
    ValueError
        If the checkpoint asks for code or files from elsewhere, is no dual encoder, or gives all texts one embedding.
    """
    import torch

    with trust.guarded():
        read = {"transformers": _from_transformers, "open_clip": _from_open_clip}[checkpoint.library]
        towers = read(checkpoint, context)
    if towers.pixels([Image.new("RGB", (8, 8))]).ndim != 4:
        raise ValueError(f"{type(towers.model).__name__} takes images of many sizes, which is not supported")
    towers.model.to(device).eval()
    image = _at(precision, device, towers.image_tower)
    text = _at(precision, device, towers.text_tower)
    tokens = towers.tokens(PROBES)
    with torch.inference_mode():
        rows = text(tokens.to(device))
    if (tokens == tokens[0]).all() or torch.allclose(rows, rows[:1]):
        raise ValueError(f"it embeds {', '.join(PROBES)} alike: the files of its tokenizer are missing or another's")
    preprocessing = f"{towers.preprocessing} of tokenizer {hub.digest(checkpoint.folder, hub.TOKENIZER)}"
    return towers._replace(
        preprocessing=preprocessing, dim=rows.shape[1], precision=precision, image_tower=image, text_tower=text
    )


def pick_precision(precision: str, device: str) -> str:
    """The name of a torch dtype; "auto" is float32 on a CPU, bfloat16 on a GPU that has it, else float16."""
    if precision != "auto":
        return pick(("float32", "bfloat16", "float16"), precision, "precision")
    if not str(device).startswith("cuda"):
        return "float32"
    import torch

    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


def _at(precision, device, tower):
    """A tower whose sums are of this precision."""
    import torch

    if precision == "float32":
        return tower

    def autocast(batch):
        with torch.autocast(torch.device(device).type, getattr(torch, precision)):
            return tower(batch)

    return autocast


def _from_transformers(checkpoint, context):
    """Towers of any transformers model with `get_image_features` and `get_text_features`."""
    import torch
    from transformers import AutoModel, AutoProcessor

    trust.check_files(checkpoint.folder.glob("*config*.json"))
    trust.check_weights(checkpoint.folder)
    model, report = AutoModel.from_pretrained(
        checkpoint.folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **HERE
    )
    if not (hasattr(model, "get_image_features") and hasattr(model, "get_text_features")):
        raise ValueError(f"{type(model).__name__} is not a dual encoder")
    if missing := sorted(report["missing_keys"]):  # transformers would leave these at random
        raise ValueError(f"it lacks {len(missing)} weights of {type(model).__name__}, such as {missing[0]}")
    processor = AutoProcessor.from_pretrained(checkpoint.folder, **HERE)
    tokenizer = processor.tokenizer
    images = processor.image_processor
    context = context or min(model.config.text_config.max_position_embeddings, tokenizer.model_max_length)
    masked = model.config.model_type not in UNMASKED
    plain = _plain(tokenizer.all_special_tokens)
    return Towers(
        model=model,
        context=context,
        preprocessing=f"{images.to_json_string()} {type(tokenizer).__name__} {context} tokens",
        pixels=partial(_pixels, images),
        tokens=partial(_tokens, tokenizer, plain, context, masked),
        lengths=partial(_lengths, tokenizer, plain),
        image_tower=lambda pixels: _tensor(model.get_image_features(pixel_values=pixels)),
        text_tower=partial(_text, model, masked, tokenizer.pad_token_id),
    )


def _plain(special):
    """A function that takes a tokenizer's special tokens out of a text, which would end, pad or mask it there."""
    marks = [re.escape(token) for token in special if len(token) > 2]  # some pad with "!", which texts may hold
    return partial(re.compile("|".join(marks) or "(?!)", re.IGNORECASE).sub, " ")


def _pixels(processor, images):
    return processor(images, return_tensors="pt")["pixel_values"]


def _tokens(tokenizer, plain, context, masked, texts):
    """Token numbers (n, context); numbers and mask (n, 2, context) where the text tower takes a mask."""
    import torch

    # max_length for every family: SigLIP pools its last token without a mask, so padding must not vary.
    batch = tokenizer(
        [plain(text) for text in texts], padding="max_length", max_length=context, truncation=True, return_tensors="pt"
    )
    return torch.stack([batch["input_ids"], batch["attention_mask"]], 1) if masked else batch["input_ids"]


def _lengths(tokenizer, plain, texts):
    rows = tokenizer([plain(text) for text in texts], verbose=False)["input_ids"]
    return [len(row) for row in rows]


def _text(model, masked, padding, tokens):
    if masked:
        ids, mask = _without_padding(tokens, tokens[:, 1] == 1).unbind(1)
        return _tensor(model.get_text_features(input_ids=ids, attention_mask=mask))
    if model.config.model_type == "clip":
        tokens = _without_padding(tokens, tokens != padding)
    return _tensor(model.get_text_features(input_ids=tokens))


def _without_padding(tokens, real):
    """Tokens without the last columns in which no row has a `real` one: they cost time and change nothing.

    One such column is left, as padding may be the very token that ends a text.
    """
    return tokens[..., : int(real.any(0).nonzero().max()) + 2]


def _tensor(output):
    # transformers 5 wraps the features in an output object; transformers 4 returned the tensor itself.
    return getattr(output, "pooler_output", output)


def _from_open_clip(checkpoint, context):
    """Towers of any open_clip model; its transform and tokenizer always come with it."""
    import open_clip

    config = json.loads((checkpoint.folder / "open_clip_config.json").read_text())["model_cfg"]
    trust.check_open_clip(config)
    text = config["text_cfg"]
    spec = f"local-dir:{checkpoint.folder}"
    if text.get("hf_model_name"):
        trust.check_files([checkpoint.text_folder / "config.json"])
        # open_clip alone would look the text tower up on the hub, at whatever revision is there now.
        text = text | {"hf_model_name": str(checkpoint.text_folder), "hf_model_pretrained": False}
    model, _, transform = open_clip.create_model_and_transforms(
        spec, load_weights=False, pretrained_text=False, text_cfg=text
    )
    open_clip.load_checkpoint(model, min(checkpoint.folder.glob(hub.WEIGHTS["open_clip"])))
    context = context or text.get("context_length", 77)
    tokenizer = _open_clip_tokenizer(checkpoint.folder, spec, text, context)
    plain = _plain(_special_tokens(tokenizer))
    return Towers(
        model=model,
        context=context,
        preprocessing=f"{transform} {type(tokenizer).__name__} {context} tokens",
        pixels=partial(_stacked, transform),
        tokens=partial(_open_clip_tokens, tokenizer, plain),
        lengths=partial(_open_clip_lengths, tokenizer, plain),
        image_tower=model.encode_image,
        text_tower=partial(_open_clip_text, model) if text.get("hf_model_name") else model.encode_text,
    )


def _open_clip_tokenizer(folder, spec, text, context):
    """open_clip's own tokenizer, or one of transformers, which gets no chance to run code."""
    import open_clip

    if not text.get("hf_tokenizer_name"):
        return open_clip.get_tokenizer(spec, context_length=context)
    trust.check_files(folder.glob("tokenizer_config.json"))
    return open_clip.get_tokenizer(spec, context_length=context, **HERE)


def _special_tokens(tokenizer):
    if hasattr(tokenizer, "tokenizer"):
        return tokenizer.tokenizer.all_special_tokens
    return [tokenizer.decoder[number] for number in tokenizer.all_special_ids]


def _open_clip_tokens(tokenizer, plain, texts):
    return tokenizer([_open_clip_plain(tokenizer, plain, text) for text in texts])


def _open_clip_plain(tokenizer, plain, text):
    """The text without special tokens, which may appear only when open_clip has cleaned it."""
    cleaned = tokenizer.clean_fn(text)
    rest = plain(cleaned)
    return text if rest == cleaned else rest


def _open_clip_text(model, tokens):
    return model.encode_text(_without_padding(tokens, tokens != model.text.config.pad_token_id))


def _stacked(transform, images):
    import torch

    return torch.stack([transform(image) for image in images])


def _open_clip_lengths(tokenizer, plain, texts):
    if hasattr(tokenizer, "tokenizer"):
        return _lengths(tokenizer.tokenizer, plain, [tokenizer.clean_fn(text) for text in texts])
    texts = [_open_clip_plain(tokenizer, plain, text) for text in texts]
    return [len(tokenizer.encode(text)) + 2 for text in texts]  # CLIP's own: encode leaves start and end out

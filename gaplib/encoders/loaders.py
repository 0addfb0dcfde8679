"""From a folder with a checkpoint to its towers, by transformers or by open_clip; never by code of the checkpoint.

`pixels`, `tokens` and `lengths` are functions of this module with their first arguments filled in, so that they can be
sent to worker processes; torch and the model libraries are imported when a checkpoint is loaded.
"""

import json
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from PIL import Image

from gaplib.names import pick

# Families whose text tower takes no mask: CLIP's is causal and pools the end of the text, which comes before the
# padding; SigLIP's was trained to see its padding (Zhai et al. 2023), and a mask would change its embeddings.
UNMASKED = ("clip", "siglip")


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


def load(checkpoint, context, device, precision):
    """Towers of a checkpoint in evaluation mode.

    Parameters
    ----------
    checkpoint : hub.Checkpoint
    context : int or None
        Tokens that a text is padded and cut to; None: as the checkpoint says.
    device, precision : str

    Returns
    -------
    Towers
    """
    import torch

    towers = {"transformers": _from_transformers, "open_clip": _from_open_clip}[checkpoint.library](checkpoint, context)
    if towers.pixels([Image.new("RGB", (8, 8))]).ndim != 4:
        raise ValueError(f"{type(towers.model).__name__} takes images of many sizes, which is not supported")
    towers.model.to(device).eval()
    image, text = (_at(precision, device, tower) for tower in (towers.image_tower, towers.text_tower))
    with torch.inference_mode():
        dim = text(towers.tokens(["a"]).to(device)).shape[1]
    return towers._replace(dim=dim, precision=precision, image_tower=image, text_tower=text)


def pick_precision(precision, device):
    """The name of a torch dtype; "auto" is float32 on a CPU, bfloat16 on a GPU that has it, else float16."""
    if precision != "auto":
        return pick({name: name for name in ("float32", "bfloat16", "float16")}, precision, "precision")
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

    here = {"local_files_only": True, "trust_remote_code": False}
    model, report = AutoModel.from_pretrained(
        checkpoint.folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **here
    )
    if not (hasattr(model, "get_image_features") and hasattr(model, "get_text_features")):
        raise ValueError(f"{type(model).__name__} is not a dual encoder")
    if missing := sorted(report["missing_keys"]):  # transformers would leave these at random
        raise ValueError(f"it lacks {len(missing)} weights of {type(model).__name__}, such as {missing[0]}")
    processor = AutoProcessor.from_pretrained(checkpoint.folder, **here)
    images, tokenizer = processor.image_processor, processor.tokenizer
    context = context or min(model.config.text_config.max_position_embeddings, tokenizer.model_max_length)
    masked = model.config.model_type not in UNMASKED
    return Towers(
        model=model,
        context=context,
        preprocessing=f"{images.to_json_string()} {type(tokenizer).__name__} {context} tokens",
        pixels=partial(_pixels, images),
        tokens=partial(_tokens, tokenizer, context, masked),
        lengths=partial(_lengths, tokenizer),
        image_tower=lambda pixels: _tensor(model.get_image_features(pixel_values=pixels)),
        text_tower=partial(_text, model, masked, tokenizer.pad_token_id),
    )


def _pixels(processor, images):
    return processor(images, return_tensors="pt")["pixel_values"]


def _tokens(tokenizer, context, masked, texts):
    """Token numbers (n, context); numbers and mask (n, 2, context) where the text tower takes a mask."""
    import torch

    # max_length for every family: SigLIP pools its last token without a mask, so padding must not vary.
    batch = tokenizer(list(texts), padding="max_length", max_length=context, truncation=True, return_tensors="pt")
    return torch.stack([batch["input_ids"], batch["attention_mask"]], 1) if masked else batch["input_ids"]


def _lengths(tokenizer, texts):
    return [len(ids) for ids in tokenizer(list(texts), verbose=False)["input_ids"]]


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

    text = json.loads((checkpoint.folder / "open_clip_config.json").read_text())["model_cfg"]["text_cfg"]
    spec, overrides = f"local-dir:{checkpoint.folder}", {}
    if "hf_model_name" in text:
        # open_clip alone would look the text tower up on the hub, at whatever revision is there now.
        here = {"hf_model_name": str(checkpoint.text_folder), "hf_model_pretrained": False}
        overrides = {"text_cfg": text | here}
    model, _, transform = open_clip.create_model_and_transforms(spec, **overrides)
    context = context or text.get("context_length", 77)
    tokenizer = open_clip.get_tokenizer(spec, context_length=context)
    return Towers(
        model=model,
        context=context,
        preprocessing=f"{transform} {type(tokenizer).__name__} {context} tokens",
        pixels=partial(_stacked, transform),
        tokens=tokenizer,
        lengths=partial(_open_clip_lengths, tokenizer),
        image_tower=model.encode_image,
        text_tower=partial(_open_clip_text, model) if "hf_model_name" in text else model.encode_text,
    )


def _open_clip_text(model, tokens):
    return model.encode_text(_without_padding(tokens, tokens != model.text.config.pad_token_id))


def _stacked(transform, images):
    import torch

    return torch.stack([transform(image) for image in images])


def _open_clip_lengths(tokenizer, texts):
    if hasattr(tokenizer, "tokenizer"):
        return _lengths(tokenizer.tokenizer, [tokenizer.clean_fn(text) for text in texts])
    return [len(tokenizer.encode(text)) + 2 for text in texts]  # CLIP's own: encode leaves start and end out

"""From a folder with a checkpoint to its towers, by transformers or by open_clip; never by code of the checkpoint.

`pixels`, `tokens` and `lengths` are functions of this module with their first arguments filled in, so that they can be
sent to worker processes; torch and the model libraries are imported when a checkpoint is loaded.
"""

import re
from functools import partial
from typing import Any

from PIL import Image

from gaplib.encoders import hub, trust
from gaplib.names import extra

# Families whose text tower takes no mask: CLIP's is causal and pools the end of the text, which comes before the
# padding; SigLIP's was trained to see its padding (Zhai et al. 2023), and a mask would change its embeddings.
UNMASKED = ("clip", "siglip")
HERE = {"local_files_only": True, "trust_remote_code": False}
PROBES = ("lung", "skin", "left", "blue", "bird", "bone")  # of one length: to a tokenizer of no words they are one


def load(
    checkpoint: hub.Checkpoint, context: int | None, device: str, precision: str, bilinear: bool = False
) -> dict[str, Any]:
    """The fields of `encoders.Encoder` that a checkpoint gives; `context` None: as many tokens as it says."""
    for library in ("transformers", checkpoint.library):
        extra(library, "encoders")
    loader = {"transformers": _from_transformers, "open_clip": _from_open_clip}[checkpoint.library]
    try:
        with trust.guarded():
            fields = loader(checkpoint, context)
            fields |= _bilinear(**fields) if bilinear else {}
            return fields | _settings(fields, checkpoint, device, precision)
    # The libraries raise a dozen kinds of errors for a folder that is not what it should be.
    except Exception as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise OSError(f"{checkpoint.library} cannot load {checkpoint.folder}: {why}") from error


def _settings(fields, checkpoint, device, precision):
    """The fields that hold for both libraries, of a model that was tried on an image and some texts."""
    import torch

    model = fields["model"].to(device).eval()
    if fields["pixels"]([Image.new("RGB", (8, 8))]).ndim != 4:
        raise ValueError(f"{type(model).__name__} takes images of many sizes, which is not supported")
    text_tower = _at(precision, device, fields["text_tower"])
    tokens = fields["tokens"](PROBES)
    with torch.inference_mode():
        embeddings = text_tower(tokens.to(device))
    if (tokens == tokens[0]).all() or torch.allclose(embeddings, embeddings[:1]):
        raise ValueError(f"it embeds {', '.join(PROBES)} alike: the files of its tokenizer are missing or another's")
    return {
        "preprocessing": f"{fields['preprocessing']} of tokenizer {hub.digest(checkpoint.folder, hub.TOKENIZER)}",
        "dim": embeddings.shape[1],
        "precision": precision,
        "image_tower": _at(precision, device, fields["image_tower"]),
        "text_tower": text_tower,
    }


def _at(precision, device, tower):
    """A tower whose sums are of this precision."""
    import torch

    if precision == "float32":
        return tower
    return torch.autocast(torch.device(device).type, getattr(torch, precision))(tower)


def _from_transformers(checkpoint, context):
    """Fields of any transformers model with `get_image_features` and `get_text_features`."""
    from transformers import AutoProcessor

    model = _transformers_model(checkpoint.folder)
    processor = AutoProcessor.from_pretrained(checkpoint.folder, **HERE)
    tokenizer = processor.tokenizer
    images = processor.image_processor
    context = context or min(model.config.text_config.max_position_embeddings, tokenizer.model_max_length)
    masked = model.config.model_type not in UNMASKED
    plain = _plain(tokenizer.all_special_tokens)
    return {
        "model": model,
        "context": context,
        "preprocessing": f"{images.to_json_string()} {type(tokenizer).__name__} {context} tokens",
        "pixels": partial(_pixels, images),
        "tokens": partial(_tokens, tokenizer, plain, context, masked),
        "lengths": partial(_lengths, tokenizer, plain),
        "image_tower": lambda pixels: _tensor(model.get_image_features(pixel_values=pixels)),
        "text_tower": partial(_text, model, masked, tokenizer.pad_token_id),
    }


def _transformers_model(folder):
    """A whole dual encoder, or a ValueError."""
    import torch
    from transformers import AutoModel

    trust.check_files([*folder.glob("*config*.json"), *folder.glob("*.index.json")])
    model, report = AutoModel.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **HERE
    )
    if not (hasattr(model, "get_image_features") and hasattr(model, "get_text_features")):
        raise ValueError(f"{type(model).__name__} is not a dual encoder")
    if missing := sorted(report["missing_keys"]):  # transformers would leave these at random
        raise ValueError(f"it lacks {len(missing)} weights of {type(model).__name__}, such as {missing[0]}")
    return model


def _plain(special, clean=str):
    """A function that takes a tokenizer's special tokens out of a clean text, which would end, pad or mask it there."""
    marks = [re.escape(token) for token in special if len(token) > 2]  # some pad with "!", which texts may hold
    return partial(_without, re.compile("|".join(marks) or "(?!)", re.IGNORECASE), clean)


def _without(marks, clean, text):
    return marks.sub(" ", clean(text))


def _pixels(processor, images):
    return processor(images, return_tensors="pt")["pixel_values"]


def _bilinear(pixels, preprocessing, **_):
    """The fields of an encoder of transformers that change where images are resized before its processor sees them."""
    (processor,) = pixels.args
    size = (processor.size["height"], processor.size["width"])
    return {
        "pixels": partial(_pixels_of_resized, processor, size),
        "preprocessing": f"bilinear to {size} without antialiasing, then {preprocessing}",
    }


def _pixels_of_resized(processor, size, images):
    """Of images that tf.image.resize makes by default, cut to whole numbers: bilinear between centres of pixels."""
    height, width = size
    resized = []
    for image in images:
        whole = (0, 0, *image.size)
        resized.append(image.transform((width, height), Image.Transform.EXTENT, whole, Image.Resampling.BILINEAR))
    return _pixels(processor, resized)


def _tokens(tokenizer, plain, context, masked, texts):
    """Token numbers (n, context); numbers and mask (n, 2, context) where the text tower takes a mask."""
    import torch

    texts = [plain(text) for text in texts]
    # max_length for every family: SigLIP pools its last token without a mask, so padding must not vary.
    batch = tokenizer(texts, padding="max_length", max_length=context, truncation=True, return_tensors="pt")
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
    """Fields of any open_clip model; its transform and tokenizer always come with it."""
    import open_clip

    config = hub.model_cfg(checkpoint.folder)
    trust.check_open_clip(config)
    text = config["text_cfg"]
    model, transform = _open_clip_model(checkpoint, text)
    context = context or text.get("context_length", 77)
    theirs = HERE if text.get("hf_tokenizer_name") else {}  # a tokenizer of transformers
    trust.check_files(checkpoint.folder.glob("tokenizer_config.json"))
    tokenizer = open_clip.get_tokenizer(f"local-dir:{checkpoint.folder}", context_length=context, **theirs)
    plain = _plain(_special_tokens(tokenizer), tokenizer.clean_fn)
    return {
        "model": model,
        "context": context,
        "preprocessing": f"{transform} {type(tokenizer).__name__} {context} tokens",
        "pixels": partial(_stacked, transform),
        "tokens": partial(_open_clip_tokens, tokenizer, plain),
        "lengths": partial(_open_clip_lengths, tokenizer, plain),
        "image_tower": model.encode_image,
        "text_tower": partial(_open_clip_text, model) if text.get("hf_model_name") else model.encode_text,
    }


def _open_clip_model(checkpoint, text):
    """A model with the weights of its folder, and the transform that it takes images by."""
    import open_clip

    if text.get("hf_model_name"):
        trust.check_files([checkpoint.text_folder / "config.json"])
        # open_clip alone would look the text tower up on the hub, at whatever revision is there now.
        text = text | {"hf_model_name": str(checkpoint.text_folder), "hf_model_pretrained": False}
    model, _, transform = open_clip.create_model_and_transforms(
        f"local-dir:{checkpoint.folder}", load_weights=False, pretrained_text=False, text_cfg=text
    )
    open_clip.load_checkpoint(model, min(checkpoint.folder.glob(hub.WEIGHTS["open_clip"])))
    return model, transform


def _special_tokens(tokenizer):
    if hasattr(tokenizer, "tokenizer"):  # one of transformers inside
        return tokenizer.tokenizer.all_special_tokens
    return [tokenizer.decoder[number] for number in tokenizer.all_special_ids]


def _open_clip_tokens(tokenizer, plain, texts):
    return tokenizer([plain(text) for text in texts])


def _open_clip_lengths(tokenizer, plain, texts):
    if hasattr(tokenizer, "tokenizer"):
        return _lengths(tokenizer.tokenizer, plain, texts)
    return [len(tokenizer.encode(plain(text))) + 2 for text in texts]  # CLIP's own: encode leaves start and end out


def _open_clip_text(model, tokens):
    return model.encode_text(_without_padding(tokens, tokens != model.text.config.pad_token_id))


def _stacked(transform, images):
    import torch

    return torch.stack([transform(image) for image in images])

"""Frozen dual encoders by name: PIL images and strings in, unit-norm float32 rows out.

A new encoder is one line in `REGISTRY`: its loader (`transformers` or `open_clip`), its checkpoint (a hub name, or a
folder in the same format) and its context length. torch and the model libraries are imported when one is loaded.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gaplib import paths
from gaplib.names import pick

BATCH = 64


class Source(NamedTuple):
    """Where an encoder comes from: loader, checkpoint, domain, and the tokens a text is padded and cut to."""

    loader: str
    checkpoint: str | Path
    domain: str
    context: int


REGISTRY = {
    "mini-clip": Source("transformers", paths.ENCODERS / "mini-clip", "general", 32),
    "mini-siglip": Source("transformers", paths.ENCODERS / "mini-siglip", "general", 32),
    "mini-biomedclip": Source("open_clip", paths.ENCODERS / "mini-biomedclip", "medical", 64),
    "mini-medsiglip": Source("transformers", paths.ENCODERS / "mini-medsiglip", "medical", 64),
    "clip": Source("transformers", "openai/clip-vit-base-patch32", "general", 77),
    "siglip": Source("transformers", "google/siglip-base-patch16-384", "general", 64),
    "biomedclip": Source("open_clip", "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224", "medical", 256),
    "medsiglip": Source("transformers", "google/medsiglip-448", "medical", 64),
}


@dataclass(frozen=True)
class Encoder:
    """A frozen image tower and text tower.

    `pixels` turns PIL images into the tensor the image tower reads, `tokens` turns strings into the tensors the
    text tower reads; `image_tower` and `text_tower` return raw (not normalised) embeddings. `model` is the
    module behind both. All texts are padded to the same length, so an embedding does not depend on its batch.
    """

    name: str
    dim: int
    checkpoint: str
    preprocessing: str
    model: Any = field(repr=False)
    pixels: Callable = field(repr=False)
    tokens: Callable = field(repr=False)
    image_tower: Callable = field(repr=False)
    text_tower: Callable = field(repr=False)
    lengths: Callable = field(repr=False)
    context: int
    precision: str = "float32"

    @property
    def spec(self):
        return self.name

    def encode_images(self, images):
        """Unit-norm float32 embeddings of shape (n, dim) of a list of PIL images."""
        return self._encode([image.convert("RGB") for image in images], self.pixels, self.image_tower, "image")

    def encode_texts(self, texts):
        """Unit-norm float32 embeddings of shape (n, dim) of a list of strings."""
        return self._encode(list(texts), self.tokens, self.text_tower, "text")

    def _encode(self, items, prepare, tower, kind):
        import torch

        device = next(self.model.parameters()).device
        rows = [np.empty((0, self.dim), np.float32)]
        with torch.inference_mode():
            for start in range(0, len(items), BATCH):
                batch = prepare(items[start : start + BATCH]).to(device)
                rows.append(tower(batch).float().cpu().numpy())
        return _normalise(np.concatenate(rows), f"{self.name}: {kind}")


def stored_name(spec):
    """The name that an encoder's features go by."""
    return spec


def load(name, device="auto", precision="auto"):
    """Load an encoder of `REGISTRY` by name, in evaluation mode.

    Parameters
    ----------
    name : str
        One of `REGISTRY`.
    device : str
        A torch device, or "auto": the first GPU when there is one.

    Raises
    ------
    ValueError
        If the name is unknown (with the near matches).
    FileNotFoundError
        If a committed checkpoint's folder is missing.
    OSError
        If a released checkpoint is neither in the cache nor within reach (names what is needed).
    """
    source = pick(REGISTRY, name, "encoder")
    if isinstance(source.checkpoint, Path) and not source.checkpoint.is_dir():
        raise FileNotFoundError(f"encoder {name!r}: no folder {source.checkpoint}; make it with `make encoders`")
    try:
        return LOADERS[source.loader](name, source, pick_device(device))
    except OSError as error:
        also = " (and the repository of its text tower's tokenizer)" if source.loader == "open_clip" else ""
        raise OSError(
            f"encoder {name!r}: cannot load {source.checkpoint}{also}; it must be in the Hugging Face cache or within "
            f"reach, and a gated one needs `hf auth login` ({str(error).splitlines()[0]})"
        ) from error


def pick_device(device):
    """A torch device name; "auto" is the first GPU when there is one."""
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


def _normalise(rows, what):
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    bad = np.flatnonzero(~(np.isfinite(norms[:, 0]) & (norms[:, 0] > 0)))
    if len(bad):
        raise ValueError(f"{what} {bad[0]} has an embedding of norm {norms[bad[0], 0]}: it cannot be normalised")
    return rows / norms


def _tensor(output):
    # transformers 5 wraps the features in an output object; transformers 4 returned the tensor itself.
    return getattr(output, "pooler_output", output)


def _load_transformers(name, source, device):
    import torch
    from transformers import AutoModel, AutoProcessor

    model = AutoModel.from_pretrained(source.checkpoint, dtype=torch.float32).to(device).eval()
    processor = AutoProcessor.from_pretrained(source.checkpoint)
    tokenizer, dim = processor.tokenizer, _tensor(_probe_text(model, source)).shape[1]

    def tokens(texts):
        # max_length for every family: SigLIP pools its last token without a mask, so padding must not vary.
        batch = tokenizer(texts, padding="max_length", max_length=source.context, truncation=True, return_tensors="pt")
        return batch["input_ids"]

    return Encoder(
        name=name,
        dim=dim,
        checkpoint=_where(source.checkpoint),
        preprocessing=f"{processor.image_processor.to_json_string()} {source.context} tokens",
        model=model,
        pixels=lambda images: processor.image_processor(images, return_tensors="pt")["pixel_values"],
        tokens=tokens,
        image_tower=lambda pixels: _tensor(model.get_image_features(pixel_values=pixels)),
        text_tower=lambda ids: _tensor(model.get_text_features(input_ids=ids)),
        lengths=lambda texts: [len(ids) for ids in tokenizer(texts, truncation=False, verbose=False)["input_ids"]],
        context=source.context,
    )


def _probe_text(model, source):
    import torch

    ids = torch.zeros((1, source.context), dtype=torch.long, device=model.device)
    with torch.inference_mode():
        return model.get_text_features(input_ids=ids)


def _load_open_clip(name, source, device):
    import json

    import open_clip
    import torch

    local = isinstance(source.checkpoint, Path)
    spec, overrides = f"{'local-dir' if local else 'hf-hub'}:{source.checkpoint}", {}
    if local:
        # The text tower's configuration stands in the same folder; open_clip alone would look it up on the hub.
        text_cfg = json.loads((source.checkpoint / "open_clip_config.json").read_text())["model_cfg"]["text_cfg"]
        overrides = {"text_cfg": text_cfg | {"hf_model_name": str(source.checkpoint), "hf_model_pretrained": False}}
    model, _, transform = open_clip.create_model_and_transforms(spec, **overrides)
    tokenizer = open_clip.get_tokenizer(spec, context_length=source.context)
    model = model.to(device).eval()
    return Encoder(
        name=name,
        dim=model.visual.head.proj.out_features,
        checkpoint=_where(source.checkpoint),
        preprocessing=f"{transform} {source.context} tokens",
        model=model,
        pixels=lambda images: torch.stack([transform(image) for image in images]),
        tokens=tokenizer,
        image_tower=model.encode_image,
        text_tower=model.encode_text,
        lengths=lambda texts: [len(ids) for ids in tokenizer.tokenizer(texts, verbose=False)["input_ids"]],
        context=source.context,
    )


LOADERS = {"transformers": _load_transformers, "open_clip": _load_open_clip}


def _where(checkpoint):
    """A checkpoint as a feature file names it: the hub's name, or a committed folder and the digest of its files."""
    if not isinstance(checkpoint, Path):
        return checkpoint
    import hashlib

    files = sorted(path for path in checkpoint.iterdir() if path.suffix in (".safetensors", ".json"))
    return f"{checkpoint.name}@{hashlib.sha256(b''.join(path.read_bytes() for path in files)).hexdigest()[:12]}"

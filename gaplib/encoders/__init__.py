"""Frozen dual encoders by name: PIL images and strings in, unit-norm float32 rows out; no code of a checkpoint is run.

Besides the names of `REGISTRY`, any dual encoder that transformers or open_clip can load::

    hf:ORG/REPOSITORY[@REVISION]  a repository of the hub, of either library
    open_clip:ARCHITECTURE/TAG    weights that open_clip lists, such as
                                  open_clip:ViT-B-16/laion2b_s34b_b88k
    local:FOLDER                  a folder in the format of either library

A new name is one line in `REGISTRY`: a hub repository and its revision (or a committed folder), domain and context
length. torch and the model libraries are imported when one is loaded.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from gaplib import paths, rows
from gaplib.encoders import hub, loaders
from gaplib.names import extra, pick

__all__ = ["REGISTRY", "Encoder", "domain", "load", "pick_device", "stored_name"]

BATCH = 64


class Source(NamedTuple):
    """Where an encoder comes from; `context` is the tokens a text is padded and cut to (None: as its files say).

    `bilinear`: images are resized as in MedSigLIP's own evaluations, before its processor sees them.
    """

    place: str | Path
    revision: str | None
    domain: str
    context: int | None
    bilinear: bool = False


REGISTRY = {
    "mini-clip": Source(paths.ENCODERS / "mini-clip", None, "general", 32),
    "mini-siglip": Source(paths.ENCODERS / "mini-siglip", None, "general", 32),
    "mini-biomedclip": Source(paths.ENCODERS / "mini-biomedclip", None, "medical", 64),
    "mini-medsiglip": Source(paths.ENCODERS / "mini-medsiglip", None, "medical", 64),
    # Commits that public code pins. CLIP's main branch (3d74acf) holds pickled weights only: this is the whole tree of
    # the conversion that transformers itself falls back on, refs/pr/66 (as in turhancan97/krasnal-id). SigLIP's is that
    # of embeddings-benchmark/mteb, MedSigLIP's of yzy542968-jpg/wqf7023-medical-rag, BioMedCLIP's of
    # 0c00012/ClueGround, each among others. BioMedCLIP's weights are pickled there, and converted once.
    "clip": Source("openai/clip-vit-base-patch32", "c237dc49a33fc61debc9276459120b7eac67e7ef", "general", 77),
    "siglip": Source("google/siglip-base-patch16-384", "41aec1c83b32e0a6fca20ad88ba058aa5b5ea394", "general", 64),
    "biomedclip": Source(
        "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
        "9f341de24bfb00180f1b847274256e9b65a3a32e",
        "medical",
        256,
    ),
    "medsiglip": Source("google/medsiglip-448", "9cea28a1a1195f665105faa6e8544c112fd960a4", "medical", 64),
    "medsiglip-card": Source(
        "google/medsiglip-448", "9cea28a1a1195f665105faa6e8544c112fd960a4", "medical", 64, bilinear=True
    ),
}
FORMS = ("hf:ORG/REPOSITORY", "open_clip:ARCHITECTURE/TAG", "local:FOLDER")


@dataclass(frozen=True, eq=False, repr=False)
class Encoder:
    """A frozen image tower and text tower.

    Attributes
    ----------
    name, spec : str
        What embeddings are stored under, safe as a file name; what `load` takes to load it again.
    dim, context : int
        Width of the embeddings; tokens that a text is padded and cut to, so that it does not depend on its batch.
    checkpoint, preprocessing : str
        Repository and commit, or folder and digest; what becomes of images and texts, with the tokenizer's digest.
    precision : str
        "float32", "bfloat16" or "float16": of the sums inside; embeddings are float32 always.
    model : torch.nn.Module
    pixels, tokens, lengths : callable
        From PIL RGB images to a float tensor (n, 3, height, width); from strings to a tensor, one row a text; from
        strings to their tokens before cutting, special ones included. Can be sent to a worker process.
    image_tower, text_tower : callable
        From such a tensor, on the model's device, to raw embeddings (n, dim), not normalised.
    """

    name: str
    spec: str
    dim: int
    checkpoint: str
    preprocessing: str
    precision: str
    context: int
    model: Any
    pixels: Callable
    tokens: Callable
    lengths: Callable
    image_tower: Callable
    text_tower: Callable

    def __repr__(self):
        return f"Encoder({self.spec!r}, {self.checkpoint}, {self.dim} wide, {self.precision} on {self.device})"

    @property
    def device(self):
        """The torch device of the model."""
        return next(self.model.parameters()).device

    def encode_images(self, images: Iterable[Image.Image]) -> np.ndarray:
        """Unit-norm float32 embeddings of shape (n, dim) of a list of PIL images."""
        images = _list_of(images, Image.Image, "PIL images; gaplib.datasets.pairs.open_image makes them")
        return self._encode([image.convert("RGB") for image in images], self.pixels, self.image_tower, "image")

    def encode_texts(self, texts: Iterable[str]) -> np.ndarray:
        """Unit-norm float32 embeddings of shape (n, dim) of a list of strings."""
        texts = _list_of(texts, str, "strings; fill in or leave out what is missing")
        for row, text in enumerate(texts):
            if half := re.search("[\ud800-\udfff]", text):
                raise ValueError(f"text {row} has half a character, {half[0]!r}: it was read with a wrong encoding")
        return self._encode(texts, self.tokens, self.text_tower, "text")

    def _encode(self, items, prepare, tower, kind):
        import torch

        parts = [np.empty((0, self.dim), np.float32)]
        with torch.inference_mode():
            for start in range(0, len(items), BATCH):
                batch = prepare(items[start : start + BATCH]).to(self.device)
                parts.append(tower(batch).float().cpu().numpy())
        return rows.normalise(np.concatenate(parts), f"{self.name}, {kind} embeddings")


def _list_of(items, kind, wanted):
    """`items` as a list of which each is of one kind."""
    if isinstance(items, str | bytes | bytearray | kind) or not isinstance(items, Iterable):
        raise ValueError(f"got one {type(items).__name__}, expected a list of {wanted}")
    items = list(items)
    for row, item in enumerate(items):
        if not isinstance(item, kind):
            raise ValueError(f"item {row} is of type {type(item).__name__}, expected a list of {wanted}")
    return items


def load(spec: str, device: str = "auto", precision: str = "auto") -> Encoder:
    """Load an encoder, in evaluation mode.

    Parameters
    ----------
    spec : str
        One of `REGISTRY`, or another in one of `FORMS`. A folder in `GAPLIB_CHECKPOINTS`, named after the encoder or
        `ORG/REPOSITORY`, goes before the hub and its cache. MedSigLIP's card says that it was evaluated on images
        resized without antialiasing, which its processor does not do: `medsiglip` takes the processor,
        `medsiglip-card` the resize of the card.
    device : str
        A torch device, or "auto": the first GPU when there is one.
    precision : str
        "float32", "bfloat16" or "float16", or "auto": float32 on a CPU, bfloat16 on a GPU that has it, else float16.

    Returns
    -------
    Encoder

    Raises
    ------
    ValueError
        If the name, device or precision is unknown (with the near matches) or not to be had.
    OSError
        If the checkpoint cannot be had, is gated, pickled, asks for code of its own, or is not a dual encoder.
    ImportError
        If the model libraries are not installed.
    """
    name = stored_name(spec)
    source = _source(spec)
    device = pick_device(device)
    precision = pick_precision(precision, device)
    try:
        checkpoint = hub.find(name, source.place, source.revision)
        fields = loaders.load(checkpoint, source.context, device, precision, source.bilinear)
    except (OSError, ValueError) as error:
        raise OSError(f"encoder {name!r}: {error}") from error
    spec = f"local:{source.place}" if spec.startswith("local:") else spec
    return Encoder(name=name, spec=spec, checkpoint=checkpoint.label, **fields)


def stored_name(spec: str) -> str:
    """The name under which embeddings of an encoder are stored, told without loading it.

    Of a folder it is the folder's own name: two of one name are told apart by `Encoder.checkpoint` only.

    Examples
    --------
    >>> stored_name("clip"), stored_name("hf:laion/CLIP-ViT-B-16@main"), stored_name("local:some/where/mine")
    ('clip', 'hf-laion-CLIP-ViT-B-16-main', 'local-mine')
    """
    if str(spec).startswith("local:"):
        spec = f"local-{_source(spec).place.name}"
    return re.sub(r"[^\w.-]+", "-", str(spec))


def domain(spec: str) -> str:
    """ "medical" or "general", by `REGISTRY`; of an encoder that is not in it, "general".

    Examples
    --------
    >>> domain("biomedclip"), domain("hf:org/name")
    ('medical', 'general')
    """
    return REGISTRY[spec].domain if spec in REGISTRY else "general"


def pick_device(device: str) -> str:
    """A torch device name, or a ValueError if it is not here; "auto" is the first GPU when there is one."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except Exception as error:  # torch raises three kinds for the ways in which a device is not there
        gpus = torch.cuda.device_count()
        raise ValueError(
            f"device {device!r} is not to be had: torch finds {gpus or 'no'} GPU{'s' * (gpus > 1)} here; say 'auto' or "
            "'cpu', or install a torch that fits the GPU's driver"
        ) from error
    return device


def pick_precision(precision: str, device: str) -> str:
    """The name of a torch dtype; "auto" is float32 on a CPU, bfloat16 on a GPU that has it, else float16."""
    if precision != "auto":
        return pick(("float32", "bfloat16", "float16"), precision, "precision")
    if not str(device).startswith("cuda"):
        return "float32"
    import torch

    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


def _source(spec):
    if spec in REGISTRY:
        return REGISTRY[spec]
    scheme, _, rest = str(spec).partition(":")
    if rest and scheme == "local":
        return Source(Path(rest).expanduser().resolve(), None, "general", None)
    if rest and scheme == "hf":
        repository, _, revision = rest.partition("@")
        return Source(repository, revision or "main", "general", None)
    if rest and scheme == "open_clip":
        return _listed_by_open_clip(rest)
    return pick([*REGISTRY, *FORMS], spec, "encoder")  # which is none: an error with the nearest


def _listed_by_open_clip(listed):
    open_clip = extra("open_clip", "encoders")
    architecture, _, tag = listed.partition("/")
    pick(open_clip.list_models(), architecture, "open_clip architecture")
    pick(open_clip.list_pretrained_tags_by_model(architecture), tag, f"open_clip weights of {architecture}:")
    repository = open_clip.get_pretrained_cfg(architecture, tag)["hf_hub"]
    return Source("/".join(repository.split("/")[:2]), "main", "general", None)

"""What a checkpoint may tell the model libraries: known keys only, and nothing that would run code or ask for it."""

import json
import logging
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

OPEN_CLIP = ("embed_dim", "vision_cfg", "text_cfg", "multimodal_cfg", "custom_text", "quick_gelu", "output_dict")
LOGITS = ("init_logit_scale", "init_logit_bias", "nonscalar_logit_scale")
KEYWORDS = {"tokenizer_kwargs": ("clean", "strip_sep_token"), "act_kwargs": ("approximate",), "norm_kwargs": ("eps",)}


@contextmanager
def guarded() -> Iterator[None]:
    """The model libraries say nothing, and raise where they would ask on standard input whether to run code."""
    from transformers import dynamic_module_utils as remote_code
    from transformers.utils import logging as transformers_logging

    before = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    disabled = logging.root.manager.disable
    seconds = remote_code.TIME_OUT_REMOTE_CODE
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.disable(logging.WARNING)
    remote_code.TIME_OUT_REMOTE_CODE = 0  # to answer in: transformers then raises at once
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        remote_code.TIME_OUT_REMOTE_CODE = seconds
        logging.disable(disabled)
        transformers_logging.set_verbosity(before)
        if bars:
            transformers_logging.enable_progress_bar()


def check_files(paths: Iterable[Path]) -> None:
    """Raise if a configuration of transformers names code, or anything else outside its own folder, at any depth."""
    for path in paths:
        for key, value in _entries(json.loads(path.read_text())):
            if key == "auto_map":
                raise ValueError(
                    f"{path.name} asks for code of its own (auto_map), and code of a checkpoint is never run; if it "
                    "works without, load a copy without that entry by local:FOLDER"
                )
            if key == "base_model_name_or_path" or (key.endswith("attn_implementation") and "/" in str(value)):
                raise ValueError(f"{path.name} asks for something outside its own folder: {key} {value!r}")


def check_weights(folder: Path) -> None:
    """Raise if the index of a sharded checkpoint names anything but safetensors of its own folder."""
    for index in folder.glob("*.safetensors.index.json"):
        for name in set(json.loads(index.read_text())["weight_map"].values()):
            if not re.fullmatch(r"[\w.-]+\.safetensors", name):
                raise ValueError(f"{index.name} names {name!r}, which is no safetensors file of its own folder")


def check_open_clip(model: dict[str, Any]) -> None:
    """Raise if the `model_cfg` of open_clip holds a key that is not known, or an image tower from elsewhere."""
    from open_clip import CLIPTextCfg, CLIPVisionCfg
    from open_clip.coca_model import MultimodalCfg

    _check_keys(model, "model_cfg", (*OPEN_CLIP, *LOGITS))
    for tower, known in (("vision_cfg", CLIPVisionCfg), ("text_cfg", CLIPTextCfg), ("multimodal_cfg", MultimodalCfg)):
        said = model.get(tower) or {}
        _check_keys(said, tower, [field.name for field in fields(known)])
        for name, keywords in KEYWORDS.items():
            _check_keys(said.get(name) or {}, f"{tower} {name}", keywords)
    timm = model["vision_cfg"].get("timm_model_name") or "none"
    if not re.fullmatch(r"[\w.]+", timm):
        raise ValueError(f"open_clip_config.json: timm_model_name {timm!r} is no name of an architecture")


def _check_keys(said, where, known):
    if unknown := sorted(set(said) - set(known)):
        raise ValueError(
            f"open_clip_config.json: {where} has {', '.join(unknown)}, and of what a checkpoint says only known keys "
            f"are passed on to a library: {', '.join(known)}"
        )


def _entries(value):
    """Keys and values of a JSON value, at any depth."""
    if isinstance(value, list):
        for inner in value:
            yield from _entries(inner)
    elif isinstance(value, dict):
        yield from value.items()
        yield from _entries(list(value.values()))

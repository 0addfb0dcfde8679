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

TOWERS = ("vision_cfg", "text_cfg", "multimodal_cfg")
MODEL = ("embed_dim", "custom_text", "quick_gelu", "init_logit_scale", "init_logit_bias", "nonscalar_logit_scale")
KEYWORDS = {"tokenizer_kwargs": ("clean", "strip_sep_token"), "act_kwargs": ("approximate",), "norm_kwargs": ("eps",)}


@contextmanager
def guarded() -> Iterator[None]:
    """The model libraries say nothing, and raise where they would ask on standard input whether to run code."""
    from transformers import dynamic_module_utils as remote_code
    from transformers.utils import logging as transformers_logging

    bars = transformers_logging.is_progress_bar_enabled()
    disabled = logging.root.manager.disable
    seconds = remote_code.TIME_OUT_REMOTE_CODE  # to answer in; of 0, transformers raises at once
    transformers_logging.disable_progress_bar()
    logging.disable(logging.WARNING)
    remote_code.TIME_OUT_REMOTE_CODE = 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        remote_code.TIME_OUT_REMOTE_CODE = seconds
        logging.disable(disabled)
        if bars:
            transformers_logging.enable_progress_bar()


def check_files(paths: Iterable[Path]) -> None:
    """Raise if a configuration for transformers names code, or files of another place, at any depth."""
    for path in paths:
        for key, value in _entries(json.loads(path.read_text())):
            if key == "auto_map":
                raise ValueError(
                    f"{path.name} asks for code of its own (auto_map), and code of a checkpoint is never run; if it "
                    "works without, load a copy without that entry by local:FOLDER"
                )
            if _is_elsewhere(key, value):
                raise ValueError(f"{path.name} asks for more than safetensors of its own folder: {key} {value!r:.100}")


def check_open_clip(model: dict[str, Any]) -> None:
    """Raise if the `model_cfg` of open_clip holds a key that is not known, or an image tower from elsewhere."""
    from open_clip import CLIPTextCfg, CLIPVisionCfg
    from open_clip.coca_model import MultimodalCfg

    _check_keys(model, "model_cfg", (*MODEL, *TOWERS))
    for name, known in zip(TOWERS, (CLIPVisionCfg, CLIPTextCfg, MultimodalCfg), strict=True):
        tower = model.get(name) or {}
        _check_keys(tower, name, [field.name for field in fields(known)])
        for keywords, allowed in KEYWORDS.items():
            _check_keys(tower.get(keywords) or {}, f"{name} {keywords}", allowed)
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


def _is_elsewhere(key, value):
    """Whether an entry names an adapter's base, a kernel of the hub, or shards that are not safetensors beside it."""
    if key.endswith("attn_implementation"):
        return "/" in str(value)
    if key == "weight_map":
        return not all(re.fullmatch(r"[\w.-]+\.safetensors", name) for name in value.values())
    return key == "base_model_name_or_path"

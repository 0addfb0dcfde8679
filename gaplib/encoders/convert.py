"""Pickled weights, read once without running code and kept as safetensors beside them."""

import hashlib
import os
import zipfile
from pathlib import Path

from gaplib import paths

# SHA-256 of pickled weights that are known, by the repository that publishes them.
DIGESTS = {
    "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224": (
        "52cc993c5c5ff962bd0c60931874bc001e7e9b41666a385530f4a036294576be"
    ),
}


def trusted() -> bool:
    """Whether the user says that pickled weights of any digest may be read, as weights only."""
    return os.environ.get("GAPLIB_CONVERT") == "1"


def convert(pickled: list[Path], target: Path) -> None:
    """Write the weights of pickled files, plain or under `state_dict`, to one safetensors file, whole or not at all."""
    from safetensors.torch import save_file

    weights = {}
    for path in pickled:
        _check_digest(path)
        weights |= _weights(path)
    print(f"{', '.join(path.name for path in pickled)}: kept as {target}, once")
    try:
        with paths.whole(target) as unfinished:
            save_file(weights, unfinished, metadata={"format": "pt"})
    except Exception as error:  # safetensors has an error of its own for a disk that is full
        raise OSError(f"cannot write {target} ({error}): make room, or put a copy where it can be written") from error


def _check_digest(path):
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest not in DIGESTS.values() and not trusted():
        raise OSError(
            f"{path} is pickled, which can run code, and its digest is not known (sha256 {digest}). If you trust who "
            "made it, set GAPLIB_CONVERT=1: it is then read once, as weights only, and kept as safetensors"
        )


def _weights(path):
    """The tensors of a pickled file by name, read by torch's reader that runs nothing."""
    import torch

    try:
        # Files from before torch 1.6 are no archives and cannot be mapped.
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        state = loaded.get("state_dict", loaded)
        tensors = {name: value for name, value in state.items() if torch.is_tensor(value)}
    except Exception as error:  # whatever unpickling ends with
        why = " ".join(str(error).split())
        raise OSError(f"{path} does not hold weights alone, so it is not read: {why:.200}") from error
    # Each a copy: safetensors takes no two names for one memory.
    return {name: value.clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}

"""Where a checkpoint lies: a folder of yours, or the Hugging Face cache; or one message that says how to get it.

Looked into in this order: `GAPLIB_CHECKPOINTS/NAME`, `GAPLIB_CHECKPOINTS/ORG/REPOSITORY`, the cache (`HF_HOME`,
`HF_HUB_CACHE`), the hub itself unless `HF_HUB_OFFLINE=1`. Whichever it is, what is loaded is a folder: as
`hf download ORG/REPOSITORY --local-dir FOLDER` leaves it. Only safetensors are loaded; `convert` makes them of weights
that are pickled.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from gaplib import paths
from gaplib.encoders import convert
from gaplib.names import extra

SMALL = ("*.json", "*.txt", "*.model")  # configurations, tokenizers
WEIGHTS = {"transformers": "model*.safetensors", "open_clip": "open_clip_*model.safetensors"}
CONVERTED = {"transformers": "model.safetensors", "open_clip": "open_clip_model.safetensors"}
PICKLED = {"transformers": "pytorch_model*.bin", "open_clip": "open_clip_pytorch_model.bin"}
PICKLES = (".bin", ".pt", ".pth")
VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "*.model")  # a tokenizer has one of them
TOKENIZER = (*VOCABULARIES, "tokenizer_config.json", "merges.txt", "special_tokens_map.json", "added_tokens.json")
READ = (*SMALL, "*.safetensors")
# The second repository that BioMedCLIP needs, at the commit that is pinned in public with BioMedCLIP's own.
SECOND = {
    "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224": (
        "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
        "d673b8835373c6fa116d6d8006b33d48734e305d",
    )
}


class Checkpoint(NamedTuple):
    """A folder; its library; where its text tower's configuration lies; repository and commit, or folder and digest."""

    folder: Path
    library: str
    text_folder: Path
    label: str


def find(name: str, place: Path | str, revision: str | None) -> Checkpoint:
    """The checkpoint at a place (a folder, or `org/name` of the hub), downloaded and converted if need be and possible.

    An OSError says what to do where there is none, it may not be had, or lacks files.
    """
    own = _own_folder(name, place)
    folder = own or _download(place, revision)
    library = _library(folder)
    if not any(folder.glob(WEIGHTS[library])):
        convert.convert(_pickled(folder, library), folder / CONVERTED[library])
    label = f"{own.name}@{digest(own, READ)}" if own else f"{place}@{folder.name}"  # a snapshot is named by its commit
    text = model_cfg(folder)["text_cfg"] if library == "open_clip" else {}
    if library == "transformers" or text.get("hf_tokenizer_name"):
        _check_tokenizer(folder, text.get("hf_tokenizer_name"))
    second = text.get("hf_model_name")
    config = folder / "config.json"
    if not second or (config.is_file() and "model_type" in json.loads(config.read_text())):
        return Checkpoint(folder, library, folder, label)
    text_folder, text_label = _text_tower(second, place, folder)
    return Checkpoint(folder, library, text_folder, f"{label} + {text_label}")


def model_cfg(folder: Path) -> dict[str, Any]:
    """What an open_clip checkpoint says about its model, with a dictionary each for `vision_cfg` and `text_cfg`."""
    path = folder / "open_clip_config.json"
    try:
        model = json.loads(path.read_text())["model_cfg"]
        return model | {tower: dict(model[tower]) for tower in ("vision_cfg", "text_cfg")}
    except (ValueError, KeyError, TypeError) as error:
        raise OSError(f"{path} describes no model: it lacks model_cfg with vision_cfg and text_cfg") from error


def digest(folder: Path, patterns: tuple[str, ...]) -> str:
    """Of the names and contents of the files of a folder that match, in order of their names."""
    total = hashlib.sha256()
    for path in sorted(path for pattern in patterns for path in folder.glob(pattern)):
        with path.open("rb") as file:
            total.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()[:12]


def _own_folder(name, place):
    """The folder that a place or `GAPLIB_CHECKPOINTS` names, or None."""
    if not isinstance(place, Path):
        return _under_root(name, place)
    if place.is_dir():
        return place
    if place.parent != paths.ENCODERS:
        raise FileNotFoundError(f"there is no folder {place}")
    if place.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {place}; make it with `make encoders`")
    if own := _under_root(name):
        return own
    raise FileNotFoundError(
        f"the mini encoders come with a checkout of the repository (data/encoders/{name}), not with the package: get "
        "one and set GAPLIB_CHECKPOINTS=CHECKOUT/data/encoders"
    )


def _under_root(*names):
    """The first folder of one of these names in `GAPLIB_CHECKPOINTS`, or None."""
    if not (root := os.environ.get("GAPLIB_CHECKPOINTS")):
        return None
    root = Path(root).expanduser().resolve()
    if not root.is_dir():
        raise FileNotFoundError(f"GAPLIB_CHECKPOINTS is {root}, and there is no such folder")
    return next((root / name for name in names if (root / name).is_dir()), None)


def _library(folder):
    """ "open_clip" or "transformers", told by the files of a folder."""
    if (folder / "open_clip_config.json").is_file():
        return "open_clip"
    if (folder / "config.json").is_file():
        return "transformers"
    raise OSError(f"{folder} is not a checkpoint: it has neither open_clip_config.json nor config.json")


def _pickled(folder, library):
    """The pickled weights of a folder that has no others."""
    named = sorted(folder.glob(PICKLED[library]))
    pickled = named or sorted(path for path in folder.iterdir() if path.suffix in PICKLES)
    if not pickled:
        raise OSError(f"{folder} has no weights: there is no {CONVERTED[library]}")
    if not named and len(pickled) > 1:
        several = ", ".join(path.name for path in pickled)
        raise OSError(f"{folder} has no {CONVERTED[library]}, and several pickled files ({several}): leave one of them")
    return pickled


def _check_tokenizer(folder, source):
    """Without a vocabulary the libraries make a tokenizer that knows no word, and every text is embedded alike."""
    has_words = any(path for pattern in VOCABULARIES for path in folder.glob(pattern))
    if not has_words or (source and not (folder / "tokenizer_config.json").is_file()):
        raise OSError(
            f"{folder} lacks the tokenizer: copy tokenizer.json, tokenizer_config.json and vocab.txt, as far as they "
            f"exist, of {source or 'its repository'} into it, or complete it with `hf download`"
        )


def _text_tower(second, place, folder):
    """Folder and label of the repository whose config.json describes the text tower of another."""
    try:
        if own := _under_root(second):
            return own, f"{own.name}@{digest(own, READ)}"
        revision = dict(SECOND.values()).get(second, "main")
        found = _snapshot(second, revision, ("config.json",))
        if not (found / "config.json").is_file():
            raise OSError(_uncached(second, revision))
        return found, f"{second}@{found.name}"
    except OSError as error:
        raise OSError(
            f"{place} needs a second repository, {second}, for the configuration of its text tower; a copy of that "
            f"one's config.json in {folder} will do ({error})"
        ) from error


def _download(repository, revision):
    """The folder of a snapshot with configuration, tokenizer and weights; pickled ones only where they may be."""
    extra("transformers", "encoders")  # which brings huggingface_hub
    from huggingface_hub import constants

    folder = _snapshot(repository, revision, SMALL)
    here = {path.suffix for path in folder.iterdir()}
    if constants.HF_HUB_OFFLINE and not (".json" in here and here & {".safetensors", *PICKLES}):
        raise OSError(_uncached(repository, revision))  # half a snapshot
    library = _library(folder)
    folder = _snapshot(repository, revision, (*SMALL, WEIGHTS[library]))
    if any(folder.glob(WEIGHTS[library])) or any(folder.glob(PICKLED[library])):
        return folder
    if not (repository in convert.DIGESTS or convert.trusted()):
        raise OSError(
            f"{repository} at {revision} has no {CONVERTED[library]}. Pickled weights ({PICKLED[library]}) can run "
            "code, and are fetched only where their digest is known; if you trust who made these, set GAPLIB_CONVERT=1"
        )
    return _snapshot(repository, revision, (*SMALL, PICKLED[library]))


def _snapshot(repository, revision, patterns):
    """The folder of a revision in the cache, with the files of these patterns."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(patterns)))
    # Whatever the hub, the network or the disk answers, the reader gets one message; the cause stays chained.
    except Exception as error:
        raise OSError(_why(error, repository, revision)) from error


def _uncached(repository, revision):
    from huggingface_hub import constants

    cut = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "the hub cannot be reached"
    wanted = [(repository, revision)]
    if repository in SECOND:
        wanted.append(SECOND[repository])
    commands = " and ".join(f"`hf download {needed} --revision {commit}`" for needed, commit in wanted)
    return (
        f"{repository} at {revision} is not, or not wholly, in the cache {constants.HF_HUB_CACHE}, and {cut}: run "
        f"{commands} where there is a network, or put a copy of the repository into a folder and name it by "
        "GAPLIB_CHECKPOINTS"
    )


def _why(error, repository, revision):
    """What the hub's answer means, and what to do about it."""
    from huggingface_hub import errors, get_token

    page = f"https://huggingface.co/{repository}"
    status = getattr(getattr(error, "response", None), "status_code", 0)
    if isinstance(error, errors.GatedRepoError):
        has = "the token in use is not of an account that was let in" if get_token() else "there is no token"
        return f"{repository} is gated, and {has}: accept its terms at {page}, then run `hf auth login` or set HF_TOKEN"
    if status == 401 and get_token():
        return f"the hub does not accept the token in use: run `hf auth login` anew, or correct HF_TOKEN ({repository})"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{repository} has no revision {revision}: see {page}/commits"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"{page} does not exist, or is private: if it is yours, run `hf auth login` or set HF_TOKEN"
    if isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled):
        return _uncached(repository, revision)
    return f"cannot get {repository} at {revision} ({' '.join(str(error).split()) or type(error).__name__})"

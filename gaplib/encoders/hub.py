"""Where a checkpoint lies: a folder of yours, or the Hugging Face cache; or one message that says how to get it.

Looked into in this order: `GAPLIB_CHECKPOINTS/NAME`, `GAPLIB_CHECKPOINTS/ORG/REPOSITORY`, the cache (`HF_HOME`,
`HF_HUB_CACHE`), the hub itself unless `HF_HUB_OFFLINE=1`. Whichever it is, what is loaded is a folder: as
`hf download ORG/REPOSITORY --local-dir FOLDER` leaves it. Only safetensors are downloaded and read.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import NamedTuple

from gaplib import paths

SMALL = ("*.json", "*.txt", "*.model")  # configurations, tokenizers
WEIGHTS = {"transformers": "model*.safetensors", "open_clip": "open_clip_model.safetensors"}
PICKLED = {"transformers": "pytorch_model.bin", "open_clip": "open_clip_pytorch_model.bin"}
PICKLES = (".bin", ".pt", ".pth")
READ = (".safetensors", ".json", ".txt", ".model")
# The second repository that BioMedCLIP needs, at the commit that is pinned in public with BioMedCLIP's own.
SECOND = {"microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract": "d673b8835373c6fa116d6d8006b33d48734e305d"}


class Checkpoint(NamedTuple):
    """A folder with a checkpoint; its library; where the configuration of its text tower lies; and what it is.

    `label` names repository and commit, or a folder and the digest of its files.
    """

    folder: Path
    library: str
    text_folder: Path
    label: str


def find(name, place, revision):
    """The checkpoint of an encoder, downloaded if need be and possible.

    Parameters
    ----------
    name : str
        Of the encoder.
    place : Path or str
        A folder, or a repository of the hub, `org/name`.
    revision : str or None
        Of the repository: a commit, branch or tag.

    Returns
    -------
    Checkpoint

    Raises
    ------
    OSError
        If there is none, it may not be had, or its weights are pickled; the message says what to do.
    """
    folder = place if isinstance(place, Path) else _own(name, place)
    if folder is None:
        folder = _snapshot(name, place, revision, SMALL)
        _check_cached(name, folder, place, revision)
        library = _library(name, folder)
        folder = _snapshot(name, place, revision, (*SMALL, WEIGHTS[library]))
        label = f"{place}@{folder.name}"  # the cache names a snapshot after its commit
    elif folder.is_dir():
        library, label = _library(name, folder), f"{folder.name}@{_digest(folder)}"
    else:
        hint = "; make it with `make encoders`" if folder.parent == paths.ENCODERS else ""
        raise FileNotFoundError(f"encoder {name!r}: there is no folder {folder}{hint}")
    if not any(folder.glob(WEIGHTS[library])):
        raise OSError(_no_weights(name, library, folder, place, revision))
    if library == "transformers":
        return Checkpoint(folder, library, folder, label)
    return Checkpoint(folder, library, *_text_tower(name, place, folder, label))


def _text_tower(name, place, folder, label):
    """Where the configuration of an open_clip text tower lies, and the label of all: often in a second repository."""
    text = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]["text_cfg"]
    second, tokenizer, config = text.get("hf_model_name"), text.get("hf_tokenizer_name"), folder / "config.json"
    if tokenizer and not (folder / "tokenizer_config.json").is_file():
        raise OSError(
            f"encoder {name!r}: {folder} lacks the tokenizer: copy tokenizer.json, tokenizer_config.json and "
            f"vocab.txt, as far as they exist, of {tokenizer} into it"
        )
    if not second or (config.is_file() and "model_type" in json.loads(config.read_text())):
        return folder, label
    try:
        if (own := _own(second, second)) is not None:
            return own, f"{label} + {own.name}@{_digest(own)}"
        revision = SECOND.get(second, "main")
        found = _snapshot(name, second, revision, ("config.json",))
        if not (found / "config.json").is_file():
            raise OSError(_uncached(second, revision))
        return found, f"{label} + {second}@{found.name}"
    except OSError as error:
        why = str(error).removeprefix(f"encoder {name!r}: ")
        raise OSError(
            f"encoder {name!r}: {place} needs a second repository, {second}, for the configuration of its text tower; "
            f"a copy of that one's config.json in {folder} will do ({why})"
        ) from error


def _library(name, folder):
    """ "open_clip" or "transformers", told by the files of a folder."""
    if (folder / "open_clip_config.json").is_file():
        return "open_clip"
    if (folder / "config.json").is_file():
        return "transformers"
    raise OSError(
        f"encoder {name!r}: {folder} is not a checkpoint: it has neither open_clip_config.json nor config.json"
    )


def _own(name, repository):
    """The folder of an encoder in `GAPLIB_CHECKPOINTS`, or None."""
    if not (root := os.environ.get("GAPLIB_CHECKPOINTS")):
        return None
    root = Path(root).expanduser().resolve()
    if not root.is_dir():
        raise FileNotFoundError(f"encoder {name!r}: GAPLIB_CHECKPOINTS is {root}, and there is no such folder")
    return next((folder for folder in (root / name, root / repository) if folder.is_dir()), None)


def _snapshot(name, repository, revision, patterns):
    """The folder of a revision in the cache, with the files of these patterns."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(patterns)))
    # Whatever the hub, the network or the disk answers, the reader gets one message; the cause stays chained.
    except Exception as error:
        raise OSError(f"encoder {name!r}: {_why(error, repository, revision)}") from error


def _check_cached(name, folder, repository, revision):
    """Refuse half a snapshot that cannot be completed: older versions of the hub's library let it pass."""
    from huggingface_hub import constants

    here = {path.suffix for path in folder.iterdir()}
    if constants.HF_HUB_OFFLINE and not (".json" in here and here & {".safetensors", *PICKLES}):
        raise OSError(f"encoder {name!r}: {_uncached(repository, revision)}")


def _uncached(repository, revision):
    from huggingface_hub import constants

    cut = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "the hub cannot be reached"
    return (
        f"{repository} at {revision} is not, or not wholly, in the cache {constants.HF_HUB_CACHE}, and {cut}: run "
        f"`hf download {repository} --revision {revision}` where there is a network, or put a copy of the repository "
        "into a folder and name it by GAPLIB_CHECKPOINTS"
    )


def _why(error, repository, revision):
    from huggingface_hub import errors, get_token

    page, status = f"https://huggingface.co/{repository}", getattr(getattr(error, "response", None), "status_code", 0)
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


def _no_weights(name, library, folder, place, revision):
    """What to do about a checkpoint without safetensors: get them, or convert the pickled weights once."""
    new, old = WEIGHTS[library].replace("*", ""), PICKLED[library]
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    ours = isinstance(place, Path) or _own(name, place) is not None
    at = folder if ours else Path("FOLDER") / name
    if ours and not pickled:
        return f"encoder {name!r}: {folder} has no weights: there is no {new}"
    command = (
        f'python -c "import torch, safetensors.torch as s; w = torch.load({str(at / (pickled or [old])[0])!r}, '
        f"weights_only=True); s.save_file({{k: v.clone().contiguous() for k, v in w.items()}}, {str(at / new)!r}, "
        "{'format': 'pt'})\""
    )
    get = f"  hf download {place} --revision {revision} --local-dir {at}\n"
    return (
        f"encoder {name!r}: {folder if ours else f'{place} at {revision}'} has no {new}. Pickled weights ({old}) are "
        f"not read, as they can run code; if you trust these, convert them once:\n{'' if ours else get}  {command}"
        + ("" if ours else "\nand set GAPLIB_CHECKPOINTS=FOLDER")
    )


def _digest(folder):
    """Of the files of a folder that loading reads, in order of their names."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.suffix in READ):
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:12]

"""Datasets by name: each module turns its files into one pair table.

A new dataset is one module with a function of its name that returns a `pairs.Dataset`, and one line in `REGISTRY`. What
may be chosen of it are the parameters of that function: `n` if it is generated, `text`, `split`.
"""

import hashlib
import re
from dataclasses import replace
from importlib.metadata import version
from inspect import signature
from pathlib import Path

from gaplib.datasets import own
from gaplib.datasets.embedded import clipart, committed, emoji
from gaplib.datasets.pairs import Dataset, sample, sampled_name, validate
from gaplib.datasets.paper import brset, coco_qa, daquar, fakeddit, ham10000, mbrset, mimic_cxr, recipes5k
from gaplib.datasets.phantoms import cxr, derm, fundus
from gaplib.datasets.scenes import clipart_qa
from gaplib.datasets.shown import shown
from gaplib.names import pick, plain

__all__ = ["REGISTRY", "identity", "load", "stored_name"]

REGISTRY = {
    "clipart": clipart,
    "emoji": emoji,
    "clipart-qa": clipart_qa,
    "phantom-cxr": cxr.phantom_cxr,
    "phantom-derm": derm.phantom_derm,
    "phantom-fundus": fundus.phantom_fundus,
    "mimic-cxr": mimic_cxr.mimic_cxr,
    "ham10000": ham10000.ham10000,
    "brset": brset.brset,
    "mbrset": mbrset.mbrset,
    "daquar": daquar.daquar,
    "coco-qa": coco_qa.coco_qa,
    "fakeddit": fakeddit.fakeddit,
    "recipes5k": recipes5k.recipes5k,
}
LARGEST = 1_000_000  # pairs of a generated dataset: some ten gigabytes of pictures
CHOICES = {"text": ("clean", "published"), "split": ("group", "published")}  # the first is the default


def load(name: str, n_pairs: int | None = None, **columns: str | list[str] | None) -> Dataset:
    """Load a dataset: its validated pair table and its description.

    Parameters
    ----------
    name : str
        One of `REGISTRY`; where a dataset has the choice, `NAME:published` takes its text and split as published,
        `NAME:text=published` or `NAME:split=published` only one of them. A generated one can have any size:
        `phantom-cxr:n=16000`, whose first pairs are those of every other size, the splits apart. Or your own pairs,
        such as `csv:PATH` or `hub:ORG/NAME@REVISION`: `gaplib.datasets.own` has all kinds, and how to name them and
        their columns.
    n_pairs : int, optional
        Keep about so many pairs: a seeded sample of whole groups.
    **columns : str, list of str, or None
        Of your own pairs: what their columns are called (`own.read`), where the name does not say it.

    Returns
    -------
    pairs.Dataset
        `pairs` (DataFrame) and `about` (About); unpacks as a tuple.

    Raises
    ------
    ValueError
        If the name is unknown (with the near matches), the size is no number of pairs, or the table is not valid
        (says the rows and what to do).
    FileNotFoundError
        If the dataset is not there; `make data` says where to get it.

    Examples
    --------
    >>> pairs, about = load("clipart", n_pairs=300)
    >>> about.domain, about.task
    ('natural', 'multiclass')
    """
    kind, rest = _parts(name)
    if kind not in own.KINDS and kind not in REGISTRY:
        _refuse(name, kind)
    if columns and kind not in own.KINDS:
        raise ValueError(f"dataset {name!r} is gaplib's: what its columns are called ({', '.join(columns)}) is known")
    called = stored_name(name)
    if kind in own.KINDS:
        dataset = validate(*own.read(kind, rest, called, **columns))
    else:
        pairs, about = REGISTRY[kind](**_choices(kind, rest))
        dataset = validate(pairs, replace(about, name=called))
    return sample(dataset, n_pairs)


def stored_name(name: str, n_pairs: int | None = None) -> str:
    """The name that a dataset's features and results go by.

    Raises
    ------
    ValueError
        If it is no plain name: one that leads elsewhere.

    Examples
    --------
    >>> stored_name("clipart", 500), stored_name("ham10000:text=published"), stored_name("coco-qa:published")
    ('clipart-500', 'ham10000-text-published', 'coco-qa')
    >>> stored_name("phantom-cxr:n=16000")
    'phantom-cxr-n16000'
    """
    kind, rest = _parts(name)
    if kind in own.KINDS:
        return sampled_name(own.name_of(kind, rest, REGISTRY), n_pairs)
    if rest and kind not in REGISTRY:
        _refuse(name, kind)
    return sampled_name(plain(_variant(kind, _choices(kind, rest)), "dataset"), n_pairs)


def identity(name: str, n_pairs: int | None = None) -> str | None:
    """A digest of a generated dataset, told without drawing it: of its name and size, and of what draws it.

    Returns
    -------
    str or None
        None for what lies in files, which tell for themselves (`pairs.fingerprint`).

    Examples
    --------
    >>> identity("phantom-cxr") == identity("phantom-cxr", 500), identity("clipart")
    (False, None)
    """
    kind, _ = _parts(name)
    if "n" not in _parameters(kind):
        return None
    home = Path(__file__).parent
    sources = [home / "pairs.py", *sorted(home.glob("phantoms/*.py"))]
    if kind == "clipart-qa":
        sources += [home / "scenes.py", home / "images.py", committed("emoji")]
    libraries = [f"{library} {version(library)}" for library in ("numpy", "pandas", "pillow", "scipy")]
    digest = hashlib.sha256("\n".join([stored_name(name, n_pairs), *libraries]).encode())
    for source in sources:
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _parameters(kind):
    """The parameters of a dataset's function."""
    return signature(REGISTRY[kind]).parameters if kind in REGISTRY else {}


def _offered(kind):
    """What may be chosen of a dataset, besides a size."""
    return [key for key in CHOICES if key in _parameters(kind)]


def _parts(name):
    """What stands before the first colon, and what after it."""
    if not isinstance(name, str):
        raise ValueError(f"a dataset is named by a string, such as 'clipart' or 'csv:PATH', got {type(name).__name__}")
    kind, colon, rest = name.partition(":")
    if colon and not rest:
        raise ValueError(f"dataset {name!r}: something must follow the colon")
    return kind, rest


def _choices(kind, rest):
    """Keyword arguments from what follows the name: `n=16000`; `published`, or `text=published`, `split=published`."""
    offered = _offered(kind)
    if rest in ("", "published"):
        return dict.fromkeys(offered, rest) if rest else {}
    if "n" in _parameters(kind):
        return {"n": _size(kind, rest)}
    if not offered:
        raise ValueError(f"dataset {kind!r} has one text and one split, so there is no {kind}:{rest}; say {kind}")
    choices = {}
    for part in rest.split(","):
        key, _, choice = part.partition("=")
        pick(offered, key, f"choice of dataset {kind!r}:")
        choices[key] = pick(CHOICES[key], choice, f"{key} of dataset {kind!r}:")
    return choices


def _size(kind, rest):
    """How many pairs `n=16000` asks for."""
    number = re.fullmatch(r"n=([1-9][0-9]{0,9})", rest)
    if not number or int(number[1]) > LARGEST:
        raise ValueError(
            f"dataset {kind!r} is generated in any size from 1 to {LARGEST:,} pairs, said as {kind}:n=16000; "
            f"there is no {shown(f'{kind}:{rest}')}"
        )
    return int(number[1])


def _variant(kind, choices):
    """Name of a dataset for which something else than the default was chosen."""
    if "n" in choices:
        return f"{kind}-n{choices['n']}"
    offered = _offered(kind)
    published = [key for key in offered if choices.get(key) == "published"]
    if not published:
        return kind
    if len(published) == len(offered):
        return f"{kind}-published"
    return f"{kind}-{published[0]}-published"


def _refuse(name, kind):
    """Refuse a name that is none, with what was probably meant."""
    if name.lower().endswith(".csv") and kind == name:
        raise ValueError(f"unknown dataset {shown(name)}: a CSV of yours is named csv:{name}")
    pick([*REGISTRY, *(f"{own_kind}:PATH" for own_kind in own.KINDS)], kind, "dataset")

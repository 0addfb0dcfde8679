"""Datasets by name: each module turns its files into one pair table.

A new dataset is one module with a `load` that returns a `pairs.Dataset`, and one line in `REGISTRY`.
"""

import inspect

from gaplib.datasets import embedded, own, scenes
from gaplib.datasets.pairs import sample, sampled_name, validate
from gaplib.datasets.paper import brset, coco_qa, daquar, fakeddit, ham10000, mbrset, mimic_cxr, recipes5k
from gaplib.datasets.paper.downloaded import variant
from gaplib.datasets.phantoms import cxr, derm, fundus
from gaplib.names import pick

__all__ = ["REGISTRY", "load", "stored_name"]


def __dir__():  # what tab completion shows
    return __all__


REGISTRY = {
    "clipart": embedded.load,
    "emoji": embedded.load_emoji,
    "clipart-qa": scenes.load,
    "phantom-cxr": cxr.load,
    "phantom-derm": derm.load,
    "phantom-fundus": fundus.load,
    "mimic-cxr": mimic_cxr.load,
    "ham10000": ham10000.load,
    "brset": brset.load,
    "mbrset": mbrset.load,
    "daquar": daquar.load,
    "coco-qa": coco_qa.load,
    "fakeddit": fakeddit.load,
    "recipes5k": recipes5k.load,
}
OWN = {"csv": own.load, "disk": own.load_stored}


def load(name, n_pairs=None):
    """Load a dataset: its validated pair table and its description.

    Parameters
    ----------
    name : str
        One of `REGISTRY`; where a dataset has the choice, `NAME:published` takes its text and split as published,
        `NAME:text=published` or `NAME:split=published` only one of them. Or your own pairs: `csv:PATH`, or `disk:PATH`
        for a folder that the library `datasets` saved (see `gaplib.datasets.own`).
    n_pairs : int, optional
        Keep about so many pairs: a seeded sample of whole groups.

    Returns
    -------
    pairs.Dataset
        `pairs` (DataFrame) and `about` (About); unpacks as a tuple.

    Raises
    ------
    ValueError
        If the name is unknown (with the near matches), or the table is not valid (says the rows and what to do).
    FileNotFoundError
        If the dataset is not there; `make data` says where to get it.

    Examples
    --------
    >>> pairs, about = load("clipart", n_pairs=300)
    >>> about.domain, about.task
    ('natural', 'multiclass')
    """
    kind, _, rest = str(name).partition(":")
    if kind in OWN and rest:
        dataset = OWN[kind](rest)
    else:
        dataset = pick(REGISTRY, kind, "dataset")(**_choices(kind, rest))
    return sample(validate(*dataset), n_pairs)


def stored_name(name, n_pairs=None):
    """The name that a dataset's features and results go by.

    Examples
    --------
    >>> stored_name("clipart", 500), stored_name("ham10000:text=published"), stored_name("coco-qa:published")
    ('clipart-500', 'ham10000-text-published', 'coco-qa')
    """
    kind, _, rest = name.partition(":")
    if kind in OWN and rest:
        return sampled_name(own.name(rest), n_pairs)
    return sampled_name(variant(kind, **(_offered(kind) | _choices(kind, rest))), n_pairs)


def _offered(name):
    """The choices of a dataset, each as it is by default."""
    known = inspect.signature(REGISTRY[name]).parameters if name in REGISTRY else {}
    return {key: known[key].default for key in ("text", "split") if key in known}


def _choices(name, rest):
    """Keyword arguments from what follows the name: `published`, or `text=published`, `split=published`."""
    offered = _offered(name)
    if rest in ("", "published"):
        return dict.fromkeys(offered, rest) if rest else {}
    if not offered:
        raise ValueError(f"dataset {name!r} has one text and one split, so there is no {name}:{rest}; say {name}")
    choices = dict(part.partition("=")[::2] for part in rest.split(","))
    for key in choices:
        pick(offered, key, f"choice of dataset {name!r}:")
    return choices

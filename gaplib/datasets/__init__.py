"""Datasets by name: each module turns its files into one pair table.

A new dataset is one module with a `load` that returns a `pairs.Dataset`, and one line in `REGISTRY`.
"""

from gaplib.datasets import clipart, own
from gaplib.names import pick
from gaplib.pairs import sample, sampled_name, validate
from phantoms import cxr, derm

REGISTRY = {
    "clipart": clipart.load,
    "phantom-cxr": cxr.load,
    "phantom-derm": derm.load,
}


def load(name, n_pairs=None):
    """Load a dataset: its validated pair table and its description.

    Parameters
    ----------
    name : str
        One of `REGISTRY`, or `csv:PATH` for your own pairs (see `gaplib.datasets.own`).
    n_pairs : int, optional
        Keep about so many pairs: a seeded sample of whole groups.

    Returns
    -------
    pairs.Dataset
        `pairs` (DataFrame) and `about` (About); unpacks as a tuple.

    Raises
    ------
    ValueError
        If the name is unknown (with the near matches), or the table is not valid (says the row and what to do).
    FileNotFoundError
        If the CSV is missing.

    Examples
    --------
    >>> pairs, about = load("clipart", n_pairs=300)
    >>> about.domain, about.task
    ('natural', 'multiclass')
    """
    if isinstance(name, str) and name.startswith("csv:"):
        dataset = own.load(name.removeprefix("csv:"))
    else:
        dataset = pick(REGISTRY, name, "dataset")()
    return sample(validate(*dataset), n_pairs)


def stored_name(name, n_pairs=None):
    """The name that a dataset's features and results go by.

    Examples
    --------
    >>> stored_name("clipart", 500)
    'clipart-500'
    """
    if name.startswith("csv:"):
        name = own.name(name.removeprefix("csv:"))
    return sampled_name(name, n_pairs)

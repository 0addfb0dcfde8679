"""`Features`: what an encoder made of the pairs of a dataset, as arrays; where it is stored, and how it is opened."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

from gaplib import datasets, encoders, paths
from gaplib.datasets.pairs import SPLITS, About, Dataset, sampled_name, targets
from gaplib.features import store
from gaplib.names import pick, plain


@dataclass(frozen=True, repr=False)
class Features:
    """Embeddings of the pairs of one dataset by one encoder.

    Attributes
    ----------
    image : ndarray of shape (distinct images, d)
        Unit-norm float32 rows, in order of first appearance; a memory map where they were loaded. An image that could
        not be read has a row of zeros, which no pair points to.
    text : ndarray of shape (distinct texts, d)
    image_index, text_index : ndarray of shape (pairs,)
        Row of `image` and `text` that belongs to each pair.
    table : DataFrame or callable
        The pair table, or a function that reads it: `pairs` is what it gives.
    about : pairs.About
    encoder : str
    """

    image: np.ndarray
    text: np.ndarray
    image_index: np.ndarray
    text_index: np.ndarray
    table: pd.DataFrame | Callable[[], pd.DataFrame]
    about: About
    encoder: str

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """The pair table; `image` holds a path, or a digest where the table held bytes."""
        return self.table() if callable(self.table) else self.table

    def __repr__(self):
        sizes = f"{len(self.image_index):,} pairs of {len(self.image):,} images and {len(self.text):,} texts"
        return f"Features({self.about.name} by {self.encoder}: {sizes}, {self.image.shape[1]} wide)"

    def _repr_html_(self):
        about = {"domain": self.about.domain, "task": self.about.task, "labels": ", ".join(self.about.labels)}
        splits = self.pairs["split"].value_counts().reindex(SPLITS, fill_value=0).to_dict()
        return f"<p>{escape(repr(self))}</p>{pd.Series(about | splits).to_frame('').to_html(header=False)}"

    def paired(self, split: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Image and text embeddings, one row a pair, of one split or of all pairs."""
        rows = self.rows(split)
        return self.image[self.image_index[rows]], self.text[self.text_index[rows]]

    def rows(self, split: str | None = None) -> np.ndarray:
        """Positions of the pairs of a split (of all pairs by default)."""
        if split is None:
            return np.arange(len(self.image_index))
        return np.flatnonzero(self.pairs["split"] == pick(SPLITS, split, "split"))

    @property
    def targets(self) -> np.ndarray:
        """Labels as numbers, int64 codes, or a float32 0/1 matrix when the task is multilabel.

        Raises
        ------
        ValueError
            If there are no labels.
        """
        return targets(self.pairs, self.about)


def load(dataset: str, encoder: str, n_pairs: int | None = None, check: bool = False) -> Features:
    """Features stored by an earlier `extract` or `read`, without loading any model: opened, not read.

    Parameters
    ----------
    dataset, encoder : str
        Names, as `extract` had them.
    n_pairs : int, optional
        As `extract` had it.
    check : bool
        Compare every byte with the digests, as `extract` does. Arrays below 64 MB are compared anyway.

    Returns
    -------
    Features

    Raises
    ------
    FileNotFoundError
        If nothing is stored.
    ValueError
        If a file is damaged, or the pair table beside it is not the one that the features were made with.
    """
    folder = place(dataset, encoder, n_pairs)
    if store.read_about(folder) is None:
        raise FileNotFoundError(
            f"no features of {dataset} by {encoder} at {folder}; run notebook 01 or features.extract"
        )
    return opened(folder, check)


def opened(folder: Path, check: bool = False) -> Features:
    """The features in a folder; `load` has the rest."""
    about = store.read_about(folder)
    arrays = store.open_arrays(folder, about, check)
    table = partial(store.read_table, store.table_of(folder), about["table"], about["skipped"])
    small = all(array.nbytes < store.SMALL for array in arrays.values())
    return Features(
        **arrays,
        table=table() if check or small else table,
        about=store.description(about),
        encoder=folder.name,
    )


def place(dataset: str | Dataset, encoder: str | encoders.Encoder, n_pairs: int | None = None) -> Path:
    """The folder of the features of a dataset by an encoder, each given by its name or itself.

    Raises
    ------
    ValueError
        If it is neither, or has a name that would lead elsewhere.
    """
    if isinstance(dataset, str):
        name = datasets.stored_name(dataset, n_pairs)
    elif isinstance(dataset, tuple) and isinstance(dataset[-1], About):
        name = sampled_name(dataset[-1].name, n_pairs)
    else:
        raise ValueError(
            f"a dataset is a name or a pairs.Dataset, got a {type(dataset).__name__}; of a pair table make "
            "one with pairs.validate(table, pairs.About(name, domain, task, labels, root))"
        )
    spec = encoder if isinstance(encoder, str) else getattr(encoder, "name", None)
    if spec is None:
        raise ValueError(f"an encoder is a name or an encoders.Encoder, got {type(encoder).__name__}")
    spec = encoders.stored_name(spec) if ":" in spec else spec  # features that were read in may have any name
    return paths.features(plain(name, "dataset")) / plain(spec, "encoder")


def refuse_others(folder: Path, fingerprint: str, may_differ: Callable[[Path, dict], bool]) -> None:
    """Raise if the dataset has features that go with other pairs, and may not: `may_differ(folder, about)`."""
    for path in folder.parent.glob("*/about.json"):
        other = store.known(path.parent)
        same = other.get("fingerprint") == fingerprint or path.parent.suffix == ".unfinished"
        if not same and not may_differ(path.parent, other):
            raise ValueError(
                f"{path.parent} goes with other pairs than these, and a dataset has one pair table: give the dataset "
                "another name, or remove that folder"
            )

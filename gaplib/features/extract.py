"""Frozen embeddings of a dataset: encoded once, stored, loaded. The one door between models and arrays.

A feature file is `data/features/{dataset}/{encoder}.safetensors` with the distinct images and texts, one index entry
a pair, and a header that says what they are; the pair table stands beside it as `pairs.parquet`. Any difference
between the header and what is asked for encodes anew, with one line that says why.
"""

import hashlib
import shutil
from dataclasses import dataclass
from html import escape
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from gaplib import datasets, encoders, paths
from gaplib.datasets.pairs import SPLITS, About, Dataset, fingerprint, sample, sampled_name, targets, validate
from gaplib.features import foreign, shards, store
from gaplib.names import pick

__all__ = ["Features", "extract", "load", "read"]


def __dir__():  # what tab completion shows
    return __all__


PACKAGES = ("torch", "transformers", "open_clip_torch", "timm", "pillow")  # that an embedding may depend on
ENGINES = {"local": "gaplib.features.engine_local", "ray": "gaplib.features.engine_ray"}


@dataclass(frozen=True, repr=False)
class Features:
    """Embeddings of the pairs of one dataset by one encoder.

    Attributes
    ----------
    image : ndarray of shape (distinct images, d)
        Unit-norm float32 rows, in order of first appearance; a memory map where they were loaded.
    text : ndarray of shape (distinct texts, d)
    image_index, text_index : ndarray of shape (pairs,)
        Row of `image` and `text` that belongs to each pair.
    pairs : DataFrame
        The pair table; `image` holds a path, or a digest where the table held bytes. Where features were loaded it is
        read when first asked for.
    about : pairs.About
    encoder : str
    """

    image: np.ndarray
    text: np.ndarray
    image_index: np.ndarray
    text_index: np.ndarray
    pairs: pd.DataFrame
    about: About
    encoder: str

    def __repr__(self):
        sizes = f"{len(self.image_index):,} pairs of {len(self.image):,} images and {len(self.text):,} texts"
        return f"Features({self.about.name} by {self.encoder}: {sizes}, {self.image.shape[1]} wide)"

    def _repr_html_(self):
        about = {"domain": self.about.domain, "task": self.about.task, "labels": ", ".join(self.about.labels)}
        splits = self.pairs["split"].value_counts().reindex(SPLITS, fill_value=0).to_dict()
        return f"<p>{escape(repr(self))}</p>{pd.Series(about | splits).to_frame('').to_html(header=False)}"

    def paired(self, split=None):
        """Image and text embeddings, one row a pair, of one split or of all pairs."""
        rows = self.rows(split)
        return self.image[self.image_index[rows]], self.text[self.text_index[rows]]

    def rows(self, split=None):
        """Positions of the pairs of a split (of all pairs by default)."""
        if split not in (None, *SPLITS):
            raise ValueError(f"unknown split {split!r}; use {', '.join(SPLITS)}")
        return np.flatnonzero(self.pairs["split"] == split) if split else np.arange(len(self.image_index))

    @property
    def targets(self):
        """Labels as numbers: int64 codes, or a float32 0/1 matrix when the task is multilabel."""
        return targets(self.pairs, self.about)


class _Loaded(Features):
    """Features whose pair table is still on disk; `table` says where."""

    def __getattr__(self, name):
        if name != "pairs":
            raise AttributeError(name)
        vars(self)["pairs"] = store.read_table(self.table)
        return self.pairs


def extract(dataset, encoder, n_pairs=None, device="auto", *, engine="local", workers=None, unreadable="stop"):
    """Encode each distinct image and text of a dataset once, or load what was stored before, checked in full.

    What is finished is stored as it comes: after a crash, a kill or a full disk the next call goes on from there.
    Features that were read in (`read`) are loaded and never encoded.

    Parameters
    ----------
    dataset : str or pairs.Dataset
        A name for `datasets.load`, or a dataset loaded already.
    encoder : str or encoders.Encoder
        A name for `encoders.load`, or an encoder loaded already.
    n_pairs : int, optional
        Use a seeded sample of about so many pairs.
    device : str
        A torch device, or "auto".
    engine : {"local", "ray"}
        This process, or Ray actors on all GPUs or CPUs of this machine or a cluster (`gaplib.cluster`).
    workers : int, optional
        Processes that decode images ("local"), or actors ("ray"); by default as many as are of use.
    unreadable : {"stop", "skip"}
        Whether an image that cannot be read is an error, or its pairs are left out and listed in `skipped.csv` beside
        the features.

    Returns
    -------
    Features

    Raises
    ------
    ValueError
        If a name is unknown, the dataset is not valid, or an image cannot be read (says which row).
    OSError
        If the features cannot be written.
    """
    pick({"stop": 0, "skip": 0}, unreadable, "policy for unreadable images")
    engine = pick(ENGINES, engine, "engine")
    named = isinstance(dataset, str)
    path = _path(
        datasets.stored_name(dataset, n_pairs) if named else sampled_name(dataset.about.name, n_pairs),
        encoder if isinstance(encoder, str) else encoder.name,
    )
    if origin := (store.header(path) or {}).get("origin"):
        print(f"{path.parent.name} by {path.stem}: as read from {origin}; remove {path} to encode")
        return _load(path, check=True)
    dataset = datasets.load(dataset, n_pairs) if named else sample(validate(*dataset), n_pairs)
    if isinstance(encoder, str):
        encoder = encoders.load(encoder, device)
    header, parts = _header(dataset, encoder), path.with_suffix(".parts")
    stored, why = _stored(path, header, dataset, unreadable)
    if stored and not parts.exists():
        return stored
    what = f"{dataset.about.name} with {encoder.name}"
    with store.locked(parts, what):
        stored, why = _stored(path, header, dataset, unreadable)  # another process may have finished it
        if why:
            _refuse_others(path, header["fingerprint"], read_in=True)
            print(f"encoding {what}: {why}; {_saving(dataset.pairs)}")
            with import_module(engine).engine(encoder, workers) as encode:
                shards.assemble(path, parts, header, dataset, encoder, encode, unreadable)
        shutil.rmtree(parts, ignore_errors=True)  # a network disk keeps the open lock until it is closed
    return stored or _load(path)


def load(dataset, encoder, n_pairs=None, check=False):
    """Features stored by an earlier `extract` or `read`, without loading any model: opened, not read.

    Parameters
    ----------
    dataset, encoder : str
        Names, as `extract` had them.
    n_pairs : int, optional
        As `extract` had it.
    check : bool
        Compare every byte with the digest, as `extract` does. Files below 64 MB are compared anyway.

    Returns
    -------
    Features

    Raises
    ------
    FileNotFoundError
        If nothing is stored.
    ValueError
        If the file is damaged, or the pair table beside it belongs to another file.
    """
    path = _path(datasets.stored_name(dataset, n_pairs), encoder)
    if not path.is_file():
        raise FileNotFoundError(f"no features of {dataset} by {encoder} at {path}; run notebook 01 or features.extract")
    return _load(path, check)


def read(
    path,
    dataset,
    encoder,
    label="label",
    domain="natural",
    *,
    image=None,
    text=None,
    group=None,
    separator=None,
    least=1,
):
    """Store embeddings that you already have, so that `load` and every notebook from 02 on find them.

    Parameters
    ----------
    path : str or Path
        CSV or parquet with the columns `img_emb_0`, ..., `text_emb_0`, ..., `split` and label columns, one row a pair
        (the layout of the source paper's code); or npz with `image` and `text`, both of shape (n, d), and one array of
        length n for each further column.
    dataset, encoder : str
        What to call them; `extract` and `load` take the same names.
    label : str or list of str
        The column with the class; or the 0/1 columns of a multilabel task, where missing counts as 0 and rows with a
        -1 (uncertain) are left out, as published.
    domain : {"natural", "medical"}
    image, text, group : str, optional
        Columns with the image's name or path, its text, and what must not straddle splits; by default those named so.
    separator : str, optional
        What stands between the labels where one cell holds several, such as the answers ", " of DAQUAR: multilabel.
    least : int
        With `separator`, labels of fewer test rows are left out, and rows that then have none (DAQUAR: 100).

    Returns
    -------
    Features

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a column is missing, a number is not finite, widths differ, a split or label is not valid (says which row),
        or the dataset's folder holds features of other pairs, or features that were encoded here.
    """
    columns = {"image": image, "text": text, "group": group}
    path, target = Path(path), _path(datasets.stored_name(dataset), encoder)
    arrays, pairs, about = foreign.load(path, target.parent.name, label, domain, separator, least, columns)
    named = pairs.assign(image=pairs["image"].map(str.encode))  # names of images that need not be here
    header = {
        "encoder": target.stem,
        "dataset": about.name,
        "fingerprint": fingerprint(Dataset(named, about)),
        "normalisation": "l2",
        "origin": f"{path.name} (sha256 {foreign.digest(path)})",
        "skipped": 0,
    }
    if "origin" not in (store.header(target) or {"origin": None}):
        raise ValueError(f"{target} was encoded here, not read in; remove it, or give the dataset another name")
    _refuse_others(target, header["fingerprint"])
    parts = target.with_suffix(".parts")
    with store.locked(parts, f"{about.name} with {target.stem}"):
        store.write_table(target.with_name(store.TABLE), parts, Dataset(pairs, about), header["fingerprint"])
        store.save_file(target, parts, header, {name: (array.shape, [array]) for name, array in arrays.items()})
        shutil.rmtree(parts, ignore_errors=True)  # a network disk keeps the open lock until it is closed
    return _load(target)


def _path(dataset, encoder):
    encoder = encoders.stored_name(encoder) if ":" in encoder else encoder  # features read in may have any name
    return paths.features(dataset) / f"{encoder}.safetensors"


def _load(path, check=False):
    header, arrays = store.open_file(path, check)
    table = path.with_name(store.TABLE)
    pairs = store.read_table(table, columns=[])
    if pairs.attrs["fingerprint"] != header["fingerprint"] or len(pairs) != len(arrays["image_index"]):
        raise ValueError(f"{table} belongs to another version of the dataset than {path.name}")
    loaded = object.__new__(_Loaded)
    vars(loaded).update(arrays, about=pairs.attrs["about"], encoder=path.stem, table=table)
    if check or path.stat().st_size < store.SMALL:
        loaded.pairs  # noqa: B018
    return loaded


def _header(dataset, encoder):
    """Everything that, when it changes, makes stored features stale."""
    return {
        "encoder": encoder.name,
        "checkpoint": encoder.checkpoint,
        "preprocessing": hashlib.sha256(encoder.preprocessing.encode()).hexdigest()[:16],
        "precision": encoder.precision,
        "normalisation": "l2",
        "dataset": dataset.about.name,
        "fingerprint": fingerprint(dataset),
        "versions": " ".join(f"{package} {version(package)}" for package in PACKAGES),
    }


def _stored(path, header, dataset, unreadable):
    """What is stored, and None; or None, and why it will not do."""
    stored = store.header(path)
    if stored is None:
        return None, "nothing stored yet"
    if changed := [key for key in header if stored.get(key) != header[key]]:
        return None, f"the stored features have another {', '.join(changed)}"
    if stored["skipped"] and unreadable == "stop":
        return None, f"the stored features leave out {stored['skipped']} pairs whose images cannot be read"
    try:
        store.open_file(path, check=True)
    except ValueError as error:
        return None, str(error)
    try:
        loaded = _load(path)
        loaded.pairs  # noqa: B018
    except ValueError as error:
        if stored["skipped"]:
            return None, str(error)
        print(f"{error}; writing it again")
        store.write_table(path.with_name(store.TABLE), path.parent, dataset, header["fingerprint"])
        loaded = _load(path)
    return loaded, None


def _refuse_others(path, fingerprint, read_in=False):
    """Raise if the folder holds features (only those that were read in, if so asked) that go with other pairs."""
    for other in path.parent.glob("*.safetensors"):
        header = store.header(other)
        if other != path and header.get("fingerprint") != fingerprint and ("origin" in header or not read_in):
            raise ValueError(
                f"{other} goes with other pairs than these, and one folder holds features of the same pairs: give the "
                "dataset another name, or remove that file"
            )


def _saving(pairs):
    images, texts = pairs["image"].nunique(), pairs["text"].nunique()
    saved = 1 - (images + texts) / (2 * len(pairs))
    return f"{len(pairs):,} pairs of {images:,} distinct images and {texts:,} distinct texts, {saved:.0%} saved"

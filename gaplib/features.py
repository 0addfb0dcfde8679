"""Frozen embeddings of a dataset: encoded once, stored, loaded. The one door between models and arrays.

A feature file is `data/features/{dataset}/{encoder}.safetensors` with the distinct images and texts, one index entry
a pair, and a header that says what they are; the pair table stands beside it as `pairs.parquet`. Any difference
between the header and what is asked for encodes anew, with one line that says why.
"""

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from tqdm import tqdm

from gaplib import datasets, encoders, paths
from gaplib.pairs import SPLITS, About, fingerprint, open_image, sample, targets, validate

PACKAGES = ("torch", "transformers", "open_clip_torch", "timm", "pillow")  # that an embedding may depend on
ARRAYS = ("image", "text", "image_index", "text_index")
CHUNK = 256


@dataclass(frozen=True)
class Features:
    """Embeddings of the pairs of one dataset by one encoder.

    Attributes
    ----------
    image : ndarray of shape (distinct images, d)
        Unit-norm float32 rows, in order of first appearance.
    text : ndarray of shape (distinct texts, d)
    image_index, text_index : ndarray of shape (pairs,)
        Row of `image` and `text` that belongs to each pair.
    pairs : DataFrame
        The pair table; `image` holds a path, or a digest where the table held bytes.
    about : pairs.About
    encoder : str
    """

    image: np.ndarray = field(repr=False)
    text: np.ndarray = field(repr=False)
    image_index: np.ndarray = field(repr=False)
    text_index: np.ndarray = field(repr=False)
    pairs: pd.DataFrame = field(repr=False)
    about: About = field(repr=False)
    encoder: str

    def paired(self, split=None):
        """Image and text embeddings, one row a pair, of one split or of all pairs."""
        rows = self.rows(split)
        return self.image[self.image_index[rows]], self.text[self.text_index[rows]]

    def rows(self, split=None):
        """Positions of the pairs of a split (of all pairs by default)."""
        if split not in (None, *SPLITS):
            raise ValueError(f"unknown split {split!r}; use {', '.join(SPLITS)}")
        return np.flatnonzero(self.pairs["split"] == split) if split else np.arange(len(self.pairs))

    @property
    def targets(self):
        """Labels as numbers: int64 codes, or a float32 0/1 matrix when the task is multilabel."""
        return targets(self.pairs, self.about)


def extract(dataset, encoder, n_pairs=None, device="auto"):
    """Encode each distinct image and text of a dataset once, or load what was stored before.

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

    Returns
    -------
    Features

    Raises
    ------
    ValueError
        If a name is unknown, the dataset is not valid, or an image cannot be read (says which row).
    """
    if isinstance(dataset, str):
        dataset = datasets.load(dataset, n_pairs)
    else:
        dataset = sample(validate(*dataset), n_pairs)
    if isinstance(encoder, str):
        encoder = encoders.load(encoder, device)
    path, header = _path(dataset.about.name, encoder.name), _header(dataset, encoder)
    stored = _stored_header(path)
    if (why := _difference(stored, header)) is None:
        try:
            return load(dataset.about.name, encoder.name)
        except ValueError as error:
            why = str(error)
    print(f"encoding {dataset.about.name} with {encoder.name}: {why}")
    _write(path, _encode(dataset, encoder), header, dataset)
    return load(dataset.about.name, encoder.name)


def load(dataset, encoder, n_pairs=None):
    """Features stored by an earlier `extract`, without loading any model.

    Parameters
    ----------
    dataset, encoder : str
        Names, as `extract` had them.
    n_pairs : int, optional
        As `extract` had it.

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
    try:
        with safe_open(path, "np") as stored:
            header, arrays = _read_header(stored), {name: stored.get_tensor(name) for name in ARRAYS}
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"{path} is cut short or not a feature file ({error})") from error
    if header.pop("digest", None) != _digest(arrays, header):
        raise ValueError(f"{path} is damaged: its digest does not match its content")
    table = path.with_name("pairs.parquet")
    try:
        pairs, about = _read_pairs(table)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{table} is missing or damaged ({error})") from error
    if pairs.attrs["fingerprint"] != header["fingerprint"]:
        raise ValueError(f"{table} belongs to another version of the dataset than {path.name}")
    return Features(**arrays, pairs=pairs, about=about, encoder=encoder)


def _path(dataset, encoder):
    return paths.features(dataset) / f"{encoder}.safetensors"


def _header(dataset, encoder):
    """Everything that, when it changes, makes stored features stale."""
    return {
        "encoder": encoder.name,
        "checkpoint": encoder.checkpoint,
        "preprocessing": hashlib.sha256(encoder.preprocessing.encode()).hexdigest()[:16],
        "normalisation": "l2",
        "dataset": dataset.about.name,
        "fingerprint": fingerprint(dataset),
        "versions": " ".join(f"{package} {version(package)}" for package in PACKAGES),
    }


def _stored_header(path):
    try:
        with safe_open(path, "np") as stored:
            return _read_header(stored)
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError, ValueError):
        return {}


def _read_header(stored):
    # One entry: safetensors writes several in any order, and equal features must be equal files.
    return json.loads((stored.metadata() or {}).get("gaplib", "{}"))


def _difference(stored, header):
    """Why the stored features will not do, or None."""
    if stored is None:
        return "nothing stored yet"
    changed = [key for key in header if stored.get(key) != header[key]]
    return f"the stored features have another {', '.join(changed)}" if changed else None


def _encode(dataset, encoder):
    pairs, about = dataset
    image_index, images = pd.factorize(pairs["image"])
    text_index, texts = pd.factorize(pairs["text"])
    first = pd.Series(image_index).drop_duplicates().index

    def decode(start):
        return [
            open_image(image, about.root, f"dataset {about.name!r}, row {row}")
            for row, image in zip(first[start : start + CHUNK], images[start : start + CHUNK], strict=True)
        ]

    rows = {"image": [], "text": []}
    with tqdm(total=len(images) + len(texts), desc=f"{about.name} x {encoder.name}", unit="item", leave=False) as bar:
        for kind, n, encode in (
            ("image", len(images), lambda start: encoder.encode_images(decode(start))),
            ("text", len(texts), lambda start: encoder.encode_texts(texts[start : start + CHUNK])),
        ):
            for start in range(0, n, CHUNK):
                rows[kind].append(encode(start))
                bar.update(len(rows[kind][-1]))
    index = {"image_index": image_index.astype(np.int64), "text_index": text_index.astype(np.int64)}
    return {kind: np.concatenate(parts) for kind, parts in rows.items()} | index


def _digest(arrays, header):
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in ARRAYS:
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()


def _write(path, arrays, header, dataset):
    path.parent.mkdir(parents=True, exist_ok=True)
    _atomically(path.with_name("pairs.parquet"), lambda to: _write_pairs(dataset, header["fingerprint"], to))
    full = json.dumps(header | {"digest": _digest(arrays, header)}, sort_keys=True)
    _atomically(path, lambda to: save_file(arrays, to, metadata={"gaplib": full}))


def _atomically(path, write):
    """Write to a temporary neighbour and move it into place, so that a reader sees the whole file or none."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=path.suffix)
    os.close(handle)
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _write_pairs(dataset, digest, to):
    pairs, about = dataset
    short = pairs["image"].map(lambda i: hashlib.sha256(i).hexdigest()[:16] if isinstance(i, bytes) else i)
    table = pairs.assign(image=short)
    table.attrs = {"about": vars(about) | {"root": str(about.root or "")}, "fingerprint": digest}
    table.to_parquet(to, write_page_checksum=True)


def _read_pairs(path):
    pairs = pd.read_parquet(path, page_checksum_verification=True)
    about = About(**pairs.attrs["about"])
    return pairs, replace(about, labels=tuple(about.labels), root=Path(about.root) if about.root else None)

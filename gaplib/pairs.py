"""The image-text pair table: what it is, how it is checked, split, sampled and fingerprinted.

A pair table is a pandas DataFrame, one row a pair, with the columns

* `image`: the encoded file (bytes), or a path under the dataset's image root;
* `text`: a non-empty string;
* `split`: `train`, `val` or `test`;
* `group`: what must stay in one split (patient, lesion, drawing);
* the label column `label` (binary, multiclass: one of `About.labels`), or one 0/1 column per label (multilabel).
"""

import hashlib
import io
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image, ImageOps, UnidentifiedImageError

SPLITS = ("train", "val", "test")
DOMAINS = ("medical", "natural")
VALUE = "<value>"


@dataclass(frozen=True)
class About:
    """What a pair table is about.

    `labels` are the class names; for a binary task the second one is the positive class. `root` is the folder
    that relative image paths start from, or None when the table holds the image bytes.
    """

    name: str
    domain: str
    task: str
    labels: tuple[str, ...]
    root: Path | None = None
    licence: str = ""
    citation: str = ""


class Dataset(NamedTuple):
    """A validated pair table and its description."""

    pairs: pd.DataFrame
    about: About


def label_columns(about):
    """Label columns of a pair table: `["label"]`, or the label names when the task is multilabel."""
    return list(about.labels) if about.task == "multilabel" else ["label"]


def targets(pairs, about):
    """Labels as numbers.

    Returns
    -------
    ndarray
        int64 codes of shape (n,) for binary and multiclass (-1: not a label), float32 of (n, k) for multilabel.

    Examples
    --------
    >>> about = About("toy", "natural", "binary", ("cat", "dog"))
    >>> targets(pd.DataFrame({"label": ["dog", "cat"]}), about)
    array([1, 0])
    """
    if about.task == "multilabel":
        return pairs[list(about.labels)].to_numpy(np.float32)
    return pd.Index(about.labels).get_indexer(pairs["label"]).astype(np.int64)


def split_by_group(group, seed=0, shares=(0.7, 0.1, 0.2)):
    """A split name per row such that no group is in two splits.

    Groups are shuffled by `seed` and cut so that the rows come as close to `shares` (train, val, test) as whole
    groups allow.

    Examples
    --------
    >>> split = split_by_group(["a", "a", "b", "c", "d"], seed=0, shares=(0.4, 0.2, 0.4))
    >>> bool(split[0] == split[1])
    True
    """
    codes, names = pd.factorize(np.asarray(group))
    order = np.random.default_rng(seed).permutation(len(names))
    sizes = np.bincount(codes)[order]
    middle = (np.cumsum(sizes) - sizes / 2) / sizes.sum()
    split = np.empty(len(names), object)
    split[order] = np.array(SPLITS, object)[np.searchsorted(np.cumsum(shares)[:2], middle)]
    return split[codes]


def validate(pairs, about):
    """The table with a fresh index and only its own columns, or one error that says what is wrong and where.

    Parameters
    ----------
    pairs : DataFrame
    about : About

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        If a column is missing, a text is empty, an image is absent or leaves the image root, a split name is
        unknown, a split is empty, a label is unknown or the only one, or a group or an image is in two splits.
    """
    where = f"dataset {about.name!r}"
    columns = ["image", "text", "split", "group", *label_columns(about)]
    if missing := [c for c in columns if c not in pairs]:
        raise ValueError(f"{where}: no column {', '.join(map(repr, missing))}; needed: {', '.join(columns)}")
    if pairs.empty:
        raise ValueError(f"{where}: there are no pairs")
    pairs = pairs.reset_index(drop=True)
    pairs = pairs[columns + [c for c in pairs if c not in columns]]
    empty = ~pairs["text"].map(lambda text: isinstance(text, str) and bool(text.strip()))
    _refuse(empty, pairs, where, "the text is empty; fill it or drop the row")
    _refuse(~pairs["split"].isin(SPLITS), pairs, where, f"unknown split {VALUE}; use {', '.join(SPLITS)}", of="split")
    _check_images(pairs, about, where)
    _refuse(pairs["group"].isna(), pairs, where, "the group is empty; name the patient, lesion or image")
    _check_labels(pairs, about, where)
    if empty_splits := [s for s in SPLITS if s not in set(pairs["split"])]:
        raise ValueError(f"{where}: split {empty_splits[0]!r} has no rows; every split needs some")
    for column in ("group", "image"):
        twice = pairs.groupby(column)["split"].transform("nunique") > 1
        _refuse(twice, pairs, where, f"its {column} is in two splits; move all of its rows to one", column)
    return Dataset(pairs, about)


def _refuse(bad, pairs, where, message, show=None, of=None):
    """Raise for the first row of `pairs` marked in `bad`, if any; name its `show`, and put its `of` for VALUE."""
    if not bad.any():
        return
    row = int(np.flatnonzero(bad)[0])
    named = f" ({show} {_name(pairs[show][row])})" if show else ""
    value = pairs[of][row] if of else None
    more = f" ({int(bad.sum())} such rows)" if bad.sum() > 1 else ""
    raise ValueError(f"{where}, row {row}{named}: {message.replace(VALUE, repr(value))}{more}")


def _name(image):
    return f"of {len(image)} bytes" if isinstance(image, bytes) else repr(image)


def _check_images(pairs, about, where):
    stored = pairs["image"].map(lambda image: isinstance(image, bytes))
    given = pairs["image"].map(lambda image: isinstance(image, str) and bool(image))
    _refuse(~(stored | given), pairs, where, "no image; give a path under the image root")
    if not given.any():
        return
    if about.root is None:
        raise ValueError(f"{where}: images are paths, but there is no image root")
    root = Path(about.root).resolve()
    paths = {image: (root / image).resolve() for image in pairs.loc[given, "image"].unique()}
    outside = {image for image, path in paths.items() if not path.is_relative_to(root)}
    _refuse(pairs["image"].isin(outside), pairs, where, f"the image path leaves the image root {root}", "image")
    absent = {image for image, path in paths.items() if not path.is_file()}
    _refuse(pairs["image"].isin(absent), pairs, where, f"no such image under {root}", "image")


def _check_labels(pairs, about, where):
    if about.task == "multilabel":
        for label in about.labels:
            _refuse(~pairs[label].isin([0, 1]), pairs, where, f"label {label!r} must be 0 or 1")
        flat = [label for label in about.labels if pairs[label].nunique() < 2]
    else:
        _refuse(~pairs["label"].isin(about.labels), pairs, where, f"unknown label {VALUE}", of="label")
        flat = [] if pairs["label"].nunique() > 1 else [pairs["label"][0]]
    if flat:
        raise ValueError(f"{where}: label {flat[0]!r} is the same in every row; there is nothing to learn")


def sample(dataset, n_pairs, seed=0):
    """A smaller dataset: about `n_pairs` pairs in whole groups, every split keeping its share.

    The dataset's name gains the number, so that its features are stored apart from the full ones.
    """
    if n_pairs is None:
        return dataset
    pairs, about = dataset
    groups = pairs.groupby("group", sort=False).agg(n=("text", "size"), split=("split", "first"))
    groups = groups.sample(frac=1, random_state=seed)
    keep = groups.groupby("split")["n"].cumsum() <= n_pairs * groups.groupby("split")["n"].transform("sum") / len(pairs)
    kept = pairs["group"].isin(groups.index[keep])
    return validate(pairs[kept], replace(about, name=sampled_name(about.name, n_pairs)))


def sampled_name(name, n_pairs):
    """Name of a dataset of which only about `n_pairs` are used."""
    return name if n_pairs is None else f"{name}-{n_pairs}"


def open_image(image, root=None, where="image"):
    """An image of a pair table as an RGB PIL image: upright, transparent parts on white.

    Parameters
    ----------
    image : bytes or str
        The encoded file, or its path under `root`.
    root : Path, optional
    where : str
        What to call it in an error.

    Raises
    ------
    ValueError
        If the file is not an image, is cut short, or is too large to be one.
    """
    source = io.BytesIO(image) if isinstance(image, bytes) else Path(root or ".") / image
    try:
        with Image.open(source) as opened:
            upright = ImageOps.exif_transpose(opened)
            if upright.mode.startswith("I;16"):  # PIL clips 16-bit grey to its lowest 256 levels
                upright = Image.fromarray((np.asarray(upright) / 257).astype(np.uint8))
            if "A" in upright.getbands() or "transparency" in upright.info:
                upright = upright.convert("RGBA")
                upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
            return upright.convert("RGB")
    except (OSError, UnidentifiedImageError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{where}: {_name(image)} is not a readable image ({error})") from error


def fingerprint(dataset):
    """Digest of everything an embedding or a probe depends on: texts, labels, splits, groups and images.

    Image bytes count by content; image files by path, size and time of change, so that a million need not be read.
    """
    pairs, about = dataset
    digest = hashlib.sha256(json.dumps(asdict(about) | {"root": None}, sort_keys=True).encode())
    for column in ["text", "split", "group", *label_columns(about)]:
        digest.update(pd.util.hash_array(pairs[column].astype(str).to_numpy(object), categorize=True).tobytes())
    for image in pairs["image"].unique():
        digest.update(image if isinstance(image, bytes) else _stamp(image, about.root))
    digest.update(pd.factorize(pairs["image"])[0].tobytes())
    return digest.hexdigest()[:16]


def _stamp(image, root):
    stat = (Path(root) / image).stat()
    return f"{image} {stat.st_size} {stat.st_mtime_ns}".encode()

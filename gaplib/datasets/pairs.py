"""The image-text pair table: what it is, how it is checked, split, sampled and fingerprinted.

A pair table is a pandas DataFrame, one row a pair, with the columns

* `image`: the encoded file (bytes), or a path under the dataset's image root, or `FILE.arrow#ROW` for an image inside
  a stored Arrow table there;
* `text`: a non-empty string;
* `split`: `train`, `val` or `test`;
* `group`: what must stay in one split (patient, lesion, drawing);
* the label column `label` (binary, multiclass: one of `About.labels`), or one 0/1 column per label (multilabel).
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from gaplib.datasets.images import member, open_image
from gaplib.datasets.problems import (
    SPLITS,
    VALUE,
    BadRows,
    blank,
    image_problems,
    label_problems,
    refuse,
    split_problems,
)

__all__ = [
    "DOMAINS",
    "SPLITS",
    "About",
    "BadRows",
    "Dataset",
    "fingerprint",
    "label_columns",
    "open_image",
    "sample",
    "sampled_name",
    "split_by_group",
    "targets",
    "validate",
]

DOMAINS = ("medical", "natural")
BLOCK = 2**19


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
    codes, names = pd.factorize(pd.Series(group))
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
        A split `val` may be absent: a sweep then cuts one from the training rows, by seed.
    about : About

    Returns
    -------
    Dataset

    Raises
    ------
    BadRows
        If a text or group is empty, an image is absent or leaves the image root, a split name or label is unknown, or
        a group or an image is in two splits: one ValueError for every kind of problem, with counts and first rows.
    ValueError
        If a column is missing, the train or test split is empty, or a label is the only one.
    """
    where = f"dataset {about.name!r}"
    columns = ["image", "text", "split", "group", *label_columns(about)]
    if missing := [c for c in columns if c not in pairs]:
        raise ValueError(f"{where}: no column {', '.join(map(repr, missing))}; needed: {', '.join(columns)}")
    if pairs.empty:
        raise ValueError(f"{where}: there are no pairs")
    pairs = pairs.reset_index(drop=True)
    pairs = pairs[columns + [c for c in pairs if c not in columns]]
    problems = [
        (blank(pairs["text"]), "the text is empty; fill it or drop the row"),
        (~pairs["split"].isin(SPLITS), f"unknown split {VALUE}; use {', '.join(SPLITS)}", None, "split"),
        *image_problems(pairs["image"], about, where),
        (pairs["group"].isna(), "the group is empty; name the patient, lesion or image"),
        *label_problems(pairs, about),
    ]
    good = ~np.any([np.asarray(bad, bool) for bad, *_ in problems], axis=0)
    refuse(pairs, where, [*problems, *split_problems(pairs, good)])
    if empty_splits := [s for s in ("train", "test") if s not in pairs["split"].unique()]:
        raise ValueError(f"{where}: split {empty_splits[0]!r} has no rows; it needs some")
    flat = [c for c in label_columns(about) if pairs[c].nunique() < 2]
    if flat:
        same = flat[0] if about.task == "multilabel" else pairs["label"][0]
        raise ValueError(f"{where}: label {same!r} is the same in every row; there is nothing to learn")
    return Dataset(pairs, about)


def sample(dataset, n_pairs, seed=0):
    """A smaller dataset: about `n_pairs` pairs in whole groups, every split keeping its share.

    The dataset's name gains the number, so that its features are stored apart from the full ones.
    """
    if n_pairs is None:
        return dataset
    if isinstance(n_pairs, bool) or not isinstance(n_pairs, (int, np.integer)) or n_pairs < 1:
        raise ValueError(f"n_pairs must be a whole number from 1, or None for all, got {n_pairs!r}")
    pairs, about = dataset
    groups = pairs.groupby("group", sort=False).agg(n=("text", "size"), split=("split", "first"))
    groups = groups.sample(frac=1, random_state=seed)
    split = groups.groupby("split")["n"]
    keep = split.cumsum() <= n_pairs * split.transform("sum") / len(pairs)
    keep |= split.cumcount() == 0  # no split may vanish
    kept = pairs["group"].isin(groups.index[keep])
    return validate(pairs[kept], replace(about, name=sampled_name(about.name, n_pairs)))


def sampled_name(name, n_pairs):
    """Name of a dataset of which only about `n_pairs` are used."""
    return name if n_pairs is None else f"{name}-{n_pairs}"


def fingerprint(dataset):
    """Digest of everything an embedding or a probe depends on: texts, labels, splits, groups and images.

    Image bytes count by content; image files by path, size and time of change, so that a million need not be read.
    """
    pairs, about = dataset
    digest = hashlib.sha256(json.dumps(asdict(about) | {"root": None}, sort_keys=True).encode())
    for column in ["text", "split", "group", *label_columns(about)]:
        for start in range(0, len(pairs), BLOCK):  # no Python object for each of millions of rows at once
            codes, values = pd.factorize(pairs[column].iloc[start : start + BLOCK], use_na_sentinel=False)
            values = pd.Series(values).astype(str).to_numpy(object)
            digest.update(pd.util.hash_array(values, categorize=False)[codes].tobytes())
    codes, images = pd.factorize(pairs["image"])
    stamp = lru_cache(_stamp)
    for image in images.tolist():
        digest.update(image if isinstance(image, bytes) else f"{image} {stamp(about.root, member(image)[0])}".encode())
    digest.update(codes.tobytes())
    return digest.hexdigest()[:16]


def _stamp(root, file):
    stat = os.stat(os.path.join(root, file))
    return f"{stat.st_size} {stat.st_mtime_ns}"

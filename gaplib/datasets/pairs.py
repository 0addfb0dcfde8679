"""The image-text pair table: what it is, how it is checked, split, sampled and fingerprinted.

A pair table is a pandas DataFrame, one row a pair, with the columns

* `image`: the encoded file (bytes), or a path under the dataset's image root, or what `images.split_place` reads: an
  image inside a stored Arrow table or a tar archive there;
* `text`: a non-empty string;
* `split`: `train`, `val` or `test`;
* `group`: what must stay in one split (patient, lesion, drawing);
* the label column `label` (binary, multiclass: one of `About.labels`), or one 0/1 column per label (multilabel), or
  neither: pairs without labels are pairs.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from gaplib.datasets.images import cell, is_missing, open_image, split_place
from gaplib.datasets.shown import listed, shown
from gaplib.names import pick
from gaplib.rows import check_whole

__all__ = [
    "DOMAINS",
    "SPLITS",
    "SPLIT_ALIASES",
    "TASKS",
    "About",
    "BadRows",
    "Dataset",
    "each_once",
    "fingerprint",
    "label_columns",
    "open_image",
    "sample",
    "sampled_name",
    "split_by_group",
    "targets",
    "validate",
]

SPLITS = ("train", "val", "test")
SPLIT_ALIASES = {"training": "train", "testing": "test"}  # as others call it
SPLIT_ALIASES |= dict.fromkeys(("validate", "validation", "valid", "dev"), "val")
DOMAINS = ("medical", "natural")
TASKS = ("binary", "multiclass", "multilabel")
NEEDED = ("image", "text", "split", "group")
BLOCK = 2**19
FIRST = 10  # bad rows that an error names
EMPTY_TEXT = "the text is empty; fill it or drop the row"
EMPTY_IMAGE = "the image is empty; give a path under the image root"
OUTSIDE = (
    "the image path leaves the image root {root}; move the images or a link to them there, or name a folder above them "
    "as the root (`root=`)"
)
ABSENT = "no such image under {root}"


@dataclass(frozen=True)
class About:
    """What a pair table is about.

    `labels` are the class names; for a binary task the second one is the positive class. Pairs without labels have no
    `task` (None). `root` is the folder that relative image paths start from, or None when the table holds the image
    bytes.
    """

    name: str
    domain: str
    task: str | None = None
    labels: tuple[str, ...] = ()
    root: Path | None = None
    licence: str = ""
    citation: str = ""


class Dataset(NamedTuple):
    """A validated pair table and its description."""

    pairs: pd.DataFrame
    about: About


class BadRows(ValueError):
    """Rows that a pair table must not hold.

    `rows` are the positions of all of them, counted from 0 after the header, so that they can be dropped. Of a CSV::

        try:
            datasets.load("csv:mine.csv")
        except pairs.BadRows as bad:
            table = pd.read_csv("mine.csv", dtype=str, keep_default_na=False)
            table.drop(bad.rows).to_csv("good.csv", index=False)
    """

    def __init__(self, message: str, rows: Sequence[int] = ()):
        super().__init__(message)
        self.rows = rows


class Problem(NamedTuple):
    """One kind of bad row: which rows, what is wrong with them, and the column whose value tells."""

    bad: np.ndarray
    message: str
    column: str | None = None


def label_columns(about: About) -> list[str]:
    """Label columns of a pair table: `["label"]`, or the label names of a multilabel task; none without one."""
    return ["label"] if about.task in ("binary", "multiclass") else list(about.labels)


def targets(pairs: pd.DataFrame, about: About) -> np.ndarray:
    """Labels as numbers.

    Returns
    -------
    ndarray
        int64 codes of shape (n,) for binary and multiclass (-1: not a label), float32 of (n, k) for multilabel.

    Raises
    ------
    ValueError
        If there are no labels.

    Examples
    --------
    >>> about = About("toy", "natural", "binary", ("cat", "dog"))
    >>> targets(pd.DataFrame({"label": ["dog", "cat"]}), about)
    array([1, 0])
    """
    if about.task is None:
        raise ValueError(
            f"dataset {about.name!r} has no labels, and this needs them: measures, views and retrieval do not"
        )
    if about.task == "multilabel":
        return pairs[list(about.labels)].to_numpy(np.float32)
    return pd.Index(about.labels).get_indexer(pairs["label"]).astype(np.int64)


def split_by_group(group: Sequence, seed: int = 0, shares: Sequence[float] = (0.7, 0.1, 0.2)) -> np.ndarray:
    """A split name per row such that no group is in two splits.

    Groups are shuffled by `seed` and cut so that the rows come as close to `shares` (train, val, test) as whole
    groups allow, train and test having one at least where there are two. Rows without a group are one.

    Examples
    --------
    >>> split = split_by_group(["a", "a", "b", "c", "d"], seed=0, shares=(0.4, 0.2, 0.4))
    >>> bool(split[0] == split[1])
    True
    """
    codes, names = pd.factorize(pd.Series(group), use_na_sentinel=False)
    order = np.random.default_rng(seed).permutation(len(names))
    sizes = np.bincount(codes)[order]
    middle = (np.cumsum(sizes) - sizes / 2) / sizes.sum()
    split = np.empty(len(names), object)
    split[order] = np.array(SPLITS, object)[np.searchsorted(np.cumsum(shares)[:2], middle)]
    if len(names) > 1:
        split[order[0]] = "train"
        split[order[-1]] = "test" if shares[2] else split[order[-1]]
    return split[codes]


def validate(pairs: pd.DataFrame, about: About) -> Dataset:
    """The table with a fresh index and its own columns first, or one error that says what is wrong and where.

    Other names of the split `val` (`SPLIT_ALIASES`) become `val`; arrays and PIL images become PNG files.

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
        If a column is missing or there twice, the description contradicts itself, the train or test split is empty, or
        a label is the only one.
    """
    where = f"dataset {about.name!r}"
    _check_about(about, where)
    pairs = _tidy(pairs, about, where)
    problems = [
        *_text_problems(pairs["text"]),
        *_image_problems(pairs["image"], about, where),
        Problem(pairs["group"].isna(), "the group is empty; name the patient, lesion or image"),
        *_split_and_label_problems(pairs, about),
    ]
    good = ~np.any([np.asarray(problem.bad, bool) for problem in problems], axis=0)
    _refuse(pairs, where, [*problems, *_split_problems(pairs, good)])
    _check_variety(pairs, about, where)
    return Dataset(pairs, about)


def check_labels(pairs: pd.DataFrame, about: About, where: str) -> None:
    """Refuse splits and labels as `validate` does, whatever the images, texts and groups are."""
    _check_about(about, where)
    _check_columns(pairs, about, where)
    _refuse(pairs, where, list(_split_and_label_problems(pairs, about)))
    if about.task is not None:
        _check_variety(pairs, about, where)


def sample(dataset: Dataset, n_pairs: int | None, seed: int = 0) -> Dataset:
    """A smaller one of a validated dataset: about `n_pairs` pairs in whole groups, every split keeping its share.

    The dataset's name gains the number, so that its features are stored apart from the full ones.
    """
    if n_pairs is None:
        return dataset
    check_whole(n_pairs, "n_pairs must be a whole number from 1, or None for all")
    pairs, about = dataset
    _check_columns(pairs, about, f"dataset {about.name!r}")
    groups = pairs.groupby("group", sort=False).agg(n=("text", "size"), split=("split", "first"))
    groups = groups.sample(frac=1, random_state=seed)
    split = groups.groupby("split")["n"]
    keep = split.cumsum() <= n_pairs * split.transform("sum") / len(pairs)
    keep |= split.cumcount() == 0  # no split may vanish
    kept = pairs[pairs["group"].isin(groups.index[keep])].reset_index(drop=True)
    about = replace(about, name=sampled_name(about.name, n_pairs))
    _check_variety(kept, about, f"dataset {about.name!r}")
    return Dataset(kept, about)


def sampled_name(name: str, n_pairs: int | None) -> str:
    """Name of a dataset of which only about `n_pairs` are used."""
    return name if n_pairs is None else f"{name}-{n_pairs}"


def fingerprint(dataset: Dataset) -> str:
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
        if isinstance(image, bytes):
            digest.update(image)
        else:
            file, _ = split_place(image)
            digest.update(f"{image} {stamp(about.root, file)}".encode())
    digest.update(codes.tobytes())
    return digest.hexdigest()[:16]


def _stamp(root, file):
    stat = os.stat(os.path.join(root, file))
    return f"{stat.st_size} {stat.st_mtime_ns}"


def _check_about(about, where):
    """What a description must not say whatever the rows hold."""
    pick(DOMAINS, about.domain, f"domain of {where}:")
    labels = about.labels
    if about.task is None and not labels:
        return
    pick(TASKS, about.task, f"task of {where}:")
    if isinstance(labels, str) or not labels:
        raise ValueError(f"{where}: labels must be a tuple of names, got {shown(labels)}")
    if twice := _repeated(labels):
        raise ValueError(f"{where}: label {shown(twice[0])} is there more than once")
    if about.task == "binary" and len(labels) != 2:
        raise ValueError(f"{where}: a binary task has two labels, got {len(labels)}; say multiclass or multilabel")
    if taken := [label for label in label_columns(about) if label in NEEDED]:
        raise ValueError(f"{where}: a label cannot be called {taken[0]!r}, which is a column of its own")


def _check_columns(pairs, about, where):
    if not isinstance(pairs, pd.DataFrame):
        raise ValueError(f"{where}: pairs must be a pandas DataFrame, got {type(pairs).__name__}")
    columns = [*NEEDED, *label_columns(about)]
    if missing := [column for column in columns if column not in pairs]:
        raise ValueError(f"{where}: no column {', '.join(map(repr, missing))}; needed: {', '.join(map(str, columns))}")
    each_once(pairs, where)
    if pairs.empty:
        raise ValueError(f"{where}: there are no pairs")


def each_once(columns: Iterable, where: str) -> None:
    """Refuse a table that has a column more than once."""
    if twice := _repeated(columns):
        raise ValueError(f"{where}: column {listed(dict.fromkeys(twice))} is there more than once")


def _repeated(names):
    names = pd.Series(list(names), dtype=object)
    return list(names[names.duplicated()])


def _tidy(pairs, about, where):
    """The table with a fresh index, its own columns first, and one way to write a split and an image."""
    _check_columns(pairs, about, where)
    columns = [*NEEDED, *label_columns(about)]
    others = [column for column in pairs if column not in columns]
    pairs = pairs[columns + others].reset_index(drop=True)
    pairs["split"] = pairs["split"].replace(SPLIT_ALIASES)
    if pd.api.types.infer_dtype(pairs["image"]) not in ("string", "bytes"):
        pairs["image"] = [cell(image, f"{where}, row {row}") for row, image in enumerate(pairs["image"])]
    return pairs


def _check_variety(pairs, about, where):
    """Both splits that every study needs, and labels that vary."""
    there = set(pairs["split"])
    groups = pairs["group"].nunique()
    empty = [split for split in ("train", "test") if split not in there]
    if empty and groups == 1:
        one = f"{len(pairs):,} rows, but one group ({shown(pairs['group'].iloc[0])})"
        raise ValueError(f"{where}: {one if len(pairs) > 1 else 'only one pair'}: two splits need two groups")
    if empty:
        size = f"there are {len(pairs):,} rows in {groups:,} groups"
        raise ValueError(f"{where}: split {empty[0]!r} has no rows; {size}: add pairs, or give some this split")
    if flat := [column for column in label_columns(about) if pairs[column].nunique() < 2]:
        same = flat[0] if about.task == "multilabel" else pairs["label"].iloc[0]
        raise ValueError(f"{where}: label {shown(same)} is the same in every row; there is nothing to learn")


def _refuse(pairs, where, problems):
    """Raise one error for all problems that there are."""
    found = [problem for problem in problems if np.any(problem.bad)]
    if not found:
        return
    bad = pairs.index[np.any([np.asarray(problem.bad, bool) for problem in found], axis=0)]
    lines = [_line(pairs, problem) for problem in found]
    if len(lines) == 1:
        raise BadRows(f"{where}, {lines[0]}", bad)
    head = f"{where}: {len(bad):,} of {len(pairs):,} rows are bad, in {len(lines)} ways"
    raise BadRows("\n  ".join([f"{head}; `pairs.BadRows` tells how to drop them", *lines]), bad)


def _line(pairs, problem):
    """A problem in one line: its first row and the value there, what is wrong, and which other rows have it."""
    rows = pairs.index[np.asarray(problem.bad, bool)]
    value = f" ({problem.column} {shown(pairs[problem.column][rows[0]])})" if problem.column else ""
    line = f"row {rows[0]}{value}: {problem.message}"
    if len(rows) == 1:
        return line
    first = ", ".join(map(str, rows[:FIRST]))
    return f"{line} ({len(rows):,} such rows: {first}{', ...' if len(rows) > FIRST else ''})"


def _text_problems(text) -> Iterator[Problem]:
    if isinstance(text.dtype, pd.StringDtype):  # millions of rows, without a Python object for each
        yield Problem(text.isna() | text.str.isspace() | (text.str.len() == 0), EMPTY_TEXT)
        return
    messages = text.map(_text_problem)
    for message in messages.dropna().unique():
        yield Problem(messages == message, message, None if message == EMPTY_TEXT else "text")


def _text_problem(text):
    if is_missing(text) or (isinstance(text, str) and not text.strip()):
        return EMPTY_TEXT
    if not isinstance(text, str):
        return f"the text must be a string, not {type(text).__name__}"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "the text is no valid Unicode; read it as UTF-8, or drop the row"
    return None


def _image_problems(image, about, where) -> Iterator[Problem]:
    codes, names = pd.factorize(image)
    root = about.root and os.path.abspath(about.root)
    if root is None and any(isinstance(name, str) for name in names):
        raise ValueError(f"{where}: images are paths, but there is no image root")
    there = lru_cache(os.path.isfile)  # many images of a stored table are in one file
    messages = [_image_problem(name, root, there) for name in names.tolist()]
    messages = np.array([*messages, EMPTY_IMAGE], object)[codes]  # the last place: missing
    for message in (EMPTY_IMAGE, OUTSIDE, ABSENT):
        yield Problem(messages == message, message.format(root=root), None if message == EMPTY_IMAGE else "image")


def _image_problem(image, root, there):
    if not image:
        return EMPTY_IMAGE
    if isinstance(image, bytes):
        return None
    path = os.path.join(root, split_place(image)[0])
    # Only a path that is absolute or climbs can leave the root; a link inside it may well lead to another disk.
    if (".." in image or os.path.isabs(image)) and not os.path.normpath(path).startswith(os.path.join(root, "")):
        return OUTSIDE
    return None if there(path) else ABSENT


def _split_and_label_problems(pairs, about) -> Iterator[Problem]:
    yield Problem(~pairs["split"].isin(SPLITS), f"unknown split; use {', '.join(SPLITS)}", "split")
    if about.task not in ("binary", "multiclass"):
        for label in about.labels:
            yield Problem(~pairs[label].isin([0, 1]), f"label {label!r} must be 0 or 1", label)
        return
    empty = pairs["label"].isna()
    yield Problem(empty, "the label is empty; fill it or drop the row")
    yield Problem(~pairs["label"].isin(about.labels) & ~empty, f"unknown label; use {listed(about.labels)}", "label")


def _split_problems(pairs, good) -> Iterator[Problem]:
    """Groups and images that the `good` rows have in more than one split."""
    for column in ("group", "image"):
        splits = pairs["split"][good].groupby(pairs[column][good]).transform("nunique")
        apart = splits.reindex(pairs.index, fill_value=0).to_numpy() > 1
        yield Problem(apart, f"its {column} is in two splits; move all of its rows to one", column)
        good = good & ~apart

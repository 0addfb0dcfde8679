"""What can be wrong with the rows of a pair table, column by column, and the one error that tells all of it."""

import os
from functools import lru_cache

import numpy as np
import pandas as pd

from gaplib.datasets.images import member, named

SPLITS = ("train", "val", "test")
VALUE = "<value>"
FIRST = 10  # bad rows that an error names
FINE, EMPTY, OUTSIDE, ABSENT = range(4)  # what an image of a table can be


class BadRows(ValueError):
    """Rows that a pair table must not hold.

    `rows` are the positions of all of them, counted from 0 after the header, so that they can be dropped. Of a CSV::

        try:
            datasets.load("csv:mine.csv")
        except pairs.BadRows as bad:
            table = pd.read_csv("mine.csv", dtype=str, keep_default_na=False)
            table.drop(bad.rows).to_csv("good.csv", index=False)
    """

    def __init__(self, message, rows=()):
        super().__init__(message)
        self.rows = rows


def refuse(pairs, where, problems):
    """Raise one error for all problems that there are: (rows, message, column to show, column to put for VALUE)."""
    lines, every = [], np.zeros(len(pairs), bool)
    for bad, message, *columns in problems:
        rows = np.flatnonzero(bad)
        if not len(rows):
            continue
        every[rows] = True
        show, of = (*columns, None, None)[:2]
        shown = f" ({show} {named(pairs[show][rows[0]])})" if show else ""
        message = message.replace(VALUE, repr(pairs[of][rows[0]]) if of else "")
        more = f" ({len(rows):,} such rows: {', '.join(map(str, rows[:FIRST]))}{', ...' * (len(rows) > FIRST)})"
        lines.append(f"row {rows[0]}{shown}: {message}{more * (len(rows) > 1)}")
    if len(lines) == 1:
        raise BadRows(f"{where}, {lines[0]}", np.flatnonzero(every))
    if lines:
        head = f"{where}: {int(every.sum()):,} of {len(pairs):,} rows are bad, in {len(lines)} ways"
        raise BadRows("\n  ".join([f"{head}; `pairs.BadRows` tells how to drop them", *lines]), np.flatnonzero(every))


def blank(text):
    if isinstance(text.dtype, pd.StringDtype):  # millions of rows, without a Python object for each
        return text.isna() | text.str.isspace() | (text.str.len() == 0)
    return ~text.map(lambda value: isinstance(value, str) and bool(value.strip())).astype(bool)


def split_problems(pairs, good):
    """Groups and images that the `good` rows have in more than one split."""
    for column in ("group", "image"):
        apart = _torn(pairs[column], pairs["split"], good)
        yield apart, f"its {column} is in two splits; move all of its rows to one", column
        good = good & ~apart


def _torn(column, split, good):
    codes, names = pd.factorize(column)
    kinds = pd.factorize(split)[0]
    first = np.zeros(len(names) + 1, kinds.dtype)  # split of each value's first row; the last place: value missing
    first[codes[good][::-1]] = kinds[good][::-1]
    apart = np.zeros(len(first), bool)
    apart[codes[good & (kinds != first[codes])]] = True
    return apart[codes] & good


def image_problems(image, about, where):
    codes, names = pd.factorize(image)
    names, root = names.tolist(), about.root and os.path.abspath(about.root)
    if root is None and any(isinstance(name, str) for name in names):
        raise ValueError(f"{where}: images are paths, but there is no image root")
    there = lru_cache(os.path.isfile)  # many images of a stored table are in one file
    state = np.array([_image_state(name, root, there) for name in names] + [EMPTY], np.int8)[codes]
    yield state == EMPTY, "the image is empty; give a path under the image root"
    yield state == OUTSIDE, f"the image path leaves the image root {root}", "image"
    yield state == ABSENT, f"no such image under {root}", "image"


def _image_state(image, root, there):
    if isinstance(image, bytes):
        return FINE
    if not isinstance(image, str) or not image:
        return EMPTY
    path = os.path.join(root, member(image)[0])
    # Only a path that is absolute or climbs can leave the root; a link inside it may well lead to another disk.
    if (".." in image or os.path.isabs(image)) and not os.path.normpath(path).startswith(os.path.join(root, "")):
        return OUTSIDE
    return FINE if there(path) else ABSENT


def label_problems(pairs, about):
    if about.task == "multilabel":
        for label in about.labels:
            yield ~pairs[label].isin([0, 1]), f"label {label!r} must be 0 or 1"
    else:
        empty = pairs["label"].isna()
        yield empty, "the label is empty; fill it or drop the row"
        yield ~pairs["label"].isin(about.labels) & ~empty, f"unknown label {VALUE}", None, "label"

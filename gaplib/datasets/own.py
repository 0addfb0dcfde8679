"""Your own image-text pairs, from one CSV."""

import hashlib
from pathlib import Path

import pandas as pd

from gaplib.pairs import DOMAINS, About, Dataset, split_by_group

NEEDED = ("image", "text")
KNOWN = {*NEEDED, "label", "split", "group", "domain"}


def name(path):
    """What the pairs of a CSV are called: its stem and a digest of where it is, so that two `pairs.csv` differ."""
    path = Path(path).resolve()
    return f"{path.stem}-{hashlib.sha256(str(path).encode()).hexdigest()[:6]}"


def load(path):
    """Pairs from a CSV with the columns `image`, `text`, `label`, and optionally `split`, `group` and `domain`.

    Image paths are relative to the CSV's folder. Without `group` every image is its own group; without `split` the
    groups are cut 70/10/20 into train, val and test. Without `label`, every further column that holds only 0 and 1
    is a label of a multilabel task. `domain` is `natural` (the default) or `medical`, the same in every row.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not a CSV, has no rows, or a needed column or value is missing.

    Examples
    --------
    >>> load("absent.csv")
    Traceback (most recent call last):
    ...
    FileNotFoundError: no CSV at absent.csv; give `csv:` and the path of a file with image, text and label columns
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"no CSV at {path}; give `csv:` and the path of a file with image, text and label columns"
        )
    try:
        # Only an empty cell is missing: "None" and "NA" are words that people write.
        pairs = pd.read_csv(path, dtype=dict.fromkeys(KNOWN, str), keep_default_na=False, na_values=[""])
    except (ValueError, TypeError) as error:  # pandas' parser and decoding errors among them
        raise ValueError(f"{path} cannot be read as a UTF-8 CSV with a header line and rows ({error})") from error
    if missing := [column for column in NEEDED if column not in pairs]:
        raise ValueError(f"{path}: no column {', '.join(map(repr, missing))}; it has {', '.join(pairs)}")
    for column in set(pairs) & KNOWN:
        if pairs[column].isna().any():
            row = int(pairs[column].isna().argmax())
            raise ValueError(f"{path}, row {row}: the {column} is empty; fill it or drop the row")
    task, labels = _labels(pairs, path)
    domain = set(pairs.pop("domain")) if "domain" in pairs else {"natural"}
    if len(domain) > 1 or not domain <= set(DOMAINS):
        raise ValueError(f"{path}: domain must be one of {', '.join(DOMAINS)} in every row, got {', '.join(domain)}")
    if "group" not in pairs:
        pairs["group"] = pairs["image"]
    if "split" not in pairs:
        pairs["split"] = split_by_group(pairs["group"])
    return Dataset(pairs, About(name(path), domain.pop(), task, labels, path.parent.resolve()))


def _labels(pairs, path):
    """Task and label names that the columns tell of."""
    if "label" in pairs:
        labels = tuple(sorted(pairs["label"].unique()))
        return ("binary" if len(labels) == 2 else "multiclass"), labels
    labels = tuple(c for c in pairs if c not in KNOWN and pairs[c].isin([0, 1]).all())
    if not labels:
        raise ValueError(f"{path}: no column 'label', and no 0/1 columns to use as labels")
    return "multilabel", labels

"""Your own image-text pairs: one CSV, or a folder that the library `datasets` saved.

Both are read in columns, so ten million rows are no different from ten; images are opened when they are needed.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from gaplib.datasets.pairs import DOMAINS, About, Dataset, split_by_group

NEEDED = ("image", "text")
KNOWN = (*NEEDED, "label", "split", "group", "domain")
SPLIT_NAMES = {"validation": "val", "valid": "val"}  # as others call it


def name(path):
    """What the pairs of a path are called: its stem and a digest of where it is, so that two `pairs.csv` differ."""
    path = Path(path).resolve()
    return f"{path.stem}-{hashlib.sha256(str(path).encode()).hexdigest()[:6]}"


def load(path):
    """Pairs from a CSV with the columns `image`, `text`, `label`, and optionally `split`, `group` and `domain`.

    Image paths are relative to the CSV's folder. Without `group` every image is its own group; without `split` the
    groups are cut 70/10/20 into train, val and test. Without `label`, every further column that holds only 0 and 1 (or
    nothing: such rows are bad) is a label of a multilabel task. `domain` is `natural` (the default) or `medical`, the
    same in every row. Only an empty cell is missing: "None" and "NA" are words that people write.

    Rows that will not do are all named at once by `pairs.validate`; its error `pairs.BadRows` shows how to drop them.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not a CSV, has no rows, lacks a column or has it twice, or there is nothing to use as label.

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
    parse = csv.ParseOptions(newlines_in_values=True)
    try:
        with csv.open_csv(path, parse_options=parse) as head:
            types = dict.fromkeys(head.schema.names, pa.string())
            columns = head.schema.names
        convert = csv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=True)
        table = csv.read_csv(path, parse_options=parse, convert_options=convert)
    except ValueError as error:  # pyarrow's parser and Unicode errors among them
        raise ValueError(f"{path} cannot be read as a UTF-8 CSV with a header line and rows ({error})") from error
    if twice := {column for column in columns if columns.count(column) > 1}:
        raise ValueError(f"{path}: column {', '.join(map(repr, sorted(twice)))} is there more than once")
    for i, column in enumerate(columns):
        if column not in KNOWN:
            table = table.set_column(i, column, _number(table[column]))
    return _dataset(table, path, path.parent.resolve(), {})


def load_stored(path):
    """Pairs from a folder that `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote.

    Columns as in a CSV. `image` is an Image feature, whose bytes stay in the stored file until they are needed, or a
    path relative to the folder. `label` may be a class label. A DatasetDict gives the splits: `train`, `validation`
    and `test`.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If it is not such a folder, lacks a column, or there is nothing to use as label.
    """
    import datasets  # the library, not this package

    path = Path(path)
    if not path.is_dir():
        raise FileNotFoundError(f"no folder at {path}; give `disk:` and the path of a folder made by save_to_disk")
    try:
        stored = datasets.load_from_disk(str(path), keep_in_memory=False)
    except (OSError, ValueError, KeyError, pa.ArrowException, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a folder made by save_to_disk ({error})") from error
    parts = stored if isinstance(stored, dict) else {None: stored}
    tables, names = [], {}
    for split, part in parts.items():
        if isinstance(part.features.get("label"), datasets.ClassLabel):
            names = dict(enumerate(part.features["label"].names))
        for file in dict.fromkeys(cache["filename"] for cache in part.cache_files):
            table = pa.ipc.open_stream(pa.memory_map(file)).read_all()
            table = _referred(table, Path(file).resolve().relative_to(path.resolve()).as_posix())
            if split is not None:
                table = table.drop_columns([c for c in table.column_names if c == "split"])
                table = table.append_column("split", pa.repeat(SPLIT_NAMES.get(split, split), len(table)))
            tables.append(table)
    if not tables:
        raise ValueError(f"{path} holds no rows")
    return _dataset(pa.concat_tables(tables, promote_options="permissive"), path, path.resolve(), names)


def _referred(table, file):
    """The table without nested columns but the images, and where it holds these, `FILE.arrow#ROW` in their place."""
    image = table["image"] if "image" in table.column_names else None
    nested = [field.name for field in table.schema if pa.types.is_nested(field.type)]
    table = table.drop_columns(nested)
    if "image" not in nested:
        return table
    rows = pc.cast(pa.array(np.arange(len(table))), pa.string())
    held = pc.is_valid(pc.struct_field(image, "bytes"))
    here = pc.binary_join_element_wise(file, rows, "#")
    return table.append_column("image", pc.if_else(held, here, pc.struct_field(image, "path")))


def _number(column):
    """A column of text as numbers, if they all are."""
    for kind in (pa.int64(), pa.float64()):
        try:
            return column.cast(kind)
        except pa.ArrowInvalid:
            continue
    return column


def _dataset(table, path, root, names):
    """The pair table, and what it is about; rows that will not do are left to `pairs.validate`."""
    if missing := [column for column in NEEDED if column not in table.column_names]:
        raise ValueError(f"{path}: no column {', '.join(map(repr, missing))}; it has {', '.join(table.column_names)}")
    if "label" in table.column_names and not names:
        place = table.column_names.index("label")
        table = table.set_column(place, "label", pc.cast(table["label"], pa.string()))
    pairs = table.to_pandas()
    if names:
        pairs["label"] = pairs["label"].map(names)
    task, labels = _labels(pairs, path, names)
    domain = set(pairs.pop("domain").unique()) if "domain" in pairs else {"natural"}
    if len(domain) > 1 or not domain <= set(DOMAINS):
        raise ValueError(f"{path}: domain must be one of {', '.join(DOMAINS)} in every row, got {_listed(domain)}")
    if "group" not in pairs:
        pairs["group"] = pairs["image"].fillna("")
    if "split" not in pairs:
        pairs["split"] = split_by_group(pairs["group"])
    return Dataset(pairs, About(name(path), domain.pop(), task, labels, root))


def _labels(pairs, path, names):
    """Task and label names that the columns tell of."""
    if "label" in pairs:
        there = set(pairs["label"].dropna().unique())
        labels = tuple(label for label in names.values() if label in there) if names else tuple(sorted(there))
        return ("binary" if len(labels) == 2 else "multiclass"), labels
    further = {c: pairs[c].dropna() for c in pairs if c not in KNOWN}
    # One with empty cells is a label too, or a few bad rows would silently cost a whole label.
    labels = tuple(c for c, values in further.items() if len(values) and values.isin([0, 1]).all())
    if not labels:
        raise ValueError(f"{path}: no column 'label', and no 0/1 columns to use as labels")
    return "multilabel", labels


def _listed(values):
    return ", ".join(sorted(map(str, values)))

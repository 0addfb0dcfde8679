"""Your own image-text pairs: one CSV, or a folder that the library `datasets` saved.

Both are read in columns, so ten million rows are no different from ten; images are opened when they are needed.
"""

import contextlib
import hashlib
import json
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from gaplib import paths
from gaplib.datasets.pairs import DOMAINS, About, Dataset, split_by_group
from gaplib.datasets.shown import listed, shown
from gaplib.names import extra, plain

NEEDED = ("image", "text")
KNOWN = (*NEEDED, "label", "split", "group", "domain")
SOURCE = "source.txt"  # beside the features of own pairs: where these are
SLIPS = 0.1  # share of a label's rows that may be wrong: it is refused with them, not taken for no label


def name_of(path: str | Path, given: str = "", reserved: Collection[str] = ()) -> str:
    """What the pairs of a path are called: as given, or the file's own name without its ending.

    Where other pairs have the file's name already, a digest of its path is added, so that two `pairs.csv` differ.

    Parameters
    ----------
    path : str or Path
    given : str
        The name that the user gave, if any.
    reserved : collection of str
        Names that are not to be had.

    Raises
    ------
    ValueError
        If the name is not a plain one; or it was given, and is another's.
    """
    path = Path(path).expanduser().resolve()
    if not given:
        stem = plain(path.stem, "dataset (say `csv:PATH as NAME`)")
        full = f"{stem}-{hashlib.sha256(str(path).encode()).hexdigest()[:6]}"
        known_in_full = _owner(full) == str(path)
        return full if known_in_full or stem in reserved or _owner(stem) not in (None, str(path)) else stem
    plain(given, "dataset")
    if given in reserved:
        raise ValueError(f"{path} cannot be called {given!r}: that is a dataset of gaplib")
    if _owner(given) not in (None, str(path)):
        folder = paths.features(given)
        raise ValueError(f"{path} cannot be called {given!r}: so is {_owner(given)}; say another, or remove {folder}")
    return given


def claim(name: str, path: str | Path) -> None:
    """Note beside the features of `name` whose name it is; where nothing can be written, there are no features."""
    note = paths.features(name) / SOURCE
    with contextlib.suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(str(Path(path).expanduser().resolve()))


def _owner(name):
    """The path whose pairs go by a name, if there are any."""
    note = paths.features(name) / SOURCE
    return note.read_text() if note.is_file() else None


def from_csv(path: str | Path, name: str) -> Dataset:
    """Pairs from a CSV with the columns `image`, `text`, `label`, and optionally `split`, `group` and `domain`.

    Image paths are relative to the CSV's folder. Without `group` every image is its own group; without `split` the
    groups are cut 70/10/20 into train, val and test. Without `label`, every further column that holds only 0 and 1 (or
    nothing, or something else here and there: such rows are bad) is a label of a multilabel task. `domain` is `natural`
    (the default) or `medical`, the same in every row. Only an empty cell is missing: "None" and "NA" are words that
    people write.

    Rows that will not do are all named at once by `pairs.validate`; its error `pairs.BadRows` shows how to drop them.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not a CSV, has no rows, lacks a column or has it twice, or there is nothing to use as label.

    Examples
    --------
    >>> from_csv("absent.csv", "absent")
    Traceback (most recent call last):
    ...
    FileNotFoundError: no CSV at absent.csv; give `csv:` and the path of a file with image, text and label columns
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"no CSV at {path}; give `csv:` and the path of a file with image, text and label columns"
        )
    return _dataset(_read_csv(path), path, path.parent.resolve(), name)


def _read_csv(path):
    """All columns as text, but further ones that hold numbers."""
    with path.open("rb") as file:
        if b"\0" in file.read(4096):
            raise ValueError(f"{path} is a binary file, or text of another encoding; save the table as a UTF-8 CSV")
    parse = csv.ParseOptions(newlines_in_values=True)
    try:
        with csv.open_csv(path, parse_options=parse) as head:
            columns = head.schema.names
        types = dict.fromkeys(columns, pa.string())
        convert = csv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=True)
        table = csv.read_csv(path, parse_options=parse, convert_options=convert)
    except ValueError as error:  # pyarrow's parser and Unicode errors among them
        reason = shown(str(error))
        raise ValueError(f"{path} cannot be read as a UTF-8 CSV with a header line and rows ({reason})") from error
    if twice := {column for column in columns if columns.count(column) > 1}:
        raise ValueError(f"{path}: column {listed(sorted(twice))} is there more than once")
    for place, column in enumerate(columns):
        if column not in KNOWN:
            table = table.set_column(place, column, _number(table[column]))
    return table


def _number(column):
    """A column of text as numbers, if they all are."""
    for kind in (pa.int64(), pa.float64()):
        try:
            return column.cast(kind)
        except pa.ArrowInvalid:
            continue
    return column


def from_disk(path: str | Path, name: str) -> Dataset:
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
    library = extra("datasets", "encoders")
    path = Path(path).expanduser()
    if not path.is_dir():
        raise FileNotFoundError(f"no folder at {path}; give `disk:` and the path of a folder made by save_to_disk")
    try:
        stored = library.load_from_disk(str(path), keep_in_memory=False)
    except (OSError, ValueError, KeyError, pa.ArrowException, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a folder made by save_to_disk ({shown(str(error))})") from error
    parts = stored if isinstance(stored, dict) else {None: stored}
    tables = []
    for split, part in parts.items():
        tables += _stored_tables(part, split, path)
    if not tables:
        raise ValueError(f"{path} holds no rows")
    table = pa.concat_tables(tables, promote_options="permissive")
    label = next(iter(parts.values())).features.get("label")
    return _dataset(table, path, path.resolve(), name, getattr(label, "names", ()))


def _stored_tables(part, split, path):
    """The files of one stored dataset, as tables that say which split they are."""
    for file in dict.fromkeys(cache["filename"] for cache in part.cache_files):
        table = pa.ipc.open_stream(pa.memory_map(file)).read_all()
        table = _referred(table, Path(file).resolve().relative_to(path.resolve()).as_posix())
        if split is not None:
            table = table.drop_columns([column for column in table.column_names if column == "split"])
            table = table.append_column("split", pa.repeat(split, len(table)))
        yield table


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


def _dataset(table, path, root, name, classes=()):
    """The pair table, and what it is about; rows that will not do are left to `pairs.validate`."""
    if missing := [column for column in NEEDED if column not in table.column_names]:
        raise ValueError(f"{path}: no column {listed(missing)}; it has {listed(table.column_names)}")
    if not len(table):
        raise ValueError(f"{path}: there are no pairs")
    if "label" in table.column_names and not classes:
        place = table.column_names.index("label")
        table = table.set_column(place, "label", pc.cast(table["label"], pa.string()))
    pairs = table.to_pandas()
    domain = _domain(pairs, path)
    task, labels = _one_label(pairs, classes) if "label" in pairs else ("multilabel", _zero_one_labels(pairs, path))
    if "group" not in pairs:
        pairs["group"] = pairs["image"].fillna("")
    if "split" not in pairs:
        pairs["split"] = split_by_group(pairs["group"])
    return Dataset(pairs, About(name, domain, task, labels, root))


def _domain(pairs, path):
    """The one domain that all rows say, which is no column of the pair table."""
    domains = set(pairs.pop("domain")) if "domain" in pairs else {"natural"}
    if len(domains) > 1 or not domains <= set(DOMAINS):
        there = listed(sorted(domains, key=str))
        raise ValueError(f"{path}: domain must be one of {', '.join(DOMAINS)} in every row, got {there}")
    return domains.pop()


def _one_label(pairs, classes):
    """Task and label names of the column `label`, which gets the names of its classes where it holds their numbers."""
    if classes:
        pairs["label"] = pairs["label"].map(dict(enumerate(classes)))
    there = set(pairs["label"].dropna())
    labels = tuple(label for label in classes or sorted(there) if label in there)
    return ("binary" if len(labels) == 2 else "multiclass"), labels


def _zero_one_labels(pairs, path):
    """Names of the further columns that are labels."""
    labels = []
    for column in [column for column in pairs if column not in KNOWN]:
        numbers = pd.to_numeric(pairs[column], errors="coerce")
        if _is_label(numbers[pairs[column].notna()]):
            pairs[column] = numbers.where(numbers.notna(), pairs[column])
            labels.append(column)
    if not labels:
        raise ValueError(f"{path}: no column 'label', and no 0/1 columns to use as labels; it has {listed(pairs)}")
    return tuple(labels)


def _is_label(values):
    """Whether values are 0 and 1, but for a few slips, or -1 for uncertain: these are bad rows, not another column."""
    wrong = ~values.isin([0, 1])
    if len(values) == 0 or not wrong.any():
        return len(values) > 0
    both = values[~wrong].nunique() == 2
    return both and bool((values[wrong] == -1).all() or wrong.sum() <= max(1, SLIPS * len(values)))

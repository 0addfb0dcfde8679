"""Embeddings that somebody else computed: from CSV, parquet or npz to the arrays and the pair table of a feature file.

The layout is that of the source paper's code (github.com/dsrestrepo/Embedding-Alignment, `src/vlm_embeddings.py`): the
dataset's own columns beside `img_emb_0`, `img_emb_1`, ... and `text_emb_0`, ..., one row a pair, and a `split` column.
"""

import hashlib
import re
import zipfile

import numpy as np
import pandas as pd

from gaplib.datasets.pairs import DOMAINS, SPLITS, About
from gaplib.names import pick

PREFIXES = {"image": "img_emb_", "text": "text_emb_"}
VALIDATION = dict.fromkeys(("validate", "validation", "valid", "dev"), "val")
CHUNK = 20_000  # rows of a CSV that are parsed at a time
NORM = 1e-3  # how far from 1 a norm may be before we say that we normalise


def load(path, name, label, domain, separator, least, columns):
    """Arrays, pair table and description; see `features.read` for the parameters and errors."""
    if not path.is_file():
        raise FileNotFoundError(f"no file {path} to read embeddings from")
    pick(dict.fromkeys(DOMAINS), domain, "domain")
    try:
        x, table = pick(KINDS, path.suffix.lower(), "kind of embedding file")(path)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path} cannot be read ({error})") from error
    if len(x["image"]) != len(x["text"]) or x["image"].shape[1] != x["text"].shape[1] or not x["image"].size:
        raise ValueError(f"{path}: image embeddings of shape {x['image'].shape}, text embeddings of {x['text'].shape}")
    x = {kind: _unit(rows, f"{path}: {kind}") for kind, rows in x.items()}
    pairs = _pairs(path, table, columns)
    keep, task, labels, targets = _labels(path, table, label, pairs["split"], separator, least)
    pairs, arrays = pairs[keep].join(targets).reset_index(drop=True), {}
    for kind, rows in x.items():
        # Equal rows are stored once, as if gaplib had encoded each distinct image and text.
        index, _ = pd.factorize(np.array([hashlib.sha256(row).hexdigest() for row in rows[keep]]))
        arrays[f"{kind}_index"] = index
        arrays[kind] = rows[keep][pd.Series(index).drop_duplicates().index]
    if missing := [split for split in ("train", "test") if not (pairs["split"] == split).any()]:
        raise ValueError(f"{path}: no pairs in split {missing[0]!r}")
    _warn_of_merges(path, pairs, arrays)
    return arrays, pairs, About(name, domain, task, labels)


def digest(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _columns(path, names):
    """Embedding columns of each kind, sorted by number."""
    found = {}
    for kind, prefix in PREFIXES.items():
        numbers = sorted(int(match[1]) for name in names if (match := re.fullmatch(rf"{prefix}(\d+)", str(name))))
        if not numbers:
            raise ValueError(f"{path}: no columns {prefix}0, {prefix}1, ...; it has {', '.join(map(str, names[:9]))}")
        found[kind] = [f"{prefix}{number}" for number in numbers]
    return found


def _csv(path):
    columns = _columns(path, list(pd.read_csv(path, nrows=0)))
    types = {name: np.float32 for names in columns.values() for name in names}
    # Only an empty cell is missing: "None" and "NA" are words that people write.
    options = {"keep_default_na": False, "na_values": [""], "chunksize": CHUNK}
    try:
        chunks = [_split(chunk, columns) for chunk in pd.read_csv(path, dtype=types, low_memory=False, **options)]
    except (ValueError, TypeError):
        _name_cell(path, list(types), options)
        raise
    if not chunks:
        raise ValueError(f"{path} has no rows")
    x = {kind: np.concatenate([rows[kind] for rows, _ in chunks]) for kind in PREFIXES}
    return x, pd.concat([table for _, table in chunks], ignore_index=True)


def _name_cell(path, names, options):
    """Raise for the first embedding cell that is not a number."""
    for chunk in pd.read_csv(path, usecols=names, dtype=str, **options):
        bad = chunk.notna() & chunk.apply(pd.to_numeric, errors="coerce").isna()
        if bad.any(axis=None):
            row, column = np.argwhere(bad.to_numpy())[0]
            value = chunk.iat[row, column]
            raise ValueError(
                f"{path}, row {chunk.index[row]}, column {chunk.columns[column]!r}: {value!r} is no number"
            )


def _parquet(path):
    frame = pd.read_parquet(path)
    return _split(frame.reset_index(drop=True), _columns(path, list(frame)))


def _split(frame, columns):
    x = {kind: frame[names].to_numpy(np.float32) for kind, names in columns.items()}
    return x, frame.drop(columns=[name for names in columns.values() for name in names])


def _npz(path):
    with np.load(path, allow_pickle=False) as stored:
        arrays = dict(stored)
    if missing := [kind for kind in PREFIXES if kind not in arrays or arrays[kind].ndim != 2]:
        raise ValueError(f"{path}: no array {missing[0]!r} of shape (n, d); it has {', '.join(arrays)}")
    x = {kind: arrays.pop(kind).astype(np.float32) for kind in PREFIXES}
    if wrong := [name for name, array in arrays.items() if array.shape != (len(x["image"]),)]:
        raise ValueError(f"{path}: array {wrong[0]!r} is of shape {arrays[wrong[0]].shape}; one entry a pair is needed")
    return x, pd.DataFrame(arrays)


KINDS = {".csv": _csv, ".parquet": _parquet, ".npz": _npz}


def _unit(rows, where):
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    wrong = np.flatnonzero(~(np.isfinite(norms[:, 0]) & (norms[:, 0] > 0)))
    if len(wrong):
        cells = np.flatnonzero(~np.isfinite(rows[wrong[0]]))
        what = f"number {cells[0]} is missing or not finite" if len(cells) else "it is zero"
        raise ValueError(f"{where} embedding of row {wrong[0]}: {what} ({len(wrong)} such rows); drop or mend them")
    if (off := np.abs(norms - 1).max()) > NORM:
        print(f"{where} embeddings are not of unit norm (off by up to {off:.3g}): normalised")
    return rows / norms


def _pairs(path, table, columns):
    """Image, text, split and group of each row; where the file does not say, an image is named by its row."""
    for name, column in columns.items():
        if column is not None and column not in table:
            raise ValueError(f"{path}: no column {column!r} to take as {name}; it has {', '.join(map(str, table))}")
    if "split" not in table:
        raise ValueError(f"{path}: no column 'split'; it has {', '.join(map(str, table))}")
    split = table["split"].replace(VALIDATION)
    if (unknown := ~split.isin(SPLITS)).any():
        row = int(unknown.argmax())
        raise ValueError(f"{path}, row {row}: unknown split {table['split'][row]!r}; use {', '.join(SPLITS)}")

    def column(name, otherwise):
        given = columns[name] or (name if name in table else None)
        return table[given].fillna("").astype(str) if given else otherwise

    image = column("image", table.index.astype(str).to_series(table.index))
    text = column("text", pd.Series("", table.index))
    pairs = pd.DataFrame({"image": image, "text": text, "split": split, "group": column("group", image)})
    if torn := int((pairs.groupby("group")["split"].nunique() > 1).sum()):
        print(f"{path}: {torn:,} groups are in more than one split: test rows are not independent of training rows")
    return pairs


def _labels(path, table, label, split, separator, least):
    """Rows to keep, task, label names, and the label columns."""
    wanted = [label] if isinstance(label, str) else list(label)
    if missing := [name for name in wanted if name not in table]:
        raise ValueError(f"{path}: no label column {missing[0]!r}; it has {', '.join(map(str, table))}")
    columns = table[wanted]
    if isinstance(label, str):
        if columns[label].isna().any():
            raise ValueError(
                f"{path}, row {int(columns[label].isna().argmax())}: no {label!r}; fill it or drop the row"
            )
        if separator is None:
            return _one_label(path, columns[label], label)
        columns = columns[label].astype(str).str.get_dummies(separator)
        columns = columns.loc[:, columns[split == "test"].sum() >= least]
        keep = columns.any(axis=1)
    else:
        keep = ~(columns == -1).any(axis=1)
        if (~keep).any():
            print(f"{path}: {(~keep).sum():,} rows with an uncertain label (-1) are left out, as published")
        columns = columns.fillna(0)
    columns = columns[keep]
    if not columns.isin([0, 1]).all(axis=None):
        row, column = np.argwhere(~columns.isin([0, 1]).to_numpy())[0]
        raise ValueError(f"{path}, row {columns.index[row]}: label {columns.columns[column]!r} must be 0 or 1")
    if flat := [name for name in columns if columns[name].nunique() < 2]:
        raise ValueError(f"{path}: label {flat[0]!r} is the same in every row; there is nothing to learn")
    return keep, "multilabel", tuple(columns), columns.astype(np.int64)


def _one_label(path, values, label):
    names = tuple(str(value) for value in sorted(values.unique()))
    if len(names) < 2:
        raise ValueError(f"{path}: {label!r} is the same in every row; there is nothing to learn")
    every = pd.Series(True, values.index)
    return every, "binary" if len(names) == 2 else "multiclass", names, pd.DataFrame({"label": values.astype(str)})


def _warn_of_merges(path, pairs, arrays):
    """Say so when one text stands beside several embeddings, as it does where rows were merged by image path alone."""
    seen = pd.DataFrame({"text": pairs["text"], "index": arrays["text_index"]}).drop_duplicates()
    seen["first"] = seen.groupby("text")["index"].transform("first")
    other = seen[(seen["index"] != seen["first"]) & (seen["text"] != "")]
    apart = np.einsum("ij,ij->i", arrays["text"][other["index"]], arrays["text"][other["first"]]) < 0.99
    if apart.any():
        print(
            f"{path}: {apart.sum():,} texts have several embeddings; where images repeat, a file merged by image path "
            "pairs rows with the text of another row. Such rows are kept as they are"
        )

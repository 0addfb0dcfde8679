"""Embeddings that somebody else computed, from files or arrays.

The layout of a table is that of the source paper's code (github.com/dsrestrepo/Embedding-Alignment,
`src/vlm_embeddings.py`), the dataset's own columns beside `img_emb_0`, `img_emb_1`, ... and `text_emb_0`, ..., one row
a pair; or one column of lists for each modality.
"""

import hashlib
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import ArrayLike
from pyarrow import parquet

from gaplib import rows
from gaplib.datasets import delimited
from gaplib.datasets.pairs import SPLIT_ALIASES, About, Dataset, check_labels, each_once, fingerprint, split_by_group
from gaplib.datasets.shown import listed, reason
from gaplib.features import store
from gaplib.features.features import Features, opened, place, refuse_others
from gaplib.names import extra, pick, plain

PREFIXES = {"image": "img_emb_", "text": "text_emb_"}
NUMBERED = r"(img|text)_emb_\d+"
# A column of lists may be called so; `image` and `text` are where no name or caption stands there.
LISTS = {kind: (f"{kind}_embedding", f"{kind}_embeddings", f"{kind}_features", kind) for kind in PREFIXES}
NORM = 1e-3  # how far from 1 a norm may be before we say that we normalise
OTHERWISE = "a column of lists must be called image_embedding and text_embedding; others: features.from_arrays"


def read(
    path: str | Path,
    dataset: str,
    encoder: str,
    label: str | list[str] | None = "label",
    domain: str = "natural",
    *,
    image: str | None = None,
    text: str | None = None,
    group: str | None = None,
    separator: str | None = None,
    least: int = 1,
) -> Features:
    """Store embeddings that you already have, so that `load` and every notebook from 02 on find them.

    Parameters
    ----------
    path : str or Path
        One row a pair: a CSV, parquet or folder of `save_to_disk` with the columns `img_emb_0`, ..., `text_emb_0`, ...
        (the layout of the source paper's code), or with lists in `image_embedding` and `text_embedding`; npz or
        safetensors with `image` and `text`, both of shape (n, d), and one array of length n for each further column; or
        npy of shape (2, n, d), images first. Without `split`, groups are cut 70/10/20.
    dataset, encoder : str
        What to call them; `extract` and `load` take the same names.
    label : str, list of str or None
        The column with the class, by default `label` if there is one; or the 0/1 columns of a multilabel task, where
        missing counts as 0 and rows with a -1 (uncertain) are left out, as published; or None: there are no labels.
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
        or the dataset has features of other pairs, or features that were encoded here.
    """
    path = Path(path)
    folder = place(dataset, encoder)
    if store.known(folder) and "origin" not in store.known(folder):
        raise ValueError(f"{folder} was encoded here, not read in; remove it, or give the dataset another name")
    x, table = _contents(path)
    pairs = _pairs(path, table, {"image": image, "text": text, "group": group})
    labels = _labels(path, table, pairs["split"], label, separator, least)
    arrays, pairs, about = _assembled(path, x, pairs, labels, folder.parent.name, domain)
    named = pairs.assign(image=pairs["image"].map(str.encode))  # names of images that need not be here
    header = {
        "encoder": folder.name,
        "fingerprint": fingerprint(Dataset(named, about)),
        "normalisation": "l2",
        "origin": f"{path.name} (sha256 {_digest(path)})",
        "skipped": [],
    }
    refuse_others(folder, header["fingerprint"], lambda other, _: other == folder)
    with store.locked(folder, f"{about.name} with {folder.name}"):
        digests = store.save(store.unfinished(folder), arrays)
        store.settle(folder, header | {"digests": digests}, about, store.pack_table(Dataset(pairs, about)))
        store.tidy(folder)
    return opened(folder)


def from_arrays(
    image: ArrayLike,
    text: ArrayLike,
    labels: ArrayLike | pd.DataFrame | None = None,
    split: ArrayLike | None = None,
    *,
    dataset: str = "arrays",
    encoder: str = "given",
    texts: ArrayLike | None = None,
    group: ArrayLike | None = None,
    domain: str = "natural",
) -> Features:
    """Features of embeddings in memory, for everything that takes features; nothing is stored.

    Parameters
    ----------
    image, text : array_like of shape (n, d)
        Row i of both belongs to pair i; normalised if need be.
    labels : array_like of shape (n,), or DataFrame of 0/1 columns, optional
        The class of each pair; or several labels by name, a multilabel task.
    split : array_like of shape (n,), optional
        "train", "val" or "test" of each pair; by default groups are cut 70/10/20.
    dataset, encoder : str
        What to call them.
    texts, group : array_like of shape (n,), optional
        The text of each pair; and what must not straddle splits, by default every pair by itself.
    domain : {"natural", "medical"}

    Returns
    -------
    Features

    Raises
    ------
    ValueError
        If lengths or widths differ, a row is zero or not finite, or a split or label is not valid (says which row).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> f = from_arrays(rng.normal(size=(10, 4)), rng.normal(size=(10, 4)), labels=list("ab") * 5)
    arrays: image embeddings are not of unit norm (off by up to 1.75): normalised
    arrays: text embeddings are not of unit norm (off by up to 1.56): normalised
    >>> f
    Features(arrays by given: 10 pairs of 10 images and 10 texts, 4 wide)
    """
    x = {"image": rows.check(image, "image"), "text": rows.check(text, "text")}
    n = len(x["image"])
    table = pd.DataFrame(index=range(n))
    for name, values in {"text": texts, "group": group, "split": split}.items():
        if values is not None:
            table[name] = _one_each(values, name, n)
    label = None
    if np.ndim(labels) == 2:
        columns = labels if isinstance(labels, pd.DataFrame) else pd.DataFrame(np.asarray(labels))
        label = [str(name) for name in columns]
        for name in columns:
            table[str(name)] = _one_each(columns[name], "labels", n)
    elif labels is not None:
        label = "label"
        table["label"] = _one_each(labels, "labels", n)
    pairs = _pairs("arrays", table, {})
    labels = _labels("arrays", table, pairs["split"], label)
    arrays, pairs, about = _assembled("arrays", x, pairs, labels, plain(dataset, "dataset"), domain)
    return Features(**arrays, table=pairs, about=about, encoder=plain(encoder, "encoder"))


def _one_each(values, name, n):
    values = np.asarray(values).tolist()
    if not isinstance(values, list) or len(values) != n:
        many = len(values) if isinstance(values, list) else "one"
        raise ValueError(f"{name}: one entry a pair is needed, got {many} for {n} pairs")
    return values


def _digest(path):
    """Of a file, or of all files of a folder."""
    total = hashlib.sha256()
    for part in sorted(path.rglob("*.*")) if path.is_dir() else [path]:
        with part.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:16]


def _contents(path):
    """Embeddings by kind, and a table of everything else."""
    if not path.exists():
        raise FileNotFoundError(f"no file {path} to read embeddings from")
    reader = _folder if path.is_dir() else pick(KINDS, path.suffix.lower(), "kind of embedding file")
    try:
        found = reader(path)
        return _of_table(path, found) if isinstance(found, pd.DataFrame) else _of_arrays(path, found)
    # The libraries raise a dozen kinds of errors for a file that is not what it should be.
    except Exception as error:
        if isinstance(error, ImportError) or str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path} cannot be read ({reason(error)})") from error


def _csv(path):
    """Embeddings in single precision, beside columns of whatever they hold."""
    table = delimited.read(path, lambda names: {name: pa.float32() for name in names if re.fullmatch(NUMBERED, name)})
    return table.to_pandas()


def _parquet(path):
    each_once(parquet.read_schema(path).names, path)
    return pd.read_parquet(path).reset_index(drop=True)


def _npz(path):
    arrays = {}
    with np.load(path, allow_pickle=False) as stored:
        for name in stored.files:
            try:
                arrays[name] = stored[name]
            except ValueError as error:
                remedy = "save words with np.savez(..., label=np.array(words, str))"
                raise ValueError(f"{path}: array {name!r} cannot be read without pickle ({error}); {remedy}") from error
    return arrays


def _npy(path):
    both = np.load(path, allow_pickle=False)
    if both.ndim != 3 or len(both) != 2:
        raise ValueError(
            f"{path} holds one array of shape {both.shape}, not images and texts of shape (2, n, d): save both with "
            "np.savez('both.npz', image=..., text=..., split=..., label=...)"
        )
    return dict(zip(PREFIXES, both, strict=True))


def _safetensors(path):
    tensors = extra("safetensors.torch", "encoders").load_file(path)
    return {name: rows.as_array(tensor, name) for name, tensor in tensors.items()}


def _folder(path):
    """What `save_to_disk` of the library `datasets` wrote; of several parts each is a split."""
    try:
        stored = extra("datasets", "encoders").load_from_disk(str(path))
    except IndexError as error:  # what the library has for a dataset without rows
        raise ValueError(f"{path} has no rows") from error
    if not isinstance(stored, dict):
        return stored.to_pandas()
    return pd.concat([part.to_pandas().assign(split=name) for name, part in stored.items()], ignore_index=True)


KINDS = {".csv": _csv, ".parquet": _parquet, ".npz": _npz, ".npy": _npy, ".safetensors": _safetensors}


def _of_table(path, table):
    """Embeddings of the columns of a table, and the other columns."""
    if table.empty:
        raise ValueError(f"{path} has no rows")
    x = {}
    others = table
    for kind in PREFIXES:
        lists = [name for name in LISTS[kind] if name in table and table[name].map(_is_list).any()]
        names = lists[:1] or _numbered(path, list(table), PREFIXES[kind])
        x[kind] = _stacked(path, table[lists[0]]) if lists else _side_by_side(path, table[names])
        others = others.drop(columns=names)
    return x, others


def _numbered(path, names, prefix):
    """Embedding columns of one kind, sorted by number."""
    matches = [re.fullmatch(rf"{prefix}(\d+)", str(name)) for name in names]
    numbers = {int(match[1]) for match in matches if match}
    if not numbers:
        raise ValueError(f"{path}: no columns {prefix}0, {prefix}1, ...; it has {listed(names)}; {OTHERWISE}")
    if missing := set(range(min(numbers), max(numbers))) - numbers:
        raise ValueError(f"{path}: no column {prefix}{min(missing)}, though there is {prefix}{max(numbers)}")
    return [f"{prefix}{number}" for number in sorted(numbers)]


def _side_by_side(path, columns):
    """The rows of many columns of numbers; those of a CSV have no type of their own."""
    if whole := [name for name in columns if columns[name].dtype.kind not in "fO"]:
        raise ValueError(f"{path}: column {whole[0]!r} holds {columns[whole[0]].dtype}; embeddings are floating-point")
    return columns.to_numpy(np.float32, na_value=np.nan)


def _is_list(value):
    return isinstance(value, list | np.ndarray)


def _stacked(path, column):
    """The rows of a column of lists."""
    if not (there := column.map(_is_list)).all():
        raise ValueError(f"{path}, row {int((~there).argmax())}: no list in {column.name!r}; fill it or drop the row")
    widths = column.map(np.size)
    if (widths != widths.iloc[0]).any():
        row = int((widths != widths.iloc[0]).argmax())
        raise ValueError(f"{path}, row {row}: {column.name!r} has {widths[row]} numbers, and row 0 has {widths[0]}")
    return rows.check(np.stack(column.to_list()), f"{path}: {column.name}").astype(np.float32)


def _of_arrays(path, arrays):
    """Embeddings among arrays by name, and a table of the other arrays."""
    if missing := [kind for kind in PREFIXES if kind not in arrays]:
        raise ValueError(f"{path}: no array {missing[0]!r} of shape (n, d); it has {listed(arrays)}")
    x = {kind: rows.check(arrays.pop(kind), f"{path}: {kind}") for kind in PREFIXES}
    if wrong := [name for name, array in arrays.items() if array.shape != (len(x["image"]),)]:
        raise ValueError(f"{path}: array {wrong[0]!r} is of shape {arrays[wrong[0]].shape}; one entry a pair is needed")
    return x, pd.DataFrame(arrays, index=range(len(x["image"])))


def _assembled(where, x, pairs, labels, name, domain):
    """Arrays, pair table and description of embeddings, their pairs, and what `_labels` found."""
    shapes = {kind: array.shape for kind, array in x.items()}
    if shapes["image"] != shapes["text"] or not x["image"].size:
        raise ValueError(f"{where}: image embeddings of shape {shapes['image']}, text embeddings of {shapes['text']}")
    x = {kind: _unit(array, f"{where}: {kind}") for kind, array in x.items()}
    keep, task, names, targets = labels
    about = About(name, domain, task, names)
    pairs = pairs[keep].join(targets)
    check_labels(pairs, about, where)
    whole = dict.fromkeys(names if task == "multilabel" else (), np.int64)
    pairs = pairs.astype(whole).reset_index(drop=True)
    arrays = {}
    for kind, array in x.items():
        # Equal rows are stored once, as if gaplib had encoded each distinct image and text.
        index, _ = pd.factorize(np.array([hashlib.sha256(row).hexdigest() for row in array[keep]]))
        arrays[f"{kind}_index"] = index
        arrays[kind] = array[keep][pd.Series(index).drop_duplicates().index]
    _warn_of_merges(where, pairs, arrays)
    return arrays, pairs, about


def _unit(array, where):
    with np.errstate(over="ignore", invalid="ignore"):
        off = np.abs(np.linalg.norm(array, axis=1) - 1).max()
    unit = rows.normalise(array, f"{where} embeddings").astype(np.float32)
    if off > NORM:
        print(f"{where} embeddings are not of unit norm (off by up to {off:.3g}): normalised")
    return unit


def _pairs(where, table, columns):
    """Image, text, split and group of each row; where the table does not say, an image is named by its row."""
    for name, column in columns.items():
        if column is not None and column not in table:
            raise ValueError(f"{where}: no column {column!r} to take as {name}; it has {listed(table)}")

    def column(name, otherwise):
        given = columns.get(name) or (name if name in table else None)
        return _plain(where, table[given], name).fillna("").astype(str) if given else otherwise

    image = column("image", table.index.astype(str).to_series(table.index))
    pairs = pd.DataFrame({"image": image, "text": column("text", pd.Series("", table.index))})
    pairs["group"] = column("group", image)
    pairs["split"] = table["split"].replace(SPLIT_ALIASES) if "split" in table else split_by_group(pairs["group"])
    if torn := int((pairs.groupby("group")["split"].nunique() > 1).sum()):
        print(f"{where}: {torn:,} groups are in more than one split: test rows are not independent of training rows")
    return pairs


def _plain(where, column, name):
    """A column of one value a row."""
    if (nested := column.map(lambda value: isinstance(value, list | dict | np.ndarray))).any():
        what = type(column[nested.idxmax()]).__name__
        raise ValueError(f"{where}, row {nested.idxmax()}: {column.name!r} holds a {what}; {name} is one value a row")
    return column


def _labels(where, table, split, label, separator=None, least=1):
    """Rows to keep, task, label names, and the label columns."""
    every = pd.Series(True, table.index)
    if label is None or (label == "label" and label not in table):
        return every, None, (), table[[]]
    wanted = [label] if isinstance(label, str) else list(label)
    if missing := [name for name in wanted if name not in table]:
        raise ValueError(
            f"{where}: no label column {missing[0]!r}; it has {listed(table)}. Say label=..., a column or a list of "
            "0/1 columns, or label=None where there are no labels"
        )
    if not isinstance(label, str):
        return _several(where, table[wanted])
    values = _plain(where, table[label], "label")
    if values.isna().any():
        raise ValueError(f"{where}, row {int(values.isna().argmax())}: no {label!r}; fill it or drop the row")
    if separator is not None:
        columns = values.astype(str).str.get_dummies(separator)
        columns = columns.loc[:, columns[split == "test"].sum() >= least]
        return columns.any(axis=1), "multilabel", tuple(columns), columns
    names = tuple(str(value) for value in sorted(values.unique()))
    return every, "binary" if len(names) == 2 else "multiclass", names, pd.DataFrame({"label": values.astype(str)})


def _several(where, columns):
    """As `_labels`, of 0/1 columns."""
    keep = ~(columns == -1).any(axis=1)
    if (~keep).any():
        print(f"{where}: {(~keep).sum():,} rows with an uncertain label (-1) are left out, as published")
    return keep, "multilabel", tuple(columns), columns.fillna(0)


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

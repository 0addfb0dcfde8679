"""Your own image-text pairs: tables, folders, archives and the hub, all by one kind of name::

    csv:PATH  tsv:PATH  json:PATH  parquet:PATH
    folder:PATH  disk:PATH  tar:PATH  hub:ORG/NAME@REVISION

Any of these may go on with "as NAME", and with "with image=COLUMN, text=COLUMN, label=COLUMN, split=COLUMN,
group=COLUMN, domain=DOMAIN, root=FOLDER", where columns have other names than the usual ones (`USUAL`). Whatever it is,
it is read in columns, so ten million rows are no different from ten; images are opened when they are needed.
"""

import hashlib
import json
import logging
import os
import re
import tarfile
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from gaplib.datasets import delimited
from gaplib.datasets.pairs import SPLIT_ALIASES, SPLITS, About, Dataset, each_once, split_by_group
from gaplib.datasets.shown import listed, reason, shown
from gaplib.names import extra, pick, plain

USUAL = {  # column names by what they are usually of, in any case; the first that is there counts
    "image": "image image_path filepath file_path file_name filename path file img img_path jpg png webp",
    "text": "text caption captions sentence sentences description report title txt",
    "label": "label class target",
    "split": "split partition subset",
    "group": "group patient_id subject_id lesion_id image_id",
}
MUST_BE = {"image": "paths, or the bytes of images", "text": "strings"}
SAYABLE = (*USUAL, "domain", "root")
SAID = re.compile(r"(.+?) with (\w+=.*)", re.DOTALL)
PART = re.compile(r", *(?=\w+=)")
OF_SHARD = re.compile(r"((?:.*/)?[^/.]+)\.([^/]+)")  # a file of a WebDataset shard: its sample, and which part of it
ENDINGS = {".csv": "csv", ".tsv": "tsv", ".json": "json", ".jsonl": "json", ".parquet": "parquet", ".tar": "tar"}
HELD = {"dataset_info.json": "disk", "dataset_dict.json": "disk", "*.tar": "tar", "metadata.*": "folder"}
HELD |= {"*/metadata.*": "folder", "*.parquet": "parquet", "*.json*": "json"}  # by a folder; the first that is there
PICTURES = ("jpg", "jpeg", "png", "webp")
WITHOUT_ROWS = ("list index out of range", "BatchSize must be greater than 0, got 0")  # the library's words for it
SLIPS = 0.1  # share of a label's rows that may be wrong: it is refused with them, not taken for no label


class Stored(NamedTuple):
    """Pairs as they are stored: columns under their own names, and the folder that paths in them start from.

    Where the column of images is one of `references`, its paths start from `held` instead.
    """

    table: pa.Table
    root: Path
    held: Path | None = None
    references: Collection[str] = ()  # columns of images that lie in files under `held`


def parse(rest: str) -> tuple[str, str, dict]:
    """Path, name and columns of `PATH [as NAME] [with image=COLUMN, ...]`; a path may have these words in it.

    Examples
    --------
    >>> parse("mine.csv as cats with text=title, label=")
    ('mine.csv', 'cats', {'text': 'title', 'label': ''})
    """
    said = {}
    match = SAID.fullmatch(rest)
    if match and not Path(rest).expanduser().exists():
        rest = match[1]
        for part in PART.split(match[2]):
            key, _, column = part.partition("=")
            said.setdefault(key, []).append(column)
        said = {key: columns[0] if len(columns) == 1 else columns for key, columns in said.items()}
    path, mark, name = rest.rpartition(" as ")
    if mark and not Path(rest).expanduser().exists():
        return path, name, said
    return rest, "", said


def of_a_kind(pairs: str) -> str:
    """The name of own pairs whose kind is not said: their ending tells it, of a folder what lies in it.

    Any other name is left as it is.

    Examples
    --------
    >>> of_a_kind("folder/mine.jsonl with text=title"), of_a_kind("hub:ORG/NAME"), of_a_kind("clipart")
    ('json:folder/mine.jsonl with text=title', 'hub:ORG/NAME', 'clipart')
    """
    path, _, _ = parse(pairs)
    path = Path(path).expanduser()
    if pairs.partition(":")[0] in KINDS:
        return pairs
    if not path.is_dir():
        kind = ENDINGS.get(path.suffix.lower())
        return f"{kind}:{pairs}" if kind else pairs
    for pattern, kind in HELD.items():
        if any(path.glob(pattern)):
            return f"{kind}:{pairs}"
    raise ValueError(f"{path} holds none of {', '.join(HELD)}, so it is no folder of pairs that is known")


def _checked(said):
    """What is said of the columns; None says that there is none."""
    for key, column in said.items():
        pick(SAYABLE, key, "word for a column of your own pairs:")
        if not isinstance(column, str | None) and key != "label":
            raise ValueError(f"{key} is one column of your own pairs, got {shown(column)}")
    return {key: "" if column is None else column for key, column in said.items()}


def name_of(kind: str, rest: str, reserved: Collection[str] = ()) -> str:
    """What own pairs are called: as their name says, or as their file or folder without its ending.

    Where gaplib's own datasets have that name, a digest of the path is added.

    Raises
    ------
    ValueError
        If the name is not a plain one, or it was given and is one of `reserved`.

    Examples
    --------
    >>> name_of("csv", "folder/mine.csv"), name_of("csv", "folder/mine.csv as cats"), name_of("hub", "ORG/birds@v1.0")
    ('mine', 'cats', 'birds')
    """
    path, given, _ = parse(rest)
    if given in reserved:
        raise ValueError(f"{path} cannot be called {given!r}: that is a dataset of gaplib")
    if given:
        return plain(given, "dataset")
    place = Path(path.partition("@")[0] if kind == "hub" else path).expanduser().absolute()
    place = place.parent if "*" in place.name else place
    stem = plain(place.name if kind == "hub" else place.stem, "dataset (say `... as NAME`)")
    return f"{stem}-{hashlib.sha256(str(place).encode()).hexdigest()[:6]}" if stem in reserved else stem


def read(kind: str, rest: str, name: str, **said: str | list[str] | None) -> Dataset:
    """Your own pairs, not yet checked (`pairs.validate`).

    Without a label column, every further column that holds only 0 and 1 (or nothing, or something else here and there:
    such rows are bad) is a label of a multilabel task; where there is none, or `label` is said to be nothing, the pairs
    have no labels. Several captions of an image, in one cell or in several rows, are several pairs. Without `group`
    every image is its own group; without `split` (or where it is said to be nothing) groups are cut 70/10/20 into
    train, val and test. Of a cell, only an empty one is missing: "None" and "NA" are words that people write.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    rest : str
        What follows the colon of the name: see `parse`.
    name : str
        What the dataset is to be called.
    **said : str, list of str, or None
        As after "with" in a name; both may be said.

    Raises
    ------
    FileNotFoundError
        If there is nothing at the path.
    OSError
        If the hub has no such dataset, or one that you may not read, or cannot be reached.
    ImportError
        If the extra `encoders` is not installed, and the library `datasets` is needed.
    ValueError
        If it cannot be read as what it is said to be, has no rows, or lacks a column or has it twice.

    Examples
    --------
    >>> read("csv", "absent.csv", "absent")
    Traceback (most recent call last):
    ...
    FileNotFoundError: nothing at absent.csv, where csv: looks for pairs
    """
    path, _, said_in_name = parse(rest)
    said = _checked(said_in_name | said)
    if kind != "hub":
        path = Path(path).expanduser()
        if not path.exists() and not _files(path):
            raise FileNotFoundError(f"nothing at {path}, where {kind}: looks for pairs")
    stored = KINDS[kind](path, said)
    columns = _columns(stored.table.column_names, said, path)
    if not len(stored.table):
        raise ValueError(f"{path}: there are no pairs")
    root = stored.held if columns["image"] in stored.references else Path(said.get("root") or stored.root)
    pairs = _named(stored.table, columns, path).to_pandas()
    return _dataset(pairs, said, path, name, Path(os.path.abspath(root.expanduser())))


def _files(path, pattern="*"):
    """The file at a path, or those that a path with wildcards or a folder with a pattern matches."""
    if path.is_dir():
        return sorted(path.glob(pattern))
    return [path] if path.exists() else sorted(path.parent.glob(path.name))


def _parts(path, pattern):
    """Files by split where each name begins with that of one, and there are several; else all under no name."""
    files = _files(path, pattern)
    words = [re.match("[a-z]*", file.name.lower())[0] for file in files]
    apart = len(set(words)) > 1 and set(words) <= {*SPLITS, *SPLIT_ALIASES}
    parts = {}
    for file, word in zip(files, words, strict=True):
        parts.setdefault(word if apart else "", []).append(file)
    if not parts:
        raise ValueError(f"{path} holds no {pattern}")
    return parts


def _columns(names, said, where):
    """The column of each thing that is there in one column: the one that is said, or of a usual name."""
    each_once(names, where)
    by_lower = {name.lower(): name for name in names}
    columns = {}
    for key, usual in USUAL.items():
        there = [by_lower[name] for name in usual.split() if name in by_lower]
        column = said.get(key, there[0] if there else "")
        if isinstance(column, str) and column:
            columns[key] = column
    if missing := [name for name in columns.values() if name not in names]:
        raise ValueError(f"{where}: no column {listed(missing)}; it has {listed(names)}")
    if missing := [key for key in ("image", "text") if key not in columns]:
        usual = ", ".join(USUAL[missing[0]].split())
        has = f"it has {listed(names)}. Say which it is: `with {missing[0]}=COLUMN`"
        raise ValueError(f"{where}: no column {missing[0]!r} (nor any of {usual}); {has}")
    return columns


def _named(table, columns, where):
    """The table with its columns under the names that a pair table has, and one row a caption."""
    further = [name for name in table.column_names if name not in columns.values() and name not in USUAL]
    further = [name for name in further if not pa.types.is_nested(table[name].type)]
    table = table.select([*columns.values(), *further]).rename_columns([*columns, *further])
    if pa.types.is_list(table["text"].type):
        table = _one_row_a_caption(table, where)
    for key, column in columns.items():
        kind = table[key].type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind):
            continue
        if not pa.types.is_null(kind) and (key in MUST_BE or not pa.types.is_primitive(kind)):
            needed = MUST_BE.get(key, f"one value a row (`{key}=` says that there is none)")
            raise ValueError(f"{where}: column {column!r} holds {kind}; {key} must be {needed}")
        table = table.set_column(table.column_names.index(key), key, pc.cast(table[key], pa.string()))
    return table


def _one_row_a_caption(table, where):
    """Each row once for each caption of its list."""
    captions = table["text"].combine_chunks()
    empty = pc.fill_null(pc.equal(pc.list_value_length(captions), 0), True)
    if (n := pc.sum(empty).as_py()) > 0:
        raise ValueError(f"{where}: {n:,} rows have no caption, row {pc.index(empty, True)} the first; drop them")
    rows = table.drop_columns("text").take(pc.list_parent_indices(captions))
    return rows.append_column("text", pc.list_flatten(captions))


def _dataset(pairs, said, where, name, root):
    """The pair table, and what it is about; rows that will not do are left to `pairs.validate`."""
    pairs["image"] = pairs["image"].str.removeprefix(f"{root}{os.sep}")
    task, labels = _labels(pairs, said, where)
    if "group" not in pairs:
        pairs["group"] = pairs["image"].fillna("")
    if "split" not in pairs:
        pairs["split"] = split_by_group(pairs["group"])
    return Dataset(pairs, About(name, said.get("domain") or "natural", task, labels, root))


def _labels(pairs, said, where):
    """Task and label names."""
    if "label" in pairs:
        return _one_label(pairs)
    if said.get("label") == "":
        return None, ()
    several = said.get("label", [])
    if missing := [label for label in several if label not in pairs]:
        raise ValueError(f"{where}: no column {listed(missing)} to use as label; it has {listed(pairs)}")
    labels = tuple(several or _zero_one_labels(pairs))
    for label in labels:
        numbers = pd.to_numeric(pairs[label], errors="coerce")
        pairs[label] = numbers.where(numbers.notna(), pairs[label])
    return ("multilabel", labels) if labels else (None, ())


def _one_label(pairs):
    """Task and label names of the column `label`; the names of a class feature keep their order."""
    there = pairs["label"].dropna().unique()
    if isinstance(pairs["label"].dtype, pd.CategoricalDtype):
        labels = tuple(name for name in pairs["label"].cat.categories if name in there)
        pairs["label"] = pairs["label"].astype(object)
    else:
        labels = tuple(sorted(there))
    return ("binary" if len(labels) == 2 else "multiclass"), labels


def _zero_one_labels(pairs):
    """Further columns of 0 and 1 but for a few slips, or -1 for uncertain: these are bad rows, not another column."""
    labels = []
    for column in pairs.columns.difference(USUAL, sort=False):
        values = pd.to_numeric(pairs[column].dropna(), errors="coerce")
        right = values.isin([0, 1])
        wrong = values[~right]
        slips = (wrong == -1).all() or len(wrong) <= max(1, SLIPS * len(values))
        if len(values) and (wrong.empty or (slips and values[right].nunique() == 2)):
            labels.append(column)
    return labels


def _delimited(path, said, delimiter):
    """A CSV or TSV."""
    if not path.is_file():
        raise ValueError(f"{path} is no file; csv: and tsv: read one table")
    table = delimited.read(
        path, lambda names: dict.fromkeys(_columns(names, said, path).values(), pa.string()), delimiter
    )
    return Stored(table, path.parent)


def _tables(path, said, builder):
    """What the library `datasets` reads, kept as it keeps it: in Arrow files of its cache."""
    parts = _parts(path, f"*.{builder}*")
    files = {split or "train": [str(file) for file in files] for split, files in parts.items()}
    folder = path if path.is_dir() else path.parent
    return _arrow_files(lambda library: library.load_dataset(builder, data_files=files), path, folder)


def _from_folder(path, said):
    """A folder of images with `metadata.csv` or `metadata.jsonl`, or one such folder a split."""
    options = {"data_dir": str(path), "drop_labels": True}
    stored = _arrow_files(lambda library: library.load_dataset("imagefolder", **options), path, path)
    for metadata in [*path.glob("metadata.csv"), *path.glob("*/metadata.csv")]:
        delimited.read(metadata, lambda names: {})  # the library gives the second of two columns another name
    return stored


def _from_disk(path, said):
    """A folder that `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote."""
    return _arrow_files(lambda library: library.load_from_disk(str(path)), path, path)


def _from_hub(path, said):
    """A dataset of the hub by `ORG/NAME@REVISION`, or `ORG/NAME/CONFIGURATION@REVISION`."""
    place, _, revision = path.partition("@")
    org, *name = place.split("/", 2)
    repository = "/".join([org, *name[:1]])
    return _arrow_files(
        lambda library: library.load_dataset(repository, *name[1:], revision=revision or None), path, Path()
    )


def _arrow_files(load, path, root):
    """Tables of all the splits that the library `datasets` loads; what stays in its files is referred to."""
    loaded = _loaded(load, path)
    parts = loaded if isinstance(loaded, dict) else {"": loaded}
    files = {cache["filename"]: split for split, part in parts.items() for cache in part.cache_files}
    if not files:
        raise ValueError(f"{path}: there are no pairs")
    held = Path(os.path.commonpath([Path(file).parent for file in files]))
    references = set()
    tables = []
    for file, split in files.items():
        table = _captions_of_coco(pa.ipc.open_stream(pa.memory_map(file)).read_all())
        table, referring = _with_references(table, Path(file).relative_to(held).as_posix())
        references |= referring
        table = _with_class_names(table, parts[split].features)
        tables.append(_with_split(table, split) if len(parts) > 1 else table)
    return Stored(pa.concat_tables(tables, promote_options="permissive"), root, held, references)


def _loaded(load, path):
    """What the library `datasets` loads; whatever it raises and writes on what it cannot load becomes one message."""
    library = extra("datasets", "encoders")
    log = logging.getLogger("datasets")
    level = log.level
    log.setLevel(logging.CRITICAL)  # what it writes of an error stands in the error
    try:
        return load(library)
    except Exception as error:  # on damaged files the library raises nearly anything
        why = reason(error.__cause__ or error)
        if why in WITHOUT_ROWS:
            raise ValueError(f"{path}: there are no pairs") from error
        if isinstance(path, str) and isinstance(error, OSError):
            remedy = "look its name up; of a gated one, accept the terms on its page and `hf auth login`"
            raise OSError(f"hub:{path} is not there, gated, or there is no network ({why}); {remedy}") from error
        raise ValueError(f"{path} cannot be read by the library datasets ({why})") from error
    finally:
        log.setLevel(level)


def _with_references(table, file):
    """The table with `FILE#COLUMN#ROW` in place of the bytes of images, and the names of the columns that have such."""
    references = set()
    rows = pc.cast(pa.array(np.arange(len(table))), pa.string())
    for place, field in enumerate(table.schema):
        column = table[place]
        is_image = pa.types.is_struct(field.type) and {"bytes", "path"} <= {part.name for part in field.type}
        if not is_image and not pa.types.is_binary(field.type) and not pa.types.is_large_binary(field.type):
            continue
        held = pc.is_valid(pc.struct_field(column, "bytes") if is_image else column)
        here = pc.binary_join_element_wise(f"{file}#{field.name}", rows, "#")
        elsewhere = pc.struct_field(column, "path") if is_image else pa.scalar(None, pa.string())
        table = table.set_column(place, field.name, pc.if_else(held, here, elsewhere))
        if pc.any(held).as_py():
            references.add(field.name)
    return table, references


def _with_class_names(table, features):
    """The table with the names of classes in place of their numbers; a negative one is none."""
    for name, feature in features.items():
        if names := getattr(feature, "names", None):
            codes = pc.cast(table[name], pa.int32()).combine_chunks()
            codes = pc.if_else(pc.less(codes, 0), None, codes)
            table = table.set_column(table.column_names.index(name), name, pa.DictionaryArray.from_arrays(codes, names))
    return table


def _with_split(table, split):
    """The table with a column that says of which split it is."""
    table = table.drop_columns([name for name in table.column_names if name == "split"])
    return table.append_column("split", pa.repeat(split, len(table)))


def _captions_of_coco(table):
    """The captions of a JSON laid out as COCO's, with the files of their images; any other table as it is."""
    if not {"images", "annotations"} <= set(table.column_names):
        return table
    images = pa.Table.from_struct_array(pc.list_flatten(table["images"]))
    captions = pa.Table.from_struct_array(pc.list_flatten(table["annotations"]))
    if not {"id", "file_name"} <= set(images.column_names) or "image_id" not in captions.column_names:
        return table
    image = pc.index_in(captions["image_id"], images["id"])
    return captions.append_column("file_name", images["file_name"].take(image))


def _from_tar(path, said):
    """Shards as WebDataset has them: the files of a pair, `NAME.jpg` and `NAME.txt` or `NAME.json`, by their name.

    Not by the library `datasets`, which would copy all images out of the archives: here, they are read from there.
    """
    parts = _parts(path, "*.tar")
    tables = []
    for split, shards in parts.items():
        for shard in shards:
            try:
                table = _samples(shard)
            except (tarfile.TarError, ValueError) as error:
                raise ValueError(f"{shard} cannot be read as an uncompressed tar of pairs ({reason(error)})") from error
            tables.append(_with_split(table, split) if len(parts) > 1 else table)
    root = path if path.is_dir() else path.parent
    return Stored(pa.concat_tables(tables, promote_options="permissive"), root)


def _samples(shard):
    """The pairs of one shard: where in it the image is, its text, and what its JSON says."""
    samples = {}
    names = set()
    with tarfile.open(shard, "r:") as tar:
        for member in tar:
            if member.name in names:
                raise ValueError(f"it holds {member.name} twice")
            names.add(member.name)
            match = OF_SHARD.fullmatch(member.name)
            if match and member.isfile():
                ending = match[2].lower()
                part = _part(tar, member, ending, shard.name)
                sample = samples.get(match[1], {})
                samples[match[1]] = part | sample if ending == "json" else sample | part
        if shard.stat().st_size < tar.offset + tarfile.BLOCKSIZE:
            raise ValueError("it is cut short: the mark of its end is missing")
    if not samples:
        raise ValueError("it holds no pairs")
    return pa.Table.from_struct_array(pa.array(list(samples.values())))


def _part(tar, member, ending, shard):
    """What one file of a sample tells of the pair."""
    if ending in PICTURES:
        return {"image": f"{shard}#{member.offset_data}+{member.size}"}
    if ending == "txt":
        return {"text": tar.extractfile(member).read().decode()}
    facts = json.loads(tar.extractfile(member).read()) if ending == "json" else {}
    if not isinstance(facts, dict):
        raise ValueError(f"{member.name} is no JSON object")
    return facts


KINDS: dict[str, Callable[[Path | str, Mapping], Stored]] = {
    "csv": partial(_delimited, delimiter=","),
    "tsv": partial(_delimited, delimiter="\t"),
    "json": partial(_tables, builder="json"),
    "parquet": partial(_tables, builder="parquet"),
    "folder": _from_folder,
    "disk": _from_disk,
    "tar": _from_tar,
    "hub": _from_hub,
}

"""The shards of an extraction: what is finished stays finished, however the process ends.

While a dataset is encoded, finished shards of `SIZE` items lie in `{encoder}.parts/`, each a safetensors file with a
key that says what it belongs to and a digest of its rows. An extraction that was killed goes on with the whole ones.
"""

import hashlib
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from gaplib.datasets.pairs import About, Dataset, validate
from gaplib.features.store import TABLE, digest_of, note_of, save_file, text_of, write, write_table

SIZE = 1024  # items of a shard: what a crash costs at most


class Items(NamedTuple):
    """Distinct images or texts of a dataset, in order of first appearance, and the row where each appears first."""

    kind: str
    values: Any
    rows: Any
    about: About

    def at(self, places):
        return self._replace(values=self.values[places], rows=self.rows[places])


def distinct(kind, pairs, about):
    """Items of one kind, and the item of each pair."""
    index, values = pd.factorize(pairs[kind])
    first = pd.Series(index).drop_duplicates().index
    return Items(kind, np.asarray(values, object), pairs.index[first].to_numpy(), about), index


class Shard(NamedTuple):
    """Items `start` to `stop` of the distinct images or texts of a dataset."""

    kind: str
    start: int
    stop: int

    @property
    def name(self):
        return f"{self.kind}-{self.start:09d}.safetensors"


def plan(items):
    """The shards of some items; their bounds depend on nothing but the number, so that a resumed run has the same."""
    n = len(items.values)
    return [Shard(items.kind, start, min(start + SIZE, n)) for start in range(0, n, SIZE)]


def assemble(path, parts, header, dataset, encoder, encode, unreadable):
    """Encode what no earlier run has finished, and put the feature file together; `features.extract` has the rest."""
    pairs, about = dataset

    def accept(note):
        if note["bad"] and unreadable == "stop":
            raise ValueError(f'{note["bad"][0][1]}; replace it, or leave its pairs out with unreadable="skip"')

    images, _ = distinct("image", pairs, about)
    notes = gather(parts, images, header, partial(encode, images), accept)
    errors = {pairs["image"][row]: error for note in notes for row, error in note["bad"]}
    kept = _without(pairs, about, errors, path.with_name("skipped.csv"), parts)
    texts, text_index = distinct("text", kept, about)
    notes = gather(parts, texts, header, partial(encode, texts), accept)
    if cut := sum(note["cut"] for note in notes):
        print(f"{cut:,} of {len(texts.values):,} texts were longer than {encoder.context} tokens, and cut")
    write_table(path.with_name(TABLE), parts, Dataset(kept, about), header["fingerprint"])
    index = {"image_index": pd.factorize(kept["image"])[0], "text_index": text_index}
    arrays = {name: (array.shape, [array]) for name, array in index.items()}
    for items, n in ((images, len(images.values) - len(errors)), (texts, len(texts.values))):
        arrays[items.kind] = ((n, encoder.dim), rows(parts, items))
    save_file(path, parts, header | {"skipped": len(pairs) - len(kept), "cut": cut}, arrays)


def _without(pairs, about, errors, listed, scratch):
    """The pairs whose images can be read; the others go into a list beside the features."""
    listed.unlink(missing_ok=True)
    if not errors:
        return pairs
    out = pairs["image"].isin(list(errors))
    table = pd.DataFrame(
        {"row": pairs.index[out], "text": pairs["text"][out], "error": pairs["image"][out].map(errors)}
    )
    write(listed, scratch, lambda file: table.to_csv(file, index=False))
    print(
        f"left out {out.sum():,} pairs whose images cannot be read, listed in {listed}: {next(iter(errors.values()))}"
    )
    validate(pairs[~out], about)
    return pairs[~out]


def gather(folder, items, header, encode, accept):
    """Every shard of one kind: those of an earlier run are verified, the missing ones encoded and written.

    Parameters
    ----------
    folder : Path
    items : Items
    header : dict
        What the shards belong to.
    encode : callable
        Takes the missing shards, and the batch size of those that are there (None: there are none); yields
        (shard, rows, note) as they come, in any order.
    accept : callable
        Takes each note, and raises if it will not do.

    Returns
    -------
    list of dict
        Notes, in the order of the items.
    """
    shards, notes = plan(items), {}
    key = hashlib.sha256(text_of([header, len(items.values), SIZE]).encode()).hexdigest()[:16]
    for shard in shards:
        try:
            note = unpack(folder / shard.name)[1]
        except FileNotFoundError:
            continue
        except ValueError as error:
            print(f"{error}; encoding it again")
            continue
        if note.get("key") == key:
            accept(note)
            notes[shard] = note
    if notes:
        print(f"going on: {len(notes)} of {len(shards)} {items.kind} shards are finished already")
    missing = [shard for shard in shards if shard not in notes]
    for shard, rows, note in encode(missing, min((note["batch"] for note in notes.values()), default=None)):
        accept(note)
        notes[shard] = note | {"key": key}
        data = _pack(rows, notes[shard])
        write(folder / shard.name, folder, lambda file, data=data: file.write(data))
    return [notes[shard] for shard in shards]


def rows(folder, items):
    """The rows of all shards of one kind, one shard at a time."""
    return (unpack(folder / shard.name)[0] for shard in plan(items))


def _pack(rows, note):
    note = note | {"digest": digest_of(note, {"rows": rows})}
    return save({"rows": rows}, {"gaplib": text_of(note)})


def unpack(path):
    """Rows and note of a shard.

    Raises
    ------
    ValueError
        If it is cut short, or not as it was written.
    """
    try:
        with safe_open(path, "np") as stored:
            note, rows = note_of(stored), stored.get_tensor("rows")
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"{path} is cut short or not a shard ({error})") from error
    if note.pop("digest", None) != digest_of(note, {"rows": rows}):
        raise ValueError(f"{path} is damaged: its digest does not match its content")
    return rows, note

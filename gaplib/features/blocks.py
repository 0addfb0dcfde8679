"""An extraction, block by block: what is finished stays finished, however the process ends.

Every finished block of rows is written to its place in the array, and then noted in a ledger with its digest. An
extraction that was killed goes on with the blocks of its ledger that are as they were written.
"""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from gaplib.datasets.pairs import About, Dataset, validate
from gaplib.features import store


class Job(NamedTuple):
    """What an extraction is asked for, and the folder it goes to.

    `header` is what makes stored features stale when it changes; `identity` tells generated pairs without drawing them.
    """

    folder: Path
    header: dict
    identity: str | None
    dataset: Dataset
    encoder: Any
    unreadable: str


class Items(NamedTuple):
    """Distinct images or texts of a dataset, in order of first appearance, and the row where each appears first."""

    kind: str
    values: np.ndarray
    rows: np.ndarray
    about: About


def distinct(kind: str, dataset: Dataset) -> tuple[Items, np.ndarray]:
    """Items of one kind, and the item of each pair."""
    index, values = pd.factorize(dataset.pairs[kind])
    first = pd.Series(index).drop_duplicates().index
    rows = dataset.pairs.index[first].to_numpy()
    return Items(kind, np.asarray(values, object), rows, dataset.about), index


def plan(items: Items) -> list[range]:
    """The blocks of some items; they depend on nothing but the number, so that a resumed run has the same."""
    n = len(items.values)
    return [range(start, min(start + store.BLOCK, n)) for start in range(0, n, store.BLOCK)]


def assemble(job: Job, encode: Callable) -> None:
    """Encode what no earlier run has finished, and make the features whole."""
    table = store.pack_table(job.dataset)  # before anything is encoded: some columns cannot be stored
    work = store.unfinished(job.folder)
    images, image_index = distinct("image", job.dataset)
    image_notes = gather(images, job, partial(encode, images))
    skipped = _skipped(job.dataset, image_index, image_notes)
    kept = _without(job, skipped)
    texts, text_index = distinct("text", kept)
    text_notes = gather(texts, job, partial(encode, texts))
    cut = sum(note["cut"] for note in text_notes.values())
    if cut:
        print(f"{cut:,} of {len(texts.values):,} texts were longer than {job.encoder.context} tokens, and cut")
    digests = store.save(work, {"image_index": image_index[kept.pairs.index], "text_index": text_index})
    digests["image"] = [note["digest"] for note in image_notes.values()]
    digests["text"] = [note["digest"] for note in text_notes.values()]
    about = {"identity": job.identity, "skipped": skipped.index.tolist(), "cut": cut, "digests": digests}
    store.settle(job.folder, job.header | about, job.dataset.about, table)


def _skipped(dataset, image_index, notes):
    """The pairs whose images cannot be read, with what is wrong."""
    errors = {block[place]: error for block, note in notes.items() for place, error in note["bad"]}
    skipped = dataset.pairs.loc[np.isin(image_index, list(errors)), ["text"]]
    return skipped.assign(error=[errors[item] for item in image_index[skipped.index]])


def _without(job, skipped):
    """The dataset without some pairs, which go into a list beside the features."""
    if skipped.empty:
        return job.dataset
    store.write(store.unfinished(job.folder) / "skipped.csv", skipped.to_csv(index_label="row").encode())
    print(
        f"left out {len(skipped):,} pairs whose images cannot be read, listed in {job.folder / 'skipped.csv'}: "
        f"{skipped['error'].iloc[0]}"
    )
    kept = job.dataset.pairs.drop(index=skipped.index)
    validate(kept, job.dataset.about)
    return Dataset(kept, job.dataset.about)


def gather(items: Items, job: Job, encode: Callable) -> dict[range, dict]:
    """Every block of one kind: those of an earlier run are compared with their digests, the missing ones encoded.

    Parameters
    ----------
    items : Items
    job : Job
        What the blocks belong to: those of another one are not used.
    encode : callable
        Takes the missing blocks, and the batch size of those that are there (None: there are none); yields
        (block, rows, note) as they come, in any order.

    Returns
    -------
    dict
        The note of each block, in the order of the items; with its `digest`.
    """
    ledger = _Ledger(items, job)
    offset = store.allocate(ledger.array, (len(items.values), job.encoder.dim))
    blocks = plan(items)
    notes = ledger.verified(blocks)
    for note in notes.values():
        _accept(note, job.unreadable)
    if notes:
        print(f"going on: {len(notes)} of {len(blocks)} {items.kind} blocks are finished already")
    missing = [block for block in blocks if block not in notes]
    for block, rows, note in encode(missing, min((note["batch"] for note in notes.values()), default=None)):
        _accept(note, job.unreadable)
        store.put(ledger.array, offset + block.start * rows[0].nbytes, rows)
        notes[block] = note | {"start": block.start, "digest": store.digests(rows, len(rows))[0]}
        ledger.add(notes[block])
    return {block: notes[block] for block in blocks}


def _accept(note, unreadable):
    if note["bad"] and unreadable == "stop":
        raise ValueError(f'{note["bad"][0][1]}; replace it, or leave its pairs out with unreadable="skip"')


class _Ledger:
    """The finished blocks of an array: one JSON line each, after one that says what they belong to."""

    def __init__(self, items, job):
        work = store.unfinished(job.folder)
        self.array = work / f"{items.kind}.npy"
        self.path = work / f"{items.kind}.ledger"
        belongs = [job.header, store.digests(items.rows, len(items.rows)), store.BLOCK]
        key = {"key": store.digest(json.dumps(belongs, sort_keys=True).encode())}
        first, *self.notes = self._lines() or [None]
        if first != key:
            self.notes = []
            with store.writing(self.array):
                work.mkdir(parents=True, exist_ok=True)
                self.array.unlink(missing_ok=True)
                self.path.unlink(missing_ok=True)
            self.add(key)

    def _lines(self):
        found = []
        for line in self.path.read_bytes().splitlines() if self.path.exists() else ():
            with suppress(ValueError):  # half a line, which a kill has left
                found.append(json.loads(line))
        return found

    def add(self, line):
        """On the disk before anything else is done."""
        with store.writing(self.path), self.path.open("ab") as file:
            file.write(f"\n{json.dumps(line)}".encode())
            file.flush()
            os.fsync(file.fileno())

    def verified(self, blocks):
        """The notes of the blocks whose rows are as they were written."""
        rows = np.load(self.array, mmap_mode="r")
        noted = {note["start"]: note for note in self.notes}
        found = {}
        for block in blocks:
            note = noted.get(block.start)
            if note and store.digests(rows[block.start : block.stop], len(block)) == [note["digest"]]:
                found[block] = note
            elif note:
                print(f"{self.array}, rows {block.start} to {block.stop - 1}: damaged; encoding them again")
        return found

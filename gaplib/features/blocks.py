"""An extraction, block by block: what is finished stays finished, however the process ends.

Every finished block of rows is written to its place in the array, and then noted in a ledger with its digest. An
extraction that was killed goes on with the blocks of its ledger that are as they were written.
"""

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
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


def split(block: range, size: int) -> list[range]:
    """Successive parts of a range, all of one size but the last."""
    return [block[start : start + size] for start in range(0, len(block), size)]


def assemble(job: Job, table: bytes, encode: Callable) -> None:
    """Encode what no earlier run has finished, and make the features whole, with the pair table that is stored."""
    ledger = Ledger(job)
    images, image_index = distinct("image", job.dataset)
    image_notes = gather(images, job, ledger, encode)
    skipped = _skipped(job.dataset, image_index, image_notes)
    kept = _without(job, skipped)
    texts, text_index = distinct("text", job.dataset)
    text_notes = gather(texts, job, ledger, encode)
    cut = sum(note["cut"] for note in text_notes.values())
    if cut:
        print(f"{cut:,} of {len(texts.values):,} texts were longer than {job.encoder.context} tokens, and cut")
    digests = store.save(ledger.folder, {"image_index": image_index[kept], "text_index": text_index[kept]})
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
    """Positions of the other pairs; those that are skipped go into a list beside the features."""
    pairs = job.dataset.pairs
    if skipped.empty:
        return pairs.index
    store.write(store.unfinished(job.folder) / "skipped.csv", skipped.to_csv(index_label="row").encode())
    print(
        f"left out {len(skipped):,} pairs whose images cannot be read, listed in {job.folder / 'skipped.csv'}: "
        f"{skipped['error'].iloc[0]}"
    )
    kept = pairs.drop(index=skipped.index)
    validate(kept, job.dataset.about)
    return kept.index


def gather(items: Items, job: Job, ledger: "Ledger", encode: Callable) -> dict[range, dict]:
    """The notes of all blocks of one kind, in order: those of the ledger, and those that are encoded now.

    `encode` is as an engine gives it: it takes the items, the missing blocks and the batch size of those that are there
    (None: there are none), and yields (block, rows, note) as they come, in any order.
    """
    array = ledger.folder / f"{items.kind}.npy"
    offset = allocate(array, (len(items.values), job.encoder.dim))
    blocks = split(range(len(items.values)), store.BLOCK)  # the same in a run that goes on
    notes = ledger.verified(items.kind, array, blocks)
    for note in notes.values():
        _accept(note, job.unreadable)
    if notes:
        print(f"going on: {len(notes)} of {len(blocks)} {items.kind} blocks are finished already")
    missing = [block for block in blocks if block not in notes]
    batch = min((note["batch"] for note in notes.values()), default=None)
    for block, rows, note in encode(items, missing, batch):
        _accept(note, job.unreadable)
        put(array, offset + block.start * rows[0].nbytes, rows)
        (digest,) = store.digests(rows, len(rows))
        notes[block] = note | {"kind": items.kind, "start": block.start, "digest": digest}
        ledger.add(notes[block])
    return {block: notes[block] for block in blocks}


def _accept(note, unreadable):
    if note["bad"] and unreadable == "stop":
        raise ValueError(f'{note["bad"][0][1]}; replace it, or leave its pairs out with unreadable="skip"')


def allocate(path: Path, shape: tuple[int, int]) -> int:
    """Make a `.npy` file of float32 with the size of its rows, or mend it to that; returns where the rows begin."""
    with store.writing(path), path.open("r+b" if path.exists() else "w+b") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        start = file.tell()
        file.truncate(start + 4 * shape[0] * shape[1])
    return start


def put(path: Path, offset: int, rows: np.ndarray) -> None:
    """Write rows into a file at an offset. Not through a map: there, a full disk would end the process."""
    with store.writing(path), path.open("r+b") as file:
        file.seek(offset)
        file.write(rows.tobytes())
        file.flush()
        os.fsync(file.fileno())


class Ledger:
    """The finished blocks of an extraction: one JSON line each, after one that says what they belong to."""

    def __init__(self, job: Job):
        self.folder = store.unfinished(job.folder)
        self.path = self.folder / "ledger"
        belongs = json.dumps(job.header | {"block": store.BLOCK}, sort_keys=True)
        key = {"key": store.digest(belongs.encode())}
        first, *self.notes = self._lines() or [None]
        if first != key:
            self.notes = []
            with store.writing(self.folder):
                shutil.rmtree(self.folder, ignore_errors=True)
                self.folder.mkdir(parents=True)
            self.add(key)

    def _lines(self):
        found = []
        for line in self.path.read_bytes().splitlines() if self.path.exists() else ():
            with suppress(ValueError):  # half a line, which a kill has left
                found.append(json.loads(line))
        return found

    def add(self, line: dict) -> None:
        """On the disk before anything else is done."""
        with store.writing(self.path), self.path.open("ab") as file:
            file.write(f"\n{json.dumps(line)}".encode())
            file.flush()
            os.fsync(file.fileno())

    def verified(self, kind: str, array: Path, blocks: list[range]) -> dict[range, dict]:
        """The notes of the blocks of one kind whose rows are as they were written."""
        rows = np.load(array, mmap_mode="r")
        noted = {note["start"]: note for note in self.notes if note["kind"] == kind}
        found = {}
        for block in blocks:
            note = noted.get(block.start)
            if note and store.digests(rows[block.start : block.stop], len(block)) == [note["digest"]]:
                found[block] = note
            elif note:
                print(f"{array}, rows {block.start} to {block.stop - 1}: damaged; encoding them again")
        return found

"""Images and texts through a frozen encoder on this machine, as fast as the model itself.

Worker processes decode and preprocess the next images while the model embeds these (torch's DataLoader). The texts of a
block go in order of length, for some towers are spared the padding that no text of a batch needs.
"""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, get_worker_info
from tqdm.auto import tqdm

from gaplib.datasets.pairs import open_image
from gaplib.features.blocks import Items, split
from gaplib.rows import normalise

BATCH = {"cpu": 32, "cuda": 512}  # to begin with; halved until it fits
CHUNK = 32  # images that a worker hands over at a time
TROUBLE = {errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ETIMEDOUT}  # not the image's fault
FEW = 64  # images that are decoded before worker processes would have started


@contextmanager
def engine(encoder, workers: int | None = None) -> Iterator[Callable]:
    """`encode` for an encoder, with so many processes that decode images (by default what keeps the device busy)."""
    yield partial(encode, encoder, workers)


def encode(encoder, workers: int | None, items: Items, todo: list[range], batch: int | None = None) -> Iterator[tuple]:
    """Unit-norm embeddings of `items`, block by block: yields the block, its rows (len(block), d), and a note.

    The note has `batch`; `bad`, a list of (place in the block, message) of images that cannot be read, whose rows are
    zero; and `cut`, the number of texts that were longer than the encoder's context.

    A block is encoded at one batch size from its first item to its last, so that its bytes depend on nothing else; when
    the memory does not hold a batch, the block is begun anew with half of it.
    """
    device = next(encoder.model.parameters()).device
    batch = batch or BATCH.get(device.type, BATCH["cpu"])
    left = list(todo)
    total = sum(map(len, left))
    with tqdm(
        total=total, desc=f"{items.about.name} x {encoder.name}", unit=items.kind, delay=5, mininterval=1, leave=False
    ) as bar:
        while left:
            run = _Run(encoder, items, batch, device, bar.update)
            try:
                for rows, note in run.images(list(left), workers) if items.kind == "image" else run.texts(list(left)):
                    yield left.pop(0), rows, note | {"batch": batch}
            except RuntimeError as error:
                batch = _smaller(batch, error)
                print(f"{items.about.name} x {encoder.name}: out of memory; going on with batches of {batch}")
                torch.cuda.empty_cache()
                bar.n = total - sum(map(len, left))


def _smaller(batch, error):
    """The next batch size after an error that says that memory is full; other errors are raised."""
    said = str(error)
    if "DataLoader worker" in said:
        raise RuntimeError(
            f"a process that decodes images was killed ({said.splitlines()[0]}), most often because memory was full: "
            "what is finished is kept, so run this again, with fewer such processes (workers=1, or 0 for none)"
        ) from error
    # On a CPU, and where a library asks for the memory itself, it is no error of its own.
    words = ("out of memory", "allocate memory", "not enough memory", "ALLOC_FAILED")
    full = isinstance(error, torch.cuda.OutOfMemoryError) or any(word in said for word in words)
    if batch == 1 or not full:
        raise error
    return batch // 2


class _Run(NamedTuple):
    """One way through blocks, at one batch size."""

    encoder: Any
    items: Items
    batch: int
    device: torch.device
    advance: Callable

    def texts(self, todo):
        """Rows and note of one block after the other."""
        for block in todo:
            values = self.items.values[block.start : block.stop]
            lengths = np.array(self.encoder.lengths(list(values)))
            order = np.argsort(lengths, kind="stable")
            outputs = []
            for places in split(order, self.batch):
                tokens = self.encoder.tokens(list(values[places]))
                outputs.append(_embed(self.encoder.text_tower, [tokens], self.device))
                self.advance(len(places))
            rows = self._unit(outputs, block.start + order)
            yield rows[np.argsort(order)], {"bad": [], "cut": int((lengths > self.encoder.context).sum())}

    def images(self, todo, workers):
        """Rows and note of one block after the other."""
        # One loader for all blocks, so that its workers never wait.
        chunks = _taken(_loader(self.encoder, self.items, self._chunks(todo), workers, self.device))
        for block in todo:
            outputs = []
            read = []
            bad = []
            for part in split(block, self.batch):
                found = [next(chunks) for _ in self._chunks([part])]
                inputs = [chunk.pixels for chunk in found if chunk.read]
                if inputs:
                    outputs.append(_embed(self.encoder.image_tower, inputs, self.device))
                for chunk in found:
                    read += chunk.read
                    bad += chunk.bad
                self.advance(len(part))
            rows = np.zeros((len(block), self.encoder.dim), np.float32)
            if read:
                rows[np.array(read) - block.start] = self._unit(outputs, read)
            yield rows, {"bad": [(item - block.start, str(error)) for item, error in bad], "cut": 0}

    def _chunks(self, todo):
        """What the workers hand over at a time, such that every batch begins with a new one."""
        parts = [part for block in todo for part in split(block, self.batch)]
        return [chunk for part in parts for chunk in split(part, min(CHUNK, self.batch))]

    def _unit(self, outputs, numbers):
        """Outputs of unit norm, or an error that names the pair of the first that cannot be."""
        raw = torch.cat(outputs).cpu().numpy()
        try:
            return normalise(raw, "embeddings")
        except ValueError as error:
            norms = np.linalg.norm(raw, axis=1)
            wrong = int(np.argmin(np.isfinite(norms) & (norms > 0)))
            raise ValueError(
                f"dataset {self.items.about.name!r}, row {self.items.rows[numbers[wrong]]}: {self.encoder.name} gives "
                f"its {self.items.kind} an embedding of norm {norms[wrong]}, which cannot be normalised"
            ) from error


@torch.inference_mode()
def _embed(tower, inputs, device):
    # Each part by itself: joined first, they would no longer lie in pinned memory.
    return tower(torch.cat([torch.as_tensor(part).to(device, non_blocking=True) for part in inputs])).float()


class _Chunk(NamedTuple):
    """Some images as the model takes them (None: none can be read), which they are, and errors of the others."""

    pixels: torch.Tensor | np.ndarray | None
    read: list[int]
    bad: list[tuple[int, Exception]]


@dataclass
class _Images:
    """A map-style dataset of chunks of images, made ready where they are asked for: one at a time is open."""

    items: Items
    pixels: Callable

    def __getitem__(self, chunk):
        """The images of these numbers; an OSError among the errors is the machine's fault."""
        about = self.items.about
        ready = []
        read = []
        bad = []
        for item in chunk:
            where = f"dataset {about.name!r}, row {self.items.rows[item]}"
            try:
                ready.append(self.pixels([open_image(self.items.values[item], about.root, where)]))
                read.append(item)
            except ValueError as error:
                bad.append((item, _blamed(error)))
        return _Chunk(_shared(torch.cat(ready)) if ready else None, read, bad)


def _blamed(error):
    """The error of an image that cannot be read, or an OSError where that is no fault of the image."""
    cause = error.__cause__
    if isinstance(cause, MemoryError) or getattr(cause, "errno", None) in TROUBLE:
        return OSError(f"{error}: the disk or the memory failed, not the image; run it again")
    return error


def _shared(pixels):
    """In shared memory, if these are made by a worker; as an array, which goes through a pipe, where that is full.

    A tensor that is handed over would be moved there anyway, but in a thread whose error nobody sees.
    """
    if get_worker_info() is None:
        return pixels
    try:
        return pixels.share_memory_()
    except RuntimeError:
        return pixels.numpy()


def _taken(loader):
    """The chunks of a loader in turn; the machine's errors are raised."""
    told = False
    for chunk in loader:
        for _, error in chunk.bad:
            if isinstance(error, OSError):
                raise error
        if isinstance(chunk.pixels, np.ndarray) and not told:
            print("shared memory (/dev/shm) is too small for images: handing them over more slowly, through pipes")
            told = True
        yield chunk


def _loader(encoder, items, chunks, workers, device):
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if sum(map(len, chunks)) < FEW:
        workers = 0
    elif workers is None:
        # A model on the CPU takes all cores and needs few images; one on a GPU needs all cores to be fed.
        workers = min(cores - 1, 16) if device.type == "cuda" else max(1, cores // 4)
    return DataLoader(
        _Images(items, encoder.pixels),
        sampler=chunks,
        batch_size=None,  # each is one
        collate_fn=_Chunk._make,  # as it is: the default makes tensors of arrays
        num_workers=workers,
        pin_memory=device.type == "cuda",
        # Forking starts at once and copies nothing; elsewhere it is not safe.
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
    )

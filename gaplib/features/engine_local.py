"""Images and texts through a frozen encoder on this machine, as fast as the model itself.

Worker processes decode and preprocess the next images while the model embeds these (torch's DataLoader). The texts of a
shard go in order of length, for some towers are spared the padding that no text of a batch needs.
"""

import errno
import os
import sys
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from gaplib.datasets.pairs import open_image

BATCH = {"cpu": 32, "cuda": 512}  # to begin with; halved until it fits
CHUNK = 32  # images that a worker hands over at a time, in shared memory
TROUBLE = {errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ETIMEDOUT}  # not the image's fault
FEW = 64  # images that are decoded before worker processes would have started


@contextmanager
def engine(encoder, workers=None):
    """`encode` for an encoder, with so many processes that decode images (by default what keeps the device busy)."""
    yield partial(encode, encoder, workers)


def encode(encoder, workers, items, todo, batch=None):
    """Unit-norm embeddings of `items`, shard by shard.

    A shard is encoded at one batch size from its first item to its last, so that its bytes depend on nothing else; when
    the memory does not hold a batch, the shard is begun anew with half of it.

    Parameters
    ----------
    encoder : encoders.Encoder
    workers : int or None
    items : shards.Items
    todo : list of shards.Shard
    batch : int, optional
        By default what suits the device.

    Yields
    ------
    shard, rows, note : Shard, ndarray of shape (n, d), dict
        The note has `batch`; `bad`, a list of (row, message) of images that cannot be read and have no row; and `cut`,
        the number of texts that were longer than the encoder's context.

    Raises
    ------
    ValueError
        If an embedding cannot be normalised (says which).
    RuntimeError
        If not even a single item fits into memory.
    """
    device = next(encoder.model.parameters()).device
    todo, batch = list(todo), batch or BATCH.get(device.type, BATCH["cpu"])
    total = sum(shard.stop - shard.start for shard in todo)
    with tqdm(total=total, desc=f"{items.about.name} x {encoder.name}", unit=items.kind, leave=False) as bar:
        while todo:
            try:
                # One loader for all images, so that its workers never wait; texts are measured as their turn comes.
                turn = tuple(todo) if items.kind == "image" else todo[:1]
                for rows, note in _pass(encoder, items, turn, batch, workers, device, bar):
                    yield todo.pop(0), rows, note
            except RuntimeError as error:
                if not _out_of_memory(error) or batch == 1:
                    raise
                batch //= 2
                print(f"{items.about.name} x {encoder.name}: out of memory; going on with batches of {batch}")
                torch.cuda.empty_cache()


def _out_of_memory(error):
    # On a CPU, and where a library asks for the memory itself, it is no error of its own.
    words = ("out of memory", "allocate memory", "not enough memory", "ALLOC_FAILED")
    return isinstance(error, torch.cuda.OutOfMemoryError) or any(word in str(error) for word in words)


def _pass(encoder, items, todo, batch, workers, device, bar):
    """Rows and note of one shard after the other, until all are done or one fails."""
    chunk, orders, cut = min(CHUNK, batch), [np.arange(shard.start, shard.stop) for shard in todo], 0
    if items.kind == "text":
        lengths = np.concatenate([encoder.lengths(list(items.values[order])) for order in orders])
        orders, cut = [orders[0][np.argsort(lengths, kind="stable")]], int((lengths > encoder.context).sum())
    places = [order[i : i + chunk] for order in orders for i in range(0, len(order), chunk)]
    chunks = iter(_loader(encoder, items, places, workers, device))
    tower = encoder.image_tower if items.kind == "image" else encoder.text_tower
    for shard, order in zip(todo, orders, strict=True):
        outputs, bad = [], []
        for start in range(0, len(order), batch):
            stop = min(start + batch, len(order))
            parts = [next(chunks) for _ in range(start, stop, chunk)]
            if trouble := [part for part, _ in parts if isinstance(part, OSError)]:
                raise trouble[0]
            bad += [failure for _, failures in parts for failure in failures]
            if inputs := [part for part, _ in parts if part is not None]:
                outputs.append(_embed(tower, inputs, device))
            bar.update(stop - start)
        raw = torch.cat(outputs).cpu().numpy() if outputs else np.empty((0, encoder.dim), np.float32)
        if items.kind == "text":
            raw = raw[np.argsort(order)]
        yield _normalise(raw, encoder, items, shard, bad), {"batch": batch, "bad": bad, "cut": cut}


@torch.inference_mode()
def _embed(tower, inputs, device):
    # Each part by itself: joined first, they would no longer lie in pinned memory.
    return tower(torch.cat([part.to(device, non_blocking=True) for part in inputs])).float()


def _normalise(raw, encoder, items, shard, bad):
    norms = np.linalg.norm(raw, axis=1, keepdims=True)
    wrong = np.flatnonzero(~(np.isfinite(norms[:, 0]) & (norms[:, 0] > 0)))
    if len(wrong):
        rows = [row for row in items.rows[shard.start : shard.stop] if row not in {row for row, _ in bad}]
        raise ValueError(
            f"dataset {items.about.name!r}, row {rows[wrong[0]]}: {encoder.name} gives its {items.kind} an embedding "
            f"of norm {norms[wrong[0], 0]}, which cannot be normalised"
        )
    return raw / norms


class _Chunks:
    """A map-style dataset: item i is chunk i, made ready where it is asked for."""

    def __init__(self, items, places, prepare):
        self.items, self.places, self.prepare = items, places, prepare

    def __len__(self):
        return len(self.places)

    def __getitem__(self, i):
        """The model's input (None: nothing of it can be read; OSError: the machine failed), and what cannot be read."""
        kind, values, rows, about = self.items.at(self.places[i])
        if kind == "text":
            return self.prepare(list(values)), []
        images, failures = [], []
        for value, row in zip(values, rows, strict=True):
            try:
                images.append(open_image(value, about.root, f"dataset {about.name!r}, row {row}"))
            except ValueError as error:
                cause = error.__cause__
                if isinstance(cause, MemoryError) or getattr(cause, "errno", None) in TROUBLE:
                    return OSError(f"{error}: the disk or the memory failed, not the image; run it again"), []
                failures.append((int(row), str(error)))
        return self.prepare(images) if images else None, failures


def _loader(encoder, items, places, workers, device):
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if items.kind == "text" or sum(map(len, places)) < FEW:
        workers = 0
    elif workers is None:
        # A model on the CPU takes all cores and needs few images; one on a GPU needs all cores to be fed.
        workers = min(cores - 1, 16) if device.type == "cuda" else max(1, cores // 4)
    return DataLoader(
        _Chunks(items, places, encoder.pixels if items.kind == "image" else encoder.tokens),
        batch_size=None,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        # Forking starts at once and copies nothing; elsewhere it is not safe.
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
    )

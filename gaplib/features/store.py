"""Feature files: written whole or not at all, opened in a moment, checked in full when it matters.

A feature file is a safetensors file with the arrays of `ARRAYS` and one header, which ends in a digest of all of it.
"""

import json
import os
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open

from gaplib.datasets.pairs import About

ARRAYS = {
    "image_index": "I64",
    "text_index": "I64",
    "image": "F32",
    "text": "F32",
}  # in this order every one is aligned
DTYPES = {"I64": np.dtype("<i8"), "F32": np.dtype("<f4")}
TABLE = "pairs.parquet"
SMALL = 2**26  # bytes that are hashed within a tenth of a second


def write(path, scratch, fill):
    """Let `fill` write to a file in `scratch`, then move it into place: a reader sees all of it or nothing.

    Raises
    ------
    OSError
        If the disk is full or read-only (says what is kept, and what to do).
    """
    unfinished = scratch / f"{path.name}.unfinished"
    try:
        with unfinished.open("wb") as file:
            fill(file)
        os.replace(unfinished, path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise _unwritable(path, error) from error


def _unwritable(path, error):
    return OSError(
        f"cannot write {path} ({error.strerror or error}); what is finished is kept: make room, or let GAPLIB_ROOT "
        "name a folder that can be written, and run this again"
    )


def save_file(path, scratch, header, arrays):
    """Write a feature file from blocks of rows, one block in memory at a time.

    Parameters
    ----------
    path, scratch : Path
    header : dict
    arrays : dict
        Name to shape and iterable of ndarrays, for each of `ARRAYS`.
    """
    entries, end = {}, 0
    for name, code in ARRAYS.items():
        shape = list(arrays[name][0])
        start, end = end, end + int(np.prod(shape)) * DTYPES[code].itemsize
        entries[name] = {"dtype": code, "shape": shape, "data_offsets": [start, end]}

    def head(digest):
        # One entry: safetensors writes several in any order, and equal features must be equal files.
        metadata = {"gaplib": text_of(header | {"digest": digest})}
        text = json.dumps({"__metadata__": metadata} | entries).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text

    def fill(file):
        file.write(head("0" * 64))  # the digest stands before the data, and is known after them
        digest = sha256(text_of(header).encode())
        for name, code in ARRAYS.items():
            digest.update(_title(name, DTYPES[code], entries[name]["shape"]))
            for block in arrays[name][1]:
                data = np.ascontiguousarray(block, DTYPES[code]).data
                digest.update(data)
                file.write(data)
        file.seek(0)
        file.write(head(digest.hexdigest()))

    write(path, scratch, fill)


def header(path):
    """Header of a feature file: {} if it is not one, None if there is none."""
    try:
        with safe_open(path, "np") as stored:
            return note_of(stored)
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError, ValueError):
        return {}


def open_file(path, check=False):
    """Header and arrays of a feature file, the arrays as memory maps: opening takes as long for few as for many rows.

    A write to such an array stays in memory. A file of less than `SMALL` bytes is checked in any case.

    Parameters
    ----------
    path : Path
    check : bool
        Read all of it and compare its digest.

    Raises
    ------
    ValueError
        If the file is cut short, not a feature file, or, when it is checked, not as it was written.
    """
    size, arrays = path.stat().st_size, {}
    try:
        with safe_open(path, "np") as stored:  # compares the header with the file's length, and reads no rows
            note = note_of(stored)
        with path.open("rb") as file:
            start = 8 + int.from_bytes(file.read(8), "little")
            entries = json.loads(file.read(start - 8))
        for name, code in ARRAYS.items():
            shape, offset = tuple(entries[name]["shape"]), start + entries[name]["data_offsets"][0]
            # Viewed as a plain array: what is computed from a memmap would be called one too.
            arrays[name] = np.memmap(path, DTYPES[code], "c", offset, shape).view(np.ndarray)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is cut short or not a feature file ({error})") from error
    digest = note.pop("digest", None)
    if (check or size < SMALL) and digest != digest_of(note, arrays):
        raise ValueError(f"{path} is damaged: its digest does not match its content")
    return note, arrays


def write_table(path, scratch, dataset, fingerprint):
    """Write a pair table with its description; where images are bytes, their digests stand for them."""
    pairs, about = dataset
    short = pairs["image"].map(lambda image: sha256(image).hexdigest()[:16] if isinstance(image, bytes) else image)
    table = pairs.assign(image=short).reset_index(drop=True)
    table.attrs = {"about": vars(about) | {"root": str(about.root or "")}, "fingerprint": fingerprint}
    write(path, scratch, lambda file: table.to_parquet(file, write_page_checksum=True))


def read_table(path, columns=None):
    """A pair table, or only some of its columns; what it is about is in its `attrs`.

    Raises
    ------
    ValueError
        If it is missing or damaged.
    """
    try:
        pairs = pd.read_parquet(path, columns=columns, page_checksum_verification=True)
        about = pairs.attrs["about"]
        root = Path(about["root"]) if about["root"] else None
        pairs.attrs["about"] = About(**about | {"labels": tuple(about["labels"]), "root": root})
        return pairs
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is missing or damaged ({error})") from error


def note_of(stored):
    return json.loads((stored.metadata() or {}).get("gaplib", "{}"))


def text_of(note):
    return json.dumps(note, sort_keys=True)


def _title(name, dtype, shape):
    return f"{name} {dtype} {list(shape)}".encode()


def digest_of(note, arrays):
    digest = sha256(text_of(note).encode())
    for name, array in arrays.items():
        digest.update(_title(name, array.dtype, array.shape))
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


@contextmanager
def locked(folder, what):
    """Make a folder and hold it alone: another process that extracts the same waits, and says so.

    The system lets go of the lock when the process that holds it ends, however it ends.
    """
    try:
        import fcntl
    except ImportError:  # Windows has none
        folder.mkdir(parents=True, exist_ok=True)
        yield
        return
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = (folder / "lock").open("w")
        except FileNotFoundError:  # removed in between, by the process that finished
            continue
        except OSError as error:
            raise _unwritable(folder, error) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"another process is encoding {what}; waiting for it", flush=True)
                fcntl.flock(lock, fcntl.LOCK_EX)
            except OSError:
                print(f"{folder} is on a file system without locks: run no second extraction of {what} beside this one")
            if _is(lock, folder / "lock"):
                yield
                return


def _is(file, path):
    """Whether an open file is still the one at a path, and not one that was removed while we waited."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False

"""Features on disk: what `numpy.load` opens, and an `about.json` that says what it is.

    data/features/{dataset}/pairs.parquet        the pair table
    data/features/{dataset}/{encoder}/image.npy  and text.npy, image_index.npy, text_index.npy, about.json

`about.json` holds digests: of every block of rows of each array, of the pair table, and of itself. Until all of it is
there the folder is called `{encoder}.unfinished`.
"""

import io
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd

from gaplib import paths
from gaplib.datasets.pairs import About, Dataset

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None

ARRAYS = ("image", "text", "image_index", "text_index")
BLOCK = 1024  # rows that are written, and digested, together: what a crash costs at most
SMALL = 2**26  # bytes that are digested within a tenth of a second


class WrongTable(ValueError):
    """The pair table is not the one that the features were made with."""


def table_of(folder: Path) -> Path:
    """The pair table that goes with the features in a folder."""
    return folder.parent / "pairs.parquet"


def unfinished(folder: Path) -> Path:
    """Where the features of a folder are made."""
    return folder.with_name(f"{folder.name}.unfinished")


def _lock_of(folder):
    return folder.with_name(f"{folder.name}.lock")


def left_over(folder: Path) -> bool:
    """Whether an extraction is under way, or was killed."""
    return unfinished(folder).exists() or _lock_of(folder).exists()


def tidy(folder: Path) -> None:
    """Remove what only an unfinished extraction needs."""
    shutil.rmtree(unfinished(folder), ignore_errors=True)
    for left in (folder / "ledger", *folder.glob(".*.part")):  # the second, where a process was killed as it wrote
        left.unlink(missing_ok=True)


def digest(data: bytes) -> str:
    """SHA-256 of bytes."""
    return sha256(data).hexdigest()


def digests(array: np.ndarray, block: int) -> list[str]:
    """SHA-256 of every so many rows, their type and shape included."""
    found = []
    for start in range(0, len(array), block):
        rows = np.ascontiguousarray(array[start : start + block])
        one = sha256(f"{rows.dtype.str} {rows.shape}".encode())
        one.update(rows.data)
        found.append(one.hexdigest())
    return found


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Where a file is written: a full or read-only disk is one message."""
    try:
        yield
    except OSError as error:
        raise OSError(
            f"cannot write {path} ({error.strerror or error}); what is finished is kept: make room, or let GAPLIB_ROOT "
            "name a folder that can be written, and run this again"
        ) from error


def write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    with writing(path), paths.whole(path) as part:
        part.write_bytes(data)


def save(folder: Path, arrays: dict[str, np.ndarray]) -> dict[str, list[str]]:
    """Write whole arrays into a folder; returns their digests."""
    for name, array in arrays.items():
        file = io.BytesIO()
        np.save(file, array)
        write(folder / f"{name}.npy", file.getvalue())
    return {name: digests(array, BLOCK) for name, array in arrays.items()}


def pack_table(dataset: Dataset) -> bytes:
    """A pair table as a parquet file, where digests stand for images that are bytes; ValueError if it cannot be one."""
    image = dataset.pairs["image"].map(lambda image: digest(image)[:16] if isinstance(image, bytes) else image)
    try:
        return dataset.pairs.assign(image=image).reset_index(drop=True).to_parquet()
    except (ValueError, TypeError, OverflowError, NotImplementedError) as error:
        why = "; ".join(str(part) for part in error.args)
        raise ValueError(
            f"dataset {dataset.about.name!r}: the pair table cannot be stored as parquet ({why}): give every column "
            "values of one kind, or drop it"
        ) from error


def read_table(path: Path, wanted: str, skipped: list[int]) -> pd.DataFrame:
    """The pair table with this digest, without the rows that were skipped; raises `WrongTable` if it is another."""
    data = path.read_bytes() if path.is_file() else b""
    if digest(data) != wanted:
        raise WrongTable(
            f"{path} is missing, damaged, was changed, or belongs to another version of the dataset; features.extract "
            "writes it again, or encodes what changed"
        )
    return pd.read_parquet(io.BytesIO(data)).drop(index=skipped).reset_index(drop=True)


def write_about(folder: Path, about: dict) -> None:
    """Write `about.json`, with a digest of itself."""
    write(folder / "about.json", json.dumps(about | {"digest": _digest_of(about)}, indent=1).encode())


def read_about(folder: Path) -> dict | None:
    """What `about.json` says, or None where there is none; ValueError if it is damaged or was changed."""
    path = folder / "about.json"
    if not path.is_file():
        return None
    try:
        about = json.loads(path.read_bytes())
        wanted = about.pop("digest")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} is cut short or damaged ({error})") from error
    if _digest_of(about) != wanted:
        raise ValueError(f"{path} is damaged or was changed: its digest does not match its content")
    return about


def known(folder: Path) -> dict:
    """What `about.json` says; nothing where there is none or it is damaged."""
    try:
        return read_about(folder) or {}
    except ValueError:
        return {}


def _digest_of(about):
    return digest(json.dumps(about, sort_keys=True).encode())


def open_arrays(folder: Path, about: dict, check: bool) -> dict[str, np.ndarray]:
    """The arrays as memory maps: opening takes as long for few as for many rows. A write to one stays in memory.

    Small ones are compared with their digests, and large ones too if `check`; ValueError if a file is damaged.
    """
    arrays = {}
    for name in ARRAYS:
        path = folder / f"{name}.npy"
        try:
            # Viewed as a plain array: what is computed from a memmap would be called one too.
            arrays[name] = np.load(path, mmap_mode="c").view(np.ndarray)
        except (OSError, ValueError, EOFError) as error:
            raise ValueError(f"{path} is cut short or no array ({error})") from error
        if (check or arrays[name].nbytes < SMALL) and digests(arrays[name], about["block"]) != about["digests"][name]:
            raise ValueError(f"{path} is damaged: its digests do not match its content")
    return arrays


def settle(folder: Path, about: dict, description: About, table: bytes) -> None:
    """Make what lies in the unfinished folder whole, and move it into its place."""
    dataset = asdict(description) | {"root": description.root and str(description.root)}
    write_about(unfinished(folder), about | {"dataset": dataset, "table": digest(table), "block": BLOCK})
    own = unfinished(folder) / table_of(folder).name  # another encoder's process may write the same table
    write(own, table)
    with writing(folder):
        os.replace(own, table_of(folder))
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(unfinished(folder), folder)


def description(about: dict) -> About:
    """What the pairs are about, of what `about.json` says."""
    dataset = about["dataset"]
    root = dataset["root"] and Path(dataset["root"])
    return About(**dataset | {"labels": tuple(dataset["labels"]), "root": root})


@contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Hold the features of a folder alone: another process that makes the same waits, and says for which.

    The system lets go of the lock when the process that holds it ends, however it ends; processes that it forked have
    no share in locks of this kind.
    """
    if fcntl is None:
        yield
        return
    path = _lock_of(folder)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = _alone(path, what)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
    with lock:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _alone(path, what):
    """The file, locked. Whoever held it before may have removed it: then it has no name left, and another is made."""
    while True:
        lock = path.open("a+")
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            lock.seek(0)
            print(f"another process ({lock.read() or 'just started'}) is encoding {what}; waiting for it", flush=True)
            fcntl.lockf(lock, fcntl.LOCK_EX)
        except OSError:
            print(f"{path} is on a file system without locks: run no second extraction of {what} beside this one")
        if os.fstat(lock.fileno()).st_nlink:
            return lock
        lock.close()

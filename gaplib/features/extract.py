"""Embeddings of a dataset by an encoder: encoded once, stored, loaded.

Any difference between what is stored and what is asked for encodes anew, with one line that says why.
"""

from contextlib import suppress
from functools import partial
from importlib import import_module
from importlib.metadata import version

from gaplib import datasets, encoders
from gaplib.datasets.pairs import Dataset, fingerprint, sample, validate
from gaplib.features import store
from gaplib.features.blocks import Job, assemble
from gaplib.features.features import Features, opened, place, refuse_others
from gaplib.names import pick
from gaplib.rows import check_whole

PACKAGES = ("torch", "transformers", "open_clip_torch", "timm", "pillow")  # that an embedding may depend on
ENGINES = {"local": "gaplib.features.engine_local", "ray": "gaplib.features.engine_ray"}


def extract(
    dataset: str | Dataset,
    encoder: str | encoders.Encoder,
    n_pairs: int | None = None,
    device: str = "auto",
    *,
    engine: str = "local",
    workers: int | None = None,
    unreadable: str = "stop",
) -> Features:
    """Encode each distinct image and text of a dataset once, or load what was stored before, checked in full.

    What is finished is stored as it comes: after a crash, a kill or a full disk the next call goes on from there.
    Features that were read in (`read`) are loaded and never encoded.

    Parameters
    ----------
    dataset : str or pairs.Dataset
        A name for `datasets.load`, or a dataset loaded already.
    encoder : str or encoders.Encoder
        A name for `encoders.load`, or an encoder loaded already.
    n_pairs : int, optional
        Use a seeded sample of about so many pairs.
    device : str
        A torch device, or "auto".
    engine : {"local", "ray"}
        This process, or Ray actors on all GPUs or CPUs of this machine or a cluster (`features.engine_ray`).
    workers : int, optional
        Processes that decode images ("local"; 0: this one does), or actors ("ray"); by default as many as are of use.
    unreadable : {"stop", "skip"}
        Whether an image that cannot be read is an error, or its pairs are left out and listed in `skipped.csv` beside
        the features.

    Returns
    -------
    Features

    Raises
    ------
    ValueError
        If a name is unknown, the dataset is not valid, or an image cannot be read (says which row).
    OSError
        If the features cannot be written.
    """
    pick(("stop", "skip"), unreadable, "policy for unreadable images")
    start = import_module(pick(ENGINES, engine, "engine")).engine
    if workers is not None:
        least = int(engine == "ray")
        check_whole(workers, f"workers must be a whole number from {least}, or None for as many as are of use", least)
    folder = place(dataset, encoder, n_pairs)
    if origin := store.known(folder).get("origin"):
        print(f"{folder.parent.name} by {folder.name}: as read from {origin}; remove {folder} to encode")
        return opened(folder, check=True)
    if isinstance(encoder, str):
        encoder = encoders.load(encoder, device)
    header = _header(encoder)
    identity = datasets.identity(dataset, n_pairs) if isinstance(dataset, str) else None
    if identity is not None and not store.left_over(folder):
        found, _ = _stored(folder, header | {"identity": identity}, unreadable)
        if found:  # and need not be drawn to know it
            return found
    dataset = datasets.load(dataset, n_pairs) if isinstance(dataset, str) else sample(validate(*dataset), n_pairs)
    job = Job(folder, header | {"fingerprint": fingerprint(dataset)}, identity, dataset, encoder, unreadable)
    return _stored_or_encoded(job, partial(start, encoder, workers))


def _header(encoder):
    """What of an encoder, when it changes, makes stored features stale."""
    return {
        "encoder": encoder.name,
        "checkpoint": encoder.checkpoint,
        "preprocessing": store.digest(encoder.preprocessing.encode())[:16],
        "precision": encoder.precision,
        "normalisation": "l2",
        "versions": " ".join(f"{package} {version(package)}" for package in PACKAGES),
    }


def _stored(folder, wanted, unreadable):
    """What is stored, and None; or None, and why it will not do."""
    try:
        about = store.read_about(folder)
        if about is None:
            return None, "nothing stored yet"
        if changed := [key for key in wanted if about.get(key) != wanted[key]]:
            return None, f"the stored features have another {', '.join(changed)}"
        if about["skipped"] and unreadable == "stop":
            return None, f"the stored features leave out {len(about['skipped'])} pairs whose images cannot be read"
        return opened(folder, check=True), None
    except ValueError as error:
        return None, error


def _stored_or_encoded(job, engine):
    stored, why = _stored(job.folder, job.header, job.unreadable)
    if isinstance(why, store.WrongTable):
        print(f"{why}: writing it again")
        stored = _with_table_of(job)
    if stored and not store.left_over(job.folder):
        _note_identity(job)
        return stored
    table = store.pack_table(job.dataset)  # before anything is encoded: some columns cannot be stored
    what = f"{job.dataset.about.name} with {job.encoder.name}"
    with store.locked(job.folder, what):
        stored, why = _stored(job.folder, job.header, job.unreadable)  # another process may have finished it
        if why:
            refuse_others(job.folder, job.header["fingerprint"], partial(_is_earlier, job.dataset.about))
            print(f"encoding {what}: {why}; {len(job.dataset.pairs):,} pairs")
            with engine() as encode:
                assemble(job, table, encode)
        store.tidy(job.folder)
    return stored or opened(job.folder)


def _is_earlier(about, _, other):
    """Whether features may be of an earlier state of a dataset: yours stays in its folder, gaplib's may move."""
    root = other.get("dataset", {}).get("root")
    stayed = root in (None, str(about.root)) or about.name.startswith(tuple(datasets.REGISTRY))
    return stayed and "origin" not in other


def _with_table_of(job):
    """The stored features, beside which the pair table is written anew."""
    table = store.pack_table(job.dataset)
    store.write(store.table_of(job.folder), table)
    store.write_about(job.folder, store.read_about(job.folder) | {"table": store.digest(table)})
    return opened(job.folder)


def _note_identity(job):
    """Of generated pairs that were given by themselves and now by their name: next time they need not be drawn."""
    about = store.known(job.folder)
    if job.identity not in (None, about.get("identity")):
        with suppress(OSError):  # it is of use, and can be done without
            store.write_about(job.folder, about | {"identity": job.identity})

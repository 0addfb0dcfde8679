"""Where things are, and how a file gets there: whole or not at all.

What is committed lies in the checkout. What is made (features, results, figures, build) lies there too, or in the
current folder where gaplib was installed without one; `GAPLIB_ROOT` moves it, so that a test or a second study never
touches the first one's files.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
CHECKOUT = (REPO / "pyproject.toml").is_file()
DATA = REPO / "data"
PAIRS = DATA / "pairs"
ENCODERS = DATA / "encoders"
STUDIES = REPO / "notebooks" / "studies"


def made() -> Path:
    """Root of everything that is made rather than committed."""
    here = REPO if CHECKOUT else Path.cwd()
    return Path(os.environ.get("GAPLIB_ROOT") or here).expanduser()


def features(dataset: str) -> Path:
    """Folder of the features of one dataset."""
    return made() / "data" / "features" / dataset


def downloads(dataset: str) -> Path:
    """Folder of a dataset as its publishers lay it out; `GAPLIB_DATASETS` names another disk for all of them."""
    here = DATA if CHECKOUT else Path.cwd() / "data"
    return Path(os.environ.get("GAPLIB_DATASETS") or here / "downloads").expanduser().absolute() / dataset


def results(study: str) -> Path:
    """Folder of the tidy result tables of one study."""
    return made() / "data" / "results" / study


def figures(study: str) -> Path:
    """Folder of the figures of one study."""
    return made() / "figures" / study


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Where to write a file that is to stand at `path`: it goes there when the block ends well, else nowhere.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with whole(Path(folder, "new", "page")) as unfinished:
    ...         _ = unfinished.write_text("all of it")
    ...     Path(folder, "new", "page").read_text()
    'all of it'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")  # another process may write the same
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)

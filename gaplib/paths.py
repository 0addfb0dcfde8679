"""Where things are; nothing else.

Everything hangs off the repository root. `GAPLIB_ROOT` moves what is *made* (features, results, figures, build),
so that a test or a second study never touches the first one's files.
"""

import os
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
DATA = REPO / "data"
PAIRS = DATA / "pairs"
ENCODERS = DATA / "encoders"
STUDIES = REPO / "notebooks" / "studies"


def made():
    """Root of everything that is made rather than committed."""
    return Path(os.environ.get("GAPLIB_ROOT", REPO))


def features(dataset):
    """Folder of the feature files of one dataset."""
    return made() / "data" / "features" / dataset


def downloads(dataset):
    """Folder of a dataset as its publishers lay it out; `GAPLIB_DATASETS` names another disk for all of them."""
    return Path(os.environ.get("GAPLIB_DATASETS", DATA / "downloads")).expanduser().absolute() / dataset


def results(study):
    """Folder of the tidy result tables of one study."""
    return made() / "data" / "results" / study


def figures(study):
    """Folder of the figures of one study."""
    return made() / "figures" / study

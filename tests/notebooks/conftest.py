"""The smoke study and the lessons, run once for every test that looks at them."""

import subprocess
import sys

import pytest
from shared import once

from gaplib import paths


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    """What the smoke study made."""
    return once(tmp_path_factory, "smoke", run_all)


def run_all(root):
    """Run all notebooks of the smoke study, and the lessons, with what they make below `root`."""
    home = paths.REPO / "notebooks"
    notebooks = [*sorted(home.glob("[0-9]*.ipynb")), *sorted((home / "lessons").glob("[a-z]*.ipynb"))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAPLIB_ROOT", str(root))
        command = [sys.executable, "-m", "gaplib.study", "smoke", *map(str, notebooks)]
        done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]

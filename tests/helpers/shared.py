"""What is made once for the tests of all workers."""

import os

from filelock import FileLock


def once(tmp_path_factory, name, make):
    """A folder that `make(folder)` fills for the first test that asks for it; the workers of one run share it."""
    home = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # each worker's folder lies in that of the run
        home = home.parent
    folder = home / name
    made = home / f"{name}.made"
    with FileLock(home / f"{name}.lock"):
        if not made.exists():
            folder.mkdir()
            make(folder)
            made.touch()
    return folder

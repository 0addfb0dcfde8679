"""Patients, lesions and scenes drawn by all cores: each from its own number and seed, so always the same."""

import math
from collections.abc import Callable

from threadpoolctl import threadpool_limits

FEW = 2000  # rows, some seconds for one core; starting processes costs CPU that what runs beside needs
CHUNK = 25  # patients that a process draws at a time


def check_size(name: str, n: int, seed: int) -> None:
    """Refuse a number of rows, or a seed, of which a generated dataset cannot be drawn."""
    if n < 1 or seed < 0:
        raise ValueError(f"{name}: n must be positive and seed not negative, got n={n}, seed={seed}")


def first_rows(n: int, draw: Callable, *arguments) -> list:
    """The first `n` rows of the patients 0, 1, 2, ..., of whom `draw(number, *arguments)` gives all rows of one.

    A row depends on nothing but its patient's number and the arguments: not on `n`, nor on how many cores draw.
    Other processes are started afresh (joblib's, which end when they are idle), never forked: so it is safe beside
    torch's threads in a notebook, and in a script without `if __name__ == "__main__"`.

    Examples
    --------
    >>> first_rows(5, lambda number, times: [number] * times, 2)
    [0, 0, 1, 1, 2]
    """
    rows = []
    patients = 0
    each = 3.0  # rows of a patient; the first round tells how many they are, so that hardly one is drawn too many
    while len(rows) < n:
        more = math.ceil((n - len(rows)) / each)
        rows += _drawn(range(patients, patients + more), n < FEW, draw, arguments)
        patients += more
        each = len(rows) / patients
    return rows[:n]


def _drawn(patients, alone, draw, arguments):
    if alone:
        return _chunk(patients, draw, arguments)
    from joblib import Parallel, delayed

    chunks = [patients[start : start + CHUNK] for start in range(0, len(patients), CHUNK)]
    processes = Parallel(n_jobs=-1, batch_size=1, idle_worker_timeout=10)
    parts = processes(delayed(_chunk)(chunk, draw, arguments) for chunk in chunks)
    return [row for part in parts for row in part]


def _chunk(patients, draw, arguments):
    with threadpool_limits(1):  # products this small are slower on several threads, and the cores are taken
        return [row for number in patients for row in draw(number, *arguments)]

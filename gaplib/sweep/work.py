"""Small jobs side by side on all cores, and one quiet bar.

A library shares each product between threads that wait for each other by spinning. While another program has one of
the cores, small products take ten to a hundred times longer so. Here every job keeps to one thread, and waits for none.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import torch
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

DELAY = 5  # seconds before a bar is shown


@contextmanager
def single_threads():
    """torch and NumPy's products on one thread, and afterwards as before; yields how many threads torch may have."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield before
    finally:
        torch.set_num_threads(before)


def side_by_side(job, items, step) -> list:
    """Results of `job(item, step)`, on as many threads as torch has, each job on one.

    A job calls `step()` as often as it can: when another has failed, or the user interrupts, it ends there.
    """
    stopped = Event()

    def step_or_stop():
        if stopped.is_set():
            raise InterruptedError("stopped, for a job beside this one was")
        step()

    with single_threads() as cores:
        pool = ThreadPoolExecutor(min(cores, len(items)), initializer=torch.set_num_threads, initargs=(1,))
        with pool:
            try:
                return list(pool.map(lambda item: job(item, step_or_stop), items))
            finally:
                stopped.set()


@contextmanager
def bar(total, describe):
    """Yields `step()`, which moves a bar on; it is shown after five seconds, and not below a bar that is there."""
    beside = len(getattr(tqdm, "_instances", ()))
    with tqdm(total=total, desc=describe, delay=DELAY, leave=False, disable=beside > 0) as shown:
        yield shown.update

"""Small jobs side by side on all cores, and one quiet bar.

A library shares each product between threads that wait for each other by spinning. While another program has one of
the cores, small products take ten to a hundred times longer so. Here every job keeps to one thread, and waits for none.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import torch
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

LARGE = 5e9  # operations of a product that takes so long that waiting for its threads does not matter
DELAY = 5  # seconds before a bar is shown


def side_by_side(job, items, step, product=0) -> list:
    """Results of `job(item, step)`, on as many threads as torch has, each job on one.

    A job calls `step()` as often as it can: when another has failed, or the user interrupts, it ends there. `product`
    is the number of operations of a job's largest product; if it is worth while, cores left over share it.
    """
    cores = torch.get_num_threads()
    each = max(1, cores // len(items)) if product > LARGE else 1
    stopped = Event()

    def step_or_stop():
        if stopped.is_set():
            raise InterruptedError("stopped, for a job beside this one was")
        step()

    pool = ThreadPoolExecutor(min(cores, len(items)), initializer=torch.set_num_threads, initargs=(each,))
    with _threads(each), pool:
        try:
            return list(pool.map(lambda item: job(item, step_or_stop), items))
        finally:
            stopped.set()


def on_all_cores(function: Callable, items: Iterable) -> list:
    """`function(item)` of each item, in their order, on as many threads as torch has.

    Examples
    --------
    >>> on_all_cores(str.upper, ["a", "b"])
    ['A', 'B']
    """
    return side_by_side(lambda item, step: function(item), list(items), lambda: None)


@contextmanager
def _threads(each):
    """torch on so many threads and NumPy's products on one, and afterwards as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(each)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def bar(total, describe):
    """Yields `step()`, which moves a bar on; it is shown after five seconds."""
    with tqdm(total=total, desc=describe, delay=DELAY, leave=False) as shown:
        yield shown.update

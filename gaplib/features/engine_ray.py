"""The same extraction on all GPUs of a machine or a cluster, or by several CPU workers, as actors of Ray Data.

Each actor holds an encoder and sends finished blocks back; this process alone writes them, so that only the images and
the checkpoint must be within reach of every machine. An actor that dies is started again, and with it the block that it
was at. `RAY_ADDRESS` names a running cluster; without it Ray starts on this machine, with no dashboard and no usage
statistics, and is shut down afterwards.
"""

import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
from tqdm.auto import tqdm

from gaplib import encoders
from gaplib.features.blocks import Items
from gaplib.names import extra

CORES = 4  # that a worker without a GPU takes by default


class Worker:
    """An encoder in an actor: the items of one block in, its rows and note out."""

    def __init__(self, spec, precision, checkpoint, *settings):
        self.encoder = encoders.load(spec, "auto", precision)
        self.settings = settings
        if self.encoder.checkpoint != checkpoint:
            raise ValueError(f"a worker finds {self.encoder.checkpoint} where {checkpoint} is asked for")

    def __call__(self, table):
        from gaplib.features.engine_local import encode

        (task,) = table.to_pylist()
        kind, about, batch, workers = self.settings
        items = Items(kind, np.array(task["values"], object), np.array(task["rows"]), about)
        ((_, rows, note),) = encode(self.encoder, workers, items, [range(len(items.values))], batch)
        return {"start": [task["start"]], "rows": [rows.tobytes()], "note": [json.dumps(note)]}


@contextmanager
def engine(encoder, workers: int | None = None) -> Iterator[Callable]:
    """An `encode` as `engine_local.engine` gives it, by Ray: blocks come as they are finished.

    By default there is an actor for each GPU, or where there is none, for every `CORES` cores.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray = extra("ray", "cluster")
    extra("ray.data", "cluster")
    if ours := not ray.is_initialized():
        _start(ray)
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield partial(_encode, ray, encoder, workers)
    finally:
        if ours:
            ray.shutdown()


def _start(ray):
    local = {} if "RAY_ADDRESS" in os.environ else {"_node_ip_address": "127.0.0.1", "include_dashboard": False}
    start = partial(ray.init, log_to_driver=False, logging_level="error", **local)
    try:
        start()
    except Exception:  # Ray has no narrower one; the first start after an installation can take longer than it waits
        ray.shutdown()
        start()


def _encode(ray, encoder, workers, items, todo, batch):
    if not todo:
        return
    have = ray.cluster_resources()
    gpus = int(have.get("GPU", 0))
    cores = int(have.get("CPU", 1))
    workers = workers or gpus or max(1, cores // CORES)
    need = min(1, gpus / workers)  # of a GPU, by each
    share = next((s for s in range(cores, 0, -1) if _places(ray, s, need) >= workers), cores / workers)
    settings = (items.kind, items.about, batch, int(share) - 1 if share > 1 else 0)
    done = ray.data.from_items(_tasks(items, todo), override_num_blocks=len(todo)).map_batches(
        Worker,
        fn_constructor_args=(encoder.spec, encoder.precision, encoder.checkpoint, *settings),
        compute=ray.data.ActorPoolStrategy(size=workers),
        batch_size=1,
        batch_format="pyarrow",
        num_cpus=share,
        num_gpus=need or None,
    )
    blocks = {block.start: block for block in todo}
    what = f"{items.about.name} x {encoder.name}"
    for row in tqdm(done.iter_rows(), what, len(todo), unit="block", delay=5, mininterval=1, leave=False):
        rows = np.frombuffer(row["rows"], np.float32).reshape(-1, encoder.dim)
        yield blocks[row["start"]], rows, json.loads(row["note"])


def _tasks(items, todo):
    """What is sent to the actors, a block each."""
    return [
        {
            "start": block.start,
            "values": list(items.values[block.start : block.stop]),
            "rows": list(items.rows[block.start : block.stop]),
        }
        for block in todo
    ]


def _places(ray, share, need):
    """How many actors of so many cores, and so much of a GPU, find room, each on one machine."""
    have = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(
        min(int(node.get("CPU", 0) // share), round(node.get("GPU", 0) / need) if need else int(node.get("CPU", 0)))
        for node in have
    )

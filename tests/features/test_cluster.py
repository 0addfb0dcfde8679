"""The same extraction by Ray actors: equal results, a killed worker costs its block, nothing beyond this machine."""

import os
import shutil
import signal
import sys
import threading
import time

import numpy as np
import psutil
import pytest

from gaplib import features
from gaplib.features import engine_ray, store


def kill_one_worker(ledger, killed):
    """As soon as a block is finished, kill an actor that is busy with another."""
    while not killed:
        time.sleep(0.02)
        if not (ledger.exists() and ledger.read_bytes().count(b"start")):
            continue
        workers = [p for p in psutil.Process().children(recursive=True) if "MapWorker" in " ".join(cmdline(p))]
        if workers:
            killed.append(workers[0].pid)
            os.kill(workers[0].pid, signal.SIGKILL)


def cmdline(process):
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.mark.slow
def test_two_workers_one_of_them_killed_equal_the_local_run(root, monkeypatch):
    monkeypatch.setattr(store, "BLOCK", 50)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "")  # Ray's own processes must start within its time
    local = features.extract("clipart", "mini-clip", n_pairs=600)
    whole = (local.image.copy(), local.text.copy())
    folder = root / "data" / "features" / "clipart-600" / "mini-clip"
    shutil.rmtree(folder)
    killed = []
    watcher = threading.Thread(target=kill_one_worker, args=(store.unfinished(folder) / "ledger", killed), daemon=True)
    watcher.start()
    try:
        found = features.extract("clipart", "mini-clip", n_pairs=600, engine="ray", workers=2)
    finally:
        pids, killed = list(killed), killed.append(0)
    assert len(pids) == 1 and not psutil.pid_exists(pids[0])
    for one, other in zip((found.image, found.text), whole, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    np.testing.assert_array_equal(found.image_index, local.image_index)
    assert not store.left_over(folder)
    assert not [p for p in psutil.Process().children(recursive=True) if "ray" in " ".join(cmdline(p))]


def test_without_ray_there_is_one_message(monkeypatch):
    for name in ("ray", "ray.data"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"this needs 'ray': pip install \"gaplib\[cluster\]\""):
        engine_ray.engine(None).__enter__()

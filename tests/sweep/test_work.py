"""Work side by side: one thread each, what was set is restored, and a bar that goes."""

import threading
import time

import pytest
import torch
from threadpoolctl import threadpool_info

from gaplib import sweep
from gaplib.sweep import probe, work


def blas():
    return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}


@pytest.fixture(autouse=True)
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_every_job_has_one_thread_and_what_was_set_is_restored():
    before = blas()
    met = threading.Barrier(3, timeout=300)  # passed only if three jobs run at once

    def job(item, step):
        met.wait()
        return item, torch.get_num_threads(), blas()

    assert work.side_by_side(job, [1, 2, 3], print) == [(item, 1, {1}) for item in (1, 2, 3)]
    assert torch.get_num_threads() == 3 and blas() == before


@pytest.mark.parametrize(("items", "each"), [([1], 3), ([1, 2], 1), ([1, 2, 3, 4], 1)])
def test_large_products_are_shared_by_the_cores_that_are_left(items, each):
    def job(item, step):
        return torch.get_num_threads()

    assert work.side_by_side(job, items, print, product=2 * work.LARGE) == [each] * len(items)
    assert work.side_by_side(job, items, print) == [1] * len(items)


def test_probes_are_trained_on_one_thread(make_features, monkeypatch):
    seen = set()
    true_loss = probe.loss

    def loss(*args):
        seen.add((torch.get_num_threads(), *blas()))
        return true_loss(*args)

    monkeypatch.setattr(probe, "loss", loss)
    for training in (sweep.Training(), sweep.Converged()):
        sweep.sweep(make_features("binary"), [0, 1], [1, 2], training=training)
    assert seen == {(1, 1)}
    assert torch.get_num_threads() == 3


def test_an_error_ends_the_jobs_beside_it():
    steps = []

    def job(item, step):
        if item == 0:
            raise ValueError("no")
        for _ in range(1000):
            time.sleep(0.3)
            step()

    with pytest.raises(ValueError, match="no"):
        work.side_by_side(job, [0, 1, 2], lambda: steps.append(1))
    assert len(steps) < 1000
    assert torch.get_num_threads() == 3


def test_nothing_is_shown_of_what_is_quick(make_features, capfd):
    sweep.sweep(make_features("binary"), [0, 1], [1, 2], training=sweep.Training(epochs=3))
    assert capfd.readouterr() == ("", "")


def test_a_bar_is_shown_and_goes(capfd, monkeypatch):
    monkeypatch.setattr(work, "DELAY", 0)
    with work.bar(2, "alone") as step:
        step()
    shown = capfd.readouterr().err
    assert "alone" in shown and shown.endswith("\r")

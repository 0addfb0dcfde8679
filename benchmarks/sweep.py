"""What a sweep over lambda and seeds costs, all probes trained together, beside the published loop over single probes.

    python benchmarks/sweep.py [--epochs N] [--large] [--starts [ROUNDS]]

Both train the published probes on made features of a data set's size, the same number of epochs and none stopped
early. The loop is that of tests/helpers/plain.py, timed on one cell (one lambda, one seed), with the published four
DataLoader processes and with none; the batched sweep is timed on all 55. Seconds include moving, scoring and, for the
loop, its processes. Cost per epoch leaves out what does not repeat: it is the difference between runs of 1 and of N
epochs. Heads with hidden units and more lambdas take a tenth of the epochs, as is printed; ratios are always of equal
epochs. `--large` adds the batched sweep alone at MIMIC-CXR's size, with its peak memory. `--starts` measures only how
long one sweep takes in a script, in a kernel as JupyterLab starts it, and under papermill, alone and beside a process
that keeps one core busy: the best of some rounds (default 2).
"""

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import torch

from gaplib import sweep
from gaplib.datasets.pairs import About
from gaplib.features import Features

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))
import plain

WIDTH = 512


def made(task, n, outputs, width=WIDTH):
    """Features of two cones whose labels depend on both modalities, four fifths to train on and no validation rows."""
    rng = np.random.default_rng(0)
    both = np.empty((2, n, width), np.float32)
    signal = 0.3 * rng.standard_normal((n, outputs), np.float32)
    for x, centre in zip(both, rng.normal(size=(2, width)) / width**0.5, strict=True):
        direction = rng.standard_normal((width, outputs), np.float32)
        for rows in np.array_split(np.arange(n), max(1, n // 10_000)):
            part = rng.standard_normal((len(rows), width), np.float32) / width**0.5 + centre.astype(np.float32)
            x[rows] = part / np.linalg.norm(part, axis=1, keepdims=True)
            signal[rows] += x[rows] @ direction
    split = np.where(np.arange(n) < round(0.8 * n), "train", "test")
    pairs = pd.DataFrame({"image": np.arange(n).astype(str), "text": "a", "split": split, "group": np.arange(n)})
    labels = tuple(f"label {k}" for k in range(outputs))
    if task == "multilabel":
        pairs[list(labels)] = (signal > np.quantile(signal, 0.7, axis=0)).astype(int)
    else:
        pairs["label"] = np.array(labels)[signal.argmax(1)]
    return Features(*both, np.arange(n), np.arange(n), pairs, About("made", "natural", task, labels), "made")


def batched(features, epochs, device, lams=sweep.LAMS, seeds=sweep.SEEDS, **head):
    """Seconds of the batched sweep over lambdas and seeds."""
    training = sweep.Training(epochs=epochs, patience=epochs + 1)
    start = time.perf_counter()
    sweep.sweep(features, lams=lams, seeds=seeds, device=device, training=training, **sweep.PUBLISHED | head)
    return time.perf_counter() - start


def single(features, epochs, workers, **head):
    """Seconds of the plain loop on one cell."""
    (image, text), split = features.paired(), features.pairs["split"].to_numpy()
    data = image, text, features.targets, features.about.task, split
    start = time.perf_counter()
    plain.run(*data, 0.5, 42, epochs=epochs, patience=epochs + 1, workers=workers, **head)
    return time.perf_counter() - start


def beside(what, features, epochs, devices, **head):
    """Print the loop and the batched sweep side by side."""
    cells = len(sweep.LAMS) * len(sweep.SEEDS)
    print(f"\n{what}: {len(features.pairs):,} pairs of 2 x {features.image.shape[1]}, {epochs} epochs")
    print(f"{'':30}{'cells':>6}{'s a cell':>10}{'ms a cell and epoch':>21}{'':4}beside the loop")
    loop = {}
    for workers in (4, 0):
        first, whole = (single(features, e, workers, **head) for e in (1, epochs))
        loop[workers] = whole
        each = 1000 * (whole - first) / (epochs - 1)
        print(f"{f'plain loop, {workers} workers':30}{1:6}{whole:10.2f}{each:21.1f}", flush=True)
    for device in devices:
        first, whole = (batched(features, e, device, **head) for e in (1, epochs))
        each = 1000 * (whole - first) / (epochs - 1) / cells
        ratios = f"{loop[4] * cells / whole:.0f} times less ({loop[0] * cells / whole:.0f} without workers)"
        print(f"{f'batched, {device}':30}{cells:6}{whole / cells:10.3f}{each:21.2f}{'':4}{ratios}", flush=True)


def by_lambdas(features, epochs, device):
    """Print what an epoch of the batched sweep costs with more and more lambdas."""
    print(f"\nAn epoch of five seeds with more lambdas, {device}")
    print(f"{'lambdas':>8}{'ms':>9}{'beside 2':>10}{'linear':>8}")
    unit = None
    for count in (2, 11, 44):
        lams = np.linspace(0, 1, count).tolist()
        first, whole = (batched(features, e, device, lams) for e in (1, epochs))
        each = 1000 * (whole - first) / (epochs - 1)
        unit = unit or each
        print(f"{count:8}{each:9.1f}{each / unit:10.2f}{count / 2:8.1f}", flush=True)


def large(epochs, device):
    """Print the time and the peak memory of the batched sweep at MIMIC-CXR's size."""
    features = made("multilabel", 250_000, 6, 768)
    before = peak()
    took = batched(features, epochs, device)
    size = 2 * features.image.nbytes / 2**30
    print(f"\nLinear, 6 labels, MIMIC-CXR's size: {len(features.pairs):,} pairs of 2 x 768, {epochs} epochs")
    print(f"batched, {device}: {took:.0f} s for {len(sweep.LAMS) * len(sweep.SEEDS)} cells; features {size:.2f} GiB;")
    print(f"peak memory of the process {before:.2f} GiB before, {peak():.2f} GiB after", flush=True)


ONE = f"""
import sys, warnings
sys.path.insert(0, {str(Path(__file__).parent)!r})
import sweep as bench
features = bench.made("multilabel", 3000, 6, 128)
bench.batched(features, 1, "cpu")
print("took", bench.batched(features, 30, "cpu"))
"""
SETTINGS = ("OMP_WAIT_POLICY", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "GOMP_SPINCOUNT")


def script(folder):
    (folder / "one.py").write_text(ONE)
    return subprocess.run([sys.executable, folder / "one.py"], capture_output=True, text=True, check=True).stdout


def kernel(folder):
    from nbclient import NotebookClient

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(ONE)])
    client = NotebookClient(notebook, kernel_name="python3", extra_arguments=["--log-level=40"])
    return said(client.execute())


def papermill(folder):
    import papermill

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(ONE)])
    notebook.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "Python 3"}
    nbformat.write(notebook, folder / "one.ipynb")
    quiet = {"progress_bar": False, "extra_arguments": ["--log-level=40"]}
    return said(papermill.execute_notebook(folder / "one.ipynb", folder / "done.ipynb", **quiet))


def said(notebook):
    """What the first cell printed."""
    return "".join(output.get("text", "") for output in notebook.cells[0].outputs)


@contextmanager
def busy_process():
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def starts(rounds):
    """Print how long a sweep takes however Python was started, alone and beside a busy process."""
    for name in SETTINGS:
        os.environ.pop(name, None)
    ways = (script, kernel, papermill)
    times = {(way, busy): [] for busy in (False, True) for way in ways}
    with tempfile.TemporaryDirectory() as folder:
        for way, busy in [*times] * rounds:
            if busy:
                with busy_process():
                    told = way(Path(folder))
            else:
                told = way(Path(folder))
            times[way, busy].append(float(re.search(r"took (\S+)", told)[1]))
    print(f"\nOne sweep, seconds{'':6}{'alone':>10}{'beside a busy process':>24}")
    for way in ways:
        print(f"{way.__name__:24}{min(times[way, False]):10.2f}{min(times[way, True]):24.2f}")
    best = [min(each) for each in times.values()]
    print(f"slowest / fastest: {max(best) / min(best):.2f}", flush=True)


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # GiB on Linux


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=100, help="of every linear probe, at least 2 (default 100)")
    parser.add_argument("--large", action="store_true", help="also MIMIC-CXR's size, batched only")
    parser.add_argument(
        "--starts", type=int, nargs="?", const=2, metavar="ROUNDS", help="only one sweep, however Python was started"
    )
    options = parser.parse_args()
    if options.starts:
        return starts(options.starts)
    warnings.filterwarnings("ignore", "This DataLoader will create")  # four processes are what was published
    epochs, fewer = options.epochs, max(3, options.epochs // 10)
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads" + ", cuda" * (len(devices) - 1))
    brset = made("binary", 16_266, 2)
    for device in devices:  # first calls pay for imports, thread pools and contexts
        batched(brset, 1, device)
    beside("Linear, binary, BRSET's size", brset, epochs, devices)
    beside("Linear, 7 classes, HAM10000's size", made("multiclass", 10_015, 7), epochs, devices)
    beside("MLP of 128, binary, BRSET's size", brset, fewer, devices, hidden=128)
    beside("Late fusion of 64 each, binary, BRSET's size", brset, fewer, devices, fusion="late", hidden=64)
    for device in devices:
        by_lambdas(brset, fewer, device)
    if options.large:
        for device in devices:
            large(epochs, device)


if __name__ == "__main__":
    main()

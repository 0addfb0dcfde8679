"""A study: one YAML file of parameters under which the notebooks run. `python -m gaplib.study demo NOTEBOOK`.

The file may hold only the keys of `KEYS`; each notebook is given those that its `parameters` cell names. What a
notebook finds out is kept as a table of the study: `save`, `read`.
"""

import argparse
import math
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pandas as pd

from gaplib import paths
from gaplib.names import pick

KEYS = {
    "datasets": "names for gaplib.datasets.load, or of embeddings that were read in",
    "encoders": "names for gaplib.encoders.load, or of embeddings that were read in",
    "lambdas": "where to sweep",
    "seeds": "of the probes",
    "n_pairs": "pairs to use of each dataset, or null for all",
    "protocols": "of gaplib.sweep",
    "unreadable": "what to do with images that cannot be read: stop, or skip their pairs",
    "engine": "what encodes: local, or ray for many GPUs or machines",
}
LISTS = ("datasets", "encoders", "lambdas", "seeds", "protocols")
CHOICES = {  # as elsewhere, where torch would have to be imported to look; a test compares
    "protocols": ("published", "converged", "no-renorm", "rescale", "gap-kept"),
    "unreadable": ("stop", "skip"),
    "engine": ("local", "ray"),
}


def load(name: str) -> dict:
    """Parameters of a study.

    Parameters
    ----------
    name : str
        Of a file in `notebooks/studies/`, without `.yaml`.

    Raises
    ------
    ValueError
        If there is no such study, its name cannot name folders, the file is not a mapping, a key is unknown (with the
        near matches), or its value cannot work.

    Examples
    --------
    >>> sorted(load("demo")) == sorted(KEYS)
    True
    """
    import yaml

    path = pick({p.stem: p for p in sorted(paths.STUDIES.glob("*.yaml"))}, name, "study")
    where = f"study {name!r}:"
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise ValueError(f"{where} folders are named after it, so only letters, digits, '-', '_' and '.' may be in it")
    try:
        parameters = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{where} {path.name} is not valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(parameters, dict):
        raise ValueError(f"{where} {path.name} must hold `key: value` lines, one each of {', '.join(KEYS)}")
    for key, value in parameters.items():
        pick(KEYS, key, f"key in {where}")
        _check(key, value, where)
    return parameters


def _check(key, value, where):
    """Refuse a value that cannot work, before anything runs for hours."""
    if key in LISTS and not (isinstance(value, list) and value):
        raise ValueError(f"{where} {key} must be a list, such as [a, b], got {value!r}")
    values = value if key in LISTS else [value]
    if twice := sorted({str(one) for one in values if values.count(one) > 1}):
        raise ValueError(f"{where} {key} must hold each once, got {', '.join(twice)} twice")
    for one in values:
        _check_one(key, one, where)
    if key == "lambdas" and not {0, 1} <= set(values):
        raise ValueError(f"{where} lambdas must hold 0 and 1, which the verdicts compare with")


def _check_one(key, one, where):
    number = isinstance(one, (int, float)) and not isinstance(one, bool)
    whole = number and isinstance(one, int)
    if key in CHOICES:
        pick(CHOICES[key], one, f"{key} in {where}")
    elif key == "lambdas" and not (number and math.isfinite(one)):
        raise ValueError(f"{where} lambdas must be numbers, got {one!r}")
    elif key == "seeds" and not (whole and 0 <= one < 2**32):
        raise ValueError(f"{where} seeds must be whole numbers from 0 to {2**32 - 1}, got {one!r}")
    elif key == "n_pairs" and not (one is None or (whole and one > 0)):
        raise ValueError(f"{where} n_pairs must be a whole number above 0, or null for all pairs, got {one!r}")
    elif key in ("datasets", "encoders") and not (isinstance(one, str) and one):
        raise ValueError(f"{where} {key} must be names, got {one!r}")


def save(table: pd.DataFrame, study: str, name: str) -> pd.DataFrame:
    """Keep a table of a study as `data/results/{study}/{name}.parquet`, the whole or nothing; returns the table.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    path = paths.results(study) / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    table.to_parquet(unfinished)
    os.replace(unfinished, path)
    return table


def read(study: str, name: str) -> pd.DataFrame:
    """A table that `save` kept.

    Raises
    ------
    FileNotFoundError
        If there is none (says what to run).
    """
    path = paths.results(study) / f"{name}.parquet"
    if not path.is_file():
        raise FileNotFoundError(f"no table {path}; first run the notebook that writes {name!r} under study {study!r}")
    return pd.read_parquet(path)


def available(load: Callable, names: Iterable, *options, stored: Iterable = ()) -> tuple[dict, dict]:
    """What of a study can be had: `load(name, *options)` of each name, and why not of each that is absent.

    Parameters
    ----------
    load : callable
        `datasets.load`, `encoders.load`, or another whose OSError says that a thing is not there.
    names : sequence of str
    stored : sequence of str
        Names whose features are stored, perhaps read in: of these none need be known to `load`.

    Returns
    -------
    (dict, dict)
        What was loaded, and the errors' messages, by name.

    Raises
    ------
    ValueError
        As `load`, of a name that is unknown and not among `stored`.

    Examples
    --------
    >>> from gaplib import datasets
    >>> loaded, absent = available(datasets.load, ["clipart", "csv:absent.csv"], 300)
    >>> list(loaded), list(absent)
    (['clipart'], ['csv:absent.csv'])
    """
    loaded, absent = {}, {}
    for name in names:
        try:
            loaded[name] = load(name, *options)
        except OSError as error:
            absent[name] = str(error)
        except ValueError as error:
            if name not in stored:
                raise
            absent[name] = str(error)
    return loaded, absent


def stored(datasets: Sequence[str], encoders: Sequence[str], n_pairs: int | None = None) -> dict:
    """Stored features of a study by (dataset, encoder), whether encoded here or read in; without those that are not."""
    from gaplib import features

    pairs = [(dataset, encoder) for dataset in datasets for encoder in encoders]
    return available(lambda pair: features.load(*pair, n_pairs), pairs)[0]


def cells(datasets: Sequence[str], encoders: Sequence[str], n_pairs: int | None = None) -> list:
    """The features of `stored`, for the notebooks that cannot do without any.

    Raises
    ------
    FileNotFoundError
        If there are none at all.
    """
    found = stored(datasets, encoders, n_pairs)
    if not found:
        wanted = f"{', '.join(datasets)} by {', '.join(encoders)}"
        raise FileNotFoundError(f"none of the study's features are stored; run notebook 01 first ({wanted})")
    return list(found.values())


def run(name: str, notebook: str | Path) -> Path:
    """Execute one notebook under a study into `build/{study}/`, lessons into its `lessons/`: the whole, or nothing.

    Raises
    ------
    ValueError
        If the study is not valid.
    papermill.PapermillExecutionError
        If a cell fails; the notebook up to that cell is kept as `build/{study}/failed-{notebook}`.
    """
    import papermill
    from traitlets.config import Config

    notebook = Path(notebook).resolve()
    values = {"study": name} | load(name)
    declared = papermill.inspect_notebook(str(notebook))
    home = paths.REPO / "notebooks"
    within = notebook.relative_to(home) if notebook.is_relative_to(home) else notebook.name
    target = paths.made() / "build" / name / within
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f"failed-{target.name}")
    # Threads that wait by spinning make small products a hundred times slower as soon as another program runs.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # torch
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy, whose threads cannot be told to wait quietly
    os.environ.setdefault("TQDM_DISABLE", "1")  # a bar is for who watches the notebook, not for the finished page
    with tempfile.TemporaryDirectory() as sockets:
        # Sockets that are files: notebooks that start side by side would now and then be given the same port.
        config = Config(KernelManager={"transport": "ipc", "ip": f"{sockets}/kernel"})
        papermill.execute_notebook(
            str(notebook),
            str(unfinished),
            {key: value for key, value in values.items() if key in declared},
            cwd=str(paths.REPO),
            progress_bar=False,
            extra_arguments=["--log-level=40"],  # the kernel's own warnings are not the reader's concern
            start_timeout=300,
            config=config,
        )
    os.replace(unfinished, target)
    return target


def _run_or_exit(name, notebook):
    """Run a notebook; whatever goes wrong ends this process with one line."""
    from nbclient.exceptions import DeadKernelError
    from papermill import PapermillExecutionError

    try:
        run(name, notebook)
    except PapermillExecutionError as error:
        message = re.sub(r"\x1b\[[0-9;]*m", "", str(error.evalue))
        sys.exit(f"{notebook.name}, cell {error.cell_index}: {error.ename}: {message}")
    except DeadKernelError:
        sys.exit(f"{notebook.name}: the kernel died; most often the memory was full. Try a smaller n_pairs")
    except OSError as error:
        sys.exit(f"{notebook.name}: cannot write below {paths.made()}; GAPLIB_ROOT names another place ({error})")


def main() -> None:
    parser = argparse.ArgumentParser(description="Run notebooks under a study.")
    parser.add_argument("study")
    parser.add_argument("notebooks", nargs="*", type=Path)
    arguments = parser.parse_args()
    try:
        load(arguments.study)
    except ValueError as error:
        sys.exit(str(error))
    for notebook in arguments.notebooks:
        if not notebook.is_file():
            sys.exit(f"there is no notebook {notebook}")
        start = time.monotonic()
        print(f"{arguments.study}: {notebook.stem} ...", flush=True)
        _run_or_exit(arguments.study, notebook)
        print(f"{arguments.study}: {notebook.stem} took {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()

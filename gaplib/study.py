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
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from gaplib import features, paths
from gaplib.names import extra, pick


def _is_name(one):
    return isinstance(one, str) and bool(one)


def _is_number(one):
    return isinstance(one, (int, float)) and not isinstance(one, bool) and math.isfinite(one)


def _is_seed(one):
    return _is_number(one) and isinstance(one, int) and 0 <= one < 2**32


def _is_share(one):
    return _is_number(one) and 0 < one <= 1


def _is_count(one):
    return _is_seed(one) and one > 0


def _is_size(one):
    return one is None or _is_count(one)


LEAST = 16  # pairs of a dataset: a map takes more than the 15 neighbours of each
LEAST_TEST = 5  # test pairs: of five folds, that tell how well a plane separates the modalities, each needs one


class Key(NamedTuple):
    """What may stand under one key: its values pass a test, or are among the names to choose from."""

    means: str
    allowed: Callable | tuple
    several: bool


# Written out, for to look them up in `sweep` takes two seconds of importing torch, at every notebook; a test compares.
TREATMENTS = (
    "shift", "shift-only", "rescale", "rescale-each", "gap-kept", "placebo", "centre", "standardise", "whiten"
)  # fmt: skip
KEYS = {
    "datasets": Key("names for gaplib.datasets.load, or of embeddings that were read in", _is_name, True),
    "encoders": Key("names for gaplib.encoders.load, or of embeddings that were read in", _is_name, True),
    "lambdas": Key("numbers: where to sweep", _is_number, True),
    "seeds": Key(f"whole numbers from 0 to {2**32 - 1}: of the probes", _is_seed, True),
    "n_pairs": Key("a whole number above 0, of pairs to use of each dataset, or null for all", _is_size, False),
    "treatments": Key("of gaplib.sweep", TREATMENTS, True),
    "shares": Key("numbers above 0, up to 1: of the train split's groups, for notebook 05", _is_share, True),
    "n_followed": Key("a whole number above 0, of cells that notebook 05 follows, or null for all", _is_size, False),
    "training_sets": Key("a whole number above 0: of every cell, for notebook 05", _is_count, False),
    "converged_sets": Key("a whole number above 0: training sets of converged probes there", _is_count, False),
    "longest": Key("a whole number above 0, of epochs along which notebook 05 follows cells", _is_count, False),
    "unreadable": Key("what to do with images that cannot be read", ("stop", "skip"), False),
    "engine": Key("what encodes: ray is for many GPUs or machines", tuple(features.ENGINES), False),
}


def load(name: str) -> dict:
    """Parameters of a study, by the name of its file in `notebooks/studies/`; ValueError for any that cannot work.

    Examples
    --------
    >>> sorted(load("demo")) == sorted(KEYS)
    True
    """
    yaml = extra("yaml", "notebooks")
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
    means, allowed, several = KEYS[key]
    if several and not (isinstance(value, list) and value):
        raise ValueError(f"{where} {key} must be a list, such as [a, b], got {value!r}")
    values = value if several else [value]
    for one in values:
        if isinstance(allowed, tuple):
            pick(allowed, one, f"{key} in {where}")
        elif not allowed(one):
            raise ValueError(f"{where} {key} must be {means}; got {one!r}")
        if values.count(one) > 1:
            raise ValueError(f"{where} {key} must hold each once, got {one!r} twice")
    if key == "lambdas" and not {0, 1} <= set(values):
        raise ValueError(f"{where} lambdas must hold 0 and 1, which the verdicts compare with")


def _table(study, name):
    return paths.results(study) / f"{name}.parquet"


def save(table: pd.DataFrame, study: str, name: str) -> pd.DataFrame:
    """Keep a table as `data/results/{study}/{name}.parquet`, the whole or nothing; returns the table."""
    with paths.whole(_table(study, name)) as unfinished:
        table.to_parquet(unfinished)
    return table


def read(study: str, name: str) -> pd.DataFrame:
    """A table that `save` kept; FileNotFoundError, which says what to run, if there is none."""
    path = _table(study, name)
    if not path.is_file():
        raise FileNotFoundError(f"no table {path}; first run the notebook that writes {name!r} under study {study!r}")
    return pd.read_parquet(path)


def with_domains(table: pd.DataFrame, study: str) -> pd.DataFrame:
    """A table with the domain of each dataset, as notebook 02 found it: natural or medical, in `dataset_domain`."""
    known = read(study, "cone").drop_duplicates("dataset").set_index("dataset")["dataset_domain"]
    return table.assign(dataset_domain=table["dataset"].map(known))


def has_labels(study: str) -> bool:
    """Whether a probe had labels to learn in any cell of a study: notebook 04 refused fewer than 02 measured."""
    measured = read(study, "cone").groupby(["dataset", "encoder"]).ngroups
    return len(read(study, "refused")) < measured


def left_out(study: str) -> str:
    """What a study asked for and has no numbers of, as lines for its figures; empty where nothing is missing."""
    lines = []
    absent = read(study, "left_out")["absent"].unique()
    if len(absent):
        lines.append(f"Not on this machine, so left out: {', '.join(absent)}.")
    refused = read(study, "refused")["dataset"].unique() if has_labels(study) else []
    if len(refused):
        lines.append(f"Not swept, see notebook 04: {', '.join(refused)}.")
    return "\n".join(lines)


def available(load: Callable, names: Iterable, *options, stored: Iterable = ()) -> tuple[dict, dict]:
    """What of a study can be had: `load(name, *options)` by name, and by name what is wrong with those that cannot.

    An OSError of `load` says that a thing is not here. A name that it does not know is an error, but among `stored`,
    whose features are stored and may have been read in.

    Examples
    --------
    >>> from gaplib import datasets
    >>> loaded, absent = available(datasets.load, ["clipart", "csv:absent.csv"], 300)
    >>> list(loaded), list(absent)
    (['clipart'], ['csv:absent.csv'])
    """
    loaded = {}
    absent = {}
    for name in names:
        try:
            loaded[name] = load(name, *options)
        except (OSError, ValueError) as error:
            if isinstance(error, ValueError) and name not in stored:
                raise
            absent[name] = str(error)
    return loaded, absent


def stored(datasets: Sequence[str], encoders: Sequence[str], n_pairs: int | None = None) -> dict:
    """Stored features of a study by (dataset, encoder), whether encoded here or read in; without those that are not.

    Raises
    ------
    ValueError
        If two of the study's datasets or encoders have one name, and so one place for their features.
    """
    pairs = list(product(datasets, encoders))
    taken = {}
    for pair in pairs:
        other = taken.setdefault(features.place(*pair, n_pairs), pair)
        if other != pair:
            one = f"{' by '.join(other)} and {' by '.join(pair)}"
            raise ValueError(f"{one} have one name, and so one place; say `... as NAME` of one, or rename its folder")
    return available(lambda pair: features.load(*pair, n_pairs), pairs)[0]


def cells(datasets: Sequence[str], encoders: Sequence[str], n_pairs: int | None = None) -> list:
    """The features of `stored`, for notebooks that cannot do without any.

    Raises
    ------
    FileNotFoundError
        If there are none.
    ValueError
        If there are too few pairs of a dataset to measure or to draw, or two of one name.
    """
    found = stored(datasets, encoders, n_pairs)
    if not found:
        wanted = f"{', '.join(datasets)} by {', '.join(encoders)}"
        raise FileNotFoundError(f"none of the study's features are stored; run notebook 01 first ({wanted})")
    for f in found.values():
        _check_size(f)
    return list(found.values())


def _check_size(f):
    n_test = len(f.rows("test"))
    if len(f.pairs) < LEAST or n_test < LEAST_TEST:
        raise ValueError(
            f"dataset {f.about.name!r} has too few pairs for a study: {len(f.pairs)}, {n_test} of them for testing, "
            f"where {LEAST} and {LEAST_TEST} are the least; of two or more, `cone` and `gap` have measures"
        )


class NeedsLabels(Exception):
    """Ends a notebook whose rest needs labels where there are none: by one line, without a traceback."""

    def _render_traceback_(self):  # by which IPython shows it
        return [str(self)]


def learnable(cells: list, refused: pd.DataFrame) -> list:
    """The cells that a probe can learn from: those that are not `refused`, a table of dataset, encoder and why.

    Raises
    ------
    NeedsLabels
        If none is left. `run` takes a notebook that ends so as done.

    Examples
    --------
    >>> why = "dataset 'photos' has no labels"
    >>> learnable([], pd.DataFrame({"dataset": ["photos"], "encoder": ["clip"], "why": [why]}))
    Traceback (most recent call last):
        ...
    gaplib.study.NeedsLabels: this notebook ends here, for what follows learns labels: dataset 'photos' has no labels
    """
    without = set(refused[["dataset", "encoder"]].itertuples(index=False, name=None))
    kept = [f for f in cells if (f.about.name, f.encoder) not in without]
    if not kept:
        reasons = "; ".join(refused["why"].unique())
        raise NeedsLabels(f"this notebook ends here, for what follows learns labels: {reasons}")
    return kept


def followed(cells: list, n: int | None) -> list:
    """`n` of the cells, of as many datasets as can be and by encoders in turn; all of them for None.

    Examples
    --------
    >>> from types import SimpleNamespace as Cell
    >>> grid = [Cell(about=Cell(name=d), encoder=e) for d, e in product(["clipart", "emoji", "cxr"], ["a", "b"])]
    >>> [(f.about.name, f.encoder) for f in followed(grid, 2)]
    [('clipart', 'a'), ('cxr', 'a')]
    """
    if n is None:
        return cells
    by_dataset = {}
    for f in cells:
        by_dataset.setdefault(f.about.name, []).append(f)
    one_each = [of_dataset[place % len(of_dataset)] for place, of_dataset in enumerate(by_dataset.values())]
    places = np.linspace(0, len(one_each) - 1, min(n, len(one_each))).round().astype(int)
    return [one_each[place] for place in places]


# What a kernel is told, unless its user has said otherwise. Where another program runs beside it, threads that wait by
# spinning make small products many times slower: torch's can be told to wait quietly, NumPy's cannot.
ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"}
WIDGET = "application/vnd.jupyter.widget-view+json"  # how a progress bar stands in a notebook


def run(name: str, notebook: str | Path, parameters: dict | None = None) -> Path:
    """Execute one notebook under a study into `build/{study}/`, lessons into its `lessons/`: the whole, or nothing.

    Parameters
    ----------
    name : str
        A file of `notebooks/studies`; any name where there are `parameters`.
    notebook : str or Path
    parameters : dict, optional
        What stands in that file, by default.

    Raises
    ------
    ValueError
        If the study is not valid.
    papermill.PapermillExecutionError
        If a cell fails; the notebook up to that cell is kept as `build/{study}/failed-{notebook}`.
    """
    papermill = extra("papermill", "notebooks")
    notebook = Path(notebook).resolve()
    parameters = {"study": name} | (load(name) if parameters is None else parameters)
    target = _target(name, notebook)
    unfinished = target.with_name(f"failed-{target.name}")
    try:
        _execute(notebook, unfinished, parameters)
    except papermill.PapermillExecutionError as error:
        if error.ename != NeedsLabels.__name__:
            raise
        _say(f"{notebook.stem}: {error.evalue}")
    _clear(unfinished)
    os.replace(unfinished, target)
    return target


def _target(name, notebook):
    """Where an executed notebook goes, its folder made."""
    home = paths.REPO / "notebooks"
    within = notebook.relative_to(home) if notebook.is_relative_to(home) else notebook.name
    target = paths.made() / "build" / name / within
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _execute(notebook, target, parameters):
    """Run a notebook with those parameters that its `parameters` cell names."""
    papermill = extra("papermill", "notebooks")
    from traitlets.config import Config

    declared = papermill.inspect_notebook(str(notebook))
    for variable, value in ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    with tempfile.TemporaryDirectory() as sockets:
        papermill.execute_notebook(
            str(notebook),
            str(target),
            {key: value for key, value in parameters.items() if key in declared},
            cwd=str(paths.REPO),
            progress_bar=False,
            extra_arguments=["--log-level=40"],  # the kernel's own warnings are not the reader's concern
            start_timeout=300,
            # Sockets that are files: notebooks that start side by side would now and then be given the same port.
            config=Config(KernelManager={"transport": "ipc", "ip": f"{sockets}/kernel"}),
        )


def _clear(path):
    """Take progress bars, which are for who watches it run, and papermill's signs out of an executed notebook."""
    import nbformat
    from papermill.execute import remove_error_markers

    notebook = remove_error_markers(nbformat.read(path, as_version=4))
    for cell in notebook.cells:
        outputs = cell.get("outputs", [])
        if outputs:
            cell.outputs = [output for output in outputs if WIDGET not in output.get("data", {})]
    nbformat.write(notebook, path)


def run_all(name: str, notebooks: Iterable[Path], parameters: dict | None = None) -> None:
    """Run notebooks one after the other, saying how long each took; what goes wrong ends the process with one line."""
    for notebook in notebooks:
        start = time.monotonic()
        _say(f"{name}: {notebook.stem} ...")
        _run_or_exit(name, notebook, parameters)
        _say(f"{name}: {notebook.stem} took {time.monotonic() - start:.0f} s")


def _run_or_exit(name, notebook, parameters):
    from nbclient.exceptions import DeadKernelError
    from papermill import PapermillExecutionError

    try:
        run(name, notebook, parameters)
    except PapermillExecutionError as error:
        message = re.sub(r"\x1b\[[0-9;]*m", "", str(error.evalue))
        sys.exit(f"{notebook.name}, cell {error.cell_index}: {error.ename}: {message}")
    except DeadKernelError:
        sys.exit(f"{notebook.name}: the kernel died; most often the memory was full. Try a smaller n_pairs")
    except OSError as error:
        sys.exit(f"{notebook.name}: cannot write below {paths.made()}; GAPLIB_ROOT names another place ({error})")


def _say(line):
    print(f"{line}\n", end="", flush=True)  # in one piece: another may write beside it


def main() -> None:
    """The command line."""
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
    run_all(arguments.study, arguments.notebooks)


if __name__ == "__main__":
    main()

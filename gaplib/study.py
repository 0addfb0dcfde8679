"""A study: one YAML file of parameters under which the notebooks run. `python -m gaplib.study demo NOTEBOOK`.

The file may hold only the keys of `KEYS`; each notebook is given those that its `parameters` cell names.
"""

import argparse
import os
import re
import sys
from pathlib import Path

import yaml

from gaplib import paths
from gaplib.names import pick

KEYS = {
    "datasets": "names for gaplib.datasets.load",
    "encoders": "names for gaplib.encoders.load",
    "lambdas": "where to sweep",
    "seeds": "of the probes",
    "n_pairs": "pairs to use of each dataset, or null for all",
    "protocols": "of gaplib.sweep",
    "unreadable": "what to do with images that cannot be read: stop, or skip their pairs",
    "engine": "what encodes: local, or ray for many GPUs or machines",
}
SINGLE = ("n_pairs", "unreadable", "engine")  # keys whose value is no list
CHOICES = {  # as elsewhere, where torch would have to be imported to look; a test compares
    "protocols": ("published", "converged", "no-renorm", "rescale", "gap-kept"),
    "unreadable": ("stop", "skip"),
    "engine": ("local", "ray"),
}


def load(name):
    """Parameters of a study.

    Parameters
    ----------
    name : str
        Of a file in `notebooks/studies/`, without `.yaml`.

    Returns
    -------
    dict

    Raises
    ------
    ValueError
        If there is no such study, the file is not a mapping, a key is unknown (with the near matches), or its value is
        of the wrong kind.

    Examples
    --------
    >>> sorted(load("demo")) == sorted(KEYS)
    True
    """
    path = pick({p.stem: p for p in sorted(paths.STUDIES.glob("*.yaml"))}, name, "study")
    try:
        parameters = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"study {name!r}: {path.name} is not valid YAML ({error})") from error
    if not isinstance(parameters, dict):
        raise ValueError(f"study {name!r}: {path.name} must hold `key: value` lines, one each of {', '.join(KEYS)}")
    for key in parameters:
        pick(KEYS, key, f"key in study {name!r}:")
        value = parameters[key]
        if key not in SINGLE and not (isinstance(value, list) and value):
            raise ValueError(f"study {name!r}: {key} must be a list, such as [a, b], got {value!r}")
        for choice in (value if isinstance(value, list) else [value]) if key in CHOICES else ():
            pick(dict.fromkeys(CHOICES[key]), choice, f"{key} in study {name!r}:")
    for lam in parameters.get("lambdas", ()):
        if isinstance(lam, bool) or not isinstance(lam, (int, float)):
            raise ValueError(f"study {name!r}: lambdas must be numbers, got {lam!r}")
    if not {0, 1} <= set(parameters.get("lambdas", (0, 1))):
        raise ValueError(f"study {name!r}: lambdas must hold 0 and 1, which the verdicts compare with")
    return parameters


def available(load, names, *options):
    """What of a study can be had: `load(name, *options)` of each name, and why not of each that is absent.

    Parameters
    ----------
    load : callable
        `datasets.load`, `encoders.load`, or another whose OSError says that a thing is not there.
    names : sequence of str

    Returns
    -------
    (dict, dict)
        What was loaded, and the errors' messages, by name.

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
    return loaded, absent


def cells(datasets, encoders, n_pairs=None):
    """Stored features of every dataset by every encoder of a study, without those that notebook 01 left out.

    Returns
    -------
    list of features.Features

    Raises
    ------
    FileNotFoundError
        If there are none at all.
    """
    from gaplib import features

    pairs = [(dataset, encoder) for dataset in datasets for encoder in encoders]
    stored, absent = available(lambda pair: features.load(*pair, n_pairs), pairs)
    if not stored:
        raise FileNotFoundError(f"none of the study's features are stored; run notebook 01 ({absent[pairs[0]]})")
    return list(stored.values())


def run(name, notebook):
    """Execute one notebook under a study into `build/{study}/`, lessons into its `lessons/`: the whole, or nothing.

    Raises
    ------
    ValueError
        If the study is not valid.
    papermill.PapermillExecutionError
        If a cell fails; the notebook up to that cell is kept as `build/{study}/failed-{notebook}`.
    """
    import papermill

    notebook = Path(notebook)
    declared = papermill.inspect_notebook(str(notebook))
    parameters = {k: v for k, v in ({"study": name} | load(name)).items() if k in declared}
    home, notebook = paths.REPO / "notebooks", notebook.resolve()
    within = notebook.relative_to(home) if notebook.is_relative_to(home) else notebook.name
    target = paths.made() / "build" / name / within
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f"failed-{target.name}")
    # Threads that wait by spinning make our many small products a hundred times slower as soon as another program runs.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # torch
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy, whose threads cannot be told to wait quietly
    papermill.execute_notebook(
        str(notebook),
        str(unfinished),
        parameters,
        cwd=str(paths.REPO),
        progress_bar={"desc": f"{name}: {notebook.stem}", "leave": True},
        # The bars of the notebook's own cells, which would otherwise only be in its outputs.
        stderr_file=sys.stderr if sys.stderr.isatty() else None,
        # The kernel's own warnings (ports, encryption) are not the reader's concern.
        extra_arguments=["--log-level=40"],
    )
    os.replace(unfinished, target)


def main():
    parser = argparse.ArgumentParser(description="Run notebooks under a study.")
    parser.add_argument("study")
    parser.add_argument("notebooks", nargs="*", type=Path)
    arguments = parser.parse_args()
    from nbclient.exceptions import DeadKernelError
    from papermill import PapermillExecutionError

    try:
        load(arguments.study)
    except ValueError as error:
        sys.exit(str(error))
    for notebook in arguments.notebooks:
        if not notebook.is_file():
            sys.exit(f"there is no notebook {notebook}")
        try:
            run(arguments.study, notebook)
        except PapermillExecutionError as error:
            message = re.sub(r"\x1b\[[0-9;]*m", "", str(error.evalue))
            sys.exit(f"{notebook.name}, cell {error.cell_index}: {error.ename}: {message}")
        except DeadKernelError:
            sys.exit(f"{notebook.name}: the kernel died; most often the memory was full. Try a smaller n_pairs")


if __name__ == "__main__":
    main()

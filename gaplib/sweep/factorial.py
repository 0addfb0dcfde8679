"""Every cell under every treatment, training and share of the training set: hours that may be interrupted."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import product
from pathlib import Path

import pandas as pd

from gaplib import paths
from gaplib.features import Features
from gaplib.sweep import probe, verdicts, work
from gaplib.sweep.sweep import sweeps

PACKAGE = Path(paths.__file__).parent
CODE = [*PACKAGE.glob("sweep/*.py"), *(PACKAGE / name for name in ("gap.py", "modulate.py", "rows.py"))]


def factorial(
    cells: Sequence[Features],
    treatments: Sequence[str],
    trainings: Mapping[probe.Training | probe.Converged, int],
    seeds: Sequence[int],
    folder: Path,
    shares: Sequence[float] = (1.0,),
) -> pd.DataFrame:
    """`verdicts.rises` of each combination, several at a time; at the shift its `verdicts.leads`, too.

    Each cell, training and share, with all treatments, is kept in `folder` as soon as it is done, under a name with a
    digest of all that it depends on: the features, the options, and the code that reckons with them. What is there
    already is read, so a call that was interrupted goes on where it ended.

    Parameters
    ----------
    cells : sequence of features.Features
    treatments : sequence of str
    trainings : mapping of Training or Converged to int
        And how many training sets each has, `sets` of `sweep.sweep`.
    seeds : sequence of int
    folder : Path
    shares : sequence of float
        Of the train split's groups: the axis of n.

    Returns
    -------
    DataFrame
        As from `verdicts.rises`, and share; if all controls are among the treatments, in the rows of "shift" the
        columns of `verdicts.leads`.

    Raises
    ------
    ValueError
        As `sweep.sweep`.
    """
    data = {id(features): _digest(features) for features in cells}

    def one(job, step):
        features, (training, sets), share = job
        options = {"seeds": list(seeds), "training": training, "sets": sets, "share": share}
        digest = sha256(f"{data[id(features)]} {treatments} {options}".encode()).hexdigest()[:12]
        path = folder / f"{features.about.name}-{features.encoder}-{digest}.parquet".replace(":", "-")
        if not path.exists():
            told = _told(sweeps(features, treatments, **options)).assign(share=share)
            with paths.whole(path) as unfinished:
                told.to_parquet(unfinished)
        step()
        return pd.read_parquet(path)

    jobs = list(product(cells, trainings.items(), shares))
    with work.bar(len(jobs), "factorial") as step:
        return pd.concat(work.side_by_side(one, jobs, step), ignore_index=True)


def _told(swept):
    """What there is to say of the treatments of one cell."""
    table = verdicts.rises(swept)
    if not {"shift", *verdicts.CONTROLS} <= set(table["treatment"]):
        return table
    return table.merge(verdicts.leads(swept).assign(treatment="shift"), "left")


def _digest(features):
    """Of what a sweep reads, and of the code that makes it."""
    seen = sha256(features.pairs.to_csv().encode())
    for array in features.paired():
        seen.update(array.tobytes())
    for path in sorted(CODE):
        seen.update(path.read_bytes())
    return seen.hexdigest()

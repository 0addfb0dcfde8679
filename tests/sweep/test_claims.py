"""The claims are answered from the tables, in words that say how sure the answer is."""

import numpy as np
import pandas as pd
import pytest

from gaplib.sweep import claims, overcells


@pytest.fixture
def cells():
    """Six cells of six datasets, three of a kind."""
    kinds = ["natural"] * 3 + ["medical"] * 3
    table = pd.DataFrame({"dataset": list("abcdef"), "encoder": "clip", "dataset_domain": kinds})
    table["difference"] = [0.01, 0.012, 0.011, 0.03, 0.031, 0.029]
    return table.assign(training="published", se=0.001, squared=table["difference"] ** 2)


def test_each_training_has_its_verdicts_counted_and_its_interval(cells):
    verdicts = ["better"] * 4 + ["worse", "undecided"]
    few = cells[:2].assign(training="converged", verdict="equivalent")
    told = claims.gap_helps(
        pd.concat([cells.assign(verdict=verdicts), few]), pd.DataFrame({"matters": [True, False, True]})
    )
    published, converged, ahead = told.split("; ")
    found = overcells.summary(cells)
    assert "of 6 cells 4 better, 1 worse, 0 equivalent, 1 undecided" in published
    assert f"mean {found['mean']:+.4f} ({found['low']:+.4f} to {found['high']:+.4f})" in published
    assert "of 2 cells 0 better, 0 worse, 2 equivalent" in converged and converged.endswith("too few for an interval")
    assert ahead.endswith("by the margin in 2 of 3 cells")


def test_kinds_of_data_are_compared_where_there_are_two(cells):
    told = claims.medical_reacts_more(cells)
    difference = np.subtract(
        *(cells.loc[cells["dataset_domain"] == kind, "squared"].mean() for kind in ("medical", "natural"))
    )
    assert told.startswith(f"squared slope, medical less natural data: {difference:+.1e}, p = 0.10")
    assert "one kind" in claims.medical_reacts_more(cells[:3])

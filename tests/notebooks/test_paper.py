"""The paper study as a whole, on miniatures of its eight datasets and of its four checkpoints, to its figures."""

import json
import os
import shutil
import subprocess
import sys

import checkpoints
import downloads
import matplotlib.image
import pandas as pd
import pytest

from gaplib import paths, study

pytestmark = pytest.mark.slow
NOTEBOOKS = sorted((paths.REPO / "notebooks").glob("0[1-6]*.ipynb"))


def run(root, notebooks):
    """Run notebooks of the paper study on what lies under `root`; returns what they printed, by notebook."""
    environment = os.environ | {
        "GAPLIB_ROOT": str(root),
        "GAPLIB_DATASETS": str(root / "downloads"),
        "GAPLIB_CHECKPOINTS": str(root / "checkpoints"),
        "HF_HOME": str(root / "hub"),
    }
    command = [sys.executable, "-m", "gaplib.study", "paper", *map(str, notebooks)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    made = [json.loads((root / "build" / "paper" / n.name).read_text())["cells"] for n in notebooks]
    outputs = [[o for cell in cells for o in cell.get("outputs", []) if o.get("name") == "stdout"] for cells in made]
    return ["".join("".join(o["text"]) for o in some) for some in outputs]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """What the paper study made of everything."""
    root = tmp_path_factory.mktemp("paper")
    downloads.make(root / "downloads")
    for name in checkpoints.NAMES:
        checkpoints.make(root / "checkpoints", name)
    run(root, NOTEBOOKS)
    return root


def test_every_cell_of_the_study_is_in_every_table(root):
    wanted = study.load("paper")
    cells = {(dataset, encoder) for dataset in wanted["datasets"] for encoder in wanted["encoders"]}
    results = {p.stem: pd.read_parquet(p) for p in (root / "data" / "results" / "paper").glob("*.parquet")}
    assert results["left_out"].empty and results["refused"].empty
    of_probes = ("sweep", "sensitivity", "fusion", "learned", "contrasts", "treatments")
    for name in ("cone", "umap", "gap", "measures", "retrieval", "zero_shot", *of_probes):
        assert set(results[name][["dataset", "encoder"]].itertuples(index=False, name=None)) == cells, name
    sweep = results["sweep"]
    assert set(sweep["treatment"]) == {"shift"} and set(sweep["lam"]) == set(wanted["lambdas"])
    assert set(results["treatments"]["treatment"]) == set(wanted["treatments"])
    assert results["treatments"].loc[results["treatments"]["training"] == "published", "se_sets"].notna().all()
    assert sweep["value"].notna().all()


def test_figures_are_drawn_and_ours_stand_beside_the_published_ones(root):
    figures = {p.stem: matplotlib.image.imread(p) for p in (root / "figures" / "paper").glob("*.png")}
    assert {"cones-umap", "auc-by-lambda", "verdicts", "published", "transient", "treatments", "heads"} <= set(figures)
    ours = [0x88 / 255, 0x22 / 255, 0x55 / 255]  # the colour that curves.published gives them
    assert (abs(figures["published"][..., :3] - ours).max(-1) < 0.01).sum() > 1000


def test_what_the_reader_lacks_is_left_out_by_name(root):
    shutil.rmtree(root / "downloads" / "recipes5k")
    shutil.rmtree(root / "checkpoints" / "medsiglip")
    shutil.rmtree(root / "data" / "features" / "recipes5k")
    said, under_figures = run(root, [NOTEBOOKS[0], NOTEBOOKS[-1]])
    assert "not here: recipes5k: " in said and "not here: medsiglip: " in said
    # Features of medsiglip are stored already, so it is only the dataset that is left out.
    left = pd.read_parquet(root / "data" / "results" / "paper" / "left_out.parquet")
    assert set(left["absent"]) == {"recipes5k"} and set(left["encoder"]) == set(study.load("paper")["encoders"])
    assert under_figures.startswith("Not on this machine, so left out: recipes5k.")

"""The paper study as a whole, on miniatures of its eight datasets and of its four checkpoints, to its figures."""

import json
import shutil

import checkpoints
import downloads
import matplotlib.image
import pandas as pd
import pytest

from gaplib import paths, study

pytestmark = pytest.mark.slow
NOTEBOOKS = sorted((paths.REPO / "notebooks").glob("0[1-6]*.ipynb"))
WANTED = study.load("paper") | {"n_umap": 60, "n_moving": 40}  # all of it, but for the rows on its maps
PLACES = {"GAPLIB_ROOT": "", "GAPLIB_DATASETS": "downloads", "GAPLIB_CHECKPOINTS": "checkpoints", "HF_HOME": "hub"}


def run(root, notebooks):
    """Run notebooks of the paper study on what lies under `root`."""
    with pytest.MonkeyPatch.context() as patch:
        for variable, folder in PLACES.items():
            patch.setenv(variable, str(root / folder))
        study.run_all("paper", notebooks, WANTED)


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
    cells = {(dataset, encoder) for dataset in WANTED["datasets"] for encoder in WANTED["encoders"]}
    results = {p.stem: pd.read_parquet(p) for p in (root / "data" / "results" / "paper").glob("*.parquet")}
    assert results["left_out"].empty and results["refused"].empty
    of_probes = ("sweep", "sensitivity", "fusion", "learned", "contrasts", "treatments")
    for name in ("cone", "umap", "gap", "measures", "retrieval", "zero_shot", *of_probes):
        assert set(results[name][["dataset", "encoder"]].itertuples(index=False, name=None)) == cells, name
    sweep = results["sweep"]
    assert set(sweep["treatment"]) == {"shift"} and set(sweep["lam"]) == set(WANTED["lambdas"])
    assert set(results["treatments"]["treatment"]) == set(WANTED["treatments"])
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
    run(root, NOTEBOOKS[:1])
    cells = json.loads((root / "build" / "paper" / NOTEBOOKS[0].name).read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", []) if output.get("name") == "stdout"]
    said = "".join("".join(output["text"]) for output in outputs)
    assert "not here: recipes5k: " in said and "not here: medsiglip: " in said
    # Features of medsiglip are stored already, so it is only the dataset that is left out.
    left = pd.read_parquet(root / "data" / "results" / "paper" / "left_out.parquet")
    assert set(left["absent"]) == {"recipes5k"} and set(left["encoder"]) == set(WANTED["encoders"])

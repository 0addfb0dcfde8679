"""Studies of one's own, smaller or stranger than the demo: all reach the figures, and the page of `make report`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shell
from made import sphere
from PIL import Image

from gaplib import datasets, features, paths

pytestmark = pytest.mark.slow
HOME = paths.REPO / "notebooks"
NOTEBOOKS = [str(path) for path in [*sorted(HOME.glob("0[1-6]*.ipynb")), HOME / "report.ipynb"]]
EVERY = {"lambdas": [0.0, 0.5, 1.0], "seeds": [42, 43], "n_followed": 1, "longest": 50}
EVERY |= {"n_umap": 100, "n_moving": 40}
STUDIES = {
    "some-absent": {"datasets": ["clipart", "recipes5k"], "encoders": ["mini-clip", "medsiglip"], "n_pairs": 400},
    "one-by-two": {"datasets": ["clipart"], "encoders": ["mini-clip", "mini-biomedclip"], "n_pairs": 400},
    "two-by-one": {"datasets": ["clipart", "phantom-cxr"], "encoders": ["mini-clip"], "n_pairs": 400},
    "one-domain": {"datasets": ["phantom-cxr"], "encoders": ["mini-biomedclip", "mini-medsiglip"], "n_pairs": 400},
    "encoder-read-in": {"datasets": ["clipart"], "encoders": ["theirs"], "n_pairs": None},
    "all-read-in": {"datasets": ["mine"], "encoders": ["theirs", "mini-clip"], "n_pairs": None},
}

ABSENT = {"recipes5k", "medsiglip"}  # to download


def read_in(folder, dataset, encoder, seed, d=256, n=300):
    """Embeddings that somebody else computed, of three classes, into the store."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(3, d)) / np.sqrt(d)
    label = np.arange(n) % 3
    image, text = (sphere(rng, n, d, mean) + centres[label] for mean in rng.normal(size=(2, d)) / np.sqrt(d))
    split = np.array(["train", "train", "val", "test"])[np.arange(n) // 3 % 4]
    np.savez(folder / f"{encoder}.npz", image=image, text=text, label=label.astype(str), split=split)
    features.read(folder / f"{encoder}.npz", dataset, encoder)


def photos(folder):
    """A CSV of drawings and their titles, nothing else, beside which they lie as files."""
    table = datasets.load("clipart", n_pairs=60).pairs
    rows = []
    for i, pair in table.iterrows():
        (folder / f"{i}.png").write_bytes(pair["image"])
        rows.append({"image": f"{i}.png", "text": pair["text"]})
    pd.DataFrame(rows).to_csv(folder / "photos.csv", index=False)
    return folder / "photos.csv"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """What all the studies made and said, or the error that ended one. By one process: UMAP compiles itself in each."""
    root = tmp_path_factory.mktemp("small")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAPLIB_ROOT", str(root))
        read_in(root, "clipart", "theirs", 0)
        read_in(root, "mine", "theirs", 1)
        read_in(root, "mine", "mini-clip", 2)
    unlabelled = {"datasets": [f"csv:{photos(root)}"], "encoders": ["mini-clip"], "n_pairs": None}
    run(root, [{"study": name} | EVERY | values for name, values in (STUDIES | {"unlabelled": unlabelled}).items()])
    return root


def run(root, studies, notebooks=NOTEBOOKS):
    """Run notebooks under studies below `root`; what they print is kept there as `said`."""
    environment = os.environ | {"GAPLIB_ROOT": str(root), "GAPLIB_DATASETS": str(root / "downloads")}
    command = [sys.executable, shell.__file__, json.dumps(studies), *notebooks]
    with (root / "said").open("w") as said:
        subprocess.run(command, env=environment, stdout=said, cwd=paths.REPO, check=True)


@pytest.mark.parametrize("name", STUDIES)
def test_a_small_study_reaches_its_figures(root, name):
    failed = root / f"{name}.error"
    assert not failed.exists(), failed.read_text()
    figures = {path.stem for path in (root / "figures" / name).glob("*.png")}
    assert {"cones-umap", "gap-by-lambda", "auc-by-lambda", "sensitivity", "verdicts", "learned-lambda"} <= figures
    assert {"transient", "treatments", "heads"} <= figures
    wanted = {(d, e) for d in STUDIES[name]["datasets"] for e in STUDIES[name]["encoders"]}
    wanted = {cell for cell in wanted if not ABSENT.intersection(cell)}
    swept = pd.read_parquet(root / "data" / "results" / name / "sweep.parquet")
    found = swept[["dataset", "encoder"]].drop_duplicates().itertuples(index=False, name=None)
    assert {(dataset.removesuffix("-400"), encoder) for dataset, encoder in found} == wanted


def test_what_is_not_here_is_left_out_by_name_and_figures_say_so(root):
    said = (root / "said").read_text()
    assert all(f"not here: {name}: " in said for name in ABSENT)
    left = pd.read_parquet(root / "data" / "results" / "some-absent" / "left_out.parquet")
    assert set(left["absent"]) == ABSENT
    assert "Not on this machine, so left out: recipes5k, medsiglip." in said  # and so says each figure's caption


def test_without_labels_every_figure_is_drawn_that_needs_none(root):
    assert not (root / "unlabelled.error").exists(), (root / "unlabelled.error").read_text()
    figures = {path.stem: path for path in (root / "figures" / "unlabelled").glob("*.png")}
    heights = {}
    for name, path in figures.items():
        with Image.open(path) as figure:
            heights[name] = figure.height
    needing = {"auc-by-lambda", "sensitivity", "learned-lambda", "transient", "treatments", "heads", "verdicts"}
    assert {name for name, height in heights.items() if height < 300} == needing  # one line, that they need labels
    drawn = {"cones-umap", "cones-sphere", "cosines", "cones-published", "gap-by-lambda", "published"}
    assert set(figures) == needing | drawn
    results = {path.stem: pd.read_parquet(path) for path in (root / "data" / "results" / "unlabelled").glob("*")}
    assert len(results["retrieval"]) == 2 * len(EVERY["lambdas"])
    assert results["refused"]["why"].str.startswith("dataset 'photos' has no labels").all()
    assert not {"fusion", "sweep", "contrasts"} & set(results)
    page = (root / "figures" / "unlabelled" / "umap-by-lambda.html").read_text()
    assert page.count("data:image/webp") > 30  # the pictures of the pairs


def test_a_study_of_one_kind_makes_no_claim_about_two(root):
    folder = root / "data" / "results"
    claims = {name: pd.read_parquet(folder / name / "claims.parquet").set_index("claim")["answer"] for name in STUDIES}
    assert all(list(answers.index) == ["a", "b", "c"] for answers in claims.values())
    asked = {name for name, answers in claims.items() if "one kind" not in answers["b"]}
    assert asked == {"two-by-one"}
    assert "not asked: 1 and 1 datasets" in claims["two-by-one"]["b"]


def test_a_name_that_is_neither_known_nor_stored_stops_the_first_notebook(tmp_path):
    study = {"study": "typo", "datasets": ["clipartt"], "encoders": ["mini-clip"], "n_pairs": 60}
    run(tmp_path, [study], NOTEBOOKS[:1])
    said = Path(tmp_path / "typo.error").read_text()
    assert said.startswith("01-cache-features.ipynb: ValueError: unknown dataset 'clipartt': did you mean 'clipart'")

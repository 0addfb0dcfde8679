"""All notebooks, in order, and the lessons, as `make figures STUDY=smoke` and `make lessons` run them."""

import json
import re
import subprocess
import sys

import pandas as pd
import pytest
from PIL import Image

from gaplib import paths, plots, study

pytestmark = pytest.mark.slow
HOME = paths.REPO / "notebooks"
NOTEBOOKS = sorted(HOME.glob("[0-9]*.ipynb"))
LESSONS = sorted((HOME / "lessons").glob("[a-z]*.ipynb"))
FIGURES = [name.replace("_", "-") for name in plots.__all__ if name not in ("caption", "style", "umap_by_lambda")]


@pytest.mark.parametrize("notebook", NOTEBOOKS + LESSONS, ids=lambda p: p.stem)
def test_every_notebook_ran(root, notebook):
    made = root / "build" / "smoke" / notebook.relative_to(HOME)
    outputs = [o for c in json.loads(made.read_text())["cells"] for o in c.get("outputs", [])]
    assert not [o for o in outputs if o["output_type"] == "error"]
    assert not [o for o in outputs if o.get("name") == "stderr"]  # pink in JupyterLab: warnings, text bars
    assert not [o for o in outputs if "application/vnd.jupyter.widget-view+json" in o.get("data", {})]
    assert [o for o in outputs if "image/png" in o.get("data", {})] or notebook.stem.startswith("01")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)
def test_checks_wait_for_an_answer_and_solutions_assert_it(root, notebook):
    cells = json.loads((root / "build" / "smoke" / notebook.name).read_text())["cells"]
    sources = ["".join(cell["source"]) for cell in cells]
    (checks,) = [k for k, source in enumerate(sources) if source.startswith("# Run this to check your answers.")]
    assert cells[checks]["execution_count"] and not cells[checks]["outputs"]
    solved = [cell for cell in cells[sources.index("## Solutions") :] if cell["cell_type"] == "code"]
    assert solved and all(cell["execution_count"] for cell in solved)


def test_lessons_need_nothing_and_leave_nothing(root):
    assert [p.stem for p in LESSONS] == ["cone-from-random-networks", "move-the-gap-by-hand", "watch-the-gap-form"]
    for lesson in LESSONS:
        text = lesson.read_text()
        assert not re.search(r"features\.|paths\.results|datasets\.load", text)


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_there_and_not_empty(root, name):
    folder = root / "figures" / "smoke"
    with Image.open(folder / f"{name}.png") as figure:
        assert figure.width >= 2000 and len(figure.convert("RGB").getcolors(1 << 24)) > 50
    assert b"/CIDFontType2" in (folder / f"{name}.pdf").read_bytes()  # TrueType, so that text stays text


def test_the_umap_moves(root):
    folder = root / "figures" / "smoke"
    with Image.open(folder / "umap-by-lambda.gif") as gif:
        assert gif.n_frames == 40
    assert "<canvas" in (folder / "umap-by-lambda.html").read_text()
    assert '"name": "mini-biomedclip"' in (folder / "two-encoders.html").read_text()


def test_results_are_tidy(root):
    results = {p.stem: pd.read_parquet(p) for p in (root / "data" / "results" / "smoke").glob("*.parquet")}
    assert {
        "cone",
        "umap",
        "umap_by_lambda",
        "sphere",
        "cosines",
        "gap",
        "measures",
        "sweep",
        "sensitivity",
        "fusion",
    } <= set(results)
    assert {"learned_path", "learned", "retrieval", "zero_shot"} <= set(results)
    assert {"contrasts", "transient", "treatments", "heads", "practice", "claims"} <= set(results)
    assert results["sweep"]["value"].notna().all()
    distance = (
        results["gap"]
        .query("measure == 'centroid_distance'")
        .pivot(index=["dataset", "encoder"], columns="lam", values="value")
    )
    assert (distance[1.0] < distance[0.0]).all()


def test_a_failing_notebook_says_where_and_leaves_no_stamp(tmp_path):
    broken = json.loads(NOTEBOOKS[0].read_text())
    broken["cells"][2]["source"] = ["raise ValueError('the tap is dry')"]
    (tmp_path / "broken.ipynb").write_text(json.dumps(broken))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAPLIB_ROOT", str(tmp_path))
        command = [sys.executable, "-m", "gaplib.study", "smoke", str(tmp_path / "broken.ipynb")]
        done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("broken.ipynb, cell ")
    assert "ValueError: the tap is dry" in done.stderr
    assert [p.name for p in (tmp_path / "build" / "smoke").iterdir()] == ["failed-broken.ipynb"]


def test_progress_bars_are_not_in_the_executed_notebook(tmp_path):
    barred = json.loads(NOTEBOOKS[0].read_text())
    bar = "from tqdm.auto import tqdm\nfor _ in tqdm(range(3)):\n    pass\nprint('through')"
    barred["cells"] = [*barred["cells"][:2], barred["cells"][2] | {"source": [bar]}]
    (tmp_path / "barred.ipynb").write_text(json.dumps(barred))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAPLIB_ROOT", str(tmp_path))
        made = study.run("smoke", tmp_path / "barred.ipynb")
    outputs = json.loads(made.read_text())["cells"][-1]["outputs"]
    assert [o.get("text") for o in outputs] == [["through\n"]]

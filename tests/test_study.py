"""What a study may hold, what of it can be had, its tables, and what `make` and the command say of bad names."""

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import nbformat
import numpy as np
import pandas as pd
import pytest

from gaplib import features, paths, study


def test_cells_are_those_that_are_stored(root):
    with pytest.raises(FileNotFoundError, match="none of the study's features are stored; run notebook 01"):
        study.cells(["clipart"], ["mini-clip"], 60)
    features.extract("clipart", "mini-clip", 60)
    cells = study.cells(["clipart", "phantom-cxr"], ["mini-siglip", "mini-clip"], 60)
    assert [(f.about.name, f.encoder) for f in cells] == [("clipart-60", "mini-clip")]
    assert list(study.stored(["clipart", "mine"], ["theirs", "mini-clip"], 60)) == [("clipart", "mini-clip")]


def test_two_of_one_name_are_refused_before_they_are_stored_over_each_other(root):
    with pytest.raises(ValueError, match="csv:a/mine.csv by mini-clip and tsv:b/mine.tsv by mini-clip have one name"):
        study.stored(["csv:a/mine.csv", "clipart", "tsv:b/mine.tsv"], ["mini-clip"])
    with pytest.raises(ValueError, match="clipart by local:a/clip and clipart by local:b/clip have one name.* rename"):
        study.cells(["clipart"], ["local:a/clip", "local:b/clip"])
    assert study.stored(["csv:a/mine.csv", "tsv:b/mine.tsv as yours"], ["mini-clip", "clip"]) == {}


@pytest.mark.parametrize(("n", "told"), [(1, "1, 0 of them"), (2, "2, 1 of them"), (20, "20, 4 of them"), (30, "")])
def test_too_few_pairs_are_told_before_anything_is_measured(root, n, told):
    rows = np.random.default_rng(0).normal(size=(2, n, 8))
    np.save(root / "few.npy", rows)
    features.read(root / "few.npy", "few", "theirs")
    if not told:
        assert len(study.cells(["few"], ["theirs"])) == 1
        return
    with pytest.raises(ValueError, match=f"dataset 'few' has too few pairs for a study: {told} for testing, where 16"):
        study.cells(["few"], ["theirs"])


def test_a_notebook_goes_on_with_what_can_be_learned_from_or_ends(make_features):
    cells = [make_features("binary"), replace(make_features("binary"), encoder="another")]
    refused = pd.DataFrame({"dataset": ["made"], "encoder": ["another"], "why": ["dataset 'made' has no labels"]})
    assert study.learnable(cells, refused) == cells[:1]
    with pytest.raises(study.NeedsLabels, match="ends here, for what follows learns labels: dataset 'made' has no"):
        study.learnable(cells[1:], refused)


def test_a_notebook_that_ends_for_want_of_labels_is_done_and_says_so(root, capsys):
    cells = ["print('made')", "from gaplib import study\nraise study.NeedsLabels('no labels')", "print('never')"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, root / "ending.ipynb")
    study.run_all("smoke", [root / "ending.ipynb"])
    assert capsys.readouterr().out.splitlines()[1] == "ending: no labels"
    assert [path.name for path in (root / "build" / "smoke").iterdir()] == ["ending.ipynb"]
    made, ended, after = nbformat.read(root / "build" / "smoke" / "ending.ipynb", as_version=4).cells
    assert made.outputs[0]["text"] == "made\n" and ended.outputs[0]["traceback"] == ["no labels"]
    assert not after.outputs


def test_what_is_absent_is_told_and_what_is_wrong_is_raised():
    def load(name, more):
        if name == "far":
            raise OSError("out of reach")
        if name == "unknown":
            raise ValueError("no such thing")
        return name + more

    assert study.available(load, ["near", "far"], "!") == ({"near": "near!"}, {"far": "out of reach"})
    assert study.available(load, ["unknown"], "!", stored=["unknown"]) == ({}, {"unknown": "no such thing"})
    with pytest.raises(ValueError, match="no such thing"):
        study.available(load, ["unknown"], "!", stored=["near"])
    with pytest.raises(TypeError):
        study.available(load, [1], "!")


def test_a_table_is_kept_whole_or_not_at_all(root):
    with pytest.raises(
        FileNotFoundError, match="cone.parquet; first run the notebook that writes 'cone' under study 'x'"
    ):
        study.read("x", "cone")
    table = pd.DataFrame({"a": [1, 2]})
    assert study.save(table, "x", "cone") is table
    pd.testing.assert_frame_equal(study.read("x", "cone"), table)
    unsaveable = pd.DataFrame({"a": [1, "two"]})
    with pytest.raises((TypeError, ValueError)):
        study.save(unsaveable, "x", "cone")
    pd.testing.assert_frame_equal(study.read("x", "cone"), table)


def test_a_study_tells_what_it_left_out_and_the_domains_of_its_datasets(root):
    domains = ["natural", "natural", "medical"]
    cone = pd.DataFrame({"dataset": ["a", "a", "b"], "encoder": "clip", "dataset_domain": domains})
    study.save(cone, "x", "cone")
    study.save(pd.DataFrame({"absent": ["far", "clip", "far"]}), "x", "left_out")
    assert study.with_domains(cone[["dataset"]], "x")["dataset_domain"].tolist() == domains
    study.save(pd.DataFrame({"dataset": ["a", "b"], "encoder": "clip"}), "x", "refused")
    assert not study.has_labels("x")
    assert study.left_out("x") == "Not on this machine, so left out: far, clip."
    study.save(pd.DataFrame({"dataset": ["a"], "encoder": "clip"}), "x", "refused")
    assert study.has_labels("x")
    assert study.left_out("x").splitlines()[1:] == ["Not swept, see notebook 04: a."]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("seeds: [42, 42]", "seeds must hold each once, got 42 twice"),
        ("seeds: [-1]", "seeds must be whole numbers from 0 to 4294967295"),
        ("seeds: [1.5]", "seeds must be whole numbers"),
        ("seeds: [true]", "seeds must be whole numbers"),
        ("seeds: [x]", "seeds must be whole numbers"),
        (f"seeds: [{2**64}]", "seeds must be whole numbers"),
        ("seeds: []", "seeds must be a list"),
        ("lambdas: [0, .nan, 1]", "lambdas must be numbers"),
        ("lambdas: [0, .inf, 1]", "lambdas must be numbers"),
        ("lambdas: [0, 1, 1.0]", "lambdas must hold each once"),
        ("lambdas: [0]", "lambdas must hold 0 and 1"),
        ("n_pairs: 0", "n_pairs must be a whole number above 0"),
        ("n_pairs: 2.5", "n_pairs must be a whole number above 0"),
        ("n_pairs: [5]", "n_pairs must be a whole number above 0"),
        ("datasets: [clipart, 3]", "datasets must be names"),
        ("encoders: ['']", "encoders must be names"),
        ("encoders: [clip, clip]", "encoders must hold each once, got 'clip' twice"),
    ],
)
def test_values_that_cannot_work_are_refused_before_anything_runs(tmp_path, monkeypatch, content, message):
    (tmp_path / "bad.yaml").write_text(content)
    monkeypatch.setattr(paths, "STUDIES", tmp_path)
    with pytest.raises(ValueError, match=f"study 'bad': {re.escape(message)}"):
        study.load("bad")


@pytest.mark.parametrize("name", ["x;y", "two words", "50%", "-x", ".x"])
def test_a_study_that_cannot_name_folders_is_refused(tmp_path, monkeypatch, name):
    (tmp_path / f"{name}.yaml").write_text("n_pairs: 5")
    monkeypatch.setattr(paths, "STUDIES", tmp_path)
    with pytest.raises(ValueError, match="folders are named after it"):
        study.load(name)


def test_other_alphabets_may_name_a_study(tmp_path, monkeypatch):
    (tmp_path / "исследование-2.yaml").write_text("n_pairs: 5")
    monkeypatch.setattr(paths, "STUDIES", tmp_path)
    assert study.load("исследование-2") == {"n_pairs": 5}


def command(*arguments, **environment):
    """What the command says of what it cannot run."""
    told = [sys.executable, "-m", "gaplib.study", *arguments]
    done = subprocess.run(told, capture_output=True, text=True, env=os.environ | environment)
    assert done.returncode == 1
    return done.stderr


def test_the_command_says_in_one_line_what_it_cannot_run(tmp_path):
    start = str(paths.REPO / "notebooks" / "00-start-here.ipynb")
    assert command("../x", start).startswith("unknown study '../x'")
    said = command("dmo", start)
    assert said.startswith("unknown study 'dmo': did you mean 'demo'") and said.count("\n") == 1
    assert command("smoke", str(tmp_path / "no.ipynb")) == f"there is no notebook {tmp_path / 'no.ipynb'}\n"
    said = command("smoke", start, GAPLIB_ROOT="/proc")
    assert said.startswith("00-start-here.ipynb: cannot write below /proc; GAPLIB_ROOT names") and said.count("\n") == 1


def make(*arguments, **environment):
    """A dry run of make: whether it went well, and what it said."""
    if shutil.which("make") is None:
        pytest.skip("no make")
    told = ["make", "--dry-run", "--no-print-directory", *arguments]
    done = subprocess.run(told, capture_output=True, text=True, cwd=paths.REPO, env=os.environ | environment)
    return done.returncode == 0, done.stdout, done.stderr


@pytest.mark.parametrize(
    "name", ["", "../x", "two words", "demo smoke", "%", "x;y", "x:y", "исследование", "./demo", "a$b"]
)
def test_make_says_in_one_line_that_there_is_no_such_study(name):
    went, _, said = make("figures", STUDY=name)
    assert not went and said.count("\n") == 1
    assert "there are: decide demo full hub paper quick smoke" in said and "is no file of notebooks/studies" in said


@pytest.mark.parametrize("place", ["two words", "50%", "x:y", "x;y"])
def test_make_says_in_one_line_where_it_cannot_work(place):
    went, _, said = make("figures", GAPLIB_ROOT=place)
    assert not went and said.count("\n") == 1 and f"GAPLIB_ROOT='{place}': make cannot work in a folder" in said


def test_make_follows_the_place_of_what_is_made(tmp_path):
    for place in (tmp_path, os.path.relpath(tmp_path, paths.REPO)):
        went, said, _ = make("figures", STUDY="smoke", GAPLIB_ROOT=str(place))
        assert went and f"{tmp_path}/figures/smoke is up to date" in said
    went, said, _ = make("book", STUDY="smoke", GAPLIB_ROOT=str(tmp_path))
    assert f"-c docs {tmp_path}/build/smoke {tmp_path}/build/smoke/book" in said
    removed = make("clean", GAPLIB_ROOT=str(tmp_path))[1].split()[2:]
    assert len(removed) == 3 and all(path.startswith(str(tmp_path)) for path in removed)


@pytest.fixture
def finished(tmp_path):
    """Where everything of the smoke study has just been made, as far as make can tell."""
    made = [tmp_path / "build" / "smoke" / path.name for path in (paths.REPO / "notebooks").glob("[0-9]*.ipynb")]
    made.append(tmp_path / "figures" / "smoke" / "done.png")
    now = time.time()
    for path in made:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (now, now))
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "again"),
    [
        (None, ""),
        ("gaplib/plots/style.py", "6"),
        ("gaplib/sweep/probe.py", "456"),
        ("gaplib/gap.py", "023456"),
        ("gaplib/lessons.py", "0123456"),
        ("gaplib/explorer/page.html", "026"),
        ("gaplib/features/extract.py", "0123456"),
        ("data/published/published_sweeps.csv", "56"),
        ("notebooks/studies/smoke.yaml", "123456"),
        ("notebooks/03-measure-the-gap.ipynb", "36"),
    ],
)
def test_make_runs_again_what_a_change_touches_and_nothing_else(finished, changed, again):
    options = [f"--what-if={changed}"] if changed else []
    went, said, _ = make("figures", "FIGURES=done.png", *options, STUDY="smoke", GAPLIB_ROOT=str(finished))
    assert went
    assert "".join(sorted(re.findall(r"gaplib\.study 'smoke' notebooks/0(\d)", said))) == again

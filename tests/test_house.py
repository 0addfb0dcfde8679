"""The house itself: requirements agree, imports stay light, committed things stay within their bounds."""

import importlib
import json
import re
import socket
import subprocess
import sys
import tomllib

import pytest
import yaml

from gaplib import features, paths, study, sweep

REPO = paths.REPO


def tracked():
    """Files that git tracks, or every file where there is no git."""
    listed = subprocess.run(["git", "ls-files"], cwd=REPO, capture_output=True, text=True)
    return [REPO / line for line in listed.stdout.splitlines()] if listed.returncode == 0 else list(REPO.glob("*.*"))


def test_environment_yml_has_the_requirements_of_pyproject():
    project = tomllib.loads((REPO / "pyproject.toml").read_text())
    wanted = {*project["project"]["dependencies"], *project["dependency-groups"]["dev"], "-e ."}
    environment = yaml.safe_load((REPO / "environment.yml").read_text())["dependencies"]
    assert set(environment[-1]["pip"]) == wanted
    assert f"python{project['project']['requires-python']}" in environment


def test_lock_is_exact_and_names_no_index():
    lines = (REPO / "requirements.lock").read_text().splitlines()
    assert all(re.match(r"[\w.\[\]-]+==[\w.+!]+( ; .+)?$", line) for line in lines)
    names = {re.split(r"==|\[", line)[0].replace("_", "-").lower() for line in lines}
    project = tomllib.loads((REPO / "pyproject.toml").read_text())
    for requirement in project["project"]["dependencies"] + project["dependency-groups"]["dev"]:
        assert re.split(r"[><=!~\[]", requirement)[0].replace("_", "-").lower() in names


def test_import_is_light():
    code = """
import sys
import gaplib, gaplib.cone, gaplib.gap, gaplib.modulate, gaplib.project, gaplib.plots
print(*(module for module in ("torch", "open_clip", "transformers", "umap") if module in sys.modules))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() == []


@pytest.mark.parametrize(
    "name", ["beyond", "cone", "datasets", "encoders", "explorer", "features", "gap", "modulate", "sweep"]
)
def test_tab_completion_shows_a_small_documented_surface(name):
    module = importlib.import_module(f"gaplib.{name}")
    assert sorted(dir(module)) == sorted(module.__all__) and len(dir(module)) <= 18
    for thing in (getattr(module, public) for public in dir(module)):
        assert thing.__doc__ and len(thing.__doc__) > 40 if callable(thing) else isinstance(thing, (dict, tuple, list))


def test_no_test_and_no_kernel_reaches_the_network():
    with pytest.raises(PermissionError, match="tried to reach 192.0.2.1"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    code = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"
    assert "tried to reach" in subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr


def test_committed_data_is_small_and_documented():
    data = [p for p in tracked() if p.is_relative_to(paths.DATA) and p.is_file()]
    assert sum(p.stat().st_size for p in data) < 40_000_000
    readme = (paths.DATA / "README.md").read_text()
    for piece in [*paths.PAIRS.glob("*.parquet"), *paths.ENCODERS.glob("mini-*")]:
        assert piece.name in readme


@pytest.mark.parametrize("path", sorted((REPO / "notebooks").rglob("[0-9a-z]*.ipynb")), ids=lambda p: p.name)
def test_notebooks_keep_the_house_style(path):
    cells = json.loads(path.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
    assert "".join(cells[0]["source"]).startswith("# ") and "**You will see**" in "".join(cells[0]["source"])
    assert cells[1]["metadata"].get("tags") == ["parameters"]
    text = "".join("".join(cell["source"]) for cell in cells)
    assert "In this notebook we have" in text and "**Exercise" in text and "%watermark" in text
    assert not re.search(r"sys\.path|!pip|%cd|os\.chdir|[\"'](/|~/)", text)


@pytest.mark.parametrize("path", sorted((REPO / "notebooks" / "lessons").glob("*.ipynb")), ids=lambda p: p.stem)
def test_every_exercise_of_a_lesson_has_its_solution_in_a_folded_last_section(path):
    cells = json.loads(path.read_text())["cells"]
    texts = ["".join(cell["source"]) for cell in cells]
    start = texts.index("## Solutions")
    assert cells[start]["metadata"].get("jp-MarkdownHeadingCollapsed")
    assert not any(
        t.startswith(("# ", "## ")) and c["cell_type"] == "markdown"
        for t, c in zip(texts[start + 1 :], cells[start + 1 :], strict=True)
    )
    asked = re.findall(r"\*\*Exercise (\d)\.\*\*", "".join(texts[:start]))
    assert asked == re.findall(r"\*\*Solution (\d)\.\*\*", "".join(texts[start:])) and len(asked) >= 3


def test_studies_know_the_choices_of_their_values():
    assert tuple(sweep.PROTOCOLS) == study.CHOICES["protocols"]
    assert tuple(features.ENGINES) == study.CHOICES["engine"]


def test_studies_are_valid():
    for path in paths.STUDIES.glob("*.yaml"):
        assert set(study.load(path.stem)) <= set(study.KEYS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("dataset: [clipart]", "unknown key in study 'bad': 'dataset': did you mean 'datasets'"),
        ("- clipart", "must hold `key: value` lines"),
        ("datasets: [clipart", "is not valid YAML"),
        ("encoders: mini-clip", "encoders must be a list"),
        ("lambdas: [0.0, 0.5]", "lambdas must hold 0 and 1"),
        ("lambdas: [0.0, x, 1.0]", "lambdas must be numbers, got 'x'"),
        ("protocols: [convergd]", "unknown protocols in study 'bad': 'convergd': did you mean 'converged'"),
        ("engine: lokal", "unknown engine in study 'bad': 'lokal': did you mean 'local'"),
    ],
)
def test_a_bad_study_gets_one_clear_message(tmp_path, monkeypatch, content, message):
    (tmp_path / "bad.yaml").write_text(content)
    monkeypatch.setattr(paths, "STUDIES", tmp_path)
    with pytest.raises(ValueError, match=re.escape(message)):
        study.run("bad", REPO / "notebooks" / "00-start-here.ipynb")
    with pytest.raises(ValueError, match="unknown study 'bat': did you mean 'bad'"):
        study.load("bat")

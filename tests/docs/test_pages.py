"""README and the book's own pages: short, their links lead somewhere, their code calls what there is."""

import ast
import inspect
import json
import re
import subprocess
from operator import attrgetter

import pytest
import yaml

import gaplib
from gaplib import cone, gap, paths

REPO = paths.REPO
DOCS = sorted((REPO / "docs").glob("*.md"))
PAGES = [REPO / "README.md", REPO / "CONTRIBUTING.md", REPO / "figures" / "README.md", *DOCS]
TARGETS = re.findall(r"^([a-z.][\w./-]*):", (REPO / "Makefile").read_text(), re.M)


def name_of(page):
    return str(page.relative_to(REPO))


def test_readme_is_short():
    assert len((REPO / "README.md").read_text().splitlines()) < 150


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_what_is_in_the_repository(page):
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
    for link in links:
        assert link.startswith("https://") or (page.parent / link).exists(), link


def called(code):
    """What a block of code calls of gaplib, as it is written there, and with which keywords."""
    for call in [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]:
        name = ast.unparse(call.func)
        if name.split(".")[0] in gaplib.__all__ and re.fullmatch(r"[\w.]+", name):
            yield name, {keyword.arg for keyword in call.keywords}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_code_calls_what_there_is_with_options_that_it_takes(page):
    for code in re.findall(r"```python\n(.*?)```", page.read_text(), re.S):
        for name, keywords in called(code):
            takes = inspect.signature(attrgetter(name)(gaplib)).parameters
            assert keywords <= set(takes) or "columns" in takes, name  # `datasets.load` takes any column's name


def test_make_targets_that_are_named_exist():
    for page in PAGES:
        for target in re.findall(r"^make ([a-z]+)|`make ([a-z]+)", page.read_text(), re.M):
            assert "".join(target) in TARGETS, (name_of(page), target)


def test_every_measure_has_its_question():
    page = (REPO / "docs" / "which-measure.md").read_text()
    for door in (cone, gap):
        for name in door.__all__:
            assert f"(#{door.__name__}.{name})" in page, name


def test_the_cloud_files_run_what_the_makefile_has():
    container = json.loads((REPO / ".devcontainer" / "devcontainer.json").read_text())
    host = yaml.safe_load((REPO / ".readthedocs.yaml").read_text())
    bind = (REPO / "binder" / "postBuild").read_text()
    for command in (container["onCreateCommand"], host["build"]["commands"][0], re.search("^make.*", bind, re.M)[0]):
        assert re.match(r"make (\S+)", command)[1] in TARGETS
    for opened in container["customizations"]["codespaces"]["openFiles"]:
        assert (REPO / opened).is_file()
    subprocess.run(["bash", "-n", REPO / "binder" / "postBuild"], check=True)

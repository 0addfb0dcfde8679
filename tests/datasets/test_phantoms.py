"""Phantoms: the same for a seed, however many draw them, and known without being drawn."""

import hashlib
import subprocess
import sys

import pandas as pd
import pytest

from gaplib import datasets
from gaplib.datasets.phantoms import cores
from gaplib.datasets.phantoms.cxr import phantom_cxr
from gaplib.datasets.phantoms.derm import phantom_derm


@pytest.mark.parametrize("draw", [phantom_cxr, phantom_derm])
def test_phantoms_are_the_same_for_a_seed_and_others_for_another(draw):
    one, again, other = draw(n=30), draw(n=30), draw(n=30, seed=1)
    pd.testing.assert_frame_equal(one.pairs, again.pairs)
    pd.testing.assert_frame_equal(draw(n=60).pairs.drop(columns="split")[:30], one.pairs.drop(columns="split"))
    for column in ("image", "group"):
        assert not set(one.pairs[column]) & set(other.pairs[column])


def digest(table):
    """Of everything in a table of phantoms."""
    return hashlib.sha256(repr(table.to_dict("list")).encode()).hexdigest()


@pytest.mark.parametrize("draw", [phantom_cxr, phantom_derm])
def test_phantoms_are_the_same_by_one_process_and_by_many(draw, monkeypatch):
    alone = draw(n=120, seed=3).pairs
    monkeypatch.setattr(cores, "FEW", 10)
    monkeypatch.setattr(cores, "CHUNK", 7)
    assert digest(draw(n=120, seed=3).pairs) == digest(alone)


def test_other_processes_are_safe_beside_torchs_threads_and_in_a_script_without_a_guard(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import torch\n"
        "x = torch.ones(800, 800) @ torch.ones(800, 800)\n"
        "from gaplib.datasets.phantoms import cores, derm\n"
        "cores.FEW = 10\n"
        "print(len(derm.phantom_derm(60).pairs), float((x @ x)[0, 0]) > 0)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    assert (done.stdout.split(), done.stderr) == (["60", "True"], "")


@pytest.mark.parametrize("draw", [phantom_cxr, phantom_derm])
@pytest.mark.parametrize(("n", "seed"), [(0, 0), (-1, 0), (3, -1)])
def test_how_many_phantoms_and_of_which_seed(draw, n, seed):
    with pytest.raises(ValueError, match="n must be positive and seed not negative"):
        draw(n=n, seed=seed)


def test_identity_is_told_without_drawing(monkeypatch, tmp_path):
    def refuse(*_):
        raise AssertionError("drawn")

    monkeypatch.setattr(cores, "first_rows", refuse)
    whole = datasets.identity("phantom-cxr")
    assert whole == datasets.identity("phantom-cxr:published") and len(whole) == 16
    others = [
        datasets.identity("phantom-cxr", 500),
        datasets.identity("phantom-derm"),
        datasets.identity("phantom-derm", 500),
    ]
    assert len({whole, *others}) == 4
    assert {datasets.identity(name) for name in ("clipart", "ham10000", "csv:mine.csv", "mine")} == {None}


def test_identity_changes_with_the_code_and_with_the_libraries(monkeypatch):
    before = datasets.identity("phantom-derm")
    with monkeypatch.context() as patch:
        patch.setattr(datasets, "version", lambda library: "0.0")
        assert datasets.identity("phantom-derm") != before
    read = datasets.Path.read_bytes
    monkeypatch.setattr(datasets.Path, "read_bytes", lambda path: read(path) + b"#" * (path.name == "skin.py"))
    assert datasets.identity("phantom-derm") != before

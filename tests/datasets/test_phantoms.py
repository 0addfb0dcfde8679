"""Generated pairs: of any size, the same for a seed however many draw them, and known without being drawn."""

import hashlib
import subprocess
import sys
from inspect import signature

import pandas as pd
import pytest

from gaplib import datasets
from gaplib.datasets.phantoms import cores

GENERATED = [draw for draw in datasets.REGISTRY.values() if "n" in signature(draw).parameters]


@pytest.mark.parametrize("draw", GENERATED)
def test_phantoms_are_the_same_for_a_seed_and_others_for_another(draw):
    one, again, other = draw(n=30), draw(n=30), draw(n=30, seed=1)
    pd.testing.assert_frame_equal(one.pairs, again.pairs)
    pd.testing.assert_frame_equal(draw(n=60).pairs.drop(columns="split")[:30], one.pairs.drop(columns="split"))
    for column in ("image", "group"):
        assert not set(one.pairs[column]) & set(other.pairs[column])


def digest(table):
    """Of everything in a table of generated pairs."""
    return hashlib.sha256(repr(table.to_dict("list")).encode()).hexdigest()


@pytest.mark.parametrize("draw", GENERATED)
def test_phantoms_are_the_same_by_one_process_and_by_many(draw, monkeypatch):
    alone = draw(n=120, seed=3).pairs
    monkeypatch.setattr(cores, "FEW", 10)
    monkeypatch.setattr(cores, "CHUNK", 7)
    assert digest(draw(n=120, seed=3).pairs) == digest(alone)


def test_a_size_names_the_pairs_and_leaves_the_first_ones_as_they_are():
    small = datasets.load("phantom-cxr:n=90")
    large = datasets.load("phantom-cxr:n=150").pairs
    assert small.about.name == datasets.stored_name("phantom-cxr:n=90") == "phantom-cxr-n90"
    assert (len(small.pairs), len(large), datasets.stored_name("clipart-qa:n=90", 60)) == (90, 150, "clipart-qa-n90-60")
    pd.testing.assert_frame_equal(large[:90].drop(columns="split"), small.pairs.drop(columns="split"))


@pytest.mark.parametrize("size", ["n=0", "n=-5", "n=1e4", "n=", "n=007", "n=40,n=50", "16000", "n=1000001", "n=٣"])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(ValueError, match="'phantom-derm' is generated in any size from 1 to 1,000,000 pairs, said as"):
        datasets.load(f"phantom-derm:{size}")


def test_a_size_of_what_is_not_generated_is_refused():
    for name in ("clipart:n=300", "ham10000:n=300"):
        with pytest.raises(ValueError, match=f"dataset '{name.partition(':')[0]}'"):
            datasets.stored_name(name)


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


@pytest.mark.parametrize("draw", GENERATED)
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
        datasets.identity("phantom-derm:n=500"),
        datasets.identity("clipart-qa"),
    ]
    assert len({whole, *others}) == 6
    assert {datasets.identity(name) for name in ("clipart", "ham10000", "csv:mine.csv", "mine")} == {None}


def test_identity_changes_with_the_code_and_with_the_libraries(monkeypatch):
    before = datasets.identity("phantom-derm")
    with monkeypatch.context() as patch:
        patch.setattr(datasets, "version", lambda library: "0.0")
        assert datasets.identity("phantom-derm") != before
    scenes = datasets.identity("clipart-qa")
    read = datasets.Path.read_bytes
    changed = ("skin.py", "emoji.parquet")
    monkeypatch.setattr(datasets.Path, "read_bytes", lambda path: read(path) + b"#" * (path.name in changed))
    assert datasets.identity("phantom-derm") != before
    monkeypatch.setattr(datasets.Path, "read_bytes", lambda path: read(path) + b"#" * (path.name == changed[1]))
    assert datasets.identity("phantom-derm") == before and datasets.identity("clipart-qa") != scenes

"""One page about pairs or embeddings: what it holds, that it needs no network, and what is refused beforehand."""

import re
import shutil
import subprocess
import sys

import formats
import numpy as np
import pytest
from made import sphere

from gaplib import paths, report


@pytest.fixture
def ask(root, monkeypatch):
    """A function that asks for a page and returns what is said instead of making it."""

    def ask(*words):
        monkeypatch.setattr(sys, "argv", ["report", *words])
        with pytest.raises(SystemExit) as left:
            report.main()
        assert not list(root.rglob("*.html")) and not list(root.rglob("*.ipynb"))
        return str(left.value)

    return ask


def test_what_cannot_be_reported_on_is_told_before_anything_runs(ask, tmp_path):
    formats.make_csv(tmp_path / "mine.csv")
    assert ask().startswith("say which pairs: make report PAIRS=folder/mine.csv, or which embeddings")
    assert ask("--pairs", "a.csv", "--embeddings", "b.npz").startswith("say which pairs")
    assert ask("--pairs", "absent.csv") == "nothing at absent.csv, where csv: looks for pairs"
    assert ask("--pairs", "absent").startswith("unknown dataset 'absent'")
    assert ask("--embeddings", "absent.npz") == "no file absent.npz to read embeddings from"
    np.save(tmp_path / "few.npy", np.eye(4)[[0, 1], None].repeat(2, 1))
    few = ask("--embeddings", str(tmp_path / "few.npy"))
    assert few.startswith("dataset 'few' has too few pairs for a study: 2, 1 of them for testing, where 16 and 5 are")
    mine = ("--pairs", str(tmp_path / "mine.csv"), "--encoders")
    assert ask(*mine, "").startswith("say by which encoders")
    assert ask(*mine, "mini-clop").startswith("unknown encoder 'mini-clop': did you mean 'mini-clip'")
    assert "'clip': openai/clip-vit-base-patch32" in ask(*mine, "clip")  # not on this machine, nor a network


def test_make_hands_on_a_path_of_any_characters():
    if shutil.which("make") is None:
        pytest.skip("no make")
    odd = "my pairs/$x;'y'.csv with text=title, label="
    command = [
        "make",
        "--silent",
        "--old-file",
        ".venv/stamp",
        "report",
        "PY=echo",
        f"PAIRS={odd}",
        "ENCODERS=clip mini-clip",
    ]
    said = subprocess.run(command, capture_output=True, text=True, cwd=paths.REPO, check=True).stdout
    assert said.strip() == f"-m gaplib.report --pairs {odd} --encoders clip mini-clip --embeddings"


def test_pairs_are_encoded_by_the_encoders_that_are_here(root, tmp_path, capsys):
    formats.make_csv(tmp_path / "mine.csv")
    dataset, here, absent = report.encode(str(tmp_path / "mine.csv"), ["clip", "mini-clip"])
    assert (dataset, here, absent) == (f"csv:{tmp_path / 'mine.csv'}", ["mini-clip"], ["clip"])
    assert "not here: clip: " in capsys.readouterr().out


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page about some embeddings without labels, as the command writes it."""
    place = tmp_path_factory.mktemp("report")
    rng = np.random.default_rng(0)
    np.save(place / "mine.npy", np.stack([sphere(rng, 60, 16, mean) for mean in (0.2, -0.2)]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAPLIB_ROOT", str(place))
        command = [sys.executable, "-m", "gaplib.report", "--embeddings", str(place / "mine.npy")]
        done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == str(place / "build" / "report-mine" / "report.html")
    return (place / "build" / "report-mine" / "report.html").read_text()


@pytest.mark.slow
def test_a_page_about_embeddings_without_labels(page):
    text = re.sub(r"<[^>]+>", " ", re.sub(r"<(style|script|iframe).*?</\1>", "", page, flags=re.DOTALL))
    for word in (
        "60 pairs, 12 of them for testing. By given.",
        "mean_cosine",
        "centroid_distance",
        "recall_image_to_text",
    ):
        assert word in text, word
    assert "Not asked: dataset 'mine' has no labels" in text and "What helps more" not in text
    assert page.count('src="data:image/png') == 4  # cosines, measures, map, sphere
    assert page.count("<iframe") == 1 and "&lt;canvas" in page  # the explorer


@pytest.mark.slow
def test_the_page_shows_no_code_and_needs_no_network(page):
    assert "style.use()" not in page and "Exercise" not in page and "watermark" not in page
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)
    assert not re.search(r"""url\(["']?(https?:)?//|@import|require\.js|MathJax""", page)

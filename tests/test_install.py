"""gaplib as a wheel brings it: the package alone, in some folder, with the core requirements and no checkout."""

import os
import shutil
import subprocess
import sys
import tomllib

import pytest

from gaplib import paths

# Modules of the extras cannot be imported, as if they were not installed.
WITHOUT_EXTRAS = "import sys; sys.modules |= dict.fromkeys({extras})\n"
MODULES = {"open_clip_torch": "open_clip", "pyyaml": "yaml", "umap-learn": "umap", "ray[data]": "ray"}


@pytest.fixture
def run(tmp_path):
    """A function that runs code in an empty folder with the package alone; `extras=False` leaves only the core."""
    project = tomllib.loads((paths.REPO / "pyproject.toml").read_text())["project"]
    names = [need.partition(">=")[0] for needs in project["optional-dependencies"].values() for need in needs]
    modules = [MODULES.get(name, name.replace("-", "_")) for name in names]
    site = tmp_path / "site"
    shutil.copytree(paths.REPO / "gaplib", site / "gaplib", ignore=shutil.ignore_patterns("__pycache__"))
    here = tmp_path / "work"
    here.mkdir()

    def run(code, extras=False):
        environment = os.environ | {"PYTHONPATH": str(site)}
        environment.pop("GAPLIB_ROOT", None)
        command = [sys.executable, "-c", "" if extras else WITHOUT_EXTRAS.format(extras=modules)]
        command[-1] += code
        return subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True)

    run.folder = here
    return run


def test_the_core_measures_moves_sweeps_and_explores(run):
    done = run("""
import numpy as np
from gaplib import cone, explorer, features, gap, modulate, plots, sweep

rng = np.random.default_rng(0)
image, text = (rng.normal(mean, 1, size=(200, 8)) for mean in (0.5, -0.5))
image, text = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (image, text))
cone.summary(image), gap.summary(image, text), modulate.shift(image, text, 0.5)
f = features.from_arrays(image, text, labels=np.where(image[:, 0] > 0.3, "up", "down"))
s = sweep.sweep(f, lams=[0, 1], seeds=[42])
explorer.explore(f, sweep=s).save("page.html")
plots.style.use()
print(len(s.table) > 0)
""")
    assert done.stdout.strip() == "True", done.stderr[-2000:]
    assert sorted(path.name for path in run.folder.iterdir()) == ["page.html"]


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (
            "from gaplib import datasets; datasets.load('clipart')",
            "the embedded pairs come with a checkout",
        ),
        ("from gaplib import encoders; encoders.load('clip')", 'pip install "gaplib[encoders]"'),
        ("from gaplib import datasets; datasets.load('disk:.')", 'pip install "gaplib[encoders]"'),
        ("from gaplib import project; import numpy as np; project.umap(np.eye(40), np.eye(40))", "gaplib[notebooks]"),
        ("from gaplib import study; study.load('demo')", "gaplib[notebooks]"),
    ],
)
def test_what_the_core_lacks_is_named_in_one_message(run, code, says):
    (run.folder / "folder").mkdir()
    done = run(code)
    assert done.returncode and says in done.stderr.strip().splitlines()[-1]


def test_mini_encoders_are_not_in_the_package(run):
    done = run("from gaplib import encoders; encoders.load('mini-clip')", extras=True)
    assert "the mini encoders come with a checkout" in done.stderr.strip().splitlines()[-1]


def test_what_is_made_lies_in_the_folder_of_the_user(run):
    done = run("from gaplib import paths; print(paths.made(), paths.downloads('brset'))")
    assert done.stdout.split() == [str(run.folder), str(run.folder / "data" / "downloads" / "brset")]

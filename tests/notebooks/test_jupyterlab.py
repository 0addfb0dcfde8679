"""JupyterLab as `make lab` starts it: what is saved holds no outputs, and figures are within reach.

That a reader sees no pink is asserted in `test_smoke.py`; `tests/explorer` runs notebook 00 in JupyterLab in Chromium.
"""

import json
import os
import re
import runpy
import shutil
import socket
import subprocess
import sys
import time
from urllib.request import urlopen

import pytest
from traitlets.config import Config

from gaplib import paths

pytestmark = pytest.mark.slow
HOME = paths.REPO / "notebooks"


def lab_command():
    """What `make lab` runs."""
    recipe = re.search(r"^lab:.*\n\t\$\(PY\) (.*)$", (paths.REPO / "Makefile").read_text(), re.M)[1]
    return [sys.executable, *recipe.split()]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab in a copy of what it needs of the repository, in a folder of its own."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(paths.REPO / ".jupyter", folder / ".jupyter")
    shutil.copytree(HOME, folder / "notebooks", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    (folder / "figures").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    homes = {f"JUPYTER_{kind}_DIR": str(folder / f".home-{kind}") for kind in ("CONFIG", "DATA", "RUNTIME")}
    homes["GAPLIB_ROOT"] = str(folder)
    command = [
        *lab_command(),
        f"--ServerApp.port={port}",
        "--IdentityProvider.token=",
        "--no-browser",
        "--expose-app-in-browser",
    ]
    log = folder / "server.log"
    with log.open("w") as said:
        server = subprocess.Popen(command, env=os.environ | homes, stdout=said, stderr=said, cwd=folder)
        try:
            yield folder, wait_for(f"http://127.0.0.1:{port}/", server, log)
        finally:
            server.terminate()
            server.wait(60)


def wait_for(url, server, log):
    """The address, once the server answers."""
    start = time.monotonic()
    while time.monotonic() - start < 300:
        assert server.poll() is None, log.read_text()[-2000:]
        try:
            urlopen(f"{url}api", timeout=5).close()
            return url
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(log.read_text()[-2000:])


def test_a_notebook_is_saved_without_outputs():
    path = HOME / "00-start-here.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    before = json.dumps(notebook)
    ran = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for count, cell in enumerate(ran, start=1):
        cell["execution_count"] = count
        cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "seen"}]
    settings = Config()
    runpy.run_path(str(paths.REPO / ".jupyter" / "jupyter_server_config.py"), {"c": settings})
    hook = settings.ContentsManager.pre_save_hook
    model = {"type": "notebook", "content": notebook}
    hook(model=model, path=f"notebooks/{path.name}", contents_manager=None)
    assert len(ran) > 3 and json.dumps(model["content"]) == before


def test_what_is_made_is_within_reach(lab):
    _, url = lab
    found = json.load(urlopen(f"{url}api/contents/", timeout=300))["content"]
    assert {"notebooks", "figures"} <= {entry["name"] for entry in found}

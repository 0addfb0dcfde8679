"""JupyterLab as `make lab` starts it, in Chromium: no pink in the notebooks, and nothing left on disk."""

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

from gaplib import paths, study

pytestmark = pytest.mark.slow
HOME = paths.REPO / "notebooks"
WAIT = 300_000  # milliseconds: a busy machine may need minutes
FLAGS = ["no-sandbox", "disable-background-networking", "disable-component-update", "disable-sync", "no-first-run"]
STDERR = "application/vnd.jupyter.stderr"  # warnings, text bars, and errors as well
STARTED = """
    const prompts = [...document.querySelectorAll(".jp-Notebook .jp-CodeCell .jp-InputPrompt")].map(e => e.textContent);
    return prompts.some(text => /[*\\d]/.test(text));
"""
DONE = f"""
    const shown = ".jp-Notebook .jp-CodeCell .jp-InputPrompt:not(.jp-Placeholder-prompt)";  // a folded cell shows none
    const prompts = [...document.querySelectorAll(shown)].map(e => e.textContent);
    const pink = document.querySelector('.jp-Notebook [data-mime-type="{STDERR}"]');
    return pink || (prompts.length > 0 && prompts.every(text => /\\d/.test(text)));
"""
ALL_AT_ONCE = {"windowingMode": "none"}  # else only the cells in view are in the page


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    if path is None:
        assert not os.environ.get("CI"), "JupyterLab is tested in Chromium, which is not installed"
        pytest.skip("no Chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[f"--{flag}" for flag in FLAGS])
        yield browser
        browser.close()


def lab_command():
    """What `make lab` runs."""
    recipe = re.search(r"^lab:.*\n\t\$\(PY\) (.*)$", (paths.REPO / "Makefile").read_text(), re.M)[1]
    return [sys.executable, *recipe.split()]


@pytest.fixture(scope="module")
def lab(root, tmp_path_factory):
    """JupyterLab in a copy of what it needs of the repository, its kernels on what the smoke study made."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(paths.REPO / ".jupyter", folder / ".jupyter")
    shutil.copytree(HOME, folder / "notebooks", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    (folder / "figures").mkdir()
    settings = folder / "settings" / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps(ALL_AT_ONCE))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    homes = {f"JUPYTER_{kind}_DIR": str(folder / f".home-{kind}") for kind in ("CONFIG", "DATA", "RUNTIME")}
    homes |= {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"), "GAPLIB_ROOT": str(root)}
    command = [*lab_command(), f"--ServerApp.port={port}", "--IdentityProvider.token=", "--no-browser"]
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


def set_parameters(path, values):
    """Write values into the `parameters` cell of a notebook, as a reader would."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    (cell,) = [cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", [])]
    declared = [line.split(" = ")[0] for line in cell["source"]]
    for i, key in enumerate(declared):
        if key in values:
            cell["source"][i] = f"{key} = {values[key]!r}\n"
    cell["source"][-1] = cell["source"][-1].rstrip("\n")
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def counted(page, kind):
    """How many outputs of a kind the page shows."""
    return page.locator(f'.jp-Notebook [data-mime-type="{kind}"]').count()


@pytest.mark.parametrize("name", ["00-start-here", "04-sweep-lambda"])
def test_a_notebook_runs_without_pink_and_is_saved_without_outputs(chromium, lab, name):
    folder, url = lab
    path = folder / "notebooks" / f"{name}.ipynb"
    set_parameters(path, {"study": "smoke"} | study.load("smoke"))
    before = path.read_text(encoding="utf-8")
    page = chromium.new_page(viewport={"width": 1200, "height": 1000})
    page.set_default_timeout(WAIT)
    page.goto(f"{url}lab/tree/notebooks/{name}.ipynb?reset")
    page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').wait_for()
    confirm = page.locator(".jp-Dialog button.jp-mod-accept").last
    for _ in range(50):  # a click, or a restart, before the kernel is there runs nothing
        if page.evaluate(f"() => {{{STARTED}}}"):
            break
        button = confirm if confirm.count() else page.locator("[data-jp-item-name=restart-and-run]").first
        button.click()
        page.wait_for_timeout(6000)
    page.wait_for_function(f"() => {{{DONE}}}")
    shown = page.locator(f'.jp-Notebook [data-mime-type="{STDERR}"]').all_inner_texts()
    assert shown == []
    drawn = page.locator('.jp-Notebook [data-mime-type="image/png"]')
    drawn.nth(1).wait_for(state="attached")  # and the outputs that were looked for are there
    page.locator("[data-jp-item-name=save]").first.click()
    page.locator(".jp-mod-dirty").wait_for(state="detached")
    page.wait_for_timeout(1000)
    assert path.read_text(encoding="utf-8") == before
    assert counted(page, "image/png") >= 2  # still on the screen
    page.context.close()


def test_what_is_saved_of_a_notebook_has_no_outputs():
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

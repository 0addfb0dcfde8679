"""The book of the smoke study, read in Chromium from the file system with the network off."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

import pytest

from gaplib import paths

HOME = paths.REPO / "notebooks"
NOTEBOOKS = [path.stem for path in sorted(HOME.glob("[0-9]*.ipynb"))]
LESSONS = [f"lessons/{name}" for name in ("cone-from-random-networks", "watch-the-gap-form", "move-the-gap-by-hand")]
PAGES = ["index", *NOTEBOOKS, *LESSONS, "teaching"]  # in reading order
FLAGS = ["--no-sandbox", "--no-first-run"]
FLAGS += [f"--disable-{what}" for what in ("background-networking", "component-update", "sync")]


def build(root):
    """Run Sphinx as `make book` does; what it printed, and the folder of the book."""
    source = root / "build" / "smoke"
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-c", str(paths.REPO / "docs")]
    command += [str(source), str(source / "book")]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"GAPLIB_ROOT": str(root)})
    return done, source / "book"


def add_cell(notebook, cell):
    """Append a cell to a notebook file."""
    content = json.loads(notebook.read_text())
    content["cells"].append({"id": "added", "metadata": {}, **cell})
    notebook.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def copy(root, tmp_path_factory):
    """A copy of what the smoke study made."""
    copy = tmp_path_factory.mktemp("book")
    for folder in ("build", "figures"):
        shutil.copytree(root / folder, copy / folder)
    return copy


@pytest.fixture(scope="module")
def book(copy):
    """The folder of the book."""
    done, folder = build(copy)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    if not (chromium := shutil.which("chromium")):
        assert not os.environ.get("CI"), "the book is tested in Chromium, which is not installed"
        pytest.skip("no Chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A page that may read files and nothing else, and that has reported no error when the test ends."""
    context, faults = browser.new_context(color_scheme="light"), []

    def only_files(route):
        if route.request.url.startswith(("file:", "data:")):
            route.continue_()
        else:
            faults.append(f"asked for {route.request.url}")
            route.abort()

    context.route("**/*", only_files)
    page = context.new_page()
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("requestfailed", lambda request: faults.append(f"failed: {request.url}"))
    yield page
    context.close()
    assert not faults


def pictures(name, book):
    """How many pictures the executed notebook holds."""
    path = book.parent / f"{name}.ipynb"
    cells = json.loads(path.read_text())["cells"] if path.exists() else []
    return sum("image/png" in output.get("data", {}) for cell in cells for output in cell.get("outputs", []))


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_its_figures_and_links_to_what_is_there(book, page, name):
    page.goto((book / f"{name}.html").as_uri())
    widths = page.eval_on_selector_all("article img", "images => images.map(image => image.naturalWidth)")
    assert len(widths) >= (5 if name == "index" else pictures(name, book)) and all(widths)
    links = page.eval_on_selector_all("a[href]", "links => links.map(link => link.getAttribute('href'))")
    inside = [urljoin(page.url, link) for link in links if not re.match(r"https?:|mailto:", link)]
    assert len(inside) > len(PAGES)
    for link in inside:
        url, part = urldefrag(link)
        target = Path(unquote(url.removeprefix("file://")))
        assert target.is_file(), link
        assert not part or f'id="{unquote(part)}"' in target.read_text(), link


def test_next_leads_through_the_book_and_previous_back(book, page):
    page.goto((book / "index.html").as_uri())
    for name in PAGES[1:]:
        page.click("a.right-next")
        assert page.url == (book / f"{name}.html").as_uri()
    page.click("a.left-prev")
    assert page.url == (book / f"{PAGES[-2]}.html").as_uri()


def test_search_finds_a_word(book, page):
    page.goto((book / "index.html").as_uri())
    page.locator("button.search-button-field").first.click()
    page.keyboard.type("ReLU")
    page.keyboard.press("Enter")
    found = page.locator("ul.search a")
    found.first.wait_for()
    titles = found.all_inner_texts()
    assert "Make a cone from random networks" in titles and "Make the figures" not in titles
    found.get_by_text("Make a cone from random networks").first.click()
    assert page.url.startswith((book / f"{LESSONS[0]}.html").as_uri())


def test_light_and_dark(book, page):
    page.goto((book / "index.html").as_uri())
    backgrounds = {}
    for mode in ("dark", "light"):
        page.locator(".theme-switch-button:visible").click()
        page.locator(f".theme-change-button[data-mode={mode}]").click()
        assert page.evaluate("document.documentElement.dataset.theme") == mode
        backgrounds[mode] = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert backgrounds["dark"] != backgrounds["light"]


@pytest.mark.parametrize("name", LESSONS)
def test_formulas_are_shown_and_solutions_folded(book, page, name):
    page.goto((book / f"{name}.html").as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(fold => fold.toggleAttribute('open', true))")
    boxes = page.eval_on_selector_all("math", "all => all.map(x => x.getBoundingClientRect().width)")
    assert len(boxes) >= 5 and min(boxes) > 3
    text = page.locator("article").evaluate("x => [...x.querySelectorAll('p, li')].map(p => p.textContent).join()")
    assert not re.search(r"\\(frac|tau|cos|sqrt|mathrm)|\$", text)
    page.reload()
    fold = page.locator("#solutions details").first
    assert not fold.locator("p").first.is_visible()
    fold.locator("summary").first.click()
    assert fold.locator("p").first.inner_text().startswith("Solution 1.")


@pytest.mark.parametrize("name", ["00-start-here", "02-see-the-cone"])
def test_the_explorers_work(book, page, name):
    page.goto((book / f"{name}.html").as_uri())
    view = page.frame_locator("iframe")
    distance = view.locator("#centroid_distance")
    before = float(distance.inner_text())
    view.locator("#lam").press("PageUp")
    assert float(view.locator("#value").inner_text()) > 0
    assert float(distance.inner_text()) < before


def test_a_link_to_a_notebook_that_is_not_there_fails_the_build(copy, tmp_path):
    shutil.copytree(copy, tmp_path, dirs_exist_ok=True)
    cell = {"cell_type": "markdown", "source": "[nowhere](99-nowhere.ipynb)"}
    add_cell(tmp_path / "build" / "smoke" / "00-start-here.ipynb", cell)
    done, _ = build(tmp_path)
    assert done.returncode != 0
    assert [line for line in done.stderr.splitlines() if "WARNING" in line] == re.findall(".*99-nowhere.*", done.stderr)

"""The book of the smoke study, read in Chromium from the file system with the network off."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

import pytest
from pages import WAIT, launch

import gaplib
from gaplib import paths

pytestmark = pytest.mark.slow
HOME = paths.REPO / "notebooks"
NOTEBOOKS = [path.stem for path in sorted(HOME.glob("[0-9]*.ipynb"))]
LESSONS = [f"lessons/{name}" for name in ("cone-from-random-networks", "watch-the-gap-form", "move-the-gap-by-hand")]
ROOMS = ["cone", "gap", "modulate", "project", "datasets", "datasets.pairs", "datasets.own", "encoders", "features"]
ROOMS += ["sweep", "sweep.beyond", "plots", "plots.style", "explorer", "study", "lessons"]
PAGES = ["index", *NOTEBOOKS, *LESSONS, "teaching", "your-pairs", "paper-study", "in-python"]
PAGES += ["which-measure", "reference", *(f"reference/gaplib.{room}" for room in ROOMS), "gallery", "glossary", "data"]
# PAGES is in reading order


def build(root, builder="html"):
    """Run Sphinx as `make book` does; what it printed, and the folder of the book. "dummy" writes no page."""
    source = root / "build" / "smoke"
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", builder, "-c", str(paths.REPO / "docs")]
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

    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


def lost(request):
    """Whether a request failed by itself, and was not given up because the reader went on to the next page."""
    return request.failure != "net::ERR_ABORTED"


@pytest.fixture
def page(browser):
    """A page that may read files and nothing else, and that has reported no error when the test ends."""
    context = browser.new_context(color_scheme="light")
    context.set_default_timeout(WAIT)
    faults = []

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
    page.on("requestfailed", lambda request: faults.append(f"failed: {request.url}") if lost(request) else None)
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


@pytest.mark.parametrize(
    ("word", "title", "name"),
    [
        ("ReLU", "Make a cone from random networks", LESSONS[0]),
        ("LambdaShift", "gaplib.modulate.LambdaShift", "reference/gaplib.modulate"),
        ("vmf_kappa", "gaplib.cone.vmf_kappa", "reference/gaplib.cone"),
        ("RMG", "Glossary", "glossary"),
    ],
)
def test_search_finds_a_word(book, page, word, title, name):
    page.goto((book / "index.html").as_uri())
    page.locator("button.search-button-field").first.click()
    page.keyboard.type(word)
    page.keyboard.press("Enter")
    found = page.locator("ul.search a")
    found.first.wait_for()
    assert "Make the figures" not in found.all_inner_texts()
    found.get_by_text(title, exact=True).first.click()
    page.wait_for_url(f"{(book / name).as_uri()}.html*")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_cell_that_papermill_adds_stands_on_no_page(book, name):
    tags = [
        cell["metadata"].get("tags", []) for cell in json.loads((book.parent / f"{name}.ipynb").read_text())["cells"]
    ]
    assert ["injected-parameters"] in tags or name == NOTEBOOKS[0]
    assert "# Parameters" not in (book / f"{name}.html").read_text()


def test_the_first_page_shows_the_study(book, page):
    page.goto((book / "index.html").as_uri())
    assert "n_pairs: 600" in page.inner_text("article")


@pytest.mark.parametrize("width", [360, 800, 1366])
@pytest.mark.parametrize("name", ["00-start-here", "02-see-the-cone", "reference/gaplib.gap", "gallery"])
def test_nothing_is_cut_off_and_wide_tables_scroll_beside_the_names_of_their_rows(book, page, name, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.goto((book / f"{name}.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    tables = page.locator("table.dataframe")
    for k in range(tables.count()):
        # As wide as a study of many encoders makes it.
        tables.nth(k).evaluate("""table => table.querySelectorAll('tr').forEach(row =>
            [1, 2, 3].forEach(() => [...row.cells].slice(1).forEach(cell => row.append(cell.cloneNode(true)))))""")
        name_left, last_right, left, right = tables.nth(k).evaluate("""table => {
            const view = table.closest('.text_html');
            view.scrollLeft = 1e6;
            const cells = table.tBodies[0].rows[0].cells, box = view.getBoundingClientRect();
            return [cells[0].getBoundingClientRect().left, cells[cells.length - 1].getBoundingClientRect().right,
                box.left, box.right];
        }""")
        assert name_left >= left - 1 and last_right <= right + 1
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("room", ROOMS)
def test_the_reference_has_every_public_function_and_class(book, room):
    module = importlib.import_module(f"gaplib.{room}")
    own = [name for name, thing in vars(module).items() if getattr(thing, "__module__", "") == module.__name__]
    page = (book / "reference" / f"gaplib.{room}.html").read_text()
    for name in getattr(module, "__all__", own):
        if callable(getattr(module, name)) and not name.startswith("_"):
            assert f'id="gaplib.{room}.{name}"' in page, name


def test_every_door_is_a_room_of_the_reference():
    assert set(gaplib.__all__) <= set(ROOMS)


def test_the_reference_sets_equations_and_leads_to_the_source_and_to_the_chapters(book, page):
    page.goto((book / "reference" / "gaplib.gap.html").as_uri())
    entry = page.locator("dl:has(> dt[id='gaplib.gap.gap_vector'])")
    assert entry.locator("math").count() == 1
    assert entry.locator("details a[href^='../03-measure-the-gap.html#']").count() >= 1
    entry.get_by_text("[source]").click()
    assert page.locator("#gap_vector .viewcode-back").count() == 1


def test_a_chapter_leads_to_the_reference_and_to_the_glossary(book, page):
    page.goto((book / "03-measure-the-gap.html").as_uri())
    links = page.eval_on_selector_all("article a", "links => links.map(link => link.getAttribute('href'))")
    assert "reference/gaplib.gap.html#gaplib.gap.summary" in links
    assert [link for link in links if link.startswith("glossary.html#term-")]


def test_a_page_is_printed_light_and_alone_with_all_columns(book, page):
    page.emulate_media(media="print", color_scheme="dark")
    page.set_viewport_size({"width": 700, "height": 1000})  # what A4 has between its margins
    page.goto((book / "02-see-the-cone.html").as_uri())
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    assert (
        not page.locator(".bd-sidebar-primary, .bd-header-article, .prev-next-footer").locator("visible=true").count()
    )
    right = page.eval_on_selector_all("table, img, pre", "all => all.map(x => x.getBoundingClientRect().right)")
    assert max(right) <= 700
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


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
    view = page.frame_locator("iframe").first
    distance = view.locator("#centroid_distance")
    before = float(distance.inner_text())
    view.locator("#lam").press("PageUp")
    assert float(view.locator("#value").inner_text()) > 0
    assert float(distance.inner_text()) < before


@pytest.mark.parametrize("name", ["00-start-here", "02-see-the-cone"])
def test_in_the_dark_nothing_bright_stands_around_an_explorer(book, page, name):
    page.emulate_media(color_scheme="dark")
    page.goto((book / f"{name}.html").as_uri())
    page.frame_locator("iframe").first.locator(":root[data-theme=dark]").wait_for()
    grounds = page.locator("iframe").first.evaluate("""frame => {
        const grounds = [];
        for (let e = frame; e; e = e.parentElement) grounds.push(getComputedStyle(e).backgroundColor);
        return grounds;
    }""")
    for ground in grounds:
        *colour, opacity = [float(part) for part in re.findall(r"[\d.]+", ground)] + [1.0] * ("rgba" not in ground)
        assert opacity == 0 or max(colour) < 60, grounds


def test_the_slider_of_an_explorer_stays_in_view_on_a_phone(book, page):
    page.set_viewport_size({"width": 360, "height": 640})
    page.goto((book / "02-see-the-cone.html").as_uri())
    view = page.frame_locator("iframe").first
    view.locator("#lam").wait_for()
    for figure in ("#sphere", "#umap", "#cosines"):
        view.locator(figure).evaluate("e => e.scrollIntoView({block: 'end'})")
        view.locator("#bar[style*=translate]").wait_for()
        page.wait_for_function("""() => {
            const frame = document.querySelector('iframe'), lam = frame.contentDocument.getElementById('lam');
            const top = frame.getBoundingClientRect().top + lam.getBoundingClientRect().top;
            return top > 0 && top < 200;
        }""")


def test_a_link_to_a_notebook_that_is_not_there_fails_the_build(copy, tmp_path):
    shutil.copytree(copy, tmp_path, dirs_exist_ok=True)
    cell = {"cell_type": "markdown", "source": "[nowhere](99-nowhere.ipynb)"}
    add_cell(tmp_path / "build" / "smoke" / "00-start-here.ipynb", cell)
    done, _ = build(tmp_path, "dummy")
    assert done.returncode != 0
    assert [line for line in done.stderr.splitlines() if "WARNING" in line] == re.findall(".*99-nowhere.*", done.stderr)

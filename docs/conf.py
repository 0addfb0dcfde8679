"""Sphinx makes a book of the executed notebooks of a study, `build/{study}`: see `book` in the Makefile."""

import inspect
import shutil
from importlib import import_module
from pathlib import Path

from docutils import nodes
from docutils.utils.math import latex2mathml

import gaplib
from gaplib import paths

project = "gaplib"
html_title = "The cone effect and the modality gap"
extensions = ["myst_nb"]
include_patterns = ["*.md", "[0-9]*.ipynb", "lessons/*.ipynb"]  # not failed-*.ipynb
myst_enable_extensions = ["dollarmath"]
nb_execution_mode = "off"
nb_output_stderr = "remove"  # progress bars
nb_code_prompt_show, nb_code_prompt_hide = "Show the code", "Hide the code"
nb_ipywidgets_js = {}  # would come from the network, as MathJax would
html_math_renderer = "mathml"
html_theme = "sphinx_book_theme"
html_theme_options = {
    "navbar_persistent": [],  # a second search field
    "footer_content_items": [],
    "use_download_button": False,
    "use_fullscreen_button": False,
}
html_context = {"default_mode": "auto"}
html_static_path = ["book.css"]
html_css_files = ["book.css"]
html_copy_source = False
html_show_search_summary = False  # it would fetch each page found, which browsers forbid on the file system


def gather(source, pages):
    """Put our own pages, the study and its figures beside its executed notebooks."""
    for page in pages.glob("*.md"):
        shutil.copy(page, source)
    shutil.copy(paths.STUDIES / f"{source.name}.yaml", source / "study.yaml")
    (source / "reference.md").write_text(reference(), encoding="utf-8")
    ignore = shutil.ignore_patterns("*.pdf")
    shutil.copytree(paths.figures(source.name), source / "figures", ignore=ignore, dirs_exist_ok=True)


def reference():
    """A page with every public name and its documentation, as it stands there: formulas and all are plain text."""
    page = "# Reference\n\nWhat gaplib has, room by room, as `help` shows it in Python.\n"
    for room in gaplib.__all__:
        module = import_module(f"gaplib.{room}")
        page += f"\n## {room}\n\n```text\n{inspect.getdoc(module)}\n```\n"
        for name in module.__all__:
            thing = getattr(module, name)
            if callable(thing):
                page += f"\n### {room}.{name}\n\n```text\n{name}{inspect.signature(thing)}\n\n"
                page += f"{inspect.getdoc(thing)}\n```\n"
    return page


def write_math(translator, node):
    """Write a formula as MathML, which browsers draw without a script."""
    formula = latex2mathml.tex2mathml(node.astext(), as_block=isinstance(node, nodes.math_block))
    # Browsers set no space between a function and its argument.
    translator.body.append(formula.replace("<mo>&ApplyFunction;</mo>", '<mspace width="0.17em"/>'))
    raise nodes.SkipNode


def fold_solutions(app, doctree, docname):
    """Fold each solution of a lesson away by itself."""
    for section in [part for part in doctree.findall(nodes.section) if part[0].astext() == "Solutions"]:
        parts, close = [section[0]], ""
        for child in section[1:]:
            if child.astext().startswith("Solution "):
                name = child.next_node(nodes.strong).astext().rstrip(".")
                parts.append(nodes.raw("", f"{close}<details><summary>{name}</summary>", format="html"))
                close = "</details>"
            parts.append(child)
        section[:] = [*parts, nodes.raw("", close, format="html")]


def drop_injected_parameters(app, doctree):
    """Take out the cell that papermill adds to each notebook: the first page shows the study once."""
    for cell in list(doctree.findall(nodes.container)):
        if "tag_injected-parameters" in cell["classes"]:
            cell.parent.remove(cell)


def setup(app):
    gather(Path(app.srcdir), Path(app.confdir))
    app.add_html_math_renderer("mathml", (write_math, None), (write_math, None))
    app.connect("doctree-read", drop_injected_parameters)
    app.connect("doctree-resolved", fold_solutions)

"""Sphinx makes a book of the executed notebooks of a study, `build/{study}`: see `book` in the Makefile."""

import inspect
import re
import shutil
from importlib import import_module
from pathlib import Path

from docutils import nodes
from docutils.utils.math import latex2mathml
from numpy.typing import ArrayLike
from sphinx.util.typing import stringify_annotation
from sphinx_codeautolink.extension.backref import SummaryNode

import gaplib
from gaplib import paths

project = "gaplib"
html_title = "The cone effect and the modality gap"
extensions = ["myst_nb", "sphinx.ext.autosummary", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinx_codeautolink"]
include_patterns = ["*.md", "[0-9]*.ipynb", "lessons/*.ipynb", "reference/*.rst"]
exclude_patterns = ["**/failed-*.ipynb"]
templates_path = [str(Path(__file__).parent / "templates")]  # where autosummary looks is beside the chapters
html_theme = "sphinx_book_theme"
html_theme_options = {
    "navbar_persistent": [],  # a second search field
    "footer_content_items": [],
    "use_download_button": False,
    "use_fullscreen_button": False,
}
html_context = {"default_mode": "auto"}
html_static_path = ["book.css", "print.js"]
html_css_files = ["book.css"]
html_js_files = ["print.js"]
html_copy_source = False
html_show_search_summary = False  # it would fetch each page found, which browsers forbid on the file system

# Chapters
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_output_stderr = "remove"  # progress bars
nb_code_prompt_show, nb_code_prompt_hide = "Show the code", "Hide the code"
nb_ipywidgets_js = {}  # would come from the network, as MathJax would
html_math_renderer = "mathml"

# Reference: a page for each room that `reference.md` names, with what the room's `__all__` shows.
autosummary_ignore_module_all = False
autodoc_typehints_format = "short"
napoleon_use_rtype = False
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
default_role = "py:obj"  # what a docstring has in backticks is a link where it is known, and code where it is not
viewcode_line_numbers = True
ARRAY_LIKE = stringify_annotation(ArrayLike, "smart")
TUPLE_FIELD = type(gaplib.cone.ConeAngle.mean)
codeautolink_concat_default = True  # a cell goes on where the last one ended
codeautolink_autodoc_inject = True  # "used in"


def shown_names():
    """Where the reference has each class of a door, and what belongs to it, by where its code lies."""
    shown = {}
    for door in gaplib.__all__:
        for name, thing in inspect.getmembers(import_module(f"gaplib.{door}"), inspect.isclass):
            for member in ("", *(f".{member}" for member in vars(thing))):
                shown[f"{thing.__module__}.{name}{member}"] = f"gaplib.{door}.{name}{member}"
    return shown


codeautolink_inventory_map = shown_names()

TEXTS = (nodes.paragraph, nodes.emphasis, nodes.strong)  # whose words may lead to the glossary


def gather(source, pages):
    """Put our own pages, the study and its figures beside its executed notebooks."""
    for page in pages.glob("*.md"):
        (source / page.name).write_text(in_book(page.read_text(encoding="utf-8")), encoding="utf-8")
    gallery = (paths.REPO / "figures" / "README.md").read_text(encoding="utf-8")
    (source / "gallery.md").write_text(in_book(gallery), encoding="utf-8")
    shutil.copy(paths.STUDIES / f"{source.name}.yaml", source / "study.yaml")
    ignore = shutil.ignore_patterns("*.pdf")
    shutil.copytree(paths.figures(source.name), source / "figures", ignore=ignore, dirs_exist_ok=True)


def in_book(page):
    """Links of a page that is read in the repository, too: notebooks lie beside it, and figures are the study's own."""
    for there, here in (("../notebooks/", ""), ("../figures/README.md", "gallery.md"), ("gallery/", "figures/")):
        page = page.replace(f"]({there}", f"]({here}")
    return page


def name_array_like(app, what, name, thing, options, signature, returns):
    """Call NumPy's ArrayLike by its name, not by the dozen types that it stands for."""
    return signature and (signature.replace(ARRAY_LIKE, "ArrayLike"), returns)


def find_in_rooms(app, env, node, shown):
    """Find what a docstring names as its readers would, such as `modulate.shift`."""
    if node.get("refdomain") == "py" and "." in node["reftarget"]:
        name = f"gaplib.{node['reftarget']}"
        return env.domains["py"].resolve_xref(env, node["refdoc"], app.builder, "obj", name, node, shown)


def skip_fields(app, what, name, thing, skip, options):
    """Leave out the fields of a named tuple, which stand in its signature; None leaves the others as they are."""
    return isinstance(thing, TUPLE_FIELD) or None


def link_terms(app, doctree, docname):
    """Lead to the glossary from the first place where a page has a word of it."""
    objects = app.env.domains.standard_domain.objects.items()
    terms = {name.lower(): anchor for (kind, name), (_, anchor) in objects if kind == "term" and len(name) > 1}
    if docname.startswith(("glossary", "reference")):
        return
    words = re.compile(rf"\b({'|'.join(sorted(terms, key=len, reverse=True))})s?\b", re.IGNORECASE)
    glossary = app.builder.get_relative_uri(docname, "glossary")
    for text in list(doctree.findall(nodes.Text)):
        found = words.search(text) if isinstance(text.parent, TEXTS) else None
        anchor = terms.pop(found[1].lower(), None) if found else None
        if anchor:
            link = nodes.reference("", found[0], refuri=f"{glossary}#{anchor}", internal=True, classes=["term"])
            parts = [nodes.Text(text[: found.start()]), link, nodes.Text(text[found.end() :])]
            text.parent.replace(text, parts)


def say_used_in(app, doctree, docname):
    """Say plainly what a list of the places that call a function is."""
    for summary in doctree.findall(SummaryNode):
        summary[:] = [nodes.Text("Used in")]


def write_math(translator, node):
    """Write a formula as MathML, which browsers draw without a script."""
    alone = isinstance(node, nodes.math_block)
    formula = latex2mathml.tex2mathml(node.astext(), as_block=alone)
    # Browsers set no space between a function and its argument.
    formula = formula.replace("<mo>&ApplyFunction;</mo>", '<mspace width="0.17em"/>')
    translator.body.append(f'<div class="formula">{formula}</div>' if alone else formula)
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
    app.connect("doctree-read", drop_injected_parameters, priority=400)  # before the code is read for its links
    app.connect("doctree-resolved", fold_solutions)
    app.connect("doctree-resolved", link_terms)
    app.connect("doctree-resolved", say_used_in, priority=600)  # after the lists are made
    app.connect("autodoc-process-signature", name_array_like)
    app.connect("autodoc-skip-member", skip_fields)
    app.connect("missing-reference", find_in_rooms)

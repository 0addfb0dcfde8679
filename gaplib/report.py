"""One page about your pairs: `make report`, or `python -m gaplib.report --pairs mine.csv --encoders "clip mini-clip"`.

It is `notebooks/report.ipynb` without its code: under a study of this one dataset, after notebooks 02 and 03, and after
04 and 05 where there are labels.
"""

import argparse
import sys
from pathlib import Path

from gaplib import datasets, features, paths, study
from gaplib.datasets import own
from gaplib.names import extra

SETTINGS = {"lambdas": [0.0, 0.25, 0.5, 0.75, 1.0], "seeds": [42, 43, 44], "n_followed": None}
NOTEBOOKS = ("02-see-the-cone", "03-measure-the-gap", "04-sweep-lambda", "05-ask-when-lambda-matters", "report")
TEMPLATE = """{% extends "lab/index.html.j2" %}
{% block html_head_js %}{% endblock %}
{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
{% block html_head_css %}<style>main { max-width: 60rem; margin: auto }</style>{% endblock %}
"""  # without the scripts that a page would fetch


def read_in(path: str) -> tuple[str, list[str], list[str]]:
    """Store the embeddings of a file; the names of their dataset and encoder, and of none that is absent."""
    dataset = own.name_of("csv", path, datasets.REGISTRY)
    features.read(Path(path).expanduser(), dataset, "given")
    return dataset, ["given"], []


def encode(pairs: str, names: list[str]) -> tuple[str, list[str], list[str]]:
    """Encode pairs by those encoders that are here; the names of their dataset, of these, and of the others."""
    dataset = own.of_a_kind(pairs)
    loaded = datasets.load(dataset)
    here, absent = study.available(lambda name: features.extract(loaded, name), names)
    if not here:
        raise OSError("\n".join(absent.values()) or 'say by which encoders: ENCODERS="clip mini-clip"')
    for name, why in absent.items():
        print(f"not here: {name}: {why}")
    return dataset, list(here), list(absent)


def report(dataset: str, encoders: list[str], absent: list[str]) -> Path:
    """Write the page of a dataset whose features are stored, into `build/report-{dataset}/`; its path."""
    name = f"report-{datasets.stored_name(dataset)}"
    parameters = SETTINGS | {"datasets": [dataset], "encoders": encoders, "absent": absent}
    study.cells([dataset], encoders)  # refuses too few pairs before anything runs
    study.run_all(name, [paths.REPO / "notebooks" / f"{notebook}.ipynb" for notebook in NOTEBOOKS], parameters)
    return export(paths.made() / "build" / name / "report.ipynb")


def export(notebook: Path) -> Path:
    """An executed notebook as one HTML file beside it, without its code, which needs no network."""
    converter = extra("nbconvert", "notebooks")
    exporter = converter.HTMLExporter(
        raw_template=TEMPLATE, exclude_input=True, exclude_input_prompt=True, exclude_output_prompt=True
    )
    hide = converter.preprocessors.TagRemovePreprocessor(remove_cell_tags=["hide"], enabled=True)
    exporter.register_preprocessor(hide)
    page, _ = exporter.from_filename(str(notebook), {"metadata": {"name": notebook.parent.name}})
    target = notebook.with_suffix(".html")
    with paths.whole(target) as unfinished:
        unfinished.write_text(page, encoding="utf-8")
    return target


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="One page about your pairs, or about embeddings of them.")
    parser.add_argument("--pairs", default="", help="such as folder/mine.csv, or any name of gaplib.datasets.own")
    parser.add_argument("--encoders", default="mini-clip", help="names, with spaces between")
    parser.add_argument("--embeddings", default="", help="such as mine.npz: what features.read reads")
    arguments = parser.parse_args()
    if bool(arguments.pairs) == bool(arguments.embeddings):
        sys.exit("say which pairs: make report PAIRS=folder/mine.csv, or which embeddings: EMBEDDINGS=folder/mine.npz")
    try:
        if arguments.embeddings:
            found = read_in(arguments.embeddings)
        else:
            found = encode(arguments.pairs, arguments.encoders.split())
        print(report(*found))
    except (OSError, ValueError, ImportError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()

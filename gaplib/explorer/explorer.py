"""The page of the lambda explorer: what is gathered for it, shown in a notebook, saved."""

import html
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gaplib import gap as measures
from gaplib import modulate, rows
from gaplib.datasets.pairs import label_columns
from gaplib.explorer.geometry import geometry, measured, pack
from gaplib.explorer.marks import coloured, one_a_pair, short, short_texts, thumbnails

PAGE = Path(__file__).with_name("page.html")
CURVES = 8  # that can still be told apart


@dataclass(frozen=True)
class Explorer:
    """A page that shows itself in a notebook, and can be saved."""

    title: str
    page: str = field(repr=False)

    def _repr_html_(self) -> str:
        # A frame keeps the page's styles and names apart from the notebook's, and survives export to HTML.
        style = "width: 100%; height: 900px; border: 0"
        return f'<iframe title="{html.escape(self.title)}" style="{style}" srcdoc="{html.escape(self.page)}"></iframe>'

    def save(self, path: str | os.PathLike) -> Path:
        """Write the page as one HTML file that needs no kernel and no network; returns its path.

        Raises
        ------
        OSError
            If it cannot be written there. A page that stood there stays, and no part of a new one does.
        """
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=".explorer-") as folder:
                unfinished = Path(folder, "page")
                unfinished.write_text(self.page, encoding="utf-8")
                return unfinished.replace(path)
        except OSError as error:
            reason = error.strerror or error
            raise OSError(f"cannot save the page as {path}: {reason}; name a file where you may write") from error


def explore(
    features: Any,
    labels: Sequence | None = None,
    n: int = 2000,
    seed: int = 0,
    sweep: Any = None,
    gap: ArrayLike | None = None,
    texts: Sequence | None = None,
    images: Sequence | None = None,
    umap: tuple[Sequence[float], np.ndarray] | None = None,
    title: str | None = None,
) -> Explorer:
    """Both clouds, moved by a slider for lambda, with the measures of the gap beside them.

    Parameters
    ----------
    features : features.Features, or (ndarray, ndarray)
        Pairs: features, or image and text rows of unit norm, at least two of each.
    labels, texts, images : sequence, optional
        One a pair, by default those of the features (which have no images): what to colour by, what to show under the
        pointer, and what to show small. More than seven different floats become a continuous scale; of names, the most
        frequent have a colour of their own; None, NaN and "" are "no label". Images are as in a pair table (encoded
        files, or paths under the image root of the features), PIL images, arrays of 8-bit numbers, or None.
    n, seed : int
        Pairs drawn, and what chooses them. The measures are of all pairs.
    sweep : sweep.Sweep or DataFrame, optional
        A sweep or its table, for the curve of the test AUC. With features, only their dataset and encoder count.
    gap : ndarray of shape (d,), optional
        The gap vector to move along; by default that of the training rows of the features, or of the rows given.
    umap : (sequence of float, ndarray), optional
        From `project.umap_by_lambda` of the same pairs, all of which must be drawn.
    title : str, optional

    Raises
    ------
    ValueError
        If the rows are not pairs of unit rows, the gap is not a finite vector as wide as they, one pair's data are
        missing, an image cannot be read, or the sweep has no curve, or too many.

    Examples
    --------
    >>> x = np.eye(8)
    >>> explorer = explore((x, np.roll(x, 1, axis=1)), labels=list("aabbccdd"), title="eight made pairs")
    >>> explorer, len(explorer.page) < 100_000
    (Explorer(title='eight made pairs'), True)
    """
    image, text, known = _pairs(features)
    image, text = rows.check_pairs(image, text, least=2)
    gap, gap_of = _gap(gap, features, image, text)
    total = len(image)
    drawn = rows.sample(np.arange(total), n, seed)
    labels = one_a_pair(known.get("labels") if labels is None else labels, "labels", drawn, total)
    texts = one_a_pair(known.get("texts") if texts is None else texts, "texts", drawn, total)
    images = one_a_pair(images, "images", drawn, total)
    data = {
        "title": short(title or known.get("title", "Images and texts")),
        "n": len(drawn),
        "total": total,
        "seed": int(seed),
        "gap_of": gap_of,
        "pair": drawn.tolist(),
        "curves": _curves(sweep, known.get("dataset"), known.get("encoder")),
        "labels": coloured(labels),
        "texts": short_texts(texts),
        "thumbs": thumbnails(images, drawn, known.get("root")),
        "umap": _umap(umap, total, len(drawn)),
    }
    data |= measured(image, text, gap)
    data |= geometry(np.asarray(image[drawn], float), np.asarray(text[drawn], float), gap, seed)
    return Explorer(data["title"], _filled(data))


def _filled(data):
    """The page with its data. Inside a script element only "<" can end it early."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    return PAGE.read_text(encoding="utf-8").replace("__DATA__", text)


def _pairs(features):
    """Image rows, text rows, and what features know of them besides."""
    if isinstance(features, tuple | list) and len(features) == 2:
        image, text = features
        return image, text, {}
    if not hasattr(features, "paired"):
        kind = type(features).__name__
        raise ValueError(f"features: Features, or two arrays (image, text) of paired rows, needed; got {kind}")
    about = features.about
    known = {
        "title": f"{about.name} by {features.encoder}",
        "labels": _labels(features),
        "texts": features.pairs.get("text"),
        "root": about.root,
        "dataset": about.name,
        "encoder": features.encoder,
    }
    return *features.paired(), known


def _gap(gap, features, image, text):
    """The gap to move along, and in words where it comes from."""
    if gap is not None:
        return modulate.check_gap(gap, image, text), "as given"
    if hasattr(features, "paired"):
        return measures.gap_vector(*features.paired("train")), "fitted on training pairs"
    return measures.gap_vector(image, text), "fitted on these pairs"


def _labels(features):
    """One name a pair; of several labels, all that hold."""
    if features.about.task != "multilabel":
        return features.pairs.get("label")
    names = np.array(label_columns(features.about), object)
    held = features.pairs[list(names)].to_numpy(bool)
    return [" + ".join(names[row]) or "none" for row in held]


def _umap(umap, total, drawn):
    if umap is None:
        return None
    lams, at = umap
    if np.shape(at) != (len(lams), 2, total, 2) or drawn < total or len(lams) < 2:
        raise ValueError(
            f"umap: needed two lambdas or more, and both modalities of all {total} pairs drawn (n={drawn}); "
            f"got {len(lams)} lambdas and an array of shape {np.shape(at)}"
        )
    return {"lams": [float(lam) for lam in lams], "at": pack(at)}


def _curves(sweep, dataset, encoder):
    """Mean and deviation over seeds of the test AUC, one curve a cell of the sweep, named by what tells them apart."""
    if sweep is None:
        return []
    from gaplib.sweep.scores import CELL, curve

    table = curve(getattr(sweep, "table", sweep)).dropna(subset="mean")
    table = table.fillna({"std": 0})  # a single seed has no deviation
    which = ""
    if dataset is not None:
        table = table[(table["dataset"] == dataset) & (table["encoder"] == encoder)]
        which = f" of {dataset} by {encoder}"
    cells = [cell for _, cell in table.groupby(CELL, sort=False)]
    if not 0 < len(cells) <= CURVES:
        raise ValueError(f"sweep: from 1 to {CURVES} curves can be shown, it holds {len(cells)}{which}")
    differ = [column for column in CELL if table[column].nunique() > 1]
    return [_curve(cell, differ) for cell in cells]


def _curve(cell, differ):
    name = ", ".join(str(cell[column].iloc[0]) for column in differ)
    return {"name": name or "test AUC"} | cell.sort_values("lam")[["lam", "mean", "std"]].to_dict("list")

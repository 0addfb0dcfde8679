"""The lambda explorer: one self-contained page in which the reader moves both clouds by hand.

The page holds numbers, not frames: along fixed directions a moved row is (x.axis + s gap.axis) / |x'|, so that the
browser computes every lambda exactly. What depends on all rows is computed here, for each lambda the slider can take.
"""

import base64
import html
import io
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from gaplib import gap as measures
from gaplib import modulate, project, rows
from gaplib.datasets.pairs import label_columns, open_image
from gaplib.modulate import by_lambda

__all__ = ["Explorer", "explore"]


def __dir__():  # what tab completion shows
    return __all__


PAGE = Path(__file__).with_name("page.html")
STEP = 0.005
LAMS = np.round(np.arange(-0.5, 1.5 + STEP / 2, STEP), 3)
MEASURES = {
    "centroid_distance": "centroid distance",
    "mean_cosine_image": "mean cosine, images",
    "mean_cosine_text": "mean cosine, texts",
    "paired_cosine": "paired cosine",
    "relative_gap": "relative gap (RMG)",
}
COLOURS = 7  # labels with a colour of their own; the others share grey
CURVES = 8  # that can still be told apart
TEXT = 200  # characters shown of a text
ARCS = 100
THUMBNAIL = 72


@dataclass(frozen=True)
class Explorer:
    """A page that shows itself in a notebook, and can be saved."""

    title: str
    page: str = field(repr=False)

    def _repr_html_(self):
        # A frame keeps the page's styles and names apart from the notebook's, and survives export to HTML.
        style = "width: 100%; height: 900px; border: 0"
        return f'<iframe title="{html.escape(self.title)}" style="{style}" srcdoc="{html.escape(self.page)}"></iframe>'

    def save(self, path):
        """Write the page as one HTML file that needs no kernel and no network; returns its path."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.part")
        unfinished.write_text(self.page, encoding="utf-8")
        return unfinished.replace(path)


def explore(
    features, labels=None, n=2000, seed=0, sweep=None, gap=None, texts=None, images=None, umap=None, title=None
):
    """Both clouds, moved by a slider for lambda, with the measures of the gap beside them.

    Parameters
    ----------
    features : features.Features, or (ndarray, ndarray)
        Pairs: features, or image and text rows of unit norm, paired, at least two.
    labels : sequence, optional
        What to colour by, one a pair; by default the labels of the features.
    n : int
        Pairs drawn, chosen by `seed`. The measures are of all pairs.
    seed : int
    sweep : sweep.Sweep or DataFrame, optional
        A sweep or its table, for the curve of the test AUC. With features, only their dataset and encoder count.
    gap : ndarray of shape (d,), optional
        The gap vector to move along; by default that of the training rows of the features, or of the rows given.
    texts : sequence of str, optional
        Shown under the pointer, one a pair; by default those of the features.
    images : sequence of bytes or str, optional
        As in a pair table, one a pair: encoded files, or paths (under the image root of the features). Shown small.
    umap : (sequence of float, ndarray), optional
        From `project.umap_by_lambda` of the same pairs, all of which must be drawn.
    title : str, optional

    Returns
    -------
    Explorer

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
    gap_of = "fitted on these pairs" if gap is None else "as given"
    if isinstance(features, (tuple, list)):
        (image, text), root, curves = features, None, _curves(sweep)
    else:
        image, text = features.paired()
        if gap is None:
            gap, gap_of = measures.gap_vector(*features.paired("train")), "fitted on training pairs"
        labels = _labels(features) if labels is None else labels
        texts = features.pairs["text"] if texts is None else texts
        title = title or f"{features.about.name} by {features.encoder}"
        root, curves = features.about.root, _curves(sweep, features.about.name, features.encoder)
    image, text = rows.check_pairs(image, text, least=2)
    gap = modulate.check_gap(gap, image, text)
    chosen = rows.sample(np.arange(len(image)), n, seed)
    for name, values in (("labels", labels), ("texts", texts), ("images", images)):
        if values is not None and len(values) != len(image):
            raise ValueError(f"{name}: one a pair needed, got {len(values)} for {len(image)} pairs")
    data = {
        "title": title or "Images and texts",
        "n": len(chosen),
        "total": len(image),
        "seed": seed,
        "gap_of": gap_of,
        "pair": chosen.tolist(),
        "arcs": ARCS,
        "measures": list(MEASURES),
        "names": list(MEASURES.values()),
        "first": float(LAMS[0]),
        "step": STEP,
        "steps": len(LAMS),
        "numbers": _pack(by_lambda(image, text, LAMS, gap)[list(MEASURES)].to_numpy().T),
        "curves": curves,
        "labels": _codes(labels, chosen),
        "texts": None if texts is None else [_short(t) for t in np.asarray(texts, object)[chosen]],
        "thumbs": None if images is None else _thumbnails(np.asarray(images, object)[chosen], root, chosen),
        "umap": _umap(umap, len(image), len(chosen)),
    }
    data |= _geometry(np.asarray(image[chosen], float), np.asarray(text[chosen], float), gap, seed)
    # Inside a script element only "<" can end it early.
    filled = json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    return Explorer(data["title"], PAGE.read_text(encoding="utf-8").replace("__DATA__", filled))


def _geometry(image, text, gap, seed):
    """What the browser needs to move the rows drawn, and the plane of the two axes along which the gap is longest."""
    axes = project.shared_pca(image, text, 3)
    axes = np.pad(axes, ((0, 3 - len(axes)), (0, 0)))
    along = axes @ gap
    plane = np.sort(np.argsort(-np.abs(along), kind="stable")[:2])
    # The rows in one random cycle: everybody's unpaired partner is the next.
    order = np.random.default_rng(seed).permutation(len(image))
    partner = np.empty_like(order)
    partner[order] = np.roll(order, 1)
    cosines = [np.einsum("ij,ij->i", image, text[other]) for other in (np.arange(len(text)), partner)]
    return {
        "rows": _pack([np.column_stack([x @ axes.T, x @ gap]) for x in (image, text)]),
        "pairs": _pack(np.column_stack([cosines[0], partner, cosines[1]])),
        "gap": along.tolist(),
        "gap2": float(gap @ gap),
        "plane": plane.tolist(),
        "held": float(np.linalg.norm(along[plane]) / max(np.linalg.norm(gap), project.SHORT)),
    }


def _pack(numbers):
    return base64.b64encode(np.asarray(numbers, "<f4").tobytes()).decode()


def _short(text):
    text = str(text)
    return text if len(text) <= TEXT else text[: TEXT - 1] + "\u2026"


def _labels(features):
    """One name a pair; of several labels, all that hold."""
    about, table = features.about, features.pairs
    if about.task != "multilabel":
        return table["label"]
    names = np.array(label_columns(about), object)
    return [" + ".join(names[row]) or "none" for row in table[list(names)].to_numpy(bool)]


def _codes(labels, chosen):
    if labels is None:
        return None
    codes, names = pd.factorize(pd.Series(list(labels)).astype(str)[chosen])
    common = np.argsort(-np.bincount(codes), kind="stable")
    colour = np.full(len(names), COLOURS)
    colour[common[:COLOURS]] = np.arange(min(COLOURS, len(names)))
    shown = [names[c] for c in common[:COLOURS]]
    shown += [f"{len(names) - COLOURS} others"] * (len(names) > COLOURS)
    return {
        "codes": colour[codes].tolist(),
        "shown": [_short(s) for s in shown],
        "all": codes.tolist(),
        "names": [_short(s) for s in names],
    }


def _thumbnails(images, root, chosen):
    index, distinct = pd.factorize(images)
    first = chosen[pd.Series(index).drop_duplicates().index]
    pictures = [_picture(open_image(i, root, f"images, row {r}")) for i, r in zip(distinct, first, strict=True)]
    return {"index": index.tolist(), "pictures": pictures}


def _picture(image):
    image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=60)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def _umap(umap, total, drawn):
    if umap is None:
        return None
    lams, at = umap
    if np.shape(at) != (len(lams), 2, total, 2) or drawn < total or len(lams) < 2:
        raise ValueError(
            f"umap: needed two lambdas or more, and both modalities of all {total} pairs drawn (n={drawn}); "
            f"got {len(lams)} lambdas and an array of shape {np.shape(at)}"
        )
    return {"lams": [float(lam) for lam in lams], "at": _pack(at)}


def _curves(sweep, dataset=None, encoder=None):
    """Mean and deviation over seeds of the test AUC, one curve a cell of the sweep, named by what tells them apart."""
    if sweep is None:
        return []
    from gaplib.sweep.scores import CELL, curve

    table = curve(getattr(sweep, "table", sweep)).fillna({"std": 0})  # a single seed has no deviation
    if dataset is not None:
        table = table[(table["dataset"] == dataset) & (table["encoder"] == encoder)]
    cells = table.groupby(CELL, sort=False)
    if not 0 < len(cells) <= CURVES:
        which = f" of {dataset} by {encoder}" if dataset is not None else ""
        raise ValueError(f"sweep: from 1 to {CURVES} curves can be shown, it holds {len(cells)}{which}")
    told = [c for c in CELL if table[c].nunique() > 1]
    return [
        {"name": ", ".join(str(group[c].iloc[0]) for c in told) or "test AUC"}
        | group.sort_values("lam")[["lam", "mean", "std"]].to_dict("list")
        for _, group in cells
    ]

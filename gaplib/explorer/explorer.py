"""The lambda explorer: one self-contained page in which the reader moves both clouds by hand.

The page holds numbers, not frames: along fixed directions a moved row is (x.axis + s gap.axis) / |x'|, so that the
browser computes every lambda exactly. What depends on all rows is computed here, for each lambda the slider can take.
"""

import html
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from gaplib import gap as measures
from gaplib import modulate, project, rows
from gaplib.datasets.pairs import label_columns
from gaplib.explorer.marks import coloured, one_a_pair, pack, short, short_texts, thumbnails
from gaplib.modulate import by_lambda

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
CURVES = 8  # that can still be told apart
ARCS = 100


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
        Pairs: features, or image and text rows of unit norm, paired, at least two.
    labels : sequence, optional
        What to colour by, one a pair; by default the labels of the features. More than seven different floats become a
        continuous scale; of names, the most frequent have a colour of their own. None, NaN and "" are "no label".
    n : int
        Pairs drawn, chosen by `seed`. The measures are of all pairs.
    seed : int
    sweep : sweep.Sweep or DataFrame, optional
        A sweep or its table, for the curve of the test AUC. With features, only their dataset and encoder count.
    gap : ndarray of shape (d,), optional
        The gap vector to move along; by default that of the training rows of the features, or of the rows given.
    texts : sequence of str, optional
        Shown under the pointer, one a pair; by default those of the features.
    images : sequence, optional
        Shown small, one a pair: as in a pair table (encoded files, or paths under the image root of the features), PIL
        images, arrays of 8-bit numbers, or None for no image.
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
    given = _given(features, gap)
    image, text = rows.check_pairs(given.image, given.text, least=2)
    gap = modulate.check_gap(given.gap, image, text)
    total = len(image)
    chosen = rows.sample(np.arange(total), n, seed)
    labels = one_a_pair(given.labels if labels is None else labels, "labels", chosen, total)
    texts = one_a_pair(given.texts if texts is None else texts, "texts", chosen, total)
    images = one_a_pair(images, "images", chosen, total)
    data = {
        "title": short(title or given.title),
        "n": len(chosen),
        "total": total,
        "seed": int(seed),
        "gap_of": given.gap_of,
        "pair": chosen.tolist(),
        "arcs": ARCS,
        "curves": _curves(sweep, given.dataset, given.encoder),
        "labels": coloured(labels),
        "texts": short_texts(texts),
        "thumbs": thumbnails(images, chosen, given.root),
        "umap": _umap(umap, total, len(chosen)),
    }
    data |= _numbers(image, text, gap)
    data |= _geometry(np.asarray(image[chosen], float), np.asarray(text[chosen], float), gap, seed)
    # Inside a script element only "<" can end it early.
    filled = json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    return Explorer(data["title"], PAGE.read_text(encoding="utf-8").replace("__DATA__", filled))


class _Given(NamedTuple):
    """What the first argument of `explore` gives: rows, and what the others are by default."""

    image: np.ndarray
    text: np.ndarray
    gap: np.ndarray | None
    gap_of: str
    labels: Sequence | None = None
    texts: Sequence | None = None
    title: str = "Images and texts"
    root: Path | None = None
    dataset: str | None = None
    encoder: str | None = None


def _given(features, gap):
    if isinstance(features, tuple | list) and len(features) == 2:
        return _Given(*features, gap, "fitted on these pairs" if gap is None else "as given")
    if not hasattr(features, "paired"):
        kind = type(features).__name__
        raise ValueError(f"features: Features, or two arrays (image, text) of paired rows, needed; got {kind}")
    gap_of = "as given"
    if gap is None:
        gap = measures.gap_vector(*features.paired("train"))
        gap_of = "fitted on training pairs"
    return _Given(
        *features.paired(),
        gap,
        gap_of,
        labels=_labels(features),
        texts=features.pairs.get("text"),
        title=f"{features.about.name} by {features.encoder}",
        root=features.about.root,
        dataset=features.about.name,
        encoder=features.encoder,
    )


def _labels(features):
    """One name a pair; of several labels, all that hold."""
    if features.about.task != "multilabel":
        return features.pairs.get("label")
    names = np.array(label_columns(features.about), object)
    held = features.pairs[list(names)].to_numpy(bool)
    return [" + ".join(names[row]) or "none" for row in held]


def _numbers(image, text, gap):
    """The measures of all rows at every place of the slider."""
    table = by_lambda(image, text, LAMS, gap)
    return {
        "measures": list(MEASURES),
        "names": list(MEASURES.values()),
        "first": float(LAMS[0]),
        "step": STEP,
        "steps": len(LAMS),
        "numbers": pack(table[list(MEASURES)].to_numpy().T),
    }


def _geometry(image, text, gap, seed):
    """What the browser needs to move the rows drawn, and the plane of the two axes along which the gap is longest."""
    axes = project.shared_pca(image, text, 3)
    axes = np.pad(axes, ((0, 3 - len(axes)), (0, 0)))  # rows may be narrower than that
    along = axes @ gap
    longest_first = np.argsort(-np.abs(along), kind="stable")
    plane = np.sort(longest_first[:2])
    length = max(np.linalg.norm(gap), project.SHORT)
    partner = _partners(len(image), seed)
    seen_images = np.column_stack([image @ axes.T, image @ gap])
    seen_texts = np.column_stack([text @ axes.T, text @ gap])
    paired = np.einsum("ij,ij->i", image, text)
    unpaired = np.einsum("ij,ij->i", image, text[partner])
    return {
        "rows": pack(np.stack([seen_images, seen_texts])),
        "pairs": pack(np.column_stack([paired, partner, unpaired])),
        "gap": along.tolist(),
        "gap2": float(gap @ gap),
        "plane": plane.tolist(),
        "held": float(np.linalg.norm(along[plane]) / length),
    }


def _partners(n, seed):
    """For each row another one, unpaired: the next in one random cycle of all."""
    order = np.random.default_rng(seed).permutation(n)
    partner = np.empty_like(order)
    partner[order] = np.roll(order, 1)
    return partner


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
    told = [column for column in CELL if table[column].nunique() > 1]
    return [_curve(cell, told) for cell in cells]


def _curve(cell, told):
    names = [str(cell[column].iloc[0]) for column in told]
    numbers = cell.sort_values("lam")[["lam", "mean", "std"]].to_dict("list")
    return {"name": ", ".join(names) or "test AUC"} | numbers

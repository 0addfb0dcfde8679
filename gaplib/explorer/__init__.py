"""The lambda explorer: a self-contained page in which the reader moves both clouds by hand, of one encoder or more."""

import html
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gaplib import gap as measures
from gaplib import modulate, paths, rows
from gaplib.datasets.pairs import label_columns
from gaplib.explorer.geometry import ARCS, LAMS, MATRIX, SLIDER, box, by_cluster, pack, panel
from gaplib.explorer.marks import coloured, one_a_pair, ramp, short, thumbnails

__all__ = ["Explorer", "compare", "explore"]

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
            with paths.whole(path) as unfinished:
                unfinished.write_text(self.page, encoding="utf-8")
        except OSError as error:
            reason = error.strerror or error
            raise OSError(f"cannot save the page as {path}: {reason}; name a file where you may write") from error
        return path


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
    encoded = _encoded(features, gap)
    total = len(encoded.image)
    drawn = rows.sample(np.arange(total), n, seed)
    besides = {
        "curves": _curves(sweep, encoded.known.get("dataset"), encoded.known.get("encoder")),
        "umap": _umap(umap, total, len(drawn)),
    }
    title = title or encoded.known.get("title", "Images and texts")
    shown = {"labels": labels, "texts": texts, "images": images}
    return _explorer([encoded], [title], shown, drawn, seed, title, besides)


def compare(
    *encoded: Any,
    names: Sequence[str] | None = None,
    labels: Sequence | None = None,
    n: int = 2000,
    seed: int = 0,
    texts: Sequence | None = None,
    images: Sequence | None = None,
    title: str | None = None,
) -> Explorer:
    """The same pairs by two encoders or more, or before and after a move, side by side: one slider, linked pointers.

    Each has its own gap, measures, plane, sphere and cosines as in `explore`. Planes are drawn to one scale and cosines
    to one axis. The matrix of cosines is of 60 of the pairs drawn, chosen by `seed`, and has one order for all.

    Parameters
    ----------
    *encoded : features.Features, or (ndarray, ndarray)
        Row i of each is pair i. Widths may differ. For a move: the rows as encoded, and what `modulate` makes of them.
    names : sequence of str, optional
        One each; by default the encoders of features.
    labels, texts, images : sequence, optional
        As in `explore`; by default those of the first that has any.
    n, seed : int
        As in `explore`.
    title : str, optional

    Raises
    ------
    ValueError
        If there are fewer than two, their pairs are not the same, their names are missing or alike, or as in `explore`.

    Examples
    --------
    >>> from gaplib import modulate
    >>> image, text = np.eye(8), np.roll(np.eye(8), 1, axis=1)
    >>> compare((image, text), modulate.centre(image, text), names=["as encoded", "centred"])
    Explorer(title='as encoded, centred')
    """
    if len(encoded) < 2:
        raise ValueError(f"compare: two or more are needed, got {len(encoded)}; `explore` shows one")
    encoded = [_encoded(one) for one in encoded]
    names = _names(names, encoded)
    _check_same_pairs(encoded, names)
    drawn = rows.sample(np.arange(len(encoded[0].image)), n, seed)
    datasets = dict.fromkeys(one.known["dataset"] for one in encoded if one.known)
    title = title or ": ".join([*datasets, ", ".join(names)])
    return _explorer(encoded, names, {"labels": labels, "texts": texts, "images": images}, drawn, seed, title)


def _explorer(encoded, names, shown, drawn, seed, title, besides=None):
    """The page of one panel each. What is shown of a pair is, unless given, as the first knows it that does."""
    known = next((one.known for one in encoded if one.known), {})
    total = len(encoded[0].image)
    shown = {name: known.get(name) if values is None else values for name, values in shown.items()}
    shown = {name: one_a_pair(values, name, drawn, total) for name, values in shown.items()}
    both = [(np.asarray(one.image[drawn], float), np.asarray(one.text[drawn], float)) for one in encoded]
    sampled = rows.sample(np.arange(len(drawn)), MATRIX, seed)
    ordered = sampled[by_cluster([(image[sampled], text[sampled]) for image, text in both])]
    data = {
        "title": short(title),
        "n": len(drawn),
        "total": total,
        "seed": int(seed),
        "pair": drawn.tolist(),
        "ordered": ordered.tolist(),
        "arcs": np.linspace(0, len(drawn) - 1, min(len(drawn), ARCS), dtype=int).tolist(),
        "labels": coloured(shown["labels"]),
        "texts": shown["texts"] and [short(text) for text in shown["texts"]],
        "thumbs": thumbnails(shown["images"], drawn, known.get("root")),
        "shades": ramp(),
        "panels": [_panel(*each, ordered, seed) for each in zip(encoded, names, both, strict=True)],
    }
    data["panels"][0] |= besides or {}
    return Explorer(data["title"], _filled(data | SLIDER))


def _panel(encoded, name, both, ordered, seed):
    """What one encoder makes of the pairs drawn; its measures are of all pairs."""
    numbers = modulate.by_lambda(encoded.image, encoded.text, LAMS, encoded.gap)[list(modulate.LABELS)]
    about = {"name": short(name), "gap_of": encoded.gap_of, "numbers": pack(numbers.to_numpy().T)}
    return about | panel(*both, encoded.gap, ordered, seed)


def _filled(data):
    """The page with its data. Inside a script element only "<" can end it early."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    return PAGE.read_text(encoding="utf-8").replace("__DATA__", text)


@dataclass(frozen=True)
class _Encoded:
    """Image and text rows of pairs, the gap that they are moved along, and what features know of them besides."""

    image: np.ndarray
    text: np.ndarray
    gap: np.ndarray
    gap_of: str
    known: dict


def _encoded(features, gap=None):
    """The rows of features or of two arrays; unless given, the gap is that of their training pairs, or of all."""
    is_features = hasattr(features, "paired")
    if is_features:
        image, text = features.paired()
    elif isinstance(features, tuple | list) and len(features) == 2:
        image, text = features
    else:
        kind = type(features).__name__
        raise ValueError(f"features: Features, or two arrays (image, text) of paired rows, needed; got {kind}")
    image, text = rows.check_pairs(image, text, least=2)
    known = _known(features) if is_features else {}
    if gap is not None:
        return _Encoded(image, text, modulate.check_gap(gap, image, text), "as given", known)
    if is_features:
        return _Encoded(image, text, measures.gap_vector(*features.paired("train")), "fitted on training pairs", known)
    return _Encoded(image, text, measures.gap_vector(image, text), "fitted on these pairs", known)


def _known(features):
    about = features.about
    return {
        "title": f"{about.name} by {features.encoder}",
        "labels": _labels(features),
        "texts": features.pairs.get("text"),
        "root": about.root,
        "dataset": about.name,
        "encoder": features.encoder,
    }


def _names(names, encoded):
    """One name each, all different."""
    if names is None:
        names = [one.known.get("encoder") for one in encoded]
    names = [names] if isinstance(names, str) else list(names)
    if len(names) != len(encoded) or None in names or len(set(names)) < len(names):
        raise ValueError(f"names: a different one for each of the {len(encoded)} needed, got {names}")
    return [str(name) for name in names]


def _check_same_pairs(encoded, names):
    """As many rows, and the same texts where these are known."""
    sizes = [len(one.image) for one in encoded]
    if len(set(sizes)) > 1:
        raise ValueError(f"compare: the same pairs of all needed, got {dict(zip(names, sizes, strict=True))} pairs")
    texts = [np.asarray(one.known["texts"], object) for one in encoded if one.known]
    for other in texts[1:]:
        differ = np.flatnonzero(texts[0] != other)
        if len(differ):
            raise ValueError(f"compare: the same pairs of all needed; the text of pair {differ[0]} is not the same")


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
    # UMAP throws a few rows that have no neighbours but each other far out: the rest stays readable.
    low, high = np.quantile(at, [0.01, 0.99], axis=(0, 1, 2))
    return {"lams": [float(lam) for lam in lams], "at": pack(at)} | box(low - 0.5, high + 0.5)


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
    """One cell's, with a band of one deviation, and for each place of the slider what lies on its line."""
    cell = cell.sort_values("lam").assign(low=cell["mean"] - cell["std"], high=cell["mean"] + cell["std"])
    line = np.interp(LAMS, cell["lam"], cell["mean"], left=np.nan, right=np.nan)
    name = ", ".join(str(cell[column].iloc[0]) for column in differ)
    columns = cell[["lam", "mean", "low", "high"]].to_dict("list")
    return columns | {"name": name or "test AUC", "line": [None if np.isnan(v) else v for v in line]}

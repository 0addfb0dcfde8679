"""Figures that move: a tidy table in, a GIF out."""

import io
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.collections import LineCollection
from PIL import Image

from gaplib.plots import style
from gaplib.plots.clouds import LAMBDA, _modalities, caption

BETWEEN = 4  # frames a step of lambda
FRAME, REST = 80, 900  # milliseconds, of a frame and of the first and last one
DPI = 110
COLUMNS = 4
SHOWN = 0.01  # of the points may lie outside the panel, to each side


def umap_by_lambda(table, path):
    """One UMAP of both modalities at all lambdas, one panel a dataset, as lambda rises and falls.

    Parameters
    ----------
    table : DataFrame
        dataset, encoder, lam, pair, modality, x, y, seed; from `project.umap_by_lambda`, one encoder a dataset, the
        same lambdas in each.
    path : Path
        Of the GIF.

    Returns
    -------
    Path
    """
    views = {name: _frames(view) for name, view in table.groupby("dataset", sort=False)}
    lams = np.sort(table["lam"].unique())
    columns = min(len(views), COLUMNS)
    lines, side = -(-len(views) // columns), style.WIDE / max(columns, 2)
    fig, axes = plt.subplots(lines, columns, squeeze=False, figsize=(style.WIDE, lines * (side + 0.2) + 0.6))
    for ax in axes.flat[len(views) :]:
        ax.set_axis_off()
    n, seed = table.groupby("dataset")["pair"].nunique().max(), table["seed"].iloc[0]
    _modalities(fig)
    far = f"up to {400 * SHOWN:g} % of the points lie outside"
    caption(fig, f"One UMAP a panel, fitted over all lambdas at once, {n} pairs, seed {seed}; {far}. {LAMBDA}")
    pictures = []
    for place in np.linspace(0, len(lams) - 1, BETWEEN * (len(lams) - 1) + 1):
        for ax, (dataset, view) in zip(axes.flat, views.items(), strict=False):
            _panel(ax, view, place)
            ax.set_title(f"{dataset}\n{table.loc[table['dataset'] == dataset, 'encoder'].iloc[0]}")
        fig.suptitle(f"lambda = {np.interp(place, range(len(lams)), lams):.2f}", x=0.02, ha="left", size=9)
        fig.savefig(buffer := io.BytesIO(), dpi=DPI)
        fig.set_layout_engine("none")  # so that later frames stand where the first one does
        pictures.append(Image.open(buffer).convert("RGB").quantize(64))
    plt.close(fig)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    durations = [REST, *[FRAME] * (len(pictures) - 2), REST, *[FRAME] * (len(pictures) - 2)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:] + pictures[-2:0:-1], duration=durations, loop=0)
    return path


def _frames(view):
    """Coordinates of one panel, (lambdas, modalities, pairs, 2)."""
    view = view.sort_values(["lam", "modality", "pair"])
    return view[["x", "y"]].to_numpy().reshape(view["lam"].nunique(), 2, -1, 2)


def _panel(ax, view, place):
    before = min(int(place), len(view) - 2)
    image, text = view[before] + (place - before) * (view[before + 1] - view[before])
    ax.clear()
    ax.add_collection(LineCollection(np.stack([image, text], 1), colors="black", linewidths=0.2, alpha=0.1))
    for xy, colour in ((image, style.IMAGE), (text, style.TEXT)):
        ax.scatter(*xy.T, s=5, color=colour, alpha=0.8, linewidths=0)
    # UMAP throws a few rows that have no neighbours but each other far out; for them nobody need go blind.
    low, high = np.quantile(view, [SHOWN, 1 - SHOWN], axis=(0, 1, 2))
    half, middle = 0.55 * (high - low).max(), (low + high) / 2
    ax.set(xticks=[], yticks=[], xlim=middle[0] + [-half, half], ylim=middle[1] + [-half, half], aspect="equal")
    ax.spines[["left", "bottom"]].set_visible(False)

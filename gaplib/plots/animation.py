"""Figures that move: a tidy table in, a GIF out."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from gaplib.plots import layout, style

BETWEEN = 4  # frames a step of lambda
FPS = 12.5
REST = 11  # frames for which the first and the last one stand still
DPI = 110
MOST = 4  # panels in a row
SHOWN = 0.01  # of the points may lie outside the panel, to each side


def umap_by_lambda(table: pd.DataFrame, path: str | Path) -> Path:
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
    layout.check_rows(table)
    lams = np.sort(table["lam"].unique())
    names = layout.datasets(table)
    columns = -(-len(names) // -(-len(names) // MOST))  # of six, three: natural ones above medical ones
    fig, axes = layout.panels(len(names), columns, style.WIDE / max(columns, 2) + 0.2, 0.6)
    moving = []
    for ax, (name, domain) in zip(axes.flat, names.items(), strict=False):
        moving.append(_Panel(ax, table[table["dataset"] == name]))
        ax.set_title(f"{name}\n{moving[-1].encoder}", color=style.DOMAIN.get(domain, "black"))
    _write(fig, table)

    def draw(place):
        for panel in moving:
            panel.move(place)
        fig.suptitle(f"lambda = {np.interp(place, range(len(lams)), lams):.2f}", x=0.02, ha="left", size=9)

    draw(0)
    fig.draw_without_rendering()
    fig.set_layout_engine("none")  # so that later frames stand where the first one does
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    FuncAnimation(fig, draw, _there_and_back(len(lams) - 1)).save(path, _Writer(FPS), dpi=DPI)
    plt.close(fig)
    return path


def _there_and_back(steps):
    """Places among the lambdas, one a frame."""
    places = np.linspace(0, steps, BETWEEN * steps + 1)
    there = np.r_[np.repeat(places[0], REST), places[1:-1], np.repeat(places[-1], REST)]
    return np.r_[there, places[-2:0:-1]]


def _write(fig, table):
    layout.legend_of_modalities(fig)
    n = table.groupby("dataset")["pair"].nunique().max()
    far = f"up to {400 * SHOWN:g} % of the points lie outside"
    layout.caption(
        fig,
        f"One UMAP a panel, fitted over all lambdas at once, {n} pairs, seed {table['seed'].iloc[0]}; {far}. "
        f"{layout.LAMBDA}",
    )


class _Writer(PillowWriter):
    """A GIF of 64 colours, which makes it a fifth smaller."""

    def finish(self):
        self._frames = [frame.quantize(64) for frame in self._frames]
        super().finish()


class _Panel:
    """The clouds of one dataset, (lambdas, modalities, pairs, 2), drawn on axes, and moved."""

    def __init__(self, ax: Axes, view: pd.DataFrame):
        self.encoder = view["encoder"].iloc[0]
        view = view.sort_values(["lam", "modality", "pair"])
        self.at = view[["x", "y"]].to_numpy().reshape(view["lam"].nunique(), 2, -1, 2)
        self.pairs = LineCollection([], colors="black", linewidths=0.2, alpha=0.1)
        ax.add_collection(self.pairs)
        self.image = ax.scatter([], [], s=5, color=style.IMAGE, alpha=0.8, linewidths=0)
        self.text = ax.scatter([], [], s=5, color=style.TEXT, alpha=0.8, linewidths=0)
        # UMAP throws a few rows that have no neighbours but each other far out; for them nobody need go blind.
        low, high = np.quantile(self.at, [SHOWN, 1 - SHOWN], axis=(0, 1, 2))
        half = 0.55 * (high - low).max()
        middle = (low + high) / 2
        ax.set(xticks=[], yticks=[], xlim=middle[0] + [-half, half], ylim=middle[1] + [-half, half], aspect="equal")
        ax.spines[["left", "bottom"]].set_visible(False)

    def move(self, place):
        """To a place among the lambdas; between two, on the line from one to the other."""
        before = min(int(place), len(self.at) - 2)
        image, text = self.at[before] + (place - before) * (self.at[before + 1] - self.at[before])
        self.pairs.set_segments(np.stack([image, text], 1))
        self.image.set_offsets(image)
        self.text.set_offsets(text)

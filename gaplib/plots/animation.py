"""Figures that move: a tidy table in, a GIF out."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from scipy.interpolate import make_interp_spline

from gaplib.plots import layout, style

BETWEEN = 4  # frames a step of lambda
FPS = 12.5
REST = 11  # frames for which the first and the last one stand still
DPI = 110
SHOWN = 0.01  # of the points may lie outside the panel, to each side


def umap_by_lambda(table: pd.DataFrame, path: str | Path) -> Path:
    """One UMAP of both modalities at all lambdas, one panel a dataset, as lambda rises and falls.

    Parameters
    ----------
    table : DataFrame
        dataset, encoder, lam, pair, modality, x, y, seed; from `project.umap_by_lambda`, one encoder a dataset, the
        same lambdas in each.
    path : Path
        Of the GIF; given back.
    """
    layout.check(table)
    lams = np.sort(table["lam"].unique())
    names = layout.datasets(table)
    fig, axes = layout.panels(len(names), 3, style.WIDE / 3 + 0.2, 0.6)  # of six, natural ones above medical ones
    views = [table[table["dataset"] == name] for name in names]
    moving = [_Panel(*each) for each in zip(axes.flat, views, names.values(), strict=False)]
    layout.legend_of_modalities(fig)
    n = table.groupby("dataset")["pair"].nunique().max()
    fitted = f"One UMAP a panel, fitted over all lambdas at once, {n} pairs, seed {table['seed'].iloc[0]}"
    layout.caption(fig, f"{fitted}; up to {400 * SHOWN:g} % of the points lie outside. {layout.LAMBDA}")

    def draw(lam):
        for panel in moving:
            panel.move(lam)
        fig.suptitle(f"lambda = {lam:.2f}", x=0.02, ha="left", size=9)

    draw(lams[0])
    fig.draw_without_rendering()
    fig.set_layout_engine("none")  # so that later frames stand where the first one does
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    rising = np.linspace(lams[0], lams[-1], BETWEEN * (len(lams) - 1) + 1)
    FuncAnimation(fig, draw, rising).save(path, _ThereAndBack(FPS), dpi=DPI)
    plt.close(fig)
    return path


class _ThereAndBack(PillowWriter):
    """A GIF of the frames and then back again, both ends at rest; of 64 colours, which makes it a fifth smaller."""

    def finish(self):
        first, *between, last = [frame.quantize(64) for frame in self._frames]
        self._frames = [first] * REST + between + [last] * REST + between[::-1]
        super().finish()


class _Panel:
    """The clouds of one dataset, drawn on axes, and moved to any lambda."""

    def __init__(self, ax: Axes, view: pd.DataFrame, domain: str):
        clouds = {lam: layout.coordinates(part, ["x", "y"]) for lam, part in view.groupby("lam")}
        at = np.stack(list(clouds.values()))
        self.at = make_interp_spline(list(clouds), at, k=1)  # between two lambdas, on the line from one to the other
        self.pairs = ax.add_collection(LineCollection([], colors="black", linewidths=0.2, alpha=0.1))
        colours = (style.IMAGE, style.TEXT)
        self.points = [ax.scatter([], [], s=5, color=colour, alpha=0.8, linewidths=0) for colour in colours]
        # UMAP throws a few rows that have no neighbours but each other far out; for them nobody need go blind.
        low, high = np.quantile(at, [SHOWN, 1 - SHOWN], axis=(0, 1, 2))
        half = 0.55 * (high - low).max()
        middle = (low + high) / 2
        ax.set_title(f"{view['dataset'].iloc[0]}\n{view['encoder'].iloc[0]}", color=style.DOMAIN[domain])
        ax.set(xticks=[], yticks=[], xlim=middle[0] + [-half, half], ylim=middle[1] + [-half, half], aspect="equal")
        ax.spines[["left", "bottom"]].set_visible(False)

    def move(self, lam):
        both = self.at(lam)
        self.pairs.set_segments(np.stack(both, 1))
        for points, xy in zip(self.points, both, strict=True):
            points.set_offsets(xy)

"""The clouds themselves: where rows lie and what cosines they have."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from mpl_toolkits.mplot3d.art3d import Line3DCollection

from gaplib.plots import layout, style
from gaplib.project import geodesic

KINDS = {  # colour of each kind of cosine
    "image - image": style.IMAGE,
    "text - text": style.TEXT,
    "unpaired": style.NEUTRAL,
    "paired": "black",
}


def cones_umap(table: pd.DataFrame) -> Figure:
    """Both modalities of every dataset and encoder in one UMAP each, pairs joined by thin lines.

    Parameters
    ----------
    table : DataFrame
        dataset, encoder, pair, modality, x, y, seed.
    """
    fig, cells = layout.grid(table, 1.75)
    for ax, cell in cells:
        _umap(ax, *layout.coordinates(cell, ["x", "y"]))
    layout.legend_of_modalities(fig, Line2D([], [], color="black", lw=0.5, alpha=0.5, label="pair"))
    n = table.groupby(["dataset", "encoder"])["pair"].nunique().max()
    layout.caption(
        fig,
        f"UMAP of both modalities together, cosine, up to {n} pairs a panel, seed {table['seed'].iloc[0]}; "
        "distances mean little.",
    )
    return fig


def _umap(ax: Axes, image: np.ndarray, text: np.ndarray) -> None:
    pairs = np.stack([image, text], 1)
    ax.add_collection(LineCollection(pairs, colors="black", linewidths=0.15, alpha=0.12, rasterized=True))
    for xy, colour in ((image, style.IMAGE), (text, style.TEXT)):
        ax.scatter(*xy.T, s=5, color="white", linewidths=0, rasterized=True)
        ax.scatter(*xy.T, s=2, color=colour, alpha=0.7, linewidths=0, rasterized=True)
    ax.set(xticks=[], yticks=[], aspect="equal", box_aspect=1, adjustable="datalim")
    ax.spines[["left", "bottom"]].set_visible(False)


def cones_sphere(table: pd.DataFrame) -> Figure:
    """Pairs on the sphere of the first three shared directions, as lambda closes the gap.

    Parameters
    ----------
    table : DataFrame
        dataset, encoder, lam, pair, modality, x, y, z; one encoder a dataset. Of more than three datasets, two stand
        side by side.
    """
    layout.check(table)
    names = layout.datasets(table)
    lams = table["lam"].unique()
    columns = len(lams) * (2 if len(names) > 3 else 1)
    height = min(2.3, style.WIDE / columns)
    view = {"projection": "3d", "computed_zorder": False}
    fig, axes = layout.panels(len(names) * len(lams), columns, height, 0.4, subplot_kw=view)
    for row, (dataset, domain) in zip(axes.reshape(-1, len(lams)), names.items(), strict=False):
        _spheres(row, table[table["dataset"] == dataset], lams, style.DOMAIN[domain])
    layout.legend_of_modalities(fig, Line2D([], [], color=style.NEUTRAL, lw=0.6, label="geodesic of a pair"))
    n = table.groupby(["dataset", "lam"])["pair"].nunique().max()
    axes_of = "Directions in the first three axes shared by both modalities and all lambdas"
    layout.caption(fig, f"{axes_of}, {n} pairs. {layout.LAMBDA}")
    return fig


def _spheres(axes: np.ndarray, view: pd.DataFrame, lams: np.ndarray, colour: str) -> None:
    """One dataset at every lambda, its name beside the first sphere in the colour of its domain."""
    # Look at the clouds from the front, a little from the side, and the same way at every lambda.
    azimuth = np.degrees(np.arctan2(view["y"].mean(), view["x"].mean())) + 20
    for ax, lam in zip(axes, lams, strict=True):
        _sphere(ax, *layout.coordinates(view[view["lam"] == lam], ["x", "y", "z"]))
        ax.view_init(15, azimuth)
        ax.set_title(f"lambda = {lam:g}", pad=-2)
    beside = {"rotation": 90, "ha": "center", "va": "center", "transform": axes[0].transAxes}
    axes[0].text2D(-0.12, 0.5, view["dataset"].iloc[0], color=colour, **beside)
    axes[0].text2D(-0.02, 0.5, view["encoder"].iloc[0], size=7, **beside)


def _sphere(ax: Axes, image: np.ndarray, text: np.ndarray) -> None:
    u, v = np.mgrid[0 : 2 * np.pi : 37j, 0 : np.pi : 19j]
    ball = (np.cos(u) * np.sin(v), np.sin(u) * np.sin(v), np.cos(v))
    ax.plot_surface(*ball, color="0.93", alpha=0.35, linewidth=0, shade=False, rasterized=True)
    ax.plot_wireframe(*ball, color="0.75", linewidth=0.2, rstride=3, cstride=3)
    arcs = Line3DCollection(geodesic(image, text), colors=style.NEUTRAL, linewidths=0.25, alpha=0.25, rasterized=True)
    ax.add_collection3d(arcs)
    for points, colour in ((image, style.IMAGE), (text, style.TEXT)):
        ax.scatter(*points.T, s=3, color=colour, alpha=0.8, linewidths=0, depthshade=False, rasterized=True)
    ax.set_box_aspect((1, 1, 1), zoom=1.45)
    ax.set_axis_off()


def cosines(table: pd.DataFrame) -> Figure:
    """Distributions of the cosines inside each modality, between unpaired and between paired rows.

    Parameters
    ----------
    table : DataFrame
        dataset, encoder, kind, cosine (bin centre), density, n.
    """
    fig, cells = layout.grid(table, 1.0, "cosine", sharex=True)
    for ax, cell in cells:
        for kind, colour in KINDS.items():
            part = cell[cell["kind"] == kind]
            ax.fill_between(part["cosine"], part["density"], color=colour, alpha=0.15, lw=0)
            ax.plot(part["cosine"], part["density"], color=colour, lw=1, label=kind)
        ax.set(yticks=[], ylim=(0, None), xlim=(-1, 1))
        ax.spines["left"].set_visible(False)
    layout.legend(fig, cells[0][0].lines, 4)
    n = table["n"].max()
    layout.caption(fig, f"Density of up to {n} cosines a curve, each of area 1, lambda = 0 (as encoded).")
    return fig

"""One function a figure: tidy tables in, a matplotlib figure out."""

import textwrap
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D

from gaplib.plots import style
from gaplib.project import geodesic

LAMBDA = "lambda: 0 as encoded, 1 centroids meet before renormalising."
KINDS = {  # colour and line style of each kind of cosine
    "image - image": (style.IMAGE, "-"),
    "text - text": (style.TEXT, "-"),
    "unpaired": (style.NEUTRAL, "-"),
    "paired": ("black", "-"),
}
MEASURES = {
    "centroid_distance": "centroid distance",
    "paired_cosine": "paired cosine",
    "relative_gap": "relative gap (RMG)",
}


def _grid(table, height, **options):
    """Axes for datasets (rows) by encoders (columns), titled, and the rows of `table` that belong to each."""
    datasets, encoders = table["dataset"].unique(), table["encoder"].unique()
    fig, axes = plt.subplots(
        len(datasets),
        len(encoders),
        squeeze=False,
        figsize=(style.WIDE, height * len(datasets) + 0.5),
        **options,
    )
    for ax, encoder in zip(axes[0], encoders, strict=True):
        ax.set_title(encoder)
    for row, dataset in zip(axes, datasets, strict=True):
        row[0].annotate(
            dataset,
            (0, 0.5),
            (-38, 0),
            "axes fraction",
            "offset points",
            rotation=90,
            va="center",
            ha="right",
            size=8,
        )
    cells = [
        (ax, table[(table["dataset"] == dataset) & (table["encoder"] == encoder)])
        for row, dataset in zip(axes, datasets, strict=True)
        for ax, encoder in zip(row, encoders, strict=True)
    ]
    return fig, axes, [(ax, cell) for ax, cell in cells if len(cell) or ax.set_axis_off()]


def _modalities(fig, extra=()):
    handles = [
        Line2D([], [], marker="o", ls="", ms=4, color=colour, label=name)
        for name, colour in (("image", style.IMAGE), ("text", style.TEXT))
    ]
    fig.legend(handles=[*handles, *extra], loc="outside upper right", ncols=4, handletextpad=0.2)


def caption(fig, text):
    """Write what a figure's reader must know under it, each line of the text wrapped."""
    lines = [textwrap.fill(line, 125) for line in text.split("\n")]
    fig.supxlabel("\n".join(lines), size=6.5, color=style.NEUTRAL, x=0.01, ha="left")


def cones_umap(table):
    """Both modalities of every dataset and encoder in one UMAP each, pairs joined by thin lines.

    Parameters
    ----------
    table : DataFrame
        dataset, encoder, pair, modality, x, y, seed.
    """
    fig, _, cells = _grid(table, 1.75)
    for ax, cell in cells:
        image, text = (
            cell[cell["modality"] == m].sort_values("pair")[["x", "y"]].to_numpy() for m in ("image", "text")
        )
        lines = LineCollection(np.stack([image, text], 1), colors="black", linewidths=0.15, alpha=0.12, rasterized=True)
        ax.add_collection(lines)
        for xy, colour in ((image, style.IMAGE), (text, style.TEXT)):
            ax.scatter(*xy.T, s=5, color="white", linewidths=0, rasterized=True)
            ax.scatter(*xy.T, s=2, color=colour, alpha=0.7, linewidths=0, rasterized=True)
        ax.set(xticks=[], yticks=[], aspect="equal", box_aspect=1)
        ax.set_adjustable("datalim")
        ax.spines[["left", "bottom"]].set_visible(False)
    _modalities(fig, [Line2D([], [], color="black", lw=0.5, alpha=0.5, label="pair")])
    n, seed = table.groupby(["dataset", "encoder"])["pair"].nunique().max(), table["seed"].iloc[0]
    caption(
        fig,
        f"UMAP of both modalities together, cosine, up to {n} pairs a panel, seed {seed}; distances mean little.",
    )
    return fig


def cones_sphere(table):
    """Pairs on the sphere of the first three shared directions, as lambda closes the gap.

    Parameters
    ----------
    table : DataFrame
        dataset, encoder, lam, pair, modality, x, y, z; one encoder a dataset.
    """
    datasets, lams = table["dataset"].unique(), table["lam"].unique()
    fig, axes = plt.subplots(
        len(datasets), len(lams), squeeze=False, figsize=(style.WIDE, 2.3 * len(datasets) + 0.4),
        subplot_kw={"projection": "3d", "computed_zorder": False},
    )  # fmt: skip
    for row, dataset in zip(axes, datasets, strict=True):
        view = table[table["dataset"] == dataset]
        # Look at the clouds from the front, a little from the side, and the same way at every lambda.
        east, north = view["y"].mean(), view["x"].mean()
        azimuth, elevation = np.degrees(np.arctan2(east, north)) + 20, 15
        for ax, lam in zip(row, lams, strict=True):
            _sphere(ax, view[view["lam"] == lam], elevation, azimuth)
            ax.set_title(f"lambda = {lam:g}", pad=-2)
        row[0].text2D(
            -0.08,
            0.5,
            f"{dataset}\n{view['encoder'].iloc[0]}",
            transform=row[0].transAxes,
            rotation=90,
            ha="center",
            va="center",
        )
    _modalities(fig, [Line2D([], [], color=style.NEUTRAL, lw=0.6, label="geodesic of a pair")])
    n = table.groupby(["dataset", "lam"])["pair"].nunique().max()
    caption(
        fig,
        f"Directions in the first three axes shared by both modalities and all lambdas, {n} pairs. {LAMBDA}",
    )
    return fig


def _sphere(ax, view, elevation, azimuth):
    u, v = np.mgrid[0 : 2 * np.pi : 37j, 0 : np.pi : 19j]
    ball = np.cos(u) * np.sin(v), np.sin(u) * np.sin(v), np.cos(v)
    ax.plot_surface(*ball, color="0.93", alpha=0.35, linewidth=0, shade=False, rasterized=True)
    ax.plot_wireframe(*ball, color="0.75", linewidth=0.2, rstride=3, cstride=3)
    image, text = (
        view[view["modality"] == m].sort_values("pair")[["x", "y", "z"]].to_numpy() for m in ("image", "text")
    )
    for arc in geodesic(image, text):
        ax.plot(*arc.T, color=style.NEUTRAL, lw=0.25, alpha=0.25, rasterized=True)
    for points, colour in ((image, style.IMAGE), (text, style.TEXT)):
        ax.scatter(*points.T, s=3, color=colour, alpha=0.8, linewidths=0, depthshade=False, rasterized=True)
    ax.view_init(elevation, azimuth)
    ax.set_box_aspect((1, 1, 1), zoom=1.45)
    ax.set_axis_off()


def cosines(table):
    """Distributions of the cosines inside each modality, between unpaired and between paired rows.

    Parameters
    ----------
    table : DataFrame
        dataset, encoder, kind, cosine (bin centre), density.
    """
    fig, axes, cells = _grid(table, 1.35, sharex=True)
    for ax, cell in cells:
        for kind, (colour, line) in KINDS.items():
            part = cell[cell["kind"] == kind]
            ax.fill_between(part["cosine"], part["density"], color=colour, alpha=0.15, lw=0)
            ax.plot(part["cosine"], part["density"], line, color=colour, lw=1)
        ax.set(yticks=[], ylim=(0, None), xlim=(-1, 1))
        ax.spines["left"].set_visible(False)
    for ax in axes[-1]:
        ax.set_xlabel("cosine")
    handles = [Line2D([], [], color=colour, label=kind) for kind, (colour, _) in KINDS.items()]
    fig.legend(handles=handles, loc="outside upper right", ncols=4)
    n = cell["n"].iloc[0]
    caption(fig, f"Density of up to {n} cosines a curve, each of area 1, lambda = 0 (as encoded).")
    return fig


def gap_by_lambda(table, note=""):
    """Measures of the gap as lambda closes it: one row a measure, one column a dataset, one line an encoder.

    Parameters
    ----------
    table : DataFrame
        dataset, encoder, encoder_domain, lam, measure, value.
    note : str
        What the caption adds.
    """
    datasets, encoders = table["dataset"].unique(), table["encoder"].unique()
    fig, axes = plt.subplots(
        len(MEASURES), len(datasets), squeeze=False, sharex=True, sharey="row", figsize=(style.WIDE, 5.4)
    )
    colours = [style.DOMAIN[table.loc[table["encoder"] == e, "encoder_domain"].iloc[0]] for e in encoders]
    for row, (measure, label) in zip(axes, MEASURES.items(), strict=True):
        for ax, dataset in zip(row, datasets, strict=True):
            for encoder, marker, colour in zip(encoders, cycle(style.MARKERS), colours, strict=False):
                rows = (table["dataset"] == dataset) & (table["encoder"] == encoder) & (table["measure"] == measure)
                ax.plot("lam", "value", data=table[rows], marker=marker, ms=3, color=colour, mfc="white", mew=0.8)
            ax.axhline(0, color="0.85", lw=0.6, zorder=0)
        row[0].set_ylabel(label)
    for ax, dataset in zip(axes[0], datasets, strict=True):
        ax.set_title(dataset)
    for ax in axes[-1]:
        ax.set_xlabel("lambda")
    caption(fig, f"{LAMBDA} {note}")
    handles = [
        Line2D([], [], marker=m, ms=4, mfc="white", color=c, label=e)
        for e, m, c in zip(encoders, cycle(style.MARKERS), colours, strict=False)
    ]
    fig.legend(handles=handles, loc="outside upper right", ncols=len(encoders))
    return fig


def auc_by_lambda(curves, chosen, note=""):
    """Test AUC against lambda: mean and sample standard deviation over seeds, validation-chosen lambda marked.

    Parameters
    ----------
    curves : DataFrame
        From `sweep.curve`.
    chosen : DataFrame
        From `sweep.choose`.
    note : str
        What the caption adds, such as the number of pairs and seeds.
    """
    fig, axes, cells = _grid(curves, 1.4, sharex=True)
    for ax, cell in cells:
        at = chosen.merge(cell[["dataset", "encoder"]].drop_duplicates())
        ax.fill_between(cell["lam"], cell["mean"] - cell["std"], cell["mean"] + cell["std"], color="0.8", lw=0)
        ax.plot(cell["lam"], cell["mean"], color="black")
        ax.plot(at["lam"], at["mean"], "o", ms=5, mfc=style.CHOSEN, mec="black", mew=0.8, clip_on=False, zorder=3)
        middle, half = cell["mean"].mean(), max(0.015, 0.75 * np.ptp(cell["mean"]) + cell["std"].max())
        ax.set(ylim=(middle - half, middle + half), xticks=[0, 0.5, 1])
        ax.yaxis.set_major_locator(plt.MaxNLocator(3))
        ax.ticklabel_format(useOffset=False)
    for ax in axes[-1]:
        ax.set_xlabel("lambda")
    caption(fig, f"{LAMBDA} {note}")
    fig.supylabel("test AUC (macro)", size=8)
    handle = Line2D([], [], marker="o", ls="", mfc=style.CHOSEN, mec="black", label="lambda chosen on validation data")
    band = Line2D([], [], color="0.8", lw=5, label="mean +- std over seeds")
    fig.legend(handles=[band, handle], loc="outside upper right", ncols=2)
    return fig


def sensitivity(table, note=""):
    """Range of the mean AUC curve over lambda, by cell, beside what seeds alone would give.

    Parameters
    ----------
    table : DataFrame
        From `sweep.sensitivity`, with dataset_domain and encoder_domain.
    note : str
        What the caption adds.
    """
    table = table.sort_values(["dataset_domain", "dataset", "encoder_domain", "encoder"]).reset_index(drop=True)
    fig, ax = plt.subplots(figsize=(style.WIDE, 0.22 * len(table) + 1.1))
    places = np.arange(len(table)) + 0.6 * table["dataset"].ne(table["dataset"].shift()).cumsum()
    ax.barh(places, table["by_chance_95"], height=0.8, color="0.88", lw=0)
    for domain, marker in (("medical", "o"), ("general", "s")):
        rows = table["encoder_domain"] == domain
        ax.plot(table.loc[rows, "range"], places[rows], marker, color=style.DOMAIN[domain], ms=5)
    ax.set_yticks(places, table["encoder"])
    ax.invert_yaxis()
    ax.set(xlim=(0, None), xlabel="sensitivity: max - min of the mean test AUC over lambda")
    for dataset, rows in table.groupby("dataset", sort=False).groups.items():
        label = f"{dataset}\n{table.loc[rows[0], 'dataset_domain']} data"
        ax.text(1.01, places[rows].mean(), label, transform=ax.get_yaxis_transform(), va="center", size=7)
    handles = [
        Line2D([], [], marker=marker, ls="", color=style.DOMAIN[domain], label=f"{domain} encoder")
        for domain, marker in (("medical", "o"), ("general", "s"))
    ]
    handles.append(Line2D([], [], color="0.88", lw=6, label="95 % of what seeds alone give"))
    fig.legend(handles=handles, loc="outside upper right", ncols=3)
    caption(fig, note)
    return fig

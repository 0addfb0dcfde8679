"""What figures share: the order of datasets, grids and lines of cells, the scale of differences, legends, captions."""

import textwrap
from collections.abc import Iterable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.scale import SymmetricalLogScale

from gaplib.plots import style

LAMBDA = "lambda: 0 as encoded, 1 centroids meet before renormalising."
BAND = "0.92"


def check(table: pd.DataFrame, *place: str) -> None:
    """Refuse a table without rows, and one with more than one row a place: of two fusions, say, a line would jump."""
    if table.empty:
        raise ValueError("nothing to draw: the table has no rows")
    twice = table[table.duplicated(list(place))] if place else ()
    if len(twice):
        where = ", ".join(f"{column} {twice[column].iloc[0]}" for column in place)
        raise ValueError(f"more than one row for {where}: keep one kind of run (one fusion, say)")


def datasets(table: pd.DataFrame) -> dict[str, str]:
    """Datasets in the order of a figure, natural ones before medical ones, and the domain of each.

    The domain is "" where the table does not tell it: where it has no column dataset_domain.
    """
    if "dataset_domain" not in table:
        return dict.fromkeys(table["dataset"], "")
    known = table.drop_duplicates("dataset").sort_values("dataset_domain", ascending=False, kind="stable")
    return dict(zip(known["dataset"], known["dataset_domain"], strict=True))


def grid(
    table: pd.DataFrame, height: float, label: str = "", by: str = "encoder", **options
) -> tuple[Figure, list[tuple[Axes, pd.DataFrame]]]:
    """Axes in one row a dataset, named at its left, and one column an encoder, or what else the table is split by.

    A row is `height` inches high, less where there are many; `label` stands under the last one. Gives the figure and,
    for each place that has rows of the table, its axes and these rows; other places are blank.
    """
    check(table)
    names = datasets(table)
    columns = table[by].unique()
    size = (style.WIDE, max(min(height * len(names), style.HIGH) + 0.5, 2.2))  # a single row holds its name, too
    fig, axes = plt.subplots(len(names), len(columns), squeeze=False, figsize=size, **options)
    cells = []
    for row, dataset in zip(axes, names, strict=True):
        _name_row(row[0], dataset, names[dataset])
        for ax, column in zip(row, columns, strict=True):
            cell = table[(table["dataset"] == dataset) & (table[by] == column)]
            if cell.empty:
                ax.set_axis_off()
            else:
                cells.append((ax, cell))
    for ax, column in zip(axes[0], columns, strict=True):
        ax.set_title(column)
    for ax in axes[-1]:
        ax.set_xlabel(label)
    return fig, cells


def _name_row(ax, dataset, domain):
    """From below to above, beside the first axes of a row: they may be blank, so this is no label of theirs."""
    beside = {"rotation": 90, "ha": "right", "va": "center", "multialignment": "center"}
    name = f"{domain}\n{dataset}".strip()
    ax.annotate(name, (0, 0.5), (-36, 0), "axes fraction", "offset points", color=style.DOMAIN[domain], **beside)


def lines_of_cells(table: pd.DataFrame) -> tuple[pd.DataFrame, list[tuple[str, dict]]]:
    """The table with the `line` of each row's cell, and for `name_lines` all lines: each dataset above its encoders."""
    encoders = table["encoder"].unique()
    lines = []
    line_of = {}
    for dataset, domain in datasets(table).items():
        lines.append(heading(dataset, domain, fontweight="bold"))
        there = set(table.loc[table["dataset"] == dataset, "encoder"])
        for encoder in (name for name in encoders if name in there):
            line_of[dataset, encoder] = len(lines)
            lines.append((encoder, {}))
    cells = zip(table["dataset"], table["encoder"], strict=True)
    return table.assign(line=[line_of[cell] for cell in cells]), lines


def heading(dataset: str, domain: str, **look) -> tuple[str, dict]:
    """The line of a dataset, in the colour of its domain."""
    return f"{dataset} ({domain})" if domain else dataset, {"color": style.DOMAIN[domain]} | look


def name_lines(axes: np.ndarray, lines: list[tuple[str, dict]]) -> None:
    """Write at the left of each line, from the top, its name in its look."""
    axes[0, 0].set(yticks=range(len(lines)), yticklabels=[name for name, _ in lines], ylim=(len(lines) - 0.4, -0.6))
    for row in axes:
        for label, (_, look) in zip(row[0].get_yticklabels(), lines, strict=True):
            label.set(**look)
    for ax in axes.flat:
        ax.tick_params(axis="y", length=0)


def panels(n: int, columns: int, height: float, extra: float, **options) -> tuple[Figure, np.ndarray]:
    """n axes, at most `columns` in a row, each `height` inches high, with `extra` inches for what stands around them.

    Gives the figure and its axes, in rows; the places beyond n are blank.
    """
    columns = min(n, columns)
    lines = -(-n // columns)
    size = (style.WIDE, lines * height + extra)
    fig, axes = plt.subplots(lines, columns, squeeze=False, figsize=size, **options)
    for ax in axes.flat[n:]:
        ax.set_axis_off()
    return fig, axes


def differences(axis: Axis, margin: float, largest: float) -> None:
    """An axis of differences up to the largest: the margin as a band, linear within twice of it."""
    band = axis.axes.axvspan if axis.axis_name == "x" else axis.axes.axhspan
    band(-margin, margin, color=BAND, lw=0, zorder=-2)
    symlog(axis, 2 * margin, largest)


def symlog(axis: Axis, linear: float, largest: float) -> None:
    """Linear about a line at 0, logarithmic beyond; as far on either side, so that signs compare."""
    zero = axis.axes.axvline if axis.axis_name == "x" else axis.axes.axhline
    zero(0, color="0.7", lw=0.6, zorder=-1)
    reach = max(1.5 * linear, 1.15 * largest)
    far = [tick for tick in (0.05, 0.2, 1) if 1.5 * linear < tick < reach]
    ticks = np.array([linear, *far[-1:]])
    scale = SymmetricalLogScale(axis, linthresh=linear, linscale=0.8)
    name = axis.axis_name
    axis.axes.set(**{f"{name}scale": scale, f"{name}lim": (-reach, reach), f"{name}ticks": [*-ticks, 0, *ticks]})
    axis.axes.minorticks_off()
    axis.set_major_formatter("{x:g}")


def margin_handle(table: pd.DataFrame) -> Patch:
    """The band in a legend."""
    return Patch(color=BAND, label=f"margin, {table['margin'].iloc[0]:g}")


def legend(fig: Figure, handles: Iterable[Artist], ncols: int) -> None:
    """A legend above the panels, at the right."""
    fig.legend(handles=handles, loc="outside upper right", ncols=ncols)


def legend_of_modalities(fig: Figure, *extra: Artist) -> None:
    """A legend of the two modalities, and what else there is."""
    both = [
        Line2D([], [], marker="o", ls="", ms=4, color=style.IMAGE, label="image"),
        Line2D([], [], marker="o", ls="", ms=4, color=style.TEXT, label="text"),
    ]
    legend(fig, [*both, *extra], 4)


def caption(fig: Figure, text: str) -> None:
    """Write what a figure's reader must know under it, each line of the text wrapped."""
    lines = [textwrap.fill(line, 125) for line in text.split("\n")]
    fig.supxlabel("\n".join(lines), size=6.5, color=style.NEUTRAL, x=0.01, ha="left")


def coordinates(view: pd.DataFrame, columns: list[str]) -> np.ndarray:
    """Coordinates of the images and of the texts, both in the order of the pairs: (2, n, columns)."""
    both = view.sort_values(["modality", "pair"])[columns].to_numpy()
    return both.reshape(2, -1, len(columns))

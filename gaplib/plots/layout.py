"""What figures share: the grid of datasets by encoders, rows of panels, legends, captions."""

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
from matplotlib.scale import SymmetricalLogScale
from matplotlib.transforms import ScaledTranslation

from gaplib.plots import style

LAMBDA = "lambda: 0 as encoded, 1 centroids meet before renormalising."


def datasets(table: pd.DataFrame) -> dict[str, str]:
    """Datasets in the order of a figure, natural ones before medical ones, and the domain of each.

    The domain is "" where the table does not tell it: where it has no column dataset_domain.
    """
    known = table.drop_duplicates("dataset")
    if "dataset_domain" not in known:
        return dict.fromkeys(known["dataset"], "")
    known = known.sort_values("dataset_domain", key=lambda domain: domain == "medical", kind="stable")
    return dict(zip(known["dataset"], known["dataset_domain"], strict=True))


def dataset_rows(table: pd.DataFrame, titles: list[str], height: float, **options) -> tuple[Figure, np.ndarray, dict]:
    """Axes in one row a dataset, named at its left, and one column a title.

    Parameters
    ----------
    table : DataFrame
        With columns dataset and, to tell medical data from natural, dataset_domain.
    titles : list of str
    height : float
        Inches of a row; less where there are many.
    **options
        Of `plt.subplots`.

    Returns
    -------
    (Figure, ndarray of Axes, dict of ndarray of Axes)
        All axes, and those of each dataset.

    Raises
    ------
    ValueError
        If the table has no rows.
    """
    check_rows(table)
    names = datasets(table)
    height = min(height, style.HIGH / len(names))
    size = (style.WIDE, max(height * len(names) + 0.5, 2.2))  # a single row has to hold the label beside it
    fig, axes = plt.subplots(len(names), len(titles), squeeze=False, figsize=size, **options)
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title)
    for row, (name, domain) in zip(axes, names.items(), strict=True):
        name_row(row[0], name, domain)
    return fig, axes, dict(zip(names, axes, strict=True))


def grid(table: pd.DataFrame, height: float, **options) -> tuple[Figure, np.ndarray, list[tuple[Axes, pd.DataFrame]]]:
    """Axes for datasets (rows) by encoders (columns), and the rows of `table` that belong to each.

    Parameters
    ----------
    table : DataFrame
        With column encoder, and as for `dataset_rows`.
    height : float
    **options
        As for `dataset_rows`.

    Returns
    -------
    (Figure, ndarray of Axes, list of (Axes, DataFrame))
        The list leaves out the places for which there are no rows; these are blank.
    """
    encoders = list(table["encoder"].unique())
    fig, axes, by_dataset = dataset_rows(table, encoders, height, **options)
    cells = []
    for dataset, row in by_dataset.items():
        for ax, encoder in zip(row, encoders, strict=True):
            cell = table[(table["dataset"] == dataset) & (table["encoder"] == encoder)]
            if cell.empty:
                ax.set_axis_off()
            else:
                cells.append((ax, cell))
    return fig, axes, cells


def name_row(ax: Axes, name: str, domain: str = "") -> None:
    """Write a name beside the first axes of a row, from below to above, and mark the domain by a word and a bar."""
    beside = {"rotation": 90, "va": "center", "ha": "right"}
    ax.annotate(name, (0, 0.5), (-36, 0), "axes fraction", "offset points", size=7.5, **beside)
    if domain:
        colour = style.DOMAIN[domain]
        at = ax.transAxes + ScaledTranslation(-50 / 72, 0, ax.figure.dpi_scale_trans)
        ax.add_artist(Line2D([0, 0], [0, 1], transform=at, color=colour, lw=2.5, clip_on=False))
        ax.annotate(domain, (0, 0.5), (-54, 0), "axes fraction", "offset points", size=6.5, color=colour, **beside)


def lines(table: pd.DataFrame) -> list:
    """From the top: the name of a dataset, (dataset, None), then a line for each of its cells, (dataset, encoder)."""
    encoders = table["encoder"].unique()
    cells = []
    for dataset in datasets(table):
        there = set(table.loc[table["dataset"] == dataset, "encoder"])
        cells.append((dataset, None))
        cells.extend((dataset, encoder) for encoder in encoders if encoder in there)
    return cells


def name_lines(axes: np.ndarray, lines: list, domains: dict) -> None:
    """Encoders in black, datasets bold in the colour of their domain."""
    axes[0, 0].set_yticks(range(len(lines)), [encoder or dataset for dataset, encoder in lines])
    axes[0, 0].set_ylim(len(lines) - 0.4, -0.6)
    for row in axes:
        for label, (dataset, encoder) in zip(row[0].get_yticklabels(), lines, strict=True):
            if encoder is None:
                label.set(fontweight="bold", color=style.DOMAIN.get(domains[dataset], "black"))


def panels(n: int, columns: int, height: float, extra: float, **options) -> tuple[Figure, np.ndarray]:
    """n axes, at most `columns` in a row, each `height` inches high, with `extra` inches for what stands around them.

    Returns
    -------
    (Figure, ndarray of Axes)
        In rows; the places beyond n are blank.
    """
    columns = min(n, columns)
    lines = -(-n // columns)
    size = (style.WIDE, lines * height + extra)
    fig, axes = plt.subplots(lines, columns, squeeze=False, figsize=size, **options)
    for ax in axes.flat[n:]:
        ax.set_axis_off()
    return fig, axes


def legend(fig: Figure, handles: list[Artist], ncols: int) -> None:
    """A legend above the panels, at the right."""
    fig.legend(handles=handles, loc="outside upper right", ncols=ncols)


def legend_of_modalities(fig: Figure, extra: Iterable[Artist] = ()) -> None:
    """A legend of the two modalities, and what else there is."""
    handles = []
    for name, colour in (("image", style.IMAGE), ("text", style.TEXT)):
        handles.append(Line2D([], [], marker="o", ls="", ms=4, color=colour, label=name))
    fig.legend(handles=[*handles, *extra], loc="outside upper right", ncols=4, handletextpad=0.2)


def caption(fig: Figure, text: str) -> None:
    """Write what a figure's reader must know under it, each line of the text wrapped."""
    lines = [textwrap.fill(line, 125) for line in text.split("\n")]
    fig.supxlabel("\n".join(lines), size=6.5, color=style.NEUTRAL, x=0.01, ha="left")


def label_below(axes: np.ndarray, label: str) -> None:
    """Name the x axis under the last row of axes."""
    for ax in axes[-1]:
        ax.set_xlabel(label)


def by_modality(view: pd.DataFrame, columns: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of the images and of the texts, in the order of the pairs, (n, columns) each."""
    view = view.sort_values("pair")
    image = view.loc[view["modality"] == "image", columns].to_numpy()
    text = view.loc[view["modality"] == "text", columns].to_numpy()
    return image, text


def check_rows(table: pd.DataFrame) -> None:
    """Refuse a table that holds nothing to draw."""
    if table.empty:
        raise ValueError("nothing to draw: the table has no rows")


def check_once(table: pd.DataFrame, *columns: str) -> None:
    """Refuse more than one row a place in the figure: of several fusions, say, a line would jump between them."""
    twice = table[table.duplicated(list(columns))]
    if len(twice):
        where = ", ".join(f"{column} {twice[column].iloc[0]}" for column in columns)
        raise ValueError(f"more than one row for {where}: keep one kind of run (one fusion, say)")


def symlog(axis: Axis, linear: float, largest: float, most: int = 4) -> None:
    """Linear near 0, logarithmic beyond; as far on either side, so that signs compare; at most `most` ticks a side."""
    reach = max(1.5 * linear, 1.15 * largest)
    far = [tick for tick in (0.05, 0.2, 1) if 1.5 * linear < tick < reach]
    places = [linear, *far]
    ticks = np.array([*places[:-1][: most - 1], places[-1]])
    name = axis.axis_name
    axis.axes.set(**{f"{name}scale": SymmetricalLogScale(axis, linthresh=linear, linscale=0.8)})
    axis.axes.set(**{f"{name}lim": (-reach, reach), f"{name}ticks": [*-ticks, 0, *ticks]})
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(plt.NullLocator())

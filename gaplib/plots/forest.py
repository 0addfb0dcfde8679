"""One line a cell: how much lambda moves its score, and the verdict on it."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gaplib.plots import layout, style

DOMAIN_MARKERS = {"medical": "o", "general": "s"}
VERDICTS = {"better": "#00795A", "worse": "#A6611A", "equivalent": "black", "undecided": style.NEUTRAL}
INTERVALS = {"adjusted": ("low", "high", 0.9), "90 %": ("low_90", "high_90", 2.6)}  # columns, width of the line


def sensitivity(table: pd.DataFrame, note: str = "") -> Figure:
    """Slope of the test AUC in lambda, by cell, with its 95 % interval.

    Parameters
    ----------
    table : DataFrame
        From `sweep.sensitivity`, one row a cell, with dataset_domain and encoder_domain.
    note : str
        What the caption adds.
    """
    layout.check_rows(table)
    table = table.sort_values(["dataset_domain", "dataset", "encoder_domain", "encoder"]).reset_index(drop=True)
    fig, ax = plt.subplots(figsize=(style.WIDE, 0.22 * len(table) + 1.1))
    places = np.arange(len(table)) + 0.6 * table["dataset"].ne(table["dataset"].shift()).cumsum()
    ax.axvline(0, color="0.7", lw=0.6, zorder=0)
    handles = []
    for domain, marker in DOMAIN_MARKERS.items():
        colour = style.DOMAIN[domain]
        cells = table["encoder_domain"] == domain
        ax.hlines(places[cells], table.loc[cells, "low"], table.loc[cells, "high"], colour, lw=1.1)
        ax.plot(table.loc[cells, "slope"], places[cells], marker, color=colour, ms=5)
        handles.append(Line2D([], [], marker=marker, lw=1.1, color=colour, label=f"{domain} encoder"))
    ax.set_yticks(places, table["encoder"])
    ax.invert_yaxis()
    ax.set_xlabel("sensitivity: slope of the test AUC from lambda 0 to 1, with its 95 % interval")
    for dataset, cells in table.groupby("dataset", sort=False):
        label = f"{dataset}\n{cells['dataset_domain'].iloc[0]} data"
        middle = places[cells.index].mean()
        ax.text(1.01, middle, label, transform=ax.get_yaxis_transform(), va="center", size=7)
    layout.legend(fig, handles, 2)
    layout.caption(fig, note)
    return fig


def verdicts(table: pd.DataFrame, note: str = "", by: str = "training") -> Figure:
    """AUC(1) - AUC(0) of every cell with both its intervals and its verdict, on the margin as a band.

    One panel a kind of training, at most three in a row, on shared axes.

    Parameters
    ----------
    table : DataFrame
        From `sweep.contrasts`, with one margin.
    note : str
        What the caption adds, such as the number of test rows.
    by : str
        The column that has a panel a value: "training" or "treatment", say.

    Raises
    ------
    ValueError
        If a cell has more than one row for a panel.
    """
    layout.check_rows(table)
    layout.check_once(table, "dataset", "encoder", by)
    lines = _lines(table)
    panels = table.groupby(by, sort=False)
    fig, axes = layout.panels(len(panels), 3, 0.2 * len(lines) + 0.5, 0.5, sharex=True, sharey=True)
    ticks = plt.MaxNLocator({1: 6, 2: 5, 3: 3}[axes.shape[1]], steps=[1, 2, 5, 10])
    for ax, (name, part) in zip(axes.flat, panels, strict=False):
        _forest(ax, part, lines)
        ax.set_title(name)
        ax.tick_params(labelbottom=True)  # also above a place left empty
        ax.tick_params(axis="y", length=0)
    axes[0, 0].xaxis.set_major_locator(ticks)
    _name_lines(axes, lines)
    handles = [Line2D([], [], color="black", lw=width, label=name) for name, (*_, width) in INTERVALS.items()]
    margin = table["margin"].iloc[0]
    handles.append(Line2D([], [], color="0.93", lw=6, label=f"margin, {margin:g}"))
    layout.legend(fig, handles, 3)
    layout.caption(
        fig,
        "Differences of test AUC; intervals count test rows and training sets, both by whole groups. Better or worse: "
        "the thin interval, Holm-adjusted over a panel, lies beyond 0; equivalent: the thick one lies in the band. "
        f"In brackets the smallest difference seen with 80 % power. {layout.LAMBDA} {note}",
    )
    return fig


def _lines(table):
    """From the top: the name of a dataset, (dataset, None), then a line for each of its cells, (dataset, encoder)."""
    encoders = table["encoder"].unique()
    lines = []
    for dataset in table["dataset"].unique():
        there = set(table.loc[table["dataset"] == dataset, "encoder"])
        lines.append((dataset, None))
        lines.extend((dataset, encoder) for encoder in encoders if encoder in there)
    return lines


def _name_lines(axes, lines):
    axes[0, 0].set_yticks(range(len(lines)), [encoder or dataset for dataset, encoder in lines])
    axes[0, 0].set_ylim(len(lines) - 0.4, -0.6)
    for row in axes:
        for label, (_, encoder) in zip(row[0].get_yticklabels(), lines, strict=True):
            label.set_fontweight("normal" if encoder else "bold")


def _forest(ax: Axes, part: pd.DataFrame, lines: list) -> None:
    """The cells of one panel, each in its line."""
    y = np.array([lines.index(cell) for cell in zip(part["dataset"], part["encoder"], strict=True)])
    margin = part["margin"].iloc[0]
    ax.axvspan(-margin, margin, color="0.93", lw=0, zorder=-2)
    ax.axvline(0, color="0.7", lw=0.6, zorder=0)
    colours = [VERDICTS[verdict] for verdict in part["verdict"]]
    for name, (low, high, width) in INTERVALS.items():
        ax.hlines(y, part[low], part[high], colours, lw=width, label=name)
    ax.scatter(part["difference"], y, 14, colours, edgecolors="white", linewidths=0.6, zorder=3, label="difference")
    ax.set_xlabel("AUC(1) - AUC(0)")
    ax.xaxis.set_major_formatter("{x:g}")
    for at, colour, row in zip(y, colours, part.itertuples(), strict=True):
        said = f"{row.verdict} ({row.detectable:.3f})"
        beside = {"xycoords": ax.get_yaxis_transform(), "textcoords": "offset points", "va": "center", "size": 6.5}
        ax.annotate(said, (1, at), (4, 0), color=colour, **beside)

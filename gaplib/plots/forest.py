"""One line a dataset or cell: how narrow its cones are, how much lambda moves its score, and the verdict on it."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gaplib.plots import layout, style

DOMAIN_MARKERS = {"medical": "o", "general": "s"}
VERDICTS = {"better": "#00795A", "worse": "#A6611A", "equivalent": "black", "undecided": style.NEUTRAL}
SMALL = 0.01  # of a slope: linear within, logarithmic beyond
UNSEEN = 0.5  # an AUC cannot rise by more over guessing
READ_VERDICTS = (
    "Differences of test AUC; intervals over whole groups ({sources}). Better or worse: the thin interval, "
    "Holm-adjusted over a panel, lies beyond 0; equivalent: the thick one lies in the band. In brackets the smallest "
    f"difference seen with 80 % power, none if not even {UNSEEN:g}. Linear within twice the margin, logarithmic beyond."
)
INTERVALS = {"adjusted": ("low", "high", 0.9), "90 %": ("low_90", "high_90", 2.6)}  # columns, width of the line


MODALITIES = {"image": (style.IMAGE, -0.17), "text": (style.TEXT, 0.17)}  # colour, place in the row of the dataset


def cones_published(table: pd.DataFrame, note: str = "") -> Figure:
    """How narrow the cones are, R, beside the published ones of the data and the model that each cell stands for.

    Parameters
    ----------
    table : DataFrame
        dataset, dataset_domain, encoder, modality, mean_resultant_length, and a row for each published number beside
        it: stands_for (the released encoder), beside (the published dataset) and published, its R; NaN where none is.
    note : str
        What the caption adds.
    """
    layout.check_rows(table)
    names = layout.datasets(table)
    encoders = table.groupby("encoder", sort=False)
    size = (style.WIDE, 0.52 * len(names) + 1.1)
    fig, axes = plt.subplots(1, len(encoders), squeeze=False, sharex=True, sharey=True, figsize=size)
    for ax, (encoder, cells) in zip(axes[0], encoders, strict=True):
        _cones(ax, cells, list(names))
        released = cells["stands_for"].iloc[0]
        ax.set_title(encoder if released == encoder else f"{encoder}\nbeside {released}")
    _name_datasets(axes[0, 0], table, names)
    _bracket_domains(axes[0, -1], list(names.values()))
    handles = [Line2D([], [], color=colour, lw=4, label=name) for name, (colour, _) in MODALITIES.items()]
    handles.append(Line2D([], [], marker="D", ls="", ms=5, color=style.NEUTRAL, label="here"))
    handles.append(Line2D([], [], marker="o", ls="", ms=4, color=style.NEUTRAL, mfc="white", label="published"))
    layout.legend(fig, handles, 4)
    layout.caption(
        fig,
        "R: mean resultant length, 0 no cone, 1 a single direction; of all rows as encoded. Published with arXiv "
        f"2603.17246: the released encoder on the datasets named in grey; the bar spans them. {note}",
    )
    return fig


def _cones(ax: Axes, cells: pd.DataFrame, names: list) -> None:
    """R of one encoder: a line for each dataset and modality."""
    for (dataset, modality), part in cells.groupby(["dataset", "modality"]):
        colour, offset = MODALITIES[modality]
        y = names.index(dataset) + offset
        quoted = part["published"].dropna()
        if len(quoted):
            ax.hlines(y, quoted.min(), quoted.max(), colour, lw=5, alpha=0.25)
        ax.plot(quoted, np.full(len(quoted), y), "o", ms=4, mew=0.8, color=colour, mfc="white")
        ax.plot(part["mean_resultant_length"].iloc[0], y, "D", ms=5, mec="white", mew=0.5, color=colour, zorder=3)
    for line in range(1, len(names)):
        ax.axhline(line - 0.5, color="0.92", lw=0.6, zorder=-1)
    ax.tick_params(axis="y", length=0)
    ax.set(xlabel="R")
    ax.xaxis.set_major_formatter("{x:g}")


def _name_datasets(ax: Axes, table: pd.DataFrame, names: dict) -> None:
    """Our datasets in the colour of their domain, and in grey below each the published ones beside it."""
    ax.set_yticks(range(len(names)), [""] * len(names))
    ax.set(ylim=(len(names) - 0.5, -0.5), xlim=(None, 1.02))
    place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "ha": "right"}
    for line, (name, domain) in enumerate(names.items()):
        beside = table.loc[table["dataset"] == name, "beside"].dropna().unique()
        ax.annotate(name, (0, line), (-5, 1), color=style.DOMAIN.get(domain, "black"), va="bottom", **place)
        grey = textwrap.fill(", ".join(beside), 22)
        ax.annotate(grey, (0, line), (-5, 0), color=style.NEUTRAL, size=6, va="top", **place)


def _bracket_domains(ax: Axes, domains: list) -> None:
    """At the right, a bar along the datasets of each domain."""
    for domain in filter(None, dict.fromkeys(domains)):
        lines = [line for line, other in enumerate(domains) if other == domain]
        colour = style.DOMAIN[domain]
        right = {"transform": ax.get_yaxis_transform(), "clip_on": False, "color": colour}
        ax.plot([1.05, 1.05], [lines[0] - 0.42, lines[-1] + 0.42], lw=2.5, **right)
        ax.text(1.1, np.mean(lines), domain, rotation=90, va="center", size=6.5, **right)


def sensitivity(table: pd.DataFrame, note: str = "") -> Figure:
    """Slope of the test AUC in lambda, by cell, with its 95 % interval.

    The interval counts what the sweeps resampled: test rows, and training sets with seeds where there are several.

    Parameters
    ----------
    table : DataFrame
        From `sweep.sensitivity`, one row a cell, with dataset_domain and encoder_domain.
    note : str
        What the caption adds.
    """
    layout.check_rows(table)
    order = list(layout.datasets(table))
    table = table.sort_values("encoder_domain", kind="stable")
    table = table.sort_values("dataset", key=lambda names: names.map(order.index), kind="stable", ignore_index=True)
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
    layout.symlog(ax.xaxis, SMALL, table[["slope", "low", "high"]].abs().max(axis=None))
    ax.set_xlabel(
        f"sensitivity: slope of the test AUC from lambda 0 to 1, symlog; 95 % interval over {_sources(table)}"
    )
    _name_groups(ax, table, places)
    layout.legend(fig, handles, 2)
    layout.caption(fig, f"Linear within {SMALL:g}, logarithmic beyond. {note}")
    return fig


def _name_groups(ax: Axes, table: pd.DataFrame, places: np.ndarray) -> None:
    """At the right of its cells, each dataset in the colour of its domain."""
    for dataset, cells in table.groupby("dataset", sort=False):
        domain = cells["dataset_domain"].iloc[0]
        beside = {"transform": ax.get_yaxis_transform(), "va": "center", "size": 7, "color": style.DOMAIN[domain]}
        ax.text(1.01, places[cells.index].mean(), f"{dataset}\n{domain} data", **beside)


def _sources(table: pd.DataFrame) -> str:
    """What the intervals of a table were resampled over."""
    return "test rows and training sets" if table["resamples"].min() > 1 else "test rows"


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
    lines = layout.lines(table)
    panels = table.groupby(by, sort=False)
    height = np.clip(0.2 * len(lines), 1, style.HIGH)  # the caption takes of it, too
    fig, axes = layout.panels(len(panels), 3, height + 0.5, 0.5, sharex=True, sharey=True)
    for ax, (name, part) in zip(axes.flat, panels, strict=False):
        _forest(ax, part, lines)
        ax.set_title(name)
    margin = table["margin"].iloc[0]
    farthest = table[["difference", "low", "high"]].abs().max(axis=None)
    layout.symlog(axes[0, 0].xaxis, 2 * margin, min(farthest, 1), most={1: 4, 2: 2, 3: 1}[axes.shape[1]])
    layout.name_lines(axes, lines, layout.datasets(table))
    handles = [Line2D([], [], color="black", lw=width, label=name) for name, (*_, width) in INTERVALS.items()]
    handles.append(Line2D([], [], color="0.93", lw=6, label=f"margin, {margin:g}"))
    layout.legend(fig, handles, 3)
    sources = "; ".join(f"{name}: {_sources(part)}" for name, part in panels)
    layout.caption(fig, READ_VERDICTS.format(sources=sources) + f" {layout.LAMBDA} {note}")
    return fig


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
    ax.tick_params(labelbottom=True)  # also above a place left empty
    ax.tick_params(axis="y", length=0)
    for at, colour, row in zip(y, colours, part.itertuples(), strict=True):
        said = f"{row.verdict} ({row.detectable:.3f})" if row.detectable < UNSEEN else f"{row.verdict} (none)"
        beside = {"xycoords": ax.get_yaxis_transform(), "textcoords": "offset points", "va": "center", "size": 6.5}
        ax.annotate(said, (1, at), (4, 0), color=colour, **beside)

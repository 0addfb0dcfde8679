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
DIFFERENCES = {  # label, colour, marker, its size, place in the row of the cell
    "lam_0": ("AUC(chosen) - AUC(0)", "black", "o", 4, -0.27),
    "lam_1": ("AUC(chosen) - AUC(1)", "#E69F00", "s", 3.5, 0),
    "one_0": ("AUC(1) - AUC(0)", "0.65", "^", 3.5, 0.27),
}
VERDICTS = {  # short form and colour
    "an intermediate lambda is better": ("intermediate", "#7B3294"),
    "closing is better": ("closing", "#00795A"),
    "leaving it is better": ("leaving", "#A6611A"),
    "no detectable difference": ("none", style.NEUTRAL),
}


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
    """Range of the mean AUC curve over lambda, by cell, beside what seeds alone would give.

    Parameters
    ----------
    table : DataFrame
        From `sweep.sensitivity`, with dataset_domain and encoder_domain.
    note : str
        What the caption adds.
    """
    layout.check_rows(table)
    order = list(layout.datasets(table))
    table = table.sort_values("encoder_domain", kind="stable")
    table = table.sort_values("dataset", key=lambda names: names.map(order.index), kind="stable", ignore_index=True)
    fig, ax = plt.subplots(figsize=(style.WIDE, 0.22 * len(table) + 1.1))
    places = np.arange(len(table)) + 0.6 * table["dataset"].ne(table["dataset"].shift()).cumsum()
    ax.barh(places, table["by_chance_95"], height=0.8, color="0.88", lw=0)
    handles = []
    for domain, marker in DOMAIN_MARKERS.items():
        colour = style.DOMAIN[domain]
        cells = table["encoder_domain"] == domain
        ax.plot(table.loc[cells, "range"], places[cells], marker, color=colour, ms=5)
        handles.append(Line2D([], [], marker=marker, ls="", color=colour, label=f"{domain} encoder"))
    ax.set_yticks(places, table["encoder"])
    ax.invert_yaxis()
    ax.set(xlim=(0, None), xlabel="sensitivity: max - min of the mean test AUC over lambda")
    for dataset, cells in table.groupby("dataset", sort=False):
        domain = cells["dataset_domain"].iloc[0]
        beside = {"transform": ax.get_yaxis_transform(), "va": "center", "size": 7, "color": style.DOMAIN[domain]}
        ax.text(1.01, places[cells.index].mean(), f"{dataset}\n{domain} data", **beside)
    handles.append(Line2D([], [], color="0.88", lw=6, label="95 % of what seeds alone give"))
    layout.legend(fig, handles, 3)
    layout.caption(fig, note)
    return fig


def verdicts(table: pd.DataFrame, note: str = "") -> Figure:
    """Differences of AUC of every cell with their 95 % intervals, the chosen lambda and the verdict beside them.

    One panel a protocol, at most three in a row, on shared axes.

    Parameters
    ----------
    table : DataFrame
        From `sweep.contrasts`: dataset, encoder, protocol, lam, verdict, and for lam_0, lam_1 and one_0 the
        difference and its `_low` and `_high`.
    note : str
        What the caption adds, such as the number of test rows.

    Raises
    ------
    ValueError
        If a cell has more than one row for a protocol.
    """
    layout.check_rows(table)
    layout.check_once(table, "dataset", "encoder", "protocol")
    lines = _lines(table)
    protocols = table.groupby("protocol", sort=False)
    height = min(0.23 * len(lines), style.HIGH)
    fig, axes = layout.panels(len(protocols), 3, height + 0.5, 0.5, sharex=True, sharey=True)
    ticks = plt.MaxNLocator({1: 6, 2: 5, 3: 3}[axes.shape[1]], steps=[1, 2, 5, 10])
    for ax, (protocol, part) in zip(axes.flat, protocols, strict=False):
        _forest(ax, part, lines)
        ax.set_title(protocol)
        ax.tick_params(labelbottom=True)  # also above a place left empty
        ax.tick_params(axis="y", length=0)
    axes[0, 0].xaxis.set_major_locator(ticks)
    _name_lines(axes, lines, layout.datasets(table))
    handles = []
    for label, colour, marker, size, _ in DIFFERENCES.values():
        handles.append(Line2D([], [], marker=marker, ms=size, mew=0, color=colour, lw=1.1, label=label))
    layout.legend(fig, handles, 3)
    layout.caption(
        fig,
        "Differences of test AUC with 95 % intervals (paired bootstrap over whole groups of test rows); lambda chosen "
        f"on validation data; verdicts Holm-corrected over the cells. {layout.LAMBDA} {note}",
    )
    return fig


def _lines(table):
    """From the top: the name of a dataset, (dataset, None), then a line for each of its cells, (dataset, encoder)."""
    encoders = table["encoder"].unique()
    lines = []
    for dataset in layout.datasets(table):
        there = set(table.loc[table["dataset"] == dataset, "encoder"])
        lines.append((dataset, None))
        lines.extend((dataset, encoder) for encoder in encoders if encoder in there)
    return lines


def _name_lines(axes: np.ndarray, lines: list, domains: dict) -> None:
    """Encoders in black, datasets bold in the colour of their domain."""
    axes[0, 0].set_yticks(range(len(lines)), [encoder or dataset for dataset, encoder in lines])
    axes[0, 0].set_ylim(len(lines) - 0.4, -0.6)
    for row in axes:
        for label, (dataset, encoder) in zip(row[0].get_yticklabels(), lines, strict=True):
            if encoder is None:
                label.set(fontweight="bold", color=style.DOMAIN.get(domains[dataset], "black"))


def _forest(ax: Axes, part: pd.DataFrame, lines: list) -> None:
    """The cells of one protocol, each in its line."""
    y = np.array([lines.index(cell) for cell in zip(part["dataset"], part["encoder"], strict=True)])
    ax.axvline(0, color="0.7", lw=0.6, zorder=0)
    for at in y:
        ax.axhline(at, color="0.94", lw=0.6, zorder=-1)
    for name, (_, colour, marker, size, offset) in DIFFERENCES.items():
        ax.hlines(y + offset, part[f"{name}_low"], part[f"{name}_high"], colour, lw=1.1, label=name)
        ax.plot(part[name], y + offset, marker, ms=size, mew=0, color=colour, zorder=3, label=name)
    ax.set_xlabel("difference of test AUC")
    ax.xaxis.set_major_formatter("{x:g}")
    # Beside the axes, a column for lambda and one for the verdict.
    beside = {"xycoords": ax.get_yaxis_transform(), "textcoords": "offset points", "va": "center", "size": 6.5}
    ax.annotate("lambda, better:", (1, 0), (4, 0), color=style.NEUTRAL, **beside)
    for at, lam, verdict in zip(y, part["lam"], part["verdict"], strict=True):
        short, colour = VERDICTS[verdict]
        ax.annotate(f"{lam:g}", (1, at), (4, 0), color=colour, **beside)
        ax.annotate(short, (1, at), (19, 0), color=colour, **beside)

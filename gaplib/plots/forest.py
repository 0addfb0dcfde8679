"""Dots and intervals, a line each: cones, and what lambda does to a score, by cell, treatment, head and training."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gaplib.plots import layout, style

MODALITIES = {"image": (style.IMAGE, -0.17), "text": (style.TEXT, 0.17)}  # colour, place in the row of the dataset
DOMAIN_MARKERS = {"medical": "o", "general": "s"}  # of encoders
VERDICTS = {"better": "#00795A", "worse": "#A6611A", "equivalent": "black", "undecided": style.NEUTRAL}
SMALL = 0.01  # of a slope: linear within, logarithmic beyond
UNSEEN = 0.5  # an AUC cannot rise by more over guessing
READ_VERDICTS = (
    "Differences of test AUC; intervals over whole groups ({sources}). Better or worse: the thin interval, "
    "Holm-adjusted over a panel, lies beyond 0; equivalent: the thick one lies in the band. In brackets the smallest "
    f"difference seen with 80 % power, none if not even {UNSEEN:g}. Linear within twice the margin, logarithmic beyond."
)
HEADS = {("early", False): "linear", ("early", True): "MLP", ("late", True): "late fusion"}  # by fusion, hidden layer
HEAD_LOOKS = {"linear": ("black", -0.22), "MLP": ("#E69F00", 0), "late fusion": ("#56B4E9", 0.22)}  # colour, place
# Columns of both ends of each interval, and the width of its line.
OVER_CELLS = {"95 %, mean over cells": ("low", "high", 2.6), "95 %, new cell": ("predicted_low", "predicted_high", 0.9)}
OF_A_CELL = {"adjusted": ("low", "high", 0.9), "90 %": ("low_90", "high_90", 2.6)}


def cones_published(table: pd.DataFrame) -> Figure:
    """How narrow the cones are, R, beside the published ones of the data and the model that each cell stands for.

    Parameters
    ----------
    table : DataFrame
        dataset, dataset_domain, encoder, modality, mean_resultant_length, and a row for each published number beside
        it: stands_for (the released encoder), beside (the published dataset) and published, its R; NaN where none is.
    """
    layout.check(table)
    names = layout.datasets(table)
    encoders = table.groupby("encoder", sort=False)
    size = (style.WIDE, 0.52 * len(names) + 1.1)
    fig, axes = plt.subplots(1, len(encoders), squeeze=False, sharex=True, sharey=True, figsize=size)
    for ax, (encoder, cells) in zip(axes[0], encoders, strict=True):
        _cones(ax, cells, list(names))
        released = cells["stands_for"].iloc[0]
        ax.set_title(encoder if released == encoder else f"{encoder}\nbeside {released}")
    axes[0, 0].set_xlim(right=1.02)
    layout.name_lines(axes, [_beside(table, dataset, domain) for dataset, domain in names.items()])
    handles = [Line2D([], [], color=colour, lw=4, label=name) for name, (colour, _) in MODALITIES.items()]
    handles.append(Line2D([], [], marker="D", ls="", ms=5, color=style.NEUTRAL, label="here"))
    handles.append(Line2D([], [], marker="o", ls="", ms=4, color=style.NEUTRAL, mfc="white", label="published"))
    layout.legend(fig, handles, 4)
    layout.caption(
        fig,
        "R: mean resultant length, 0 no cone, 1 a single direction; of all rows as encoded. Published with arXiv "
        "2603.17246: the released encoder on the datasets named below ours; the bar spans them.",
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
    ax.set_xlabel("R")
    ax.xaxis.set_major_formatter("{x:g}")


def _beside(table: pd.DataFrame, dataset: str, domain: str) -> tuple[str, dict]:
    """The line of a dataset, with the published ones beside it."""
    name, look = layout.heading(dataset, domain)
    published = table.loc[table["dataset"] == dataset, "beside"].dropna().unique()
    return "\n".join([name, *textwrap.wrap(", ".join(published), 22)]), look


def sensitivity(table: pd.DataFrame, note: str = "") -> Figure:
    """Slope of the test AUC in lambda, by cell, with its 95 % interval.

    The interval counts what the sweeps resampled: test rows, and training sets with seeds where there are several.

    Parameters
    ----------
    table : DataFrame
        From `sweep.sensitivity`, one row a cell, with dataset_domain and encoder_domain.
    """
    layout.check(table)
    table, lines = layout.lines_of_cells(table)
    fig, axes = plt.subplots(squeeze=False, figsize=(style.WIDE, 0.2 * len(lines) + 1.1))
    ax = axes[0, 0]
    handles = []
    for domain, marker in DOMAIN_MARKERS.items():
        cells = table[table["encoder_domain"] == domain]
        colour = style.DOMAIN[domain]
        ax.hlines(cells["line"], cells["low"], cells["high"], colour, lw=1.1)
        ax.plot(cells["slope"], cells["line"], marker, color=colour, ms=5)
        handles.append(Line2D([], [], marker=marker, lw=1.1, color=colour, label=f"{domain} encoder"))
    layout.symlog(ax.xaxis, SMALL, table[["slope", "low", "high"]].abs().max(axis=None))
    ax.set_xlabel("sensitivity: slope of the test AUC from lambda 0 to 1, symlog")
    layout.name_lines(axes, lines)
    layout.legend(fig, handles, 2)
    over = _sources(table)
    layout.caption(fig, f"95 % intervals over {over}. Linear within {SMALL:g}, logarithmic beyond. {note}")
    return fig


def _sources(table: pd.DataFrame) -> str:
    """What the intervals of a table were resampled over."""
    return "test rows and training sets" if table["resamples"].min() > 1 else "test rows"


def verdicts(table: pd.DataFrame) -> Figure:
    """AUC(1) - AUC(0) of every cell with both its intervals and its verdict, on the margin as a band.

    One panel a training, at most two in a row, on shared axes.

    Parameters
    ----------
    table : DataFrame
        From `sweep.contrasts`, with one margin.
    """
    layout.check(table, "dataset", "encoder", "training")
    table, lines = layout.lines_of_cells(table)
    panels = table.groupby("training", sort=False)
    height = np.clip(0.2 * len(lines), 1, style.HIGH)  # the caption takes of it, too
    fig, axes = layout.panels(len(panels), 2, height + 0.5, 0.5, sharex=True, sharey=True)
    farthest = table[["difference", "low", "high"]].abs().max(axis=None)
    for ax, (training, part) in zip(axes.flat, panels, strict=False):
        _verdicts(ax, part)
        layout.differences(ax.xaxis, part["margin"].iloc[0], min(farthest, 1))
        ax.set(title=training, xlabel="AUC(1) - AUC(0)")
        ax.tick_params(labelbottom=True)  # also above a place left empty
    layout.name_lines(axes, lines)
    handles = [Line2D([], [], color="black", lw=width, label=name) for name, (*_, width) in OF_A_CELL.items()]
    layout.legend(fig, [*handles, layout.margin_handle(table)], 3)
    sources = "; ".join(f"{training}: {_sources(part)}" for training, part in panels)
    layout.caption(fig, f"{READ_VERDICTS.format(sources=sources)} {layout.LAMBDA}")
    return fig


def _verdicts(ax: Axes, part: pd.DataFrame) -> None:
    """The cells of one panel, each in its line, in the colour of its verdict."""
    colours = part["verdict"].map(VERDICTS)
    for name, (low, high, width) in OF_A_CELL.items():
        ax.hlines(part["line"], part[low], part[high], colours, lw=width, label=name)
    dots = {"edgecolors": "white", "linewidths": 0.6, "zorder": 3, "label": "difference"}
    ax.scatter(part["difference"], part["line"], 14, colours, **dots)
    beside = {"xycoords": ax.get_yaxis_transform(), "textcoords": "offset points", "va": "center", "size": 6.5}
    for row in part.itertuples():
        seen = f"{row.detectable:.3f}" if row.detectable < UNSEEN else "none"
        ax.annotate(f"{row.verdict} ({seen})", (1, row.line), (4, 0), color=VERDICTS[row.verdict], **beside)


def treatments(table: pd.DataFrame, note: str = "") -> Figure:
    """What each treatment at full strength gains over the features as encoded; one panel a training.

    Dots are cells. Where three or more cells are known, the thick line is the 95 % interval of their mean, the thin one
    the prediction interval of a new cell.

    Parameters
    ----------
    table : DataFrame
        One row a cell, treatment and training: dataset, dataset_domain, encoder, treatment, training, difference,
        margin; and of the treatment over cells, the same in all its rows or missing: mean, low, high, predicted_low,
        predicted_high.
    """
    layout.check(table, "dataset", "encoder", "treatment", "training")
    names = list(table["treatment"].unique())
    panels = table.groupby("training", sort=False)
    fig, axes = layout.panels(len(panels), 2, 0.3 * len(names) + 0.5, 0.8, sharey=True, sharex=True)
    farthest = table[["difference", "predicted_low", "predicted_high"]].abs().max(axis=None)
    for ax, (training, part) in zip(axes.flat, panels, strict=False):
        for treatment, cells in part.groupby("treatment", sort=False):
            _gains(ax, names.index(treatment), cells)
        layout.differences(ax.xaxis, part["margin"].iloc[0], farthest)
        ax.set(title=training, xlabel="gain of test AUC, symlog")
    layout.name_lines(axes, [(name, {}) for name in names])
    handles = [Line2D([], [], color="black", lw=width, label=label) for label, (*_, width) in OVER_CELLS.items()]
    for domain in sorted(table["dataset_domain"].unique(), reverse=True):
        handles.append(Line2D([], [], ls="", marker="o", ms=3, color=style.DOMAIN[domain], label=f"{domain} cell"))
    layout.legend(fig, [*handles, layout.margin_handle(table)], 5)
    layout.caption(
        fig,
        "Test AUC under a treatment at full strength less that of the features as encoded, by the same training. "
        f"Linear within twice the margin, logarithmic beyond. {note}",
    )
    return fig


def _gains(ax: Axes, line: int, cells: pd.DataFrame) -> None:
    """One treatment: what holds over its cells, and below that each of them."""
    whole = cells.iloc[0]
    for low, high, width in OVER_CELLS.values():
        ax.hlines(line - 0.15, whole[low], whole[high], "black", lw=width, zorder=3)
    ax.plot(whole["mean"], line - 0.15, "D", ms=4, color="black", mec="white", mew=0.5, zorder=4, label="mean")
    places = line + np.linspace(0.1, 0.34, len(cells))
    colours = cells["dataset_domain"].map(style.DOMAIN)
    ax.scatter(cells["difference"], places, 9, colours, alpha=0.7, lw=0, label=whole["treatment"])


def heads(table: pd.DataFrame, note: str = "") -> Figure:
    """Test AUC at lambda 0 and 1 under several heads, and the difference with its 90 % interval; one line a cell.

    Parameters
    ----------
    table : DataFrame
        From `sweep.contrasts`, of one treatment and training: dataset, encoder, fusion, hidden, auc_0, auc_1,
        difference, low_90, high_90, margin.
    """
    kinds = zip(table["fusion"], table["hidden"] > 0, strict=True)
    table = table.assign(head=[HEADS[kind] for kind in kinds])
    layout.check(table, "dataset", "encoder", "head")
    table, lines = layout.lines_of_cells(table)
    size = (style.WIDE, min(0.34 * len(lines), style.HIGH) + 1.2)
    fig, axes = plt.subplots(1, 2, squeeze=False, sharey=True, figsize=size)
    handles = []
    for head in table["head"].unique():
        colour, offset = HEAD_LOOKS[head]
        _head(*axes[0], table[table["head"] == head], offset, colour)
        handles.append(Line2D([], [], color=colour, lw=2, label=head))
    for label, fill in (("lambda 0", "white"), ("lambda 1", style.NEUTRAL)):
        handles.append(Line2D([], [], ls="", marker="o", ms=4, color=style.NEUTRAL, mfc=fill, label=label))
    farthest = table[["difference", "low_90", "high_90"]].abs().max(axis=None)
    layout.differences(axes[0, 1].xaxis, table["margin"].iloc[0], farthest)
    layout.name_lines(axes, lines)
    layout.legend(fig, [*handles, layout.margin_handle(table)], 6)
    layout.caption(
        fig,
        "Left: hollow as encoded, filled at lambda 1. Right: the difference with its 90 % interval, over test rows by "
        f"whole groups; linear within twice the margin, logarithmic beyond. {layout.LAMBDA} {note}",
    )
    return fig


def _head(scores: Axes, differences: Axes, part: pd.DataFrame, offset: float, colour: str) -> None:
    """One head's cells: AUCs at the left, differences at the right."""
    y = part["line"] + offset
    scores.plot(part["auc_0"], y, "o", ms=4, color=colour, mfc="white", label="lambda 0")
    scores.plot(part["auc_1"], y, "o", ms=2.5, color=colour, label="lambda 1")
    scores.set_xlabel("test AUC")
    differences.hlines(y, part["low_90"], part["high_90"], colour, lw=1.4, label="90 %")
    differences.plot(part["difference"], y, "o", ms=3, color=colour, label="difference")
    differences.set_xlabel("AUC(1) - AUC(0), symlog")

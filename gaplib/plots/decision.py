"""Does lambda matter: its effect along training, beside other treatments, and under other heads."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from gaplib.plots import layout, style

LOOKS = {
    "shift": {"color": "black", "lw": 1.8, "marker": "o"},
    "placebo": {"color": "#56B4E9", "lw": 1.2, "ls": "--", "marker": "s"},
    "rescale": {"color": "#E69F00", "lw": 1.2, "ls": "-.", "marker": "^"},
    "standardise": {"color": "#882255", "lw": 1.2, "ls": ":", "marker": "D"},
}
OTHER = {"color": style.NEUTRAL, "lw": 1, "marker": "v"}
BAND = "0.92"
INTERVALS = {
    ("low", "high"): ("95 %, mean over cells", 2.6),
    ("predicted_low", "predicted_high"): ("95 %, new cell", 0.9),
}
HEADS = {("early", False): "linear", ("early", True): "MLP", ("late", True): "late fusion"}
HEAD_COLOURS = {"linear": "black", "MLP": "#E69F00", "late fusion": "#56B4E9"}


def transient(table: pd.DataFrame, note: str = "") -> Figure:
    """AUC(1) - AUC(0) along training, by treatment; one panel a cell, the margin as a band, the converged probe's end.

    Parameters
    ----------
    table : DataFrame
        dataset, encoder, treatment, epoch (infinity: the converged probe), difference, margin.
    note : str
        What the caption adds, such as the number of seeds.

    Raises
    ------
    ValueError
        If a cell has more than one row for a treatment and epoch.
    """
    layout.check_rows(table)
    layout.check_once(table, "dataset", "encoder", "treatment", "epoch")
    cells = table.groupby(["dataset", "encoder"], sort=False)
    columns = 3 if len(cells) < 10 else 4
    height = min(1.7, style.HIGH / -(-len(cells) // columns))
    fig, axes = layout.panels(len(cells), columns, height, 0.9, sharex=True)
    last = table.loc[np.isfinite(table["epoch"]), "epoch"].max()
    for ax, ((dataset, encoder), cell) in zip(axes.flat, cells, strict=False):
        _path(ax, cell, 4 * last)
        ax.set_title(f"{dataset}\n{encoder}")
    axes.flat[0].set_xticks([1, 10, 100, last, 4 * last], ["1", "10", "100", f"{last:g}", "end"])
    fig.supylabel("AUC(1) - AUC(0), symlog", size=8)
    layout.legend(fig, [*_treatment_handles(table["treatment"].unique()), _margin(table)], 6)
    layout.caption(
        fig,
        "Differences of test AUC by epoch, without early stopping; `end`: the converged probe, its strength chosen on "
        f"validation data. Linear within twice the margin, logarithmic beyond. {layout.LAMBDA} {note}",
    )
    return fig


def _path(ax: Axes, cell: pd.DataFrame, end: float) -> None:
    """The paths of one cell, and at `end` where the converged probe is."""
    margin = cell["margin"].iloc[0]
    ax.axhspan(-margin, margin, color=BAND, lw=0, zorder=-2)
    ax.axhline(0, color="0.7", lw=0.6, zorder=-1)
    for treatment, rows in cell.groupby("treatment", sort=False):
        look = LOOKS.get(treatment, OTHER)
        rows = rows.sort_values("epoch")
        finite = np.isfinite(rows["epoch"])
        ax.plot("epoch", "difference", data=rows[finite], label=treatment, **look | {"marker": ""})
        ends = rows.loc[~finite, "difference"]
        ax.plot([end] * len(ends), ends, ls="", ms=4, color=look["color"], marker=look["marker"], label="end")
    ax.set_xscale("log")
    ax.minorticks_off()
    layout.symlog(ax.yaxis, 2 * margin, cell["difference"].abs().max())


def _treatment_handles(names) -> list[Line2D]:
    """Lines of a legend, in the order of `LOOKS`, then any others."""
    names = [name for name in LOOKS if name in names] + [name for name in names if name not in LOOKS]
    return [Line2D([], [], ms=4, label=name, **LOOKS.get(name, OTHER)) for name in names]


def _margin(table: pd.DataFrame) -> Patch:
    return Patch(color=BAND, label=f"margin, {table['margin'].iloc[0]:g}")


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
    note : str
        What the caption adds.

    Raises
    ------
    ValueError
        If a cell has more than one row for a treatment and training.
    """
    layout.check_rows(table)
    layout.check_once(table, "dataset", "encoder", "treatment", "training")
    names = list(table["treatment"].unique())
    panels = table.groupby("training", sort=False)
    fig, axes = layout.panels(len(panels), 2, 0.3 * len(names) + 0.5, 0.8, sharey=True, sharex=True)
    for ax, (training, part) in zip(axes.flat, panels, strict=False):
        _gains(ax, part, names)
        ax.set_title(training)
    layout.symlog(axes[0, 0].xaxis, 2 * table["margin"].iloc[0], _largest(table))
    axes[0, 0].set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.4, -0.6))
    handles = [Line2D([], [], color="black", lw=width, label=label) for label, width in INTERVALS.values()]
    for domain in ("natural", "medical"):
        if domain in set(table["dataset_domain"]):
            handles.append(Line2D([], [], ls="", marker="o", ms=3, color=style.DOMAIN[domain], label=f"{domain} cell"))
    layout.legend(fig, [*handles, _margin(table)], 5)
    layout.caption(
        fig,
        "Test AUC under a treatment at full strength less that of the features as encoded, by the same training. "
        f"Linear within twice the margin, logarithmic beyond. {note}",
    )
    return fig


def _largest(table):
    """How far from 0 anything reaches."""
    return table[["difference", "predicted_low", "predicted_high"]].abs().max(axis=None)


def _gains(ax: Axes, part: pd.DataFrame, names: list) -> None:
    """All treatments of one training."""
    margin = part["margin"].iloc[0]
    ax.axvspan(-margin, margin, color=BAND, lw=0, zorder=-2)
    ax.axvline(0, color="0.7", lw=0.6, zorder=-1)
    for treatment, cells in part.groupby("treatment", sort=False):
        line = names.index(treatment)
        place = line + 0.22 + 0.12 * np.linspace(-1, 1, len(cells))
        colours = [style.DOMAIN.get(domain, style.NEUTRAL) for domain in cells["dataset_domain"]]
        ax.scatter(cells["difference"], place, 9, colours, alpha=0.7, lw=0, label=treatment)
        whole = cells.iloc[0]
        for (low, high), (_, width) in INTERVALS.items():
            ax.hlines(line - 0.15, whole[low], whole[high], "black", lw=width, zorder=3)
        ax.plot(whole["mean"], line - 0.15, "D", ms=4, color="black", mec="white", mew=0.5, zorder=4, label="mean")
    ax.set_xlabel("gain of test AUC, symlog")
    ax.tick_params(axis="y", length=0)


def heads(table: pd.DataFrame, note: str = "") -> Figure:
    """Test AUC at lambda 0 and 1 under several heads, and the difference with its 90 % interval; one line a cell.

    Parameters
    ----------
    table : DataFrame
        From `sweep.contrasts`, of one treatment and training: dataset, encoder, fusion, hidden, auc_0, auc_1,
        difference, low_90, high_90, margin.
    note : str
        What the caption adds.

    Raises
    ------
    ValueError
        If a cell has more than one row for a head.
    """
    layout.check_rows(table)
    heads_of = zip(table["fusion"], table["hidden"] > 0, strict=True)
    table = table.assign(head=[HEADS[head] for head in heads_of])
    layout.check_once(table, "dataset", "encoder", "head")
    lines = layout.lines(table)
    size = (style.WIDE, min(0.34 * len(lines), style.HIGH) + 1.2)
    fig, axes = plt.subplots(1, 2, squeeze=False, sharey=True, figsize=size)
    for offset, head in zip((-0.22, 0, 0.22), HEAD_COLOURS, strict=True):
        _head(axes[0], table[table["head"] == head], lines, offset, HEAD_COLOURS[head])
    _head_axes(*axes[0], table["margin"].iloc[0])
    layout.name_lines(axes, lines, layout.datasets(table))
    layout.legend(fig, [*_head_handles(set(table["head"])), _margin(table)], 6)
    layout.caption(
        fig,
        "Left: hollow as encoded, filled at lambda 1. Right: the difference with its 90 % interval, over test rows by "
        f"whole groups. {layout.LAMBDA} {note}",
    )
    return fig


def _head_axes(scores: Axes, differences: Axes, margin: float) -> None:
    """What stands on the axes besides the heads: labels, zero and the margin."""
    differences.axvspan(-margin, margin, color=BAND, lw=0, zorder=-2)
    differences.axvline(0, color="0.7", lw=0.6, zorder=-1)
    scores.set_xlabel("test AUC")
    differences.set_xlabel("AUC(1) - AUC(0)")
    for ax in (scores, differences):
        ax.xaxis.set_major_locator(plt.MaxNLocator(4))
        ax.xaxis.set_major_formatter("{x:g}")


def _head_handles(heads: set) -> list:
    handles = [Line2D([], [], color=colour, lw=2, label=name) for name, colour in HEAD_COLOURS.items() if name in heads]
    for label, fill in (("lambda 0", "white"), ("lambda 1", style.NEUTRAL)):
        handles.append(Line2D([], [], ls="", marker="o", ms=4, color=style.NEUTRAL, mfc=fill, label=label))
    return handles


def _head(axes: np.ndarray, part: pd.DataFrame, lines: list, offset: float, colour: str) -> None:
    """One head's cells: AUCs at the left, differences at the right."""
    y = np.array([lines.index(cell) for cell in zip(part["dataset"], part["encoder"], strict=True)]) + offset
    left, right = axes
    left.plot(part["auc_0"], y, "o", ms=4, color=colour, mfc="white", label="lambda 0")
    left.plot(part["auc_1"], y, "o", ms=2.5, color=colour, label="lambda 1")
    right.hlines(y, part["low_90"], part["high_90"], colour, lw=1.4, label="90 %")
    right.plot(part["difference"], y, "o", ms=3, color=colour, label="difference")

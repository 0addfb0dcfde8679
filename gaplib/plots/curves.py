"""Curves over lambda, and of lambda: the gap, what a probe learns of it, what was published, the learned lambda."""

from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gaplib import modulate
from gaplib.plots import layout, style

SHOWN = ("centroid_distance", "paired_cosine", "relative_gap")  # of the measures by lambda, those of the gap
OURS = "#882255"
LEARNED = "#009E73"
HARD = ("ham10000",)  # the published AUC of several classes is that of hard predictions
TREATMENT_LOOKS = {
    "shift": {"color": "black", "lw": 1.8, "marker": "o"},
    "placebo": {"color": "#56B4E9", "lw": 1.2, "ls": "--", "marker": "s"},
    "rescale": {"color": "#E69F00", "lw": 1.2, "ls": "-.", "marker": "^"},
    "standardise": {"color": "#882255", "lw": 1.2, "ls": ":", "marker": "D"},
}
OTHER = {"color": style.NEUTRAL, "lw": 1, "marker": "v"}


def gap_by_lambda(table: pd.DataFrame, note: str = "") -> Figure:
    """Measures of the gap as lambda closes it: one row a dataset, one column a measure, one line an encoder.

    Parameters
    ----------
    table : DataFrame
        dataset, encoder, encoder_domain, lam, measure, value.
    """
    table = table[table["measure"].isin(SHOWN)]
    table = table.assign(measure=table["measure"].map(modulate.LABELS))
    fig, cells = layout.grid(table, 1.25, "lambda", by="measure", sharex=True, sharey="col")
    looks = _encoder_looks(table)
    for ax, cell in cells:
        for encoder, look in looks.items():
            ax.plot("lam", "value", data=cell[cell["encoder"] == encoder], label=encoder, ms=3, mew=0.8, **look)
        ax.axhline(0, color="0.85", lw=0.6, zorder=0)
        ax.set_xticks([0, 0.5, 1])
    handles, _ = cells[0][0].get_legend_handles_labels()
    layout.legend(fig, handles, min(len(handles), 4))
    layout.caption(fig, f"{layout.LAMBDA} {note}")
    return fig


def _encoder_looks(table):
    """A marker for each encoder, in the colour of its domain."""
    domains = table.drop_duplicates("encoder").set_index("encoder")["encoder_domain"]
    looks = {}
    for (encoder, domain), marker in zip(domains.items(), cycle(style.MARKERS), strict=False):
        looks[encoder] = {"marker": marker, "color": style.DOMAIN[domain], "mfc": "white"}
    return looks


def auc_by_lambda(curves: pd.DataFrame, chosen: pd.DataFrame, note: str = "") -> Figure:
    """Test AUC against lambda: mean and sample standard deviation over seeds, validation-chosen lambda marked.

    Each panel has its own range of at least 0.03.

    Parameters
    ----------
    curves : DataFrame
        From `sweep.curve`.
    chosen : DataFrame
        From `sweep.choose`.
    """
    fig, cells = layout.grid(curves, 1.2, "lambda", sharex=True)
    for ax, cell in cells:
        at = chosen.merge(cell[["dataset", "encoder"]].drop_duplicates())
        _curve(ax, cell, at, style.CHOSEN)
        _own_range(ax)
    fig.supylabel("test AUC (macro)", size=8)
    dot = Line2D([], [], marker="o", ls="", mfc=style.CHOSEN, mec="black", label="lambda chosen on validation data")
    layout.legend(fig, [Line2D([], [], color="0.8", lw=5, label="mean +- std over seeds"), dot], 2)
    layout.caption(fig, f"{layout.LAMBDA} {note}")
    return fig


def _curve(ax: Axes, cell: pd.DataFrame, marked: pd.DataFrame, colour: str) -> None:
    """A mean in the band of its standard deviation, and a dot on what is marked of it."""
    ax.fill_between(cell["lam"], cell["mean"] - cell["std"], cell["mean"] + cell["std"], color="0.8", lw=0)
    ax.plot("lam", "mean", data=cell, color="black")
    ax.plot("lam", "mean", "o", data=marked, ms=5, mfc=colour, mec="black", mew=0.8, clip_on=False, zorder=3)


def _own_range(ax: Axes) -> None:
    """All that is drawn, and at least 0.03 of it."""
    middle = np.mean(ax.get_ylim())
    half = max(0.015, np.ptp(ax.get_ylim()) / 2)
    ax.set(ylim=(middle - half, middle + half), xticks=[0, 0.5, 1])
    ax.yaxis.set_major_locator(plt.MaxNLocator(3))
    ax.ticklabel_format(useOffset=False)


def published(table: pd.DataFrame, ours: pd.DataFrame | None = None) -> Figure:
    """The published curves of test AUC against lambda, mean and sample standard deviation over 5 runs, and ours.

    Each panel has its own range of at least 0.03, as in `plots.auc_by_lambda`. Source: arXiv 2603.17246.

    Parameters
    ----------
    table : DataFrame
        `data/published/published_sweeps.csv`: dataset, encoder, lam, metric, mean, std.
    ours : DataFrame, optional
        Of `sweep.Sweep.table`: the shift, under the published training. Cells of the same encoder and dataset (or a
        variant of it, such as `ham10000-published`) are drawn beside, by the same kind of AUC: of hard predictions
        where that was published.
    """
    table = table[table["metric"] == "auc"]
    layout.check(table, "dataset", "encoder", "lam")
    fig, cells = layout.grid(table, 1.25, "lambda", sharex=True)
    handles = {
        "band": Line2D([], [], color="0.8", lw=5, label="mean +- std over runs"),
        "best": Line2D([], [], marker="o", ls="", mfc="white", mec="black", label="best lambda of the test curve"),
    }
    for ax, cell in cells:
        best = cell.nlargest(1, "mean")
        _curve(ax, cell, best, "white")
        mine = _reproduced(ours, best["dataset"].item(), best["encoder"].item())
        if len(mine):
            (handles["ours"],) = ax.plot(mine.index, mine, color=OURS, label="ours, mean over seeds")
        _own_range(ax)
    fig.supylabel("published test AUC", size=8)
    layout.legend(fig, handles.values(), 3)
    layout.caption(
        fig,
        "Figures published with arXiv 2603.17246: early fusion, linear classifier, 5 runs, macro AUC. The best lambda "
        f"is read off the test curve, as published; the AUC of ham10000 is of hard predictions. {layout.LAMBDA}",
    )
    return fig


def _reproduced(ours, dataset, encoder):
    """Our mean curve of a published cell, a Series by lambda; empty where there is none."""
    if ours is None:
        return pd.Series(dtype=float)
    metric = "auc_hard" if dataset in HARD else "auc"
    ours = ours[(ours["encoder"] == encoder) & (ours["split"] == "test") & (ours["metric"] == metric)]
    variants = sorted(name for name in ours["dataset"].unique() if f"{name}-".startswith(f"{dataset}-"))
    as_published = f"{dataset}-published"
    ours = ours[ours["dataset"].isin([as_published] if as_published in variants else variants[:1])]
    if len(ours):
        layout.check(ours, "dataset", "encoder", "lam", "seed")
    return ours.groupby("lam")["value"].mean()


def learned_lambda(path: pd.DataFrame, chosen: pd.DataFrame) -> Figure:
    """Lambda as it is learned with the probe, by epoch and seed, beside the lambda chosen on validation data.

    Parameters
    ----------
    path : DataFrame
        dataset, encoder, seed, epoch, lam.
    chosen : DataFrame
        From `sweep.choose`: dataset, encoder, lam.
    """
    layout.check(path, "dataset", "encoder", "seed", "epoch")
    layout.check(chosen, "dataset", "encoder")
    fig, cells = layout.grid(path, 1.05, "epoch", sharex=True, sharey=True)
    for ax, cell in cells:
        for guide in (0, 1):
            ax.axhline(guide, color="0.88", lw=0.6, zorder=0)
        for _, seed in cell.sort_values("epoch").groupby("seed"):
            ax.plot(seed["epoch"], seed["lam"], color=LEARNED, lw=0.7)
        for lam in chosen.merge(cell[["dataset", "encoder"]].drop_duplicates())["lam"]:
            ax.axhline(lam, color="black", lw=0.9, ls="--")
            ax.annotate(f"{lam:g}", (1, lam), (2, 0), ax.get_yaxis_transform(), "offset points", va="center", size=6.5)
    low = min(0, path["lam"].min())
    high = max(1, path["lam"].max())
    fig.axes[0].set(ylim=(low - 0.06, high + 0.06), xlim=(path["epoch"].min(), path["epoch"].max()))
    fig.supylabel("learned lambda", size=8)
    handles = [
        Line2D([], [], color=LEARNED, lw=0.7, label="learned, one line a seed"),
        Line2D([], [], color="black", lw=0.9, ls="--", label="chosen on validation data"),
    ]
    layout.legend(fig, handles, 2)
    layout.caption(fig, layout.LAMBDA)
    return fig


def transient(table: pd.DataFrame, note: str = "") -> Figure:
    """AUC(1) - AUC(0) along training, by treatment; one panel a cell, the margin as a band, the converged probe's end.

    Parameters
    ----------
    table : DataFrame
        dataset, encoder, treatment, epoch (infinity: the converged probe), difference, margin.
    """
    layout.check(table, "dataset", "encoder", "treatment", "epoch")
    cells = table.groupby(["dataset", "encoder"], sort=False)
    columns = 3 if len(cells) < 10 else 4
    height = min(1.7, style.HIGH / -(-len(cells) // columns))
    fig, axes = layout.panels(len(cells), columns, height, 0.9, sharex=True)
    last = table.loc[np.isfinite(table["epoch"]), "epoch"].max()
    for ax, ((dataset, encoder), cell) in zip(axes.flat, cells, strict=False):
        _paths(ax, cell, 4 * last)
        ax.set_title(f"{dataset}\n{encoder}")
    axes[0, 0].set_xticks([1, 10, 100, last, 4 * last], ["1", "10", "100", f"{last:g}", "end"])
    fig.supylabel("AUC(1) - AUC(0), symlog", size=8)
    names = table["treatment"].unique()
    handles = [Line2D([], [], ms=4, label=name, **TREATMENT_LOOKS.get(name, OTHER)) for name in names]
    layout.legend(fig, [*handles, layout.margin_handle(table)], 6)
    layout.caption(
        fig,
        "Differences of test AUC by epoch, without early stopping; `end`: the converged probe, its strength chosen on "
        f"validation data. Linear within twice the margin, logarithmic beyond. {layout.LAMBDA} {note}",
    )
    return fig


def _paths(ax: Axes, cell: pd.DataFrame, end: float) -> None:
    """The paths of one cell, and at `end` where the converged probe is."""
    ax.set_xscale("log")
    layout.differences(ax.yaxis, cell["margin"].iloc[0], cell["difference"].abs().max())
    for treatment, rows in cell.groupby("treatment", sort=False):
        look = TREATMENT_LOOKS.get(treatment, OTHER)
        rows = rows.sort_values("epoch")
        converged = np.isinf(rows["epoch"])
        ax.plot("epoch", "difference", data=rows[~converged], label=treatment, **look | {"marker": ""})
        ends = rows.loc[converged, "difference"]
        ax.plot(np.full(len(ends), end), ends, label="end", **look | {"ls": "", "ms": 4})

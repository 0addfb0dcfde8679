"""Curves over lambda, and of lambda: the gap, what a probe learns of it, what was published, the learned lambda."""

from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gaplib.plots import layout, style

MEASURES = {
    "centroid_distance": "centroid distance",
    "paired_cosine": "paired cosine",
    "relative_gap": "relative gap (RMG)",
}
OURS = "#882255"
LEARNED = "#009E73"
HARD = ("ham10000",)  # the published AUC of several classes is that of hard predictions
DASHED = (0, (4, 2))


def gap_by_lambda(table: pd.DataFrame, note: str = "") -> Figure:
    """Measures of the gap as lambda closes it: one row a dataset, one column a measure, one line an encoder.

    Parameters
    ----------
    table : DataFrame
        dataset, encoder, encoder_domain, lam, measure, value.
    note : str
        What the caption adds.
    """
    fig, axes, by_dataset = layout.dataset_rows(table, list(MEASURES.values()), 1.25, sharex=True, sharey="col")
    looks = _encoder_looks(table)
    for dataset, row in by_dataset.items():
        part = table[table["dataset"] == dataset]
        for ax, measure in zip(row, MEASURES, strict=True):
            _gap(ax, part[part["measure"] == measure], looks)
    layout.label_below(axes, "lambda")
    layout.caption(fig, f"{layout.LAMBDA} {note}")
    handles = [Line2D([], [], ms=4, label=encoder, **look) for encoder, look in looks.items()]
    layout.legend(fig, handles, min(len(handles), 4))
    return fig


def _encoder_looks(table):
    """A marker for each encoder, in the colour of its domain."""
    domains = table.drop_duplicates("encoder").set_index("encoder")["encoder_domain"]
    looks = {}
    for (encoder, domain), marker in zip(domains.items(), cycle(style.MARKERS), strict=False):
        colour = style.DOMAIN.get(domain, style.NEUTRAL)
        looks[encoder] = {"marker": marker, "color": colour, "mfc": "white"}
    return looks


def _gap(ax: Axes, part: pd.DataFrame, looks: dict) -> None:
    """One measure on one dataset, by encoder."""
    for encoder, look in looks.items():
        ax.plot("lam", "value", data=part[part["encoder"] == encoder], ms=3, mew=0.8, **look)
    ax.axhline(0, color="0.85", lw=0.6, zorder=0)
    ax.set_xticks([0, 0.5, 1])


def auc_by_lambda(curves: pd.DataFrame, chosen: pd.DataFrame, note: str = "") -> Figure:
    """Test AUC against lambda: mean and sample standard deviation over seeds, validation-chosen lambda marked.

    Each panel has its own range of at least 0.03.

    Parameters
    ----------
    curves : DataFrame
        From `sweep.curve`.
    chosen : DataFrame
        From `sweep.choose`.
    note : str
        What the caption adds, such as the number of pairs and seeds.
    """
    fig, axes, cells = layout.grid(curves, 1.2, sharex=True)
    for ax, cell in cells:
        _mean_and_std(ax, cell)
        at = chosen.merge(cell[["dataset", "encoder"]].drop_duplicates())
        ax.plot(at["lam"], at["mean"], "o", ms=5, mfc=style.CHOSEN, mec="black", mew=0.8, clip_on=False, zorder=3)
        _own_range(ax, cell["mean"].mean(), cell["mean"], cell["std"])
    layout.label_below(axes, "lambda")
    layout.caption(fig, f"{layout.LAMBDA} {note}")
    fig.supylabel("test AUC (macro)", size=8)
    dot = Line2D([], [], marker="o", ls="", mfc=style.CHOSEN, mec="black", label="lambda chosen on validation data")
    layout.legend(fig, [Line2D([], [], color="0.8", lw=5, label="mean +- std over seeds"), dot], 2)
    return fig


def _mean_and_std(ax: Axes, cell: pd.DataFrame) -> None:
    ax.fill_between(cell["lam"], cell["mean"] - cell["std"], cell["mean"] + cell["std"], color="0.8", lw=0)
    ax.plot(cell["lam"], cell["mean"], color="black")


def _own_range(ax: Axes, middle: float, seen: pd.Series, std: pd.Series) -> None:
    """A range about `middle` that holds what is seen and its std (NaN of a single seed)."""
    half = max(0.015, 0.75 * np.ptp(seen) + std.fillna(0).max())
    ax.set(ylim=(middle - half, middle + half), xticks=[0, 0.5, 1])
    ax.yaxis.set_major_locator(plt.MaxNLocator(3))
    ax.ticklabel_format(useOffset=False)


def published(table: pd.DataFrame, note: str = "", ours: pd.DataFrame | None = None) -> Figure:
    """The published curves of test AUC against lambda, mean and sample standard deviation over 5 runs, and ours.

    Each panel has its own range of at least 0.03, as in `plots.auc_by_lambda`. Source: arXiv 2603.17246.

    Parameters
    ----------
    table : DataFrame
        `data/published/published_sweeps.csv`: dataset, encoder, lam, metric, mean, std.
    note : str
        What the caption adds.
    ours : DataFrame, optional
        Of `sweep.Sweep.table`: the shift, under the published training. Cells of the same encoder and dataset (or a
        variant of it, such as `ham10000-published`) are drawn beside, by the same kind of AUC: of hard predictions
        where that was published.
    """
    table = table[table["metric"] == "auc"]
    layout.check_once(table, "dataset", "encoder", "lam")
    fig, axes, cells = layout.grid(table, 1.25, sharex=True)
    drawn = [_beside_ours(ax, cell, ours) for ax, cell in cells]
    layout.label_below(axes, "lambda")
    layout.caption(
        fig,
        "Figures published with arXiv 2603.17246: early fusion, linear classifier, 5 runs, macro AUC. The best lambda "
        f"is read off the test curve, as published; the AUC of ham10000 is of hard predictions. {layout.LAMBDA} {note}",
    )
    fig.supylabel("published test AUC", size=8)
    handles = [
        Line2D([], [], color="0.8", lw=5, label="mean +- std over runs"),
        Line2D([], [], marker="o", ls="", mfc="white", mec="black", label="best lambda of the test curve"),
    ]
    if any(drawn):
        handles.append(Line2D([], [], color=OURS, label="ours, mean over seeds"))
    layout.legend(fig, handles, 3)
    return fig


def _beside_ours(ax, cell, ours):
    """A published curve and, if there is one, ours; whether there is."""
    best = cell.loc[cell["mean"].idxmax()]
    mine = _reproduced(ours, best["dataset"], best["encoder"])
    _mean_and_std(ax, cell)
    ax.plot(best["lam"], best["mean"], "o", ms=5, mfc="white", mec="black", mew=0.9, clip_on=False, zorder=3)
    if len(mine):
        ax.plot(mine.index, mine, color=OURS)
    seen = pd.concat([cell["mean"], mine])
    _own_range(ax, (seen.max() + seen.min()) / 2, seen, cell["std"])
    return len(mine) > 0


def _reproduced(ours, dataset, encoder):
    """Our mean curve of a published cell, a Series by lambda; empty where there is none."""
    if ours is None or ours.empty:
        return pd.Series(dtype=float)
    ours = ours[(ours["encoder"] == encoder) & (ours["split"] == "test")]
    ours = ours[ours["metric"] == ("auc_hard" if dataset in HARD else "auc")]
    variants = sorted(name for name in ours["dataset"].unique() if f"{name}-".startswith(f"{dataset}-"))
    if not variants:
        return pd.Series(dtype=float)
    as_published = f"{dataset}-published"
    variant = as_published if as_published in variants else variants[0]
    ours = ours[ours["dataset"] == variant]
    layout.check_once(ours, "dataset", "encoder", "lam", "seed")
    return ours.groupby("lam")["value"].mean()


def learned_lambda(path: pd.DataFrame, chosen: pd.DataFrame, note: str = "") -> Figure:
    """Lambda as it is learned with the probe, by epoch and seed, beside the lambda chosen on validation data.

    Parameters
    ----------
    path : DataFrame
        dataset, encoder, seed, epoch, lam.
    chosen : DataFrame
        From `sweep.choose`: dataset, encoder, lam.
    note : str
        What the caption adds, such as the protocol and the number of pairs.

    Raises
    ------
    ValueError
        If a cell has more than one row for a seed and epoch, or more than one chosen lambda.
    """
    layout.check_once(path, "dataset", "encoder", "seed", "epoch")
    layout.check_once(chosen, "dataset", "encoder")
    fig, axes, cells = layout.grid(path, 1.05, sharex=True, sharey=True)
    for ax, cell in cells:
        for guide in (0, 1):
            ax.axhline(guide, color="0.88", lw=0.6, zorder=0)
        for _, seed in cell.sort_values("epoch").groupby("seed"):
            ax.plot(seed["epoch"], seed["lam"], color=LEARNED, lw=0.7)
        for lam in chosen.merge(cell[["dataset", "encoder"]].drop_duplicates())["lam"]:
            ax.axhline(lam, color="black", lw=0.9, ls=DASHED)
            ax.annotate(f"{lam:g}", (1, lam), (2, 0), ax.get_yaxis_transform(), "offset points", va="center", size=6.5)
    low = min(0, path["lam"].min())
    high = max(1, path["lam"].max())
    axes[0, 0].set(ylim=(low - 0.06, high + 0.06), xlim=(path["epoch"].min(), path["epoch"].max()))
    layout.label_below(axes, "epoch")
    layout.caption(fig, f"{layout.LAMBDA} {note}")
    fig.supylabel("learned lambda", size=8)
    handles = [
        Line2D([], [], color=LEARNED, lw=0.7, label="learned, one line a seed"),
        Line2D([], [], color="black", lw=0.9, ls=DASHED, label="chosen on validation data"),
    ]
    layout.legend(fig, handles, 2)
    return fig

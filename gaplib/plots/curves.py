"""What a probe learns, as figures: tidy tables in, a matplotlib figure out."""

from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from gaplib.plots import style
from gaplib.plots.clouds import LAMBDA, _grid, caption
from gaplib.sweep.scores import curve

PROTOCOLS = {  # how the line of each protocol looks, in the order of the legend
    "published": {"color": "black", "ls": "-", "lw": 1.8},
    "converged": {"color": "#0072B2", "ls": "-", "lw": 1.2},
    "no-renorm": {"color": "#56B4E9", "ls": ":", "lw": 1.6},
    "rescale": {"color": "#E69F00", "ls": "--", "lw": 1.2},
    "gap-kept": {"color": "#CC79A7", "ls": "-.", "lw": 1.2},
}
OURS = "#882255"
HARD = ("ham10000",)  # the published AUC of several classes is that of hard predictions
OTHERS = ("#009E73", "#882255", "#999933", "#44AA99")
DIFFERENCES = {  # label, colour, marker, its size, place in the row of the cell
    "lam_0": ("AUC(chosen) - AUC(0)", "black", "o", 4, -0.27),
    "lam_1": ("AUC(chosen) - AUC(1)", "#E69F00", "s", 3.5, 0),
    "one_0": ("AUC(1) - AUC(0)", "0.65", "^", 3.5, 0.27),
}
VERDICTS = {
    "an intermediate lambda is better": ("intermediate", "#7B3294"),
    "closing is better": ("closing", "#00795A"),
    "leaving it is better": ("leaving", "#A6611A"),
    "no detectable difference": ("none", style.NEUTRAL),
}


def _check_once(table, *columns):
    """One row a place in the figure: of several fusions, say, a line would jump between them."""
    twice = table[table.duplicated(list(columns))]
    if len(twice):
        where = ", ".join(f"{column} {twice[column].iloc[0]}" for column in columns)
        raise ValueError(f"more than one row for {where}: keep one kind of run (one fusion, say)")


def controls(curves, note=""):
    """What each protocol makes of lambda: the change of its mean test AUC from that at the lambda nearest 0.

    The panels of a dataset share one axis, so that their slopes compare. The band is the sample standard deviation over
    seeds of the published protocol's AUC; there is none where it is missing.

    Parameters
    ----------
    curves : DataFrame
        From `sweep.curve`, of several protocols: dataset, encoder, protocol, lam, mean, std.
    note : str
        What the caption adds, such as the number of pairs and seeds.

    Raises
    ------
    ValueError
        If a cell has more than one row for a protocol and lambda.
    """
    _check_once(curves, "dataset", "encoder", "protocol", "lam")
    there, others = list(curves["protocol"].unique()), cycle(OTHERS)
    names = [name for name in PROTOCOLS if name in there] + [name for name in there if name not in PROTOCOLS]
    looks = {name: PROTOCOLS.get(name) or {"color": next(others), "ls": (0, (5, 1, 1, 1)), "lw": 1.2} for name in names}
    fig, axes, cells = _grid(curves, 1.35, sharex=True, sharey="row")
    for ax, cell in cells:
        ax.axhline(0, color="0.8", lw=0.6, zorder=0)
        for name, look in looks.items():
            line = cell[cell["protocol"] == name].sort_values("lam")
            if line.empty:
                continue
            change = line["mean"] - line.loc[line["lam"].abs().idxmin(), "mean"]
            ax.plot(line["lam"], change, label=name, **look)
            if name == "published" and line["std"].notna().any():
                low, high = change - line["std"], change + line["std"]
                ax.fill_between(line["lam"], low, high, color="0.85", lw=0, zorder=0.5)
        ax.set(xticks=[0, 0.5, 1])
    for ax in axes[:, 0]:
        low, high = ax.get_ylim()
        ax.set_ylim(min(low, -0.005), max(high, 0.005))
        ax.yaxis.set_major_locator(plt.MaxNLocator(4))
    for ax in axes[-1]:
        ax.set_xlabel("lambda")
    caption(fig, f"Mean test AUC less that at the lambda nearest 0. {LAMBDA} {note}")
    fig.supylabel("change of test AUC", size=8)
    handles = [Line2D([], [], label=name, **look) for name, look in looks.items()]
    if "published" in looks:
        handles.insert(1, Line2D([], [], color="0.85", lw=5, label="its std over seeds"))
    fig.legend(handles=handles, loc="outside upper right", ncols=6)
    return fig


def verdicts(table, note=""):
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
    _check_once(table, "dataset", "encoder", "protocol")
    datasets, encoders = table["dataset"].unique(), table["encoder"].unique()
    cells = table.groupby(["dataset", "encoder"]).groups
    # From the top: the name of a dataset, then a row for each of its cells.
    rows = [(d, e) for d in datasets for e in (None, *encoders) if e is None or (d, e) in cells]
    place = {row: i for i, row in enumerate(rows)}
    protocols = table["protocol"].unique()
    columns = min(3, len(protocols))
    lines = -(-len(protocols) // columns)
    size = style.WIDE, lines * (0.23 * len(rows) + 0.5) + 0.5
    fig, axes = plt.subplots(lines, columns, squeeze=False, sharex=True, sharey=True, figsize=size)
    for ax in axes.flat[len(protocols) :]:
        ax.set_axis_off()
    for ax, protocol in zip(axes.flat, protocols, strict=False):
        _forest(ax, table[table["protocol"] == protocol], place)
        ax.set_title(protocol)
        ax.tick_params(labelbottom=True)  # also above a place left empty
        ax.tick_params(axis="y", length=0)
        ax.xaxis.set_major_locator(plt.MaxNLocator({1: 6, 2: 5, 3: 3}[columns], steps=[1, 2, 5, 10]))
        ax.xaxis.set_major_formatter("{x:g}")
    axes[0, 0].set_yticks(list(place.values()), [encoder or dataset for dataset, encoder in rows])
    axes[0, 0].set_ylim(len(rows) - 0.4, -0.6)
    for row in axes:
        for label, (_, encoder) in zip(row[0].get_yticklabels(), rows, strict=True):
            label.set_fontweight("normal" if encoder else "bold")
    handles = [
        Line2D([], [], marker=marker, ms=ms, mew=0, color=colour, lw=1.1, label=label)
        for label, colour, marker, ms, _ in DIFFERENCES.values()
    ]
    fig.legend(handles=handles, loc="outside upper right", ncols=3)
    caption(
        fig,
        "Differences of test AUC with 95 % intervals (paired bootstrap over whole groups of test rows); lambda chosen "
        f"on validation data; verdicts Holm-corrected over the cells. {LAMBDA} {note}",
    )
    return fig


def _forest(ax, part, place):
    """The cells of one protocol, each in the row that `place` gives it."""
    y = np.array([place[cell] for cell in zip(part["dataset"], part["encoder"], strict=True)])
    ax.axvline(0, color="0.7", lw=0.6, zorder=0)
    for at in y:
        ax.axhline(at, color="0.94", lw=0.6, zorder=-1)
    for name, (_, colour, marker, ms, offset) in DIFFERENCES.items():
        ax.hlines(y + offset, part[f"{name}_low"], part[f"{name}_high"], colour, lw=1.1, label=name)
        ax.plot(part[name], y + offset, marker, ms=ms, mew=0, color=colour, zorder=3, label=name)
    ax.set_xlabel("difference of test AUC")
    # Beside the axes, a column for lambda and one for the verdict.
    beside = {"xycoords": ax.get_yaxis_transform(), "textcoords": "offset points", "va": "center", "size": 6.5}
    ax.annotate("lambda, better:", (1, 0), (4, 0), color=style.NEUTRAL, **beside)
    for at, lam, verdict in zip(y, part["lam"], part["verdict"], strict=True):
        short, colour = VERDICTS[verdict]
        ax.annotate(f"{lam:g}", (1, at), (4, 0), color=colour, **beside)
        ax.annotate(short, (1, at), (19, 0), color=colour, **beside)


def published(table, note="", ours=None):
    """The published curves of test AUC against lambda, mean and sample standard deviation over 5 runs, and ours.

    Each panel has its own range of at least 0.03, as in `plots.auc_by_lambda`.

    Parameters
    ----------
    table : DataFrame
        `data/published/published_sweeps.csv`: dataset, encoder, lam, metric, mean, std.
    note : str
        What the caption adds.
    ours : DataFrame, optional
        Of `sweep.Sweep.table`, published protocol. Cells of the same encoder and dataset (or a variant of it, such as
        `ham10000-published`) are drawn beside, by the same kind of AUC: of hard predictions where that was published.

    References
    ----------
    arXiv 2603.17246.
    """
    table = table[table["metric"] == "auc"]
    _check_once(table, "dataset", "encoder", "lam")
    fig, axes, cells = _grid(table, 1.25, sharex=True)
    for ax, cell in cells:
        best, mine = cell.loc[cell["mean"].idxmax()], _reproduced(ours, *cell.iloc[0][["dataset", "encoder"]])
        ax.fill_between(cell["lam"], cell["mean"] - cell["std"], cell["mean"] + cell["std"], color="0.8", lw=0)
        ax.plot(cell["lam"], cell["mean"], color="black")
        ax.plot(best["lam"], best["mean"], "o", ms=5, mfc="white", mec="black", mew=0.9, clip_on=False, zorder=3)
        if len(mine):
            ax.plot(mine.index, mine, color=OURS)
        seen = np.concatenate([cell["mean"], mine])
        middle, half = (seen.max() + seen.min()) / 2, max(0.015, 0.75 * np.ptp(seen) + cell["std"].max())
        ax.set(ylim=(middle - half, middle + half), xticks=[0, 0.5, 1])
        ax.yaxis.set_major_locator(plt.MaxNLocator(3))
        ax.ticklabel_format(useOffset=False)
    for ax in axes[-1]:
        ax.set_xlabel("lambda")
    caption(
        fig,
        "Figures published with arXiv 2603.17246: early fusion, linear classifier, 5 runs. The best lambda is read off "
        f"the test curve, as published; the AUC of ham10000 is of hard predictions. {LAMBDA} {note}",
    )
    fig.supylabel("test AUC (macro), as published", size=8)
    handles = [
        Line2D([], [], color="0.8", lw=5, label="mean +- std over runs"),
        Line2D([], [], marker="o", ls="", mfc="white", mec="black", label="best lambda of the test curve"),
    ]
    if any(len(ax.lines) > 2 for ax, _ in cells):
        handles.append(Line2D([], [], color=OURS, label="ours, mean over seeds"))
    fig.legend(handles=handles, loc="outside upper right", ncols=3)
    return fig


def _reproduced(ours, dataset, encoder):
    """Our mean curve of a published cell, a Series by lambda; empty where there is none."""
    if ours is None:
        return pd.Series(dtype=float)
    named = (ours["dataset"] == dataset) | ours["dataset"].str.startswith(f"{dataset}-")
    rows = ours[named & (ours["encoder"] == encoder)]
    # Of several variants the one that is as published.
    best = min(rows["dataset"].unique(), key=lambda name: (name != f"{dataset}-published", name), default=None)
    rows = rows[rows["dataset"] == best]
    return curve(rows, "auc_hard" if dataset in HARD else "auc").set_index("lam")["mean"]


def learned_lambda(path, chosen, note=""):
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
    _check_once(path, "dataset", "encoder", "seed", "epoch")
    _check_once(chosen, "dataset", "encoder")
    fig, axes, cells = _grid(path, 1.25, sharex=True, sharey=True)
    for ax, cell in cells:
        for guide in (0, 1):
            ax.axhline(guide, color="0.88", lw=0.6, zorder=0)
        for _, seed in cell.sort_values("epoch").groupby("seed"):
            ax.plot(seed["epoch"], seed["lam"], color="#009E73", lw=0.7)
        for lam in chosen.merge(cell[["dataset", "encoder"]].drop_duplicates())["lam"]:
            ax.axhline(lam, color="black", lw=0.9, ls=(0, (4, 2)))
            ax.annotate(f"{lam:g}", (1, lam), (2, 0), ax.get_yaxis_transform(), "offset points", va="center", size=6.5)
    low, high = min(0, path["lam"].min()), max(1, path["lam"].max())
    axes[0, 0].set(ylim=(low - 0.06, high + 0.06), xlim=(path["epoch"].min(), path["epoch"].max()))
    for ax in axes[-1]:
        ax.set_xlabel("epoch")
    caption(fig, f"{LAMBDA} {note}")
    fig.supylabel("learned lambda", size=8)
    handles = [
        Line2D([], [], color="#009E73", lw=0.7, label="learned, one line a seed"),
        Line2D([], [], color="black", lw=0.9, ls=(0, (4, 2)), label="chosen on validation data"),
    ]
    fig.legend(handles=handles, loc="outside upper right", ncols=2)
    return fig

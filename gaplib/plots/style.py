"""One look for every figure, and one way to save it."""

import datetime as dt
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

IMAGE = "#0072B2"
TEXT = "#D55E00"
NEUTRAL = "#6E6E6E"
CHOSEN = "#F0E442"
DOMAIN = {"medical": "#009E73", "general": "#CC79A7", "natural": "#CC79A7", "": "black"}  # of encoders, of datasets
NARROW = 3.4  # inches, as WIDE
WIDE = 7.0
HIGH = 8.4  # of all rows of a figure together, so that it fits a page
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

RC = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.edgecolor": "0.15",
    "axes.labelcolor": "0.15",
    "text.color": "0.15",
    "xtick.color": "0.15",
    "ytick.color": "0.15",
    "lines.linewidth": 1.2,
    "lines.solid_capstyle": "round",
    "image.cmap": "cividis",
    "pdf.fonttype": 42,
    "figure.constrained_layout.use": True,
}


def use() -> None:
    """Make this the look of every figure drawn from now on."""
    plt.rcParams.update(RC)


def save(fig: Figure, name: str, folder: str | Path) -> Path:
    """Write `{folder}/{name}.png` (300 dpi) and `.pdf`, byte-identical for identical figures.

    Parameters
    ----------
    fig : matplotlib Figure
    name : str
    folder : Path

    Returns
    -------
    Path
        Of the PNG.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    fig.savefig(folder / f"{name}.png", dpi=300, metadata={"Software": None})
    # A fixed date: a figure that did not change must not differ.
    fig.savefig(folder / f"{name}.pdf", dpi=300, metadata={"CreationDate": dt.datetime(2026, 1, 1)})
    plt.close(fig)
    return folder / f"{name}.png"

"""One function a figure: tidy tables in, a matplotlib figure out; `style` is the look of all of them."""

from gaplib.plots import style
from gaplib.plots.animation import umap_by_lambda
from gaplib.plots.clouds import cones_sphere, cones_umap, cosines
from gaplib.plots.curves import auc_by_lambda, gap_by_lambda, learned_lambda, published
from gaplib.plots.decision import heads, transient, treatments
from gaplib.plots.forest import cones_published, sensitivity, verdicts
from gaplib.plots.layout import caption

__all__ = [
    "auc_by_lambda",
    "caption",
    "cones_published",
    "cones_sphere",
    "cones_umap",
    "cosines",
    "gap_by_lambda",
    "heads",
    "learned_lambda",
    "published",
    "sensitivity",
    "style",
    "transient",
    "treatments",
    "umap_by_lambda",
    "verdicts",
]

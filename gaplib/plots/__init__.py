"""One function a figure: a tidy table in, a matplotlib figure out; `style` is the look of all of them.

Each names the columns that its table must have; a column `dataset_domain` makes it tell natural data from medical. A
`note` is what the caption adds, such as the number of pairs and seeds. A ValueError says that a table has no rows, or
more than one row for a place in the figure, as when the runs of two fusions are mixed.
"""

from gaplib.plots import style
from gaplib.plots.animation import umap_by_lambda
from gaplib.plots.clouds import cones_sphere, cones_umap, cosines
from gaplib.plots.curves import auc_by_lambda, gap_by_lambda, learned_lambda, published, transient
from gaplib.plots.forest import cones_published, heads, sensitivity, treatments, verdicts
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

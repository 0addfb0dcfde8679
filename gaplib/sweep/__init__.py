"""What a probe learns by lambda: sweeps, their scores and verdicts."""

from gaplib.sweep.scores import CELL, auc, choose, curve, metrics, sensitivity
from gaplib.sweep.sweep import FUSIONS, LAMS, PROTOCOLS, PUBLISHED, SEEDS, Sweep, sweep
from gaplib.sweep.verdicts import compare, contrasts

__all__ = [
    "CELL",
    "FUSIONS",
    "LAMS",
    "PROTOCOLS",
    "PUBLISHED",
    "SEEDS",
    "Sweep",
    "auc",
    "choose",
    "compare",
    "contrasts",
    "curve",
    "metrics",
    "sensitivity",
    "sweep",
]

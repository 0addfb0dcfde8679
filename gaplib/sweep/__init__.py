"""What a probe learns by lambda: sweeps, their scores and verdicts."""

from gaplib.sweep.checks import FUSIONS
from gaplib.sweep.probe import Converged, Training
from gaplib.sweep.scores import CELL, auc, choose, curve, metrics
from gaplib.sweep.sweep import LAMS, PROTOCOLS, PUBLISHED, SEEDS, Sweep, sweep
from gaplib.sweep.verdicts import contrasts, sensitivity

__all__ = [
    "CELL",
    "FUSIONS",
    "LAMS",
    "PROTOCOLS",
    "PUBLISHED",
    "SEEDS",
    "Converged",
    "Sweep",
    "Training",
    "auc",
    "choose",
    "contrasts",
    "curve",
    "metrics",
    "sensitivity",
    "sweep",
]

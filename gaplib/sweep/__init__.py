"""What a probe learns of treated features by strength: sweeps over lambda, their scores and verdicts."""

from gaplib.sweep.closed_form import TREATMENTS
from gaplib.sweep.factorial import factorial
from gaplib.sweep.probe import Converged, Training
from gaplib.sweep.scores import auc, choose, curve, metrics
from gaplib.sweep.sweep import LAMS, PUBLISHED, SEEDS, TIMES, Sweep, sweep, sweeps
from gaplib.sweep.verdicts import contrasts, rises, sensitivity

__all__ = [
    "LAMS",
    "PUBLISHED",
    "SEEDS",
    "TIMES",
    "TREATMENTS",
    "Converged",
    "Sweep",
    "Training",
    "auc",
    "choose",
    "contrasts",
    "curve",
    "factorial",
    "metrics",
    "rises",
    "sensitivity",
    "sweep",
    "sweeps",
]

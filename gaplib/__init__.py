"""The cone effect and the modality gap of vision-language models: measures, the lambda shift, sweeps, an explorer.

The doors: `features` (embeddings of a dataset by an encoder), `cone` and `gap` (measures), `modulate` (moves), `sweep`
(what a probe learns by lambda), `plots` and `explorer` (move it by hand); behind them `datasets` and `encoders`.
"""

from importlib import import_module

__all__ = ["cone", "datasets", "encoders", "explorer", "features", "gap", "modulate", "plots", "sweep"]


def __getattr__(name):
    """Open a door when it is first used, so that `import gaplib` loads nothing heavy."""
    if name not in __all__:
        raise AttributeError(f"module 'gaplib' has no attribute {name!r}")
    return import_module(f"gaplib.{name}")


def __dir__():
    return __all__

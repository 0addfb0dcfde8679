"""The lambda explorer: a self-contained page in which the reader moves both clouds by hand, of one encoder or more."""

from gaplib.explorer.explorer import Explorer, compare, explore

__all__ = ["Explorer", "compare", "explore"]

"""The lambda explorer: one self-contained page in which the reader moves both clouds by hand."""

from gaplib.explorer.explorer import Explorer, explore

__all__ = ["Explorer", "explore"]

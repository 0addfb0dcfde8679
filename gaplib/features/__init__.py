"""Embeddings of a dataset by an encoder: encoded once, stored, opened. The one door between models and arrays."""

from gaplib.features.extract import ENGINES, extract
from gaplib.features.features import Features, load, place
from gaplib.features.foreign import from_arrays, read

__all__ = ["ENGINES", "Features", "extract", "from_arrays", "load", "place", "read"]

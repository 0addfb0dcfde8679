"""Embeddings of a dataset by an encoder: encoded once, stored, opened. The one door between models and arrays."""

from gaplib.features.extract import ENGINES, Features, extract, load, read

__all__ = ["ENGINES", "Features", "extract", "load", "read"]

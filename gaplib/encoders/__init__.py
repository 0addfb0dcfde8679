"""Frozen dual encoders by name: PIL images and strings in, unit-norm rows out; no code of a checkpoint is ever run."""

from gaplib.encoders.registry import REGISTRY, Encoder, domain, load, pick_device, stored_name

__all__ = ["REGISTRY", "Encoder", "domain", "load", "pick_device", "stored_name"]

"""Datasets are loaded where nothing that was made stands in the way of a name."""

import pytest


@pytest.fixture(autouse=True)
def _root(root):
    """An empty folder for what is made."""

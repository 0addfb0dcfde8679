"""How values of a table are shown in an error: in one line, however large they are."""

import reprlib
import textwrap
from collections.abc import Iterable
from pathlib import Path

import numpy as np

SHORT = reprlib.Repr()
SHORT.maxstring = 100
SHORT.maxother = 100
FEW = 9  # names that a list shows


def shown(value: object) -> str:
    """A value in a line.

    Examples
    --------
    >>> shown("a.png"), shown(b"GIF89a"), len(shown("x" * 3_000_000))
    ("'a.png'", 'of 6 bytes', 100)
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return f"of {len(value)} bytes"
    if isinstance(value, np.ndarray):
        return f"of shape {value.shape}"
    if isinstance(value, np.generic):
        value = value.item()
    return SHORT.repr(str(value) if isinstance(value, Path) else value)


def reason(error: Exception) -> str:
    """What a library says, in one line of a bearable length."""
    return textwrap.shorten(str(error) or type(error).__name__, 300)


def listed(names: Iterable) -> str:
    """The first few names.

    Examples
    --------
    >>> listed(["image", "text"]), listed(range(12)), listed([])
    ("'image', 'text'", '0, 1, 2, 3, 4, 5, 6, 7, 8, ...', 'none')
    """
    names = list(names)
    few = ", ".join(shown(name) for name in names[:FEW])
    return f"{few}, ..." if len(names) > FEW else few or "none"

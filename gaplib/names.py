"""Names: found with an error that helps when there is none, refused where they would leave their folder."""

from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType
from typing import Any

LONGEST = 150  # bytes of a name; file systems end at 255, and suffixes are added


def pick(choices: Iterable, name: str, kind: str) -> Any:
    """What goes by a name, or a ValueError that offers the nearest names.

    Parameters
    ----------
    choices : dict or sequence of str
        Things by name; or the names alone, and then the name itself is given back.
    name : str
    kind : str
        What to call it in the error.

    Examples
    --------
    >>> pick({"clip": 1, "siglip": 2}, "clip", "encoder"), pick(["stop", "skip"], "skip", "policy")
    (1, 'skip')
    >>> pick({"clip": 1, "siglip": 2}, "siglp", "encoder")
    Traceback (most recent call last):
    ...
    ValueError: unknown encoder 'siglp': did you mean 'siglip'? Known: clip, siglip
    """
    if isinstance(name, str) and name in choices:
        return choices[name] if isinstance(choices, dict) else name
    near = get_close_matches(str(name), choices, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    raise ValueError(f"unknown {kind} {name!r}: {hint}Known: {', '.join(choices)}")


def extra(module: str, name: str) -> ModuleType:
    """A module that comes with one of gaplib's extras.

    Raises
    ------
    ImportError
        If it is not installed (says how to).

    Examples
    --------
    >>> extra("absent_module", "notebooks")
    Traceback (most recent call last):
    ...
    ImportError: this needs 'absent_module': pip install "gaplib[notebooks]"
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise ImportError(f'this needs {error.name!r}: pip install "gaplib[{name}]"') from error


def plain(name: str, kind: str) -> str:
    r"""A name that a folder or file may have, or a ValueError: so that nothing is read or written outside its place.

    Parameters
    ----------
    name : str
    kind : str
        What to call it in the error.

    Examples
    --------
    >>> plain("phantom-cxr-500", "dataset")
    'phantom-cxr-500'
    >>> plain("../secret", "dataset")
    Traceback (most recent call last):
    ...
    ValueError: '../secret' is no name of a dataset: give a plain name for a folder, without / and \, not empty, . or ..
    """
    usable = isinstance(name, str) and name.isprintable() and name == name.strip() and len(name.encode()) <= LONGEST
    if not usable or name in ("", ".", "..") or "/" in name or "\\" in name:
        shown = repr(name) if len(repr(name)) < LONGEST else f"{repr(name)[:60]}..."
        what = f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
        raise ValueError(
            f"{shown} is no name of {what}: give a plain name for a folder, without / and \\, not empty, . or .."
        )
    return name

"""Finding a thing by its name, with an error that helps when there is none."""

from difflib import get_close_matches


def pick(table, name, kind):
    """`table[name]`, or a ValueError that offers the nearest names.

    Examples
    --------
    >>> pick({"clip": 1, "siglip": 2}, "siglp", "encoder")
    Traceback (most recent call last):
    ...
    ValueError: unknown encoder 'siglp': did you mean 'siglip'? Known: clip, siglip
    """
    if isinstance(name, str) and name in table:
        return table[name]
    near = get_close_matches(str(name), table, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    raise ValueError(f"unknown {kind} {name!r}: {hint}Known: {', '.join(table)}")

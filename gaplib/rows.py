"""What every measure asks of its input."""

import numpy as np


def check(x, name, least=1):
    """`x` as a float array of shape (n, d) of finite, nonzero rows.

    Parameters
    ----------
    x : array_like of shape (n, d)
    name : str
        What to call it in an error.
    least : int
        The fewest rows that will do.

    Raises
    ------
    ValueError
        If it is not 2-D, has too few rows, or a row is not finite or is zero (says which).

    Examples
    --------
    >>> check([[1.0, 0.0], [0.0, float("nan")]], "image")
    Traceback (most recent call last):
    ...
    ValueError: image: row 1 is not finite; drop or repair it
    """
    x = np.asarray(x)
    if x.ndim != 2 or x.dtype.kind not in "fiu":
        raise ValueError(f"{name}: expected a numeric array of shape (n, d), got {x.dtype} of shape {x.shape}")
    if x.dtype.kind != "f":
        x = x.astype(float)
    if len(x) < least:
        raise ValueError(f"{name}: expected at least {least} row{'s' * (least > 1)}, got {len(x)}")
    square = np.einsum("ij,ij->i", x, x)
    for bad, what in ((~np.isfinite(square), "not finite"), (square == 0, "zero")):
        if bad.any():
            raise ValueError(f"{name}: row {int(bad.argmax())} is {what}; drop or repair it")
    return x


def check_two(image, text, least=1):
    """Both modalities checked, and of the same width."""
    image, text = check(image, "image", least), check(text, "text", least)
    if image.shape[1] != text.shape[1]:
        raise ValueError(f"image and text embeddings differ in width: {image.shape[1]} and {text.shape[1]}")
    return image, text


def check_pairs(image, text, least=1):
    """Both modalities checked, of the same width, row i of one belonging to row i of the other."""
    image, text = check_two(image, text, least)
    if len(image) != len(text):
        raise ValueError(f"paired rows needed, got {len(image)} image and {len(text)} text embeddings")
    return image, text

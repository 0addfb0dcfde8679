"""What the datasets that a reader downloads have in common: where they lie, what must be there, how they are split."""

import warnings
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from gaplib import paths
from gaplib.datasets.pairs import About, Dataset, split_by_group
from gaplib.names import pick

CHOICES = {"text": ("clean", "published"), "split": ("group", "published")}


@dataclass(frozen=True)
class Source:
    """A dataset to download: where it is had, on which terms, and what its folder must hold.

    `pieces` has for each piece what it is, and the patterns (relative to the folder) that any of its names match.
    """

    name: str
    title: str
    where: str
    terms: str
    citation: str
    pieces: dict[str, tuple[str, ...]] = field(repr=False)
    domain: str = "natural"

    @property
    def folder(self):
        return paths.downloads(self.name)


def look(source):
    """First match in the folder of every piece, or None where it is missing."""
    return {
        what: next((path for glob in globs for path in source.folder.glob(glob)), None)
        for what, globs in source.pieces.items()
    }


def find(source):
    """The path of every piece.

    Raises
    ------
    FileNotFoundError
        If a piece is missing: one message that names all of those.
    """
    found = look(source)
    if missing := [f"{source.pieces[what][0]} ({what})" for what, path in found.items() if path is None]:
        raise FileNotFoundError(
            f"dataset {source.name!r} is not complete in {source.folder}: no {', no '.join(missing)}; "
            "`make data` says where to get it and how its folder must look"
        )
    return found


def dataset(source, pairs, task, labels, **choices):
    """The pair table of a source with its description; the choices that were made are part of its name."""
    name = variant(source.name, **choices)
    about = About(name, source.domain, task, tuple(labels), source.folder, source.terms, source.citation)
    return Dataset(pairs, about)


def variant(name, **choices):
    """Name of a dataset for which something else than the default was chosen.

    Examples
    --------
    >>> variant("ham10000", text="published", split="group"), variant("ham10000", text="published", split="published")
    ('ham10000-text-published', 'ham10000-published')
    """
    for key, chosen in choices.items():
        pick(dict.fromkeys(CHOICES[key]), chosen, f"{key} of dataset {name!r}:")
    published = [key for key, chosen in choices.items() if chosen == "published"]
    if not published:
        return name
    return f"{name}-published" if len(published) == len(choices) else f"{name}-{published[0]}-published"


def graded(source, pairs, grade, group, labels, choice):
    """The binary dataset of whether a grade is above 0, split by whole groups or, as published, stratified by grade."""
    pairs = pairs[["image", "text"]].assign(label=np.where(grade > 0, labels[1], labels[0]))
    pairs = split(choice, pairs, group, grade if choice == "published" else grade > 0)
    return dataset(source, pairs, "binary", labels, split=choice)


def split(choice, pairs, group, kind):
    """Pairs with the columns `split` and `group`: cut by whole groups or, as published, 80/20 by image.

    Parameters
    ----------
    choice : str
        "group": 70/10/20 into train, val and test, each kind cut by itself, so that a rare one is in all three.
        "published": 80/20 into train and test, stratified, seed 42; the order of the rows matters. Each image is then a
        group, for the published splits do not keep a patient or lesion in one.
    pairs : DataFrame
    group, kind : Series
        Patient or lesion, and class or grade, of each row.
    """
    if choice == "published":
        from sklearn.model_selection import train_test_split

        test = train_test_split(pairs.index, test_size=0.2, stratify=kind, random_state=42)[1]
        return pairs.assign(group=pairs["image"], split=np.where(pairs.index.isin(test), "test", "train"))
    highest = kind.groupby(group).transform("max")  # a group goes by its highest kind
    parts = [pd.Series(split_by_group(rows), rows.index) for _, rows in group.groupby(highest)]
    return pairs.assign(group=group, split=pd.concat(parts))


def read(source, path, columns, renamed=(), **options):
    """A table of a source that has all of `columns`, after those that go by another name in some release are `renamed`.

    Raises
    ------
    ValueError
        If the file is not such a table, or a column is missing.
    """
    try:
        table = pd.read_csv(path, **options).rename(columns=dict(renamed))
    except ValueError as error:  # pandas' parser and Unicode errors among them
        raise ValueError(f"dataset {source.name!r}: {path} cannot be read as a table ({error})") from error
    if missing := [column for column in columns if column not in table]:
        raise ValueError(
            f"dataset {source.name!r}: {path} has no column {', '.join(map(repr, missing))}; it has {', '.join(table)}"
        )
    return table


def tell_left_out(source, kept, why):
    """Warn of rows that are not kept, if any."""
    if not kept.all():
        out = f"{(~kept).sum():,} of {len(kept):,} rows are left out"
        warnings.warn(f"dataset {source.name!r}: {out}: {why}", stacklevel=3)


def lines(path):
    """Lines of a text file without the space around them, blank ones left out."""
    return [line.strip() for line in path.read_text("utf-8", "replace").split("\n") if line.strip()]


def images(folder, pattern="*.jpg"):
    """Names of the images in a folder, by their stems."""
    return {path.stem: path.name for path in folder.glob(pattern)}


def number(column):
    """Numbers as people type them: a comma for the point, the letter O for zero; missing where there is none.

    Examples
    --------
    >>> number(pd.Series(["48", "7,5", "3O", "none", None])).tolist()
    [48.0, 7.5, 30.0, nan, nan]
    """
    typed = column.astype("str").str.replace(",", ".").str.replace("O", "0")
    return pd.to_numeric(typed.str.extract(r"^\s*(\d+(?:\.\d+)?)")[0])


def years(column):
    """Ages and durations in words.

    Examples
    --------
    >>> years(pd.Series([48, None])).tolist()
    ['48 years', 'unknown']
    """
    return column.map("{:g} years".format, na_action="ignore").fillna("unknown")


def coded(column, words):
    """Codes in words.

    Examples
    --------
    >>> coded(pd.Series(["1", "2", None]), {1: "right", 2: "left"}).tolist()
    ['right', 'left', 'unknown']
    """
    return pd.to_numeric(column, errors="coerce").map(words).fillna("unknown")


def told(facts):
    """One text a row from columns of words by what they tell.

    Examples
    --------
    >>> told({"Age": pd.Series(["48 years"]), "Sex": pd.Series(["male"])}).tolist()
    ['Age: 48 years. Sex: male.']
    """
    parts = [what + ": " + words.astype("str") + "." for what, words in facts.items()]
    return parts[0].str.cat(parts[1:], sep=" ")

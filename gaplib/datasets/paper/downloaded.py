"""What the datasets that a reader downloads have in common: where they lie, what must be there, how they are split.

Each module beside this one has a `SOURCE` and a function of its name that reads it: a `pairs.Dataset`, or a
FileNotFoundError that names every missing piece, or a ValueError for a file that is not as its publishers lay it out.
"""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from gaplib import paths
from gaplib.datasets.pairs import About, Dataset, split_by_group
from gaplib.datasets.shown import listed


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
    free: bool = False  # had by a plain download: no account, form or request

    @property
    def folder(self) -> Path:
        return paths.downloads(self.name)

    def look(self) -> dict[str, Path | None]:
        """First match in the folder of every piece, or None where it is missing."""
        found = {}
        for what, patterns in self.pieces.items():
            matches = chain.from_iterable(self.folder.glob(pattern) for pattern in patterns)
            found[what] = next(matches, None)
        return found

    def find(self) -> dict[str, Path]:
        """The path of every piece, or one FileNotFoundError that names all those that are missing."""
        found = self.look()
        missing = [f"{self.pieces[what][0]} ({what})" for what, path in found.items() if path is None]
        if missing:
            raise FileNotFoundError(
                f"dataset {self.name!r} is not complete in {self.folder}: no {', no '.join(missing)}; "
                "`make data` says where to get it and how its folder must look"
            )
        return found

    def read(self, path: Path, columns: Iterable[str], renamed: Mapping[str, str] = {}, **options) -> pd.DataFrame:
        """A table with all of `columns`, after those that go by another name in some release are `renamed`."""
        try:
            table = pd.read_csv(path, **options).rename(columns=renamed)
        except ValueError as error:  # pandas' parser and Unicode errors among them
            raise ValueError(f"dataset {self.name!r}: {path} cannot be read as a table ({error})") from error
        if missing := [column for column in columns if column not in table]:
            there = f"no column {listed(missing)}; it has {', '.join(table)}"
            raise ValueError(f"dataset {self.name!r}: {path} has {there}")
        return table

    def keep(self, pairs: pd.DataFrame, kept: pd.Series, otherwise: str) -> pd.DataFrame:
        """The rows that are kept, with a warning that counts the others, if any, and says why."""
        if not kept.all():
            out = f"{(~kept).sum():,} of {len(kept):,} rows are left out"
            warnings.warn(f"dataset {self.name!r}: {out}: {otherwise}", stacklevel=3)
        return pairs[kept]

    def dataset(self, pairs: pd.DataFrame, task: str, labels: Iterable[str]) -> Dataset:
        """The pair table with its description."""
        about = About(self.name, self.domain, task, tuple(labels), self.folder, self.terms, self.citation)
        return Dataset(pairs, about)


def split_pairs(choice: str, pairs: pd.DataFrame, group: pd.Series, kind: pd.Series) -> pd.DataFrame:
    """Pairs with the columns `split` and `group`, each kind (class or grade) in every split.

    By "group", patients or lesions stay whole: 70/10/20 into train, val and test. As "published", it is 80/20 by image,
    stratified, seed 42, where the order of the rows matters; then each image is a group, for these splits tear patients
    and lesions.
    """
    if choice == "published":
        from sklearn.model_selection import train_test_split

        test = train_test_split(pairs.index, test_size=0.2, stratify=kind, random_state=42)[1]
        return pairs.assign(group=pairs["image"], split=np.where(pairs.index.isin(test), "test", "train"))
    highest = kind.groupby(group).transform("max")  # a group goes by its highest kind
    parts = [pd.Series(split_by_group(rows), rows.index) for _, rows in group.groupby(highest)]
    return pairs.assign(group=group, split=pd.concat(parts))


def split_by_grade(choice: str, pairs: pd.DataFrame, group: pd.Series, grade: pd.Series, labels) -> pd.DataFrame:
    """Pairs with the label of whether a grade is above 0, split by whole groups or, as published, by grade."""
    pairs = pairs[["image", "text"]].assign(label=np.where(grade > 0, labels[1], labels[0]))
    return split_pairs(choice, pairs, group, grade if choice == "published" else grade > 0)


def lines(path: Path) -> list[str]:
    """Lines of a text file without the space around them, blank ones left out."""
    stripped = (line.strip() for line in path.read_text("utf-8", "replace").split("\n"))
    return [line for line in stripped if line]


def image_names(folder: Path) -> dict[str, str]:
    """Names of the images in a folder, by their stems."""
    return {path.stem: path.name for path in folder.glob("*.jpg")}


def jpg(column: pd.Series) -> pd.Series:
    """Image ids, with or without ending, as names of files."""
    return column.str.removesuffix(".jpg") + ".jpg"


def typed_numbers(column: pd.Series) -> pd.Series:
    """Numbers as people type them: a comma for the point, the letter O for zero; missing where there is none.

    Examples
    --------
    >>> typed_numbers(pd.Series(["48", "7,5", "3O", "none", None])).tolist()
    [48.0, 7.5, 30.0, nan, nan]
    """
    typed = column.astype("str").str.replace(",", ".").str.replace("O", "0")
    return pd.to_numeric(typed.str.extract(r"^\s*(\d+(?:\.\d+)?)")[0])


def years(column: pd.Series) -> pd.Series:
    """Ages and durations in words."""
    return column.map("{:g} years".format, na_action="ignore").fillna("unknown")


def codes_to_words(column: pd.Series, words: Mapping[int, str], otherwise: str = "unknown") -> pd.Series:
    """Codes in words; `otherwise` for what is none of them, or missing."""
    return pd.to_numeric(column, errors="coerce").map(words).fillna(otherwise)


def filled_in(template: str, facts: Mapping[str, pd.Series]) -> list[str]:
    """One text a row, from columns of words by the places of a template that they fill."""
    return [template.format(**row) for row in pd.DataFrame(facts).to_dict("records")]


def sentences(facts: Mapping[str, pd.Series]) -> pd.Series:
    """One text a row, such as "Age: 48 years. Sex: male.", from columns of words by what they tell."""
    parts = [what + ": " + words.astype("str") + "." for what, words in facts.items()]
    return parts[0].str.cat(parts[1:], sep=" ")

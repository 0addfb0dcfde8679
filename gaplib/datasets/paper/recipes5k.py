"""Recipes5k: photographs of dishes with their ingredients as text; the label is one of 101 foods.

Layout: the README of the dataset (Bolaños et al. 2017, arXiv 1707.08816; www.ub.edu/cvub/recipes5k):
`images/{food}/{name}.jpg`, and in `annotations/` for each of train, val and test `{split}_images.txt`, paths under
`images/`, and `{split}_labels.txt`, for each the line of `ingredients_Recipes5k.txt` (counted from 0) with its
ingredients, separated by commas.
"""

import pandas as pd

from gaplib.datasets.pairs import SPLITS, Dataset
from gaplib.datasets.paper import downloaded
from gaplib.datasets.paper.downloaded import Source

SOURCE = Source(
    name="recipes5k",
    title="4,826 recipes of 101 foods, each with a photograph",
    where="http://www.ub.edu/cvub/recipes5k",
    terms="see the authors' page",
    citation="Bolaños et al. 2017, arXiv 1707.08816",
    free=True,
    pieces={
        "ingredients": ("annotations/ingredients_Recipes5k.txt",),
        "images of train": ("annotations/train_images.txt",),
        "labels of train": ("annotations/train_labels.txt",),
        "images of val": ("annotations/val_images.txt",),
        "labels of val": ("annotations/val_labels.txt",),
        "images of test": ("annotations/test_images.txt",),
        "labels of test": ("annotations/test_labels.txt",),
        "images": ("images/*/*.jpg",),
    },
)


def recipes5k() -> Dataset:
    """Pairs of Recipes5k, one a recipe."""
    found = SOURCE.find()
    ingredients = found["ingredients"].read_text("utf-8", "replace").split("\n")
    pairs = pd.concat([_read(found, split, ingredients) for split in SPLITS], ignore_index=True)
    return SOURCE.dataset(pairs, "multiclass", sorted(pairs["label"].unique()))


def _read(found, split, ingredients):
    images = downloaded.lines(found[f"images of {split}"])
    places = downloaded.lines(found[f"labels of {split}"])
    known = all(place.isdecimal() and int(place) < len(ingredients) for place in places)
    if len(images) != len(places) or not known:
        raise ValueError(f"dataset 'recipes5k': {split}_labels.txt must give a line of ingredients for each image")
    pairs = pd.DataFrame({"image": [f"images/{image}" for image in images], "split": split})
    pairs["text"] = [_ingredients(ingredients[int(place)]) for place in places]
    pairs["label"] = [image.split("/")[0] for image in images]
    pairs["group"] = pairs["image"]
    return pairs


def _ingredients(line):
    parts = [part.strip() for part in line.split(",")]
    return ", ".join(part for part in parts if part)

"""Recipes5k: photographs of dishes with their ingredients as text; the label is one of 101 foods.

Layout: the README of the dataset (Bolaños et al. 2017, arXiv 1707.08816; www.ub.edu/cvub/recipes5k):
`images/{food}/{name}.jpg`, and in `annotations/` for each of train, val and test `{split}_images.txt`, paths under
`images/`, and `{split}_labels.txt`, for each the line of `ingredients_Recipes5k.txt` (counted from 0) with its
ingredients, separated by commas.
"""

import pandas as pd

from gaplib.datasets.pairs import SPLITS
from gaplib.datasets.paper import downloaded
from gaplib.datasets.paper.downloaded import Source

SOURCE = Source(
    name="recipes5k",
    title="4,826 recipes of 101 foods, each with a photograph",
    where="http://www.ub.edu/cvub/recipes5k",
    terms="see the authors' page",
    citation="Bolaños et al. 2017, arXiv 1707.08816",
    pieces={
        "ingredients": ("annotations/ingredients_Recipes5k.txt",),
        **{
            f"{what} of {split}": (f"annotations/{split}_{what}.txt",)
            for split in SPLITS
            for what in ("images", "labels")
        },
        "images": ("images/*/*.jpg",),
    },
)


def load():
    """Pairs of Recipes5k, one a recipe.

    Returns
    -------
    pairs.Dataset

    Raises
    ------
    FileNotFoundError
        If a piece of the dataset is missing.
    ValueError
        If an image has no line of ingredients.
    """
    found = downloaded.find(SOURCE)
    ingredients = found["ingredients"].read_text("utf-8", "replace").split("\n")
    pairs = pd.concat([_read(found, split, ingredients) for split in SPLITS], ignore_index=True)
    return downloaded.dataset(SOURCE, pairs, "multiclass", sorted(pairs["label"].unique()))


def _read(found, split, ingredients):
    images, places = (downloaded.lines(found[f"{what} of {split}"]) for what in ("images", "labels"))
    if len(images) != len(places) or not all(p.isdecimal() and int(p) < len(ingredients) for p in places):
        raise ValueError(f"dataset 'recipes5k': {split}_labels.txt must give a line of ingredients for each image")
    text = [", ".join(part.strip() for part in ingredients[int(p)].split(",") if part.strip()) for p in places]
    pairs = pd.DataFrame({"image": [f"images/{image}" for image in images], "text": text, "split": split})
    return pairs.assign(group=pairs["image"], label=[image.split("/")[0] for image in images])

"""Fakeddit: titles and pictures of Reddit submissions; is the content true or fake (the 2-way label)?

Layout: the authors' repository (github.com/entitize/Fakeddit; Nakamura et al. 2020, arXiv 1911.03854), release 2.0: the
tables of `multimodal_only_samples/` with `clean_title`, `id`, `hasImage`, `2_way_label` (0 fake, 1 true) among their
columns, and the archive of pictures, `public_image_set/{id}.jpg`. Some pictures are gone from where they were.
"""

import pandas as pd

from gaplib.datasets.paper import downloaded
from gaplib.datasets.paper.downloaded import Source

SPLITS = {"train": "train", "val": "validate", "test": "test_public"}
SOURCE = Source(
    name="fakeddit",
    title="682,661 Reddit submissions with a picture",
    where="https://github.com/entitize/Fakeddit: the tables of multimodal_only_samples and the archive of images",
    terms="see the authors' page; the pictures under their owners' terms",
    citation="Nakamura et al. 2020, arXiv 1911.03854",
    pieces={
        **{
            f"table, {split}": (f"multimodal_{name}.tsv", f"multimodal_only_samples/multimodal_{name}.tsv")
            for split, name in SPLITS.items()
        },
        "images": ("public_image_set/*.jpg", "images/*.jpg"),
    },
)
LABELS = ("fake", "true")
COLUMNS = ("id", "clean_title", "2_way_label")


def load():
    """Pairs of Fakeddit, one a submission that has a title and whose picture is there; a warning counts the others.

    Returns
    -------
    pairs.Dataset

    Raises
    ------
    FileNotFoundError
        If a piece of the dataset is missing.
    ValueError
        If a table lacks a column.
    """
    found = downloaded.find(SOURCE)
    # A title may well be "null": only an empty cell is missing.
    options = {"sep": "\t", "dtype": {"id": str, "clean_title": str}, "keep_default_na": False, "na_values": [""]}
    parts = {split: downloaded.read(SOURCE, found[f"table, {split}"], COLUMNS, **options) for split in SPLITS}
    pairs = pd.concat({split: part[list(COLUMNS)] for split, part in parts.items()}, names=["split"]).reset_index(
        "split"
    )
    folder = found["images"].parent
    there = pairs["id"].isin(set(downloaded.images(folder))) & pairs["clean_title"].notna()
    downloaded.tell_left_out(SOURCE, there, "they have no picture or no title")
    pairs = pairs[there].rename(columns={"clean_title": "text"})
    pairs["image"] = pairs["group"] = folder.name + "/" + pairs.pop("id") + ".jpg"
    pairs["label"] = downloaded.coded(pairs.pop("2_way_label"), dict(enumerate(LABELS)))
    return downloaded.dataset(SOURCE, pairs, "binary", LABELS)

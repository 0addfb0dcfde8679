"""Fakeddit: titles and pictures of Reddit submissions; is the content true or fake (the 2-way label)?

Layout: the authors' repository (github.com/entitize/Fakeddit; Nakamura et al. 2020, arXiv 1911.03854), release 2.0: the
tables of `multimodal_only_samples/` with `title`, `id`, `hasImage`, `2_way_label` (0 fake, 1 true) among their
columns, and the archive of pictures, `public_image_set/{id}.jpg`. Some pictures are gone from where they were. As
published, the text is `title` as it was submitted, not `clean_title`; of the rows, 90,992 were drawn at random.
"""

import pandas as pd

from gaplib.datasets.pairs import SPLITS, Dataset
from gaplib.datasets.paper import downloaded
from gaplib.datasets.paper.downloaded import Source

SOURCE = Source(
    name="fakeddit",
    title="682,661 Reddit submissions with a picture",
    where="https://github.com/entitize/Fakeddit: the tables of multimodal_only_samples and the archive of images",
    terms="see the authors' page; the pictures under their owners' terms",
    citation="Nakamura et al. 2020, arXiv 1911.03854",
    pieces={
        "table, train": ("multimodal_train.tsv", "multimodal_only_samples/multimodal_train.tsv", "train.tsv"),
        "table, val": (
            "multimodal_validate.tsv",
            "multimodal_only_samples/multimodal_validate.tsv",
            "validate.tsv",
            "val.tsv",
        ),
        "table, test": (
            "multimodal_test_public.tsv",
            "multimodal_only_samples/multimodal_test_public.tsv",
            "test_public.tsv",
            "test.tsv",
        ),
        "images": ("public_image_set/*.jpg", "images/*.jpg"),
    },
)
LABELS = ("fake", "true")
COLUMNS = ("id", "title", "2_way_label")


def fakeddit() -> Dataset:
    """Pairs of Fakeddit, one a submission that has a title and whose picture is there; a warning counts the others."""
    found = SOURCE.find()
    pairs = pd.concat([_read(found, split) for split in SPLITS], ignore_index=True)
    folder = found["images"].parent
    there = pairs["id"].isin(set(downloaded.image_names(folder))) & pairs["title"].notna()
    pairs = SOURCE.keep(pairs, there, otherwise="they have no picture or no title")
    pairs = pairs.rename(columns={"title": "text"})
    pairs["image"] = folder.name + "/" + pairs.pop("id") + ".jpg"
    pairs["group"] = pairs["image"]
    pairs["label"] = downloaded.codes_to_words(pairs.pop("2_way_label"), dict(enumerate(LABELS)))
    return SOURCE.dataset(pairs, "binary", LABELS)


def _read(found, split):
    # A title may well be "null": only an empty cell is missing.
    options = {"sep": "\t", "dtype": {"id": str, "title": str}, "keep_default_na": False, "na_values": [""]}
    table = SOURCE.read(found[f"table, {split}"], COLUMNS, **options)
    return table[list(COLUMNS)].assign(split=split)

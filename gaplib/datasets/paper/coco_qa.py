"""COCO-QA: questions made from captions of COCO photographs; the label is the one-word answer.

Layout: the authors' page (Ren et al. 2015, arXiv 1505.02074): `train/` and `test/`, each with `questions.txt`,
`answers.txt`, `img_ids.txt` and `types.txt`, one line a question; and the photographs of COCO 2014,
`train2014/COCO_train2014_{id}.jpg` and `val2014/COCO_val2014_{id}.jpg`, the id filled with zeros to twelve digits
(those of 2017 are named by the id alone and sorted into other folders; they will do, as will all in one, `images/`).
78,736 questions to train on and 38,948 to test on; without those that are there twice, 116,238 are left, as published.
"""

import pandas as pd

from gaplib.datasets.pairs import Dataset
from gaplib.datasets.paper import downloaded
from gaplib.datasets.paper.downloaded import Source

SOURCE = Source(
    name="coco-qa",
    title="117,684 questions on 123,287 photographs",
    where="https://www.cs.toronto.edu/~mren/research/imageqa/data/cocoqa, and train and val 2014 of https://cocodataset.org",
    terms="questions: see the authors' page; photographs of COCO under their own Flickr terms",
    citation="Ren et al. 2015, arXiv 1505.02074",
    free=True,
    pieces={
        "train questions": ("train/questions.txt",),
        "train answers": ("train/answers.txt",),
        "train img_ids": ("train/img_ids.txt",),
        "test questions": ("test/questions.txt",),
        "test answers": ("test/answers.txt",),
        "test img_ids": ("test/img_ids.txt",),
        "images of train": ("train2014/*.jpg", "train2017/*.jpg", "images/*.jpg"),
        "images of val": ("val2014/*.jpg", "val2017/*.jpg", "images/*.jpg"),
    },
)


def coco_qa() -> Dataset:
    """Pairs of COCO-QA, one a question.

    Answers that occur in only one of the two splits can be learned or tested, not both: their rows are left out, with a
    warning that counts them.
    """
    found = SOURCE.find()
    pairs = pd.concat([_read(found, split) for split in ("train", "test")]).drop_duplicates(ignore_index=True)
    images = _images(found["images of train"].parent) | _images(found["images of val"].parent)
    padded = pairs.pop("id").str.zfill(12)
    pairs["image"] = padded.map(images).fillna(padded + ".jpg")  # one that is not there is named by `pairs.validate`
    pairs["group"] = pairs["image"]
    both = pairs.groupby("label")["split"].nunique() == 2
    kept = pairs["label"].isin(both.index[both])
    pairs = SOURCE.keep(pairs, kept, otherwise="their answers are in one split only")
    return SOURCE.dataset(pairs, "multiclass", sorted(set(pairs["label"])))


def _read(found, split):
    columns = {
        "text": downloaded.lines(found[f"{split} questions"]),
        "label": downloaded.lines(found[f"{split} answers"]),
        "id": downloaded.lines(found[f"{split} img_ids"]),
    }
    if len(set(map(len, columns.values()))) > 1:
        raise ValueError(f"dataset 'coco-qa': the files in {split}/ have different numbers of lines")
    return pd.DataFrame(columns).assign(split=split)


def _images(folder):
    """Paths of the photographs by the twelve digits that their names end in."""
    names = downloaded.image_names(folder)
    return {stem[-12:]: f"{folder.name}/{name}" for stem, name in names.items()}

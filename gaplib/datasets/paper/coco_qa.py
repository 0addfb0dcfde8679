"""COCO-QA: questions made from captions of COCO photographs; the label is the one-word answer.

Layout: the authors' page (Ren et al. 2015, arXiv 1505.02074): `train/` and `test/`, each with `questions.txt`,
`answers.txt`, `img_ids.txt` and `types.txt`, one line a question; and the photographs of COCO 2014,
`train2014/COCO_train2014_{id}.jpg` and `val2014/COCO_val2014_{id}.jpg`, the id filled with zeros to twelve digits
(those of 2017 are named by the id alone and sorted into other folders; they will do). 78,736 questions to train on and
38,948 to test on.
"""

import pandas as pd

from gaplib.datasets.paper import downloaded
from gaplib.datasets.paper.downloaded import Source

SOURCE = Source(
    name="coco-qa",
    title="117,684 questions on 123,287 photographs",
    where="https://www.cs.toronto.edu/~mren/research/imageqa/data/cocoqa, and train and val 2014 of https://cocodataset.org",
    terms="questions: see the authors' page; photographs of COCO under their own Flickr terms",
    citation="Ren et al. 2015, arXiv 1505.02074",
    pieces={
        **{
            f"{split} {what}": (f"{split}/{what}.txt",)
            for split in ("train", "test")
            for what in ("questions", "answers", "img_ids")
        },
        "images of train": ("train2014/*.jpg", "train2017/*.jpg"),
        "images of val": ("val2014/*.jpg", "val2017/*.jpg"),
    },
)


def load():
    """Pairs of COCO-QA, one a question.

    Answers that occur in only one of the two splits can be learned or tested, not both: their rows are left out, with a
    warning that counts them.

    Returns
    -------
    pairs.Dataset

    Raises
    ------
    FileNotFoundError
        If a piece of the dataset is missing.
    ValueError
        If the files of a split have different numbers of lines.
    """
    found = downloaded.find(SOURCE)
    pairs = pd.concat([_read(found, split) for split in ("train", "test")], ignore_index=True)
    folders = [found[f"images of {part}"].parent for part in ("train", "val")]
    there = {
        stem[-12:]: f"{folder.name}/{name}" for folder in folders for stem, name in downloaded.images(folder).items()
    }
    padded = pairs.pop("id").str.zfill(12)
    pairs["image"] = padded.map(there).fillna(padded + ".jpg")  # one that is not there is named by `pairs.validate`
    pairs["group"] = pairs["image"]
    both = set.intersection(*(set(part["label"]) for _, part in pairs.groupby("split")))
    kept = pairs["label"].isin(both)
    downloaded.tell_left_out(SOURCE, kept, "their answers are in one split only")
    return downloaded.dataset(SOURCE, pairs[kept], "multiclass", sorted(both))


def _read(found, split):
    columns = {"text": "questions", "label": "answers", "id": "img_ids"}
    columns = {key: downloaded.lines(found[f"{split} {what}"]) for key, what in columns.items()}
    if len({len(lines) for lines in columns.values()}) > 1:
        raise ValueError(f"dataset 'coco-qa': the files in {split}/ have different numbers of lines")
    return pd.DataFrame(columns).assign(split=split)

"""DAQUAR: questions on indoor scenes of NYU Depth v2; the label is one of the frequent answers.

Layout: the authors' page (Malinowski and Fritz 2014, arXiv 1410.0210): `qa.894.raw.train.txt` and
`qa.894.raw.test.txt`, lines of question and answer in turn, each question naming its image, mostly at its end ("... in
the image3 ?"); `nyu_depth_images/image3.png`. Train and test share no image. As published, an answer is taken whole
("table, chair" is one), of rows that are there twice one is dropped (12,163 of 12,468 are left), and labels are the
answers with at least 100 test rows: 12, with 2,033 rows to train on and 1,850 to test on.
"""

import pandas as pd

from gaplib.datasets.pairs import Dataset
from gaplib.datasets.paper import downloaded
from gaplib.datasets.paper.downloaded import Source

SOURCE = Source(
    name="daquar",
    title="12,468 questions on 1,449 photographs of rooms",
    where="https://www.mpi-inf.mpg.de, Visual Turing Challenge: DAQUAR, full, and the images of NYU Depth v2",
    terms="see the authors' page; photographs of NYU Depth v2",
    citation="Malinowski and Fritz 2014, arXiv 1410.0210",
    pieces={
        "training questions": ("qa.894.raw.train.txt", "train.txt"),
        "test questions": ("qa.894.raw.test.txt", "test.txt"),
        "images": ("nyu_depth_images/image*.png", "images/image*.png"),
    },
)
LEAST = 100  # test rows of an answer that is a label
NAME = r"\s*(?:\b(?:in|on|of|at|from)\s+)?(?:\b(?:the|this)\s+)?\bimage\s*\d*"  # of an image, with what leads to it


def daquar(text: str = "clean") -> Dataset:
    """Pairs of DAQUAR, one a question.

    Parameters
    ----------
    text : str
        "clean": the question without any mention of the image. "published": the question as it is in the file.
    """
    found = SOURCE.find()
    train = _read(found["training questions"]).assign(split="train")
    test = _read(found["test questions"]).assign(split="test")
    pairs = pd.concat([train, test]).drop_duplicates(ignore_index=True)
    name = pairs["text"].str.extract(r"(image\d+)\D*$")[0]
    pairs["image"] = found["images"].parent.name + "/" + name + ".png"
    pairs["group"] = pairs["image"]
    if text == "clean":
        pairs["text"] = pairs["text"].str.replace(NAME, "", regex=True).str.rstrip(" ?") + " ?"
    in_test = pairs.loc[pairs["split"] == "test", "label"].value_counts()
    labels = sorted(in_test.index[in_test >= LEAST])
    if not labels:
        raise ValueError(f"dataset 'daquar': no answer has {LEAST} test rows")
    pairs = SOURCE.keep(pairs, pairs["label"].isin(labels), otherwise="they have none of the frequent answers")
    return SOURCE.dataset(pairs, "multiclass", labels)


def _read(path):
    lines = downloaded.lines(path)
    if len(lines) % 2 or not all("image" in question for question in lines[::2]):
        raise ValueError(
            f"dataset 'daquar': {path} does not hold a question that names its image and an answer in turn"
        )
    return pd.DataFrame({"text": lines[::2], "label": lines[1::2]})

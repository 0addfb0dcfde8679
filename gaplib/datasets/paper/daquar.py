"""DAQUAR: questions on indoor scenes of NYU Depth v2; the labels are the frequent answers, multilabel.

Layout: the authors' page (Malinowski and Fritz 2014, arXiv 1410.0210): `qa.894.raw.train.txt` and
`qa.894.raw.test.txt`, lines of question and answer in turn, several answers separated by commas, each question ending
in the name of its image ("... in the image3 ?"); `nyu_depth_images/image3.png`. Train and test share no image.
Labels are the answers with at least 100 test rows; rows that have none of them are left out, as published.
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
        "training questions": ("qa.894.raw.train.txt",),
        "test questions": ("qa.894.raw.test.txt",),
        "images": ("nyu_depth_images/image*.png", "images/image*.png"),
    },
)
LEAST = 100  # test rows of an answer that is a label


def daquar(text: str = "clean") -> Dataset:
    """Pairs of DAQUAR, one a question.

    Parameters
    ----------
    text : str
        "clean": the question without the name of the image at its end. "published": the question as it is in the file.
    """
    found = SOURCE.find()
    train = _read(found["training questions"]).assign(split="train")
    test = _read(found["test questions"]).assign(split="test")
    pairs = pd.concat([train, test], ignore_index=True)
    name = pairs["text"].str.extract(r"(image\d+)\D*$")[0]
    pairs["image"] = found["images"].parent.name + "/" + name + ".png"
    pairs["group"] = pairs["image"]
    if text == "clean":
        pairs["text"] = pairs["text"].str.replace(r"\s+(?:in|on)\s+(?:the\s+)?image\d+\s*\?*\s*$", " ?", regex=True)
    answers = _frequent_answers(pairs)
    pairs = pairs[["image", "text", "split", "group"]].join(answers)
    pairs = SOURCE.keep(pairs, answers.any(axis=1), otherwise="they have none of the frequent answers")
    return SOURCE.dataset(pairs, "multilabel", answers.columns)


def _frequent_answers(pairs):
    """One 0/1 column for each answer that has enough test rows."""
    from sklearn.preprocessing import MultiLabelBinarizer

    binarizer = MultiLabelBinarizer()
    given = binarizer.fit_transform(pairs["answer"].str.split(r"\s*,\s*", regex=True))
    answers = pd.DataFrame(given, columns=binarizer.classes_).astype("int8")
    often = answers[pairs["split"] == "test"].sum() >= LEAST
    if not often.any():
        raise ValueError(f"dataset 'daquar': no answer has {LEAST} test rows")
    return answers.loc[:, often]


def _read(path):
    lines = downloaded.lines(path)
    if len(lines) % 2 or not all("image" in question for question in lines[::2]):
        raise ValueError(
            f"dataset 'daquar': {path} does not hold a question that names its image and an answer in turn"
        )
    return pd.DataFrame({"text": lines[::2], "answer": lines[1::2]})

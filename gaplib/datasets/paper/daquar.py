"""DAQUAR: questions on indoor scenes of NYU Depth v2; the labels are the frequent answers, multilabel.

Layout: the authors' page (Malinowski and Fritz 2014, arXiv 1410.0210): `qa.894.raw.train.txt` and
`qa.894.raw.test.txt`, lines of question and answer in turn, several answers separated by commas, each question ending
in the name of its image ("... in the image3 ?"); `nyu_depth_images/image3.png`. Train and test share no image.
Labels are the answers with at least 100 test rows; rows that have none of them are left out, as published.
"""

import pandas as pd

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


def load(text="clean"):
    """Pairs of DAQUAR, one a question.

    Parameters
    ----------
    text : str
        "clean": the question without the name of the image at its end. "published": the question as it is in the file.

    Returns
    -------
    pairs.Dataset

    Raises
    ------
    FileNotFoundError
        If a piece of the dataset is missing.
    ValueError
        If a file does not hold question and answer in turn, or no answer is frequent enough.
    """
    from sklearn.preprocessing import MultiLabelBinarizer

    found = downloaded.find(SOURCE)
    parts = {split: _read(found[f"{name} questions"]) for split, name in (("train", "training"), ("test", "test"))}
    pairs = pd.concat(parts, names=["split"]).reset_index("split").reset_index(drop=True)
    name = pairs["text"].str.extract(r"(image\d+)\D*$")[0]
    pairs["image"] = pairs["group"] = found["images"].parent.name + "/" + name + ".png"
    if text == "clean":
        pairs["text"] = pairs["text"].str.replace(r"\s+(?:in|on)\s+(?:the\s+)?image\d+\s*\?*\s*$", " ?", regex=True)
    binarizer = MultiLabelBinarizer()
    told = binarizer.fit_transform(pairs["answer"].str.split(r"\s*,\s*", regex=True))
    told = pd.DataFrame(told, columns=binarizer.classes_).astype("int8")
    labels = told.columns[told[pairs["split"] == "test"].sum() >= LEAST]
    if labels.empty:
        raise ValueError(f"dataset 'daquar': no answer has {LEAST} test rows")
    told = told[labels]
    kept = told.any(axis=1)
    downloaded.tell_left_out(SOURCE, kept, "they have none of the frequent answers")
    pairs = pairs[["image", "text", "split", "group"]].join(told)[kept]
    return downloaded.dataset(SOURCE, pairs, "multilabel", labels, text=text)


def _read(path):
    lines = downloaded.lines(path)
    if len(lines) % 2 or not all("image" in question for question in lines[::2]):
        raise ValueError(
            f"dataset 'daquar': {path} does not hold a question that names its image and an answer in turn"
        )
    return pd.DataFrame({"text": lines[::2], "answer": lines[1::2]})

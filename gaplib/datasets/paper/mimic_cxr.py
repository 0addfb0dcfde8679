"""MIMIC-CXR: chest radiographs with the full report as text; six findings, multilabel.

Layout: PhysioNet `mimic-cxr-jpg` 2.0.0 to 2.1.0 (images, CheXpert labels, official split) and `mimic-cxr` (the archive
of reports), unpacked into one folder (Johnson et al. 2019, Scientific Data 6, 317):
`files/p10/p10000032/s50414267/{dicom_id}.jpg` and `files/p10/p10000032/s50414267.txt`. A patient has several studies, a
study several images and one report. Labels are 1, 0, -1 (uncertain: the study is left out, as published) or empty (not
mentioned: counts as 0). The official split is by patient.

The paper did not use it, but the authors' own `train.csv`, `valid.csv` and `test.csv`, whose columns (`path_preproc`,
`disease_label`) are those of github.com/biomedia-mira/chexploration: frontal views, another split by patient. After the
uncertain rows are dropped 153,128 are left, 25,647 of them to test on.
"""

from dataclasses import replace

import pandas as pd

from gaplib.datasets.pairs import Dataset
from gaplib.datasets.paper.downloaded import Source

SOURCE = Source(
    name="mimic-cxr",
    title="377,110 chest radiographs of 227,835 studies, with reports",
    where="https://physionet.org/content/mimic-cxr-jpg, and mimic-cxr-reports.zip of https://physionet.org/content/mimic-cxr",
    terms="PhysioNet Credentialed Health Data License 1.5.0: credentialing, training and a signed agreement",
    citation="Johnson et al. 2019, Scientific Data 6, 317",
    domain="medical",
    pieces={
        "official split": ("mimic-cxr-2.0.0-split.csv.gz", "mimic-cxr-2.0.0-split.csv"),
        "labels": ("mimic-cxr-2.0.0-chexpert.csv.gz", "mimic-cxr-2.0.0-chexpert.csv"),
        "images": ("files/p1?/p*/s*/*.jpg",),
        "reports": ("files/p1?/p*/s*.txt", "mimic-cxr-reports/files/p1?/p*/s*.txt"),
    },
)
PUBLISHED = replace(
    SOURCE,
    pieces=SOURCE.pieces
    | {
        "published training rows": ("train.csv", "published/train.csv"),
        "published validation rows": ("valid.csv", "published/valid.csv", "val.csv", "published/val.csv"),
        "published test rows": ("test.csv", "published/test.csv"),
    },
)
DICOM = r"([0-9a-f]{8}(?:-[0-9a-f]{8}){4})"
LABELS = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "No Finding", "Pleural Effusion")
STUDY = ("subject_id", "study_id")
IDS = dict.fromkeys(("dicom_id", *STUDY), str)


def mimic_cxr(split: str = "group") -> Dataset:
    """Pairs of MIMIC-CXR, one an image.

    Parameters
    ----------
    split : str
        "group": the official split, by patient. "published": the images and the split of the authors' three tables.
    """
    found = (SOURCE if split == "group" else PUBLISHED).find()
    pairs = SOURCE.read(found["official split"], ("dicom_id", *STUDY, "split"), dtype=IDS)
    if split == "published":
        pairs = pairs.drop(columns="split").merge(_published_split(found), on="dicom_id")
    pairs = pairs.merge(_certain_labels(found["labels"]), on=list(STUDY))
    patient = "p" + pairs["subject_id"].str[:2] + "/p" + pairs["subject_id"]
    study = patient + "/s" + pairs["study_id"]
    pairs["image"] = "files/" + study + "/" + pairs["dicom_id"] + ".jpg"
    folder = found["reports"].parents[2]
    pairs["text"] = study.map({name: _report(folder / f"{name}.txt") for name in study.unique()})
    pairs["group"] = pairs["subject_id"]
    return SOURCE.dataset(pairs[["image", "text", "split", "group", *LABELS]], "multilabel", LABELS)


def _published_split(found):
    """The images of the authors' tables and the split that each is in."""
    parts = []
    for what, split in (("training", "train"), ("validation", "val"), ("test", "test")):
        path = found[f"published {what} rows"]
        images = SOURCE.read(path, ["path_preproc"])["path_preproc"].str.extract(DICOM)[0]
        if images.isna().any():
            raise ValueError(f"dataset 'mimic-cxr': {path}, row {images.isna().argmax()}: path_preproc names no image")
        parts.append(pd.DataFrame({"dicom_id": images, "split": split}))
    return pd.concat(parts)


def _certain_labels(path):
    """0/1 labels of the studies none of whose labels is uncertain."""
    labels = SOURCE.read(path, (*STUDY, *LABELS), dtype=IDS)
    certain = labels[~(labels[list(LABELS)] == -1).any(axis=1)]
    certain = certain.fillna(dict.fromkeys(LABELS, 0)).astype(dict.fromkeys(LABELS, "int8"))
    return certain[[*STUDY, *LABELS]]


def _report(path):
    """A report, or nothing where there is none: `pairs.validate` then names the rows."""
    return path.read_text("utf-8", "replace").strip() if path.is_file() else ""

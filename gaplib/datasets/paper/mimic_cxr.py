"""MIMIC-CXR: chest radiographs with the full report as text; six findings, multilabel.

Layout: PhysioNet `mimic-cxr-jpg` 2.0.0 to 2.1.0 (images, CheXpert labels, official split) and `mimic-cxr` (the archive
of reports), unpacked into one folder (Johnson et al. 2019, Scientific Data 6, 317):
`files/p10/p10000032/s50414267/{dicom_id}.jpg` and `files/p10/p10000032/s50414267.txt`. A patient has several studies, a
study several images and one report. Labels are 1, 0, -1 (uncertain: the study is left out, as published) or empty (not
mentioned: counts as 0). The split is by patient.
"""

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
LABELS = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "No Finding", "Pleural Effusion")
STUDY = ("subject_id", "study_id")
IDS = dict.fromkeys(("dicom_id", *STUDY), str)


def mimic_cxr() -> Dataset:
    """Pairs of MIMIC-CXR, one an image."""
    found = SOURCE.find()
    pairs = SOURCE.read(found["official split"], ("dicom_id", *STUDY, "split"), dtype=IDS)
    pairs = pairs.merge(_certain_labels(found["labels"]), on=list(STUDY))
    patient = "p" + pairs["subject_id"].str[:2] + "/p" + pairs["subject_id"]
    study = patient + "/s" + pairs["study_id"]
    pairs["image"] = "files/" + study + "/" + pairs["dicom_id"] + ".jpg"
    folder = found["reports"].parents[2]
    pairs["text"] = study.map({name: _report(folder / f"{name}.txt") for name in study.unique()})
    pairs["group"] = pairs["subject_id"]
    return SOURCE.dataset(pairs[["image", "text", "split", "group", *LABELS]], "multilabel", LABELS)


def _certain_labels(path):
    """0/1 labels of the studies none of whose labels is uncertain."""
    labels = SOURCE.read(path, (*STUDY, *LABELS), dtype=IDS)
    certain = labels[~(labels[list(LABELS)] == -1).any(axis=1)]
    certain = certain.fillna(dict.fromkeys(LABELS, 0)).astype(dict.fromkeys(LABELS, "int8"))
    return certain[[*STUDY, *LABELS]]


def _report(path):
    """A report, or nothing where there is none: `pairs.validate` then names the rows."""
    return path.read_text("utf-8", "replace").strip() if path.is_file() else ""

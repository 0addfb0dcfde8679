"""BRSET: photographs of the fundus, with the patient's history and the other findings as text; is there retinopathy?

Layout: PhysioNet `brazilian-ophthalmological` (Nakayama et al. 2024, PLOS Digital Health 3, e0000454) and the table in
the authors' repository (github.com/luisnakayama/BRSET): `labels.csv`, `fundus_photos/`. Releases spell some columns in
two ways and give image ids without ending. Codes: sex 1 male, 2 female; eye 1 right, 2 left; disc, vessels and macula
1 normal, 2 abnormal; findings 0 and 1; `DR_ICDR` 0 (none) to 4. Ages and durations are typed by hand.
As published, 80/20 by image, stratified by grade, the test split has 3,254 of 16,266 images.
"""

from gaplib.datasets.paper import downloaded
from gaplib.datasets.paper.downloaded import Source

SOURCE = Source(
    name="brset",
    title="16,266 retinal photographs of 8,524 patients",
    where="https://physionet.org/content/brazilian-ophthalmological",
    terms="PhysioNet Credentialed Health Data License 1.5.0: credentialing, training and a signed agreement",
    citation="Nakayama et al. 2024, PLOS Digital Health 3, e0000454",
    domain="medical",
    pieces={
        "table": ("labels.csv", "labels_brset.csv"),
        "images": ("fundus_photos/*.jpg", "images/*.jpg"),
    },
)
LABELS = ("no retinopathy", "retinopathy")
FINDINGS = (
    "macular_edema",
    "scar",
    "nevus",
    "amd",
    "vascular_occlusion",
    "drusens",
    "hemorrhage",
    "retinal_detachment",
)
FINDINGS += ("myopic_fundus", "increased_cup_disc", "other")
ANATOMY = ("optic_disc", "vessels", "macula")
HISTORY = ("patient_age", "patient_sex", "exam_eye", "comorbidities", "diabetes_time_y", "insuline")
RENAMED = {"diabetes_time": "diabetes_time_y", "insulin": "insuline", "insulin_use": "insuline", "drusen": "drusens"}


def load(split="group"):
    """Pairs of BRSET.

    Parameters
    ----------
    split : str
        "group": no patient is in two splits. "published": 80/20 by image, stratified by grade, seed 42.

    Returns
    -------
    pairs.Dataset

    Raises
    ------
    FileNotFoundError
        If a piece of the dataset is missing.
    ValueError
        If a choice is unknown, or the table lacks a column.
    """
    found = downloaded.find(SOURCE)
    columns = ("image_id", "patient_id", "DR_ICDR", *HISTORY, *ANATOMY, *FINDINGS)
    pairs = downloaded.read(SOURCE, found["table"], columns, RENAMED, dtype={"image_id": str, "patient_age": str})
    pairs["image"] = found["images"].parent.name + "/" + pairs["image_id"].str.removesuffix(".jpg") + ".jpg"
    pairs["text"] = downloaded.told(_facts(pairs))
    return downloaded.graded(SOURCE, pairs, pairs["DR_ICDR"], pairs["patient_id"], LABELS, split)


def _facts(pairs):
    facts = {
        "Eye": downloaded.coded(pairs["exam_eye"], {1: "right", 2: "left"}),
        "Sex": downloaded.coded(pairs["patient_sex"], {1: "male", 2: "female"}),
        "Age": downloaded.years(downloaded.number(pairs["patient_age"])),
        "Comorbidities": pairs["comorbidities"].fillna("not recorded"),
        "Diabetes for": downloaded.years(downloaded.number(pairs["diabetes_time_y"])),
        "Insulin": pairs["insuline"].fillna("unknown"),
    }
    for part in ANATOMY:
        facts[part.replace("_", " ").capitalize()] = downloaded.coded(pairs[part], {1: "normal", 2: "abnormal"})
    for finding in FINDINGS:
        name = (
            finding.replace("_", " ")
            .capitalize()
            .replace("Amd", "Macular degeneration")
            .replace("Other", "Other findings")
        )
        facts[name] = downloaded.coded(pairs[finding], {0: "absent", 1: "present"})
    return facts

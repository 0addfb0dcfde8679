"""BRSET: photographs of the fundus, with the patient's history and the other findings as text; is there retinopathy?

Layout: PhysioNet `brazilian-ophthalmological` (Nakayama et al. 2024, PLOS Digital Health 3, e0000454) and the table in
the authors' repository (github.com/luisnakayama/BRSET): `labels.csv`, `fundus_photos/`. Releases spell some columns in
two ways and give image ids without ending. Codes: sex 1 male, 2 female; eye 1 right, 2 left; disc, vessels and macula
1 normal, 2 abnormal; findings 0 and 1; `DR_ICDR` 0 (none) to 4. Ages and durations are typed by hand.
As published, 80/20 by image, stratified by grade, the test split has 3,254 of 16,266 images.
"""

from gaplib.datasets.pairs import Dataset
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
    "myopic_fundus",
    "increased_cup_disc",
    "other",
)
SPELLED_OUT = {"amd": "Macular degeneration", "other": "Other findings"}
ANATOMY = ("optic_disc", "vessels", "macula")
HISTORY = ("patient_age", "patient_sex", "exam_eye", "comorbidities", "diabetes_time_y", "insuline")
RENAMED = {"diabetes_time": "diabetes_time_y", "insulin": "insuline", "insulin_use": "insuline", "drusen": "drusens"}


def brset(split: str = "group") -> Dataset:
    """Pairs of BRSET.

    Parameters
    ----------
    split : str
        "group": no patient is in two splits. "published": 80/20 by image, stratified by grade, seed 42.
    """
    found = SOURCE.find()
    columns = ("image_id", "patient_id", "DR_ICDR", *HISTORY, *ANATOMY, *FINDINGS)
    pairs = SOURCE.read(found["table"], columns, RENAMED, dtype={"image_id": str, "patient_age": str})
    pairs["image"] = found["images"].parent.name + "/" + downloaded.jpg(pairs["image_id"])
    pairs["text"] = downloaded.sentences(_facts(pairs))
    pairs = downloaded.split_by_grade(split, pairs, pairs["patient_id"], pairs["DR_ICDR"], LABELS)
    return SOURCE.dataset(pairs, "binary", LABELS)


def _facts(pairs):
    facts = {
        "Eye": downloaded.codes_to_words(pairs["exam_eye"], {1: "right", 2: "left"}),
        "Sex": downloaded.codes_to_words(pairs["patient_sex"], {1: "male", 2: "female"}),
        "Age": downloaded.years(downloaded.typed_numbers(pairs["patient_age"])),
        "Comorbidities": pairs["comorbidities"].fillna("not recorded"),
        "Diabetes for": downloaded.years(downloaded.typed_numbers(pairs["diabetes_time_y"])),
        "Insulin": pairs["insuline"].fillna("unknown"),
    }
    for part in ANATOMY:
        facts[_in_words(part)] = downloaded.codes_to_words(pairs[part], {1: "normal", 2: "abnormal"})
    for finding in FINDINGS:
        facts[_in_words(finding)] = downloaded.codes_to_words(pairs[finding], {0: "absent", 1: "present"})
    return facts


def _in_words(column):
    return SPELLED_OUT.get(column, column.replace("_", " ").capitalize())

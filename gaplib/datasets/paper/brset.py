"""BRSET: photographs of the fundus, with the patient's history and the other findings as text; is there retinopathy?

Layout: PhysioNet `brazilian-ophthalmological` (Nakayama et al. 2024, PLOS Digital Health 3, e0000454) and the table in
the authors' repository (github.com/luisnakayama/BRSET): `labels.csv`, `fundus_photos/`. Releases spell some columns in
two ways and give image ids without ending. Codes: sex 1 male, 2 female; eye 1 right, 2 left; disc, vessels and macula
1 normal, 2 abnormal; findings 0 and 1; `DR_ICDR` 0 (none) to 4. Ages and durations are typed by hand.
As published, 80/20 by image, stratified by grade, the test split has 3,254 of 16,266 images.

The published text has two traps. It says "using insulin" of everyone who is not recorded as "no": of 15,445 of the
16,266 rows, though 893 are recorded as yes. And of disc, vessels and macula it writes "present" where they are normal
(1), "absent" where they are not.
"""

import numpy as np

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
TYPED = ("image_id", "patient_age", "comorbidities", "diabetes_time_y", "diabetes_time")
RENAMED = {"diabetes_time": "diabetes_time_y", "insulin": "insuline", "insulin_use": "insuline", "drusen": "drusens"}
PUBLISHED = (
    "An image from the {exam_eye} eye of a {patient_sex} patient, aged {patient_age} years, {comorbidities}, "
    "{diabetes_time_y}, {insuline}. The optic disc is {optic_disc}, vessels are {vessels}, and the macula is {macula}. "
    "Conditions include macular edema: {macular_edema}, scar: {scar}, nevus: {nevus}, amd: {amd}, vascular occlusion: "
    "{vascular_occlusion}, drusens: {drusens}, hemorrhage: {hemorrhage}, retinal detachment: {retinal_detachment}, "
    "myopic fundus: {myopic_fundus}, increased cup disc ratio: {increased_cup_disc}, and other conditions: {other}."
)


def brset(text: str = "clean", split: str = "group") -> Dataset:
    """Pairs of BRSET.

    Parameters
    ----------
    text : str
        "clean": history and findings as they were recorded. "published": one sentence after the other as published,
        traps included (see above).
    split : str
        "group": no patient is in two splits. "published": 80/20 by image, stratified by grade, seed 42.
    """
    found = SOURCE.find()
    columns = ("image_id", "patient_id", "DR_ICDR", *HISTORY, *ANATOMY, *FINDINGS)
    pairs = SOURCE.read(found["table"], columns, RENAMED, dtype=dict.fromkeys(TYPED, str))
    pairs["image"] = found["images"].parent.name + "/" + downloaded.jpg(pairs["image_id"])
    if text == "published":
        pairs["text"] = downloaded.filled_in(PUBLISHED, _published_facts(pairs))
    else:
        pairs["text"] = downloaded.sentences(_facts(pairs))
    pairs = downloaded.split_by_grade(split, pairs, pairs["patient_id"], pairs["DR_ICDR"], LABELS)
    return SOURCE.dataset(pairs, "binary", LABELS)


def _facts(pairs):
    facts = {
        "Eye": downloaded.codes_to_words(pairs["exam_eye"], {1: "right", 2: "left"}),
        "Sex": downloaded.codes_to_words(pairs["patient_sex"], {1: "male", 2: "female"}),
        "Age": downloaded.years(downloaded.typed_numbers(pairs["patient_age"])),
        "Comorbidities": pairs["comorbidities"].replace("0", "none").fillna("not recorded"),
        "Diabetes for": downloaded.years(downloaded.typed_numbers(pairs["diabetes_time_y"])),
        "Insulin": pairs["insuline"].fillna("unknown"),
    }
    for part in ANATOMY:
        facts[_in_words(part)] = downloaded.codes_to_words(pairs[part], {1: "normal", 2: "abnormal"})
    for finding in FINDINGS:
        facts[_in_words(finding)] = downloaded.codes_to_words(pairs[finding], {0: "absent", 1: "present"})
    return facts


def _published_facts(pairs):
    """What the published template says, by column."""
    age = downloaded.typed_numbers(pairs["patient_age"])
    years = downloaded.typed_numbers(pairs["diabetes_time_y"])
    comorbidities = "with comorbidities: " + pairs["comorbidities"]
    facts = {
        "exam_eye": downloaded.codes_to_words(pairs["exam_eye"], {1: "right", 2: "left"}, "no eye reported"),
        "patient_sex": downloaded.codes_to_words(pairs["patient_sex"], {1: "male", 2: "female"}, "no sex reported"),
        "patient_age": age.astype(str).mask(age.isna(), "no age reported"),
        "comorbidities": comorbidities.fillna("with no comorbidities reported"),
        "diabetes_time_y": ("diabetes diagnosed for " + years.astype(str) + " years").mask(
            years.isna(), "with no diabetes duration reported"
        ),
        "insuline": np.where(pairs["insuline"] == "no", "not using insulin", "using insulin"),
    }
    for column in (*ANATOMY, *FINDINGS):
        facts[column] = downloaded.codes_to_words(pairs[column], {1: "present"}, "absent")
    return facts


def _in_words(column):
    return SPELLED_OUT.get(column, column.replace("_", " ").capitalize())

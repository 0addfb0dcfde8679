"""mBRSET: fundus photographs from a hand-held camera, with the patient's history as text; is there retinopathy?

Layout: PhysioNet `mbrset` 1.0 (Wu et al. 2025, Scientific Data 12, 323) and the table in the authors' repository
(github.com/luisnakayama/mBRSET): `labels_mbrset.csv`, `images/`. Codes: sex 0 female, 1 male; history 0 and 1;
education 1 to 7; `final_icdr` 0 (none) to 4, empty where the photograph cannot be graded: those rows are left out.
As published, 80/20 by image, stratified by grade, the test split has 977 images.
"""

from gaplib.datasets.pairs import Dataset
from gaplib.datasets.paper import downloaded
from gaplib.datasets.paper.downloaded import Source

SOURCE = Source(
    name="mbrset",
    title="5,164 retinal photographs of 1,291 patients with diabetes",
    where="https://physionet.org/content/mbrset",
    terms="PhysioNet Credentialed Health Data License 1.5.0: credentialing, training and a signed agreement",
    citation="Wu et al. 2025, Scientific Data 12, 323",
    domain="medical",
    pieces={"table": ("labels_mbrset.csv",), "images": ("images/*.jpg",)},
)
LABELS = ("no retinopathy", "retinopathy")
HISTORY = {
    "insulin": "Insulin",
    "oraltreatment_dm": "Oral treatment",
    "systemic_hypertension": "Hypertension",
    "alcohol_consumption": "Alcohol",
    "smoking": "Smoking",
    "obesity": "Obesity",
    "vascular_disease": "Vascular disease",
    "acute_myocardial_infarction": "Myocardial infarction",
    "nephropathy": "Nephropathy",
    "neuropathy": "Neuropathy",
    "diabetic_foot": "Diabetic foot",
}
EDUCATION = {
    1: "illiterate",
    2: "some primary",
    3: "primary",
    4: "some secondary",
    5: "secondary",
    6: "some tertiary",
    7: "tertiary",
}


def mbrset(split: str = "group") -> Dataset:
    """Pairs of mBRSET.

    Parameters
    ----------
    split : str
        "group": no patient is in two splits. "published": 80/20 by image, stratified by grade, seed 42.
    """
    found = SOURCE.find()
    columns = ("patient", "file", "final_icdr", "age", "sex", "dm_time", "educational_level", *HISTORY)
    pairs = SOURCE.read(found["table"], columns, dtype={"file": str})
    pairs = pairs[pairs["final_icdr"].notna()].reset_index(drop=True)
    pairs["image"] = found["images"].parent.name + "/" + downloaded.jpg(pairs["file"])
    pairs["text"] = downloaded.sentences(_facts(pairs))
    pairs = downloaded.split_by_grade(split, pairs, pairs["patient"], pairs["final_icdr"], LABELS)
    return SOURCE.dataset(pairs, "binary", LABELS)


def _facts(pairs):
    facts = {
        "Sex": downloaded.codes_to_words(pairs["sex"], {0: "female", 1: "male"}),
        "Age": downloaded.years(downloaded.typed_numbers(pairs["age"])),
        "Diabetes for": downloaded.years(downloaded.typed_numbers(pairs["dm_time"])),
    }
    for column, name in HISTORY.items():
        facts[name] = downloaded.codes_to_words(pairs[column], {0: "no", 1: "yes"})
    return facts | {"Education": downloaded.codes_to_words(pairs["educational_level"], EDUCATION)}

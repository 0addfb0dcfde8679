"""mBRSET: fundus photographs from a hand-held camera, with the patient's history as text; is there retinopathy?

Layout: PhysioNet `mbrset` 1.0 (Wu et al. 2025, Scientific Data 12, 323) and the table in the authors' repository
(github.com/luisnakayama/mBRSET): `labels_mbrset.csv`, `images/`. Codes: sex 0 female, 1 male; history 0 and 1;
education 1 to 7; `final_icdr` 0 (none) to 4, empty where the photograph cannot be graded: those rows are left out.
As published, 80/20 by image, stratified by grade, the test split has 977 images.
"""

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
EDUCATION = dict(
    enumerate(
        ("illiterate", "some primary", "primary", "some secondary", "secondary", "some tertiary", "tertiary"), start=1
    )
)


def load(split="group"):
    """Pairs of mBRSET.

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
    columns = ("patient", "file", "final_icdr", "age", "sex", "dm_time", "educational_level", *HISTORY)
    pairs = downloaded.read(SOURCE, found["table"], columns, dtype={"file": str})
    pairs = pairs[pairs["final_icdr"].notna()].reset_index(drop=True)
    pairs["image"] = found["images"].parent.name + "/" + pairs["file"].str.removesuffix(".jpg") + ".jpg"
    pairs["text"] = downloaded.told(_facts(pairs))
    return downloaded.graded(SOURCE, pairs, pairs["final_icdr"], pairs["patient"], LABELS, split)


def _facts(pairs):
    facts = {
        "Sex": downloaded.coded(pairs["sex"], {0: "female", 1: "male"}),
        "Age": downloaded.years(downloaded.number(pairs["age"])),
        "Diabetes for": downloaded.years(downloaded.number(pairs["dm_time"])),
    }
    for column, name in HISTORY.items():
        facts[name] = downloaded.coded(pairs[column], {0: "no", 1: "yes"})
    return facts | {"Education": downloaded.coded(pairs["educational_level"], EDUCATION)}

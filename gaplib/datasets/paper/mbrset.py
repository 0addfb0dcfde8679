"""mBRSET: fundus photographs from a hand-held camera, with the patient's history as text; is there retinopathy?

Layout: PhysioNet `mbrset` 1.0 (Wu et al. 2025, Scientific Data 12, 323) and the table in the authors' repository
(github.com/luisnakayama/mBRSET): `labels_mbrset.csv`, `images/`. Codes: sex 0 female, 1 male; history 0 and 1;
education 1 to 7; `final_icdr` 0 (none) to 4, empty where the photograph cannot be graded: those rows are left out.
As published, 80/20 by image, stratified by grade, the test split has 977 images.

The published text has a trap: what is not recorded (a history left empty) reads as a no.
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
    pieces={"table": ("labels_mbrset.csv", "dataframe_brsetmobile.csv"), "images": ("images/*.jpg",)},
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
PUBLISHED = (
    "A {sex} patient {age}, {dm_time}, {insulin}, and {oraltreatment_dm}. The patient is {systemic_hypertension}, "
    "{alcohol_consumption}, {smoking}, {obesity}, and {vascular_disease}. Medical history includes: "
    "{acute_myocardial_infarction}, {nephropathy}, {neuropathy}, and {diabetic_foot}. The patient is "
    "{educational_level}."
)
PUBLISHED_HISTORY = {  # what is said of a yes, and of anything else
    "insulin": ("using insulin", "not using insulin"),
    "oraltreatment_dm": ("on oral treatment for diabetes", "not on oral treatment for diabetes"),
    "systemic_hypertension": ("with systemic hypertension", "without systemic hypertension"),
    "alcohol_consumption": ("consumes alcohol", "does not consume alcohol"),
    "smoking": ("smokes", "does not smoke"),
    "obesity": ("with obesity", "without obesity"),
    "vascular_disease": ("has vascular disease", "does not have vascular disease"),
    "acute_myocardial_infarction": (
        "has a history of acute myocardial infarction",
        "no history of acute myocardial infarction",
    ),
    "nephropathy": ("with nephropathy", "without nephropathy"),
    "neuropathy": ("with neuropathy", "without neuropathy"),
    "diabetic_foot": ("has diabetic foot", "does not have diabetic foot"),
}
PUBLISHED_EDUCATION = {
    1: "illiterate",
    2: "with incomplete primary education",
    3: "with complete primary education",
    4: "with incomplete secondary education",
    5: "with complete secondary education",
    6: "with incomplete tertiary education",
    7: "with complete tertiary education",
}


def mbrset(text: str = "clean", split: str = "group") -> Dataset:
    """Pairs of mBRSET.

    Parameters
    ----------
    text : str
        "clean": the history as it was recorded. "published": in the sentences of the authors' public code, trap
        included (see above).
    split : str
        "group": no patient is in two splits. "published": 80/20 by image, stratified by grade, seed 42.
    """
    found = SOURCE.find()
    columns = ("patient", "file", "final_icdr", "age", "sex", "dm_time", "educational_level", *HISTORY)
    pairs = SOURCE.read(found["table"], columns, dtype={"file": str})
    pairs = pairs[pairs["final_icdr"].notna()].reset_index(drop=True)
    pairs["image"] = found["images"].parent.name + "/" + downloaded.jpg(pairs["file"])
    if text == "published":
        pairs["text"] = downloaded.filled_in(PUBLISHED, _published_facts(pairs))
    else:
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


def _published_facts(pairs):
    """What the published template says, by column."""
    age = "aged " + pairs["age"].astype(str) + " years"
    years = "diagnosed with diabetes for " + pairs["dm_time"].astype(str) + " years"
    unknown = "with no educational level reported"
    facts = {
        "sex": downloaded.codes_to_words(pairs["sex"], {0: "female", 1: "male"}, "sex not reported"),
        "age": age.mask(pairs["age"].isna(), "with age not reported"),
        "dm_time": years.mask(pairs["dm_time"].isna(), "with no reported diabetes duration"),
        "educational_level": downloaded.codes_to_words(pairs["educational_level"], PUBLISHED_EDUCATION, unknown),
    }
    for column, (yes, no) in PUBLISHED_HISTORY.items():
        facts[column] = downloaded.codes_to_words(pairs[column], {1: yes}, no)
    return facts

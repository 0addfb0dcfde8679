"""HAM10000: dermatoscopic images, with age, sex and site of the lesion as text; the label is one of seven diagnoses.

Layout: the data descriptor (Tschandl et al. 2018, Scientific Data 5, 180161) and the Harvard Dataverse entry: one table
(`lesion_id`, `image_id`, `dx`, `dx_type`, `age`, `sex`, `localization`) and the images in two archives. A lesion may
have several images; some ages are missing. As published, 80/20 by image, the test split has 2,003 of 10,015 images.
"""

from gaplib.datasets.pairs import Dataset
from gaplib.datasets.paper import downloaded
from gaplib.datasets.paper.downloaded import Source

SOURCE = Source(
    name="ham10000",
    title="10,015 dermatoscopic images of pigmented skin lesions",
    where="Harvard Dataverse, doi:10.7910/DVN/DBW86T; unpack each archive of images into a folder of its name",
    terms="CC BY-NC 4.0",
    citation="Tschandl et al. 2018, Scientific Data 5, 180161",
    domain="medical",
    free=True,
    pieces={
        "table": ("HAM10000_metadata.csv", "HAM10000_metadata.tab", "HAM10000_metadata"),
        "images, part 1": ("HAM10000_images_part_1/*.jpg", "HAM10000_images_part1/*.jpg", "images/*.jpg"),
        "images, part 2": ("HAM10000_images_part_2/*.jpg", "HAM10000_images_part2/*.jpg", "images/*.jpg"),
    },
)
LABELS = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")


def ham10000(text: str = "clean", split: str = "group") -> Dataset:
    """Pairs of HAM10000.

    Parameters
    ----------
    text : str
        "clean": age, sex and site. "published": also how the diagnosis was made (`dx_type`), which tells the class.
    split : str
        "group": no lesion is in two splits. "published": 80/20 by image, stratified, seed 42.
    """
    found = SOURCE.find()
    separator = "," if found["table"].suffix == ".csv" else None  # None: pandas finds out
    pairs = SOURCE.read(found["table"], COLUMNS, sep=separator, engine="python")
    first = found["images, part 1"].parent
    second = found["images, part 2"].parent
    in_second = dict.fromkeys(downloaded.image_names(second), second.name)
    pairs["image"] = pairs["image_id"].map(in_second).fillna(first.name) + "/" + pairs["image_id"] + ".jpg"
    pairs["text"] = _text(pairs, text)
    pairs["label"] = pairs["dx"]
    pairs = downloaded.split_pairs(split, pairs[["image", "text", "label"]], pairs["lesion_id"], pairs["dx"])
    return SOURCE.dataset(pairs, "multiclass", LABELS)


def _text(pairs, choice):
    missing = "unknown" if choice == "clean" else "No data reported"  # the second as the published template has it
    facts = {
        "Age": downloaded.years(pairs["age"]),
        "Sex": pairs["sex"].fillna(missing),
        "Localization": pairs["localization"].fillna(missing),
    }
    if choice == "clean":
        return downloaded.sentences(facts)
    facts["Age"] = facts["Age"].replace("unknown", "No data reported years")
    return "Patient diagnosed via " + pairs["dx_type"] + ". " + downloaded.sentences(facts)

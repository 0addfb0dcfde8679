"""Miniature folders of the eight datasets, in the layout and with the quirks of what one downloads.

`make(folder)` makes all of them, `make(folder, name)` one; point `GAPLIB_DATASETS` to the folder.
"""

import numpy as np
import pandas as pd
from PIL import Image

FINDINGS = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "No Finding", "Pleural Effusion")


def make(folder, name=None):
    """Write the miniature of one dataset, or of all, under `folder`; returns the folder."""
    for each in [name] if name else MAKERS:
        MAKERS[each](folder / each, np.random.default_rng(0))
    return folder


def _draw(path, rng, shade=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = rng.integers(0, 120, (12, 12, 3)) + shade
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def _write(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(map(str, lines)) + "\n")


def _mimic_cxr(folder, rng):
    """60 patients of one or two studies of one or two images; -1 and empty labels; a study without labels."""
    split, labels = [], []
    published = {"train": [], "valid": [], "test": []}
    for patient in range(60):
        subject = 10_000_032 + 1_000_000 * (patient % 2) + patient
        part = ("train", "train", "train", "validate", "test")[patient % 5]
        frontal = published[("train", "train", "train", "train", "valid", "test")[patient % 6]]
        for study in range(1 + patient % 2):
            number = 50_000_000 + 10 * patient + study
            home = folder / "files" / f"p{str(subject)[:2]}" / f"p{subject}"
            values = rng.choice([1.0, 0.0, np.nan], len(FINDINGS), p=[0.4, 0.2, 0.4])
            if patient % 20 == 0:
                values[study] = -1
            if patient != 59:
                labels.append((subject, number, *values))
            shade = 100 * (values[5] == 1)
            for view in range(1 + (patient + study) % 2):
                dicom = "-".join(f"{part:08x}" for part in rng.integers(2**32, size=5))
                _draw(home / f"s{number}" / f"{dicom}.jpg", rng, shade)
                split.append((dicom, number, subject, part))
                if view == 0:
                    frontal.append((f"preproc_224x224/{dicom}.jpg", patient % 3))
            told = [f"{name}." for name, value in zip(FINDINGS, values, strict=True) if value == 1]
            report = [
                "                 FINAL REPORT",
                " FINDINGS:",
                f" {' '.join(told) or 'Clear.'} Patient {patient}.",
            ]
            _write(home / f"s{number}.txt", report)
    for name, rows in published.items():
        pd.DataFrame(rows, columns=["path_preproc", "disease_label"]).to_csv(folder / f"{name}.csv", index=False)
    split = pd.DataFrame(split, columns=["dicom_id", "study_id", "subject_id", "split"])
    split.to_csv(folder / "mimic-cxr-2.0.0-split.csv.gz", index=False)
    labels = pd.DataFrame(labels, columns=["subject_id", "study_id", *FINDINGS])
    labels.assign(Pneumonia=-1.0).to_csv(folder / "mimic-cxr-2.0.0-chexpert.csv.gz", index=False)


def _ham10000(folder, rng):
    """16 lesions of each diagnosis, every fourth with two images; two part folders; missing ages."""
    rows, number = [], 24_306
    for lesion in range(112):
        dx = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")[lesion % 7]
        age = "" if lesion % 30 == 5 else f"{rng.integers(4, 18) * 5}.0"
        facts = (
            ("histo", "follow_up", "consensus")[lesion % 3],
            age,
            ("male", "female", "unknown")[lesion % 3],
            "back",
        )
        for _ in range(1 + (lesion % 4 == 0)):
            rows.append((f"HAM_{lesion:07d}", f"ISIC_{number:07d}", dx, *facts))
            part = 1 + len(rows) % 2
            _draw(folder / f"HAM10000_images_part_{part}" / f"ISIC_{number:07d}.jpg", rng, 18 * (lesion % 7))
            number += 1
    columns = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "HAM10000_metadata.csv", index=False)


def _brset(folder, rng):
    """60 patients, two eyes each; ids without ending; ages and durations as typed by hand."""
    rows = []
    for patient in range(60):
        for eye in (1, 2):
            grade = rng.integers(1, 5) if patient % 3 == 0 and eye == 2 else 0
            rows.append(
                {
                    "image_id": f"img{len(rows) + 1:05d}",
                    "patient_id": patient + 1,
                    "camera": "Canon CR",
                    "patient_age": ("48", "6O", "", "57,5")[patient % 4],
                    "comorbidities": ("diabetes1, SAH", "", "0", "")[patient % 4],
                    "diabetes_time_y": ("12", "", "Não")[patient % 3],
                    "insuline": ("yes", "no", "")[patient % 3],
                    "patient_sex": 1 + patient % 2,
                    "exam_eye": eye,
                    "optic_disc": 1 + (patient % 5 == 0),
                    "vessels": 1,
                    "macula": 1 + (grade > 2),
                    "DR_SDRG": grade,
                    "DR_ICDR": grade,
                    "diabetic_retinopathy": int(grade > 0),
                    **dict.fromkeys(("macular_edema", "scar", "nevus", "amd", "vascular_occlusion"), 0),
                    **dict.fromkeys(("hypertensive_retinopathy", "drusens", "hemorrhage", "retinal_detachment"), 0),
                    **dict.fromkeys(("myopic_fundus", "increased_cup_disc"), int(patient % 4 == 1)),
                    "other": 0,
                    "quality": "Adequate",
                }
            )
            _draw(folder / "fundus_photos" / f"{rows[-1]['image_id']}.jpg", rng, 100 * (grade > 0))
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)


def _mbrset(folder, rng):
    """36 patients with four images each, one in twelve of which could not be graded; missing history."""
    history = ("insulin", "oraltreatment_dm", "systemic_hypertension", "alcohol_consumption", "smoking", "obesity")
    history += ("vascular_disease", "acute_myocardial_infarction", "nephropathy", "neuropathy", "diabetic_foot")
    rows = []
    for patient in range(1, 37):
        values = {name: int(rng.random() < 0.3) for name in history}
        values["diabetic_foot"] = "" if patient % 9 == 0 else values["diabetic_foot"]
        for photo in range(1, 5):
            grade = "" if (patient + photo) % 12 == 0 else (2 if patient % 3 == 0 and photo > 1 else 0)
            rows.append(
                {
                    "patient": patient,
                    "age": 40 + patient,
                    "sex": patient % 2,
                    "dm_time": "" if patient % 10 == 0 else patient % 20,
                    "insulin_time": "",
                    **values,
                    "insurance": 0,
                    "educational_level": "" if patient % 8 == 0 else patient % 7 + 1,
                    "file": f"{patient}.{photo}.jpg",
                    "laterality": ("right", "left")[photo > 2],
                    "final_quality": "no" if grade == "" else "yes",
                    "final_icdr": grade,
                }
            )
            _draw(folder / "images" / f"{patient}.{photo}.jpg", rng, 100 * (grade == 2))
    pd.DataFrame(rows).to_csv(folder / "labels_mbrset.csv", index=False)


def _daquar(folder, rng):
    """20 images to train on and 30 to test on; three answers have 105 test rows, one of them two things; rows twice."""
    for part, first, images, rows, twice in (("train", 1, 20, 88, 3), ("test", 21, 30, 330, 5)):
        lines = []
        for row in range(rows):
            answer = "garbage_bin" if row % 22 == 21 else ("table", "chair", "table, chair")[row % 3]
            named = (
                "in the {} ?",
                "in {} ?",
                "on the {} ?",
                "of the {} ?",
                "in this {} ?",
                "{} ?",
                "in the {}, there ?",
            )
            image = f"image{first + row % images}"
            lines += [f"what is left of thing {row} {named[row % len(named)].format(image)}", answer]
        _write(folder / f"qa.894.raw.{part}.txt", lines + lines[: 2 * twice])
    for image in range(1, 51):
        _draw(folder / "nyu_depth_images" / f"image{image}.png", rng)


def _coco_qa(folder, rng):
    """Names padded with zeros; an answer that occurs in training only; the first rows once more."""
    for part, year, rows in (("train", "train2014", 80), ("test", "val2014", 50)):
        ids = [(475_546 if part == "train" else 42) + row // 2 for row in range(rows)]
        answers = [("two", "red", "dog", "kitchen")[row % 4] for row in range(rows)]
        answers[-1] = {"train": "zebra", "test": answers[-1]}[part]
        questions = [f"what is the thing number {row % 30} in the picture" for row in range(rows)]
        ids, answers, questions = (lines + lines[: rows // 10] for lines in (ids, answers, questions))
        for name, lines in (
            ("questions", questions),
            ("answers", answers),
            ("img_ids", ids),
            ("types", [0] * len(ids)),
        ):
            _write(folder / part / f"{name}.txt", lines)
        for i in dict.fromkeys(ids):
            _draw(folder / year / f"COCO_{year}_{i:012d}.jpg", rng)


def _fakeddit(folder, rng):
    """Tables in the folder of the multimodal samples; pictures that are gone, no title, and the title "null"."""
    for name, rows in (("train", 80), ("validate", 30), ("test_public", 40)):
        table = []
        for row in range(rows):
            submission, gone = f"{name[0]}{len(name)}{row:04x}", row % 10 == 9
            title = {3: "", 4: "null"}.get(row, f"A Thing that happened: {row} times!")
            clean = title.lower().replace(":", "").replace("!", "")
            table.append((row, title, clean, not gone, submission, row % 2, (3 * row) % 6 * (row % 2 == 0)))
            if not gone:
                _draw(folder / "public_image_set" / f"{submission}.jpg", rng, 100 * (row % 2))
        columns = ["Unnamed: 0", "title", "clean_title", "hasImage", "id", "2_way_label", "6_way_label"]
        (folder / "multimodal_only_samples").mkdir(exist_ok=True)
        path = folder / "multimodal_only_samples" / f"multimodal_{name}.tsv"
        pd.DataFrame(table, columns=columns).to_csv(path, sep="\t", index=False)


def _recipes5k(folder, rng):
    """Ingredients of all splits in one file, to which the labels point."""
    foods, ingredients, home = ("apple_pie", "baby_back_ribs", "takoyaki", "waffles"), [], folder / "annotations"
    for part, rows in (("train", 60), ("val", 16), ("test", 24)):
        images, places = [], []
        for row in range(rows):
            food = foods[row % 4]
            images.append(f"{food}/{part}_{row}_{food}.jpg")
            places.append(len(ingredients))
            ingredients.append(f"salt,{'flour, ' * (row % 2)}sauté onions,{food[:3]} number {row % 20}")
            _draw(folder / "images" / images[-1], rng, 30 * (row % 4))
        _write(home / f"{part}_images.txt", images)
        _write(home / f"{part}_labels.txt", places)
    _write(home / "ingredients_Recipes5k.txt", ingredients)


MAKERS = {
    "mimic-cxr": _mimic_cxr,
    "ham10000": _ham10000,
    "brset": _brset,
    "mbrset": _mbrset,
    "daquar": _daquar,
    "coco-qa": _coco_qa,
    "fakeddit": _fakeddit,
    "recipes5k": _recipes5k,
}

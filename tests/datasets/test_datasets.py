"""The datasets to download, on miniature folders in the published layout: what is read, and what is said when not."""

import csv
import os
import re
import shutil
import subprocess

import downloads
import pandas as pd
import pytest

from gaplib import datasets, paths
from gaplib.datasets.__main__ import SOURCES, main
from gaplib.datasets.pairs import label_columns, open_image

pytestmark = pytest.mark.filterwarnings("ignore:dataset .* rows are left out")

# Pairs, train, val, test.
SHAPES = {
    "mimic-cxr": (114, 69, 24, 21),
    "mimic-cxr:published": (85, 58, 9, 18),
    "ham10000": (140, 100, 12, 28),
    "ham10000:published": (140, 112, 0, 28),
    "brset": (120, 84, 12, 24),
    "brset:published": (120, 96, 0, 24),
    "mbrset": (132, 91, 15, 26),
    "mbrset:published": (132, 105, 0, 27),
    "daquar": (399, 84, 0, 315),
    "daquar:published": (399, 84, 0, 315),
    "coco-qa": (129, 79, 0, 50),
    "fakeddit": (132, 71, 26, 35),
    "recipes5k": (100, 60, 16, 24),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return downloads.make(tmp_path_factory.mktemp("downloads"))


@pytest.fixture
def here(made, monkeypatch):
    """The miniatures, to read."""
    monkeypatch.setenv("GAPLIB_DATASETS", str(made))
    return made


@pytest.fixture
def copy(made, tmp_path, monkeypatch):
    """A function that gives a copy of one miniature, to damage."""
    monkeypatch.setenv("GAPLIB_DATASETS", str(tmp_path))
    return lambda name: shutil.copytree(made / name, tmp_path / name)


@pytest.mark.parametrize("name", SHAPES)
def test_counts_splits_labels_and_images(here, name):
    pairs, about = datasets.load(name)
    assert (len(pairs), *((pairs["split"] == s).sum() for s in ("train", "val", "test"))) == SHAPES[name]
    assert about.name == datasets.stored_name(name) and about.licence and about.citation
    assert about.domain == ("medical" if name[:2] in ("mi", "ha", "br", "mb") else "natural")
    for column in ("group", "image"):
        assert (pairs.groupby(column)["split"].nunique() == 1).all()
    for split, rows in pairs.groupby("split"):
        for column in label_columns(about):
            seen = set(rows[column])
            assert seen == ({0, 1} if about.task == "multilabel" else set(about.labels)), (split, column)
    assert open_image(pairs["image"].iloc[-1], about.root).size == (12, 12)


def by_image(name):
    pairs = datasets.load(name).pairs
    return pairs.set_index(pairs["image"].str.extract(r"([^/]+)\.\w+$")[0])


def test_ham10000(here):
    clean, published = by_image("ham10000"), by_image("ham10000:published")
    table = pd.read_csv(here / "ham10000" / "HAM10000_metadata.csv").set_index("image_id")
    assert clean["group"].to_dict() == table["lesion_id"].to_dict()
    assert clean["label"].to_dict() == published["label"].to_dict() == table["dx"].to_dict()
    assert not clean["text"].str.contains("histo|follow_up|consensus|diagnos").any()
    first = table.index[0]
    assert published["text"][first].startswith("Patient diagnosed via histo. Age: ")
    assert clean["text"][first] == f"Age: {table['age'][first]:.0f} years. Sex: male. Localization: back."
    missing = table.index[table["age"].isna()]
    assert len(missing) and (clean["text"][missing].str.startswith("Age: unknown. ")).all()
    assert set(clean["image"].str.split("/").str[0]) == {"HAM10000_images_part_1", "HAM10000_images_part_2"}
    # By image, some lesions are on both sides: why splitting by group is the default.
    assert (published["split"].groupby(table["lesion_id"]).nunique() > 1).any()
    mixed = datasets.load("ham10000:text=published")
    assert mixed.about.name == "ham10000-text-published"
    assert list(mixed.pairs["split"]) == list(clean["split"]) and list(mixed.pairs["text"]) == list(published["text"])


def test_ham10000_with_the_table_as_dataverse_gives_it(copy):
    folder, before = copy("ham10000"), datasets.load("ham10000").pairs
    path = folder / "HAM10000_metadata.csv"
    pd.read_csv(path).to_csv(path.with_suffix(".tab"), sep="\t", index=False, quoting=csv.QUOTE_NONNUMERIC)
    path.unlink()
    pd.testing.assert_frame_equal(datasets.load("ham10000").pairs, before)


def test_published_split_is_that_of_scikit_learn(here):
    from sklearn.model_selection import train_test_split

    table = pd.read_csv(here / "brset" / "labels.csv")
    _, test = train_test_split(table, test_size=0.2, stratify=table["DR_ICDR"], random_state=42)
    published = by_image("brset:published")
    assert set(published.index[published["split"] == "test"]) == set(test["image_id"])


def test_brset(here):
    pairs = by_image("brset")
    table = pd.read_csv(here / "brset" / "labels.csv").set_index("image_id")
    assert (pairs["label"] == (table["DR_ICDR"] > 0).map({True: "retinopathy", False: "no retinopathy"})).all()
    assert (pairs["group"] == table["patient_id"]).all()
    start = (
        "Eye: right. Sex: male. Age: 48 years. Comorbidities: diabetes1, SAH. Diabetes for: 12 years. Insulin: yes. "
    )
    assert pairs["text"]["img00001"].startswith(start + "Optic disc: abnormal. Vessels: normal. ")
    second = "Eye: left. Sex: female. Age: 60 years. Comorbidities: not recorded. Diabetes for: unknown. Insulin: no. "
    assert "Comorbidities: none." in pairs["text"]["img00005"]  # recorded as 0
    assert pairs["text"]["img00004"].startswith(second) and "Myopic fundus: present" in pairs["text"]["img00004"]
    assert pairs["text"]["img00005"].split(". ")[2] == "Age: unknown" and "Age: 57.5 years" in pairs["text"]["img00008"]
    assert not pairs["text"].str.contains("etinopathy").any()


def test_brset_as_published(here):
    """Word by word, with its traps: insulin not recorded is in use, and what is normal is present."""
    published = by_image("brset:published")
    first = (
        "An image from the right eye of a male patient, aged 48.0 years, with comorbidities: diabetes1, SAH, diabetes "
        "diagnosed for 12.0 years, using insulin. The optic disc is absent, vessels are present, and the macula is "
        "present. Conditions include macular edema: absent, scar: absent, nevus: absent, amd: absent, vascular "
        "occlusion: absent, drusens: absent, hemorrhage: absent, retinal detachment: absent, myopic fundus: absent, "
        "increased cup disc ratio: absent, and other conditions: absent."
    )
    assert published["text"]["img00001"] == first
    told = (
        "female patient, aged 60.0 years, with no comorbidities reported, with no diabetes duration reported, not using"
    )
    assert told in published["text"]["img00003"] and "no age reported years" in published["text"]["img00005"]
    table = pd.read_csv(here / "brset" / "labels.csv", keep_default_na=False).set_index("image_id")
    using = published["text"].str.contains(", using insulin")
    assert (using == (table["insuline"] != "no")).all() and using.sum() > (table["insuline"] == "yes").sum()
    mixed = datasets.load("brset:text=published")
    assert mixed.about.name == "brset-text-published" and list(mixed.pairs["text"]) == list(published["text"])


def test_brset_as_newer_releases_spell_it(copy):
    folder, before = copy("brset"), datasets.load("brset").pairs
    table = pd.read_csv(folder / "labels.csv", dtype=str)
    names = {"drusens": "drusen", "insuline": "insulin", "diabetes_time_y": "diabetes_time"}
    table.assign(image_id=table["image_id"] + ".jpg").rename(columns=names).to_csv(folder / "labels.csv", index=False)
    (folder / "fundus_photos").rename(folder / "images")
    after = datasets.load("brset").pairs
    assert list(after["text"]) == list(before["text"])
    assert list(after["image"]) == list(before["image"].str.replace("fundus_photos", "images"))


def test_mbrset(here):
    pairs = by_image("mbrset")
    table = pd.read_csv(here / "mbrset" / "labels_mbrset.csv")
    table = table.set_index(table["file"].str.removesuffix(".jpg"))[table["final_icdr"].notna().to_numpy()]
    assert set(pairs.index) == set(table.index)  # the ungradable are out
    assert (pairs["group"] == table["patient"]).all()
    assert ((pairs["label"] == "retinopathy") == (table["final_icdr"] > 0)).all()
    assert pairs["text"]["1.1"].startswith("Sex: male. Age: 41 years. Diabetes for: 1 years. Insulin: ")
    assert "Diabetic foot: unknown" in pairs["text"]["9.1"] and "Education: unknown." in pairs["text"]["8.1"]
    assert "Diabetes for: unknown" in pairs["text"]["10.1"]


def test_mbrset_as_published(here):
    published = by_image("mbrset:published")["text"]
    assert published["1.1"].startswith("A male patient aged 41 years, diagnosed with diabetes for 1.0 years, ")
    assert published["1.1"].endswith("The patient is with incomplete primary education.")
    table = pd.read_csv(here / "mbrset" / "labels_mbrset.csv")
    table = table.set_index(table["file"].str.removesuffix(".jpg")).loc[published.index]
    assert (published.str.contains("has diabetic foot") == (table["diabetic_foot"] == 1)).all()
    assert "does not have diabetic foot" in published["9.1"]  # the trap: it is not recorded
    assert "with no reported diabetes duration" in published["10.1"]
    assert published["8.1"].endswith("The patient is with no educational level reported.")


def test_mimic_cxr_as_published(here):
    """The authors' own tables: their images, their split by patient, the official labels and reports."""
    official, published = by_image("mimic-cxr"), by_image("mimic-cxr:published")
    home = here / "mimic-cxr"
    theirs = {name: pd.read_csv(home / f"{name}.csv")["path_preproc"] for name in ("train", "valid", "test")}
    for name, images in theirs.items():
        there = set(images.str.extract(r"/(.*)\.jpg")[0])
        split = {"valid": "val"}.get(name, name)
        assert set(published.index[published["split"] == split]) == there & set(official.index)
    assert len(published) < sum(map(len, theirs.values()))  # uncertain rows are dropped
    same = official.loc[published.index].drop(columns="split")
    pd.testing.assert_frame_equal(published.drop(columns="split"), same)
    assert (published["split"] != official.loc[published.index, "split"]).any()


def test_mimic_cxr_published_needs_the_tables_and_names_of_images(copy):
    folder = copy("mimic-cxr")
    (folder / "valid.csv").write_text("path_preproc,disease_label\npreproc/nothing.jpg,0\n")
    with pytest.raises(ValueError, match="valid.csv, row 0: path_preproc names no image"):
        datasets.load("mimic-cxr:published")
    (folder / "valid.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"no train.csv|no valid.csv .published validation rows."):
        datasets.load("mimic-cxr:published")
    assert len(datasets.load("mimic-cxr").pairs)


def test_mimic_cxr(here):
    pairs, about = datasets.load("mimic-cxr")
    home = here / "mimic-cxr"
    labels = pd.read_csv(home / "mimic-cxr-2.0.0-chexpert.csv.gz").set_index("study_id")
    split = pd.read_csv(home / "mimic-cxr-2.0.0-split.csv.gz").set_index("dicom_id")
    uncertain = labels.index[(labels[list(about.labels)] == -1).any(axis=1)]
    expected = split[split["study_id"].isin(labels.index) & ~split["study_id"].isin(uncertain)]
    assert len(uncertain) == 3 and len(expected) == len(pairs) < len(split)
    for _, row in pairs.iterrows():
        dicom, study = row["image"].split("/")[-1].removesuffix(".jpg"), row["image"].split("/")[-2]
        assert row["split"] == split["split"][dicom].replace("validate", "val")
        assert row["group"] == str(split["subject_id"][dicom])
        assert list(row[list(about.labels)]) == [int(v == 1) for v in labels.loc[int(study[1:]), list(about.labels)]]
        assert row["text"] == (home / row["image"]).parent.with_suffix(".txt").read_text().strip()
    assert pairs.groupby("group")["text"].nunique().max() == 2 and pairs["text"].duplicated().any()


def test_mimic_cxr_with_unpacked_tables_and_reports_apart(copy):
    folder, before = copy("mimic-cxr"), datasets.load("mimic-cxr").pairs
    for path in folder.glob("*.csv.gz"):
        pd.read_csv(path).to_csv(path.with_suffix(""), index=False)
        path.unlink()
    for path in list(folder.glob("files/*/*/*.txt")):
        to = folder / "mimic-cxr-reports" / path.relative_to(folder)
        to.parent.mkdir(parents=True, exist_ok=True)
        path.rename(to)
    pd.testing.assert_frame_equal(datasets.load("mimic-cxr").pairs, before)


def test_daquar(here):
    """Whole answers, no row twice: in small as published (12,468 rows, 12,163 left, 12 answers with 100 test rows)."""
    with pytest.warns(UserWarning, match="'daquar': 19 of 418 rows are left out: they have none of the frequent"):
        pairs, about = datasets.load("daquar")
    published = datasets.load("daquar:published").pairs
    assert (about.task, about.labels) == ("multiclass", ("chair", "table", "table, chair"))
    lines = (here / "daquar" / "qa.894.raw.test.txt").read_text().splitlines()
    asked = dict(zip(lines[::2], lines[1::2], strict=True))
    assert len(asked) < len(lines) / 2
    test = pairs[pairs["split"] == "test"].reset_index()
    for row, question in published["text"][published["split"] == "test"].reset_index(drop=True).items():
        assert asked.pop(question) == test["label"][row]
        assert test["image"][row] == f"nyu_depth_images/{re.search('image[0-9]+', question)[0]}.png"
    assert set(asked.values()) == {"garbage_bin"}
    assert not pairs["text"].str.contains("image|in the|of the|on the|this").any()
    told = [f"what is left of thing {i} ?" for i in range(6)]
    assert list(pairs["text"][:7]) == [*told, "what is left of thing 6, there ?"]


def test_daquar_and_others_under_names_that_are_in_use(copy):
    before = {
        name: datasets.load(name).pairs
        for name in ("daquar", "ham10000", "fakeddit", "coco-qa", "mbrset")
        if copy(name)
    }
    folder = paths.downloads("daquar")
    for part in ("train", "test"):
        (folder / f"qa.894.raw.{part}.txt").rename(folder / f"{part}.txt")
    (folder / "nyu_depth_images").rename(folder / "images")
    folder = paths.downloads("ham10000")
    (folder / "images").mkdir()
    for path in list(folder.glob("*part*/*.jpg")) + list(paths.downloads("coco-qa").glob("*2014/*.jpg")):
        to = path.parents[1] / "images"
        to.mkdir(exist_ok=True)
        path.rename(to / path.name)
        if not any(path.parent.iterdir()):
            path.parent.rmdir()
    folder = paths.downloads("fakeddit")
    for name, short in (("train", "train"), ("validate", "val"), ("test_public", "test")):
        (folder / "multimodal_only_samples" / f"multimodal_{name}.tsv").rename(folder / f"{short}.tsv")
    (folder / "public_image_set").rename(folder / "images")
    folder = paths.downloads("mbrset")
    (folder / "labels_mbrset.csv").rename(folder / "dataframe_brsetmobile.csv")
    for name, table in before.items():
        after = datasets.load(name).pairs
        pd.testing.assert_frame_equal(after.drop(columns=["image", "group"]), table.drop(columns=["image", "group"]))
        assert list(after["image"].str.rsplit("/").str[-1]) == list(table["image"].str.rsplit("/").str[-1]), name


def test_coco_qa(here):
    with pytest.warns(UserWarning, match=r"'coco-qa': 1 of 130 rows are left out: their answers are in one split only"):
        pairs, about = datasets.load("coco-qa")
    assert about.labels == ("dog", "kitchen", "red", "two")
    assert not pairs.duplicated(["image", "text", "label"]).any()
    assert pairs["image"][0] == "train2014/COCO_train2014_000000475546.jpg"
    assert pairs["image"].iloc[-1] == "val2014/COCO_val2014_000000000066.jpg"
    assert pairs["text"][1] == "what is the thing number 1 in the picture" and pairs["label"][1] == "red"


def test_coco_qa_with_photographs_as_of_2017(copy):
    folder, before = copy("coco-qa"), datasets.load("coco-qa").pairs
    for year in ("train2014", "val2014"):
        to = folder / year.replace("2014", "2017")
        to.mkdir()
        for path in (folder / year).iterdir():
            path.rename(to / path.name[-16:])
        (folder / year).rmdir()
    after = datasets.load("coco-qa").pairs
    assert list(after["image"].str[-16:]) == list(before["image"].str[-16:])


def test_fakeddit(here):
    with pytest.warns(UserWarning, match=r"'fakeddit': 18 of 150 rows are left out: they have no picture or no title"):
        pairs, about = datasets.load("fakeddit")
    assert about.labels == ("fake", "true") and "null" in set(pairs["text"])
    assert pairs["text"][0] == "A Thing that happened: 0 times!"  # not clean_title
    table = pd.read_csv(here / "fakeddit" / "multimodal_only_samples" / "multimodal_train.tsv", sep="\t").set_index(
        "id"
    )
    train = pairs[pairs["split"] == "train"]
    ids = train["image"].str.extract(r"public_image_set/(\w+).jpg")[0]
    assert table["hasImage"][ids].all()
    assert list(train["label"]) == [about.labels[value] for value in table["2_way_label"][ids]]


def test_recipes5k(here):
    pairs, about = datasets.load("recipes5k")
    assert about.labels == ("apple_pie", "baby_back_ribs", "takoyaki", "waffles")
    assert pairs["image"][1] == "images/baby_back_ribs/train_1_baby_back_ribs.jpg"
    assert pairs["text"][1] == "salt, flour, sauté onions, bab number 1"
    test = pairs[pairs["split"] == "test"]
    assert test["text"].iloc[3] == "salt, flour, sauté onions, waf number 3"  # line 79 of the ingredients


def test_names_of_variants():
    assert datasets.stored_name("brset:split=published,text=published") == "brset-published"
    assert datasets.stored_name("ham10000:split=published", 50) == "ham10000-split-published-50"
    assert datasets.stored_name("mimic-cxr:published") == "mimic-cxr-published"
    assert datasets.stored_name("brset:text=published") == "brset-text-published"
    assert datasets.stored_name("ham10000:text=published,split=published") == "ham10000-published"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ham1000", "unknown dataset 'ham1000': did you mean 'ham10000'"),
        (
            "coco-qa:split=published",
            "dataset 'coco-qa' has one text and one split, so there is no coco-qa:split=published",
        ),
        ("ham10000:text=raw", "unknown text of dataset 'ham10000': 'raw'"),
        ("ham10000:publishd", "unknown choice of dataset 'ham10000': 'publishd'"),
    ],
)
def test_unknown_names_and_choices(here, name, message):
    with pytest.raises(ValueError, match=message):
        datasets.load(name)


@pytest.mark.parametrize("source", SOURCES, ids=lambda s: s.name)
def test_every_missing_piece_is_named(copy, source):
    folder = copy(source.name)
    for what, path in source.find().items():
        aside = folder.parent / "aside"
        path = path if source.pieces[what][0].count("*") == 0 else folder / path.relative_to(folder).parts[0]
        path.rename(aside)
        with pytest.raises(FileNotFoundError) as error:
            datasets.load(source.name)
        assert f"({what})" in str(error.value) and "make data" in str(error.value)
        aside.rename(path)
    shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError) as error:
        datasets.load(source.name)
    assert all(f"({what})" in str(error.value) for what in source.pieces) and str(folder) in str(error.value)


@pytest.mark.parametrize(
    ("name", "image"),
    [("ham10000", "ISIC_0024310"), ("brset", "img00007"), ("mbrset", "7.3"), ("daquar", "image7"), ("coco-qa", "43")],
)
def test_an_image_that_is_not_there_is_named(copy, name, image):
    next(copy(name).rglob(f"*{image}.*")).unlink()
    with pytest.raises(ValueError, match=rf"dataset '{name}', row \d+ \(image '[^']*{image}\.\w+'\): no such image"):
        datasets.load(name)


@pytest.mark.parametrize(
    ("name", "file", "change", "message"),
    [
        (
            "brset",
            "labels.csv",
            lambda s: s.replace("DR_ICDR", "ICDR"),
            "labels.csv has no column 'DR_ICDR'; it has image",
        ),
        ("ham10000", "HAM10000_metadata.csv", lambda s: "", "HAM10000_metadata.csv cannot be read as a table"),
        ("daquar", "qa.894.raw.test.txt", lambda s: s + "what is this ?\n", "does not hold a question that names its"),
        ("coco-qa", "test/answers.txt", lambda s: s + "dog\n", "the files in test/ have different numbers of lines"),
        (
            "recipes5k",
            "annotations/val_labels.txt",
            lambda s: s.replace("60", "x"),
            "val_labels.txt must give a line of",
        ),
    ],
)
def test_what_cannot_be_read_is_said(copy, name, file, change, message):
    path = copy(name) / file
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=message):
        datasets.load(name)


def test_a_sample_keeps_every_split(here):
    assert set(datasets.load("mbrset", 20).pairs["split"]) == {"train", "val", "test"}
    assert len(datasets.load("daquar", 80).pairs) <= 80


def test_make_data_tells_what_is_here(copy, monkeypatch, capsys):
    folder = copy("ham10000")
    shutil.rmtree(copy("brset"))
    for name in ("mimic-cxr", "mbrset"):
        copy(name)
    shutil.rmtree(folder / "HAM10000_images_part_2")
    main()
    head, *rest = capsys.readouterr().out.split("\n\n")
    free = head.splitlines()[0].removeprefix("No credentials are needed for ").rstrip(".").split(", ")
    assert free == [source.name for source in SOURCES if source.free] and free[:3] == [
        "ham10000",
        "coco-qa",
        "recipes5k",
    ]
    blocks = {block.split(":")[0]: block for block in rest}
    assert list(blocks) == [source.name for source in SOURCES]
    assert "mbrset: complete" in blocks["mbrset"] and "missing" not in blocks["mbrset"]
    assert "found    labels_mbrset.csv: table" in blocks["mbrset"]
    assert "ham10000: incomplete" in blocks["ham10000"]
    patterns = "HAM10000_images_part_2/*.jpg or HAM10000_images_part2/*.jpg or images/*.jpg"
    assert f"missing  {patterns}: images, part 2" in blocks["ham10000"]
    assert "brset: not here" in blocks["brset"] and "found" not in blocks["brset"]
    for source in SOURCES:
        for told in (source.where, source.terms, source.citation, str(source.folder)):
            assert told in blocks[source.name]


def test_where_datasets_lie(monkeypatch):
    monkeypatch.delenv("GAPLIB_DATASETS", raising=False)
    assert paths.downloads("brset") == paths.DATA / "downloads" / "brset"
    assert os.path.relpath(paths.DATA / "downloads", paths.REPO) + "/" in (paths.REPO / ".gitignore").read_text()


def test_miniatures_are_the_same_every_time(made, tmp_path):
    downloads.make(tmp_path, "mimic-cxr")
    assert (
        subprocess.run(["diff", "-r", made / "mimic-cxr" / "files", tmp_path / "mimic-cxr" / "files"]).returncode == 0
    )

"""Pair tables: the embedded datasets as promised, your own CSV, and one clear message for each thing wrong."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gaplib import paths
from gaplib.datasets import pairs
from gaplib.datasets.pairs import About, fingerprint, open_image, sample, split_by_group, validate

SPELLED = {  # words that would spell out a phantom-derm label
    "akiec": "keratos|carcinoma|bowen",
    "bcc": "basal|carcinoma",
    "bkl": "keratos|benign",
    "df": "dermatofibroma",
    "mel": "melanoma",
    "nv": "nevus|naevus|nevi",
    "vasc": "vascular|angioma",
}


@pytest.fixture(params=["clipart", "phantom-cxr", "phantom-derm"])
def dataset(request, whole):
    return whole(request.param)


@pytest.mark.slow
def test_embedded_datasets_are_as_promised(dataset):
    table, about = dataset
    assert len(table) >= (2500 if about.name == "clipart" else 4000)
    assert len(about.labels) >= {"clipart": 8, "phantom-cxr": 6, "phantom-derm": 7}[about.name]
    assert about.licence and about.citation
    y = pairs.targets(table, about)
    for split in pairs.SPLITS:
        counts = y[table["split"] == split]
        counts = counts.sum(0) if about.task == "multilabel" else np.bincount(counts, minlength=len(about.labels))
        assert (counts > 0).all(), (split, counts)


@pytest.mark.slow
def test_no_group_image_or_pair_is_in_two_splits(dataset):
    table, _ = dataset
    for columns in (["group"], ["image"], ["image", "text"]):
        assert (table.groupby(columns)["split"].nunique() == 1).all()


def test_texts_do_not_spell_the_label(dataset):
    table, about = dataset
    if about.task == "multilabel":
        return  # reports tell of findings; how reliably is tested below
    for label, texts in table.groupby("label")["text"]:
        spelled = texts.str.contains(SPELLED.get(label, label.removesuffix("s")), case=False, regex=True)
        assert not spelled.any(), (label, texts[spelled].iloc[0])


def test_reports_tell_of_findings_only_as_reliably_as_reports_do(whole):
    table, _ = whole("phantom-cxr")
    effusion = table["text"].str.contains("effusion|angle|fluid", case=False)
    present = table["Pleural Effusion"] == 1
    assert 0.1 < (~effusion[present]).mean() < 0.6  # omitted
    assert effusion[~present].mean() > 0.05  # negated, hedged or carried over
    assert table["text"].str.contains(r"\b(?:may|possible|possibly|likely|cannot)\b", case=False).mean() > 0.1


@pytest.mark.slow
def test_phantoms_to_train_on_are_other_patients_than_the_evaluated_ones(whole, tmp_path, monkeypatch):
    import train

    drawings = pd.read_parquet(paths.PAIRS / "drawings.parquet").assign(licence="CC0-1.0")
    monkeypatch.setattr(train, "BROAD", tmp_path / "broad.parquet")
    drawings.to_parquet(train.BROAD)
    fit, held_out = train.training_pairs("medical", phantoms=600), train.held_out("medical")
    assert set(fit["source"]) == {"openclipart", *train.PHANTOMS} and set(held_out["source"]) == set(train.PHANTOMS)
    trained = set(fit["image"]) | set(held_out["image"])
    assert not set(fit["image"]) & set(held_out["image"])
    for name in ("phantom-cxr", "phantom-derm", "phantom-fundus"):
        assert not trained & set(whole(name).pairs["image"])


def test_split_by_group_keeps_the_shares():
    group = np.repeat(np.arange(1000), np.random.default_rng(0).integers(1, 5, 1000))
    shares = pd.Series(split_by_group(group)).value_counts(normalize=True)
    assert [shares[s] for s in pairs.SPLITS] == pytest.approx([0.7, 0.1, 0.2], abs=0.01)


@pytest.mark.parametrize("n_pairs", [0, -3, 1.5, "x", True])
def test_a_number_of_pairs_is_a_whole_number(dataset, n_pairs):
    with pytest.raises(ValueError, match="n_pairs must be a whole number from 1"):
        sample(dataset, n_pairs)


def test_sample_keeps_whole_groups_and_fingerprint_sees_changes(dataset):
    small = sample(dataset, 500)
    assert 400 < len(small.pairs) <= 500 and small.about.name.endswith("-500")
    kept = dataset.pairs[dataset.pairs["group"].isin(small.pairs["group"])]
    assert len(kept) == len(small.pairs)
    assert fingerprint(small) == fingerprint(sample(dataset, 500))
    for column in ("text", "split", "group"):
        changed = small.pairs.copy()
        changed.loc[0, column] = "other"
        assert fingerprint(small._replace(pairs=changed)) != fingerprint(small)


def test_validate_refuses_a_bad_multilabel_value():
    table = pd.DataFrame({"image": [b"1", b"2", b"3"], "text": "t", "split": pairs.SPLITS, "group": [1, 2, 3]})
    table["x"] = [0, 1, 2]
    with pytest.raises(ValueError, match="row 2 .x 2.: label 'x' must be 0 or 1"):
        validate(table, About("made", "medical", "multilabel", ("x",)))


GOOD = {"image": [b"1", b"2", b"3", b"4"], "text": "t", "split": ["train", "train", "val", "test"], "group": range(4)}
TOY = About("made", "medical", "binary", ("a", "b"))


def toy(**columns):
    """A table of four good pairs, but for some columns."""
    return pd.DataFrame(GOOD | {"label": ["a", "b", "a", "b"]} | columns)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "row 1: the text is empty; fill it or drop the row"),
        (float("nan"), "row 1: the text is empty"),
        (" \n", "row 1: the text is empty"),
        (5, r"row 1 .text 5.: the text must be a string, not int"),
        (["a"], r"row 1 .text \['a'\].: the text must be a string, not list"),
        ("\ud800", r"row 1 .*: the text is no valid Unicode; read it as UTF-8, or drop the row"),
    ],
)
def test_texts_that_are_none(text, message):
    texts = pd.Series(["t", text, "t", "t"], dtype=object)
    with pytest.raises(pairs.BadRows, match=message) as error:
        validate(toy(text=texts), TOY)
    assert list(error.value.rows) == [1] and str(error.value).isprintable()


@pytest.mark.parametrize("column", ["image", "text", "split", "group", "label"])
def test_a_table_without_a_column(column):
    table = toy().drop(columns=column)
    for use in (validate, lambda table, about: sample(pairs.Dataset(table, about), 2)):
        with pytest.raises(ValueError, match=f"dataset 'made': no column '{column}'; needed: image, text, split, "):
            use(table, TOY)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"labels": ("a", "a")}, "label 'a' is there more than once"),
        ({"labels": "ab"}, "labels must be a tuple of names, got 'ab'"),
        ({"labels": ()}, r"labels must be a tuple of names, got \(\)"),
        ({"labels": ("a",)}, "a binary task has two labels, got 1; say multiclass or multilabel"),
        ({"labels": ("a",), "task": "multiclass"}, r"row 1 .label 'b'.: unknown label; use 'a' .2 such rows: 1, 3"),
        ({"task": "binery"}, "unknown task of dataset 'made': 'binery': did you mean 'binary'"),
        ({"domain": "medicine"}, "unknown domain of dataset 'made': 'medicine': did you mean 'medical'"),
        ({"task": "multilabel", "labels": ("text", "a")}, "a label cannot be called 'text'"),
    ],
)
def test_a_description_that_contradicts_itself(about, message):
    with pytest.raises(ValueError, match=message):
        validate(toy(a=[0, 1, 0, 1]), replace(TOY, **about))


def test_what_is_no_table_or_has_a_column_twice():
    with pytest.raises(ValueError, match="pairs must be a pandas DataFrame, got list"):
        validate([1, 2], TOY)
    with pytest.raises(ValueError, match="column 'label' is there more than once"):
        validate(pd.concat([toy(), toy()[["label"]]], axis=1), TOY)


def test_images_of_a_table_may_be_anything_that_holds_one(tmp_path):
    red = Image.new("RGB", (8, 8), (200, 0, 0))
    red.save(tmp_path / "red.png")
    held = (tmp_path / "red.png").read_bytes()
    about = replace(TOY, root=tmp_path)
    images = [red, np.zeros((8, 8), np.uint8), Path("red.png"), bytearray(held + b" ")]
    checked = validate(toy(image=pd.Series(images, dtype=object)), about)
    assert [type(image) for image in checked.pairs["image"]] == [bytes, bytes, str, bytes]
    assert [open_image(image, tmp_path).getpixel((0, 0))[0] for image in checked.pairs["image"]] == [200, 0, 200, 200]
    assert fingerprint(checked)
    for image, kind in ((5, "int"), (["red.png"], "list"), ({}, "dict")):
        with pytest.raises(ValueError, match=f"row 2: the image must be a path, .* or a PIL image, not {kind}"):
            validate(toy(image=pd.Series([held, red, image, held], dtype=object)), about)
    with pytest.raises(pairs.BadRows, match="row 2: the image is empty; give a path .* .2 such rows: 2"):
        validate(toy(image=pd.Series([held, red, None, b""], dtype=object)), about)


def test_pairs_without_labels_are_pairs():
    about = About("made", "natural")
    checked = validate(toy().drop(columns="label"), about)
    assert pairs.label_columns(checked.about) == [] and checked.about.task is None
    assert fingerprint(checked) != fingerprint(validate(toy(), TOY))
    assert set(sample(checked, 3).pairs["split"]) == {"train", "val", "test"}
    with pytest.raises(ValueError, match="dataset 'made' has no labels, and this needs them: measures, views and retr"):
        pairs.targets(*checked)
    with pytest.raises(ValueError, match="unknown task of dataset 'made': None"):
        validate(toy(), replace(about, labels=("a", "b")))


@pytest.mark.parametrize("group", [["a", "b"], ["a"] * 9 + ["b"], ["a", "a", "b", "c"]])
def test_train_and_test_have_a_group_where_there_are_two(group):
    for seed in range(5):
        split = split_by_group(group, seed)
        assert {"train", "test"} <= set(split)
        assert pd.Series(split).groupby(group).nunique().max() == 1

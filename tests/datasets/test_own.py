"""Your own pairs: a CSV or a stored folder, its name, and one clear message for each thing wrong."""

import tarfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gaplib import datasets, paths
from gaplib.datasets import own, pairs
from gaplib.datasets.pairs import fingerprint, open_image


@pytest.fixture
def folder(tmp_path):
    """A folder with a valid `mine.csv`."""
    rows = []
    for i in range(12):
        Image.new("RGB", (8, 8), (20 * i, 0, 0)).save(tmp_path / f"{i}.png")
        split = ("train", "train", "val", "test")[i % 4]
        rows.append((f"{i}.png", f"drawing {i}", split, f"g{i}", "ab"[i // 2 % 2] if i % 4 < 2 else "ab"[i // 4 % 2]))
    pd.DataFrame(rows, columns=["image", "text", "split", "group", "label"]).to_csv(tmp_path / "mine.csv", index=False)
    return tmp_path


def rewrite(folder, change):
    table = pd.read_csv(folder / "mine.csv", dtype=str)
    changed = change(table)
    (table if changed is None else changed).to_csv(folder / "mine.csv", index=False)
    return f"csv:{folder / 'mine.csv'}"


def test_own_csv(folder):
    table, about = datasets.load(f"csv:{folder / 'mine.csv'}")
    assert about.name == "mine" and (about.task, about.labels) == ("binary", ("a", "b"))
    assert datasets.stored_name(f"csv:{folder / 'mine.csv'}") == about.name
    assert (about.root, about.domain) == (folder, "natural")
    assert open_image(table["image"][3], about.root).size == (8, 8)
    without = datasets.load(rewrite(folder, lambda t: t[["image", "text", "label"]])).pairs
    assert set(without["split"]) == set(pairs.SPLITS)
    many = datasets.load(rewrite(folder, lambda t: t[["image", "text"]].assign(x=[0, 1] * 6, y=[0, 0, 1, 1] * 3)))
    assert (many.about.task, many.about.labels) == ("multilabel", ("x", "y"))
    with pytest.raises(ValueError, match="row 1 .y nan.: label 'y' must be 0 or 1"):
        datasets.load(rewrite(folder, lambda t: t.assign(y=t["y"].where(t.index != 1))))


BAD = {
    "no column 'text'": lambda t: t.drop(columns="text"),
    r"row 4: the text is empty": lambda t: t.assign(text=t["text"].where(t.index != 4)),
    r"row 5 .*'absent.png'.*no such image under": lambda t: t.assign(
        image=t["image"].where(t.index != 5, "absent.png")
    ),
    r"row 2 .*leaves the image root": lambda t: t.assign(image=t["image"].where(t.index != 2, "../2.png")),
    r"row 1 .split 'holdout'.: unknown split; use train, val, test": lambda t: t.assign(
        split=t["split"].where(t.index != 1, "holdout")
    ),
    r"label 'a' is the same in every row": lambda t: t.assign(label="a"),
    r"split 'test' has no rows": lambda t: t[t["split"] != "test"],
    r"group 'g0'.* in two splits": lambda t: t.assign(group=t["group"].where(t.index != 2, "g0")),
    r"image '0.png'.* in two splits": lambda t: t.assign(image=t["image"].where(t.index != 2, "0.png")),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_csv_gets_one_clear_message(folder, message):
    with pytest.raises(ValueError, match=message):
        datasets.load(rewrite(folder, BAD[message]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as a UTF-8 CSV"),
        (b"image,text,label\n", "there are no pairs|cannot be read"),
        ("image,text,label\na.png,caf\xe9,x\n".encode("latin-1"), "cannot be read as a UTF-8 CSV"),
        (b"image,text,label\na.png,b,c\na.png,b,c,d,e\n", "cannot be read as a UTF-8 CSV"),
        (b"image,text,label\n,b,c\n", "row 0: the image is empty"),
    ],
)
def test_what_is_not_a_table_of_pairs(tmp_path, content, message):
    (tmp_path / "mine.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        datasets.load(f"csv:{tmp_path / 'mine.csv'}")


def test_every_kind_of_bad_row_is_named_at_once_and_can_be_dropped(folder):
    """A CSV with one bad row in a hundred."""
    n = 3000
    table = pd.DataFrame({"image": [f"{i % 12}.png" for i in range(n)], "text": "a NA and a None", "label": "a"})
    table["split"] = [("train", "train", "test")[i % 12 % 3] for i in range(n)]
    table.loc[::2, "label"] = "b"
    bad = {"text": ("", range(0, 1200, 100)), "image": ("gone.png", range(13, 600, 100)), "label": ("", [17, 23])}
    bad["split"] = ("holdout", range(31, 1000, 100))
    for column, (value, rows) in bad.items():
        table.loc[list(rows), column] = value
    table.to_csv(folder / "many.csv", index=False)
    with pytest.raises(pairs.BadRows) as error:
        datasets.load(f"csv:{folder / 'many.csv'}")
    message = str(error.value)
    assert "30 of 3,000 rows are bad, in 4 ways; `pairs.BadRows` tells how to drop them" in message
    for line in (
        "row 0: the text is empty; fill it or drop the row"
        " (12 such rows: 0, 100, 200, 300, 400, 500, 600, 700, 800, 900, ...)",
        "row 31 (split 'holdout'): unknown split; use train, val, test (10 such rows: 31, 131, ",
        f"row 13 (image 'gone.png'): no such image under {folder} (6 such rows: 13, 113, 213, 313, 413, 513)",
        "row 17: the label is empty; fill it or drop the row (2 such rows: 17, 23)",
    ):
        assert f"\n  {line}" in message
    assert list(error.value.rows) == sorted(row for _, rows in bad.values() for row in rows)
    table = pd.read_csv(folder / "many.csv", dtype=str, keep_default_na=False)
    table.drop(error.value.rows).to_csv(folder / "good.csv", index=False)
    good, about = datasets.load(f"csv:{folder / 'good.csv'}")
    assert len(good) == n - len(error.value.rows) and set(good["text"]) == {"a NA and a None"}


def test_a_dataset_may_have_no_validation_split(folder):
    table = datasets.load(rewrite(folder, lambda t: t.assign(split=t["split"].replace("val", "train")))).pairs
    assert set(table["split"]) == {"train", "test"}


def test_csv_keeps_what_people_write(folder):
    texts = ["None", "NA", 'say "hi",\nthen go', "1.0", "true", "ünï 猫", " x ", "007", "1e3", "-", "null", "nan"]
    table = datasets.load(rewrite(folder, lambda t: t.assign(text=texts, label=["1", "01"] * 6, age=range(12)))).pairs
    assert list(table["text"]) == texts and set(table["label"]) == {"1", "01"} and table["age"].sum() == 66
    with pytest.raises(ValueError, match="column 'text' is there more than once"):
        datasets.load(rewrite(folder, lambda t: t.set_axis(["image", "text", "text", "group", "label", "age"], axis=1)))


def test_csv_as_spreadsheets_save_it(folder):
    path = folder / "mine.csv"
    plain = datasets.load(f"csv:{path}").pairs
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    pd.testing.assert_frame_equal(datasets.load(f"csv:{path}").pairs, plain)


def test_images_may_be_links_but_may_not_climb(folder):
    (folder / "elsewhere").mkdir()
    (folder / "0.png").rename(folder / "elsewhere" / "0.png")
    (folder / "0.png").symlink_to(folder / "elsewhere" / "0.png")
    inside = {0: "elsewhere/../0.png", 1: str(folder / "1.png")}
    assert len(
        datasets.load(rewrite(folder, lambda t: t.assign(image=t["image"].where(t.index > 1, t.index.map(inside)))))[0]
    )
    for path in ("/etc/hostname", "elsewhere/../../x.png"):
        with pytest.raises(ValueError, match="row 0 .*leaves the image root"):
            datasets.load(rewrite(folder, lambda t, path=path: t.assign(image=t["image"].where(t.index > 0, path))))


@pytest.fixture
def stored(folder):
    """A function that saves the pairs of `folder` as the library `datasets` does, images' bytes in the table."""

    def save(dict_of_splits=True, images=True, **columns):
        import datasets as library

        table = pd.read_csv(folder / "mine.csv", dtype=str).drop(columns="group").assign(**columns)
        features = library.Features(
            {
                "image": library.Image() if images else library.Value("string"),
                "text": library.Value("string"),
                "label": library.ClassLabel(names=["unused", "b", "a"]),
                "boxes": library.Sequence(library.Value("int64")),
            }
        )
        parts = {}
        for split, rows in table.groupby("split"):
            data = {"image": [str(folder / name) if images else f"../{name}" for name in rows["image"]]}
            data |= {"text": list(rows["text"]), "label": list(rows["label"]), "boxes": [[1, 2]] * len(rows)}
            parts[{"val": "validation"}.get(split, split)] = library.Dataset.from_dict(data, features)
        whole = library.DatasetDict(parts) if dict_of_splits else library.concatenate_datasets(list(parts.values()))
        whole.save_to_disk(str(folder / "stored"), **({} if dict_of_splits else {"num_shards": 3}))
        return f"disk:{folder / 'stored'}"

    return save


@pytest.mark.parametrize("dict_of_splits", [True, False])
def test_own_folder_of_the_library_datasets(folder, stored, dict_of_splits):
    name = stored(dict_of_splits)
    shown = pd.read_csv(folder / "mine.csv").set_index("text")
    for path in folder.glob("*.png"):
        path.unlink()  # all is in the stored folder
    dataset = datasets.load(name)
    table, about = dataset
    assert datasets.stored_name(name) == about.name and about.name == "stored"
    assert (about.task, about.labels) == ("binary", ("b", "a"))  # in the order of the feature
    assert list(table.columns) == ["image", "text", "split", "group", "label"] and len(table) == 12
    if dict_of_splits:
        assert table.set_index("text")["split"].to_dict() == shown["split"].to_dict()
        assert table["image"][0] == "test/data-00000-of-00001.arrow#0" or "#0" in table["image"][0]
    for image, text, label in zip(table["image"], table["text"], table["label"], strict=True):
        red = open_image(image, about.root).getpixel((0, 0))[0]
        assert red == 20 * int(text.split()[1]) and label == shown["label"][text]
    assert fingerprint(dataset) == fingerprint(datasets.load(name))
    with pytest.raises(ValueError, match="row 3: .* is not a readable image"):
        open_image(table["image"][0].split("#")[0] + "#99", about.root, "row 3")


def test_stored_folder_that_is_none(folder, stored):
    with pytest.raises(FileNotFoundError, match="nothing at nowhere, where disk: looks for pairs"):
        datasets.load("disk:nowhere")
    with pytest.raises(ValueError, match="cannot be read by the library datasets .*neither a `Dataset`"):
        datasets.load(f"disk:{folder}")
    with pytest.raises(ValueError, match="leaves the image root"):
        datasets.load(stored(images=False))


def test_a_change_of_a_stored_folder_is_seen(folder, stored):
    before = datasets.load(stored())
    first = np.asarray(open_image(before.pairs["image"][0], before.about.root))
    for path in folder.glob("*.png"):
        Image.new("RGB", (8, 8), (0, 255, 0)).save(path)
    after = datasets.load(stored())
    assert fingerprint(before) != fingerprint(after)
    assert (np.asarray(open_image(after.pairs["image"][0], after.about.root)) != first).any()


def test_missing_csv_and_unknown_name():
    with pytest.raises(FileNotFoundError, match="nothing at nowhere.csv, where csv: looks for pairs"):
        datasets.load("csv:nowhere.csv")
    with pytest.raises(ValueError, match="unknown dataset 'clipartt': did you mean 'clipart'"):
        datasets.load("clipartt")


def copied(folder, name):
    """The folder's pairs once more, in a folder beside."""
    other = folder / name
    other.mkdir()
    for path in [*folder.glob("*.png"), folder / "mine.csv"]:
        (other / path.name).write_bytes(path.read_bytes())
    return other


def test_own_pairs_go_by_the_name_of_their_file_and_loading_writes_nothing(folder):
    before = set(folder.rglob("*"))
    mine = f"csv:{folder / 'mine.csv'}"
    assert datasets.load(mine, 6).about.name == datasets.stored_name(mine, 6) == "mine-6"
    names = ("tar:some/shards/*.tar", "disk:some/stored/", "hub:ORG/birds@v1.0", "json:captions.json with root=x")
    assert [datasets.stored_name(name) for name in names] == ["shards", "stored", "birds", "captions"]
    assert set(folder.rglob("*")) == before
    for path in (folder / "clipart.csv", folder / "ham10000.csv"):
        path.write_bytes((folder / "mine.csv").read_bytes())
        assert datasets.load(f"csv:{path}").about.name.startswith(f"{path.stem}-")


def test_own_pairs_can_be_named(folder, stored):
    other = copied(folder, "such as this")
    mine, yours = f"csv:{folder / 'mine.csv'}", f"csv:{other / 'mine.csv'}"
    assert datasets.load(f"{mine} as cats").about.name == datasets.stored_name(f"{mine} as cats") == "cats"
    assert datasets.load(f"{yours} as dogs", 6).about.name == "dogs-6"
    assert datasets.load(f"{stored()} as both").about.name == "both"
    with pytest.raises(ValueError, match="cannot be called 'clipart': that is a dataset of gaplib"):
        datasets.load(f"{mine} as clipart")
    for name in ("../cats", "a/b", "..", "/cats", "a\\b"):
        with pytest.raises(ValueError, match="plain name"):
            datasets.stored_name(f"{mine} as {name}")


@pytest.mark.parametrize("name", ["..", "../x", "/tmp/x", "a/b", "a\\b", "", "../../escaped"])
def test_names_that_lead_elsewhere_are_refused(name):
    with pytest.raises(ValueError, match="plain name"):
        datasets.stored_name(name)
    with pytest.raises(ValueError, match="unknown dataset"):
        datasets.load(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "arrow:x",
            "unknown dataset 'arrow': .*csv:PATH, tsv:PATH, json:PATH, parquet:PATH, folder:PATH, disk:PATH",
        ),
        ("coco:x", "unknown dataset 'coco': did you mean 'coco-qa'.*Known: clipart, .*csv:PATH"),
        ("mine.csv", "unknown dataset 'mine.csv': a CSV of yours is named csv:mine.csv"),
        ("some/where/mine.csv", "a CSV of yours is named csv:some/where/mine.csv"),
        ("csv:", "something must follow the colon"),
        (7, "a dataset is named by a string, such as 'clipart' or 'csv:PATH', got int"),
        (pd.DataFrame(), "a dataset is named by a string, .* got DataFrame"),
    ],
)
def test_a_name_that_is_none_gets_a_remedy(name, message):
    with pytest.raises(ValueError, match=message):
        datasets.load(name)


def test_a_csv_that_is_a_binary_file_is_not_printed(folder):
    with tarfile.open(folder / "mine.tar", "w") as tar:
        tar.add(folder / "mine.csv", "mine.csv")
    (folder / "utf-16.csv").write_text((folder / "mine.csv").read_text(), "utf-16")
    for name in ("mine.tar", "utf-16.csv"):
        with pytest.raises(ValueError, match="is a binary file, or text of another encoding; save .* UTF-8") as error:
            datasets.load(f"csv:{folder / name}")
        assert str(error.value).isprintable()


def test_a_cell_of_megabytes_is_shortened(folder):
    long = "y" * 3_000_000
    for change in (
        lambda t: t.assign(split=t["split"].where(t.index != 1, long)),
        lambda t: t.assign(image=t["image"].where(t.index != 1, long)),
        lambda t: t.assign(group=long),
        lambda t: t.rename(columns={"label": long}),
        lambda t: t.rename(columns={"text": long}),
    ):
        path = copied(folder, f"long-{len(list(folder.iterdir()))}")
        with pytest.raises(ValueError) as error:
            datasets.load(rewrite(path, change))
        assert len(str(error.value)) < 1500


@pytest.mark.parametrize("value", ["2", "-1", "x", "0.5"])
def test_a_label_with_a_slip_is_refused_with_its_rows_and_not_dropped(folder, value):
    labels = {"a": ["0", "1"] * 6, "b": ["0", "0", "1"] * 4}
    name = rewrite(folder, lambda t: t[["image", "text"]].assign(**labels))
    assert datasets.load(name).about.labels == ("a", "b")
    labels["b"][7] = value
    shown = f"'{value}'" if value == "x" else value
    with pytest.raises(pairs.BadRows, match=rf"row 7 .b {shown}(\.0)?.: label 'b' must be 0 or 1") as error:
        datasets.load(rewrite(folder, lambda t: t[["image", "text"]].assign(**labels)))
    assert list(error.value.rows) == [7]


def test_many_uncertain_labels_are_refused_too_and_other_numbers_are_no_labels(folder):
    further = {"a": ["0", "1"] * 6, "age": range(12), "count": [0, 1, 2, 3] * 3, "one": "1", "said": "yes"}
    name = rewrite(folder, lambda t: t[["image", "text"]].assign(**further))
    with pytest.raises(ValueError, match="label 'one' is the same in every row"):
        datasets.load(name)
    further["one"] = "5"
    assert datasets.load(rewrite(folder, lambda t: t[["image", "text"]].assign(**further))).about.labels == ("a",)
    further["unsure"] = ["0", "1", "-1"] * 4
    with pytest.raises(pairs.BadRows, match="row 2 .unsure -1.: label 'unsure' must be 0 or 1 .4 such rows: 2"):
        datasets.load(rewrite(folder, lambda t: t[["image", "text"]].assign(**further)))


def test_some_empty_groups_without_a_split_are_named(folder):
    change = lambda t: t.drop(columns="split").assign(group=t["group"].where(t.index % 5 != 0))  # noqa: E731
    with pytest.raises(pairs.BadRows, match="row 0: the group is empty; name the patient.* .3 such rows: 0, 5, 10"):
        datasets.load(rewrite(folder, change))


def test_one_pair_is_too_few_and_two_are_cut(folder):
    few = lambda n: rewrite(folder, lambda t: t[:n][["image", "text"]])  # noqa: E731
    assert sorted(datasets.load(few(2)).pairs["split"]) == ["test", "train"]
    with pytest.raises(ValueError, match=r"only one pair: two splits need two groups"):
        datasets.load(few(1))


def test_other_names_of_the_validation_split(folder, stored):
    for alias in pairs.SPLIT_ALIASES:
        table = datasets.load(rewrite(folder, lambda t: t.assign(split=t["split"].replace("val", "dev")))).pairs
        assert set(table["split"]) == set(pairs.SPLITS), alias


def test_a_tilde_is_the_home_folder(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    assert datasets.load("csv:~/mine.csv").about.root == folder
    with pytest.raises(ValueError, match="cannot be read by the library datasets .*neither a `Dataset`"):
        datasets.load("disk:~")
    monkeypatch.setenv("GAPLIB_DATASETS", "~/downloads")
    assert paths.downloads("ham10000") == folder / "downloads" / "ham10000"


def test_an_image_outside_the_folder_comes_with_a_remedy(folder):
    with pytest.raises(ValueError, match="leaves the image root .*; move the images or a link to them there"):
        datasets.load(rewrite(folder, lambda t: t.assign(image="/etc/hostname")))


@pytest.mark.parametrize(
    ("holds", "named"),
    [
        ("mine.csv", "csv:{}"),
        ("mine.TSV", "tsv:{}"),
        ("mine.jsonl", "json:{}"),
        ("mine.parquet", "parquet:{}"),
        ("mine.tar", "tar:{}"),
        ("mine/dataset_dict.json", "disk:{}"),
        ("mine/state.json mine/dataset_info.json", "disk:{}"),
        ("mine/00000.tar", "tar:{}"),
        ("mine/metadata.jsonl", "folder:{}"),
        ("mine/train/metadata.csv", "folder:{}"),
        ("mine/train.parquet", "parquet:{}"),
        ("mine/captions.json", "json:{}"),
    ],
)
def test_the_kind_of_pairs_is_told_by_what_they_are(tmp_path, holds, named):
    for name in holds.split():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    said = f"{tmp_path / holds.split('/')[0]} as mine with text=title"
    assert own.of_a_kind(said) == named.format(said)
    assert own.of_a_kind(f"csv:{said}") == f"csv:{said}"


def test_a_folder_of_no_known_kind_is_refused(tmp_path):
    (tmp_path / "photo.png").touch()
    with pytest.raises(ValueError, match="holds none of dataset_info.json, .*metadata"):
        own.of_a_kind(str(tmp_path))

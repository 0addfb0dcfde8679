"""Embeddings that exist already: the published layout and npz in, features that every notebook takes out."""

import re

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from counting import Counting
from made import sphere
from PIL import Image
from pyarrow import parquet
from safetensors.torch import save_file

from gaplib import features, gap, sweep
from gaplib.datasets.pairs import About, Dataset

N, D = 120, 12


def frame(labels=("a", "b", "c"), split=("train", "test", "train", "train"), seed=0):
    """A table as the source paper's code writes it; every image twice, columns not in order."""
    rng = np.random.default_rng(seed)
    image = np.repeat(sphere(rng, N // 2, D, 0.3), 2, 0)
    text = sphere(rng, N, D, -0.3)
    table = pd.DataFrame(
        {
            "image_id": [f"{i // 2}.jpg" for i in range(N)],
            "question": [f"what is {i}?" for i in range(N)],
            "answer": [labels[i % len(labels)] for i in range(N)],
            "split": [split[i % len(split)] for i in range(N)],
        }
    )
    columns = {f"img_emb_{i}": image[:, i] for i in range(D)} | {f"text_emb_{i}": text[:, i] for i in range(D)}
    return pd.concat([table, pd.DataFrame(columns)[list(columns)[::-1]]], axis=1), image, text


COLUMNS = {"label": "answer", "image": "image_id", "text": "question"}


def write(table, path):
    if path.suffix == ".csv":
        table.to_csv(path, index=False)
    elif path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        x = {
            kind: table[[f"{prefix}_emb_{i}" for i in range(D)]]
            for kind, prefix in (("image", "img"), ("text", "text"))
        }
        others = {name: table[name].to_numpy(str) for name in ("image_id", "question", "answer", "split")}
        np.savez(path, **{kind: values.to_numpy() for kind, values in x.items()}, **others)
    return path


@pytest.mark.parametrize("suffix", ["csv", "parquet", "npz"])
def test_all_layouts_are_read_stored_and_swept(root, tmp_path, suffix):
    table, image, text = frame()
    path = write(table, tmp_path / f"embeddings_clip.{suffix}")
    features.read(path, "coco-qa", "clip", **COLUMNS)
    f = features.load("coco-qa", "clip")
    np.testing.assert_allclose(f.paired()[0], image, atol=1e-6)
    np.testing.assert_allclose(f.paired()[1], text, atol=1e-6)
    assert f.image.shape == (N // 2, D) and f.image.dtype == np.float32
    assert f.about == About("coco-qa", "natural", "multiclass", ("a", "b", "c"))
    assert list(f.targets[:4]) == [0, 1, 2, 0] and list(f.pairs["text"][:1]) == ["what is 0?"]
    assert len(f.rows("train")) == 90 and len(f.rows("test")) == 30 and f.pairs["group"][0] == "0.jpg"
    assert sweep.sweep(f, [0, 1], [1]).table["value"].notna().all()


def test_extract_gives_what_was_read_and_never_overwrites_it(root, tmp_path, capsys):
    table, image, _ = frame()
    features.read(write(table, tmp_path / "e.csv"), "daquar", "clip", **COLUMNS)
    f = features.extract("daquar", "clip")  # neither the dataset nor the encoder is here
    np.testing.assert_allclose(f.paired()[0], image, atol=1e-6)
    assert "daquar by clip: as read from e.csv" in capsys.readouterr().out
    pairs = pd.DataFrame({"image": [b"0", b"1", b"2", b"3"], "text": "t", "split": ["train", "train", "val", "test"]})
    pairs["group"], pairs["label"] = pairs.index, ["a", "b", "a", "b"]
    dataset = Dataset(pairs, About("daquar", "natural", "binary", ("a", "b")))
    with pytest.raises(ValueError, match=r"clip goes with other pairs than these"):
        features.extract(dataset, Counting())
    other, *_ = frame(labels=("a", "b"))
    with pytest.raises(ValueError, match=r"clip goes with other pairs than these"):
        features.read(write(other, tmp_path / "o.csv"), "daquar", "siglip", **COLUMNS)
    features.read(write(table, tmp_path / "s.csv"), "daquar", "siglip", **COLUMNS)
    assert features.load("daquar", "clip").pairs.equals(features.load("daquar", "siglip").pairs)


def test_what_was_encoded_here_is_not_overwritten_by_what_is_read(root, tmp_path):
    pairs = pd.DataFrame({"image": ["0", "1", "2", "3"], "text": "t", "split": ["train", "train", "val", "test"]})
    for i in pairs.index:
        Image.new("RGB", (4, 4), (i, 0, 0)).save(tmp_path / str(i), "PNG")
    pairs["group"], pairs["label"] = pairs.index, ["a", "b", "a", "b"]
    features.extract(Dataset(pairs, About("own", "natural", "binary", ("a", "b"), tmp_path)), Counting())
    path = write(frame()[0], tmp_path / "e.csv")
    with pytest.raises(ValueError, match=r"counting was encoded here, not read in; remove it"):
        features.read(path, "own", "counting", "answer")
    assert len(features.load("own", "counting").pairs) == 4


def test_several_labels_in_columns_as_mimic_has_them(root, tmp_path, capsys):
    table, image, _ = frame(split=("train", "validate", "test"))
    table["Edema"] = np.tile([0, 1, np.nan, 1], N // 4)
    table["No Finding"] = np.tile([1, 0, 1, -1], N // 4)
    f = features.read(write(table, tmp_path / "e.csv"), "mimic-cxr", "clip", ["Edema", "No Finding"], "medical")
    assert f.about.task == "multilabel" and f.about.domain == "medical" and f.about.labels == ("Edema", "No Finding")
    np.testing.assert_array_equal(f.targets[:3], [[0, 1], [1, 0], [0, 1]])
    np.testing.assert_allclose(f.paired()[0], image[np.arange(N) % 4 != 3], atol=1e-6)
    assert "30 rows with an uncertain label (-1) are left out" in capsys.readouterr().out
    assert len(f.rows("val")) == 30


def test_columns_of_a_csv_are_what_all_of_their_cells_are(root, tmp_path):
    table, *_ = frame()
    table["present"] = np.arange(N) % 2 == 0
    table["absent"] = 1 - table["present"]
    table["answer"] = ["2"] * (N - 40) + ["chair"] * 40
    path = write(table, tmp_path / "e.csv")
    assert features.read(path, "one", "clip", ["present", "absent"]).about.labels == ("present", "absent")
    assert features.read(path, "other", "clip", "answer").about.labels == ("2", "chair")


def test_several_labels_in_a_cell_as_daquar_has_them(root, tmp_path):
    table, *_ = frame(labels=("chair", "chair, table", "rare", "table"), split=("train",) * 4 + ("test",) * 4)
    table.loc[table.index[6::16], "answer"] = "chair"  # so that "rare" is rare among test rows
    f = features.read(write(table, tmp_path / "e.csv"), "daquar", "clip", "answer", separator=", ", least=10)
    assert f.about.labels == ("chair", "table") and f.about.task == "multilabel"
    np.testing.assert_array_equal(f.targets[:3], [[1, 0], [1, 1], [0, 1]])
    assert len(f.pairs) == (table["answer"] != "rare").sum()


def test_rows_that_are_not_of_unit_norm_are_normalised_with_a_message(root, tmp_path, capsys):
    table, image, _ = frame()
    table[[c for c in table if c.startswith("img_emb")]] *= 2
    f = features.read(write(table, tmp_path / "e.csv"), "own", "clip", "answer")
    np.testing.assert_allclose(f.paired()[0], image, atol=1e-6)
    out = capsys.readouterr().out
    assert "image embeddings are not of unit norm (off by up to 1): normalised" in out and "text embeddings" not in out


def test_a_file_merged_by_image_path_alone_is_named(root, tmp_path, capsys):
    table, *_ = frame()
    crossed = table.drop(columns=[c for c in table if c.startswith("text_emb")]).merge(
        table[["image_id", *(c for c in table if c.startswith("text_emb"))]], on="image_id"
    )
    features.read(write(crossed, tmp_path / "e.csv"), "crossed", "clip", **COLUMNS)
    assert f"{N} texts have several embeddings" in capsys.readouterr().out
    features.read(write(table, tmp_path / "t.csv"), "right", "clip", **COLUMNS)
    assert "several embeddings" not in capsys.readouterr().out


def damaged(table, damage):
    if damage == "gap":
        table.loc[7, "img_emb_3"] = np.nan
    elif damage == "word":
        table["img_emb_3"] = table["img_emb_3"].astype(object)
        table.loc[7, "img_emb_3"] = "n.a."
    elif damage == "zero":
        table.loc[7, [f"text_emb_{i}" for i in range(D)]] = 0
    elif damage == "split":
        table.loc[7, "split"] = "tset"
    elif damage == "label":
        table.loc[7, "answer"] = None
    elif damage == "width":
        table = table.drop(columns="text_emb_11")
    elif damage == "test":
        table["split"] = "train"
    elif damage == "one":
        table["answer"] = "a"
    elif damage == "hole":
        table = table.drop(columns=["img_emb_3", "text_emb_3"])
    elif damage == "blind":
        table = table.drop(columns="answer")
    elif damage == "none":
        table = table.drop(columns=[f"text_emb_{i}" for i in range(D)])
    return table


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("gap", "image embeddings: row 7 is not finite, so it has no direction; drop or repair it"),
        ("word", "Row #9: CSV conversion error to float: invalid value 'n.a.'"),
        ("zero", "text embeddings: row 7 is zero, so it has no direction; drop or repair it"),
        ("split", "row 7 (split 'tset'): unknown split; use train, val, test"),
        ("label", "row 7: no 'answer'; fill it or drop the row"),
        ("width", "image embeddings of shape (120, 12), text embeddings of (120, 11)"),
        ("test", "split 'test' has no rows; there are 120 rows in 120 groups"),
        ("one", "label 'a' is the same in every row; there is nothing to learn"),
        ("hole", "no column img_emb_3, though there is img_emb_11"),
        ("blind", "no label column 'answer'; it has 'image_id', 'question', 'split'. Say label=..., a column or"),
        ("none", "no columns text_emb_0, text_emb_1, ...; it has 'image_id', 'question', 'answer', 'split'"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_stored(root, tmp_path, damage, message):
    path = write(damaged(frame()[0], damage), tmp_path / "e.csv")
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        features.read(path, "own", "clip", "answer")
    assert "e.csv" in str(error.value) and not list((tmp_path / "data").rglob("*.*"))


def test_files_that_are_none_are_named(root, tmp_path):
    with pytest.raises(FileNotFoundError, match="no file .*absent.csv to read embeddings from"):
        features.read(tmp_path / "absent.csv", "own", "clip")
    contents = {"a.csv": b"", "b.csv": b"\xff\xfe\x00", "c.npz": b"no zip", "d.parquet": b"PAR1"}
    contents |= {"e.npy": b"", "f.safetensors": b"torn", "g.parquet": b"", "h.npz": b""}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} cannot be read"):
            features.read(tmp_path / name, "own", "clip")
    (tmp_path / "e.tsv").write_text("")
    with pytest.raises(ValueError, match="unknown kind of embedding file '.tsv'"):
        features.read(tmp_path / "e.tsv", "own", "clip")
    with pytest.raises(ValueError, match="no column 'pic' to take as image; it has 'image_id', 'question'"):
        features.read(write(frame()[0], tmp_path / "f.csv"), "own", "clip", "answer", image="pic")
    one = frame()[1]
    np.save(tmp_path / "g.npy", one)
    with pytest.raises(ValueError, match=r"g.npy holds one array of shape .120, 12., .*save both with np.savez"):
        features.read(tmp_path / "g.npy", "own", "clip")
    np.save(tmp_path / "p.npy", np.array([{"a": 1}], object))
    with pytest.raises(ValueError, match=r"p.npy cannot be read .*allow_pickle"):
        features.read(tmp_path / "p.npy", "own", "clip")
    np.savez(tmp_path / "i.npz", image=np.ones((3, 2), int), text=one)
    with pytest.raises(ValueError, match=r"i.npz: image: expected floating-point embeddings .*got int64"):
        features.read(tmp_path / "i.npz", "own", "clip")
    pd.DataFrame({"image": list(one), "caption": list(one)}).to_parquet(tmp_path / "h.parquet")
    with pytest.raises(ValueError, match=r"h.parquet: no columns text_emb_0.* 'image', 'caption'; .*text_embedding"):
        features.read(tmp_path / "h.parquet", "own", "clip")
    torn = [*one[:7], one[7][:5], *one[8:]]
    pd.DataFrame({"image": list(one), "text": torn}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=r"t.parquet, row 7: 'text' has 5 numbers, and row 0 has 12"):
        features.read(tmp_path / "t.parquet", "own", "clip")
    pd.DataFrame({"image": [[1, 0]] * N, "text": list(one)}).to_parquet(tmp_path / "j.parquet")
    with pytest.raises(ValueError, match=r"j.parquet: image: expected floating-point embeddings .*got int64"):
        features.read(tmp_path / "j.parquet", "own", "clip")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match=r"folder cannot be read .*Dataset"):
        features.read(tmp_path / "folder", "own", "clip")


def twice(table):
    """The table with its column of answers a second time."""
    return pd.concat([table, table["answer"]], axis=1)


def faulty(fault, image, text):
    """Tables that will not do as they are stored in columns, by what is wrong."""
    lists = pd.DataFrame({"image_embedding": list(image), "text_embedding": list(text)})
    wide = frame()[0]
    return {
        "twice": lambda: twice(wide),
        "whole": lambda: wide.assign(img_emb_3=1),
        "no list": lambda: lists.assign(text_embedding=[None, *list(text)[1:]]),
        "list of words": lambda: lists.assign(text_embedding=[["a"] * D] * N),
        "captions": lambda: lists.assign(text=[["a", "b"]] * N),
        "labels": lambda: lists.assign(label=[["a"]] * N),
        "structs": lambda: lists.assign(image=[{"path": "0.png"}] * N),
    }[fault]()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("twice", "column 'answer' is there more than once"),
        ("whole", "column 'img_emb_3' holds int64; embeddings are floating-point"),
        ("no list", "row 0: no list in 'text_embedding'; fill it or drop the row"),
        ("list of words", "text_embedding: expected floating-point embeddings .*got object"),
        ("captions", "row 0: 'text' holds a ndarray; text is one value a row"),
        ("labels", "row 0: 'label' holds a ndarray; label is one value a row"),
        ("structs", "row 0: 'image' holds a dict; image is one value a row"),
    ],
)
def test_columns_that_will_not_do_are_named(root, tmp_path, fault, message):
    _, image, text = frame()
    table = pa.Table.from_arrays(*columns_of(faulty(fault, image, text)))
    parquet.write_table(table, tmp_path / "e.parquet")
    with pytest.raises(ValueError, match=f"e.parquet.*{message}") as error:
        features.read(tmp_path / "e.parquet", "own", "clip")
    assert "\n" not in str(error.value) and not list((tmp_path / "data").rglob("*.*"))


def columns_of(table):
    """Arrays and names, which may be there more than once."""
    return [pa.array(table.iloc[:, place]) for place in range(table.shape[1])], list(table)


def test_a_column_of_a_csv_twice_an_array_of_objects_and_a_folder_without_rows(root, tmp_path):
    table, image, text = frame()
    twice(table).to_csv(tmp_path / "e.csv", index=False)
    with pytest.raises(ValueError, match=r"e.csv: column 'answer' is there more than once"):
        features.read(tmp_path / "e.csv", "own", "clip")
    np.savez(tmp_path / "e.npz", image=image, text=text, label=np.array(["a", None] * (N // 2), object))
    with pytest.raises(ValueError, match=r"e.npz: array 'label' cannot be read without pickle .*save words with"):
        features.read(tmp_path / "e.npz", "own", "clip")
    datasets.Dataset.from_dict({"image_embedding": [], "text_embedding": []}).save_to_disk(tmp_path / "folder")
    with pytest.raises(ValueError, match=r"folder has no rows"):
        features.read(tmp_path / "folder", "own", "clip")


def bare(path, image, text):
    """Embeddings alone, in a file or folder of each kind."""
    both = {"image": torch.tensor(image, dtype=torch.float32), "text": torch.tensor(text, dtype=torch.float32)}
    lists = {"image_embedding": list(image.astype("f4")), "text_embedding": list(text.astype("f4"))}
    if path.suffix == ".npy":
        np.save(path, np.stack([image, text]))
    elif path.suffix == ".safetensors":
        save_file(both, path)
    elif path.suffix == ".parquet":
        pd.DataFrame(lists).to_parquet(path)
    else:
        datasets.Dataset.from_dict(lists).save_to_disk(path)
    return path


@pytest.mark.parametrize("name", ["e.npy", "e.safetensors", "e.parquet", "folder"])
def test_embeddings_alone_are_read_without_labels_texts_and_split(root, tmp_path, name):
    _, image, text = frame()
    features.read(bare(tmp_path / name, image, text), "own", "clip")
    f = features.load("own", "clip")
    np.testing.assert_allclose(f.paired()[0], image, atol=1e-6)
    np.testing.assert_allclose(f.paired()[1], text, atol=1e-6)
    assert f.about.task is None and len(f.rows("train")) == 84 and len(f.rows("test")) == 24
    assert gap.gap_vector(*f.paired("train")).shape == (D,)


def test_lists_stand_beside_names_captions_labels_and_splits(root, tmp_path):
    table, image, text = frame()
    named = table[["image_id", "question", "answer", "split"]].set_axis(["image", "text", "label", "split"], axis=1)
    lists = named.assign(image_embedding=list(image), text_embedding=list(text))
    parts = {
        name: datasets.Dataset.from_pandas(part.drop(columns="split"), preserve_index=False)
        for name, part in lists.groupby("split", sort=False)
    }
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "folder")
    lists.to_parquet(tmp_path / "e.parquet")
    for path, dataset in ((tmp_path / "folder", "one"), (tmp_path / "e.parquet", "other")):
        f = features.read(path, dataset, "clip")
        where = f.pairs.set_index("text").index.get_indexer(table["question"])
        np.testing.assert_allclose(f.paired()[0][where], image, atol=1e-6)
        assert f.about.labels == ("a", "b", "c") and f.pairs["image"][where[3]] == "1.jpg"
        assert len(f.rows("train")) == 90 and len(f.rows("test")) == 30


def test_numbers_of_any_size_have_a_direction(root, tmp_path):
    table, image, _ = frame()
    table[[c for c in table if c.startswith("img_emb")]] *= 1e30
    f = features.read(write(table, tmp_path / "e.parquet"), "own", "clip", "answer")
    np.testing.assert_allclose(f.paired()[0], image, atol=1e-6)


def test_without_labels_everything_works_that_needs_none(root, tmp_path):
    table, image, text = frame()
    path = write(table.drop(columns="answer"), tmp_path / "e.csv")
    features.read(path, "own", "clip", label=None)
    f = features.load("own", "clip")
    assert f.about.task is None and f.about.labels == () and "30" in f._repr_html_()
    assert gap.gap_vector(*f.paired("train")).shape == (D,)
    with pytest.raises(ValueError, match="dataset 'own' has no labels, and this needs them"):
        f.targets  # noqa: B018
    with pytest.raises(ValueError, match="dataset 'own'"):
        sweep.sweep(f, [0, 1], [1])


def test_arrays_are_features_at_once(capsys):
    table, image, text = frame()
    f = features.from_arrays(image, text, table["answer"], table["split"], texts=table["question"], dataset="mine")
    np.testing.assert_allclose(f.paired()[0], image, atol=1e-6)
    assert f.about == About("mine", "natural", "multiclass", ("a", "b", "c")) and f.encoder == "given"
    assert list(f.targets[:4]) == [0, 1, 2, 0] and f.pairs["text"][1] == "what is 1?"
    assert len(f.rows("test")) == 30 and not capsys.readouterr().out
    assert sweep.sweep(f, [0, 1], [1]).table["value"].notna().all()


def test_arrays_without_labels_and_split_of_any_kind():
    _, image, text = frame()
    f = features.from_arrays(torch.tensor(image, requires_grad=True).double(), pd.DataFrame(3 * text))
    np.testing.assert_allclose(f.paired()[1], text, atol=1e-6)
    assert f.image.dtype == np.float32 and f.about.task is None
    assert len(f.rows("train")) == 84 and len(f.rows("test")) == 24
    both = pd.DataFrame({"x": np.arange(N) % 2, "y": np.arange(N) % 3 == 0}, index=np.arange(N) + 7)
    assert features.from_arrays(image, text, both).about.labels == ("x", "y")
    assert features.from_arrays(image, text, both.to_numpy(int)).about.labels == ("0", "1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ["a", "b"]}, "labels: one entry a pair is needed, got 2 for 120 pairs"),
        ({"split": ["train"]}, "split: one entry a pair is needed, got 1 for 120 pairs"),
        ({"split": ["tset"] * N}, "arrays, row 0 (split 'tset'): unknown split"),
        ({"labels": ["a"] * N}, "arrays: label 'a' is the same in every row"),
        ({"labels": [None, "a"] * (N // 2)}, "arrays, row 0: no 'label'; fill it"),
        ({"text": np.ones((3, D))}, "image embeddings of shape (120, 12), text embeddings of (3, 12)"),
        ({"text": np.zeros((N, D))}, "text embeddings: row 0 is zero"),
        ({"text": np.ma.masked_equal(np.eye(N, D), 1)}, "text: a masked array that hides 12 values"),
        ({"text": "no"}, "text: expected floating-point embeddings"),
        ({"dataset": "../x"}, "is no name of a dataset"),
        ({"domain": "medcal"}, "unknown domain of arrays: 'medcal': did you mean 'medical'"),
    ],
)
def test_arrays_that_will_not_do_are_named(change, message):
    _, image, text = frame()
    with pytest.raises(ValueError, match=re.escape(message)):
        features.from_arrays(**{"image": image, "text": text} | change)

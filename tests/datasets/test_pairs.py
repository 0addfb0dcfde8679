"""Pair tables: the embedded datasets as promised, your own CSV, and one clear message for each thing wrong."""

import io
import struct
import zlib
from functools import cache

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gaplib import datasets
from gaplib.datasets import pairs
from gaplib.datasets.pairs import About, fingerprint, open_image, sample, split_by_group, validate
from gaplib.datasets.phantoms.cxr import phantom_cxr
from gaplib.datasets.phantoms.derm import phantom_derm

SPELLED = {  # words that would spell out a phantom-derm label
    "akiec": "keratos|carcinoma|bowen",
    "bcc": "basal|carcinoma",
    "bkl": "keratos|benign",
    "df": "dermatofibroma",
    "mel": "melanoma",
    "nv": "nevus|naevus|nevi",
    "vasc": "vascular|angioma",
}


load = cache(datasets.load)  # phantoms take seconds to draw


@pytest.fixture(params=["clipart", "phantom-cxr", "phantom-derm"])
def dataset(request):
    return load(request.param)


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


def test_reports_tell_of_findings_only_as_reliably_as_reports_do():
    table, _ = load("phantom-cxr")
    effusion = table["text"].str.contains("effusion|angle|fluid", case=False)
    present = table["Pleural Effusion"] == 1
    assert 0.1 < (~effusion[present]).mean() < 0.6  # omitted
    assert effusion[~present].mean() > 0.05  # negated, hedged or carried over
    assert table["text"].str.contains(r"\b(?:may|possible|possibly|likely|cannot)\b", case=False).mean() > 0.1


@pytest.mark.parametrize("draw", [phantom_cxr, phantom_derm])
def test_phantoms_are_the_same_for_a_seed_and_others_for_another(draw):
    one, again, other = draw(n=30), draw(n=30), draw(n=30, seed=1)
    pd.testing.assert_frame_equal(one.pairs, again.pairs)
    pd.testing.assert_frame_equal(draw(n=60).pairs.drop(columns="split")[:30], one.pairs.drop(columns="split"))
    for column in ("image", "group"):
        assert not set(one.pairs[column]) & set(other.pairs[column])


def test_training_pairs_are_disjoint_from_every_evaluation_set():
    from train import training_pairs

    for data, names in (("drawings", ["clipart"]), ("phantoms", ["phantom-cxr", "phantom-derm"])):
        fit, held_out = training_pairs(data, **({"n": 3000} if data == "phantoms" else {}))
        images = set(fit["image"]) | set(held_out["image"])
        assert not set(fit["image"]) & set(held_out["image"])
        for name in names:
            table = load(name).pairs
            assert not images & set(table["image"])
            assert not (set(fit["group"]) | set(held_out["group"])) & set(table["group"])


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
    "no column 'label'": lambda t: t.drop(columns="label"),
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
        (b"image,text,label,domain\na.png,b,c,Medical\n", "domain must be one of medical, natural"),
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
    with pytest.raises(FileNotFoundError, match="no folder at nowhere; give `disk:` and the path of a folder made by"):
        datasets.load("disk:nowhere")
    with pytest.raises(ValueError, match="is not a folder made by save_to_disk"):
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
    with pytest.raises(FileNotFoundError, match=r"no CSV at nowhere.csv; give"):
        datasets.load("csv:nowhere.csv")
    with pytest.raises(ValueError, match="unknown dataset 'clipartt': did you mean 'clipart'"):
        datasets.load("clipartt")


def _png(size, mode=(8, 2), chunks=b""):
    """A PNG that claims a size, without any pixels."""
    head = struct.pack(">II5B", *size, *mode, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts)
    return b"\x89PNG\r\n\x1a\n" + body


def _saved(image, kind, **options):
    to = io.BytesIO()
    image.save(to, kind, **options)
    return to.getvalue()


NOISE = Image.effect_noise((64, 64), 50)
BROKEN = {
    "bomb.png": _png((60_000, 60_000)),
    "cut.png": _saved(NOISE, "png")[:900],
    "cut.jpg": _saved(NOISE, "jpeg")[:900],
    "cut.tif": _saved(NOISE, "tiff")[:900],
    "empty.jpg": b"",
    "no-pixels.png": _png((0, 5)),
    "text.jpg": b"not an image",
    "head.gif": _saved(NOISE, "gif")[:12],
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_images_are_named(tmp_path, name):
    (tmp_path / name).write_bytes(BROKEN[name])
    with pytest.raises(ValueError, match=f"row 7: '{name}' is not a readable image") as error:
        open_image(name, tmp_path, "row 7")
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=f"row 8: of {len(BROKEN[name])} bytes is not a readable image"):
        open_image(BROKEN[name], where="row 8")
    with pytest.raises(ValueError, match="row 9: 'gone.png' is not a readable image"):
        open_image("gone.png", tmp_path, "row 9")


def test_print_colours_and_animations_open_right():
    colours = Image.new("RGB", (8, 8), (200, 30, 60))
    image = open_image(_saved(colours.convert("CMYK"), "jpeg", quality=95))
    assert image.mode == "RGB" and np.abs(np.subtract(image.getpixel((4, 4)), (200, 30, 60))).max() < 8
    frames = [Image.new("RGB", (8, 8), c) for c in ("red", "blue", "green")]
    for kind in ("gif", "webp", "png"):
        options = {"lossless": True} if kind == "webp" else {}
        moving = _saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert open_image(moving).getpixel((4, 4)) == (255, 0, 0), kind


def test_images_are_upright_and_on_white(tmp_path):
    clear = Image.new("RGBA", (4, 2), (0, 0, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    clear.save(tmp_path / "clear.png", exif=exif)
    image = open_image("clear.png", tmp_path)
    assert image.size == (2, 4) and image.getpixel((0, 0)) == (255, 255, 255)


def test_16_bit_grey_keeps_its_range(tmp_path):
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    (tmp_path / "deep.tif").write_bytes(_saved(Image.fromarray(ramp.astype(">u2")), "tiff"))
    (tmp_path / "deep.pgm").write_bytes(b"P5 8 8 65535\n" + ramp.astype(">u2").tobytes())
    for name in ("deep.png", "deep.tif", "deep.pgm"):
        values = np.asarray(open_image(name, tmp_path))[..., 0]
        np.testing.assert_allclose(values, ramp / 257, atol=1)


def test_grey_levels_that_are_neither_of_8_nor_of_16_bits_are_refused(tmp_path):
    for levels in (np.linspace(0, 1, 64, dtype=np.float32), np.arange(-32, 32, dtype=np.int32)):
        Image.fromarray(levels.reshape(8, 8)).save(tmp_path / "odd.tif")
        with pytest.raises(ValueError, match="neither of 8 nor of 16 bits"):
            open_image("odd.tif", tmp_path)


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

"""Pair tables: the embedded datasets as promised, your own CSV, and one clear message for each thing wrong."""

import io
from functools import cache

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gaplib import datasets, pairs
from gaplib.pairs import About, fingerprint, open_image, sample, split_by_group, validate
from phantoms import cxr, derm

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


@pytest.mark.parametrize("module", [cxr, derm])
def test_phantoms_are_the_same_for_a_seed_and_others_for_another(module):
    one, again, other = module.load(n=30), module.load(n=30), module.load(n=30, seed=1)
    pd.testing.assert_frame_equal(one.pairs, again.pairs)
    pd.testing.assert_frame_equal(module.load(n=60).pairs.drop(columns="split")[:30], one.pairs.drop(columns="split"))
    for column in ("image", "group"):
        assert not set(one.pairs[column]) & set(other.pairs[column])


def test_training_pairs_are_disjoint_from_every_evaluation_set():
    from gaplib.train import training_pairs

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
    assert about.name.startswith("mine-") and (about.task, about.labels) == ("binary", ("a", "b"))
    assert datasets.stored_name(f"csv:{folder / 'mine.csv'}") == about.name
    assert (about.root, about.domain) == (folder, "natural")
    assert open_image(table["image"][3], about.root).size == (8, 8)
    without = datasets.load(rewrite(folder, lambda t: t[["image", "text", "label"]])).pairs
    assert set(without["split"]) == set(pairs.SPLITS)
    many = datasets.load(rewrite(folder, lambda t: t[["image", "text"]].assign(x=[0, 1] * 6, y=[0, 0, 1, 1] * 3)))
    assert (many.about.task, many.about.labels) == ("multilabel", ("x", "y"))


BAD = {
    "no column 'text'": lambda t: t.drop(columns="text"),
    "no column 'label'": lambda t: t.drop(columns="label"),
    r"row 4: the text is empty": lambda t: t.assign(text=t["text"].where(t.index != 4)),
    r"row 5 .*'absent.png'.*no such image under": lambda t: t.assign(
        image=t["image"].where(t.index != 5, "absent.png")
    ),
    r"row 2 .*leaves the image root": lambda t: t.assign(image=t["image"].where(t.index != 2, "../2.png")),
    r"row 1: unknown split 'dev'; use train, val, test": lambda t: t.assign(
        split=t["split"].where(t.index != 1, "dev")
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


def test_missing_csv_and_unknown_name():
    with pytest.raises(FileNotFoundError, match=r"no CSV at nowhere.csv; give"):
        datasets.load("csv:nowhere.csv")
    with pytest.raises(ValueError, match="unknown dataset 'clipartt': did you mean 'clipart'"):
        datasets.load("clipartt")


def test_broken_images_are_named(tmp_path):
    whole = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(whole, "png")
    (tmp_path / "text.jpg").write_text("not an image")
    for image, where in ((whole.getvalue()[:900], "row 7"), (b"", "row 8"), ("text.jpg", "row 9")):
        with pytest.raises(ValueError, match=f"{where}: .* not a readable image"):
            open_image(image, tmp_path, where)


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
    values = np.asarray(open_image("deep.png", tmp_path))[..., 0]
    np.testing.assert_allclose(values, ramp / 257, atol=1)


def test_split_by_group_keeps_the_shares():
    group = np.repeat(np.arange(1000), np.random.default_rng(0).integers(1, 5, 1000))
    shares = pd.Series(split_by_group(group)).value_counts(normalize=True)
    assert [shares[s] for s in pairs.SPLITS] == pytest.approx([0.7, 0.1, 0.2], abs=0.01)


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
    with pytest.raises(ValueError, match="row 2: label 'x' must be 0 or 1"):
        validate(table, About("made", "medical", "multilabel", ("x",)))

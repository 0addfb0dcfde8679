"""The lambda explorer and UMAP through lambda: what goes into the page. test_browser looks at what comes out of it."""

import base64
import errno
import html
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pages import data_of, measured, picture, sphere, unpack
from PIL import Image

from gaplib import explorer, gap, modulate, sweep


@pytest.fixture
def clouds():
    """A function that makes n pairs in two cones."""

    def make(n, d=24, dtype=np.float32):
        rng = np.random.default_rng(n)
        return tuple(sphere(rng, n, d, mean).astype(dtype) for mean in rng.normal(size=(2, d)) / np.sqrt(d))

    return make


def test_the_page_holds_a_number_for_every_place_of_the_slider(clouds):
    image, text = clouds(50)
    data = data_of(explorer.explore((image, text), n=20))
    numbers = unpack(data["panels"][0]["numbers"]).reshape(len(modulate.LABELS), -1)
    assert (data["first"], data["steps"], numbers.shape[1]) == (-0.5, 401, 401)
    for k in (0, 7, 100, 399, 400):
        np.testing.assert_allclose(numbers[:, k], measured(image, text, -0.5 + k * 0.005), atol=1e-5)
    assert (data["n"], data["total"], data["panels"][0]["gap_of"]) == (20, 50, "fitted on these pairs")
    assert data["pair"] == sorted(set(data["pair"])) and len(data["pair"]) == 20


def test_everybody_has_another_as_unpaired_partner(clouds):
    for n in (2, 3, 50):
        partner = unpack(data_of(explorer.explore(clouds(n)))["panels"][0]["pairs"]).reshape(n, 3)[:, 1].astype(int)
        assert sorted(partner) == list(range(n)) and (partner != np.arange(n)).all()


def test_features_bring_their_texts_labels_gap_and_curve(make_features):
    f = make_features("multiclass")
    runs = [sweep.sweep(f, [0.0, 1.0], [0, 1], treatment) for treatment in ("rescale", "shift")]
    both = pd.concat([run.table for run in runs])
    other = both.assign(dataset="elsewhere")
    data = data_of(explorer.explore(f, n=40, sweep=pd.concat([other, both])))
    assert data["title"] == "made by made-encoder" and data["panels"][0]["gap_of"] == "fitted on training pairs"
    assert data["texts"] == ["a"] * 40
    assert [data["labels"]["names"][c] for c in data["labels"]["all"]] == list(f.pairs["label"][data["pair"]])
    assert [curve["name"] for curve in data["panels"][0]["curves"]] == ["rescale", "shift"]
    want = sweep.curve(runs[0].table)
    assert (data["panels"][0]["curves"][0]["lam"], data["panels"][0]["curves"][0]["mean"]) == (
        [0, 1],
        want["mean"].tolist(),
    )
    for edge, sign in (("low", -1), ("high", 1)):
        np.testing.assert_allclose(data["panels"][0]["curves"][0][edge], want["mean"] + sign * want["std"])
    numbers = unpack(data["panels"][0]["numbers"]).reshape(5, -1)
    vector = gap.gap_vector(*f.paired("train"))
    np.testing.assert_allclose(numbers[:, 300], measured(*f.paired(), 1.0, vector), atol=1e-6)
    assert data_of(explorer.explore(f, sweep=runs[1]))["panels"][0]["curves"][0]["name"] == "test AUC"


def test_several_labels_are_named_together(make_features):
    f = make_features("multilabel")
    data = data_of(explorer.explore(f))
    rows = f.pairs[["a", "b", "c"]].to_numpy(bool)
    want = [" + ".join(n for n, one in zip("abc", row, strict=True) if one) or "none" for row in rows]
    assert [data["labels"]["names"][c] for c in data["labels"]["all"]] == want


def test_the_most_frequent_labels_have_a_colour_and_the_others_share_one(clouds):
    labels = np.repeat(np.arange(10), np.arange(1, 11))
    data = data_of(explorer.explore(clouds(55), labels=labels))["labels"]
    assert data["shown"] == ["9", "8", "7", "6", "5", "4", "3", "3 others"]
    assert [data["codes"][labels.tolist().index(label)] for label in range(10)] == [7, 7, 7, 6, 5, 4, 3, 2, 1, 0]


def test_labels_that_are_missing_are_named(clouds):
    labels = ["a", None, "", float("nan"), "  ", pd.NA, "a", "b"]
    data = data_of(explorer.explore(clouds(8), labels=labels))["labels"]
    assert [data["names"][code] for code in data["all"]] == ["a", *["no label"] * 5, "a", "b"]
    assert data["shown"] == ["no label", "a", "b"]


@pytest.mark.parametrize("labels", [[1, 0, None, 1], [1.0, 0.0, np.nan, 1.0], np.array([1, 0, np.nan, 1], "f4")])
def test_whole_numbers_are_names_also_where_some_are_missing(clouds, labels):
    data = data_of(explorer.explore(clouds(4), labels=labels))["labels"]
    assert not data["continuous"] and [data["names"][code] for code in data["all"]] == ["1", "0", "no label", "1"]


def test_many_different_floats_are_coloured_by_a_scale(clouds):
    values = np.array([2.0, 0.5, np.nan, *np.linspace(0.75, 1.75, 16), 0.5])
    data = data_of(explorer.explore(clouds(20), labels=values))["labels"]
    assert data["continuous"] and data["shown"] == ["0.5", "2", "no label"]
    *ramp, grey = data["colours"]
    want = np.round((values - 0.5) / 1.5 * (len(ramp) - 1))
    np.testing.assert_array_equal(data["codes"], np.where(np.isnan(want), len(ramp), want))
    assert grey == "#8A8A8A" and len(set(ramp)) == len(ramp)
    assert [data["names"][data["all"][k]] for k in (0, 1, 2)] == ["2", "0.5", "no label"]
    few = data_of(explorer.explore(clouds(20), labels=values.round()))["labels"]
    assert not few["continuous"]


def test_texts_that_are_missing_are_empty_and_broken_letters_are_replaced(clouds):
    page = explorer.explore(clouds(4), texts=["a", None, float("nan"), "\ud800b"], title="\udfff!")
    assert data_of(page)["texts"] == ["a", "", "", "?b"] and page.title == "?!"


def test_texts_cannot_end_the_script_and_long_ones_are_cut(clouds):
    texts = ["</script><script>alert(1)</script>", '<!-- "quotes" & \u2028 ü', "x" * 500]
    page = explorer.explore(clouds(3), texts=texts, labels=["</SCRIPT>", "a", "b"], title="</title><b>")
    data = data_of(page)
    assert data["texts"][:2] == texts[:2] and data["texts"][2] == "x" * 199 + "…"
    assert page.page.lower().count("</script") == 2 and "</title><b>" not in page.page
    framed = re.search(r'srcdoc="([^"]*)"', page._repr_html_())[1]
    assert html.unescape(framed) == page.page


def test_thumbnails_are_small_and_each_image_is_there_once(clouds, tmp_path):
    red, blue = picture("red"), picture("blue")
    (tmp_path / "blue.png").write_bytes(blue)
    data = data_of(explorer.explore(clouds(3), images=[red, str(tmp_path / "blue.png"), red]))["thumbs"]
    assert data["index"] == [0, 1, 0] and len(data["pictures"]) == 2
    for uri, colour in zip(data["pictures"], (0, 2), strict=True):
        kind, content = uri.split(",")
        small = Image.open(io.BytesIO(base64.b64decode(content)))
        assert kind == "data:image/webp;base64" and small.size == (72, 36)
        assert np.asarray(small.convert("RGB")).mean((0, 1)).argmax() == colour
    with pytest.raises(ValueError, match="images, row 2: of 4 bytes is not a readable image"):
        explorer.explore(clouds(3), images=[red, red, b"no p"])


def test_images_may_be_in_memory_or_absent(clouds, tmp_path):
    red = picture("red")
    (tmp_path / "red.png").write_bytes(red)
    opened = Image.open(io.BytesIO(red))
    array = np.asarray(opened)
    images = [opened, array, bytearray(red), memoryview(red), None, tmp_path / "red.png", array, opened.convert("CMYK")]
    data = data_of(explorer.explore(clouds(8), images=images))["thumbs"]
    assert data["index"] == [0, 1, 2, 2, -1, 3, 1, 4]
    for uri in data["pictures"]:
        small = Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))
        assert small.size == (72, 36) and np.asarray(small.convert("RGB")).mean((0, 1)).argmax() == 0
    stack = np.zeros((3, 8, 8, 3), np.uint8)
    assert data_of(explorer.explore(clouds(3), images=stack))["thumbs"]["index"] == [0, 1, 2]
    for bad in (np.zeros((8, 8, 3)), [1, 2], 7, object()):
        with pytest.raises(ValueError, match="images, row 1: .* is not a readable image"):
            explorer.explore(clouds(3), images=[red, bad, red])


def test_a_page_of_2000_pairs_needs_nothing_and_is_small(clouds, tmp_path):
    page = explorer.explore(clouds(2100, 128), texts=["drawing " * 30] * 2100, labels=np.arange(2100) % 40)
    path = page.save(tmp_path / "deep" / "page.html")
    assert path.read_text(encoding="utf-8") == page.page and [p.name for p in path.parent.iterdir()] == ["page.html"]
    assert path.stat().st_size < 1_500_000
    double = explorer.compare(clouds(2100, 128), clouds(2100, 64), names=["a", "b"])
    assert len(double.page) < 1_500_000
    assert not re.search(r"https?:|//cdn|@import|url\(|<link|\bsrc=|fetch\(|XMLHttpRequest", page.page)


def files(folder):
    return sorted(path.name for path in folder.rglob("*"))


@pytest.mark.parametrize("name", [".", "folder", "x" * 300, "folder/" + "x" * 300, "file/page.html"])
def test_a_page_that_cannot_be_saved_says_so_once_and_leaves_nothing(clouds, tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("a file")
    with pytest.raises(OSError, match=r"cannot save the page as .*: .*; name a file where you may write"):
        explorer.explore(clouds(3)).save(tmp_path / name)
    assert files(tmp_path) == ["file", "folder"]


def test_a_full_disk_leaves_the_page_that_was_there(clouds, tmp_path, monkeypatch):
    path = explorer.explore(clouds(3)).save(tmp_path / "page.html")
    before = path.read_text(encoding="utf-8")

    def write_a_part(self, text, **options):
        with open(self, "w", **options) as file:
            file.write(text[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", write_a_part)
    with pytest.raises(OSError, match="No space left on device"):
        explorer.explore(clouds(5)).save(path)
    assert path.read_text(encoding="utf-8") == before and files(tmp_path) == ["page.html"]


def test_neighbours_are_those_of_the_encoders_own_space(clouds):
    image, text = clouds(40)
    found = unpack(data_of(explorer.explore((image, text)))["panels"][0]["neighbours"]).reshape(2, 2, 40, 5, 2)
    for of, m in ((0, 0), (0, 1), (1, 0), (1, 1)):
        cosines = ((image, text)[of] @ (image, text)[m].T).astype(float)
        if of == m:
            np.fill_diagonal(cosines, -1)
        best = np.sort(cosines, axis=1)[:, :-6:-1]
        np.testing.assert_allclose(found[of, m, :, :, 1], best, atol=1e-6)
        at = np.take_along_axis(cosines, found[of, m, :, :, 0].astype(int), 1)
        np.testing.assert_allclose(at, best, atol=1e-6)


def test_the_matrix_puts_alike_pairs_together(clouds):
    rng = np.random.default_rng(0)
    kind = rng.integers(3, size=80)
    middles = rng.normal(size=(3, 24))
    image, text = (sphere(rng, 80, 24, 0.3 * middles[kind]) for _ in range(2))
    data = data_of(explorer.compare((image, text), clouds(80), names=["apart", "one cone"]))
    ordered = data["ordered"]
    assert len(ordered) == len(set(ordered)) == 60
    assert (np.diff(kind[ordered]) != 0).sum() == 2
    both = np.concatenate([image[ordered], text[ordered]])
    np.testing.assert_allclose(unpack(data["panels"][0]["matrix"]).reshape(120, 120), both @ both.T, atol=1e-6)


def test_features_and_what_a_move_makes_of_them_are_compared(make_features):
    f = make_features("multiclass")
    moved = modulate.centre(*f.paired(), fit=f.paired("train"))
    page = explorer.compare(f, moved, names=["as encoded", "centred"], n=40)
    data = data_of(page)
    assert page.title == "made: as encoded, centred"
    assert [panel["name"] for panel in data["panels"]] == ["as encoded", "centred"]
    assert [panel["gap_of"] for panel in data["panels"]] == ["fitted on training pairs", "fitted on these pairs"]
    assert data["texts"] == ["a"] * 40
    names = data["labels"]["names"]
    assert [names[c] for c in data["labels"]["all"]] == list(f.pairs["label"][data["pair"]])
    numbers = unpack(data["panels"][1]["numbers"]).reshape(5, -1)
    np.testing.assert_allclose(numbers[:, 300], measured(*moved, 1.0), atol=1e-5)


def test_only_the_same_pairs_are_compared(clouds, make_features):
    one, two = clouds(30), clouds(29)
    for encoded, names, message in (
        ([one], None, "two or more are needed, got 1; `explore` shows one"),
        ([one, one], None, r"names: a different one for each of the 2 needed, got \[None, None\]"),
        ([one, one], ["a", "a"], "names: a different one"),
        ([one, one], "ab", r"got \['ab'\]"),
        ([one, two], ["a", "b"], r"the same pairs of all needed, got \{'a': 30, 'b': 29\} pairs"),
        ([one, 7], ["a", "b"], "features: Features, or two arrays"),
    ):
        with pytest.raises(ValueError, match=message):
            explorer.compare(*encoded, names=names)
    f = make_features("binary")
    others = f.pairs.assign(text=["b" if i == 3 else text for i, text in enumerate(f.pairs["text"])])
    with pytest.raises(ValueError, match="the text of pair 3 is not the same"):
        explorer.compare(f, replace(f, table=others, encoder="another"))


def test_bad_input_gets_one_clear_message(clouds, make_features):
    image, text = clouds(30)
    for options, message in (
        ({"labels": ["a"]}, "labels: one a pair needed, got 1 for 30 pairs"),
        ({"texts": ["a"] * 31}, "texts: one a pair needed, got 31 for 30 pairs"),
        ({"gap": np.ones(3)}, "gap must be a finite vector of length 24"),
        ({"umap": ([0, 1], np.zeros((2, 2, 29, 2)))}, r"both modalities of all 30 pairs .* shape \(2, 2, 29, 2\)"),
        ({"umap": ([0, 1], np.zeros((2, 2, 30, 2))), "n": 20}, r"drawn \(n=20\)"),
        ({"n": 1}, "sample must be at least 2"),
    ):
        with pytest.raises(ValueError, match=message):
            explorer.explore((image, text), **options)
    for labels in (5, {"a": 1}, iter("ab")):
        with pytest.raises(ValueError, match="labels: one a pair needed"):
            explorer.explore((image, text), labels=labels)
    for features in (image, pd.DataFrame(image), "features", None):
        with pytest.raises(ValueError, match="features: Features, or two arrays"):
            explorer.explore(features)
    with pytest.raises(ValueError, match="paired rows needed, got 30 image and 29 text"):
        explorer.explore((image, text[:29]))
    f = make_features("binary")
    table = sweep.sweep(f, [0.0, 1.0], [0], training=sweep.Converged()).table
    with pytest.raises(ValueError, match="it holds 0 of made by made-encoder"):
        explorer.explore(f, sweep=table.assign(encoder="another"))
    with pytest.raises(ValueError, match="from 1 to 8 curves can be shown, it holds 9"):
        explorer.explore(f.paired(), sweep=pd.concat([table.assign(encoder=str(i)) for i in range(9)]))


def test_the_page_takes_the_umap(clouds):
    image, text = clouds(80)
    umap = ([0.0, 0.5, 1.0], np.random.default_rng(0).normal(size=(3, 2, 80, 2)).astype(np.float32))
    data = data_of(explorer.explore((image, text), umap=umap))["panels"][0]["umap"]
    assert data["lams"] == umap[0]
    np.testing.assert_array_equal(unpack(data["at"]), umap[1].ravel())

"""The broad training pairs hold nothing that an evaluation set holds: no emoji of its families, no look-alike."""

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("build", reason="data/pairs comes with a checkout")
import iconify
from PIL import Image

from gaplib import paths
from gaplib.datasets.pairs import open_image

EMOJI = {
    "1F68C": {"label": "bus", "tags": ["school", "vehicle"], "group": 5},
    "1F9FF": {"label": "nazar amulet", "tags": ["charm"], "group": 6},
}


class FewEmoji(iconify.Emoji):
    def __init__(self):
        self.facts = EMOJI
        self.codes = {iconify.slug(facts["label"]): code for code, facts in EMOJI.items()}
        self.joined = {}


@pytest.fixture
def sets(monkeypatch):
    """Two small icon sets in place of those that npm has, and blank pictures in place of rendered ones."""
    body = '<path fill="currentColor" d="M0 0h9v9z"/>'
    names = ["bus", "nazar-amulet", "nazar-amulet-dark-skin-tone", "brand-acme", "kettle", "kettle-bold", "42"]
    icons = {"prefix": "any", "icons": {name: {"body": body} for name in names}, "width": 9, "height": 9}
    icons["aliases"] = {"tea-maker": {"parent": "kettle"}}
    found = {"icons": icons, "info": {"license": {"spdx": "MIT"}}, "metadata": {"categories": {"Kitchen": ["kettle"]}}}
    monkeypatch.setattr(iconify, "icon_set", lambda name: found)
    monkeypatch.setattr(iconify, "lexicon", dict)
    monkeypatch.setattr(iconify, "render", lambda document: Image.new("RGB", (64, 64), "white"))


def texts(name):
    return [text for _, text, _, _ in iconify._rows(name, FewEmoji())]


def test_an_emoji_set_gives_no_emoji_of_an_evaluated_family(sets):
    assert "bus" in set(pd.read_parquet(paths.PAIRS / "emoji.parquet")["group"])
    assert all("nazar amulet" in text for text in texts("noto")) and len(texts("noto")) == 1


def test_variants_brands_and_numbers_are_left_out(sets):
    kept = texts("mdi")
    assert len(kept) == 3 and sum("kettle" in text for text in kept) == 1


def test_a_text_tells_colour_name_keywords_and_style():
    told = iconify.broad_text("tea-pot", "red", "icon", ["kitchen", "drink", "kitchen", "a, b"])
    assert told == "red tea pot, kitchen, drink, icon"
    assert iconify.broad_text("bus", "", "icon", []) == "bus, icon"


def test_an_icon_has_the_keywords_of_its_name_or_of_the_words_in_it(monkeypatch):
    monkeypatch.setattr(iconify, "lexicon", lambda: {"tea": ["drink"], "tea-pot": ["kettle"], "bus": ["coach"]})
    assert iconify.associations("tea-pot") == ["kettle"]
    assert iconify.associations("bus-tea-station") == ["coach", "drink"]
    assert iconify.associations("nothing") == []


def test_look_alikes_of_evaluated_drawings_are_left_out(monkeypatch):
    held = open_image(pd.read_parquet(paths.PAIRS / "clipart.parquet")["image"][0])
    paler = held.point(lambda value: 20 + int(0.92 * value))
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    pictures = [(held, "held", "mdi", "MIT"), (paler, "paler", "mdi", "MIT"), (noise, "noise", "mdi", "MIT")]
    monkeypatch.setattr(iconify, "SETS", {"mdi": iconify.SETS["mdi"]})
    monkeypatch.setattr(iconify, "Emoji", FewEmoji)
    monkeypatch.setattr(iconify, "_rows", lambda name, emoji: iter(pictures))
    table = iconify.make_broad()
    assert "noise" in set(table["text"]) and not {"held", "paler"} & set(table["text"])
    assert set(table["split"]) <= {"train", "val"}


@pytest.mark.skipif(not (iconify.FOLDER / "broad.parquet").is_file(), reason="made by `make broad`")
def test_the_table_as_made_is_disjoint_from_every_evaluation_set():
    table = pd.read_parquet(iconify.FOLDER / "broad.parquet")
    assert len(table) > 35_000 and table["licence"].notna().all()
    for name in ("clipart", "emoji"):
        assert not set(table["image"]) & set(pd.read_parquet(paths.PAIRS / f"{name}.parquet")["image"])


def test_kin_are_one_family():
    assert iconify.family("woman firefighter") == iconify.family("man firefighter") == iconify.family("firefighter")
    assert iconify.family("red heart") == iconify.family("blue heart")
    assert iconify.family("three-thirty") == iconify.family("five o’clock")
    assert iconify.family("cow face") != iconify.family("horse face")

"""Phantom fundus: both eyes of a patient together, BRSET's words, and rows that depend on the seed and nothing else."""

import re

import numpy as np
import pytest
from PIL import ImageOps

from gaplib.datasets.pairs import SPLITS, open_image
from gaplib.datasets.paper import brset
from gaplib.datasets.phantoms import fundus


@pytest.fixture(scope="module")
def table(whole):
    return whole("phantom-fundus").pairs


@pytest.mark.slow
def test_as_many_retinopathies_as_in_a_screening(table):
    assert len(table) == 4000
    share = (table["label"] == "retinopathy").groupby(table["split"]).mean()
    assert set(share.index) == set(SPLITS) and share.between(0.07, 0.18).all()


def test_both_eyes_of_a_patient_are_in_one_split(table):
    eyes = table["text"].str.extract(r"Eye: (\w+)\.")[0]
    assert (eyes.groupby(table["group"]).nunique() == 2).mean() > 0.8
    assert (table.groupby("group")["split"].nunique() == 1).all()


@pytest.mark.slow
def test_texts_tell_what_brset_tells_and_never_the_grade(table):
    facts = re.findall(r"([A-Z][\w ]*): ", table["text"][0])
    findings = [name.replace("_", " ").capitalize() for name in brset.FINDINGS]
    assert facts[:6] == ["Eye", "Sex", "Age", "Comorbidities", "Diabetes for", "Insulin"]
    assert facts[6:9] == [part.replace("_", " ").capitalize() for part in brset.ANATOMY]
    assert facts[9:] == [{"Amd": "Macular degeneration", "Other": "Other findings"}.get(f, f) for f in findings]
    assert not table["text"].str.contains("retinopath|icdr", case=False).any()


def test_the_disc_is_nasal_so_it_shows_which_eye_it_is(table):
    right = table["text"].str.startswith("Eye: right")
    pixels = np.array([np.asarray(open_image(image).convert("L"), float) for image in table["image"][:400]])
    disc = pixels[:, 40:56]
    brighter_right = disc[:, :, 65:85].max((1, 2)) > disc[:, :, 11:31].max((1, 2))
    assert (brighter_right == right[:400]).mean() > 0.8


def test_a_sound_eye_looks_alike_in_its_mirror_image():
    rng = np.random.default_rng(0)
    person = fundus._person(rng) | {"age": 40, "severity": -9.0}
    facts = fundus._eye(person, "right", rng) | {"haze": 0.0}
    right = open_image(fundus.draw(facts, np.random.default_rng(1)))
    left = open_image(fundus.draw(facts | {"eye": "left"}, np.random.default_rng(1)))
    mirrored = np.asarray(ImageOps.mirror(left), float)
    middle = np.s_[20:76, 20:76]
    assert np.corrcoef(np.asarray(right, float)[middle].ravel(), mirrored[middle].ravel())[0, 1] > 0.6

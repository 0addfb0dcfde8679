"""Scenes with questions: the answer is in the picture, its kind in the question, and rows depend on the seed alone."""

import numpy as np
import pytest

from gaplib.datasets import scenes
from gaplib.datasets.pairs import SPLITS, open_image

KINDS = {"what": scenes.THINGS, "where": scenes.SIDES, "number": scenes.NUMBERS, "colour": scenes.COLOURS}


@pytest.fixture(scope="module")
def table(whole):
    return whole("clipart-qa").pairs


def test_several_questions_a_scene_and_every_answer_in_every_split(table):
    assert len(table) == 4000
    groups = table.groupby("group")
    assert (groups["image"].nunique() == 1).all() and groups.size().mean() > 2.5
    assert (groups["split"].nunique() == 1).all() and table.groupby("image")["group"].nunique().max() == 1
    counts = table.groupby(["label", "split"]).size().unstack()
    assert list(counts) == sorted(SPLITS) and len(counts) == 12 and (counts > 10).all(axis=None)


def test_the_question_tells_the_kind_of_answer(table):
    forms = {form: kind for kind, asked in scenes.QUESTIONS.items() for form in asked}
    pattern = {kind: "|".join(question.split("{")[0].strip(" ?") for question in asked)
               for kind, asked in scenes.QUESTIONS.items()}  # fmt: skip
    assert len(forms) == sum(map(len, scenes.QUESTIONS.values()))
    for kind, answers in KINDS.items():
        asked = table["label"].isin(list(answers))
        assert table["text"][asked].str.contains(pattern[kind]).all()


def test_no_question_holds_its_answer(table):
    held = [label in text.split() for label, text in zip(table["label"], table["text"], strict=True)]
    assert not any(held)


def test_the_ground_is_of_the_colour_that_is_answered(table):
    asked = table[table["label"].isin(list(scenes.COLOURS))].head(300)
    corners = np.array([np.asarray(open_image(image), float)[-12:, :].mean((0, 1)) for image in asked["image"]])
    strongest = {"blue": 2, "green": 1, "yellow": 0}
    seen = corners.argmax(1) == asked["label"].map(strongest)
    assert seen.mean() > 0.8


def test_drawings_lose_the_white_around_them_and_keep_the_white_inside():
    for name, versions in scenes._drawings().items():
        assert len(versions) >= 4, name
        for drawing in versions:
            alpha = np.asarray(drawing)[..., 3]
            assert alpha[0, 0] == 0 and 0.08 < (alpha > 128).mean() < 0.95, name

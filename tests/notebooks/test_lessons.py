"""The checks of the exercises: right answers pass, the mistakes that docs/teaching.md expects get a hint."""

import json

import numpy as np
import pytest

from gaplib import paths
from gaplib.lessons import check

# For each exercise of a lesson: right answers, then wrong ones.
ANSWERS = {
    "cone-from-random-networks": [
        (["without bias"], ["with bias"]),
        ([0.638, 0.65], [0.0, 0.32]),
        (["spread"], ["move"]),
        ([0.33], [0.0, 0.05]),
    ],
    "watch-the-gap-form": [
        ([84, 83.9], [90, 78]),
        ([67, 67.3], [0, 53]),
        ([21.216], [50, 37.07]),
        (["narrower"], ["wider"]),
    ],
    "move-the-gap-by-hand": [
        (["beyond 1"], ["at 1", "below 1"]),
        ([(False, True)], [(True, False), (True, True), (False, False)]),
        (["smaller"], ["larger"]),
        (["more"], ["less"]),
    ],
}


def cells(lesson, end):
    """Sources of the code cells of a lesson whose id ends so."""
    notebook = json.loads((paths.REPO / "notebooks" / "lessons" / f"{lesson}.ipynb").read_text())
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["id"].endswith(end)]


@pytest.mark.parametrize("lesson", ANSWERS)
def test_the_checks_tell_right_answers_from_expected_mistakes(lesson, capsys):
    (unanswered,), (checks,) = cells(lesson, "-answers"), cells(lesson, "-checks")
    nothing = {"np": np, "check": check}
    exec(unanswered, nothing)
    exec(checks, nothing)
    assert capsys.readouterr().out == ""
    for number, (right, wrong) in enumerate(ANSWERS[lesson], 1):
        for answer in right:
            exec(checks, nothing | {f"answer_{number}": answer})
            assert capsys.readouterr().out == f"Exercise {number}: right\n"
        for answer in [*wrong, "I do not know"]:
            exec(checks, nothing | {f"answer_{number}": answer})
            printed = capsys.readouterr().out
            assert printed.startswith(f"Exercise {number}: not yet. ") and printed.count("\n") == 1
            assert not any(str(answer) in printed for answer in right)

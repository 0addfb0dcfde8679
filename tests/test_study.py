"""What of a study can be had, and what is said of the rest."""

import pytest

from gaplib import features, study


def test_cells_are_those_that_are_stored(root):
    with pytest.raises(FileNotFoundError, match="none of the study's features are stored; run notebook 01"):
        study.cells(["clipart"], ["mini-clip"], 60)
    features.extract("clipart", "mini-clip", 60)
    cells = study.cells(["clipart", "phantom-cxr"], ["mini-siglip", "mini-clip"], 60)
    assert [(f.about.name, f.encoder) for f in cells] == [("clipart-60", "mini-clip")]


def test_what_is_absent_is_told_and_what_is_wrong_is_raised():
    def load(name, more):
        if name == "far":
            raise OSError("out of reach")
        return name + more

    assert study.available(load, ["near", "far"], "!") == ({"near": "near!"}, {"far": "out of reach"})
    with pytest.raises(TypeError):
        study.available(load, [1], "!")

"""The factorial: every combination once, and after an interruption only what is missing."""

from importlib import import_module

import pandas as pd
import pytest

from gaplib import sweep
from gaplib.sweep import verdicts
from gaplib.sweep.verdicts import CONTROLS

room = import_module("gaplib.sweep.factorial")  # `sweep.factorial` is the function
TREATMENTS = ["shift", *CONTROLS]
TRAININGS = [sweep.Training(epochs=2), sweep.Converged(strengths=(1.0,), bounds=(1.0, 1.0))]


def run(cells, folder):
    return sweep.factorial(cells, TREATMENTS, dict.fromkeys(TRAININGS, 3), [1], folder, shares=(0.5, 1.0))


def test_an_interrupted_factorial_goes_on_where_it_ended(make_features, tmp_path, monkeypatch):
    cells = [make_features("binary")]
    done = []
    true_sweeps = room.sweeps

    def stops(*args, **options):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(options)
        return true_sweeps(*args, **options)

    monkeypatch.setattr(room, "sweeps", stops)
    with pytest.raises((KeyboardInterrupt, InterruptedError)):
        run(cells, tmp_path)
    kept = set(tmp_path.glob("*.parquet"))
    assert 1 <= len(kept) <= 2 and len(done) == 2
    monkeypatch.setattr(room, "sweeps", lambda *args, **options: done.append(options) or true_sweeps(*args, **options))
    table = run(cells, tmp_path)
    assert len(table) == 16 and len(done) == 2 + 4 - len(kept) and kept < set(tmp_path.glob("*.parquet"))
    count = len(done)
    assert set(zip(table["treatment"], table["share"], strict=True)) == {(t, s) for t in TREATMENTS for s in (0.5, 1.0)}
    pd.testing.assert_frame_equal(run(cells, tmp_path), table)
    assert len(done) == count and (table["resamples"] == 2).all()
    assert table["p_ahead"].notna().equals(table["treatment"].eq("shift"))
    assert set(verdicts.judge(table)["verdict"]) <= {"better", "worse", "equivalent", "undecided"}


def test_other_features_or_options_are_no_continuation(make_features, tmp_path):
    one, other = (make_features("binary", n=n) for n in (300, 320))
    for features, seed in ((one, 1), (other, 1), (one, 2)):
        sweep.factorial([features], ["shift"], {TRAININGS[0]: 1}, [seed], tmp_path)
    assert len(list(tmp_path.glob("*.parquet"))) == 3


def test_other_code_is_no_continuation(make_features, tmp_path, monkeypatch):
    assert {"gap.py", "modulate.py", "rows.py", "closed_form.py", "probe.py"} <= {path.name for path in room.CODE}
    code = tmp_path / "code.py"
    monkeypatch.setattr(room, "CODE", [code])
    for content in ("one", "other"):
        code.write_text(content)
        sweep.factorial([make_features("binary")], ["shift"], {TRAININGS[0]: 1}, [1], tmp_path)
    assert len(list(tmp_path.glob("*.parquet"))) == 2

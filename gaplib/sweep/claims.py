"""The three claims of arXiv 2603.17246, each answered in one sentence from the tables of a study."""

import pandas as pd

from gaplib.sweep import overcells, verdicts


def gap_helps(contrasts: pd.DataFrame, leads: pd.DataFrame) -> str:
    """(a) Does reducing the gap help? From `verdicts.judge` of shifts, and `verdicts.judge_leads`.

    Examples
    --------
    >>> cells = {"dataset": list("ab"), "encoder": "clip", "training": "published", "verdict": "undecided"}
    >>> contrasts = pd.DataFrame(cells | {"difference": [0.01, 0.02], "se": 0.01})
    >>> gap_helps(contrasts, pd.DataFrame({"matters": [False, False]}))  # doctest: +NORMALIZE_WHITESPACE
    'published: of 2 cells 0 better, 0 worse, 0 equivalent, 2 undecided, mean +0.0150, too few for an interval;
    it beats placebo, rescale, standardise by the margin in 0 of 2 cells'
    """
    parts = []
    for row in overcells.summaries(contrasts, ["training"]).itertuples():
        counts = contrasts.loc[contrasts["training"] == row.training, "verdict"].value_counts()
        counted = ", ".join(f"{counts.get(verdict, 0)} {verdict}" for verdict in verdicts.VERDICTS)
        parts.append(f"{row.training}: of {row.cells:.0f} cells {counted}, {_mean(row)}")
    beaten = ", ".join(verdicts.CONTROLS)
    parts.append(f"it beats {beaten} by the margin in {leads['matters'].sum()} of {len(leads)} cells")
    return "; ".join(parts)


def _mean(row):
    text = f"mean {row.mean:+.4f}"
    if pd.isna(row.low):
        return f"{text}, too few for an interval"
    return (
        f"{text} ({row.low:+.4f} to {row.high:+.4f}), a new cell {row.predicted_low:+.4f} to {row.predicted_high:+.4f}"
    )


def medical_reacts_more(sensitivity: pd.DataFrame) -> str:
    """(b) Do medical data react more strongly? From `verdicts.sensitivity` with the column dataset_domain.

    Examples
    --------
    >>> medical_reacts_more(pd.DataFrame({"dataset_domain": ["medical", "medical"]}))
    'the study has data of one kind, so this cannot be asked'
    """
    if sensitivity["dataset_domain"].nunique() < 2:
        return "the study has data of one kind, so this cannot be asked"
    found = overcells.compare(sensitivity, "dataset_domain")
    return "squared slope, {one} less {other} data: {difference:+.1e}, {told}".format(**found)


def inside_is_best(between: pd.DataFrame) -> str:
    """(c) Is closing the gap in part best? From `verdicts.intermediate`.

    Examples
    --------
    >>> inside_is_best(pd.DataFrame({"intermediate": [True, False, False]}))
    'a lambda between 0 and 1, chosen on validation data, beats both ends in 1 of 3 cells'
    """
    won = between["intermediate"]
    return f"a lambda between 0 and 1, chosen on validation data, beats both ends in {won.sum()} of {len(won)} cells"

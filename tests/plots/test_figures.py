"""Figures: what is drawn is what the table says, and nothing lies on anything else, in a study of any size."""

import itertools
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PolyCollection

from gaplib import paths, plots
from gaplib.plots import clouds, curves, forest, style

DATASETS, ENCODERS = ("one", "two", "three"), ("mini-clip", "mini-siglip", "mini-biomedclip", "mini-medsiglip")
CELLS = list(itertools.product(DATASETS, ENCODERS))
LAMS = (0.0, 0.5, 1.0)


@pytest.mark.parametrize("name", sorted(set(plots.__all__) - {"caption", "style"}))
def test_every_figure_is_made_shown_and_described(name):
    name = name.replace("_", "-")
    made = re.search(r"^FIGURES = ((?:.*\\\n)*.*)$", (paths.REPO / "Makefile").read_text(), re.M)[1]
    assert name in re.findall("[a-z-]+", made)
    (picture,) = (paths.REPO / "figures" / "gallery").glob(f"{name}.*")
    row = f"| ![](gallery/{picture.name}) <br> `{name}` |"
    assert row in (paths.REPO / "figures" / "README.md").read_text()


@pytest.fixture(autouse=True)
def figures():
    """The house style, and no figure left open."""
    with plt.rc_context():
        style.use()
        yield
        plt.close("all")


@pytest.fixture
def one_seed():
    """Curves of the shift, of one seed."""
    table = pd.DataFrame(itertools.product(DATASETS, ENCODERS, LAMS), columns=["dataset", "encoder", "lam"])
    return table.assign(mean=0.8 + 0.02 * np.random.default_rng(0).random(len(table)), std=np.nan)


@pytest.fixture
def contrasts():
    """Contrasts of two trainings, every verdict among them."""
    rng = np.random.default_rng(0)
    keys = [(p, *cell) for p in ("published", "converged") for cell in CELLS]
    table = pd.DataFrame(keys, columns=["training", "dataset", "encoder"])
    table["difference"] = 0.01 * rng.normal(size=len(table))
    for name, half in (("low_90", -0.004), ("high_90", 0.005), ("low", -0.006), ("high", 0.007)):
        table[name] = table["difference"] + half
    table["detectable"] = rng.uniform(0.001, 0.1, len(table))
    table.loc[0, "detectable"] = 2.6  # few training sets that differ much: no AUC differs by so much
    table["resamples"] = np.where(table["training"] == "published", 3, 0)
    table["margin"] = 0.005
    table["verdict"] = list(itertools.islice(itertools.cycle(forest.VERDICTS), len(table)))
    return table


@pytest.fixture
def paths_of_treatments():
    """Differences along training, and at its end, of a treatment of the house and one unknown to it, in no order."""
    keys = itertools.product(CELLS, ("shift", "mine"), (np.inf, 1, 100, 10, 1000))
    rows = [(*cell, treatment, epoch) for cell, treatment, epoch in keys]
    table = pd.DataFrame(rows, columns=["dataset", "encoder", "treatment", "epoch"])
    return table.assign(difference=0.05 * np.random.default_rng(0).normal(size=len(table)), margin=0.005)


@pytest.fixture
def gains():
    """Gains of two treatments by two trainings in every cell, and what holds over cells."""
    keys = itertools.product(CELLS, ("shift", "standardise"), ("published", "converged"))
    rows = [(*cell, treatment, training) for cell, treatment, training in keys]
    table = pd.DataFrame(rows, columns=["dataset", "encoder", "treatment", "training"])
    table["dataset_domain"] = np.where(table["dataset"] == "one", "natural", "medical")
    table["difference"] = 0.03 * np.random.default_rng(0).normal(size=len(table))
    table["mean"] = table.groupby(["treatment", "training"])["difference"].transform("mean")
    for name, away in (("low", -0.01), ("high", 0.01), ("predicted_low", -0.08), ("predicted_high", 0.08)):
        table[name] = table["mean"] + away
    return table.assign(margin=0.005)


@pytest.fixture
def by_head():
    """Contrasts under three heads."""
    keys = itertools.product((("early", 0), ("early", 128), ("late", 64)), CELLS)
    rows = [(*head, *cell) for head, cell in keys]
    table = pd.DataFrame(rows, columns=["fusion", "hidden", "dataset", "encoder"])
    rng = np.random.default_rng(0)
    table["auc_0"] = rng.uniform(0.6, 0.9, len(table))
    table["difference"] = 0.01 * rng.normal(size=len(table))
    table["auc_1"] = table["auc_0"] + table["difference"]
    return table.assign(low_90=table["difference"] - 0.01, high_90=table["difference"] + 0.01, margin=0.005)


@pytest.fixture
def learned():
    """Paths of two seeds that stop at different epochs, and a chosen lambda for each cell."""
    keys = [(*cell, seed, epoch) for cell in CELLS for seed, n in ((42, 5), (43, 8)) for epoch in range(n)]
    path = pd.DataFrame(keys, columns=["dataset", "encoder", "seed", "epoch"])
    path["lam"] = 0.5 + 0.1 * path["epoch"] * np.where(path["encoder"] == "mini-clip", 1, -1)
    chosen = pd.DataFrame(CELLS, columns=["dataset", "encoder"])
    chosen["lam"] = np.linspace(0, 1, len(chosen)).round(2)
    return path, chosen


def shown(fig):
    return [ax for ax in fig.axes if ax.axison]


def bands(ax):
    return [c for c in ax.collections if isinstance(c, PolyCollection)]


def edges(band):
    """Lower and upper edge of a band, by place."""
    corners = pd.DataFrame(band.get_paths()[0].vertices, columns=["x", "y"]).groupby("x")["y"]
    return corners.min().to_numpy(), corners.max().to_numpy()


def assert_apart(fig):
    """Legend, panels (with all that is written around them) and caption keep apart and inside the figure."""
    fig.draw_without_rendering()
    boxes = [ax.get_tightbbox() for ax in shown(fig)]
    boxes += [thing.get_window_extent() for thing in (*fig.legends, fig._supxlabel, fig._supylabel) if thing]
    for a, b in itertools.combinations(boxes, 2):
        assert not a.padded(-1).overlaps(b.padded(-1))
    for box in boxes:
        assert box.x0 > -1 and box.y0 > -1 and box.x1 < fig.bbox.x1 + 1 and box.y1 < fig.bbox.y1 + 1


def test_a_caption_that_grows_stays_within_the_figure(learned):
    fig = curves.learned_lambda(*learned)
    plots.caption(fig, f"{fig.get_supxlabel()}\nLeft out: {', '.join(f'dataset-{i}' for i in range(40))}.")
    assert "dataset-39" in fig.get_supxlabel() and fig.get_supxlabel().count("\n") >= 4
    assert_apart(fig)


def test_verdicts_draw_the_intervals_of_the_table(contrasts):
    fig = forest.verdicts(contrasts)
    assert [ax.get_title() for ax in shown(fig)] == ["published", "converged"]
    said = " ".join(fig.get_supxlabel().split())
    assert "(published: test rows and training sets; converged: test rows)" in said
    assert len({(*ax.get_xlim(), *ax.get_ylim()) for ax in fig.axes}) == 1
    for ax in shown(fig):
        part = contrasts[contrasts["training"] == ax.get_title()]
        drawn = {c.get_label(): np.array(c.get_segments()) for c in ax.collections if isinstance(c, LineCollection)}
        (points,) = (c.get_offsets() for c in ax.collections if c.get_label() == "difference")
        np.testing.assert_array_equal(points[:, 0], part["difference"])
        np.testing.assert_array_equal(drawn["adjusted"][:, :, 0], part[["low", "high"]])
        np.testing.assert_array_equal(drawn["90 %"][:, :, 0], part[["low_90", "high_90"]])
        # Every interval lies in the row whose label names its encoder, and what is written there is its own.
        ticks = dict(zip(ax.get_yticks(), (t.get_text() for t in fig.axes[0].get_yticklabels()), strict=True))
        assert [ticks[place] for place in points[:, 1]] == list(part["encoder"])
        written = {text.xy[1]: text for text in ax.texts}
        for place, row in zip(points[:, 1], part.itertuples(), strict=True):
            power = "none" if row.detectable > 1 else f"{row.detectable:.3f}"
            assert written[place].get_text() == f"{row.verdict} ({power})"
            assert written[place].get_color() == forest.VERDICTS[row.verdict]
    assert [t for t in ticks.values() if t in DATASETS] == list(DATASETS)
    assert_apart(fig)


@pytest.mark.parametrize(("count", "scale"), [(1, 1), (3, 0.3), (3, 1.4), (5, 5)])
def test_verdicts_of_any_number_of_trainings_keep_apart(contrasts, count, scale):
    one = contrasts[contrasts["training"] == "published"].copy()
    one[["difference", "low", "high", "low_90", "high_90"]] *= scale
    fig = forest.verdicts(pd.concat([one.assign(training=f"training {i}") for i in range(count)]))
    assert [ax.get_title() for ax in shown(fig)] == [f"training {i}" for i in range(count)]
    assert_apart(fig)
    for ax in shown(fig):
        labels = [t.get_window_extent() for t in ax.get_xticklabels() if t.get_text()]
        assert len(labels) > 1
        assert not any(a.overlaps(b) for a, b in itertools.combinations(labels, 2))
        notes = [text.get_window_extent() for text in ax.texts]
        assert not any(a.padded(-1).overlaps(b.padded(-1)) for a, b in itertools.combinations(notes, 2))


def test_sensitivity_draws_the_slopes_with_their_intervals(small):
    ax = shown(small("sensitivity", 2, 2))[0]
    (lines,) = (np.array(c.get_segments()) for c in ax.collections if len(c.get_segments()))
    np.testing.assert_array_equal(lines[:, :, 0], [[-0.01, 0.03]] * 4)
    assert [x for line in ax.lines if line.get_marker() == "o" for x in line.get_xdata()] == [0.01] * 4


def test_published_draws_the_committed_figures():
    table = pd.read_csv(paths.DATA / "published" / "published_sweeps.csv")
    assert len(table) == 4 * 4 * 11 * 3 and not table.isna().any(axis=None)
    fig = curves.published(table)
    auc = table[table["metric"] == "auc"]
    cells = auc.groupby(["dataset", "encoder"], sort=False)
    assert len(shown(fig)) == len(cells) == 16
    for ax, (_, cell) in zip(fig.axes, cells, strict=True):
        line, best = ax.lines
        np.testing.assert_array_equal(line.get_xydata(), cell[["lam", "mean"]])
        np.testing.assert_array_equal(best.get_ydata(), [cell["mean"].max()])
        assert best.get_markerfacecolor() == "white"
        low, high = edges(bands(ax)[0])
        np.testing.assert_allclose([low, high], [cell["mean"] - cell["std"], cell["mean"] + cell["std"]])
        bottom, top = ax.get_ylim()
        assert top - bottom > 0.03 - 1e-12 and bottom < low.min() and high.max() < top
    caption = " ".join(fig.get_supxlabel().split())
    assert "2603.17246" in caption and "read off the test curve" in caption and "hard predictions" in caption
    assert_apart(fig)


def test_ours_are_drawn_beside_the_published_ones_by_the_same_kind_of_auc():
    table = pd.read_csv(paths.DATA / "published" / "published_sweeps.csv")
    rows = itertools.product(["brset", "ham10000-published"], ["clip"], LAMS, (1, 2), ("auc", "auc_hard"))
    ours = pd.DataFrame(rows, columns=["dataset", "encoder", "lam", "seed", "metric"])
    ours = ours.assign(treatment="shift", training="published", fusion="early", hidden=0, split="test")
    ours["value"] = 0.6 + 0.1 * ours["lam"] + 0.05 * (ours["metric"] == "auc_hard") + 0.01 * ours["seed"]
    fig = curves.published(table, ours=ours)
    drawn = [ax.lines[2].get_xydata() for ax in shown(fig) if len(ax.lines) == 3]
    for line, level in zip(drawn, (0.615, 0.665), strict=True):  # brset, then ham10000 by hard predictions
        np.testing.assert_allclose(line, [(lam, level + 0.1 * lam) for lam in LAMS])
    assert [h.get_text() for h in fig.legends[0].get_texts()][-1] == "ours, mean over seeds"
    assert_apart(fig)


def test_published_cone_is_whole():
    cone = pd.read_csv(paths.DATA / "published" / "published_cone.csv")
    assert len(cone.drop_duplicates(["dataset", "encoder", "modality"])) == len(cone) == 8 * 4 * 2
    assert cone["mean_resultant_length"].between(0, 1).all()


def test_learned_lambda_draws_a_line_a_seed_and_the_chosen_lambda(learned):
    path, chosen = learned
    fig = curves.learned_lambda(path, chosen)
    assert len(shown(fig)) == 12 and len({(*ax.get_xlim(), *ax.get_ylim()) for ax in fig.axes}) == 1
    for ax, cell in zip(fig.axes, chosen.itertuples(), strict=True):
        rows = path[(path["dataset"] == cell.dataset) & (path["encoder"] == cell.encoder)]
        zero, one, *seeds, dashed = ax.lines
        assert [set(line.get_ydata()) for line in (zero, one, dashed)] == [{0}, {1}, {cell.lam}]
        assert [len(line.get_xdata()) for line in seeds] == [5, 8]
        for line, (_, seed) in zip(seeds, rows.groupby("seed"), strict=True):
            np.testing.assert_array_equal(line.get_xydata(), seed[["epoch", "lam"]])
        assert [text.get_text() for text in ax.texts if text.xy[0] == 1] == [f"{cell.lam:g}"]
    low, high = ax.get_ylim()
    assert low < path["lam"].min() and path["lam"].max() < high
    assert_apart(fig)


def test_several_runs_of_a_cell_are_refused(paths_of_treatments, gains, by_head, contrasts, learned):
    path, chosen = learned
    for draw, tables in (
        (curves.transient, [paths_of_treatments]),
        (forest.treatments, [gains]),
        (forest.heads, [by_head]),
        (forest.verdicts, [contrasts]),
        (curves.learned_lambda, [path, chosen]),
    ):
        with pytest.raises(ValueError, match="more than one row for dataset .*keep one kind of run"):
            draw(*(pd.concat([table, table]) for table in tables))


def few(table, datasets, encoders):
    """The rows of the first datasets and encoders."""
    return table[table["dataset"].isin(DATASETS[:datasets]) & table["encoder"].isin(ENCODERS[:encoders])]


@pytest.fixture
def small(one_seed, contrasts, learned, paths_of_treatments, gains, by_head):
    """A function that draws every figure of a study of so many datasets and encoders, of one seed."""
    path, chosen = learned
    chosen = chosen.assign(mean=0.81)
    cells = chosen[["dataset", "encoder"]].assign(encoder_domain="medical", dataset_domain="natural")
    slopes = cells.assign(slope=0.01, low=-0.01, high=0.03, resamples=3)
    measured = cells.merge(pd.DataFrame({"measure": list(curves.SHOWN)}), "cross")
    measured = measured.merge(pd.DataFrame({"lam": LAMS, "value": (1, 0.5, 0)}), "cross")
    binned = cells.merge(pd.DataFrame({"kind": list(clouds.KINDS)}), "cross").assign(n=100)
    binned = binned.merge(pd.DataFrame({"cosine": (-0.5, 0.5), "density": (1, 1)}), "cross")
    places = pd.DataFrame(itertools.product(range(9), ("image", "text")), columns=["pair", "modality"])
    places[["x", "y", "z"]] = np.random.default_rng(0).normal(size=(18, 3))
    placed = cells.merge(places, "cross").assign(seed=0)
    quoted = one_seed.assign(metric="auc", std=0.001)

    def draw(name, *size):
        kept = {
            "auc_by_lambda": [one_seed, chosen],
            "cones_published": [
                placed.assign(mean_resultant_length=0.8, stands_for="clip", beside=None, published=np.nan)
            ],
            "cones_sphere": [placed[placed["encoder"] == ENCODERS[0]].merge(pd.DataFrame({"lam": LAMS}), "cross")],
            "cones_umap": [placed],
            "cosines": [binned],
            "gap_by_lambda": [measured],
            "heads": [by_head],
            "learned_lambda": [path, chosen],
            "published": [quoted],
            "sensitivity": [slopes],
            "transient": [paths_of_treatments],
            "treatments": [gains],
            "verdicts": [contrasts],
        }[name]
        note = {"note": "A note."} if name == "sensitivity" else {}
        return getattr(plots, name)(*(few(table, *size) for table in kept), **note)

    return draw


FIGURES = sorted(set(plots.__all__) - {"caption", "style", "umap_by_lambda"})


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1)])
@pytest.mark.parametrize("name", FIGURES)
def test_small_studies_have_every_figure(small, name, size):
    fig = small(name, *size)
    assert shown(fig) or name == "cones_sphere"
    assert_apart(fig)


@pytest.mark.parametrize("name", FIGURES)
def test_a_table_without_rows_is_refused(small, name):
    with pytest.raises(ValueError, match="nothing to draw: the table has no rows"):
        small(name, 0, 0)


def test_the_curve_of_a_single_seed_lies_within_its_panel(small, one_seed):
    fig = small("auc_by_lambda", 3, 4)
    for ax in shown(fig):
        low, high = ax.get_ylim()
        assert low < ax.lines[0].get_ydata().min() and ax.lines[0].get_ydata().max() < high
    steep = one_seed.assign(mean=0.5 + 0.4 * one_seed["lam"])
    ax = plots.auc_by_lambda(steep, steep.iloc[:0]).axes[0]
    assert ax.get_ylim()[0] < 0.5 and ax.get_ylim()[1] > 0.9


def test_cones_stand_beside_the_published_ones():
    keys = itertools.product(("drawn", "made"), ("mini-clip", "theirs"), ("image", "text"), ("brset", "mbrset"))
    table = pd.DataFrame(keys, columns=["dataset", "encoder", "modality", "beside"])
    table["dataset_domain"] = np.where(table["dataset"] == "made", "natural", "medical")
    table["mean_resultant_length"] = np.where(table["modality"] == "image", 0.7, 0.6)
    table["published"] = np.where(table["encoder"] == "theirs", np.nan, 0.8 + 0.1 * (table["beside"] == "brset"))
    table["stands_for"] = table["encoder"].str.removeprefix("mini-")
    fig = forest.cones_published(table)
    first, second = shown(fig)
    assert [ax.get_title() for ax in (first, second)] == ["mini-clip\nbeside clip", "theirs"]
    hollow = [line.get_xdata() for line in first.lines if line.get_marker() == "o"]
    ours = sorted((line.get_ydata()[0], line.get_xdata()[0]) for line in first.lines if line.get_marker() == "D")
    np.testing.assert_allclose(ours, [(-0.17, 0.7), (0.17, 0.6), (0.83, 0.7), (1.17, 0.6)])
    assert len(hollow) == 4 and all(sorted(x) == [0.8, 0.9] for x in hollow)
    assert not any(len(line.get_xdata()) for line in second.lines if line.get_marker() == "o")
    named = [(label.get_text(), label.get_color()) for label in first.get_yticklabels()]
    kinds = {"made": "natural", "drawn": "medical"}  # natural ones first
    assert named == [(f"{name} ({kind})\nbrset, mbrset", style.DOMAIN[kind]) for name, kind in kinds.items()]
    assert list(first.get_yticks()) == [0, 1]
    assert_apart(fig)


def test_rows_tell_natural_from_medical(learned):
    domains = {"one": "medical", "two": "natural", "three": "medical"}
    path, chosen = learned
    fig = curves.learned_lambda(path.assign(dataset_domain=path["dataset"].map(domains)), chosen)
    beside = [text for ax in fig.axes[::4] for text in ax.texts if text.xy[0] == 0]
    assert [text.get_text() for text in beside] == ["natural\ntwo", "medical\none", "medical\nthree"]
    wanted = [style.DOMAIN[domain] for domain in ("natural", "medical", "medical")]
    assert [text.get_color() for text in beside] == wanted
    assert_apart(fig)


def test_the_transient_draws_each_path_and_its_end(paths_of_treatments):
    fig = curves.transient(paths_of_treatments, "A note.")
    cells = paths_of_treatments.groupby(["dataset", "encoder"], sort=False)
    for ax, ((dataset, encoder), cell) in zip(shown(fig), cells, strict=True):
        assert ax.get_title() == f"{dataset}\n{encoder}"
        lines = {line.get_label(): line for line in ax.lines if line.get_label() in ("shift", "mine")}
        ends = [line.get_ydata()[0] for line in ax.lines if line.get_label() == "end"]
        for (treatment, rows), end in zip(cell.groupby("treatment", sort=False), ends, strict=True):
            along = rows[np.isfinite(rows["epoch"])].sort_values("epoch")
            np.testing.assert_array_equal(lines[treatment].get_xydata(), along[["epoch", "difference"]])
            assert end == rows.loc[np.isinf(rows["epoch"]), "difference"].item()
        low, high = ax.get_ylim()
        assert low == -high and cell["difference"].abs().max() < high
    assert "A note." in fig.get_supxlabel()
    assert_apart(fig)


def test_treatments_draw_every_cell_and_what_holds_over_them(gains):
    fig = forest.treatments(gains)
    assert [ax.get_title() for ax in shown(fig)] == ["published", "converged"]
    ticks = dict(zip((t.get_text() for t in fig.axes[0].get_yticklabels()), fig.axes[0].get_yticks(), strict=True))
    for ax in shown(fig):
        part = gains[gains["training"] == ax.get_title()]
        dots = {c.get_label(): c.get_offsets() for c in ax.collections if c.get_label() in ticks}
        assert list(dots) == ["shift", "standardise"]
        for name, cells in part.groupby("treatment"):
            np.testing.assert_array_equal(dots[name][:, 0], cells["difference"])
            assert (abs(dots[name][:, 1] - ticks[name]) < 0.5).all()
        means = [line.get_xdata()[0] for line in ax.lines if line.get_label() == "mean"]
        np.testing.assert_array_equal(means, part.groupby("treatment", sort=False)["mean"].first())
        segments = [c.get_segments()[0][:, 0] for c in ax.collections if isinstance(c, LineCollection)]
        wanted = part.groupby("treatment", sort=False).first()[["low", "high", "predicted_low", "predicted_high"]]
        np.testing.assert_array_equal(np.ravel(segments), wanted.to_numpy().ravel())
    assert_apart(fig)


def test_gains_of_one_cell_have_no_interval(gains):
    whole = ["mean", "low", "high", "predicted_low", "predicted_high"]
    fig = forest.treatments(gains.iloc[:1].assign(**dict.fromkeys(whole, np.nan)))
    low, high = fig.axes[0].get_xlim()
    assert low == -high and np.isfinite(high)
    assert_apart(fig)


def test_heads_draw_both_ends_and_the_difference(by_head):
    fig = forest.heads(by_head)
    left, right = shown(fig)
    for label, column in (("lambda 0", "auc_0"), ("lambda 1", "auc_1")):
        drawn = np.concatenate([line.get_xdata() for line in left.lines if line.get_label() == label])
        np.testing.assert_array_equal(drawn, by_head[column])
    drawn = np.concatenate([line.get_xdata() for line in right.lines if line.get_label() == "difference"])
    np.testing.assert_array_equal(drawn, by_head["difference"])
    intervals = np.concatenate([c.get_segments() for c in right.collections if isinstance(c, LineCollection)])
    np.testing.assert_array_equal(intervals[:, :, 0], by_head[["low_90", "high_90"]])
    ticks = dict(zip(left.get_yticks(), (t.get_text() for t in left.get_yticklabels()), strict=True))
    assert [ticks[round(y)] for y in intervals[:, 0, 1]] == list(by_head["encoder"])
    names = [text.get_text() for text in fig.legends[0].get_texts()]
    assert names[:3] == ["linear", "MLP", "late fusion"]
    assert_apart(fig)

"""What all measures share: samples, tight cones, invariances, scale, rows in any form, one message for bad input."""

import inspect
import traceback
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from made import sphere, unit, vmf
from scipy.stats import special_ortho_group

from gaplib import cone, gap, modulate, rows

CONE = [*cone.MEASURES, lambda x: cone.cone_angle(x).mean]
GAP = [measure for measure in gap.MEASURES if measure is not gap.linear_separability]  # a share of few rows: in steps
GAP += [lambda image, text: gap.neighbour_mixing(image, text, k=3)]


@pytest.fixture
def clouds():
    rng = np.random.default_rng(0)
    return sphere(rng, 40, 6, 0.8), sphere(rng, 40, 6, -0.5)


def test_samples_are_seeded_and_large_enough_to_stand_for_the_whole():
    rng = np.random.default_rng(0)
    image, text = sphere(rng, 3000, 8, 0.3), sphere(rng, 3000, 8, -0.3)
    measures = [(gap.mmd, 0.03), (gap.linear_separability, 0.03), (gap.neighbour_mixing, 0.05)]
    for measure, near in measures:
        part = measure(image, text, sample=1500)
        assert part == measure(image, text, sample=1500) != measure(image, text, sample=1500, seed=1)
        assert part == pytest.approx(measure(image, text, sample=None), abs=near)
    assert cone.uniformity(image, sample=1000) == pytest.approx(cone.uniformity(image, sample=None), rel=0.02)


@pytest.mark.parametrize("kappa", [1e2, 1e4, 1e6])
def test_tight_cones_keep_their_precision(kappa):
    # Single precision against double; a Frechet distance or MMD may be far smaller than what it is a difference of.
    image, text = vmf(kappa, 16, 1500), np.roll(vmf(kappa, 16, 1500, seed=1), 1, axis=1)
    near = unit(image + np.roll(np.eye(16)[0], 3) * 3 / kappa**0.5)
    for measure in CONE:
        assert measure(image.astype(np.float32)) == pytest.approx(measure(image), rel=1e-3)
    for other in (text, near):
        for measure in GAP:
            single = measure(image.astype(np.float32), other.astype(np.float32))
            assert single == pytest.approx(measure(image, other), rel=1e-3)


# Invariances


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), d=st.integers(2, 8))
def test_measures_ignore_rotation_order_and_the_names_of_the_modalities(seed, d):
    rng = np.random.default_rng(seed)
    image, text = unit(rng.normal(size=(9, d)) + 1.5), unit(rng.normal(size=(9, d)) - 1.5)
    turn, order = special_ortho_group.rvs(d, random_state=rng), rng.permutation(9)
    for measure in GAP:
        value = measure(image, text)
        assert measure(image @ turn, text @ turn) == pytest.approx(value, abs=1e-7)
        assert measure(image[order], text[order]) == pytest.approx(value, abs=1e-7)
        assert measure(text, image) == pytest.approx(value, abs=1e-7)
    there, back = gap.recall_at_k(image, text, 2)
    assert gap.recall_at_k(text[order] @ turn, image[order] @ turn, 2) == pytest.approx((back, there))
    for measure in CONE:
        assert measure((image @ turn)[order]) == pytest.approx(measure(image), rel=1e-6, abs=1e-9)


# Scale


def test_a_mapped_file_is_read_in_pieces(tmp_path):
    n, d = 60_000, 512
    both = np.memmap(tmp_path / "rows", np.float32, "w+", shape=(2, n, d))
    rng = np.random.default_rng(0)
    for x in both:
        for start in range(0, n, 10_000):
            x[start : start + 10_000] = unit(rng.standard_normal((10_000, d), np.float32) + 0.03)
    image, text = both
    small = [cone.mean_cosine, cone.vmf_kappa, cone.cone_angle, gap.relative_gap, gap.paired_distance]
    for measure in [*small, gap.frechet_distance, cone.effective_rank]:
        tracemalloc.start()
        measure(*(image, text)[: len(inspect.signature(measure).parameters)])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < (8e6 if measure in small else 6e7)  # of 123 MB a modality


# Bad input: one clear message each


def test_refuses_what_is_not_a_cloud(clouds):
    image, text = clouds
    broken, zero, long = image.copy(), image.copy(), image.copy()
    broken[3, 0], zero[5], long[7], long[9] = np.nan, 0, 3 * long[7], 2 * long[9]
    same = np.eye(3)[[0, 0, 0]]
    for call, message in [
        (lambda: gap.gap_vector(image, text[:, :4]), "differ in width: 6 and 4"),
        (lambda: gap.gap_vector(broken, text), "image: row 3 is not finite"),
        (lambda: gap.gap_vector(image, zero), "text: row 5 is zero"),
        (lambda: gap.mmd(image, long), "text: row 7 has norm 3, not 1 \\(the worst of 2 such rows"),
        (lambda: cone.mean_cosine(broken), "row 3 is not finite"),
        (lambda: gap.paired_cosine(image, text[:9]), "paired rows needed, got 40 image and 9 text"),
        (lambda: gap.summary(image, text[:9]), "paired rows needed, got 40 image and 9 text"),
        (lambda: cone.mean_cosine(image[:1]), "at least 2 rows, got 1"),
        (lambda: gap.linear_separability(image[:4], text), "image: expected at least 5 rows, got 4"),
        (lambda: gap.gap_vector(image[:0], text), "at least 1 row, got 0"),
        (lambda: cone.mean_cosine(image[0]), "shape \\(n, d\\)"),
        (lambda: cone.mean_cosine(np.array([["a"]])), "floating-point embeddings"),
        (lambda: cone.mean_cosine(np.eye(3, dtype=int)), "floating-point embeddings of shape .* got int64"),
        (lambda: cone.mean_cosine(np.eye(3).astype(object)), "floating-point embeddings of shape .* got object"),
        (lambda: cone.mean_cosine([[1.0], [0.6, 0.8]]), "x: cannot be read as an array"),
        (lambda: cone.mean_cosine(np.ma.masked_greater(image, 0.5)), "x: a masked array that hides .* values"),
        (lambda: gap.recall_at_k(image, text, 41), "k must be an integer between 1 and the number of pairs, 40"),
        (lambda: gap.recall_at_k(image, text, 1.5), "k must be an integer"),
        (lambda: gap.neighbour_mixing(image, text, k=80), "the number of points less one, 79, got 80"),
        (lambda: cone.uniformity(image, sample=1), "sample must be at least 2 rows"),
        (lambda: cone.cone_angle(np.array([[1.0, 0], [-1.0, 0]])), "no mean direction"),
        (lambda: cone.vmf_kappa(same), "all rows are the same"),
        (lambda: cone.effective_rank(same), "all rows are the same"),
        (lambda: cone.iso_score(np.array([[1.0], [-1.0]])), "at least two dimensions"),
        (lambda: gap.relative_gap(same, same), "one point"),
        (lambda: gap.mmd(same, same), "half of all distances are 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


FORMS = {
    "torch": torch.from_numpy,
    "torch bfloat16": lambda x: torch.from_numpy(x).to(torch.bfloat16),
    "torch with gradient": lambda x: torch.from_numpy(x).requires_grad_(),
    "table": pd.DataFrame,
    "list": np.ndarray.tolist,
    "long double": lambda x: x.astype(np.longdouble),
    "masked, hiding nothing": np.ma.masked_invalid,
}


@pytest.mark.parametrize("form", FORMS)
def test_rows_come_in_any_form(form):
    # Of a sign vector every entry is a power of two, which even bfloat16 holds.
    image, text = np.where(np.random.default_rng(0).normal(size=(2, 12, 16)) > 0, 0.25, -0.25)
    given = [FORMS[form](x) for x in (image, text)]
    np.testing.assert_allclose(cone.summary(given[0]), cone.summary(image))
    np.testing.assert_allclose(gap.summary(*given, k=3), gap.summary(image, text, k=3))
    lams = [0.0, 0.5]
    np.testing.assert_allclose(modulate.by_lambda(*given, lams), modulate.by_lambda(image, text, lams))
    for move in (modulate.centre, modulate.realign, lambda i, t: modulate.shift(i, t, 0.5)):
        np.testing.assert_allclose(move(*given), move(image, text), atol=1e-6)
    np.testing.assert_allclose(modulate.centre(image, text, fit=given), modulate.centre(image, text))
    np.testing.assert_allclose(rows.normalise(given[0], "image"), image)


def test_sparse_rows_are_refused_and_not_misread():
    for sparse in (scipy.sparse.csr_array(np.eye(3)), torch.eye(3).to_sparse()):
        with pytest.raises(ValueError, match="x: (expected floating-point embeddings|cannot be read as an array)"):
            cone.mean_cosine(sparse)


@pytest.mark.parametrize("scale", [300, 1e30, 1e200, 1e-200])
def test_rows_of_any_length_have_a_direction(clouds, scale):
    image = clouds[0].astype(float)
    np.testing.assert_allclose(rows.normalise(scale * image, "image"), unit(image), rtol=1e-12)
    for kind in (np.float16, np.float32):
        if 1 < scale < float(np.finfo(kind).max):  # though not its square
            short = (scale * image).astype(kind)
            np.testing.assert_allclose(rows.normalise(short, "image"), unit(short.astype(float)), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("scale", "message"),
    [(300, "has norm 300, not 1"), (1e30, "has norm 1e.30, not 1"), (1e200, "is not finite"), (1e-200, "is zero")],
)
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_rows_of_another_length_are_refused(clouds, scale, message):
    with pytest.raises(ValueError, match=f"x: row .* {message}"):
        cone.mean_cosine(scale * clouds[0].astype(float))


@pytest.mark.parametrize("seed", [-1, 1.5, "a", 2**70, None, True])
def test_refuses_a_seed_that_no_generator_takes(clouds, seed):
    for call in (cone.uniformity, lambda x, seed: gap.mmd(x, x, seed=seed), lambda x, seed: rows.sample(x, 3, seed)):
        with pytest.raises(ValueError, match="seed must be an integer from 0 to 2\\*\\*32 - 1, got"):
            call(clouds[0], seed=seed)
    with pytest.raises(ValueError, match="seed must be an integer"):
        gap.linear_separability(*clouds, seed=seed)
    assert cone.uniformity(clouds[0], sample=5, seed=np.int64(3)) == cone.uniformity(clouds[0], sample=5, seed=3)


@pytest.mark.parametrize("size", [2.5, 0, -1, "a", True, [3], np.nan])
def test_refuses_a_sample_of_no_size(clouds, size):
    with pytest.raises(ValueError, match="sample must be at least 2 rows, a whole number, or None for all, got"):
        cone.uniformity(clouds[0], sample=size)
    with pytest.raises(ValueError, match="sample must be at least 5 rows"):
        gap.linear_separability(*clouds, sample=size)


def public(*modules):
    """Functions of arrays that a room shows: their names are in its `__all__`."""
    found = {name: vars(module)[name] for module in modules for name in module.__all__}
    return [f for name, f in sorted(found.items()) if inspect.isfunction(f) and name != "shifted_norms"]


NUMBERS = st.floats(-2, 2, width=16) | st.sampled_from([0.0, np.nan, np.inf, 1e308, 1e-300])
ROWS = st.sampled_from([np.float16, np.float32, np.float64, np.int64, object, bool, complex]).flatmap(
    lambda kind: (
        arrays(kind, array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6), fill=st.nothing())
        if kind is not object
        else arrays(object, array_shapes(max_dims=2, max_side=3), elements=st.sampled_from([None, "a", 1.0]))
    )
)
UNIT = arrays(float, st.tuples(st.integers(1, 7), st.integers(1, 4)), elements=st.floats(-1, 1)).map(
    lambda x: x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)
)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning", "ignore:overflow:RuntimeWarning")
@pytest.mark.parametrize("function", public(cone, gap, modulate), ids=lambda f: f.__name__)
@settings(max_examples=60, deadline=None)
@given(x=ROWS | UNIT, y=ROWS | UNIT, same=st.booleans(), number=NUMBERS | st.integers(-1, 8) | st.none())
def test_any_array_gives_a_finite_answer_or_an_error_of_ours(function, x, y, same, number):
    parameters = list(inspect.signature(function).parameters)
    given = [x] if parameters[0] == "x" else [x, x if same else y]
    if len(parameters) > len(given) and parameters[2:3] and parameters[2] in ("k", "lam", "delta"):
        given.append(number)
    if "lams" in parameters:
        given.append([number])
    try:
        answer = function(*given)
    except (ValueError, TypeError) as error:
        assert "/gaplib/" in traceback.extract_tb(error.__traceback__)[-1].filename.replace("\\", "/")
    else:
        if function is modulate.by_lambda:
            answer = answer.drop(columns="relative_gap")  # 0 / 0 where all rows are one point
        parts = answer if isinstance(answer, tuple) else (answer,)
        assert all(np.isfinite(np.asarray(part, float)).all() for part in parts)

"""Moving the clouds: each move is its definition and does to the gap what it says; lambda as a transformer."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made import sphere, unit
from scipy.stats import special_ortho_group
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, cross_validate
from sklearn.pipeline import Pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from gaplib import cone, gap, modulate


@pytest.fixture
def clouds():
    rng = np.random.default_rng(0)
    return sphere(rng, 40, 6, 0.8), sphere(rng, 30, 6, -0.5)


# The moves


@pytest.mark.parametrize("lam", [-0.5, 0.0, 0.3, 1.0, 1.7])
def test_shift_is_the_definition(clouds, lam):
    image, text = clouds
    vector = image.mean(0) - text.mean(0)
    moved = modulate.shift(image, text, lam)
    np.testing.assert_allclose(moved[0], unit(image - lam / 2 * vector), atol=1e-6)
    np.testing.assert_allclose(moved[1], unit(text + lam / 2 * vector), atol=1e-6)
    image = unit(image.astype(float))
    norms = modulate.shifted_norms(image, np.array([-lam / 2]), vector)[:, 0]
    np.testing.assert_allclose(norms, np.linalg.norm(image - lam / 2 * vector, axis=1), rtol=1e-6)


def test_shift_narrows_and_widens_the_gap(clouds):
    distances = [gap.centroid_distance(*modulate.shift(*clouds, lam)) for lam in (-0.5, 0, 0.5, 1)]
    assert distances == sorted(distances, reverse=True)
    np.testing.assert_allclose(modulate.shift(*clouds, 0)[0], clouds[0], atol=1e-7)


def test_liang_shift_counts_in_units_of_length(clouds):
    image, text = clouds
    length = gap.centroid_distance(image, text)
    for delta in (-0.4, 0.25, length):
        for one, other in zip(
            modulate.liang_shift(image, text, delta), modulate.shift(image, text, delta / length), strict=True
        ):
            np.testing.assert_allclose(one, other, atol=1e-6)


def test_centre_takes_off_each_mean(clouds):
    image, text = (x.astype(float) for x in clouds)
    image, text = unit(image), unit(text)
    moved = modulate.centre(image, text)
    np.testing.assert_allclose(moved[0], unit(image - image.mean(0)), atol=1e-12)
    np.testing.assert_allclose(moved[1], unit(text - text.mean(0)), atol=1e-12)
    assert gap.centroid_distance(*moved) < 0.2 * gap.centroid_distance(image, text)
    fitted = modulate.centre(image[20:], text[20:], fit=(image[:20], text[:20]))
    np.testing.assert_allclose(fitted[1], unit(text[20:] - text[:20].mean(0)), atol=1e-12)


def test_realign_moves_texts_onto_the_images(clouds):
    image, text = (unit(x.astype(float)) for x in clouds)
    scale = np.sqrt(np.trace(np.cov(image.T, ddof=0)) / np.trace(np.cov(text.T, ddof=0)))
    first = unit(scale * (text - text.mean(0)) + image.mean(0))
    kept, moved = modulate.realign(image, text)
    np.testing.assert_array_equal(kept, image)
    np.testing.assert_allclose(moved, unit(first - first.mean(0) + image.mean(0)), atol=1e-12)
    assert gap.centroid_distance(image, moved) < 0.1 * gap.centroid_distance(image, text)
    part = modulate.realign(image[:5], text[:5], fit=(image, text))[1]
    np.testing.assert_allclose(part, moved[:5], atol=1e-12)


def test_drop_gap_dims_drops_the_dimensions_that_differ_most(clouds):
    image, text = (unit(x.astype(float)) for x in clouds)
    vector = np.abs(gap.gap_vector(image, text))
    keep = np.sort(np.argsort(vector)[:4])
    moved = modulate.drop_gap_dims(image, text, 2)
    np.testing.assert_allclose(moved[0], unit(image[:, keep]), atol=1e-12)
    np.testing.assert_allclose(moved[1], unit(text[:, keep]), atol=1e-12)
    other = np.eye(6)[0]
    assert modulate.drop_gap_dims(image, text, 1, gap=other)[0] == pytest.approx(unit(image[:, 1:]))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), d=st.integers(2, 8), lam=st.floats(-1, 2))
def test_moves_turn_with_the_rows_and_do_not_mind_which_modality_is_which(seed, d, lam):
    rng = np.random.default_rng(seed)
    image, text = unit(rng.normal(size=(9, d)) + 1.5), unit(rng.normal(size=(7, d)) - 1.5)
    turn = special_ortho_group.rvs(d, random_state=rng)
    moves = [lambda i, t: modulate.shift(i, t, lam), lambda i, t: modulate.liang_shift(i, t, lam), modulate.centre]
    for move in moves:
        for one, other in zip(move(image, text), move(text, image)[::-1], strict=True):
            np.testing.assert_allclose(one, other, atol=1e-9)
    for move in [*moves, modulate.realign]:
        for one, other in zip(move(image, text), move(image @ turn, text @ turn), strict=True):
            np.testing.assert_allclose(one @ turn, other, atol=1e-9)


@pytest.mark.parametrize("lam", [1e6, -1e6])
def test_the_largest_lambda_leaves_rows_of_unit_norm(clouds, lam):
    for move in (modulate.shift, modulate.liang_shift):
        for x in move(*clouds, lam):
            np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, rtol=1e-6)
    assert np.isfinite(modulate.by_lambda(clouds[0][:30], clouds[1], [lam])).all(axis=None)


def test_liang_shift_moves_along_a_gap_however_narrow():
    image = np.eye(3)[[0, 0]]
    text = unit(image + [0, 1e-9, 0])
    for one, sign in zip(modulate.liang_shift(image, text, 0.5), (1, -1), strict=True):
        np.testing.assert_allclose(one, unit(image + sign * np.array([0, 0.25, 0])), atol=1e-6)


@pytest.mark.parametrize("form", [np.ndarray.tolist, pd.Series, torch.from_numpy])
def test_a_gap_comes_in_any_form(clouds, form):
    vector = gap.gap_vector(*clouds)
    for one, other in zip(modulate.shift(*clouds, 0.5, form(vector)), modulate.shift(*clouds, 0.5), strict=True):
        np.testing.assert_array_equal(one, other)


# Measures by lambda


@pytest.mark.parametrize(("n", "d", "dtype"), [(2, 3, "f8"), (300, 24, "f4"), (3000, 512, "f4"), (300, 24, "f2")])
def test_the_closed_form_by_lambda_is_what_the_measures_say_of_moved_rows(n, d, dtype):
    rng = np.random.default_rng(n)
    image, text = (sphere(rng, n, d, mean).astype(dtype) for mean in rng.normal(size=(2, d)) / np.sqrt(d))
    lams = rng.uniform(-0.5, 1.5, 5)

    def measure(image, text):
        return {
            "centroid_distance": gap.centroid_distance(image, text),
            "mean_cosine_image": cone.mean_cosine(image),
            "mean_cosine_text": cone.mean_cosine(text),
            "paired_cosine": gap.paired_cosine(image, text),
            "relative_gap": gap.relative_gap(image, text),
        }

    for vector in (None, gap.gap_vector(image[: n // 2], text[: n // 2])):
        table = modulate.by_lambda(image, text, lams, vector)
        moved = modulate.by_lambda(image, text, lams, vector, measure=measure)
        pd.testing.assert_frame_equal(table, moved, rtol=0, atol=5e-4 if dtype == "f2" else 1e-6)
    assert table.index.name == "lam" and list(table.index) == list(lams)


# The transformer


def reason(estimator):
    return {"check_estimators_dtypes": "its whole numbers hold all-zero embeddings, which have no direction"}


@pytest.mark.filterwarnings("ignore:LambdaShift")
@parametrize_with_checks(
    [modulate.LambdaShift(), modulate.LambdaShift(lam=0.7, n_dims=1)], expected_failed_checks=reason
)
def test_lambda_shift_is_a_scikit_learn_transformer(estimator, check):
    check(estimator)


@pytest.fixture
def columns(clouds):
    """[image | text | age] of 30 pairs, and labels."""
    image, text = clouds[0][:30], clouds[1]
    age = np.arange(30, dtype=np.float32)[:, None]
    return np.hstack([image, text, age]), (image[:, 0] + text[:, 1] > 0).astype(int)


def test_lambda_shift_is_the_shift_fitted_on_the_rows_it_saw(columns):
    x, _ = columns
    model = modulate.LambdaShift(lam=0.6, n_dims=6).fit(x[:20])
    image, text = modulate.shift(x[20:, :6], x[20:, 6:12], 0.6, gap.gap_vector(x[:20, :6], x[:20, 6:12]))
    np.testing.assert_allclose(model.transform(x[20:]), np.hstack([image, text, x[20:, 12:]]), atol=1e-6)
    assert modulate.LambdaShift(lam=0.6).fit(x[:, :12]).transform(x[:, :12]).shape == (30, 12)


def test_lambda_shift_keeps_names_and_gives_frames(columns):
    names = [f"i{j}" for j in range(6)] + [f"t{j}" for j in range(6)] + ["age"]
    frame = pd.DataFrame(columns[0], columns=names)
    model = clone(modulate.LambdaShift(lam=0.3, n_dims=6)).set_output(transform="pandas").fit(frame)
    moved = model.transform(frame)
    assert list(moved.columns) == list(model.get_feature_names_out()) == names
    assert (moved["age"] == frame["age"]).all()


def test_lambda_is_chosen_without_a_held_out_row_touching_the_gap(columns):
    x, y = columns
    model = Pipeline([("shift", modulate.LambdaShift(n_dims=6)), ("probe", LogisticRegression())])
    search = GridSearchCV(model, {"shift__lam": [0, 0.5, 1.0]}, cv=3).fit(x, y)
    assert search.best_params_["shift__lam"] in (0, 0.5, 1.0)
    folds = KFold(3)
    kept = cross_validate(model, x, y, cv=folds, return_estimator=True)["estimator"]
    for fitted, (train, _) in zip(kept, folds.split(x), strict=True):
        np.testing.assert_allclose(fitted[0].gap_, gap.gap_vector(x[train, :6], x[train, 6:12]), atol=1e-6)


# Bad input: one clear message each


@pytest.mark.parametrize("lam", [np.nan, np.inf, 1e30, -1e30, 1e7, "0.5", None, [0.1], True])
def test_refuses_a_lambda_that_is_not_a_finite_number(clouds, columns, lam):
    with pytest.raises(ValueError, match="lambda must be a finite number"):
        modulate.shift(*clouds, lam)
    with pytest.raises(ValueError, match="delta must be a finite number"):
        modulate.liang_shift(*clouds, lam)
    with pytest.raises(ValueError, match="lambda must be a finite number"):
        modulate.by_lambda(clouds[0][:30], clouds[1], [0, lam])
    with pytest.raises(ValueError, match="lambda must be a finite number"):
        modulate.LambdaShift(lam=lam, n_dims=6).fit(columns[0])


def test_refuses_what_cannot_be_moved(clouds, columns):
    image, text = clouds
    opposite = np.array([[1.0, 0]]), np.array([[-1.0, 0]])
    same = np.eye(3)[[0, 0]]
    for call, message in [
        (lambda: modulate.shift(image, text, 0.5, gap=np.ones(5)), "finite vector of length 6"),
        (lambda: modulate.shift(image, text, 0.5, gap=[np.nan] * 6), "finite vector of length 6"),
        (lambda: modulate.shift(image, text, 0.5, gap=np.full(6, 1e300)), "numbers from -1e\\+06 to 1e\\+06"),
        (lambda: modulate.shift(image, text, 0.5, gap=["a"] * 6), "finite vector of length 6, .* got <U1"),
        (lambda: modulate.centre(image, text, fit=image), "fit must be two arrays"),
        (lambda: modulate.centre(image, text, fit=3), "fit must be two arrays"),
        (lambda: modulate.by_lambda(image[:30], text, []), "at least one lambda is needed"),
        (lambda: modulate.by_lambda(image[:30], text, 0.5), "lambdas must be a sequence of numbers, got 0.5"),
        (lambda: modulate.by_lambda(image, text, [0]), "paired rows needed"),
        (lambda: modulate.by_lambda(np.eye(3), np.eye(3), [1], gap=-2 * np.eye(3)[1]), "text: row 1 is moved to the o"),
        (lambda: modulate.shift(2 * image, text, 0.5), "image: row . has norm 2, not 1"),
        (lambda: modulate.shift(*opposite, 1), "image: row 0 is moved to the origin"),
        (lambda: modulate.centre(same, same), "image: row 0 is moved to the origin"),
        (lambda: modulate.liang_shift(image, image, 0.5), "the gap has no direction"),
        (lambda: modulate.realign(same, same), "text: all rows are the same"),
        (
            lambda: modulate.realign(image, text, fit=(image[:, :3], text[:, :3])),
            "fit and rows differ in width: 3 and 6",
        ),
        (lambda: modulate.drop_gap_dims(image, text, 6), "k must be an integer between 1 and the width less one, 5"),
        (lambda: modulate.LambdaShift(n_dims=7).fit(columns[0]), "half of n_features = 13, 6, got 7"),
        (lambda: modulate.LambdaShift(n_dims=6).fit(0 * columns[0]), "image: row 0 is zero"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


def test_warns_of_columns_that_are_not_where_they_should_be(columns):
    with pytest.warns(UserWarning, match="is n_dims the width of one embedding"):
        modulate.LambdaShift(n_dims=5).fit(columns[0])

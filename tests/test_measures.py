"""Cone, gap and lambda shift: closed forms, published numbers, invariances, and what they refuse."""

import numpy as np
import pytest
from conftest import sphere
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import special_ortho_group

from gaplib import cone, gap, modulate


@pytest.fixture
def clouds():
    rng = np.random.default_rng(0)
    return sphere(rng, 40, 6, 0.8), sphere(rng, 40, 6, -0.5)


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


# Closed forms and naive definitions


def test_cone_equals_the_naive_definitions(clouds):
    x = clouds[0].astype(float)
    off = (x @ x.T)[~np.eye(len(x), dtype=bool)]
    mean = x.mean(0)
    angles = np.degrees(np.arccos(x @ mean / np.linalg.norm(mean)))
    assert cone.mean_cosine(x) == pytest.approx(off.mean(), rel=1e-6)
    assert cone.mean_resultant_length(x) == pytest.approx(np.linalg.norm(mean), rel=1e-12)
    assert cone.cone_angle(x).mean == pytest.approx(angles.mean(), rel=1e-6)
    assert cone.cone_angle(x).q95 == pytest.approx(np.quantile(angles, 0.95), rel=1e-6)


def test_gap_equals_the_naive_definitions(clouds):
    image, text = (x.astype(float) for x in clouds)
    distance = (1 - np.concatenate([image, text]) @ np.concatenate([image, text]).T) / 2
    n, off = len(image), ~np.eye(len(image), dtype=bool)
    between = np.diag(distance[:n, n:]).mean()
    within = (distance[:n, :n][off].mean() + distance[n:, n:][off].mean()) / 2
    assert gap.relative_gap(image, text) == pytest.approx(between / (between + within), rel=1e-6)
    assert gap.paired_cosine(image, text) == pytest.approx(np.mean(np.sum(image * text, 1)), rel=1e-12)
    assert gap.centroid_distance(image, text) == pytest.approx(np.linalg.norm(image.mean(0) - text.mean(0)), rel=1e-12)
    ranks = np.argsort(-(image @ text.T), axis=1)
    naive = np.mean([i in ranks[i, :3] for i in range(n)])
    assert gap.recall_at_k(image, text, 3).image_to_text == pytest.approx(naive)


def test_random_relu_layers_make_the_published_cone():
    # Liang et al. 2022, Fig. 2b, against its theory with bias: mean cosine including the diagonal.
    theory = {1: 0.3193, 2: 0.4959, 3: 0.6089, 4: 0.6880, 5: 0.7480, 10: 0.9502}
    published = {1: 0.3195, 2: 0.4943, 3: 0.6069, 4: 0.7008, 5: 0.7541, 10: 0.9477}
    rng, runs = np.random.default_rng(0), []
    for _ in range(20):  # one network is off by up to 0.03, so it takes some to test the theory
        x, curve = rng.normal(size=(256, 512)), {}
        for layer in range(1, 11):
            x = np.maximum(x @ rng.normal(size=(512, 512)) / 512**0.5 + rng.normal(size=512) / 512**0.5, 0)
            n = len(x)
            curve[layer] = (cone.mean_cosine(unit(x)) * (n - 1) + 1) / n
        runs.append(curve)
    for layer, value in theory.items():
        measured = np.mean([curve[layer] for curve in runs])
        assert measured == pytest.approx(value, abs=0.02)
        assert measured == pytest.approx(published[layer], abs=0.03)


def test_untrained_architectures_make_the_published_cones():
    # One unseeded published run: image tower .9366, text tower .4112, ResNet-18 .99928 (method.md, section 6).
    import open_clip
    import torch
    from torchvision.models import resnet18

    torch.manual_seed(0)
    clip, resnet = open_clip.create_model("ViT-B-32").eval(), resnet18().eval()
    with torch.inference_mode():
        pixels, tokens = torch.randn(24, 3, 224, 224), torch.randint(0, 49408, (48, 77))
        outputs = clip.encode_image(pixels), clip.encode_text(tokens), resnet(pixels)
    image, text, other = (cone.mean_cosine(unit(x.double().numpy())) for x in outputs)
    assert image == pytest.approx(0.94, abs=0.03)
    assert text == pytest.approx(0.41, abs=0.12)  # seeds give .37 to .50
    assert other > 0.99


def test_von_mises_fisher_samples_give_back_their_resultant_length():
    from scipy.special import ive
    from scipy.stats import vonmises_fisher

    for kappa, d in ((5, 3), (50, 16), (400, 64)):
        x = vonmises_fisher(np.eye(d)[0], kappa).rvs(20_000, random_state=np.random.default_rng(0))
        assert cone.mean_resultant_length(x) == pytest.approx(ive(d / 2, kappa) / ive(d / 2 - 1, kappa), abs=3e-3)


def six_pairs(lift, swap=True):
    """Liang et al. 2022, Fig. 3: six pairs on the sphere, the texts lifted by a polar angle."""
    azimuth = np.radians([-20, 0, 20, 40, 60, 80])
    image = np.stack([np.cos(azimuth), np.sin(azimuth), 0 * azimuth], 1)
    azimuth = azimuth[[1, 0, 2, 3, 4, 5]] if swap else azimuth
    up = np.radians(lift)
    text = np.stack([np.cos(azimuth) * np.cos(up), np.sin(azimuth) * np.cos(up), 0 * azimuth + np.sin(up)], 1)
    return image, text


@pytest.mark.parametrize(
    ("scale", "at", "distance"), [(1, 0, 0), (5, 0, 0), (35, 53, 0.864501), (50, 65, 1.025534), (100, 78, 1.179088)]
)
def test_a_low_temperature_with_mismatched_pairs_opens_the_gap(scale, at, distance):
    import torch

    from gaplib.train import contrastive_loss

    def loss(lift, swap=True):
        image, text = map(torch.from_numpy, six_pairs(lift, swap))
        return float(contrastive_loss(image, text, scale, None, "softmax"))

    published = {1: 1.547743, 5: 1.095220, 35: 0.886648, 50: 1.083448, 100: 2.014244}
    aligned = {1: 1.527640, 5: 0.994708, 35: 0.183062, 50: 0.078325, 100: 0.003998}
    losses = [loss(lift) for lift in range(91)]
    assert losses[0] == pytest.approx(published[scale], abs=1e-6)
    assert losses[90] == pytest.approx(np.log(6), abs=1e-6)
    assert int(np.argmin(losses)) == at
    assert gap.centroid_distance(*six_pairs(at)) == pytest.approx(distance, abs=1e-6)
    assert loss(0, swap=False) == pytest.approx(aligned[scale], abs=1e-6)
    assert np.argmin([loss(lift, swap=False) for lift in range(91)]) == 0


def test_gaussians_on_disjoint_coordinates_are_apart_without_any_training():
    # Zhang et al. 2024: 255 and 257 of 512 coordinates; published 1.0005, theory sqrt(514 / 512).
    rng = np.random.default_rng(0)
    pairs = rng.normal(size=(2, 4000, 512))
    pairs[0, :, 255:], pairs[1, :, :255] = 0, 0
    distance = np.linalg.norm((pairs[0] - pairs[1]) / 512**0.5, axis=1)
    assert distance.mean() == pytest.approx(1.0005, abs=2e-3)


def test_tight_cones_keep_their_precision():
    rng = np.random.default_rng(0)
    x = np.array([1.0, 0, 0, 0]) + 1e-3 * rng.normal(size=(2000, 4))
    x = unit(x)
    assert cone.cone_angle(x.astype(np.float32)).mean == pytest.approx(cone.cone_angle(x).mean, rel=1e-3)


def test_recall_shares_a_hit_among_ties():
    image, text = np.eye(4)[[0, 0, 1, 2]], np.eye(4)[[0, 0, 1, 3]]
    # The first two pairs are the same twice: half a hit each at k = 1. The last is beaten by none and ties with all.
    assert gap.recall_at_k(image, text, 1) == pytest.approx(((0.5 + 0.5 + 1 + 0.25) / 4,) * 2)
    assert gap.recall_at_k(image, text, 4) == (1, 1)


# The lambda shift


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
    np.testing.assert_array_equal(modulate.shift(*clouds, 0)[0], unit(clouds[0]))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), d=st.integers(2, 8), lam=st.floats(-1, 2))
def test_measures_ignore_rotation_order_and_the_names_of_the_modalities(seed, d, lam):
    rng = np.random.default_rng(seed)
    image, text = unit(rng.normal(size=(9, d)) + 1.5), unit(rng.normal(size=(9, d)) - 1.5)
    turn, order = special_ortho_group.rvs(d, random_state=rng), rng.permutation(9)
    for measure in (gap.centroid_distance, gap.paired_cosine, gap.relative_gap):
        value = measure(image, text)
        assert measure(image @ turn, text @ turn) == pytest.approx(value, abs=1e-9)
        assert measure(image[order], text[order]) == pytest.approx(value, abs=1e-9)
        assert measure(text, image) == pytest.approx(value, abs=1e-9)
    for measure in (cone.mean_cosine, cone.mean_resultant_length):
        assert measure((image @ turn)[order]) == pytest.approx(measure(image), abs=1e-9)
    swapped = modulate.shift(text, image, lam)
    np.testing.assert_allclose(modulate.shift(image, text, lam), swapped[::-1], atol=1e-9)


# Bad input: one clear message each


def test_refuses_what_is_not_a_cloud(clouds):
    image, text = clouds
    broken, zero = image.copy(), image.copy()
    broken[3, 0], zero[5] = np.nan, 0
    for call, message in [
        (lambda: gap.gap_vector(image, text[:, :4]), "differ in width: 6 and 4"),
        (lambda: gap.gap_vector(broken, text), "image: row 3 is not finite"),
        (lambda: gap.gap_vector(image, zero), "text: row 5 is zero"),
        (lambda: cone.mean_cosine(broken), "row 3 is not finite"),
        (lambda: gap.paired_cosine(image, text[:9]), "paired rows needed, got 40 image and 9 text"),
        (lambda: cone.mean_cosine(image[:1]), "at least 2 rows, got 1"),
        (lambda: gap.gap_vector(image[:0], text), "at least 1 row, got 0"),
        (lambda: cone.mean_cosine(image[0]), "shape \\(n, d\\)"),
        (lambda: cone.mean_cosine(np.array([["a"]])), "numeric array"),
        (lambda: gap.recall_at_k(image, text, 41), "k must be between 1 and the number of pairs, 40"),
        (lambda: cone.cone_angle(np.array([[1.0, 0], [-1.0, 0]])), "no mean direction"),
        (lambda: gap.relative_gap(np.ones((2, 1)), np.ones((2, 1))), "one point"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("lam", [np.nan, np.inf, "0.5", None, [0.1], True])
def test_refuses_a_lambda_that_is_not_a_finite_number(clouds, lam):
    with pytest.raises(ValueError, match="lambda must be a finite number"):
        modulate.shift(*clouds, lam)


def test_refuses_a_gap_of_another_width_and_a_row_moved_to_the_origin(clouds):
    with pytest.raises(ValueError, match="finite vector of length 6"):
        modulate.shift(*clouds, 0.5, gap=np.ones(5))
    with pytest.raises(ValueError, match="image: row 0 is moved to the origin"):
        modulate.shift(np.array([[1.0, 0]]), np.array([[-1.0, 0]]), 1)

"""The measures of two modalities: naive definitions, closed forms, published numbers."""

import numpy as np
import pytest
from made import sphere, unit
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist, pdist

from gaplib import gap, modulate


@pytest.fixture
def clouds():
    rng = np.random.default_rng(0)
    return sphere(rng, 40, 6, 0.8), sphere(rng, 40, 6, -0.5)


def test_gap_equals_the_naive_definitions(clouds):
    image, text = (unit(x.astype(float)) for x in clouds)
    both = np.concatenate([image, text])
    n, off = len(image), ~np.eye(len(image), dtype=bool)
    distance = (1 - both @ both.T) / 2
    between = np.diag(distance[:n, n:]).mean()
    within = (distance[:n, :n][off].mean() + distance[n:, n:][off].mean()) / 2
    assert gap.relative_gap(image, text) == pytest.approx(between / (between + within), rel=1e-12)
    assert gap.centroid_distance(image, text) == pytest.approx(np.linalg.norm(image.mean(0) - text.mean(0)), rel=1e-12)
    assert gap.paired_cosine(image, text) == pytest.approx(np.mean(np.sum(image * text, 1)), rel=1e-12)
    assert gap.paired_distance(image, text) == pytest.approx(np.diag(cdist(image, text)).mean(), rel=1e-12)
    assert gap.alignment(image, text) == pytest.approx((np.diag(cdist(image, text)) ** 2).mean(), rel=1e-12)


def test_overlap_equals_the_naive_definitions(clouds):
    image, text = unit(clouds[0].astype(float)), unit(clouds[1].astype(float))[:31]  # as many are not needed
    both, n, m = np.concatenate([image, text]), len(image), 31
    kernel = np.exp(-(cdist(both, both) ** 2) / (2 * np.median(pdist(both)) ** 2))
    inside = kernel[:n, :n][~np.eye(n, dtype=bool)].mean() + kernel[n:, n:][~np.eye(m, dtype=bool)].mean()
    # The width is the median squared distance, which is the squared median for an odd number of distances only.
    assert gap.mmd(image, text) == pytest.approx(inside - 2 * kernel[:n, n:].mean(), rel=1e-3)
    c1, c2 = np.cov(image.T), np.cov(text.T)
    apart = image.mean(0) - text.mean(0)
    frechet = apart @ apart + np.trace(c1 + c2 - 2 * sqrtm(c1 @ c2).real)
    assert gap.frechet_distance(image, text) == pytest.approx(frechet, rel=1e-9)
    cross = total = 0
    for i in range(n + m):
        near = [j for j in np.argsort(np.linalg.norm(both - both[i], axis=1)) if j != i][:3]
        cross, total = cross + sum((i < n) != (j < n) for j in near), total + 3
    assert gap.neighbour_mixing(image, text, k=3) == pytest.approx(
        cross / total / (2 * n * m / ((n + m) * (n + m - 1)))
    )


def test_recall_equals_the_naive_definition(clouds):
    image, text = clouds
    ranks = np.argsort(-(image @ text.T), axis=1)
    naive = np.mean([i in ranks[i, :3] for i in range(len(image))])
    assert gap.recall_at_k(image, text, 3).image_to_text == pytest.approx(naive)


def test_separability_and_mixing_of_one_cloud_and_of_two():
    rng = np.random.default_rng(0)
    image, text = sphere(rng, 400, 16, 0.1), sphere(rng, 300, 16, 0.1)
    assert gap.linear_separability(image, text) == pytest.approx(0.5, abs=0.08)
    assert gap.neighbour_mixing(image, text) == pytest.approx(1, abs=0.05)
    assert gap.mmd(image, text) == pytest.approx(0, abs=5e-3)
    assert gap.linear_separability(image, -text) > 0.7
    assert gap.linear_separability(sphere(rng, 400, 16, 1), sphere(rng, 300, 16, -1)) == 1
    assert gap.neighbour_mixing(sphere(rng, 400, 16, 1), sphere(rng, 300, 16, -1)) == 0


def test_the_summary_holds_every_measure_as_encoded_and_by_lambda(clouds):
    image, text = clouds
    named = gap.summary(image, text, k=3)
    table = modulate.by_lambda(image, text, [0, 0.5], measure=lambda *moved: gap.summary(*moved, k=3))
    others = {"summary", "gap_vector", "recall_at_k"}
    assert set(named.index) == {*gap.__all__, "recall_image_to_text", "recall_text_to_image"} - others
    assert list(table) == list(named.index) and len(table) == 2 and np.allclose(table.loc[0], named, atol=1e-6)
    assert table.loc[0.5, "centroid_distance"] == gap.centroid_distance(*modulate.shift(image, text, 0.5))
    assert named["recall_text_to_image"] == gap.recall_at_k(image, text, 3).text_to_image
    assert named["frechet_distance"] == gap.frechet_distance(image, text)


def test_recall_shares_a_hit_among_ties():
    image, text = np.eye(4)[[0, 0, 1, 2]], np.eye(4)[[0, 0, 1, 3]]
    # The first two pairs are the same twice: half a hit each at k = 1. The last is beaten by none and ties with all.
    assert gap.recall_at_k(image, text, 1) == pytest.approx(((0.5 + 0.5 + 1 + 0.25) / 4,) * 2)
    assert gap.recall_at_k(image, text, 4) == (1, 1)


# Closed forms


def test_gaussians_give_back_their_frechet_distance_and_mmd():
    # On so small a patch the sphere is flat, and coordinates 1.. are the Gaussians' own.
    rng, d, n, s = np.random.default_rng(0), 6, 40_000, 1e-2
    m1, m2 = s * np.array([0, 1, 0.5, 0, 0, -1]), s * np.array([0, -0.5, 0, 0.3, 0, 0])
    v1, v2 = (s * np.array([0, 1, 0.5, 2, 1, 0.2])) ** 2, (s * np.array([0, 0.3, 0.5, 1, 1.5, 1])) ** 2
    image, text = (unit(np.eye(d)[0] + m + rng.normal(size=(n, d)) * v**0.5) for m, v in ((m1, v1), (m2, v2)))
    frechet = ((m1 - m2) ** 2).sum() + (v1 + v2 - 2 * np.sqrt(v1 * v2)).sum()
    assert gap.frechet_distance(image, text) == pytest.approx(frechet, rel=0.02)

    few = 2000
    both = np.concatenate([image[:few], text[:few]])
    width = np.median(pdist(both)) ** 2

    def expected(m, v):  # E exp(-|z|^2 / (2 width)) for z ~ N(m, diag v)
        return np.prod(1 + v / width) ** -0.5 * np.exp(-0.5 * (m**2 / (width + v)).sum())

    squared = expected(0, 2 * v1) + expected(0, 2 * v2) - 2 * expected(m1 - m2, v1 + v2)
    assert gap.mmd(image[:few], text[:few]) == pytest.approx(squared, rel=0.05)


# Published numbers: method.md, section 6


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
    from train import contrastive_loss

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

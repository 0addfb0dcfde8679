"""Shared views: what is drawn of both clouds, and what moves when lambda does."""

import numpy as np
import pytest
import torch
from made import sphere, unit
from sklearn.neighbors import NearestNeighbors

from gaplib import modulate, project


@pytest.fixture
def clouds():
    rng = np.random.default_rng(0)
    return sphere(rng, 30, 24, 0.3), sphere(rng, 30, 24, -0.2)


def test_shared_axes_are_those_of_the_uncentred_rows(clouds):
    axes = project.shared_pca(*clouds, 4)
    _, _, right = np.linalg.svd(np.concatenate(clouds).astype(float), full_matrices=False)
    np.testing.assert_allclose(np.abs(axes @ right[:4].T), np.eye(4), atol=1e-5)
    np.testing.assert_allclose(axes @ axes.T, np.eye(4), atol=1e-6)
    assert (axes[np.arange(4), np.abs(axes).argmax(1)] > 0).all()


def test_the_sphere_keeps_directions(clouds):
    axes = project.shared_pca(*clouds)
    at = project.to_sphere(clouds[0], axes)
    np.testing.assert_allclose(at, unit(clouds[0] @ axes.T), atol=1e-6)
    np.testing.assert_array_equal(project.to_sphere(torch.from_numpy(clouds[0]), axes), at)
    assert np.isfinite(project.to_sphere(np.zeros((1, 24)), axes)).all()


def test_geodesics_stay_on_the_sphere_and_turn_evenly():
    start, end = unit(np.random.default_rng(0).normal(size=(2, 9, 3)).reshape(18, 3)).reshape(2, 9, 3)
    arcs = project.geodesic(start, end, 7)
    np.testing.assert_allclose(np.linalg.norm(arcs, axis=2), 1)
    np.testing.assert_allclose(arcs[:, [0, -1]], np.stack([start, end], 1), atol=1e-12)
    turns = np.einsum("ijk,ijk->ij", arcs[:, 1:], arcs[:, :-1])
    np.testing.assert_allclose(turns, np.cos(np.arccos((start * end).sum(1)) / 6)[:, None].repeat(6, 1), atol=1e-9)
    np.testing.assert_allclose(project.geodesic(start, start, 3)[:, 1], start)


@pytest.fixture(scope="module")
def through_lambda():
    """Two cones of pairs that share a third of their directions, their UMAP through lambda, and one UMAP a lambda."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=(80, 12))
    image, text = (common + 0.3 * rng.normal(size=(80, 12)) + 2 * mean for mean in rng.normal(size=(2, 12)))
    image, text = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (image, text))
    lams = [0.0, 0.5, 1.0]
    apart = [np.stack(project.umap(*modulate.shift(image, text, lam))) for lam in lams]
    return image, text, project.umap_by_lambda(image, text, lams), np.stack(apart)


@pytest.mark.slow
def test_umap_through_lambda_shows_movement_and_not_refitting(through_lambda):
    image, text, (lams, at), apart = through_lambda
    assert lams == [0.0, 0.5, 1.0] and at.shape == apart.shape == (3, 2, 80, 2)

    def step(views):
        return np.median(np.linalg.norm(np.diff(views, axis=0), axis=-1)) / views.std((0, 1, 2)).mean()

    assert step(at) < 0.75 * step(apart)


@pytest.mark.slow
def test_umap_through_lambda_mixes_where_the_rows_do(through_lambda):
    image, text, (lams, at), _ = through_lambda
    rows = [np.concatenate(modulate.shift(image, text, lam)) for lam in lams]
    there, seen = ([mixed(x) for x in views] for views in (rows, at.reshape(len(lams), -1, 2)))
    assert there[0] < 0.05 and there[-1] > 0.25  # apart as encoded, mixed once the centroids meet
    np.testing.assert_allclose(seen, there, atol=0.15)


def mixed(x):
    """Share of the other modality among the ten nearest neighbours."""
    index = NearestNeighbors(n_neighbors=10).fit(x).kneighbors(return_distance=False)
    half = len(x) // 2
    return float(((index < half) != (np.arange(len(x)) < half)[:, None]).mean())


def test_views_refuse_what_they_cannot_draw(clouds):
    image, text = clouds
    for lams in ([0.5], [0.0, 0.0], [1.0, 0.0]):
        with pytest.raises(ValueError, match="at least two, in rising order"):
            project.umap_by_lambda(image, text, lams)
    for call, message in [
        (lambda: project.umap_by_lambda(image[:15], text[:15], [0, 1]), "at least 16 rows, got 15"),
        (lambda: project.umap_by_lambda(image, text, []), "at least one lambda is needed"),
        (lambda: project.umap_by_lambda(image, text, [0, 1], seed=-1), "seed must be an integer"),
        (lambda: project.umap(image, text, seed=1.5), "seed must be an integer"),
        (lambda: project.umap(image[:1], text[:1]), "at least 2 rows, got 1"),
        (lambda: project.shared_pca(image, text, 25), "n_components must be an integer between 1 and the width, 24"),
        (lambda: project.shared_pca(image, text[:, :9]), "differ in width: 24 and 9"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()

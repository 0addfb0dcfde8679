"""The measures of one modality: naive definitions, closed forms, published numbers."""

import numpy as np
import pytest
from made import sphere, unit, vmf
from scipy.spatial.distance import cdist
from scipy.special import ive
from scipy.stats import special_ortho_group

from gaplib import cone


@pytest.fixture
def clouds():
    rng = np.random.default_rng(0)
    return sphere(rng, 40, 6, 0.8), sphere(rng, 40, 6, -0.5)


def test_cone_equals_the_naive_definitions(clouds):
    x = unit(clouds[0].astype(float))
    n, d = x.shape
    off = ~np.eye(n, dtype=bool)
    mean = x.mean(0)
    r = np.linalg.norm(mean)
    angles = np.degrees(np.arccos(x @ mean / r))
    assert cone.mean_cosine(x) == pytest.approx((x @ x.T)[off].mean(), rel=1e-12)
    assert cone.mean_resultant_length(x) == pytest.approx(r, rel=1e-12)
    assert cone.spherical_variance(x) == pytest.approx(1 - r, rel=1e-12)
    assert cone.vmf_kappa(x) == pytest.approx(r * (d - r**2) / (1 - r**2), rel=1e-12)
    assert cone.cone_angle(x) == pytest.approx((angles.mean(), np.quantile(angles, 0.95)), rel=1e-9)
    assert cone.uniformity(x) == pytest.approx(np.log(np.exp(-2 * cdist(x, x) ** 2)[off].mean()), rel=1e-12)
    singular = np.linalg.svd(x - mean, compute_uv=False)
    p, e = singular / singular.sum(), np.linalg.eigvalsh(np.cov(x.T))
    assert cone.effective_rank(x) == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-12)
    assert cone.participation_ratio(x) == pytest.approx(e.sum() ** 2 / (e**2).sum(), rel=1e-12)
    defect = np.linalg.norm(d**0.5 * e / np.linalg.norm(e) - 1) / np.sqrt(2 * (d - d**0.5))
    score = ((d - defect**2 * (d - d**0.5)) ** 2 - d) / (d * (d - 1))
    assert cone.iso_score(x) == pytest.approx(score, rel=1e-12)


def test_the_summary_holds_every_measure(clouds):
    summary = cone.summary(clouds[0])
    assert set(summary.index) == {*cone.__all__, "cone_angle_mean", "cone_angle_q95"} - {"summary", "cone_angle"}
    assert summary["cone_angle_q95"] == cone.cone_angle(clouds[0]).q95


# Closed forms


@pytest.mark.parametrize(("k", "d"), [(1, 8), (2, 3), (5, 16), (16, 16), (60, 128)])
def test_isotropic_directions_are_counted(k, d):
    turn = special_ortho_group.rvs(d, random_state=0)
    x = np.concatenate([turn[:k], -turn[:k]])  # variance 1 / k along k directions
    assert cone.iso_score(x) == pytest.approx((k - 1) / (d - 1), abs=1e-9)
    assert cone.effective_rank(x) == pytest.approx(k, rel=1e-6)
    assert cone.participation_ratio(x) == pytest.approx(k, rel=1e-9)
    assert cone.effective_rank(x.astype(np.float32)) == pytest.approx(k, rel=1e-2)


@pytest.mark.parametrize(("kappa", "d"), [(5, 3), (50, 16), (400, 64), (1e6, 16)])
def test_von_mises_fisher_samples_give_back_their_concentration(kappa, d):
    x = vmf(kappa, d, 20_000)
    r = ive(d / 2, kappa) / ive(d / 2 - 1, kappa)
    assert cone.mean_resultant_length(x) == pytest.approx(r, abs=3e-3)
    assert cone.spherical_variance(x) == pytest.approx(1 - r, rel=0.02)
    assert cone.vmf_kappa(x) == pytest.approx(kappa, rel=0.06)  # an approximation: 5 % off for kappa 5 in 3 dimensions
    assert cone.mean_cosine(x) == pytest.approx(r**2, abs=3e-3)


# Published numbers: method.md, section 6


def relu_c(c):
    """Cosine after a wide random ReLU layer, from the cosine before it."""
    return (np.sqrt(1 - c**2) + c * (np.pi - np.arccos(c))) / np.pi


@pytest.mark.parametrize("bias", [0, 1])
def test_random_relu_layers_follow_their_theory(bias):
    if bias:
        published = {1: 0.3193, 2: 0.4959, 3: 0.6089, 4: 0.6880, 5: 0.7480, 10: 0.9502}
    else:
        published = {1: 0.3183, 2: 0.4937, 3: 0.6048, 4: 0.6810, 5: 0.7359, 10: 0.8715, 25: 0.9629}
    m, c, theory = 1.0, 0.0, {}
    for layer in range(1, 26):
        q = m + bias / 512
        c, m = relu_c(min((m * c + bias / 512) / q, 1)), q / 2
        theory[layer] = c
    assert {layer: round(theory[layer], 4) for layer in published} == published

    rng, runs = np.random.default_rng(0), []
    for _ in range(20):  # one network is off by up to 0.03, so it takes some to test the theory
        x, curve = rng.normal(size=(256, 512)), {}
        for layer in range(1, 26):
            x = np.maximum(x @ rng.normal(size=(512, 512)) / 512**0.5 + bias * rng.normal(size=512) / 512**0.5, 0)
            curve[layer] = cone.mean_cosine(unit(x))
        runs.append(curve)
    for layer, value in published.items():
        assert np.mean([curve[layer] for curve in runs]) == pytest.approx(value, abs=0.02)
    if bias:  # one unseeded published run, diagonal included
        for layer, value in {
            1: 0.3195,
            2: 0.4943,
            3: 0.6069,
            4: 0.7008,
            5: 0.7541,
            10: 0.9477,
            15: 0.9980,
            25: 0.999997,
        }.items():
            assert np.mean([(curve[layer] * 1023 + 1) / 1024 for curve in runs]) == pytest.approx(value, abs=0.025)


@pytest.mark.slow
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

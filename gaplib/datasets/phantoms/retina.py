"""Draw a generated photograph of the fundus from its facts (see `phantoms.fundus`). Never for clinical use.

A picture is a stack of stains on the back of a right eye; a left eye is its mirror image. Three stains absorb light
(blood, melanin, shade: their optical densities add up), four cover (grey, yellow, white, gleam: opacity from 0 to 1).
Coordinates run from -1 to 1, x to the viewer's right and y downwards; 1 is 22.5 degrees of the field, so that the disc
is about an eighth of the picture wide and lies 15 degrees nasal of the fovea.
"""

import io
import math
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIZE = 96  # pixels of a picture
FINE = 4  # how many times finer lines are drawn
STAINS = ("blood", "melanin", "shade", "grey", "yellow", "white", "gleam")
# Absorption of red, green and blue by blood, melanin and shade.
ABSORPTION = np.array([[0.42, 0.62, 0.75], [1.50, 0.95, 0.90], [1.30, 1.00, 0.90]], np.float32)
COVER = {
    "grey": (0.56, 0.48, 0.36),
    "yellow": (0.98, 0.83, 0.42),
    "white": (0.97, 0.90, 0.74),
    "gleam": (1.0, 0.70, 0.45),
}
CHOROID = np.array([0.97, 0.55, 0.27], np.float32)  # what a fundus without pigment reflects

AXIS = np.linspace(-1, 1, SIZE, dtype=np.float32)
X, Y = np.meshgrid(AXIS, AXIS)
RADIUS = np.hypot(X, Y)


def draw(facts: dict, rng: np.random.Generator) -> bytes:
    """PNG bytes of one photograph, SIZE x SIZE, RGB; `rng` supplies places and texture."""
    layers = dict(zip(STAINS, np.zeros((len(STAINS), SIZE, SIZE), np.float32), strict=True))
    _ground(layers, facts, rng)
    _macula(layers, facts, rng)
    _disc(layers, facts, rng)
    _deep(layers, facts, rng)
    trunks = _vessels(layers, facts, rng)
    _lesions(layers, facts, rng, trunks)
    picture = develop(layers)
    return _photograph(picture if facts["eye"] == "right" else picture[:, ::-1], facts, rng)


def develop(layers: dict) -> np.ndarray:
    """RGB of the stains, float32 of shape (SIZE, SIZE, 3) in 0 to 1: Beer and Lambert's law, then opacity."""
    density = np.stack([layers[name] for name in STAINS[:3]]).reshape(3, -1)
    rgb = CHOROID[:, None] * np.exp(-(ABSORPTION @ density))
    for name, colour in COVER.items():
        opacity = np.clip(layers[name].reshape(-1), 0, 0.96)
        rgb += opacity * (np.array(colour, np.float32)[:, None] - rgb)
    return rgb.T.reshape(SIZE, SIZE, 3)


@lru_cache
def _upsampler(cells: int) -> np.ndarray:
    """Matrix of shape (SIZE, cells) that spreads cell values by Gaussians about a cell wide."""
    centre = np.linspace(-0.5, cells - 0.5, SIZE, dtype=np.float32)
    weight = np.exp(-(((centre[:, None] - np.arange(cells)) / 0.85) ** 2))
    return (weight / np.sqrt((weight**2).sum(1, keepdims=True))).astype(np.float32)


def noise(rng: np.random.Generator, cells: int) -> np.ndarray:
    """Smooth noise of unit variance with about `cells` blobs along a side."""
    up = _upsampler(cells)
    return up @ rng.standard_normal((cells, cells), np.float32) @ up.T


def _hill(x: float, y: float, width: float, height: float | None = None) -> np.ndarray:
    """A round hill of height 1."""
    return np.exp(-(((X - x) / width) ** 2) - ((Y - y) / (height or width)) ** 2)


def _plate(x: float, y: float, width: float, height: float, edge: float, ragged: np.ndarray | float = 0) -> np.ndarray:
    """A filled ellipse, 1 inside, whose border is `edge` wide in radii."""
    distance = np.sqrt(((X - x) / width) ** 2 + ((Y - y) / height) ** 2) + ragged
    return np.clip((1 - distance) / edge + 0.5, 0, 1)


def spots(x: np.ndarray, y: np.ndarray, radius: np.ndarray, sharpness: float = 2.0) -> np.ndarray:
    """Union of round spots: 1 in the middle, 0 outside; more `sharpness` gives flatter, crisper spots."""
    if not len(x):
        return np.float32(0)
    across = np.exp(-(((AXIS - x[:, None]) / radius[:, None]) ** 2))
    down = np.exp(-(((AXIS - y[:, None]) / radius[:, None]) ** 2))
    return np.clip(sharpness * (down.T @ across) - 0.37 * (sharpness - 1), 0, 1).astype(np.float32)


def _ring(rng: np.random.Generator, n: int, x: float, y: float, radius: float, spread: float) -> tuple:
    """Places of `n` spots about a ring."""
    angle = rng.uniform(0, 2 * math.pi, n)
    away = radius + spread * rng.standard_normal(n)
    return x + away * np.cos(angle), y + away * np.sin(angle)


def _ground(layers: dict, facts: dict, rng: np.random.Generator) -> None:
    """Pigment, the choroid's mottling, tessellation, and the sheen of a young retina."""
    layers["melanin"] += 0.16 + 0.42 * facts["pigment"] + 0.020 * noise(rng, 20) + 0.035 * noise(rng, 6)
    layers["shade"] += 0.10 + 0.24 * RADIUS**2
    if facts["tessellated"] > 0:
        bands = np.abs(noise(rng, 15)) + 0.5 * np.abs(noise(rng, 24))
        layers["melanin"] += 0.42 * facts["tessellated"] * (0.55 - np.minimum(bands, 1.1))
    years = facts["age"] / 100
    layers["gleam"] += max(0.30 - 0.8 * years, 0) * np.clip(0.4 + 0.8 * noise(rng, 7), 0, 1) * (RADIUS < 0.8)


def _macula(layers: dict, facts: dict, rng: np.random.Generator) -> None:
    """The dark macula and, in the young, the reflex of its pit and rim."""
    x, y = facts["fovea"]
    layers["melanin"] += (0.22 + 0.1 * facts["pigment"]) * _hill(x, y, 0.30, 0.26) + 0.16 * _hill(x, y, 0.10)
    layers["shade"] += 0.12 * _hill(x, y, 0.16)
    reflex = max(0.9 - facts["age"] / 50, 0) * (1 - facts["edema"])
    if reflex > 0:
        layers["white"] += 0.6 * reflex * _hill(x, y, 0.025)
        rim = np.hypot((X - x) / 0.24, (Y - y) / 0.19)
        layers["gleam"] += 0.5 * reflex * np.exp(-(((rim - 1) / 0.13) ** 2))


def _disc(layers: dict, facts: dict, rng: np.random.Generator) -> None:
    """The optic disc with its cup, and the crescent of a myopic eye."""
    x, y = facts["disc"]
    wide = facts["disc_size"] * 0.93
    high = facts["disc_size"] * 1.04
    if facts["myopic"]:
        layers["white"] += 0.8 * _plate(x - 0.35 * wide, y, 1.35 * wide, 1.25 * high, 0.25)
    for stain in ("melanin", "shade"):
        layers[stain] *= 1 - 0.75 * _plate(x, y, wide, high, 0.3)
    rim = _plate(x, y, wide, high, 0.22)
    layers["gleam"] += 0.75 * rim
    layers["melanin"] += 0.10 * (_plate(x, y, 1.22 * wide, 1.18 * high, 0.3) - rim)
    cup = facts["cup"]
    layers["white"] += 0.95 * _plate(x - 0.05 * wide, y, cup * wide, cup * high, 0.4)
    if facts["pale_disc"]:
        layers["white"] += 0.7 * rim


def _deep(layers: dict, facts: dict, rng: np.random.Generator) -> None:
    """What lies below the vessels: drusen, atrophy, scars, a nevus, a detachment, nerve fibres."""
    x, y = facts["fovea"]
    if n := facts["drusen"]:
        places = rng.normal((x, y), (0.24, 0.20), (n, 2)).T
        soft = spots(*places, 0.022 * rng.lognormal(0, 0.35, n), 2.2)
        layers["yellow"] += 0.62 * soft
    if facts["amd"]:
        ragged = 0.25 * noise(rng, 9)
        atrophy = _plate(x, y, *rng.uniform(0.14, 0.24, 2), 0.25, ragged)
        layers["melanin"] += 0.5 * np.clip(noise(rng, 14), 0, 1) * _hill(x, y, 0.3)
        layers["yellow"] += 0.55 * atrophy
    for scar in facts["scars"]:
        _scar(layers, scar, rng)
    if facts["nevus"]:
        place = _away(rng, 0.62)
        layers["grey"] += 0.75 * _plate(*place, *rng.uniform(0.10, 0.18, 2), 0.4, 0.08 * noise(rng, 8))
        layers["shade"] += 0.35 * _plate(*place, 0.15, 0.15, 0.5)
    if facts["detached"]:
        angle = rng.uniform(0, 6.28)
        edge = math.cos(angle) * X + math.sin(angle) * Y + 0.10 * noise(rng, 5)
        layers["grey"] += np.clip(4 * (edge - 0.25), 0, 0.8) * (0.8 + 0.2 * np.cos(14 * edge))
    if facts["fibres"]:
        x, y = facts["disc"]
        layers["white"] += 0.9 * _plate(x, y - 0.2, 0.09, 0.18, 0.5, 0.25 * np.abs(noise(rng, 22)))


def _scar(layers: dict, scar: tuple, rng: np.random.Generator) -> None:
    """Bare sclera inside a clumped dark border."""
    x, y, size = scar
    ragged = 0.20 * noise(rng, 10)
    outer = _plate(x, y, 1.25 * size, 1.15 * size, 0.25, ragged)
    inner = _plate(x, y, 0.9 * size, 0.85 * size, 0.35, ragged)
    layers["white"] += 0.85 * inner
    layers["melanin"] += 1.6 * np.clip(outer - inner, 0, 1) * np.clip(0.7 + 0.6 * noise(rng, 16), 0, 1.4)
    layers["shade"] += 2.2 * inner * np.clip(noise(rng, 16) - 0.8, 0, 1)


def _away(rng: np.random.Generator, far: float) -> tuple[float, float]:
    """A place `far` or less from the middle of the field, and neither disc nor fovea."""
    angle = rng.uniform(0, 2 * math.pi)
    distance = far * rng.uniform(0.65, 1)
    return -0.1 + distance * math.cos(angle), distance * math.sin(angle)


# The trunks of the central vessels: which way they leave the disc (1 nasal, -1 temporal; -1 up, 1 down), how they bow.
TRUNKS = ((-1, -1, 0.80), (-1, 1, 0.80), (1, -1, 0.62), (1, 1, 0.62))


def _vessels(layers: dict, facts: dict, rng: np.random.Generator) -> list:
    """Arteries and veins into the stain `blood`; their trunks are given back as lists of points."""
    trunks = []
    for kind, wide, amount in (("artery", 4.0 * facts["artery"], 0.80), ("vein", 5.2 * facts["vein"], 1.30)):
        image = Image.new("L", (FINE * SIZE, FINE * SIZE))
        pen = ImageDraw.Draw(image)
        for away, up, bow in TRUNKS:
            path = _trunk(facts, rng, away, up, bow + (0.03 if kind == "artery" else -0.03))
            trunks.append((up, path))
            _line(pen, path, wide if away < 0 else 0.75 * wide, facts["beading"] * (kind == "vein"))
            for twig in _twigs(facts, rng, path, wide):
                _line(pen, *twig)
        layers["blood"] += amount * np.asarray(image.reduce(FINE), np.float32) / 255
    if facts["new_vessels"]:
        x, y = facts["disc"] if rng.random() < 0.5 else _away(rng, 0.6)
        net = Image.new("L", (FINE * SIZE, FINE * SIZE))
        pen = ImageDraw.Draw(net)
        for _ in range(rng.integers(8, 16)):
            _line(pen, _walk(rng, x, y, rng.uniform(0, 6.28), 7, 0.9, 0.035), 2)
        layers["blood"] += 1.0 * np.asarray(net.reduce(FINE), np.float32) / 255
    return trunks


def _trunk(facts: dict, rng: np.random.Generator, away: int, up: int, bow: float) -> list:
    """Points of one trunk: a temporal one arches about the macula, a nasal one runs out nearly straight."""
    x, y = facts["disc"]
    bow *= facts["arcade"] * rng.uniform(0.92, 1.08)
    phase = rng.uniform(0, 6.28)
    swing = 0.018 * facts["tortuous"]
    path = []
    for step in range(17):
        s = step / 16 * (1.55 if away < 0 else 0.75)
        rise = bow * math.sqrt(s) * (1 - 0.16 * s) if away < 0 else bow * s**0.75
        wave = swing * math.sin(11 * s + phase) + 0.6 * swing * math.sin(23 * s + 2 * phase)
        path.append((x + away * s * (0.95 if away < 0 else 0.8), y + up * (rise + wave)))
    return path


def _twigs(facts: dict, rng: np.random.Generator, path: list, wide: float) -> list:
    """Branches of a trunk as (points, width): outwards into the periphery, and thinner ones towards the macula."""
    twigs = []
    for at in rng.choice(np.arange(2, 15), 5, replace=False).tolist():
        x0, y0 = path[at]
        x1, y1 = path[at + 1]
        along = math.atan2(y1 - y0, x1 - x0)
        turn = rng.choice((-1, 1)) * rng.uniform(0.5, 0.9)
        twig = _walk(rng, x0, y0, along + turn, 9, 0.16 * facts["tortuous"], 0.06)
        fovea = facts["fovea"]
        twig = [p for p in twig if math.dist(p, fovea) > 0.17]
        thin = wide * (0.62 - 0.02 * at)
        twigs.append((twig, thin))
        x, y = twig[len(twig) // 2] if twig else (x0, y0)
        fork = _walk(rng, x, y, along + 0.4 * turn, 6, 0.16 * facts["tortuous"], 0.05)
        twigs.append(([p for p in fork if math.dist(p, fovea) > 0.17], 0.7 * thin))
    return twigs


def _walk(
    rng: np.random.Generator, x: float, y: float, heading: float, steps: int, wander: float, stride: float
) -> list:
    """Points of a random walk that keeps its heading up to `wander` (radians a step)."""
    path = [(x, y)]
    for turn in (wander * rng.standard_normal(steps)).tolist():
        heading += turn
        x += stride * math.cos(heading)
        y += stride * math.sin(heading)
        path.append((x, y))
    return path


def _line(pen: ImageDraw.ImageDraw, path: list, wide: float, beading: float = 0) -> None:
    """A vessel that tapers along its points, a few of them at a time; thinner than a line means paler."""
    points = [((x + 1) * FINE * SIZE / 2, (y + 1) * FINE * SIZE / 2) for x, y in path]
    for i in range(0, len(points) - 1, 3):
        width = wide * (1 - 0.45 * i / len(points)) * (1 + beading * (i % 2))
        pen.line(points[i : i + 4], 255 if width >= 1.5 else 190, max(1, round(width)))


def _lesions(layers: dict, facts: dict, rng: np.random.Generator, trunks: list) -> None:
    """What lies on top: microaneurysms, haemorrhages, exudates, cotton wool, laser scars."""
    if n := facts["aneurysms"]:
        places = rng.normal((-0.1, 0), 0.38, (n, 2)).T
        layers["blood"] += 1.0 * spots(*places, np.full(n, 0.016), 1.6)
    if n := facts["blots"]:
        places = rng.normal((-0.1, 0), 0.45, (n, 2)).T
        layers["blood"] += 1.9 * spots(*places, 0.030 * rng.lognormal(0, 0.35, n), 3.0)
    _flames(layers, facts, rng, trunks)
    for _ in range(facts["exudates"]):
        centre = rng.normal(facts["fovea"], 0.22)
        n = rng.integers(8, 22)
        places = _ring(rng, n, *centre, rng.uniform(0.03, 0.13), 0.03)
        layers["yellow"] += 1.1 * spots(*places, 0.016 * rng.lognormal(0, 0.3, n), 3.0)
    if n := facts["wool"]:
        picked = [trunks[i][1][j] for i, j in zip(rng.integers(4, size=n), rng.integers(4, 12, n), strict=True)]
        places = np.array(picked).T + 0.06 * rng.standard_normal((2, n))
        layers["white"] += 0.75 * spots(*places, 0.045 * rng.lognormal(0, 0.2, n), 1.2)
    if facts["edema"]:
        _edema(layers, facts, rng)
    if facts["boat"]:
        x = rng.uniform(-0.4, 0.1)
        y = rng.uniform(0.15, 0.45)
        layers["blood"] += 2.6 * _plate(x, y, 0.22, 0.13, 0.2) * np.clip((Y - y) * 30 + 1, 0, 1)
    if n := facts["laser"]:
        _laser(layers, rng, n)


def _edema(layers: dict, facts: dict, rng: np.random.Generator) -> None:
    """A swollen, greyish macula in a ring of exudates."""
    x, y = facts["fovea"]
    layers["grey"] += 0.30 * facts["edema"] * _plate(x, y, 0.2, 0.18, 0.6)
    n = rng.integers(10, 30)
    places = _ring(rng, n, x, y, 0.15, 0.04)
    layers["yellow"] += 1.0 * spots(*places, 0.017 * rng.lognormal(0, 0.3, n), 2.6)


def _flames(layers: dict, facts: dict, rng: np.random.Generator, trunks: list) -> None:
    """Haemorrhages in the nerve fibre layer, streaks along the vessels; those of an occlusion fill one sector."""
    if not facts["flames"] and not facts["occluded"]:
        return
    image = Image.new("L", (FINE * SIZE, FINE * SIZE))
    pen = ImageDraw.Draw(image)
    sector = trunks[int(facts["occluded"] == "below")][1]
    paths = [trunks[i][1] for i in rng.integers(4, size=facts["flames"])]
    paths += [sector] * (45 if facts["occluded"] else 0)
    for path in paths:
        at = int(rng.integers(1, 13))
        x0, y0 = path[at]
        x1, y1 = path[at + 1]
        spread = 0.10 if facts["occluded"] else 0.05
        x, y = (x0, y0) + spread * rng.standard_normal(2)
        heading = math.atan2(y1 - y0, x1 - x0) + 0.25 * rng.standard_normal()
        _line(pen, _walk(rng, x, y, heading, 2, 0.1, 0.5 * rng.uniform(0.03, 0.11)), rng.uniform(3, 8))
    layers["blood"] += 1.9 * np.asarray(image.reduce(FINE), np.float32) / 255


def _laser(layers: dict, rng: np.random.Generator, n: int) -> None:
    """Scars of panretinal photocoagulation: pale round burns in the periphery, some with a dark middle."""
    angle = rng.uniform(0, 2 * math.pi, n)
    away = np.sqrt(rng.uniform(0.55**2, 0.98**2, n))
    places = away * np.cos(angle), away * np.sin(angle)
    layers["yellow"] += 0.42 * spots(*places, np.full(n, 0.036), 2.0)
    dark = rng.random(n) < 0.5
    layers["melanin"] += 1.3 * spots(places[0][dark], places[1][dark], np.full(dark.sum(), 0.022), 2)


def _photograph(picture: np.ndarray, facts: dict, rng: np.random.Generator) -> bytes:
    """One photograph: aim, focus, haze, light, aperture and noise differ from one to the next."""
    image = Image.fromarray((255 * np.clip(picture, 0, 1)).astype(np.uint8))
    shift = rng.uniform(-2, 2, 2)
    turn = math.radians(rng.uniform(-6, 6))
    matrix = _turned(turn, rng.uniform(1.02, 1.10), shift)
    image = image.transform((SIZE, SIZE), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    haze = facts["haze"]
    if haze > 0.2:
        image = image.filter(ImageFilter.GaussianBlur(1.3 * haze))
    rgb = np.asarray(image, np.float32) / 255
    rgb += 0.35 * haze * (np.array([0.72, 0.56, 0.36], np.float32) - rgb)
    light = rng.normal(1, 0.07) + 0.06 * rng.normal() * X + 0.06 * rng.normal() * Y
    if rng.random() < 0.12:  # a flare from the edge of a small pupil
        angle = rng.uniform(0, 6.28)
        light = light + 0.9 * np.clip(math.cos(angle) * X + math.sin(angle) * Y - 0.55, 0, 1)
    rgb *= light[..., None] * rng.normal(1, 0.02, 3).astype(np.float32)
    rgb += 0.012 * rng.standard_normal((SIZE, SIZE, 1), np.float32)
    aperture = np.clip((facts["aperture"] - RADIUS) * SIZE / 3 + 0.5, 0, 1) * (np.abs(Y) < facts["cut"])
    file = io.BytesIO()
    rgb = 255 * np.clip(rgb * aperture[..., None] + 0.012, 0, 1)
    Image.fromarray(rgb.astype(np.uint8)).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _turned(turn: float, zoom: float, shift: np.ndarray) -> tuple:
    """Coefficients of Pillow's affine transform: a turn and a zoom about the middle, then a shift in pixels."""
    a = math.cos(turn) / zoom
    b = math.sin(turn) / zoom
    middle = SIZE / 2
    left = middle + shift[0] - a * middle - b * middle
    top = middle + shift[1] + b * middle - a * middle
    return a, b, left, -b, a, top

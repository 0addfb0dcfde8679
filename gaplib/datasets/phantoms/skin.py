"""Skin, hair and camera of the phantom lesions: what shows the patient, not the diagnosis.

A picture is a stack of stains on a square of skin, `CANVAS` pixels wide, somewhat larger than a photograph.
Three stains absorb light (melanin, blood, shade: their optical densities add up), three cover (blue, keratin,
white: opacity from 0 to 1). Lengths are in half photograph widths: a photograph spans -1 to 1.
"""

import io
import math
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIZE, CANVAS = 96, 128
STAINS = ("melanin", "blood", "shade", "blue", "keratin", "white")
# Absorption of red, green and blue by melanin, blood and shade.
ABSORPTION = np.array([[0.52, 0.13, 0.85], [0.88, 0.78, 1.0], [1.18, 0.66, 1.05]], np.float32)
COVER = {"blue": (0.40, 0.46, 0.58), "keratin": (0.80, 0.60, 0.32), "white": (0.95, 0.89, 0.87)}
PALE_SKIN = np.array([0.93, 0.78, 0.72], np.float32)

AXIS = ((np.arange(CANVAS) - (CANVAS - 1) / 2) / (SIZE / 2)).astype(np.float32)
X, Y = np.meshgrid(AXIS, AXIS)
PHOTO_X, PHOTO_Y = np.meshgrid(*[np.linspace(-1, 1, SIZE, dtype=np.float32)] * 2)
PHOTO_RADIUS = np.hypot(PHOTO_X, PHOTO_Y)

# What each body site adds to plain skin: signs (see SIGNS), shifts of colour, and hairs (the mean
# number on a photograph of a man; women carry a sixth of it; the scalp has its own).
SITES = {
    "back": {"rhomboid": 1.0, "melanin": 0.10, "hair": 7},
    "lower extremity": {"scaling": 1.0, "hair": 12},
    "trunk": {"cherry": 1.0, "melanin": 0.04, "hair": 8},
    "upper extremity": {"follicles": 1.0, "hair": 10},
    "abdomen": {"striae": 1.0, "hair": 9},
    "face": {"pores": 1.0, "blood": 0.22, "hair": 6},
    "chest": {"freckles": 1.2, "blood": 0.16, "hair": 16},
    "foot": {"ridges": 1.0, "keratin": 0.22, "hair": 1},
    "acral": {"ridges": 1.0, "sweat": 1.0, "blood": 0.20, "hair": 0},
    "hand": {"ridges": 0.45, "veins": 1.0, "blood": 0.10, "hair": 5},
    "neck": {"folds": 0.7, "blood": 0.16, "melanin": 0.10, "hair": 7},
    "ear": {"rim": 1.0, "blood": 0.30, "hair": 4},
    "scalp": {"hair": 0},
    "genital": {"mottle": 1.0, "folds": 0.4, "melanin": 0.45, "blood": 0.15, "hair": 5},
    "unknown": {"hair": 7},
}


def blank():
    """Stains of clean skin: a dict of float32 arrays of shape (CANVAS, CANVAS), all zero."""
    return dict(zip(STAINS, np.zeros((len(STAINS), CANVAS, CANVAS), np.float32), strict=True))


@lru_cache
def _upsampler(cells):
    """Matrix of shape (CANVAS, cells) that spreads cell values by Gaussians about a cell wide."""
    centre = np.linspace(-0.5, cells - 0.5, CANVAS, dtype=np.float32)
    weight = np.exp(-(((centre[:, None] - np.arange(cells)) / 0.85) ** 2))
    return (weight / np.sqrt((weight**2).sum(1, keepdims=True))).astype(np.float32)


def noise(rng, cells):
    """Smooth noise of unit variance with about `cells` blobs along a side."""
    up = _upsampler(cells)
    return up @ rng.standard_normal((cells, cells), np.float32) @ up.T


def stripes(rng, period, angle, warp=0.1, cells=4):
    """Wavy parallel lines: 1 on a line, 0 between."""
    along = math.cos(angle) * X + math.sin(angle) * Y + warp * noise(rng, cells)
    return 0.5 + 0.5 * np.cos(2 * math.pi / period * along + rng.uniform(0, 6.28))


def crossed(rng, period, opening, warp):
    """Two sets of wavy lines that cross at an angle of `opening`."""
    angle = rng.uniform(0, 3.14)
    return np.maximum(stripes(rng, period, angle, warp), stripes(rng, period, angle + opening, warp))


def honeycomb(rng, period, warp=0.05):
    """Warped hexagonal lattice of three plane waves: -0.5 on the mesh, 1 in the middle of a hole."""
    turn = rng.uniform(0, 3.14)
    k = 2 * math.pi / period
    x = X + warp * noise(rng, 6)
    y = Y + warp * noise(rng, 6)
    waves = [np.cos(k * math.cos(a) * x + k * math.sin(a) * y) for a in (turn, turn + 1.0472, turn + 2.0944)]
    return (waves[0] + waves[1] + waves[2]) / 3


def spots(x, y, radius, sharpness=1.0):
    """Union of round spots: 1 in the middle, 0 outside; more `sharpness` gives flatter, crisper spots."""
    offsets = (np.stack([x, y])[..., None] - AXIS) / radius[:, None]
    across, down = np.exp(-(offsets.astype(np.float32) ** 2))
    return np.clip((down.T @ across) * sharpness - 0.37 * (sharpness - 1), 0, 1)


def scattered(rng, count, radius, sharpness=1.0, reach=1.3):
    """About `count` spots of about `radius`, anywhere within `reach`."""
    count = rng.poisson(count)
    if not count:
        return np.float32(0)
    place = rng.uniform(-reach, reach, (2, count))
    return spots(*place, radius * rng.lognormal(0, 0.3, count), sharpness)


def branches(rng, count, width, reach=1.3):
    """Branching vessels, 0 to 1: random walks that fork, drawn at twice the resolution."""
    image = Image.new("L", (2 * CANVAS, 2 * CANVAS))
    draw = ImageDraw.Draw(image)
    todo = [(*rng.uniform(-reach, reach, 2), rng.uniform(0, 6.28), width, 0) for _ in range(count)]
    while todo:
        x, y, heading, wide, depth = todo.pop()
        path = [(x, y)]
        for turn in rng.normal(0, 0.35, 6).tolist():  # plain floats: numpy is slow on six numbers
            heading += turn
            x += 0.1 * math.cos(heading)
            y += 0.1 * math.sin(heading)
            path.append((x, y))
        draw.line([(SIZE * x + CANVAS, SIZE * y + CANVAS) for x, y in path], 255, max(1, round(wide)))
        if depth < 2:
            for at, turn in ((-1, 0.5), (-4, -0.7)):
                todo.append((*path[at], heading + turn, wide * 0.6, depth + 1))
    return np.asarray(image.reduce(2), np.float32) / 255


def _rim(rng):
    """The curved shadow of a fold of cartilage along one side."""
    angle = rng.uniform(0, 6.28)
    across = math.cos(angle) * X + math.sin(angle) * Y
    along = math.cos(angle) * Y - math.sin(angle) * X
    depth = across + 0.35 * along**2
    return 0.9 * np.exp(-(((depth - 0.72) / 0.13) ** 2)) + 0.35 * np.clip(depth, 0, 1)


# Signs of a body site: name, stain, its amount, and where it lies (shape (CANVAS, CANVAS), about 0 to 1).
SIGNS = (
    ("rhomboid", "shade", 0.26, lambda rng: crossed(rng, 0.30, 1.15, 0.05) ** 6),
    ("scaling", "white", 0.60, lambda rng: np.clip(-3.4 * honeycomb(rng, 0.44, 0.09) - 0.75, 0, 1)),
    ("cherry", "blood", 1.3, lambda rng: scattered(rng, 10, 0.055, 2.5)),
    ("follicles", "blood", 0.55, lambda rng: np.clip(1.6 * honeycomb(rng, 0.36, 0.07) - 0.5, 0, 1)),
    ("striae", "white", 0.50, lambda rng: stripes(rng, 0.50, rng.uniform(0, 3.14), 0.10) ** 4),
    ("pores", "shade", 0.32, lambda rng: np.clip(2 * honeycomb(rng, 0.19, 0.03) - 0.8, 0, 1)),
    ("freckles", "melanin", 0.40, lambda rng: scattered(rng, 90, 0.05, 2.0)),
    ("ridges", "shade", 0.42, lambda rng: stripes(rng, 0.155, rng.uniform(0, 3.14), 0.10, 3) ** 2),
    ("sweat", "white", 0.7, lambda rng: np.clip(2 * honeycomb(rng, 0.22, 0.02) - 0.9, 0, 1)),
    ("veins", "blue", 0.50, lambda rng: branches(rng, 3, 12)),
    ("folds", "shade", 0.60, lambda rng: stripes(rng, 0.65, rng.uniform(0, 3.14), 0.08) ** 4),
    ("rim", "shade", 1.0, _rim),
    ("mottle", "melanin", 0.22, lambda rng: np.abs(noise(rng, 12)) + 0.6 * noise(rng, 5)),
)


def paint_skin(rng, layers, age, sex, site):
    """Stain clean skin with what its site, its owner's age (years) and sex leave on it."""
    traits = SITES[site]
    layers["melanin"] += 0.10 + traits.get("melanin", 0) + 0.05 * abs(rng.normal()) + 0.025 * noise(rng, 24)
    layers["blood"] += 0.10 + traits.get("blood", 0) + 0.05 * (sex == "male") + 0.03 * noise(rng, 9)
    layers["keratin"] += traits.get("keratin", 0)
    for name, stain, amount, pattern in SIGNS:
        if name in traits:
            layers[stain] += traits[name] * amount * rng.uniform(0.75, 1.15) * pattern(rng)
    _age_skin(rng, layers, age)


def _age_skin(rng, layers, age):
    """Wrinkles, mottling, yellowing (elastosis), lentigines and telangiectasia: more with the years."""
    apparent = age + rng.normal(0, 6)  # years of sun and smoke differ
    years = min(max((apparent - 15) / 60, 0), 1.15)
    wrinkles = stripes(rng, 0.26, rng.uniform(0, 3.14), 0.10, 5) ** 7
    layers["shade"] += 0.52 * years * wrinkles * np.clip(0.7 + 0.6 * noise(rng, 8), 0.1, 1.3)
    layers["melanin"] += 0.15 * years * noise(rng, 9)
    layers["keratin"] += 0.26 * years
    layers["melanin"] += 0.42 * scattered(rng, 13 * years**1.5, 0.12, 2.0)
    if years > 0.5:
        layers["blood"] += 0.9 * (years - 0.3) * branches(rng, 1 + rng.poisson(3 * (years - 0.5)), 2)


def develop(layers):
    """RGB picture of the stains, uint8 of shape (CANVAS, CANVAS, 3): Beer and Lambert's law, then opacity."""
    density = np.stack([layers[name] for name in STAINS[:3]]).reshape(3, -1)
    rgb = PALE_SKIN[:, None] * np.exp(-(ABSORPTION @ density))
    for name, colour in COVER.items():
        opacity = np.clip(layers[name].reshape(-1), 0, 0.95)
        rgb += opacity * (np.array(colour, np.float32)[:, None] - rgb)
    return np.clip(rgb.T * 255, 0, 255).astype(np.uint8).reshape(CANVAS, CANVAS, 3)


def photograph(rng, skin, sex, site):
    """One dermatoscopic photograph of a skin picture: PNG bytes, SIZE x SIZE, RGB.

    Magnification, rotation, light, focus, hair, gel and frame differ from photograph to photograph.
    """
    image = _aim(rng, skin)
    if rng.random() < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 0.8)))
    image.paste((46, 32, 26), mask=_hair(rng, sex, site))
    rgb = np.asarray(image, np.float32)
    if rng.random() < 0.12:
        rgb = rgb + _bubbles(rng)[..., None]
    light = rng.normal(1, 0.05) - rng.uniform(0, 0.14) * PHOTO_RADIUS**2
    light += 0.05 * rng.normal() * PHOTO_X + 0.05 * rng.normal() * PHOTO_Y
    light += 0.01 * rng.standard_normal((SIZE, SIZE), np.float32)
    if rng.random() < 0.12:
        light *= np.clip((rng.uniform(1.05, 1.3) - PHOTO_RADIUS) * 20, 0.04, 1)
    rgb = rgb * light[..., None] * rng.normal(1, 0.015, 3).astype(np.float32)
    file = io.BytesIO()
    Image.fromarray(np.clip(rgb, 0, 255).astype(np.uint8)).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _aim(rng, skin):
    """Cut a photograph out of the skin picture: quarter turns, small rotation and shift, magnification."""
    angle = rng.uniform(-0.28, 0.28)
    zoom = rng.uniform(1.0, 1.3)
    shift = rng.uniform(-2, 2, 2)
    a = math.cos(angle) / zoom
    b = math.sin(angle) / zoom
    left, top = CANVAS / 2 + shift - SIZE / 2 * np.array([a + b, a - b])
    skin = Image.fromarray(np.ascontiguousarray(np.rot90(skin, rng.integers(4))))
    matrix = (a, b, left, -b, a, top)
    return skin.transform((SIZE, SIZE), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


def _hair(rng, sex, site):
    """Mask of curved hairs and, now and then, a ruler, drawn at three times the resolution."""
    image = Image.new("L", (3 * SIZE, 3 * SIZE))
    draw = ImageDraw.Draw(image)
    comb = rng.uniform(0, 6.28)
    scalp = site == "scalp"
    male = sex == "male"
    count = rng.integers(34, 48) if scalp else rng.poisson(SITES[site]["hair"] * (1 if male else 0.15))
    t = np.linspace(-0.5, 0.5, 6)
    for _ in range(count):
        heading = comb + rng.normal(0, 0.10 if scalp else 0.6)
        bend = rng.normal(0, 0.3) * (t**2 - 0.1)
        length = rng.uniform(0.5, 1.1) * (5 if scalp else 2) * SIZE
        x = rng.uniform(-0.1, 1.1) * 3 * SIZE + length * (t * math.cos(heading) - bend * math.sin(heading))
        y = rng.uniform(-0.1, 1.1) * 3 * SIZE + length * (t * math.sin(heading) + bend * math.cos(heading))
        darkness = rng.integers(130, 235) if male else rng.integers(90, 190)
        draw.line(list(zip(x.tolist(), y.tolist(), strict=True)), fill=int(darkness), width=4 if male else 2)
    if rng.random() < 0.06:
        for tick in range(0, 3 * SIZE, 27):
            draw.line([tick, 0, tick, 30 if tick % 135 == 0 else 16], fill=230, width=3)
    return image.reduce(3)


def _bubbles(rng):
    """Light that gel bubbles add: bright rings."""
    light = np.zeros((SIZE, SIZE), np.float32)
    for _ in range(rng.integers(1, 5)):
        ring = np.hypot(PHOTO_X - rng.uniform(-1, 1), PHOTO_Y - rng.uniform(-1, 1)) - rng.uniform(0.05, 0.16)
        light += 50 * np.exp(-((ring / 0.022) ** 2)) + 12 * (ring < 0)
    return light

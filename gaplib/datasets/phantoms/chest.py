"""Draw a generated frontal chest radiograph from its facts (see `phantoms.cxr`). Never for clinical use.

The picture is a sum of attenuations (wall, abdomen, mediastinum, bone, metal, opacities in the lung) that
a saturating tone curve turns into grey. Coordinates run from -1 to 1, x to the viewer's right, which is
the patient's left (side +1), and y downwards. Only correctly rounded float32 arithmetic is used (no exp,
no sin), so that pixels are the same on any processor; thin lines are drawn by Pillow at twice the size.
"""

import numpy as np
from PIL import Image

from gaplib.datasets.phantoms.chest_lines import SIZE, devices, kerley, layer, marker, vessels

X = np.linspace(-1, 1, SIZE, dtype=np.float32)[None, :]
Y = X.T.copy()
ZONE_Y = (-0.40, -0.02, 0.30)  # upper, middle, lower


def render(facts, rng):
    """Grey image of shape (96, 96), uint8, of one study; `rng` supplies only texture and noise."""
    cloud = _cloud(rng)
    spine = facts["scoliosis"] * 0.13 * np.clip(1 - ((Y - 0.05) / 0.85) ** 2, 0, 1) ** 2
    middle = spine + 0.05 * facts["rotation"] + facts["shift"]
    floor = _floor(facts)
    cage = _cage(facts, spine)
    lung = cage * _step((floor - Y) / 0.045)
    branches = vessels(facts)
    shadow = _shadow(facts, middle)
    attenuation = _trunk(facts) * (_wall(facts) + 1.7 * (1 - lung)) + 1.45 * lung * shadow
    attenuation += _middle(facts, spine, middle, shadow)
    in_air = facts["vascular"] * branches * np.maximum(1 - shadow, 0.1)
    attenuation += lung * (in_air + _opacity(facts, branches, cloud))
    attenuation += _ribs(facts, spine, cage) + _bones(facts)
    attenuation -= _stomach(facts, lung)
    attenuation += 3.5 * devices(facts)
    return _expose(np.maximum(attenuation, 0.02), facts, cloud, rng)


def _step(t):
    """Smooth step from 0 (t <= -1/2) to 1 (t >= 1/2)."""
    t = np.minimum(np.maximum(t + 0.5, 0), 1)
    return t * t * (3 - 2 * t)


def _blob(x, y, width, height):
    """Soft round hill of height 1, zero outside its ellipse."""
    hill = np.maximum(1 - (((X - x) / width) ** 2 + ((Y - y) / height) ** 2), 0)
    return hill * hill


def _disc(x, y, width, height, edge, tilt=0.0):
    """Filled ellipse with a smooth border; `tilt` leans its long axis to the lower right."""
    u = (X - x) / width
    v = (Y - y) / height
    return _step((1 - (u * u + v * v - 2 * tilt * u * v)) / edge)


def _cloud(rng):
    """Smooth noise of unit scale: a coarse random grid, enlarged."""
    coarse = rng.standard_normal((14, 14), np.float32)
    return np.asarray(Image.fromarray(coarse).resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def _dome(facts, side):
    """Height of the top of one hemidiaphragm: the right one is higher, breathing in lowers both."""
    height = 0.46 + 0.11 * facts["inspiration"] + 0.03 * side + 0.07 * facts["hyperinflation"]
    height -= 0.17 * (facts["elevated"] == side)
    collapse = facts["atelectasis"]
    if collapse and side in collapse["sides"]:
        height -= 0.10 * collapse["severity"]
    return height


def _floor(facts):
    """Lower end of the aerated lung for each column, shape (1, 96): the diaphragm, or the fluid on it."""
    bend = 0.7 if facts["hyperinflation"] else 1.75
    distance = np.abs(X)
    climb = np.square((distance / 0.72) ** 2)
    floors = []
    for side in (-1, 1):
        top = _dome(facts, side)
        floor = top + bend * (distance - 0.36) ** 2
        size = facts["effusion"].get(side, 0.0)
        if facts["scar"] == side:
            # an old scar blunts the angle as a small effusion does
            floor = np.minimum(floor, top + 0.17 - 0.10 * climb)
        if size:
            # the meniscus climbs along the chest wall, so that a small effusion only blunts the angle
            surface = top + 0.20 - 0.62 * size - (0.10 + 0.14 * size) * climb
            floor = np.minimum(floor, surface)
        floors.append(floor)
    return np.where(X < 0, *floors)


def _cage(facts, spine):
    """Both pleural spaces as a mask, without diaphragm: straight sides below, narrowing to an apex above."""
    across = (np.abs(X - 0.5 * spine) / facts["width"] - 0.40) / 0.345
    above = np.maximum((0.30 - Y) / 1.06, 0)
    return _step((1 - across * across - above * above * above) / 0.20)


def _trunk(facts):
    """Mask of the body: shoulders slope from the neck, flanks below the armpits."""
    shoulder = np.maximum(-0.99 + 0.34 * (np.abs(X) - 0.26), -1.2 + 0.9 * (X * X) ** 2)
    flank = facts["flank"] + 0.5 * np.maximum(-0.15 - Y, 0)
    return _step((Y - shoulder) / 0.05) * _step((flank - np.abs(X)) / 0.05)


def _wall(facts):
    """Soft tissue in front of and behind the lungs: muscle, fat, shoulders, breasts."""
    wall = 0.42 + facts["fat"] * (0.6 + 0.5 * X * X) + 0.20 * np.maximum(Y, 0)
    wall = wall + 0.5 * (_blob(-0.95, -0.62, 0.5, 0.42) + _blob(0.95, -0.62, 0.5, 0.42))
    if size := facts["breast"]:
        for x in (-0.45, 0.45):
            shape = _disc(x, 0.26 + 0.12 * size, 0.30 + 0.07 * size, 0.30 + 0.10 * size, 0.25)
            wall += (0.22 + 0.34 * size) * shape * np.clip(0.55 + Y, 0, 0.9)
    return wall


def _shadow(facts, middle):
    """Silhouette of mediastinum, heart, pulmonary trunk and aorta, about 1 inside."""
    age = max(facts["age"] - 30, 0) / 60
    tortuous = facts["tortuous"]
    turn = 0.05 * facts["rotation"] + facts["shift"]
    wide = facts["ctr"] * 1.49 * facts["width"] * facts["magnification"]
    x = 0.165 * wide + turn
    y = _dome(facts, 1) - 0.21
    heart = _disc(x, y, wide / 2.08, 0.43 * wide, 0.30, tilt=0.28)
    trunk = _disc(0.10 + turn, y - 0.36 * wide, 0.14, 0.22, 0.6)
    knob = 0.105 + 0.02 * age + 0.05 * tortuous
    aorta = _disc(0.10 + 0.06 * tortuous + turn, -0.28, knob, knob * 1.1, 0.6)
    descending = _step((0.15 + 0.06 * tortuous - np.abs(X - middle - 0.05)) / 0.07) * _step((Y + 0.25) / 0.1)
    narrow = 0.125 + 0.02 * age + 0.05 * np.maximum(-0.45 - Y, 0) + 0.03 * np.maximum(Y + 0.1, 0)
    centre = _step((narrow - np.abs(X - middle)) / 0.09)
    return np.maximum.reduce([centre, 0.9 * aorta, 0.9 * trunk, 1.1 * heart, 0.75 * descending])


def _middle(facts, spine, middle, shadow):
    """Spine, hila, the air in the trachea and main bronchi, a hiatal hernia."""
    discs = (Y + 2) / 0.15
    bone = 0.30 + 0.25 * _step((0.30 - np.abs(discs - np.rint(discs))) / 0.15)
    column = bone * facts["bone"] * _step((0.10 - np.abs(X - spine)) / 0.05)
    away = np.abs(X - middle - 0.4 * facts["shift"])
    trachea = _step((0.055 - away) / 0.04) * _step((-0.24 - Y) / 0.1)
    bronchi = _step((0.04 - np.abs(Y + 0.23 - 0.8 * away)) / 0.05) * _step((0.17 - away) / 0.1)
    hilum = (0.42 + 0.2 * facts["edema"]) * np.maximum(1 - shadow, 0)
    shift = facts["shift"]
    hila = hilum * (_blob(-0.19 + shift, 0.0, 0.15, 0.24) + _blob(0.22 + shift, -0.06, 0.15, 0.22))
    density = column + hila - 0.75 * np.maximum(trachea, 0.6 * bronchi)
    if facts["hernia"]:
        level = _dome(facts, 1) - 0.16
        density += 0.35 * _disc(0.07, level, 0.20, 0.19, 0.4)
        density -= 1.2 * _disc(0.07, level, 0.16, 0.15, 0.4) * _step((level - Y) / 0.04)
    return density


def _opacity(facts, vessels, cloud):
    """What the lungs hold besides air: the findings, a nodule, the haze of fluid behind a supine lung."""
    opacity = np.zeros((SIZE, SIZE), np.float32)
    patchy = np.clip(1 + 0.5 * cloud, 0.2, 2)
    if facts["edema"]:
        wings = _blob(-0.36, 0.02, 0.48, 0.62) + _blob(0.36, 0.0, 0.48, 0.62)
        opacity += facts["edema"] * (0.65 * wings + 0.06) * patchy + 0.35 * facts["edema"] * vessels
        opacity += 0.7 * facts["edema"] * kerley(facts)
    if facts["consolidation"]:
        opacity += _consolidation(facts["consolidation"], vessels, patchy)
    if facts["atelectasis"]:
        opacity += _atelectasis(facts)
    if facts["nodule"]:
        side, zone = facts["nodule"]
        opacity += 1.5 * _disc(0.46 * side, ZONE_Y[zone] + 0.04, 0.055, 0.055, 0.6)
    if facts["view"] == "AP":
        for side, size in facts["effusion"].items():
            opacity += 0.35 * size * _step((side * X) / 0.1) * np.clip(0.6 + Y, 0, 1)
    return opacity


def _consolidation(finding, vessels, patchy):
    """Fluffy lobar or segmental opacity; in large ones the branching airways stay dark."""
    severity = finding["severity"]
    x = finding["side"] * (0.42 + finding["offset"])
    y = ZONE_Y[finding["zone"]]
    shape = _blob(x, y, 0.24 + 0.20 * severity, 0.24 + 0.22 * severity)
    return (0.45 + 1.6 * severity) * shape * patchy * (1 - 0.6 * vessels)


def _atelectasis(facts):
    """Basal plates, or a collapsed lobe: a wedge beside the heart, sharp towards its fissure."""
    finding = facts["atelectasis"]
    severity = finding["severity"]
    opacity = 0.0
    for side in finding["sides"]:
        base = _dome(facts, side)
        across = side * X
        if finding["kind"] == "lobar":
            fissure = Y - base + 0.46 - 1.2 * np.maximum(across - 0.02, 0)
            wedge = _step(fissure / 0.12) * _step((across - 0.06) / 0.14)
            opacity = opacity + (0.20 + 0.75 * severity) * wedge
        else:
            level = np.abs(Y - base + 0.13 - finding["tilt"] * (across - 0.4))
            reach = np.maximum(1 - ((across - 0.42) / (0.18 + 0.14 * severity)) ** 2, 0)
            plate = _step((0.03 + 0.02 * severity - level) / 0.05) * np.minimum(2 * reach, 1)
            haze = _blob(side * 0.42, base, 0.40, 0.26)
            opacity = opacity + (0.30 + 0.80 * severity) * plate + (0.15 + 0.5 * severity) * haze
    return opacity


def _ribs(facts, spine, cage):
    """Posterior arcs falling outwards, and fainter anterior ends falling inwards."""
    distance = np.abs(X - spine) / facts["width"]
    spacing = 0.158 + 0.012 * facts["hyperinflation"]
    back = (Y + 0.16 * distance - 0.50 * distance * distance + facts["rib_phase"]) / spacing
    front = (Y + 0.62 * distance - 0.25 * distance * distance + facts["rib_phase"]) / (1.25 * spacing)
    posterior = _step((0.24 - np.abs(back - np.rint(back))) / 0.16)
    anterior = _step((0.22 - np.abs(front - np.rint(front))) / 0.2) * np.clip(2.5 * distance - 0.6, 0, 1)
    return facts["bone"] * (0.24 * posterior + 0.12 * anterior) * (0.15 + 0.85 * cage)


def _bones(facts):
    """Clavicles, and the callus of healed rib fractures."""
    strokes = []
    lift = 0.03 * facts["inspiration"]
    for side in (-1, 1):
        inner = side * 0.10 + 0.07 * facts["rotation"]
        outer = [(side * 0.32, -0.57 + lift), (side * 0.58, -0.67), (side * 0.92, -0.72)]
        points = [(inner, -0.50 + lift), *outer]
        strokes += [(points, 8, 0.55), (points[:1] + [(inner + side * 0.08, -0.52 + lift)], 11, 0.7)]
    bones = 0.9 * facts["bone"] * layer(strokes)
    for y in (-0.16, 0.0, 0.16) if facts["fracture"] else ():
        bones += 1.1 * _blob(facts["fracture"] * 0.64 * facts["width"], y, 0.10, 0.07)
    return bones


def _stomach(facts, lung):
    """Air in the stomach under the left dome, with a flat fluid level."""
    top = _dome(facts, 1)
    air = _disc(0.34, top + 0.17, 0.24, 0.13, 0.4) * _step((top + 0.22 - Y) / 0.05)
    return facts["bubble"] * (1 - lung) * air


def _expose(attenuation, facts, cloud, rng):
    """Turn attenuation into grey: tone curve, tilt and zoom of the patient, grain, and the marker."""
    # automatic exposure makes up for most of the fat
    half = facts["penetration"] * (1 + 0.7 * facts["fat"])
    grey = attenuation * (1 + 0.10 * facts["rotation"] * X) / (attenuation + half)
    a, b, shift_x, shift_y = facts["pose"]
    centre = (SIZE - 1) / 2
    affine = (a, b, centre * (1 - a - b) + shift_x, -b, a, centre * (1 - a + b) + shift_y)
    flat = Image.fromarray(grey.astype(np.float32))
    posed = flat.transform(flat.size, Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)
    grey = (np.asarray(posed) - 0.18) * facts["contrast"] + facts["brightness"]
    grey = grey + 0.012 * cloud + facts["noise"] * rng.standard_normal((SIZE, SIZE), np.float32)
    grey = np.maximum(grey, 0.9 * layer(marker(facts)))
    return (255 * np.minimum(np.maximum(grey, 0), 1)).astype(np.uint8)

"""Thin things in a generated chest radiograph: vessels, septal lines, devices, the marker (see `phantoms.chest`).

Pillow draws them at twice the size of the picture; strokes are (points, width in half pixels,
brightness). A device is drawn for the side it lies on: -1 is the patient's right, which is the viewer's
left.
"""

import numpy as np
from PIL import Image, ImageDraw

SIZE = 96


def layer(strokes):
    """Layer in [0, 1] of antialiased strokes (points, width in half pixels, brightness in [0, 1])."""
    canvas = Image.new("L", (2 * SIZE, 2 * SIZE))
    pen = ImageDraw.Draw(canvas)
    for points, width, brightness in strokes:
        pixels = [((x + 1) * SIZE, (y + 1) * SIZE) for x, y in points]
        pen.line(pixels, round(255 * brightness), width, "curve")
    return np.asarray(canvas.reduce(2), np.float32) / 255


def vessels(facts):
    """Vessels that leave the hila, divide, taper and fade; they are the patient's own."""
    strokes = []
    for side, dx, dy, bend in facts["vessels"]:
        x = 0.17 * side + facts["shift"]
        y = -0.02 - 0.03 * side
        dx *= side
        fork = (x + 0.4 * dx - 0.1 * bend * dy, y + 0.4 * dy + 0.1 * bend * dx)
        strokes.append(([(x, y), fork], 3, 0.9))
        # fluid overload opens the upper vessels
        upper = 0.4 * facts["edema"] * (dy < 0)
        for turn in (bend, bend - 0.8):
            tip = (x + dx - turn * dy * 0.5, y + dy + turn * dx * 0.5)
            half = ((fork[0] + tip[0]) / 2 - 0.07 * dy, (fork[1] + tip[1]) / 2 + 0.07 * dx)
            strokes += [([fork, half], 2, 0.65 + upper / 2), ([half, tip], 1, 0.6 + upper)]
    return layer(strokes)


def kerley(facts):
    """Short horizontal septal lines at both lateral bases."""
    wall = 0.71 * facts["width"]
    levels = (0.16, 0.24, 0.32, 0.40)
    strokes = []
    for side in (-1, 1):
        for y in levels:
            strokes.append(([(side * wall, y), (side * (wall - 0.13), y + 0.01)], 2, 0.8))
    return layer(strokes)


def devices(facts):
    """Metal and tubes; position and side come from the facts."""
    strokes = []
    for name, side in facts["devices"].items():
        strokes += DEVICES[name](side)
    return layer(strokes)


def marker(facts):
    """The letter L on the patient's left (PA), or an arrow that says portable (AP)."""
    if facts["view"] == "PA":
        return [([(0.82, -0.92), (0.82, -0.76), (0.92, -0.76)], 4, 1.0)]
    head = [(-0.94, -0.83), (-0.86, -0.92), (-0.78, -0.83)]
    return [([(-0.86, -0.74), (-0.86, -0.92)], 4, 1.0), (head, 4, 1.0)]


def _pacemaker(side):
    box = [(side * 0.60, -0.42), (side * 0.66, -0.42)]
    vein = [(side * 0.56, -0.50), (side * 0.30, -0.56), (-0.10, -0.40)]
    lead = vein + [(-0.13, 0.05), (0.05, 0.36), (0.30, 0.44)]
    return [(box, 26, 0.95), (lead, 2, 0.8), ([(0.18, 0.42), (0.30, 0.44)], 5, 0.9)]


def _port(side):
    vein = [(side * 0.50, -0.30), (side * 0.46, -0.58), (side * 0.2, -0.62)]
    catheter = vein + [(-0.09, -0.45), (-0.10, -0.02)]
    return [([(side * 0.47, -0.28), (side * 0.53, -0.28)], 13, 0.9), (catheter, 2, 0.6)]


def _line(side):
    return [([(side * 0.22, -1.0), (side * 0.20, -0.70), (-0.08, -0.48), (-0.10, -0.02)], 3, 0.7)]


def _picc(side):
    vein = [(side * 1.0, -0.42), (side * 0.66, -0.60), (side * 0.3, -0.64)]
    return [(vein + [(-0.08, -0.45), (-0.10, -0.08)], 3, 0.65)]


def _endotracheal(_):
    return [([(0.0, -1.0), (0.0, -0.36)], 4, 0.75), ([(0.02, -0.50), (0.02, -0.36)], 3, 0.9)]


def _feeding(_):
    return [([(0.03, -1.0), (0.05, -0.2), (0.05, 0.55), (0.18, 0.72), (0.40, 0.74)], 3, 0.75)]


def _wires(_):
    return [
        ([(x - 0.05, y - 0.03), (x + 0.05, y + 0.03), (x + 0.05, y - 0.03), (x - 0.05, y + 0.03)], 3, 0.85)
        for x, y in ((0.0, -0.42), (0.01, -0.24), (0.0, -0.06), (0.01, 0.12), (0.0, 0.30))
    ]


def _drain(side):
    return [([(side * 1.0, 0.28), (side * 0.62, 0.16), (side * 0.50, -0.10), (side * 0.44, -0.42)], 5, 0.6)]


def _leads(_):
    ends = ((-0.62, -0.32), (0.62, -0.30), (0.55, 0.55))
    pads = [([(x - 0.04, y), (x + 0.04, y)], 9, 0.75) for x, y in ends]
    return pads + [([(x, y), (0.6 * x, 0.4 * y + 0.45), (0.45 * x, 1.0)], 2, 0.5) for x, y in ends]


def _rods(_):
    return [([(x, -0.35), (x, 0.95)], 4, 0.85) for x in (-0.06, 0.06)] + [
        ([(-0.09, y), (0.09, y)], 4, 0.75) for y in (-0.25, 0.05, 0.35, 0.65)
    ]


def _shoulder(side):
    head = [(side * 0.86, -0.60), (side * 0.88, -0.60)]
    stem = [(side * 0.92, -0.5), (side * 0.97, -0.1)]
    return [(head, 24, 0.95), (stem, 9, 0.9)]


DEVICES = {
    "pacemaker": _pacemaker,
    "port": _port,
    "line": _line,
    "picc": _picc,
    "tube": _endotracheal,
    "feeding": _feeding,
    "wires": _wires,
    "drain": _drain,
    "leads": _leads,
    "rods": _rods,
    "shoulder": _shoulder,
}

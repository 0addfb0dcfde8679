"""Pages of the explorer taken apart, what their numbers should be, and the browser that shows them."""

import base64
import io
import json
import os
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from gaplib import cone, gap, modulate

WAIT = 300_000  # milliseconds that a busy machine may need for anything
FLAGS = ("no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking", "disable-component-update")


def launch(playwright):
    """Chromium, which talks to nobody; without it the test is skipped, or fails where tests run unattended."""
    path = shutil.which("chromium")
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no chromium on the PATH; install it for these tests")
    flags = [f"--{flag}" for flag in (*FLAGS, "disable-sync")]
    return playwright.chromium.launch(executable_path=path, args=flags, timeout=WAIT)


def sphere(rng, n, d, mean):
    """Rows of unit norm around a direction."""
    x = rng.normal(size=(n, d)) / np.sqrt(d) + mean
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def data_of(page):
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', page.page, re.S)[1])


def unpack(text):
    return np.frombuffer(base64.b64decode(text), "<f4")


def measured(image, text, lam, vector=None):
    image, text = modulate.shift(image, text, lam, vector)
    cosines = cone.mean_cosine(image), cone.mean_cosine(text)
    return gap.centroid_distance(image, text), *cosines, gap.paired_cosine(image, text), gap.relative_gap(image, text)


def picture(colour):
    file = io.BytesIO()
    Image.new("RGB", (200, 100), colour).save(file, "PNG")
    return file.getvalue()

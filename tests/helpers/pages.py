"""Pages of the explorer taken apart, and what their numbers should be."""

import base64
import io
import json
import re

import numpy as np
from PIL import Image

from gaplib import cone, gap, modulate


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

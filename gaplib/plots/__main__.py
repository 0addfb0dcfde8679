"""Copy figures, still ones scaled to a web page's width: `python -m gaplib.plots FROM TO NAME ...`."""

import shutil
import sys
from pathlib import Path

from PIL import Image

source, target, *names = sys.argv[1:]
Path(target).mkdir(parents=True, exist_ok=True)
for name in names:
    if name.endswith(".gif"):
        shutil.copy(Path(source) / name, target)
        continue
    with Image.open(Path(source) / name) as figure:
        figure.thumbnail((1400, 2000))
        figure.convert("RGB").quantize(256).save(Path(target) / name, optimize=True)

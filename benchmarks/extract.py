"""What extraction costs, beside the model alone, the loop one would write first, and a CSV of the same numbers.

    python benchmarks/extract.py [--images N] [--only NAME]

Ratios of things timed in turns in one run, on this machine. The model is a CLIP of ViT-B/32's size with random weights
(the bits differ from a trained one's, the work does not); images are JPEGs of 640 x 480. `forward`: images per second
of an extraction, from files to stored features, over the bare model on batches that are decoded already. `distinct`: a
set of DAQUAR's shape, 12,468 questions on 1,449 images, with a model scaled down. `file`: stored features against
pandas and a CSV, and how long 377,000 x 1152 take to open. `ray`: blocks per second of two workers over one's. On a
GPU, `naive`: bfloat16 and workers over one batch at a time in single precision without.
"""

import argparse
import io
import os
import shutil
import tempfile
import time

import numpy as np
import pandas as pd
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

from gaplib import datasets, encoders, features, paths
from gaplib.datasets.pairs import About, Dataset
from gaplib.features import blocks, engine_local, engine_ray, store

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Model:
    """A CLIP with random weights as gaplib takes an encoder; a text's tokens are its bytes."""

    context = 77

    def __init__(self, name, config, precision="float32"):
        torch.manual_seed(0)
        self.model = CLIPModel(config).eval().to(DEVICE)
        self.name = self.checkpoint = self.spec = name
        self.dim, self.precision, size = config.projection_dim, precision, config.vision_config.image_size
        self.processor = CLIPImageProcessor(size={"shortest_edge": size}, crop_size=size)
        self.preprocessing = str(size)

    def pixels(self, images):
        return self.processor(images, return_tensors="pt")["pixel_values"]

    def tokens(self, texts):
        return torch.tensor([[b % 256 for b in text.encode()[:77].ljust(77)] for text in texts])

    def lengths(self, texts):
        return [len(text) for text in texts]

    def image_tower(self, pixels):
        with torch.autocast(DEVICE, torch.bfloat16, self.precision == "bfloat16"):
            out = self.model.get_image_features(pixel_values=pixels)
        return getattr(out, "pooler_output", out)

    def text_tower(self, ids):
        out = self.model.get_text_features(input_ids=ids)
        return getattr(out, "pooler_output", out)


def small():
    vision = {"image_size": 64, "patch_size": 16, "hidden_size": 192, "intermediate_size": 768, "num_hidden_layers": 6}
    text = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4}
    return CLIPConfig(text_config=text | heads, vision_config=vision | heads, projection_dim=128)


def jpegs(n, size):
    rng = np.random.default_rng(0)
    found = []
    for _ in range(n):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
        file = io.BytesIO()
        coarse.resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        found.append(file.getvalue())
    return found


def dataset(name, images, texts):
    pairs = pd.DataFrame({"image": images, "text": texts})
    group = pd.factorize(pairs["image"])[0]
    pairs["group"], pairs["split"] = group, np.array(["train", "val", "test"])[group % 3]
    pairs["label"] = np.array(["a", "b"])[np.arange(len(pairs)) % 2]
    return Dataset(pairs, About(name, "natural", "binary", ("a", "b")))


def seconds(function):
    start = time.perf_counter()
    function()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def fresh(data, encoder):
    shutil.rmtree(paths.features(data.about.name) / encoder.name, ignore_errors=True)
    features.extract(data, encoder)


def bench_forward(n):
    data = dataset("jpegs", jpegs(n, (640, 480)), "one text")
    encoder = Model("vit-b-32", CLIPConfig())
    size = engine_local.BATCH[DEVICE]
    opened = [Image.open(io.BytesIO(image)).convert("RGB") for image in data.pairs["image"]]
    batches = [encoder.pixels(opened[i : i + size]) for i in range(0, n, size)]

    @torch.inference_mode()
    def bare():
        for batch in batches:
            encoder.image_tower(batch.to(DEVICE)).cpu()

    bare()
    times = [(seconds(bare), seconds(lambda: fresh(data, encoder))) for _ in range(3)]
    alone, whole = np.median(times, axis=0)
    ratios = sorted(one / other for one, other in times)
    print(f"\nforward: {n} images, {torch.get_num_threads()} threads, batches of {size} on {DEVICE}, medians of 3:")
    print(
        f"  bare model {n / alone:.1f} images/s, gaplib {n / whole:.1f}; ratio {ratios[1]:.2f} (at least 0.95)", end=""
    )
    print(f", from {ratios[0]:.2f} to {ratios[-1]:.2f}")
    if DEVICE == "cuda":
        bench_naive(data, encoder, size)


def bench_naive(data, encoder, size):
    """The loop that a reader would write: decode, preprocess and embed one batch after another, in float32."""

    @torch.no_grad()
    def naive():
        images = list(data.pairs["image"])
        for i in range(0, len(images), 32):
            opened = [Image.open(io.BytesIO(image)).convert("RGB") for image in images[i : i + 32]]
            encoder.image_tower(encoder.pixels(opened).to(DEVICE)).cpu().numpy()

    fast = Model("vit-b-32-bf16", CLIPConfig(), "bfloat16")
    times = [(seconds(naive), seconds(lambda: fresh(data, fast))) for _ in range(3)]
    slow, quick = np.min(times, axis=0)
    print(
        f"naive {len(data.pairs) / slow:.0f} images/s, gaplib {len(data.pairs) / quick:.0f}: {slow / quick:.1f} times"
    )


def bench_distinct():
    images, n = jpegs(1449, (320, 240)), 12_468
    texts = [f"what is on the left of object {i}?" for i in range(n)]
    repeated = dataset("questions", [images[i * 1449 // n] for i in range(n)], texts)
    # Trailing bytes make copies distinct, and change nothing else.
    apart = dataset("copies", [image + str(i).encode() for i, image in enumerate(repeated.pairs["image"])], texts)
    encoder = Model("small", small())
    once, every = (seconds(lambda data=data: fresh(data, encoder)) for data in (repeated, apart))
    print(f"\ndistinct: {n:,} questions on 1,449 images: {once:.1f} s; as if all were distinct: {every:.1f} s")
    print(f"  {every / once:.1f} times faster")


def touched(f):
    """Every page of the arrays in memory, as a CSV's numbers are when it has been read."""
    return [x.reshape(-1)[:: 4096 // x.itemsize].sum() for x in (f.image, f.text)]


def bench_file(n=12_468, d=768):
    rng = np.random.default_rng(0)
    for name, images in (("every image once", n), ("1,449 images", 1449)):
        index = {"image_index": np.sort(np.arange(n) % images), "text_index": np.arange(n)}
        both = {"image": rng.standard_normal((images, d), np.float32), "text": rng.standard_normal((n, d), np.float32)}
        both = {kind: x / np.linalg.norm(x, axis=1, keepdims=True) for kind, x in both.items()}
        folder = _store("numbers", index | both, ["a question"] * n)
        x = {"img": both["image"][index["image_index"]], "text": both["text"]}
        frame = pd.concat(
            [pd.DataFrame(rows, columns=[f"{kind}_emb_{i}" for i in range(d)]) for kind, rows in x.items()], axis=1
        )
        csv = folder.with_suffix(".csv")
        frame.to_csv(csv, index=False)
        store.SMALL = 0  # as for the files that this is about, which are larger
        quick = min(seconds(lambda: touched(features.load("numbers", "given"))) for _ in range(5))
        slow = min(seconds(lambda csv=csv: pd.read_csv(csv)) for _ in range(3))
        ratio = sum(file.stat().st_size for file in folder.iterdir()) / csv.stat().st_size
        print(f"\nfile: {n:,} pairs x 2 x {d}, {name}: opened and read in {quick:.4f} s, the CSV in {slow:.1f} s:")
        print(f"  {slow / quick:.0f} times faster (at least 100), {ratio:.2f} of the size (at most 0.25)")


def _store(name, arrays, texts):
    """Features of arrays, as if they had been encoded; where they lie."""
    folder = paths.features(name) / "given"
    n = len(texts)
    pairs = pd.DataFrame({"image": [f"files/p{i:06d}/{i}.jpg" for i in range(n)], "text": texts})
    pairs["split"] = np.array(["train", "val", "test"])[np.arange(n) % 3]
    about = About(name, "medical", "binary", ("a", "b"))
    digests = store.save(store.unfinished(folder), arrays)
    store.settle(folder, {"skipped": [], "digests": digests}, about, store.pack_table(Dataset(pairs, about)))
    return folder


def bench_open(n=377_000, d=1152):
    report = "Heart size is normal. No focal consolidation, effusion or pneumothorax. " * 7
    index = np.ones(n, np.int64)
    rows = np.ones((n, d), np.float32)
    arrays = {"image_index": index, "text_index": index, "image": rows, "text": rows}
    folder = _store("large", arrays, [f"{i} {report}" for i in range(n)])
    opened = min(seconds(lambda: features.load("large", "given")) for _ in range(5))
    table = seconds(lambda: features.load("large", "given").pairs)
    whole = seconds(lambda: features.load("large", "given", check=True))
    print(
        f"\nopen: {n:,} x {d}, {2 * rows.nbytes / 2**30:.1f} GiB, reports of {len(report)} letters: {opened:.3f} s",
        end="",
    )
    print(f" (at most 0.1); with its pair table {table:.1f} s; checked in full {whole:.1f} s")
    shutil.rmtree(folder)


def bench_ray(n=768):
    folder = paths.made() / "wide"
    shutil.copytree(paths.ENCODERS / "mini-clip", folder)
    config = CLIPConfig.from_pretrained(folder)
    wide = {"hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8, "num_hidden_layers": 8}
    config.vision_config.update(wide)
    CLIPModel(config).save_pretrained(folder)
    pairs, about = datasets.load("clipart")
    store.BLOCK = 32
    items, _ = blocks.distinct("image", Dataset(pairs[:n], about))
    encoder, rates = encoders.load(f"local:{folder}"), {}
    import ray

    for workers in (1, 2, 1, 2):
        # A core for each worker, so that the first does not have both.
        ray.init(include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1", num_cpus=workers)
        with engine_ray.engine(encoder, workers) as encode:
            stamps = [
                time.perf_counter() for _ in encode(items, blocks.split(range(len(items.values)), store.BLOCK), None)
            ]
        stamps = stamps[len(stamps) // 2 :]  # when every actor has started
        rates.setdefault(workers, []).append((len(stamps) - 1) / (stamps[-1] - stamps[0]))
        ray.shutdown()
    one, two = max(rates[1]), max(rates[2])
    print(
        f"\nray: {len(items.values):,} drawings in blocks of 32: one worker {one:.2f} blocks/s, two {two:.2f}:",
        end="",
    )
    print(f" {two / one:.2f} times (on {os.cpu_count()} cores)")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=384)
    parser.add_argument("--only", choices=["forward", "distinct", "file", "open", "ray"])
    arguments = parser.parse_args()
    benches = {"forward": lambda: bench_forward(arguments.images), "distinct": bench_distinct, "file": bench_file}
    benches |= {"open": bench_open, "ray": bench_ray}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GAPLIB_ROOT"] = folder
        for name, bench in benches.items():
            if arguments.only in (None, name):
                bench()


if __name__ == "__main__":
    main()

"""The contrastive trainer behind the four mini encoders: `python data/encoders/train.py NAME ...`.

A mini has the architecture class, the tokenizer path and the file format of the released model it stands for; only
its widths are small. It is trained on pairs that no evaluation dataset holds, and leaves beside its weights the curve
of its training (`curve.csv`) and a model card (`README.md`).
"""

import argparse
import json
import shutil
import time
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from towers import build
from tqdm import tqdm

from gaplib import cone, encoders, gap, paths
from gaplib.datasets import pairs
from gaplib.names import pick

CANDIDATES = 400


class Recipe(NamedTuple):
    """How one mini encoder is trained. Phantoms are not augmented: their generator varies them already."""

    loss: str
    data: str
    seed: int
    steps: int
    augment: bool
    lr: float = 1e-3
    batch: int = 192


RECIPES = {
    "mini-clip": Recipe("softmax", "drawings", 1, 600, True),
    "mini-siglip": Recipe("sigmoid", "drawings", 2, 600, True),
    "mini-biomedclip": Recipe("softmax", "phantoms", 3, 1200, False),
    "mini-medsiglip": Recipe("sigmoid", "phantoms", 4, 1200, False),
}


def training_pairs(data, seed=1, n=20_000):
    """Pairs to train on and `CANDIDATES` held-out pairs to validate on, all outside every evaluation dataset.

    `drawings` are the committed icons and drawings that `clipart` does not hold; `phantoms` are patients and lesions
    of another seed than the evaluation sets'.

    Returns
    -------
    (DataFrame, DataFrame)
        Columns `image` and `text`.
    """
    from gaplib.datasets.phantoms import cxr, derm

    if data == "drawings":
        table = pd.read_parquet(paths.PAIRS / "drawings.parquet")
        held_out = table[table["split"] == "val"].sample(CANDIDATES, random_state=0)
        return table[table["split"] == "train"], held_out
    tables = [cxr.phantom_cxr(n=n, seed=seed).pairs, derm.phantom_derm(n=n, seed=seed, bare=0).pairs]
    held_out = [t[t["split"] == "val"].sample(CANDIDATES // 2, random_state=0) for t in tables]
    return pd.concat([t[t["split"] != "val"] for t in tables]), pd.concat(held_out)


def contrastive_loss(image, text, scale, bias, kind):
    """Loss of a batch of unit-norm embeddings whose row i of `image` belongs to row i of `text`.

    `softmax` is CLIP's symmetric cross-entropy (Radford et al. 2021), `sigmoid` is SigLIP's sum of binary
    cross-entropies over all pairs (Zhai et al. 2023).

    Examples
    --------
    >>> x = torch.eye(2)
    >>> float(contrastive_loss(x, x, torch.tensor(0.0), None, "softmax"))
    0.6931...
    """
    logits = scale * image @ text.T
    if kind == "softmax":
        truth = torch.arange(len(logits), device=logits.device)
        return (F.cross_entropy(logits, truth) + F.cross_entropy(logits.T, truth)) / 2
    sign = 2 * torch.eye(len(logits), device=logits.device) - 1
    return -F.logsigmoid(sign * (logits + bias)).sum(1).mean()


def augment(pixels, generator):
    """Randomly turned (10 degrees), zoomed (15 %), shifted (8 %) and mirrored copies of a batch."""
    n = len(pixels)
    turn, zoom, dx, dy = (2 * torch.rand(4, n, generator=generator) - 1) * torch.tensor(
        [[0.17], [0.15], [0.08], [0.08]]
    )
    mirror = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0)
    cos = torch.cos(turn) * (1 + zoom)
    sin = torch.sin(turn) * (1 + zoom)
    theta = torch.stack([torch.stack([cos * mirror, -sin, dx], 1), torch.stack([sin * mirror, cos, dy], 1)], 1)
    grid = F.affine_grid(theta.to(pixels.device), list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)


def drop_words(texts, rng, share=0.15):
    """The texts without a random `share` of their words, but never without all of them."""
    words = [text.split() for text in texts]
    return [" ".join(w for w in ws if rng.random() >= share) or " ".join(ws) for ws in words]


def measure(encoder, pixels, tokens, loss):
    """One row of the training curve: measures of the held-out pairs, and the `loss` of the training batch."""
    with torch.inference_mode():
        image, text = (
            torch.cat([tower(part).float() for part in items.split(100)]).cpu().double()
            for tower, items in ((encoder.image_tower, pixels), (encoder.text_tower, tokens))
        )
    image, text = (F.normalize(x, dim=1).numpy() for x in (image, text))
    return {
        "loss": loss,
        "centroid_distance": gap.centroid_distance(image, text),
        "mean_cosine_image": cone.mean_cosine(image),
        "mean_cosine_text": cone.mean_cosine(text),
        "paired_cosine": gap.paired_cosine(image, text),
        "recall_at_10": float(np.mean(gap.recall_at_k(image, text, 10))),
    }


def train(name, steps=None, device="auto"):
    """Train one mini encoder and write its folder under `data/encoders/`; returns its curve (DataFrame)."""
    recipe = pick(RECIPES, name, "mini encoder")
    steps = steps or recipe.steps
    final = paths.ENCODERS / name
    torch.set_num_threads(1)  # the same sums in the same order for any number of cores; `make -j2` trains two at once
    torch.manual_seed(recipe.seed)
    fit, held_out = training_pairs(recipe.data)
    # Everything is made beside its place and moved there at the end: an interrupted training changes nothing.
    folder = final.with_name(f".{name}.part")
    shutil.rmtree(folder, ignore_errors=True)
    build(name, list(fit["text"]), encoders.REGISTRY[name].context, folder, final)
    encoder = encoders.load(f"local:{folder}", device, "float32")
    curve = _optimise(name, encoder, recipe, steps, fit, held_out)
    weights = next(folder.glob("*.safetensors"))
    names = load_file(weights).keys()
    state = {k: v.half().contiguous().cpu() for k, v in encoder.model.state_dict().items() if k in names}
    save_file(state, weights, metadata={"format": "pt"})
    curve.round(5).to_csv(folder / "curve.csv", index=False)
    (folder / "README.md").write_text(card(name, encoder, recipe, steps, len(fit), curve))
    shutil.rmtree(final, ignore_errors=True)
    folder.rename(final)
    return curve


DATA = {
    "drawings": (
        "icons and drawings with their names and keywords (`data/pairs/drawings.parquet`), disjoint from `clipart`",
        "CC BY-SA 4.0, because part of the drawings are OpenMoji's",
    ),
    "phantoms": (
        "generated chest and lesion phantoms of seed 1 (`phantoms.cxr`, `phantoms.derm`), other patients and lesions "
        "than the evaluation sets' seed 0; half of the held-out candidates are chests, half are lesions",
        "CC0 1.0",
    ),
}


def card(name, encoder, recipe, steps, n_pairs, curve):
    """The model card of a trained mini: what it is, what from, how good, and what it is not for."""
    data, licence = DATA[recipe.data]
    last = curve.iloc[-1]
    return f"""# {name}

A small dual encoder ({type(encoder.model).__name__}) that stands for `{name.removeprefix("mini-")}` where that one
cannot be had. For method and teaching: it knows nothing of the world, and the medical ones have never seen a patient.

| | |
|---|---|
| Data | {n_pairs:,} pairs: {data} |
| Licence | {licence} |
| Seed | {recipe.seed} |
| Parameters | {sum(p.numel() for p in encoder.model.parameters()):,}, stored in half precision |
| Loss | {recipe.loss}, batch {recipe.batch}, {steps} AdamW steps, peak learning rate {recipe.lr:g} |
| Held-out recall@10 among {CANDIDATES} | {last["recall_at_10"]:.3f} (chance {10 / CANDIDATES:g}) |
| Held-out centroid distance | {last["centroid_distance"]:.3f} |
| Held-out mean cosine | image {last["mean_cosine_image"]:.3f}, text {last["mean_cosine_text"]:.3f} |
| Held-out paired cosine | {last["paired_cosine"]:.3f} |

`curve.csv` holds these by training step. Trained by `python data/encoders/train.py {name}`.
"""


def _optimise(name, encoder, recipe, steps, fit, held_out):
    """Train the encoder's model in place; returns its curve."""
    model = encoder.model.requires_grad_(True).train()
    generator = torch.Generator().manual_seed(recipe.seed)
    pixels = _pixels(encoder, fit["image"])
    val_pixels = _pixels(encoder, held_out["image"])
    val_tokens = encoder.tokens(list(held_out["text"])).to(encoder.device)
    optimiser, schedule = _optimiser(model, recipe, steps)
    curve = []
    batches = _batches(fit["text"].to_numpy(), recipe, np.random.default_rng(recipe.seed))
    for step in (bar := tqdm(range(steps + 1), desc=name)):
        rows, words = next(batches)
        batch = pixels[rows].to(encoder.device).float()
        if recipe.augment:
            batch = augment(batch, generator)
        loss = _loss(encoder, batch, encoder.tokens(words).to(encoder.device), recipe.loss)
        if step % max(steps // 25, 1) == 0 or step == steps:
            model.eval()
            here = measure(encoder, val_pixels.to(encoder.device).float(), val_tokens, loss.item())
            curve.append({"step": step} | here)
            bar.set_postfix(loss=f"{loss.item():.3f}", recall=f"{here['recall_at_10']:.3f}")
            model.train()
        if step < steps:
            _step(model, loss, optimiser, schedule)
    return pd.DataFrame(curve)


def _step(model, loss, optimiser, schedule):
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    schedule.step()


def _optimiser(model, recipe, steps):
    """AdamW that lets only matrices decay, and its learning rate's one cycle."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, recipe.lr, (0.9, 0.98))
    return optimiser, torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.lr, steps + 1, pct_start=0.1)


def _batches(texts, recipe, rng):
    """Rows and texts of one batch after the other, without end: all pairs in a random order, then in another."""
    order = np.empty(0, int)
    while True:
        if len(order) < recipe.batch:
            order = np.concatenate([order, rng.permutation(len(texts))])
        rows = order[: recipe.batch]
        order = order[recipe.batch :]
        words = list(texts[rows])
        yield rows, drop_words(words, rng) if recipe.augment else words


def _loss(encoder, pixels, tokens, kind):
    model = encoder.model
    image = F.normalize(encoder.image_tower(pixels), dim=1)
    text = F.normalize(encoder.text_tower(tokens), dim=1)
    scale = model.logit_scale.clamp(max=np.log(100)).exp()
    return contrastive_loss(image, text, scale, getattr(model, "logit_bias", None), kind)


def _pixels(encoder, images):
    # Half precision keeps tens of thousands of decoded images in a gigabyte; they hold 8 bits anyway.
    decoded = [pairs.open_image(image) for image in images]
    return torch.cat([encoder.pixels(decoded[i : i + 256]).half() for i in range(0, len(decoded), 256)])


def main():
    parser = argparse.ArgumentParser(description="Train mini encoders.")
    parser.add_argument("names", nargs="*", default=list(RECIPES), metavar="NAME")
    parser.add_argument("--steps", type=int, help="instead of the recipe's number of steps")
    arguments = parser.parse_args()
    for name in arguments.names:
        start = time.perf_counter()
        curve = train(name, arguments.steps)
        print(
            json.dumps(
                {"encoder": name, "minutes": round((time.perf_counter() - start) / 60, 1)} | curve.iloc[-1].to_dict()
            )
        )


if __name__ == "__main__":
    main()

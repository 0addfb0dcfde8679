"""The contrastive trainer behind the four mini encoders: `python data/encoders/train.py NAME ...`.

A mini has the architecture class, the tokenizer path and the file format of the released model it stands for; only
its size is small. It is trained on pairs that no evaluation dataset holds, at a fixed logit scale, where CLIP's own
training ends: so the gap stays. With `--learned` the same training learns its scale instead, and leaves only its curve,
for comparison. Beside the weights stand the curves (`curve.csv`, `curve-learned.csv`) and a model card (`README.md`).
"""

import argparse
import json
import math
import shutil
import time
from functools import partial
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
from gaplib.datasets.phantoms import cxr, derm, fundus
from gaplib.names import pick

BROAD = paths.DATA / "downloads" / "icons" / "broad.parquet"  # `make broad` makes it
CANDIDATES = 400
PHANTOMS = {"chest": cxr.phantom_cxr, "skin": partial(derm.phantom_derm, bare=0), "fundus": fundus.phantom_fundus}
# How often a row stands in an epoch: coloured pictures of things are what the evaluation sets hold, icons of user
# interfaces are most of what there is, and few drawings are left of the collection that `clipart` is from.
OFTEN = {"openclipart": 8, "emojione": 2, "fluent-emoji-flat": 2, "flat-color-icons": 2, "fxemoji": 2, "meteocons": 2}
OFTEN |= {"noto": 2, "noto-v1": 2, "openmoji": 2, "twemoji": 2, "streamline-color": 2, "streamline-flex-color": 2}
OFTEN |= {f"streamline-{style}-color": 2 for style in ("freehand", "kameleon", "plump", "sharp", "ultimate")}


class Recipe(NamedTuple):
    """How one mini encoder is trained.

    `scale` is the logit scale that stays fixed, `bias` where SigLIP's bias starts, and `apart` the share of rows that
    meet only rows of their own source in a batch.
    """

    loss: str
    data: str
    seed: int
    scale: float
    steps: int
    apart: float
    lr: float = 1e-3
    batch: int = 128
    bias: float | None = None


RECIPES = {
    "mini-clip": Recipe("softmax", "broad", seed=1, scale=25, steps=2000, apart=0.25),
    "mini-siglip": Recipe("sigmoid", "broad", seed=2, scale=15, bias=-11, steps=2000, apart=0.25),
    "mini-biomedclip": Recipe("softmax", "medical", seed=3, scale=50, steps=2500, apart=0.2),
    "mini-medsiglip": Recipe("sigmoid", "medical", seed=4, scale=40, bias=-24, steps=5000, apart=0.2, lr=5e-4),
}


def training_pairs(data, seed=1, drawings=9000, phantoms=9000):
    """Pairs to train on, all outside every evaluation dataset.

    `broad` are drawings and icons with their names. `medical` mixes some of them with chest, skin and fundus phantoms
    of another seed than the evaluation sets', about as many of each.

    Returns
    -------
    DataFrame
        Columns `image`, `text`, `source`, and `varied`: whether training shows an altered copy each time.
    """
    broad = pd.read_parquet(BROAD).query("split == 'train'").assign(varied=True)
    if data == "broad":
        return broad.loc[broad.index.repeat(broad["source"].map(OFTEN).fillna(1).astype(int))]
    broad = broad.sample(min(drawings, len(broad)), random_state=seed)
    return pd.concat([broad, *_phantoms(phantoms, seed)])


def held_out(data):
    """`CANDIDATES` pairs to validate on, or nearly as many: of `broad`, drawings, and of `medical`, phantoms."""
    if data == "medical":
        return pd.concat(_phantoms(CANDIDATES // len(PHANTOMS), seed=2))
    rng = np.random.default_rng(0)
    table = pd.read_parquet(paths.PAIRS / "held_out.parquet")
    return table.assign(text=[vary(text, rng) for text in table["text"]])


def _phantoms(n, seed):
    return [make(n=n, seed=seed).pairs.assign(varied=False, source=kind) for kind, make in PHANTOMS.items()]


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
    """Randomly turned (10 degrees), zoomed (15 %), shifted (8 %), mirrored and tinted copies of a batch."""
    n = len(pixels)
    turn, zoom, dx, dy = (2 * torch.rand(4, n, generator=generator) - 1) * torch.tensor(
        [[0.17], [0.15], [0.08], [0.08]]
    )
    mirror = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0)
    cos = torch.cos(turn) * (1 + zoom)
    sin = torch.sin(turn) * (1 + zoom)
    theta = torch.stack([torch.stack([cos * mirror, -sin, dx], 1), torch.stack([sin * mirror, cos, dy], 1)], 1)
    grid = F.affine_grid(theta.to(pixels.device), list(pixels.shape), align_corners=False)
    moved = F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    return tint(moved, generator)


def tint(pixels, generator):
    """Copies whose ink is paler or stronger in each colour; white paper stays white."""
    white = pixels.amax((0, 2, 3), keepdim=True)
    strength = 0.5 + torch.rand(len(pixels), 3, 1, 1, generator=generator).to(pixels.device)
    return white - (white - pixels) * strength


def vary(text, rng):
    """Of a "name, keyword, keyword, ...": the name, the name with some of the keywords, or some of them alone."""
    name, *keywords = text.split(", ")
    form = rng.random()
    if form < 0.3 or not keywords:
        return name
    picked = sorted(rng.permutation(len(keywords))[: rng.integers(1, 5)])
    told = ", ".join(keywords[i] for i in picked)
    if form > 0.65 and len(keywords) > 2:
        return told
    return name + str(rng.choice([". ", ", "])) + told


def drop_words(text, rng, share=0.15):
    """The text without a random `share` of its words, but never without all of them."""
    kept = [word for word in text.split() if rng.random() >= share]
    return " ".join(kept) or text


def measure(encoder, pixels, tokens, loss):
    """One row of the training curve: measures of the held-out pairs, and the `loss` of the training batch."""
    with torch.inference_mode():
        image, text = (
            torch.cat([tower(part).float() for part in items.split(100)]).cpu().double()
            for tower, items in ((encoder.image_tower, pixels), (encoder.text_tower, tokens))
        )
    image, text = (F.normalize(x, dim=1).numpy() for x in (image, text))
    n = len(image)
    paired = gap.paired_cosine(image, text)
    every = float(image.mean(0) @ text.mean(0))
    return {
        "loss": loss,
        "scale": encoder.model.logit_scale.exp().item(),
        "centroid_distance": gap.centroid_distance(image, text),
        "r_image": cone.mean_resultant_length(image),
        "r_text": cone.mean_resultant_length(text),
        "mean_cosine_image": cone.mean_cosine(image),
        "mean_cosine_text": cone.mean_cosine(text),
        "paired_cosine": paired,
        "unpaired_cosine": (n * every - paired) / (n - 1),
        "recall_at_10": float(np.mean(gap.recall_at_k(image, text, 10))),
    }


def train(name, learned=False, steps=None, device="auto"):
    """Train one mini encoder and write its folder under `data/encoders/`; returns its curve (DataFrame).

    With a `learned` scale, only the curve and the model card of an encoder that is there are written.
    """
    recipe = pick(RECIPES, name, "mini encoder")
    recipe = recipe._replace(steps=steps or recipe.steps)
    final = paths.ENCODERS / name
    torch.set_num_threads(1)  # the same sums in the same order for any number of cores; `make -j2` trains two at once
    torch.manual_seed(recipe.seed)
    fit = training_pairs(recipe.data)
    # Everything is made beside its place and moved there at the end: an interrupted training changes nothing.
    folder = final.with_name(f".{name}{'-learned' * learned}.part")
    shutil.rmtree(folder, ignore_errors=True)
    build(name, list(fit["text"]), encoders.REGISTRY[name].context, folder, final)
    encoder = encoders.load(f"local:{folder}", device, "float32")
    curve = _optimise(name, encoder, recipe, learned, fit, held_out(recipe.data)).round(5)
    if learned:
        curve.to_csv(final / "curve-learned.csv", index=False)
        shutil.rmtree(folder)
    else:
        _save(encoder, folder)
        curve.to_csv(folder / "curve.csv", index=False)
        _replace(final, folder)
    (final / "README.md").write_text(card(name, recipe, len(fit)))
    return curve


def _save(encoder, folder):
    """The encoder's weights in half precision, over the untrained ones of its folder."""
    weights = next(folder.glob("*.safetensors"))
    names = load_file(weights).keys()
    state = encoder.model.state_dict()
    save_file({name: state[name].half().contiguous().cpu() for name in names}, weights, metadata={"format": "pt"})


def _replace(final, folder):
    """Put `folder` in the place of `final`, of which only the learned scale's curve is kept."""
    for kept in final.glob("curve-learned.csv"):
        shutil.copy(kept, folder)
    shutil.rmtree(final, ignore_errors=True)
    folder.rename(final)


DATA = {
    "broad": "drawings and icons with their names and keywords (`make broad`), none of which an evaluation set holds",
    "medical": "drawings and icons with their names (`make broad`), and chest, skin and fundus phantoms of seed 1, so "
    "of other patients than the evaluation sets', whose seed is 0; the held-out pairs are phantoms",
}


def card(name, recipe, n_pairs):
    """The model card of a trained mini: what it is, what from, how good, and what it is not for."""
    folder = paths.ENCODERS / name
    encoder = encoders.load(f"local:{folder}", "cpu")
    runs = {f"scale fixed at {recipe.scale:g}": "curve.csv", "scale learned": "curve-learned.csv"}
    ends = {run: pd.read_csv(folder / file).iloc[-1] for run, file in runs.items() if (folder / file).is_file()}
    head = " | ".join(["", f"Held out, {CANDIDATES} pairs", *ends, ""]).strip()
    measured = [
        " | ".join(["", told, *(f"{end[key]:.3f}" for end in ends.values()), ""]).strip() for key, told in TOLD.items()
    ]
    return f"""# {name}

A small dual encoder ({type(encoder.model).__name__}) that stands for `{name.removeprefix("mini-")}` where that one
cannot be had. For method and teaching: it knows nothing of the world, and the medical ones have never seen a patient.

| | |
|---|---|
| Data | {n_pairs:,} pairs: {DATA[recipe.data]} |
| Licence | CC BY-SA 4.0, because part of the drawings are OpenMoji's |
| Seed | {recipe.seed} |
| Parameters | {sum(p.numel() for p in encoder.model.parameters()):,}, stored in half precision |
| Loss | {recipe.loss}, batch {recipe.batch}, {recipe.steps} AdamW steps, peak learning rate {recipe.lr:g} |

{head}
|---|{"---|" * len(ends)}
{chr(10).join(measured)}

By training step: {" and ".join(f"`{runs[run]}`" for run in ends)}. Chance recall is {10 / CANDIDATES:g}. Trained by
`python data/encoders/train.py {name}`, a learned scale with `--learned`.
"""


TOLD = {
    "recall_at_10": "recall@10",
    "centroid_distance": "centroid distance",
    "r_image": "R of images",
    "r_text": "R of texts",
    "paired_cosine": "paired cosine",
    "unpaired_cosine": "unpaired cosine",
    "scale": "logit scale at the end",
}


def _optimise(name, encoder, recipe, learned, fit, kept):
    """Train the encoder's model in place; returns its curve."""
    model = encoder.model.requires_grad_(True).train()
    if not learned:
        _fix_scale(model, recipe)
    generator = torch.Generator().manual_seed(recipe.seed)
    shown = _pixels(encoder, fit["image"]).to(encoder.device)
    val_pixels = _pixels(encoder, kept["image"]).to(encoder.device).float()
    val_tokens = encoder.tokens(list(kept["text"])).to(encoder.device)
    varied = torch.tensor(fit["varied"].to_numpy())
    optimiser, schedule = _optimiser(model, recipe)
    curve = []
    batches = _batches(fit, recipe, np.random.default_rng(recipe.seed))
    for step in (bar := tqdm(range(recipe.steps + 1), desc=name, mininterval=30)):
        rows, texts = next(batches)
        pixels = _altered(shown[rows].float(), varied[rows], generator)
        loss = _loss(encoder, pixels, encoder.tokens(texts).to(encoder.device), recipe.loss)
        if step % max(recipe.steps // 25, 1) == 0 or step == recipe.steps:
            model.eval()
            here = measure(encoder, val_pixels, val_tokens, loss.item())
            curve.append({"step": step} | here)
            bar.set_postfix(loss=f"{loss.item():.3f}", recall=f"{here['recall_at_10']:.3f}")
            model.train()
        if step < recipe.steps:
            _step(model, loss, optimiser, schedule)
    return pd.DataFrame(curve)


def _fix_scale(model, recipe):
    model.logit_scale.data.fill_(math.log(recipe.scale))
    model.logit_scale.requires_grad_(False)
    if recipe.bias is not None:
        model.logit_bias.data.fill_(recipe.bias)


def _altered(pixels, varied, generator):
    """Augmented copies of the images that are `varied`, the others as they are: their generator varies them already."""
    return torch.where(varied.to(pixels.device)[:, None, None, None], augment(pixels, generator), pixels)


def _step(model, loss, optimiser, schedule):
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    schedule.step()


def _optimiser(model, recipe):
    """AdamW that lets only matrices decay, and its learning rate's one cycle."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, recipe.lr, (0.9, 0.98))
    return optimiser, torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.lr, recipe.steps + 1, pct_start=0.1)


def _batches(fit, recipe, rng):
    """Rows and texts of one batch after the other, without end: an epoch's in a random order, then another's."""
    texts = fit["text"].to_numpy()
    varied = fit["varied"].to_numpy()
    while True:
        for rows in _epoch(fit["source"].to_numpy(), recipe, rng):
            yield rows, [drop_words(vary(texts[row], rng), rng) if varied[row] else texts[row] for row in rows]


def _epoch(source, recipe, rng):
    """Rows of an epoch's batches. A share `apart` of all rows meets only rows of its own source, the rest are mixed.

    Where a batch has one manner of drawing and of naming, only what is drawn tells its pairs apart.
    """
    order = rng.permutation(len(source))
    alone = rng.random(len(source)) < recipe.apart
    batches = []
    mixed = [order[~alone[order]]]
    for name in np.unique(source):
        own = order[alone[order] & (source[order] == name)]
        whole = len(own) // recipe.batch * recipe.batch
        batches += np.split(own[:whole], range(recipe.batch, whole, recipe.batch)) if whole else []
        mixed.append(own[whole:])
    rest = rng.permutation(np.concatenate(mixed))
    whole = len(rest) // recipe.batch * recipe.batch
    batches += np.split(rest[:whole], range(recipe.batch, whole, recipe.batch)) if whole else []
    return [batches[place] for place in rng.permutation(len(batches))]


def _loss(encoder, pixels, tokens, kind):
    model = encoder.model
    with torch.autocast(pixels.device.type, torch.bfloat16):
        image = encoder.image_tower(pixels)
        text = encoder.text_tower(tokens)
    image = F.normalize(image.float(), dim=1)
    text = F.normalize(text.float(), dim=1)
    scale = model.logit_scale.clamp(max=np.log(100)).exp()
    return contrastive_loss(image, text, scale, getattr(model, "logit_bias", None), kind)


def _pixels(encoder, images):
    # Half precision keeps tens of thousands of decoded images in two gigabytes; they hold 8 bits anyway.
    parts = []
    for start in range(0, len(images), 256):
        decoded = [pairs.open_image(image) for image in images.iloc[start : start + 256]]
        parts.append(encoder.pixels(decoded).half())
    return torch.cat(parts)


def main():
    parser = argparse.ArgumentParser(description="Train mini encoders.")
    parser.add_argument("names", nargs="*", default=list(RECIPES), metavar="NAME")
    parser.add_argument("--learned", action="store_true", help="learn the logit scale, for its curve alone")
    parser.add_argument("--steps", type=int, help="instead of the recipe's number of steps")
    arguments = parser.parse_args()
    for name in arguments.names:
        start = time.perf_counter()
        curve = train(name, arguments.learned, arguments.steps)
        print(
            json.dumps(
                {"encoder": name, "minutes": round((time.perf_counter() - start) / 60, 1)} | curve.iloc[-1].to_dict()
            )
        )


if __name__ == "__main__":
    main()

"""The same captioned pictures in every form that your own pairs may have, under the names of docs/your-pairs.md."""

import io
import json
import tarfile

import numpy as np
import pandas as pd
from made import sphere
from PIL import Image

N = 12
SPLITS = ("train", "train", "validation", "test")
RED = 20  # picture i has red i * RED


def picture(i, kind="PNG"):
    """A picture whose colour tells which it is; for JPEG, nearly."""
    to = io.BytesIO()
    Image.new("RGB", (16, 16), (i * RED, 0, 0)).save(to, kind)
    return to.getvalue()


def caption(i):
    return f"drawing {i}, NA or 007"


def records(image="image", text="text", start=""):
    """One record a pair, labels and splits beside it."""
    return [
        {image: f"{start}{i}.png", text: caption(i), "label": "ab"[i // 4 % 2], "split": SPLITS[i % 4]}
        for i in range(N)
    ]


def unlabelled(rows):
    return [{key: value for key, value in row.items() if key not in ("label", "split")} for row in rows]


def photos(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(N):
        (folder / f"{i}.png").write_bytes(picture(i))


def make_csv(path, rows=None):
    photos(path.parent / "photos")
    separator = "\t" if path.suffix == ".tsv" else ","
    pd.DataFrame(rows or records(start="photos/")).to_csv(path, sep=separator, index=False)


def make_json(path, rows=None):
    photos(path.parent / "photos")
    rows = rows or records("filepath", "caption", "photos/")
    lines = "\n".join(json.dumps(row) for row in rows)
    path.write_text(lines if path.suffix == ".jsonl" else json.dumps(rows))


def make_coco(path):
    """Two captions an image, the images in another folder than the captions."""
    photos(path.parent.parent / "train2017")
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"id": 100 + i, "file_name": f"{i}.png", "width": 16} for i in range(N)]
    captions = [{"id": i, "image_id": 100 + i % N, "caption": caption(i % N)} for i in range(2 * N)]
    path.write_text(json.dumps({"info": {}, "licenses": [], "images": images, "annotations": captions}))


def make_parquet(path, held="struct"):
    """Images as structs of bytes and path, as bytes, or as paths."""
    photos(path.parent / "photos")
    rows = records(start="photos/")
    for i, row in enumerate(rows):
        row["image"] = {"struct": {"bytes": picture(i), "path": None}, "bytes": picture(i)}.get(held, row["image"])
    pd.DataFrame(rows).to_parquet(path)


def make_folder(path):
    """A folder of images a split, each with its metadata."""
    for split in dict.fromkeys(SPLITS):
        rows = [row for row in records("file_name") if row["split"] == split]
        (path / split).mkdir(parents=True)
        for row in rows:
            (path / split / row["file_name"]).write_bytes(picture(int(row["file_name"][:-4])))
        pd.DataFrame(rows).drop(columns="split").to_csv(path / split / "metadata.csv", index=False)


def make_stored(path, splits=True):
    """What `save_to_disk` writes, with images inside and classes by number."""
    import datasets

    features = {"image": datasets.Image(), "caption": datasets.Value("string")}
    features = datasets.Features(features | {"label": datasets.ClassLabel(names=["b", "a"])})
    parts = {}
    for split in dict.fromkeys(SPLITS):
        chosen = [i for i in range(N) if SPLITS[i % 4] == split]
        rows = [(picture(i), caption(i), "ab"[i // 4 % 2]) for i in chosen]
        columns = dict(zip(("image", "caption", "label"), map(list, zip(*rows, strict=True)), strict=True))
        columns["image"] = [{"bytes": image, "path": None} for image in columns["image"]]
        parts[split] = datasets.Dataset.from_dict(columns, features)
    whole = datasets.DatasetDict(parts) if splits else datasets.concatenate_datasets(list(parts.values()))
    whole.save_to_disk(str(path))


def make_shard(path, chosen=range(N), text="txt"):
    """A WebDataset shard; pictures of three kinds, label in a JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for i in chosen:
            kind = ("png", "webp")[i % 2]
            facts = {"label": "ab"[i // 4 % 2]} | ({"caption": caption(i)} if text == "json" else {})
            files = {kind: picture(i, kind), "json": json.dumps(facts).encode()}
            for ending, data in (files | ({"txt": caption(i).encode()} if text == "txt" else {})).items():
                about = tarfile.TarInfo(f"some/{i:05d}.{ending}")
                about.size = len(data)
                tar.addfile(about, io.BytesIO(data))


def make_all(folder):
    """All pairs that docs/your-pairs.md names, under `folder`."""
    make_csv(folder / "mine.csv")
    make_csv(folder / "mine.tsv")
    make_json(folder / "mine.json")
    make_json(folder / "mine.jsonl")
    make_coco(folder / "annotations" / "captions_train2017.json")
    make_parquet(folder / "mine.parquet")
    make_folder(folder / "birds")
    make_stored(folder / "saved")
    for split in dict.fromkeys(SPLITS):
        make_shard(folder / "shards" / f"{split}-000.tar", [i for i in range(N) if SPLITS[i % 4] == split])


def make_embeddings(place, n=40, d=12):
    """The embeddings that docs/your-pairs.md names, without labels but in the CSV, beside and under `folder`."""
    import datasets
    import torch
    from safetensors.torch import save_file

    rng = np.random.default_rng(0)
    both = {"image": sphere(rng, n, d, 0.3), "text": sphere(rng, n, d, -0.3)}
    lists = {f"{kind}_embedding": list(x) for kind, x in both.items()}
    np.savez(place / "folder" / "mine.npz", **both)
    save_file({kind: torch.from_numpy(x) for kind, x in both.items()}, place / "folder" / "mine.safetensors")
    np.save(place / "features_clip.npy", np.stack(list(both.values())))
    pd.DataFrame(lists).to_parquet(place / "folder" / "mine-embedded.parquet")
    datasets.Dataset.from_dict(lists).save_to_disk(place / "folder" / "embedded")
    table = pd.DataFrame({"image_id": range(n), "questions": [f"what is {i}?" for i in range(n)]})
    table["answers"] = ["ab"[i % 2] for i in range(n)]
    for prefix, x in (("img", both["image"]), ("text", both["text"])):
        table = table.join(pd.DataFrame(x).add_prefix(f"{prefix}_emb_"))
    table.to_csv(place / "embeddings_clip.csv", index=False)

"""Print what the minis make of the embedded datasets, beside what is published of the released encoders.

`python data/encoders/measure.py`; data/README.md has both tables.
"""

import numpy as np
import pandas as pd
from train import CANDIDATES, RECIPES

from gaplib import cone, datasets, encoders, gap, paths
from gaplib.datasets.pairs import open_image

MEDICAL = ("mimic-cxr", "ham10000", "brset", "mbrset")
EMBEDDED = ("clipart", "emoji", "clipart-qa", "phantom-cxr", "phantom-derm", "phantom-fundus")


def candidates(pairs: pd.DataFrame) -> pd.DataFrame:
    """`CANDIDATES` test pairs of a dataset's, drawn with a seed."""
    return pairs[pairs["split"] == "test"].sample(CANDIDATES, random_state=0)


def measured(encoder: encoders.Encoder, pairs: pd.DataFrame) -> dict[str, float]:
    """Cones, gap and retrieval of the pairs."""
    image = encoder.encode_images([open_image(image) for image in pairs["image"]])
    text = encoder.encode_texts(list(pairs["text"]))
    return {
        "R image": cone.mean_resultant_length(image),
        "R text": cone.mean_resultant_length(text),
        "distance": gap.centroid_distance(image, text),
        "paired": gap.paired_cosine(image, text),
        "unpaired": float((image @ text.T)[~np.eye(len(image), dtype=bool)].mean()),
        "recall@10": float(np.mean(gap.recall_at_k(image, text, 10))),
    }


def published() -> pd.DataFrame:
    """Least and greatest published R by kind of dataset and modality, one row an encoder."""
    table = pd.read_csv(paths.DATA / "published" / "published_cone.csv")
    kind = np.where(table["dataset"].isin(MEDICAL), "medical", "natural")
    grouped = table.groupby(["encoder", kind, "modality"])["mean_resultant_length"]
    spans = grouped.agg(lambda r: f"{r.min():.2f} to {r.max():.2f}").unstack([1, 2])
    spans.columns = [f"{kind}, {modality}" for kind, modality in spans.columns]
    return spans.reset_index()


def main() -> None:
    tables = {name: candidates(datasets.load(name).pairs) for name in EMBEDDED}
    rows = []
    for name in RECIPES:
        encoder = encoders.load(name)
        rows += [{"dataset": dataset, "encoder": name} | measured(encoder, pairs) for dataset, pairs in tables.items()]
    table = pd.DataFrame(rows).sort_values("dataset", key=lambda names: names.map(EMBEDDED.index), kind="stable")
    print(table.to_markdown(index=False, floatfmt=".2f"))
    print(published().to_markdown(index=False))


if __name__ == "__main__":
    main()

"""Make emoji.parquet (evaluation) and broad.parquet (encoder training) from the icon sets that Iconify publishes.

uv pip install --target data/downloads/vendor resvg-py==0.5.0
PYTHONPATH=data/downloads/vendor python data/pairs/iconify.py emoji broad

Packages are fetched once, in pinned versions, by `npm pack` into `data/downloads/icons`; broad.parquet is written
beside them. emoji.parquet is committed, so `broad` needs no `emoji` first.
"""

import argparse
import io
import json
import re
import subprocess
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from build import VARIANT, close_pairs, fit, plain
from PIL import Image
from scipy.fft import dctn
from tqdm import tqdm

from gaplib import paths
from gaplib.datasets.pairs import open_image, split_by_group

FOLDER = paths.DATA / "downloads" / "icons"
EMOJIBASE = ("emojibase-data", "17.0.0")  # names, keywords and groups (MIT; from Unicode CLDR, Unicode licence)
SETS = {  # set: version, its style in words
    "noto": ("1.2.9", "shaded emoji"),
    "noto-v1": ("1.2.5", "blob emoji"),
    "twemoji": ("1.2.5", "flat emoji"),
    "fluent-emoji-flat": ("1.2.6", "flat emoji"),
    "emojione": ("1.2.3", "emoji"),
    "openmoji": ("1.2.29", "outlined emoji"),
    "fxemoji": ("1.2.2", "emoji"),
    "flat-color-icons": ("1.2.3", "flat picture"),
    "game-icons": ("1.2.4", "silhouette"),
    "icon-park": ("1.2.4", "line drawing"),
    "streamline-ultimate-color": ("1.2.2", "colour drawing"),
    "streamline-color": ("1.2.2", "colour icon"),
    "streamline-plump-color": ("1.2.2", "plump drawing"),
    "streamline-kameleon-color": ("1.2.2", "round picture"),
    "streamline-flex-color": ("1.2.2", "colour icon"),
    "streamline-sharp-color": ("1.2.2", "angular icon"),
    "streamline-freehand-color": ("1.2.2", "freehand drawing"),
    "meteocons": ("1.2.4", "weather picture"),
    "circle-flags": ("1.2.11", "round flag"),
    "mdi": ("1.2.3", "icon"),
    "material-symbols": ("1.2.98", "symbol"),
    "ph": ("1.2.2", "line icon"),
    "tabler": ("1.2.41", "outline icon"),
    "healthicons": ("1.2.13", "pictogram"),
    "maki": ("1.2.5", "map icon"),
    "temaki": ("1.2.6", "map icon"),
}
# Packages whose keywords serve every set (ISC, MIT, Apache 2.0).
LUCIDE = ("lucide-static", "1.62.0")
TABLER = ("@tabler/icons", "3.52.0")
MDI = ("@mdi/svg", "7.4.47")
EVALUATED = ("noto", "noto-v1", "twemoji", "fluent-emoji-flat", "emojione", "fxemoji")  # sets of emoji.parquet
EMOJI = (*EVALUATED, "openmoji")
# Groups of Unicode's emoji by their number. Flags are left out: their keywords are countries, and nothing else is.
GROUPS = {0: "smileys", 1: "people", 3: "animals", 4: "food", 5: "travel", 6: "activities", 7: "objects", 8: "symbols"}
NAMES_A_GROUP = re.compile(
    r"smiley|emotion|emoji|person|people|human|^bod(y|ies)$|animal|natur|food|drink|^(eat|meal)|travel|^places?$|"
    r"activit|^objects?$|symbol|^signs?$|^flags?$|^(m[ae]n|wom[ae]n|boys?|girls?)$"
)
ROWS = 3200  # of emoji.parquet, about
KEYWORDS = 4  # that an emoji's text has at most
HELD_OUT = 400  # training pairs that are committed, to measure an encoder on
MOST_TOLD = 12  # keywords of a training picture
SIDE = 64  # pixels of a picture
TWINS = re.compile(
    r"-(rounded|sharp|outline-rounded|outline-sharp|bold|thin|light|duotone|off|24px)$|skin-tone|-tone\d|alpha-"
)
COLOURS = {
    "red": "#d62728", "blue": "#1f5fd0", "green": "#2a9134", "yellow": "#f2c500", "orange": "#f57c00",
    "purple": "#7b3fa0", "pink": "#ee6fa8", "brown": "#7a4b25", "grey": "#808080",
}  # fmt: skip


def fetch(package: str, version: str) -> dict:
    """The JSON files of an npm package by name, fetched once."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    archive = FOLDER / f"{package.strip('@').replace('/', '-')}-{version}.tgz"
    if not archive.exists():
        subprocess.run(["npm", "pack", "--silent", f"{package}@{version}"], cwd=FOLDER, check=True)
    with tarfile.open(archive) as tar:
        members = [m for m in tar.getmembers() if re.fullmatch(r"package/(en/)?\w+\.json", m.name)]
        return {Path(m.name).stem: json.load(tar.extractfile(m)) for m in members}


@cache
def icon_set(name: str) -> dict:
    """An Iconify set: `icons`, `info` (author and licence), and where it has them `chars` and `metadata`."""
    return fetch(f"@iconify-json/{name}", SETS[name][0])


def svg(icons: dict, name: str, colour: str = "#222222") -> str:
    """The SVG document of one icon; what it leaves to the reader's text colour is drawn in `colour`."""
    icon = icons["icons"][name]
    box = [icon.get(key, icons.get(key, default)) for key, default in BOX.items()]
    head = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
    return f'{head}viewBox="{" ".join(map(str, box))}">{icon["body"].replace("currentColor", colour)}</svg>'


BOX = {"left": 0, "top": 0, "width": 16, "height": 16}


def render(document: str) -> Image.Image | None:
    """A picture on white, cut to its drawing and centred; None where it is blank, broken or of many things."""
    from resvg_py import svg_to_bytes

    try:
        file = svg_to_bytes(svg_string=document, width=2 * SIDE, height=2 * SIDE)
    except ValueError:  # resvg's word for a document that it cannot draw
        return None
    return fit(Image.open(io.BytesIO(bytes(file))))


def webp(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "WEBP", lossless=True, quality=100, method=4)
    return file.getvalue()


def slug(text: str) -> str:
    return plain(re.sub("['’]", "", text)).replace(" ", "-")


def family(label: str) -> str:
    """What the variants of an emoji have in common: no sex, colour, direction or hour."""
    key = re.sub(VARIANT, " ", plain(label))
    key = re.sub(r"\b(boys?|girls?|(half|quarter|past|thirty|o clock|oclock|one|two|three|four|five|six|seven|eight|"
                 r"nine|ten|eleven|twelve)|medium|dark|light|kiss|couple|family)\b", " ", key)  # fmt: skip
    return " ".join(sorted(key.split())) or "plain"


class Emoji:
    """Unicode's emoji: which one an icon of a set is, in which group, and its keywords."""

    def __init__(self) -> None:
        known = fetch(*EMOJIBASE)["data"]
        self.facts = {_bare(e["hexcode"]): e for e in known if "group" in e}
        self.codes = {slug(e["label"]): code for code, e in self.facts.items()}
        for name in ("noto", "twemoji", "fluent-emoji-flat", "openmoji"):
            for code, icon in icon_set(name)["chars"].items():
                if _bare(code) in self.facts:
                    self.codes.setdefault(icon, _bare(code))
        self.joined = {icon.replace("-", ""): code for icon, code in self.codes.items()}

    def code(self, icon: str) -> str | None:
        """Code points of the emoji that an icon's name stands for; None where it stands for none."""
        return self.codes.get(icon) or self.joined.get(icon.replace("-", ""))

    def of_set(self, name: str) -> dict:
        """The icon of each emoji in a set."""
        icons = icon_set(name)["icons"]
        found = {}
        aliases = {alias: about["parent"] for alias, about in icons.get("aliases", {}).items()}
        for icon in [*icons["icons"], *aliases]:
            code = self.code(icon)
            if code and aliases.get(icon, icon) in icons["icons"]:
                found.setdefault(code, aliases.get(icon, icon))
        return found


def _bare(code: str) -> str:
    return code.upper().replace("-FE0F", "")


def emoji_text(facts: dict, rng: np.random.Generator) -> str:
    """'keyword, keyword': each version has others, and none names the group; the name where there are too few."""
    tags = dict.fromkeys(map(_ungrouped, facts.get("tags", ())))
    tags = [tag for tag in tags if tag]
    if len(tags) < 2:
        return ", ".join(filter(None, [_ungrouped(facts["label"]), *tags]))
    picked = sorted(rng.permutation(len(tags))[: rng.integers(2, KEYWORDS + 1)])
    return ", ".join(tags[i] for i in picked)


def _ungrouped(text: str) -> str:
    """The words of a text that do not name a group, without the little words that then stand at its ends."""
    kept = [word for word in text.split() if not NAMES_A_GROUP.search(plain(word))]
    return re.sub(r"^((of|and|with|in|on|for)\s+)+|(\s+(of|and|with|in|on|for))+$|[\s:,&-]+$", "", " ".join(kept))


def make_emoji() -> pd.DataFrame:
    """The evaluation set: several sets' versions of some emoji, in whole families."""
    emoji = Emoji()
    of_set = {name: emoji.of_set(name) for name in EVALUATED}
    rows = []
    for code, kin in _chosen(emoji, of_set).items():
        facts = emoji.facts[code]
        for number, name in enumerate(EVALUATED):
            if code not in of_set[name]:
                continue
            image = render(svg(icon_set(name)["icons"], of_set[name][code]))
            rng = np.random.default_rng([int(code.split("-")[0], 16), number])
            rows.append((image, emoji_text(facts, rng), kin, GROUPS[facts["group"]], name))
    table = pd.DataFrame(rows, columns=["image", "text", "group", "label", "source"])
    table = table[table["image"].notna() & (table["text"].str.len() > 2)].reset_index(drop=True)
    table = table.drop(index=twins(table["image"], table["group"])).reset_index(drop=True)
    table["licence"] = table["source"].map({name: icon_set(name)["info"]["license"]["spdx"] for name in EVALUATED})
    # 64 colours are enough for a flat drawing, and halve the file.
    reduced = [image.quantize(64, dither=Image.Dither.NONE).convert("RGB") for image in table["image"]]
    table = table.assign(image=list(map(webp, reduced))).drop_duplicates("image").reset_index(drop=True)
    table.insert(2, "split", split_by_kind(table))
    return table


def split_by_kind(table: pd.DataFrame) -> pd.Series:
    """Splits by whole families, each Unicode group cut by itself, so that a small one is in all three."""
    kind = table.groupby("group")["label"].transform("first")
    parts = [pd.Series(split_by_group(rows), rows.index) for _, rows in table["group"].groupby(kind)]
    return pd.concat(parts).sort_index()


def _chosen(emoji: Emoji, of_set: dict) -> pd.Series:
    """Families by emoji: of those that at least three sets draw, whole families at random, up to `ROWS` pictures."""
    drawn = pd.Series({code: sum(code in icons for icons in of_set.values()) for code in emoji.facts})
    kept = [code for code in drawn.index[drawn >= 3] if emoji.facts[code]["group"] in GROUPS]
    kin = pd.Series({code: family(emoji.facts[code]["label"]) for code in kept})
    order = np.random.default_rng(0).permutation(kin.unique())
    sizes = drawn[kept].groupby(kin).sum()[order].cumsum()
    return kin[kin.isin(sizes.index[sizes <= ROWS])]


def hashes(images: Iterable[Image.Image]) -> np.ndarray:
    """Perceptual hashes of pictures and of their drawings alone, uint64 of shape (n, 2): see `build.tidy`."""
    small = [[np.asarray(part.convert("L").resize((32, 32), Image.BOX), np.float32) for part in _parts(image)]
             for image in images]  # fmt: skip
    low = dctn(np.array(small), axes=(2, 3), norm="ortho")[:, :, :8, :8].reshape(-1, 2, 64)
    return np.packbits(low > np.median(low, axis=2, keepdims=True), axis=2).view(np.uint64)[:, :, 0]


def _parts(image: Image.Image) -> tuple[Image.Image, Image.Image]:
    return image, image.crop(image.convert("L").point(lambda v: 255 - v).getbbox())


def twins(images: pd.Series, group: pd.Series) -> list:
    """Rows that look like an earlier one of another group."""
    cut = hashes(images)[:, 1]
    thumbs = np.array([np.asarray(_parts(image)[1].resize((8, 8), Image.BOX), np.int16) for image in images])
    drop = set()
    for i, j in close_pairs(cut, cut, 6):
        if i < j and i not in drop and group[i] != group[j] and np.abs(thumbs[i] - thumbs[j]).mean() < 7:
            drop.add(j)
    return sorted(drop)


def make_broad() -> pd.DataFrame:
    """Training pairs: every set's icons and leftover OpenClipart drawings, less what any evaluation set holds."""
    rows = [row for name in SETS for row in tqdm(_rows(name, Emoji()), desc=name)]
    art = pd.read_parquet(paths.PAIRS / "drawings.parquet").query("source == 'openclipart'")
    images = map(open_image, art["image"])
    rows += [
        (image, text, "openclipart", "CC0-1.0")
        for image, text in zip(images, art["text"].str.replace(". ", ", ", regex=False), strict=True)
    ]
    table = pd.DataFrame(rows, columns=["image", "text", "source", "licence"])
    known = hashes(table["image"])
    drop = set()
    for which in (0, 1):
        held = np.concatenate([hashes(map(open_image, _evaluated(name)))[:, which] for name in ("clipart", "emoji")])
        drop |= {i for i, _ in close_pairs(known[:, which], held, 6)}
        drop |= {j for i, j in close_pairs(known[:, which], known[:, which], 2 - 2 * which) if i < j}
    table = table.drop(index=sorted(drop)).reset_index(drop=True)
    table["image"] = [webp(image) for image in tqdm(table["image"], desc="packing")]
    table["group"] = table["text"].map(lambda text: family(text.split(",")[0]))
    table["split"] = split_by_group(table["group"], 0, (0.96, 0.04, 0))
    return table


def _evaluated(name: str) -> pd.Series:
    return pd.read_parquet(paths.PAIRS / f"{name}.parquet", columns=["image"])["image"]


def _rows(name: str, emoji: Emoji) -> Iterator[tuple]:
    """Pictures of one set with their texts; of an emoji set, only emoji whose family is not evaluated."""
    found = icon_set(name)
    icons = found["icons"]
    licence = found["info"]["license"]["spdx"]
    held = set(pd.read_parquet(paths.PAIRS / "emoji.parquet", columns=["group"])["group"])
    about = _keywords(found)
    for number, icon in enumerate(sorted(icons["icons"])):
        code = emoji.code(icon) if name in EMOJI else None
        if TWINS.search(icon) or not re.search("[a-z]{2}", icon) or any("brand" in tag for tag in about[icon]):
            continue
        if name in EMOJI and (code is None or family(emoji.facts[code]["label"]) in held):
            continue
        rng = np.random.default_rng([list(SETS).index(name), number])
        plain_ink = "currentColor" in icons["icons"][icon]["body"] and rng.random() < 0.4
        colour = str(rng.choice(list(COLOURS))) if plain_ink else ""
        image = render(svg(icons, icon, COLOURS.get(colour, "#222222")))
        if image is not None:
            tags = [*about[icon], *(emoji.facts[code].get("tags", ()) if code else associations(icon))]
            yield image, broad_text(icon, colour, SETS[name][1], tags), name, licence


def _keywords(found: dict) -> dict:
    """What a set says of each icon beside its name: its other names and its categories."""
    about = {icon: [f"brand {icon}"] if icon.startswith("brand-") else [] for icon in found["icons"]["icons"]}
    for alias, facts in found["icons"].get("aliases", {}).items():
        if facts["parent"] in about:
            about[facts["parent"]].append(alias.replace("-", " "))
    for category, names in found.get("metadata", {}).get("categories", {}).items():
        for icon in names:
            if icon in about:
                about[icon].append(plain(category))
    return about


@cache
def lexicon() -> dict[str, list[str]]:
    """Keywords by icon name, from the three sets whose packages tell them."""
    known = defaultdict(list)
    for name, tags in fetch(*LUCIDE)["tags"].items():
        known[name] += tags
    for name, facts in fetch(*TABLER)["icons"].items():
        known[name] += [str(tag) for tag in facts["tags"]]
    for facts in fetch(*MDI)["meta"]:
        known[facts["name"]] += facts["aliases"]
    return {name: [plain(tag) for tag in tags if re.search("[A-Za-z]{2}", tag)] for name, tags in known.items()}


def associations(icon: str) -> list[str]:
    """Keywords of an icon's name in any set; or where no set has such a name, of the words in it."""
    known = lexicon()
    return known.get(icon) or [tag for word in icon.split("-") if len(word) > 2 for tag in known.get(word, ())]


def broad_text(icon: str, colour: str, style: str, tags: Iterable[str]) -> str:
    """ "name, keyword, keyword, style": all that is known, of which training picks anew each time."""
    name = " ".join(filter(None, [colour, icon.replace("-", " ")]))
    told = [tag for tag in dict.fromkeys(tags) if tag and "," not in tag and tag != name]
    return ", ".join([name, *told[:MOST_TOLD], style])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="+", choices=["emoji", "broad"])
    for name in parser.parse_args().tables:
        table = make_emoji() if name == "emoji" else make_broad()
        path = paths.PAIRS / "emoji.parquet" if name == "emoji" else FOLDER / "broad.parquet"
        table.to_parquet(path, index=False)
        if name == "broad":
            held_out = table[table["split"] == "val"].sample(HELD_OUT, random_state=0)
            held_out.to_parquet(paths.PAIRS / "held_out.parquet", index=False)
        print(f"{name}: {len(table)} pairs, {path.stat().st_size / 1e6:.1f} MB")
        print(table.groupby(["source", "licence"]).size())


if __name__ == "__main__":
    main()

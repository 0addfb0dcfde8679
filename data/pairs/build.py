"""Make clipart.parquet (evaluation) and drawings.parquet (encoder training) from the packages of OpenClipart.

apt-get download openclipart-svg openclipart-png  # unpack: dpkg -x FILE FOLDER
python data/pairs/build.py FOLDER
"""

import argparse
import html
import io
import re
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from gaplib.datasets.pairs import split_by_group

SIDE, MARGIN, MOST_FLAGS, SAME_TEXT, MOST_TAGS = 64, 2, 400, 6, 12  # SAME_TEXT: rows that may share a text
ROW = ["image", "title", "tags", "source", "label"]
LARGEST = 30_000_000  # pixels; from twice as many on, a picture is a decompression bomb, and skipped

FOLDERS = {  # label: its folders of the collection; the first match wins
    "flags": "SIGN/flags/",
    "animals": "animals/|unsorted/(anatra|ape_|cammello|elefan|gabb|mucca|papera|pec|pennut|ping|str)",
    "food": "food/",
    "nature": "plants/|(geography|science)/astronomy/|SIGN/(weather/|clouds?_|map_symbols/(hill|mo|tree))",
    "signs": "transportation/(roadsigns|aiga-symbols)/|SIGN/(hazard/|map_symbols/|disab|[^/]*$)",
    "people": "people/|unsorted/(carp|colombo|corr|donna|imbi|pesis|princ|ragaz|signorin|traslo)",
    "travel": "transportation/|buildings/|geography/|unsorted/(ambul|beton|carretta|condom|fatt|gratt|prof)",
    "recreation": "recreation/",
    "technology": "electronics/|science/|computer/(hardware|connectors|network|games)/|computer/[^/]*$",
    "office": "office/|education/",
    "tools": "tools/|containers/|SIGN/(clocks|money)/",
}
LEAK = re.compile(  # words that would spell out a label contain one of these
    r"flag|ensign|banner|united_?nat|subnational|semaphore|animal|mammal|creature|food|beverage|^(drink|meal)s?$|"
    r"^eat|dessert|natur|astronom|weather|geogra|sign|s[iy]mbol|pictogram|people|person|human|bodypart|travel|"
    r"transport|vehicle|place|location|^(plant|building|map)s?$|recreat|leisure|entertain|hobb|activit|techn|"
    r"electronic|comput|scien|office|educati|stud[iy]|^work$|school|tool|utensil|equipment"
)
SKIP = re.compile(  # icon themes, logos, sheets of many things, and what does not belong in a classroom
    r"computer/(icons|buttons|folders)/|computer/bb_|logos/|shapes/stars/|special/(exam|grad)|games/cards/|gradient|"
    r"pantyhose|stripper|sexy|erot|nude|naked|swastika|nazi|sunwheel|wmd|iconset|menu_example|"
    r"(?i:\b(sets?|collection|assorted|various|samples?|sheet|fonts?|template)\b)"
)
NOISE = re.compile(  # keywords that say nothing of the picture
    r"0x|^[\d\W]*$|^(hash|unsorted|special|(open ?)?clip ?art|images?|icons?|appicon|theme|webpage|shapes?|\w+sym|work|"
    r"(signs?|symbols?| and )+|map symbol|decorations?|united nations member|subnational|roadsign|home automation)$"
)
FILLER = r"clip ?art by [\w .]+ - |(open ?)?clip ?art|\b(aiga|ganson|rollandin|francesco|nicu buculei)\b|"
FILLER += r"- (RPG|body part).*|in svg format|\.?svg\b|\b\d*c?m bwh|#\d+"
VARIANT = (  # words in which the variants of one drawing differ
    r"\b(a|an|the|of|in|on|and|with|left|right|up|down|top|bottom|corner|upper|lower|outline|filled|fill|solid|bw|h|v|"
    r"black|white|red|green|blue|yellow|orange|purple|pink|gr[ea]y|brown|cyan|small|big|large|new|old|colou?r|alt|"
    r"horizontal|vertical|version|variant|simple|plain|m[ae]n|wom[ae]n|person|\d+)\b"
)


def plain(text):
    """Lower-case ASCII words, separated by single spaces."""
    text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", " ", text).strip()


def words(text):
    """Readable words of a name: camel case, underscores, hyphens, fillers and running numbers undone."""
    text = re.sub(FILLER, " ", text.replace("_", " "), flags=re.I)
    text = re.sub(r"(?<=\w)-(?=\w)", " ", re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", text))
    text = re.sub(r"(?<=[A-Za-z]{2})\d+\b|\b0\d*\b|\bv?\d+(\.\d+)+\b|(?<=\s)\d{1,2}$", " ", text)
    return re.sub(r"\s+", " ", text).strip(" .,-_:;")


def caption(title, tags, label):
    """'Title. keyword, keyword' without noise and without the words that spell the label out."""
    kept = []
    for text in (title, *(t.lower().replace("_", " ").strip() for t in tags)):
        text = "" if kept and NOISE.search(text) else text
        text = " ".join(w for w in text.split() if not (label and LEAK.search(plain(w))))
        text = re.sub("[()]", "", text) if text.count("(") != text.count(")") else text
        text = re.sub(r"^((of|and|the|for|in|with|by|to|a|di|de|-)\s+)+", "", text, flags=re.I)
        kept.append(re.sub(r"(\s+(of|and|with|the|for|in|by|to|-))+$|[\s,&-]+$", "", text, flags=re.I))
    tags = {plain(t): t for t in kept if len(plain(t)) > 1 and plain(t) != plain(kept[0])}
    texts = kept[0][:1].upper() + kept[0][1:], ", ".join([*tags.values()][:MOST_TAGS])
    return ". ".join(filter(None, texts))


def fit(picture):
    """`picture` on white, cut to its drawing, centred in a square; None when blank or of many things."""
    rgb = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture.convert("RGBA"))
    ink = np.asarray(rgb).min(axis=2) < 245
    if ink.mean() < 0.004 or min(rgb.size) < 24:
        return None
    rgb = rgb.crop(Image.fromarray(ink).getbbox())
    size = [max(1, round((SIDE - 2 * MARGIN) * s / max(rgb.size))) for s in rgb.size]
    square = Image.new("RGB", (SIDE, SIDE), "white")
    square.paste(rgb.resize(size, Image.LANCZOS), ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
    pixels = np.asarray(square)
    parts = np.bincount(ndimage.label(ndimage.binary_dilation(pixels.min(axis=2) < 235))[0].ravel())[1:]
    sheet = (parts >= 12).sum() >= 9 and parts.max() < 4 * np.median(parts[parts >= 12])
    return None if sheet or min(size) < 6 or pixels.std() < 6 else square


def read_openclipart(root):
    """Rows of the OpenClipart packages; symbolic links are further folders of what they point to."""
    Image.MAX_IMAGE_PIXELS = LARGEST
    found = {}
    for path in sorted((root / "svg").rglob("*.svg"), key=lambda p: (p.is_symlink(), p)):
        name, svg = path.relative_to(root / "svg").as_posix()[:-4], path.read_text(errors="replace")
        if path.is_symlink() and path.resolve() in found:
            found[path.resolve()][0] += " " + name
        elif not path.is_symlink() and not re.search(r'<image[^>]*href="(?!data:)', svg):  # PNG lacks it
            about = "".join(re.findall(r"<metadata.*?</metadata>", svg, re.S)[:1])
            about = re.sub(r"\s+", " ", html.unescape(html.unescape(about)))
            title = words("".join(re.findall(r"<dc:title>(.*?)</dc:title>", about)[:1]))
            author = "".join(re.findall(r"<dc:creator>.*?<dc:title>(.*?)</dc:title>", about)[:1])
            tags = [k.strip() for k in re.findall(r"<rdf:li>(.*?)</rdf:li>", about) if len(k) < 40]
            found[path.resolve()] = [name, title, plain(author), tags]
    titles = Counter(title for _, title, _, _ in found.values())
    for names, title, author, tags in found.values():
        name = names.split(" ")[0]  # a file name is the title, then a shortened author name and a number
        stem = words(name.split("/")[-1]).split()
        stem = " ".join(w for w in stem if len(w) < 3 or plain(w)[:4] not in {a[:4] for a in author.split()})
        short, full = plain(stem).replace(" ", ""), plain(title).replace(" ", "")
        if not full or (titles[title] > 1 and full[:10] not in short and short[:10] not in full):
            title = stem  # the title was that of a whole series, or of another drawing
        if SKIP.search(" ".join([names, title, *tags])):
            continue
        try:
            picture = Image.open(root / "png" / f"{name}.png").convert("RGBA")
        except (OSError, Image.DecompressionBombError):
            continue
        picture.thumbnail((512, 512), Image.BOX)
        names = (name if "geography" in name else names).replace("signs_and_symbols", "SIGN")
        label = next((c for c, where in FOLDERS.items() if re.search(f"(^| )({where})", names)), "")
        tags = [k for k in tags if len(k) < 5 or plain(k) not in author]
        yield fit(picture), title, tags, name, label


def close_pairs(a, b, bits):
    """Index pairs (i, j) of two arrays of hashes that differ in at most `bits` bits."""
    for start in range(0, len(a), 500):
        i, j = np.nonzero(np.bitwise_count(a[start : start + 500, None] ^ b[None]) <= bits)
        yield from zip((i + start).tolist(), j.tolist(), strict=True)


def tidy(rows):
    """Table of `rows` without near duplicates; `group` joins title families and look-alikes."""
    table = pd.DataFrame(rows, columns=ROW).dropna(subset="image").reset_index(drop=True)
    titles = table["title"].map(plain)
    key = titles.str.replace(VARIANT, " ", regex=True).str.split().map(sorted).str.join(" ")
    table["key"] = "drawing: " + key.where(key != "", titles)
    hashes, thumbs, drop = [], [], set()
    for image in table["image"]:
        cut = image.crop(image.convert("L").point(lambda v: 255 - v).getbbox())
        for picture in (image, cut):  # perceptual hash: the 8 x 8 lowest frequencies above their median
            small = np.asarray(picture.convert("L").resize((32, 32), Image.BOX), float)
            low = dctn(small, norm="ortho")[:8, :8].ravel()
            hashes.append(np.packbits(low > np.median(low)).view(np.uint64)[0])
        thumbs.append(np.asarray(cut.resize((8, 8), Image.BOX), np.int16))
    table["whole"], table["cut"] = np.array(hashes).reshape(-1, 2).T
    links = list(enumerate(len(table) + pd.factorize(table["key"])[0]))  # to a node for each key
    links += close_pairs(table["whole"].to_numpy(), table["whole"].to_numpy(), 4)
    for i, j in close_pairs(table["cut"].to_numpy(), table["cut"].to_numpy(), 6):
        drop |= {j} if i < j and i not in drop and np.abs(thumbs[i] - thumbs[j]).mean() < 7 else set()
    graph = coo_array((np.ones(len(links)), np.array(links).T), shape=(2 * len(table),) * 2)
    part = connected_components(graph, directed=False)[1]
    table["group"] = table.groupby(part[: len(table)])["key"].transform("first")
    table["text"] = [caption(*r) for r in zip(table["title"], table["tags"], table["label"], strict=True)]
    table = table[table["text"].str.len() > 2].drop(index=sorted(drop), errors="ignore")
    return table[table.groupby("text").cumcount() < SAME_TEXT].reset_index(drop=True)


def build(folder):
    """Write both tables and print their counts."""
    art = tidy(read_openclipart(next(p for p in folder.rglob("share/openclipart") if p.is_dir())))
    # The evaluation set takes whole groups, so no family is in both tables; their other labels are dropped.
    main, chosen, flags = art.groupby("group")["label"].agg(lambda s: s.mode().iloc[-1]), {}, 0
    for group in np.random.default_rng(0).permutation(main.index):
        flags += (art["group"] == group).sum() if main[group] == "flags" else 0
        if main[group] and (main[group] != "flags" or flags <= MOST_FLAGS):
            chosen[group] = main[group]
    clipart = art[art["label"] == art["group"].map(chosen)].copy()
    rest = art[~art["group"].isin(chosen)].assign(label="")
    drawings = tidy(rest[ROW].itertuples(index=False))
    close = [close_pairs(clipart[h].to_numpy(), drawings[h].to_numpy(), 6) for h in ("whole", "cut")]
    drawings = drawings.drop(index=sorted({j for pairs in close for _, j in pairs}))
    drawings["split"] = split_by_group(drawings["group"], 0, (0.93, 0.07, 0))
    clipart["split"] = split_by_group(clipart["group"], 0)
    drawings["source"] = "openclipart"
    for name, table, by in (("clipart", clipart, "label"), ("drawings", drawings, "source")):
        files = [io.BytesIO() for _ in range(len(table))]
        for image, file in zip(table["image"], files, strict=True):
            image.save(file, "WEBP", lossless=True, quality=100, method=4)
        table["image"] = [file.getvalue() for file in files]
        table = table[[*dict.fromkeys(["image", "text", "split", "group", by, "source"])]]
        table.to_parquet(Path(__file__).with_name(f"{name}.parquet"), index=False)
        print(name, len(table), table.groupby([by, "split"]).size().unstack(fill_value=0), sep="\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder with the unpacked packages")
    build(parser.parse_args().folder)

"""Your own pairs in every form: read alike, named as README names them, and one clear message for each thing wrong."""

import io
import json
import re
import tarfile
from pathlib import Path

import formats
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from formats import N, caption

from gaplib import datasets, paths
from gaplib.datasets.pairs import fingerprint, open_image, targets

DOCUMENTED = (paths.REPO / "docs" / "your-pairs.md").read_text()
NAMES = re.findall(r"^\|[^|]*\| `([^`]+)` \|", DOCUMENTED, re.MULTILINE)
WRITTEN = re.findall(r"```python\n(.*?)```", DOCUMENTED, re.DOTALL)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """The library's cache, for these tests alone."""
    import datasets as library

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        library.disable_progress_bars()
        yield
        library.enable_progress_bars()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    place = tmp_path_factory.mktemp("own")
    formats.make_all(place / "folder")
    return place


@pytest.fixture
def here(made, monkeypatch):
    """The folder beside which README's names are relative, and a hub that has one dataset."""
    import datasets as library

    monkeypatch.chdir(made)
    loads = library.load_dataset
    stored = lambda: library.load_from_disk(str(made / "folder" / "saved"))  # noqa: E731
    hub = {("ORG/NAME", "REVISION"): stored}
    monkeypatch.setattr(
        library,
        "load_dataset",
        lambda path, *a, **k: hub[path, k["revision"]]() if "/" in path else loads(path, *a, **k),
    )
    return made / "folder"


def facts(dataset):
    """What each picture is said to be, told by its colour."""
    table, about = dataset
    numbers = [round(open_image(image, about.root).getpixel((8, 8))[0] / formats.RED) for image in table["image"]]
    return table.assign(number=numbers)


def test_the_page_about_your_pairs_names_every_form():
    assert {name.partition(":")[0] for name in NAMES} == set(datasets.own.KINDS)


@pytest.mark.parametrize("name", NAMES)
def test_every_form_gives_the_same_pairs(here, name):
    dataset = datasets.load(name)
    table = facts(dataset)
    assert [caption(number) for number in table["number"]] == list(table["text"])
    assert set(table["number"]) == set(range(N)) and not dataset.about.root.name.startswith("gone")
    if "label" in table:
        assert list(table["label"]) == ["ab"[number // 4 % 2] for number in table["number"]]
        expected = [formats.SPLITS[number % 4].replace("validation", "val") for number in table["number"]]
        assert list(table["split"]) == expected
    else:  # captions of COCO: two of each image, which stay together
        assert len(table) == 2 * N and dataset.about.task is None
        assert (table.groupby("number")["split"].nunique() == 1).all() and set(table["split"]) == {
            "train",
            "val",
            "test",
        }
    assert fingerprint(dataset) == fingerprint(datasets.load(name))


@pytest.fixture
def documented(here, root):
    """The files that the page names, beside those of `here`."""
    place = here.parent
    rows = [{"photo": r["image"], "title": r["text"], "breed": r["label"], "owner": i} for i, r in enumerate(ROWS)]
    formats.make_csv(here / "odd.csv", rows)
    formats.make_csv(here / "bad.csv", [*formats.unlabelled(ROWS), {"image": "photos/0.png", "text": ""}])
    formats.make_embeddings(place)
    return place


ROWS = formats.records(start="photos/")


def test_what_the_page_about_your_pairs_shows_runs_as_written(documented, tmp_path, monkeypatch, capsys):
    for place, lines in enumerate(WRITTEN):  # each by itself: many of the files are called `mine`
        monkeypatch.setenv("GAPLIB_ROOT", str(tmp_path / str(place)))
        assert len([line for line in lines.splitlines() if line]) <= 7, lines
        exec(lines, {})
    assert {name for name in NAMES if not any(name in lines for lines in WRITTEN)} == set()
    assert "row 12: the text is empty" in capsys.readouterr().out
    assert (documented / "explorer.html").is_file()


def test_columns_are_said_in_the_name_or_by_keywords(here, tmp_path):
    rows = [
        {"photo": r["image"], "who": i // 2, "text": "not this", "said": r["text"], "kind": r["label"]}
        for i, r in enumerate(formats.records(start="photos/"))
    ]
    formats.make_csv(tmp_path / "odd.csv", rows)
    name = f"csv:{tmp_path / 'odd.csv'}"
    table, about = datasets.load(
        f"{name} as odd ones with image=photo, text=said, label=kind, group=who, domain=medical"
    )
    assert (about.name, about.domain, about.labels) == ("odd ones", "medical", ("a", "b"))
    assert list(table["text"]) == [caption(i) for i in range(N)] and list(table["group"]) == [
        str(i // 2) for i in range(N)
    ]
    keywords = {"image": "photo", "text": "said", "label": "kind", "group": "who"}
    pd.testing.assert_frame_equal(datasets.load(name, **keywords).pairs, table)
    unlabelled = datasets.load(f"{name} with image=photo, text=said, label=")
    assert unlabelled.about.task is None and "label" not in unlabelled.pairs
    with pytest.raises(ValueError, match="dataset 'odd' has no labels, and this needs them"):
        targets(*unlabelled)
    for wrong, message in (
        ({"image": "foto"}, "odd.csv: no column 'foto'; it has 'photo', 'who', 'text', 'said', 'kind'"),
        ({"caption": "said"}, "unknown word for a column of your own pairs: 'caption'"),
        (keywords | {"domain": "Medical"}, "unknown domain of dataset 'odd': 'Medical': did you mean 'medical'"),
        ({"image": ["photo", "who"]}, "image is one column of your own pairs, got"),
        ({"image": "photo", "label": ["kind", "x"]}, "no column 'x' to use as label"),
        (
            {},
            "no column 'image' .nor any of image, image_path, .*it has 'photo', .*Say which it is: `with image=COLUMN`",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            datasets.load(name, **wrong)
    with pytest.raises(ValueError, match="dataset 'clipart' is gaplib's"):
        datasets.load("clipart", text="x")


def test_labels_said_one_by_one_and_a_split_cut_anew(tmp_path):
    rows = [
        row | {"x": i % 2, "y": i // 2 % 2, "z": i % 3 // 2} for i, row in enumerate(formats.records(start="photos/"))
    ]
    formats.make_json(tmp_path / "many.jsonl", rows)
    table, about = datasets.load(f"json:{tmp_path / 'many.jsonl'} with label=x, label=y, split=")
    assert (about.task, about.labels) == ("multilabel", ("x", "y")) and set(about.labels) < set(table)
    assert list(table["split"]) != list(datasets.load(f"json:{tmp_path / 'many.jsonl'}").pairs["split"])


def test_several_captions_in_one_cell_are_several_pairs_of_one_group(tmp_path):
    rows = [{"image": f"photos/{i}.png", "captions": [caption(i), f"and {i}", "more"]} for i in range(N)]
    formats.make_json(tmp_path / "five.jsonl", rows)
    table = datasets.load(f"json:{tmp_path / 'five.jsonl'}").pairs
    assert len(table) == 3 * N and list(table["text"][:4]) == [caption(0), "and 0", "more", caption(1)]
    assert (table.groupby("image")["split"].nunique() == 1).all() and (table["group"] == table["image"]).all()


@pytest.mark.parametrize("held", ["bytes", "path"])
def test_parquet_with_bytes_or_paths(tmp_path, held):
    formats.make_parquet(tmp_path / "mine.parquet", held)
    table = facts(datasets.load(f"parquet:{tmp_path / 'mine.parquet'}"))
    assert list(table["number"]) == list(range(N))
    assert pd.api.types.is_string_dtype(table["image"])  # a path, or a place in a mapped file: no bytes in memory


def test_a_folder_of_parquet_files_by_split_and_one_split_alone(tmp_path):
    rows = pd.DataFrame(formats.unlabelled(formats.records(start="photos/")))
    formats.photos(tmp_path / "photos")
    for split, some in (("train", rows[:8]), ("test", rows[8:])):
        some.to_parquet(tmp_path / f"{split}-00000-of-00001.parquet")
    table = datasets.load(f"parquet:{tmp_path}").pairs
    assert table.groupby("split")["image"].agg(set).to_dict() == {
        "train": {f"photos/{i}.png" for i in range(8)},
        "test": {f"photos/{i}.png" for i in range(8, N)},
    }
    alone = datasets.load(f"parquet:{tmp_path}/train*.parquet as alone with root={tmp_path}").pairs
    assert len(alone) == 8 and set(alone["split"]) == {"train", "test"}


def test_shards_without_split_in_their_names_and_captions_in_json(tmp_path):
    formats.make_shard(tmp_path / "00000.tar", range(6), "json")
    formats.make_shard(tmp_path / "00001.tar", range(6, N), "json")
    table = facts(datasets.load(f"tar:{tmp_path}/*.tar as shards with label="))
    assert list(table["number"]) == list(range(N)) and set(table["split"]) == {"train", "val", "test"}
    assert table["image"][0].startswith("00000.tar#")


def test_a_change_of_a_shard_is_seen(tmp_path):
    formats.make_shard(tmp_path / "mine.tar")
    before = fingerprint(datasets.load(f"tar:{tmp_path / 'mine.tar'}"))
    formats.make_shard(tmp_path / "mine.tar", range(N - 1))
    assert fingerprint(datasets.load(f"tar:{tmp_path / 'mine.tar'}")) != before


def cut(make, share):
    """The bytes of a file, of which only a share was written."""

    def write(path):
        make(path)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    return write


def text(content):
    return lambda path: path.write_text(content)


def twice(path):
    columns = [["0.png"], ["a"], ["b"]]
    pq.write_table(pa.table(columns, names=["image", "text", "text"]), path)


def lines(*records):
    """JSON Lines beside twelve photos."""

    def write(path):
        formats.photos(path.parent)
        path.write_text("\n".join(json.dumps(record) for record in records))

    return write


def again(path):
    """A shard with the first of its files once more."""
    formats.make_shard(path)
    with tarfile.open(path, "a") as tar:
        tar.addfile(tarfile.TarInfo("some/00000.png"))


def metadata(content):
    """A folder of photos with a `metadata.csv` of this content."""

    def write(path):
        formats.photos(path)
        (path / "metadata.csv").write_text(content)

    return write


def stored(cut=1, **columns):
    """What `save_to_disk` writes of these columns, of whose file only a share is left."""

    def write(path):
        import datasets as library

        library.Dataset.from_dict(columns).save_to_disk(str(path))
        for file in path.glob("*.arrow"):  # none where there are no rows
            file.write_bytes(file.read_bytes()[: int(file.stat().st_size * cut)])

    return write


BAD = [
    ("csv:bad.csv", Path.mkdir, "bad.csv is no file; csv: and tsv: read one table"),
    ("tsv:bad.tsv", text(""), "bad.tsv cannot be read as a UTF-8 CSV"),
    ("tsv:bad.tsv", text("image\ttext\n"), "there are no pairs|cannot be read"),
    ("tsv:bad.tsv", text("image\ttext\tText\ttext\n0.png\ta\tb\tc\n"), "column 'text' is there more than once"),
    ("csv:bad.csv", text("image\ttext\n0.png\ta\n"), r"no column 'image' .* it has 'image\\ttext'"),
    ("json:bad.json", text(""), "bad.json cannot be read by the library datasets"),
    ("json:bad.json", text("5"), "cannot be read by the library datasets"),
    ("json:bad.json", text('["a", "b"]'), "bad.json: no column 'image'"),
    ("json:bad.json", text('{"image": "0.png", "te'), "cannot be read by the library datasets"),
    ("json:bad.json", text('{"image": ["0.png"], "text": ["a"]}'), "column 'image' holds list<.*image must be paths"),
    ("json:bad.json", text('{"images": [{"id": 1}], "annotations": [{"id": 2}]}'), "no column 'image'"),
    ("json:bad.jsonl", lines({"image": "0.png", "text": 5}, {"image": "1.png", "text": 7}), "'text' holds int64; text"),
    ("json:bad.jsonl", lines({"image": "0.png", "text": 5}, {"image": "1.png", "text": "a"}), "'text' holds .*json"),
    ("json:bad.jsonl", lines({"image": "0.png", "text": "a"}, {"image": "1.png"}), "row 1: the text is empty"),
    ("json:bad.jsonl", lines({"image": "0.png", "text": []}, {"image": "1.png", "text": ["a"]}), "1 rows have no capt"),
    (
        "json:bad.jsonl",
        lines({"image": "0.png", "text": ["a"]}, {"image": "1.png", "text": [""]}),
        "row 1: the text",
    ),
    (
        "json:bad.jsonl",
        lines({"image": "0.png", "text": "a", "label": ["b"]}),
        "'label' holds list.*`label=` says that",
    ),
    (
        "json:bad.jsonl",
        lines({"image": None, "text": "a"}, {"image": None, "text": "b"}),
        "row 0: the image is empty",
    ),
    (
        "json:bad.jsonl",
        lines({"image": 0, "text": "a"}, {"image": 1, "text": "b"}),
        "'image' holds int64; image",
    ),
    ("json:bad.jsonl", lines({"image": "0.png", "text": "a"}, {"image": "x.png", "text": "b"}), "no such image under"),
    ("parquet:bad.parquet", text(""), "bad.parquet cannot be read by the library datasets .*0 bytes"),
    ("parquet:bad.parquet", cut(formats.make_parquet, 0.5), "bad.parquet cannot be read by the library datasets"),
    ("parquet:bad.parquet", twice, "bad.parquet cannot be read .*Multiple matches for FieldRef.Name.text"),
    ("folder:bad", Path.mkdir, "bad cannot be read by the library datasets .*contain any data files"),
    ("folder:bad", lambda path: formats.photos(path), "bad: no column 'text'|corresponds to no data"),
    ("disk:bad", Path.mkdir, "bad cannot be read by the library datasets .*neither a `Dataset` directory nor"),
    ("tar:bad.tar", text(""), "bad.tar cannot be read as an uncompressed tar of pairs .empty file"),
    ("tar:bad.tar", text("no tar" * 500), "bad.tar cannot be read as an uncompressed tar of pairs .invalid header"),
    ("tar:bad.tar", cut(formats.make_shard, 0.4), "cannot be read as an uncompressed tar of pairs"),
    ("tar:bad", Path.mkdir, r"bad holds no \*.tar"),
    ("tar:bad.tar", again, "bad.tar cannot be read .*it holds some/00000.png twice"),
    ("folder:bad", metadata("file_name,text,text\n0.png,a,b\n"), "metadata.csv: column 'text' is there more than once"),
    ("folder:bad", metadata("file_name,text\n"), "bad: there are no pairs"),
    ("folder:bad", metadata(""), "bad cannot be read by the library datasets .No columns"),
    ("folder:bad", metadata("file_name,text\n0.png,a\n9.jpg,b\n"), "row 1 .image '9.jpg'.: no such image under"),
    ("folder:bad", metadata("file_name,text\n0.png,1\n1.png,2\n"), "bad: column 'text' holds int64; text must be"),
    ("disk:bad", stored(image=[], caption=[]), "bad: there are no pairs"),
    ("disk:bad", stored(image=["0.png"], caption=[5]), "bad: column 'caption' holds int64; text must be strings"),
    ("disk:bad", stored(image=["0.png"]), "bad: no column 'text'"),
    ("disk:bad", stored(cut=0.5, image=["0.png"] * 9, caption=["a"] * 9), "bad cannot be read by the library datasets"),
    ("parquet:bad.parquet", lambda path: pq.write_table(pa.table({"image": [], "text": []}), path), "there are no pai"),
]


@pytest.mark.parametrize(("name", "make", "message"), BAD)
def test_what_is_no_table_of_pairs_gets_one_clear_message(tmp_path, root, name, make, message, caplog):
    kind, _, file = name.partition(":")
    make(tmp_path / file)
    before = set(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=message) as error:
        datasets.load(f"{kind}:{tmp_path / file}")
    assert len(str(error.value)) < 800 and "\n" not in str(error.value) and not caplog.records
    assert set(tmp_path.rglob("*")) == before  # nothing half-written


@pytest.mark.parametrize("blocks", [1, 3, 4.5, 5.5])
def test_a_shard_cut_short_anywhere_is_refused(tmp_path, blocks):
    formats.make_shard(tmp_path / "mine.tar")
    whole = (tmp_path / "mine.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: int(512 * blocks)])
    with pytest.raises(ValueError, match="cut.tar cannot be read .*(cut short|unexpected end of data)"):
        datasets.load(f"tar:{tmp_path / 'cut.tar'}")


def test_a_json_in_a_shard_that_is_none(tmp_path):
    for content, message in (
        (b"[1]", "some/00000.json is no JSON object"),
        (b"{", "cannot be read as an uncompressed"),
    ):
        with tarfile.open(tmp_path / "mine.tar", "w") as tar:
            about = tarfile.TarInfo("some/00000.json")
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))
        with pytest.raises(ValueError, match=message):
            datasets.load(f"tar:{tmp_path / 'mine.tar'}")


def test_a_broken_image_of_a_shard_is_named_when_it_is_opened(tmp_path):
    formats.make_shard(tmp_path / "mine.tar")
    table, about = datasets.load(f"tar:{tmp_path / 'mine.tar'}")
    with open(tmp_path / "mine.tar", "r+b") as tar:
        tar.seek(int(table["image"][0].split("#")[1].split("+")[0]))
        tar.write(b"no image")
    with pytest.raises(ValueError, match=r"row 0: 'mine.tar#512\+\d+' is not a readable image"):
        open_image(table["image"][0], about.root, "row 0")


@pytest.mark.parametrize("kind", ["csv", "tsv", "json", "parquet", "folder", "disk", "tar"])
def test_nothing_at_a_path(kind, tmp_path):
    with pytest.raises(FileNotFoundError, match=f"nothing at .*nowhere, where {kind}: looks for pairs"):
        datasets.load(f"{kind}:{tmp_path}/nowhere")
    with pytest.raises(FileNotFoundError, match="nothing at"):
        datasets.load(f"{kind}:{tmp_path}/nowhere*")


def test_a_hub_name_that_does_not_exist_or_is_gated_and_no_network(monkeypatch):
    import datasets as library

    with pytest.raises(OSError, match=r"hub:no/such@main is not there, gated, or there is no network .*hf auth login"):
        datasets.load("hub:no/such@main")  # the tests have no network
    wrong = library.exceptions.DatasetNotFoundError("Dataset 'a/b' is a gated dataset on the Hub.")
    monkeypatch.setattr(library, "load_dataset", lambda *a, **k: (_ for _ in ()).throw(wrong))
    with pytest.raises(OSError, match="hub:a/b is not there, gated, .*'a/b' is a gated dataset on the Hub"):
        datasets.load("hub:a/b")


def test_a_configuration_of_a_dataset_of_the_hub(made, monkeypatch):
    import datasets as library

    asked = []
    stored = library.load_from_disk(str(made / "folder" / "saved"))
    monkeypatch.setattr(library, "load_dataset", lambda *a, **k: asked.append((a, k)) or stored)
    assert datasets.load("hub:ORG/NAME/large@v1").about.name == "large"
    assert asked == [(("ORG/NAME", "large"), {"revision": "v1"})]

"""Extraction that survives: kills, damage, a full disk, a crowded memory, unreadable images, company."""

import errno
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from counting import Counting, circle
from PIL import Image

from gaplib import features
from gaplib.datasets.pairs import About, Dataset
from gaplib.features import engine_local, shards, store

N, SHARD = 40, 4
LENGTHS = [7 * i % 20 + 1 for i in range(N // 2)]  # of the distinct texts, each once


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    """40 pairs of 40 images and 20 texts, in shards of four."""
    monkeypatch.setattr(shards, "SIZE", SHARD)
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(N):
        Image.new("RGB", (4, 4), (i, 0, 0)).save(folder / f"{i}.png")
    pairs = pd.DataFrame({"image": [f"{i}.png" for i in range(N)], "text": ["x" * LENGTHS[i // 2] for i in range(N)]})
    pairs["split"] = [("train", "train", "val", "test")[i % 4] for i in range(N)]
    pairs["group"], pairs["label"] = pairs["image"], [("a", "b")[i % 2] for i in range(N)]
    return Dataset(pairs, About("made", "natural", "binary", ("a", "b"), folder))


@pytest.fixture
def path(root):
    return root / "data" / "features" / "made" / "counting.safetensors"


def start(dataset, encoder, output, before=None):
    """Extract in another process, which writes what it says, and how it ends, to `output`."""

    def run():
        sys.stdout = output.open("w", buffering=1)
        try:
            if before:
                before()
            features.extract(dataset, encoder)
            print("done")
        except Exception as error:
            print(f"{type(error).__name__}: {error}")

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    return process


def items(parts):
    """What the finished shards of a folder hold, as the encoder's log would say it."""
    held = set()
    for shard in parts.glob("*-*.safetensors"):
        kind, first = shard.stem.split("-")
        held |= {(kind, LENGTHS[i] if kind == "text" else i) for i in range(int(first), int(first) + SHARD)}
    return held


def logged(log):
    return [(kind, int(value)) for kind, value in (line.split() for line in log.read_text().splitlines())]


def test_killed_at_ten_moments_it_resumes_to_the_same_bytes(dataset, path, tmp_path):
    began = time.monotonic()
    start(dataset, Counting(pause=0.02), tmp_path / "out").join()
    took, whole, table = time.monotonic() - began, path.read_bytes(), path.with_name("pairs.parquet").read_bytes()
    moments, resumed = random.Random(0), 0
    for run in range(10):
        shutil.rmtree(path.parent)
        process = start(dataset, Counting(pause=0.02), tmp_path / "out")
        time.sleep(took * moments.uniform(0.05, 1))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        finished, log = items(path.with_suffix(".parts")), tmp_path / f"log{run}"
        log.touch()
        f = features.extract(dataset, Counting(log=log))
        assert path.read_bytes() == whole and path.with_name("pairs.parquet").read_bytes() == table
        again = logged(log)
        assert not finished & set(again) and len(again) == len(set(again))
        assert {p.name for p in path.parent.iterdir()} == {path.name, "pairs.parquet"}
        np.testing.assert_allclose(f.paired()[0], circle(range(N)), atol=1e-6)
        resumed += bool(finished) and bool(again)
    assert resumed >= 5  # else the moments missed what they should hit


def interrupted(dataset, path, after=20):
    """Finished shards of an extraction that broke down after so many items."""
    with pytest.raises(KeyboardInterrupt):
        features.extract(dataset, Counting(fail=after))
    return sorted(path.with_suffix(".parts").glob("image-*.safetensors"))


def test_damaged_shards_are_named_and_encoded_again_the_others_kept(dataset, path, capsys):
    features.extract(dataset, Counting())
    whole = path.read_bytes()
    path.unlink()
    cut, flipped, stale, *_ = found = interrupted(dataset, path)
    assert len(found) == 5
    cut.write_bytes(cut.read_bytes()[:-3])
    data = bytearray(flipped.read_bytes())
    data[-2] ^= 1
    flipped.write_bytes(data)
    rows, note = shards.unpack(stale)
    stale.write_bytes(shards._pack(rows * 0, note | {"key": "of another dataset"}))
    encoder = Counting()
    features.extract(dataset, encoder)
    assert sorted(encoder.images) == [*range(12), *range(20, N)] and path.read_bytes() == whole
    out = capsys.readouterr().out
    assert f"{cut.name} is cut short" in out and f"{flipped.name} is damaged" in out
    assert "going on: 2 of 10 image shards are finished already" in out


@pytest.mark.parametrize("change", ["dataset", "encoder"])
def test_shards_of_another_dataset_or_encoder_are_not_used(dataset, path, change):
    interrupted(dataset, path)
    encoder = Counting()
    if change == "dataset":
        Image.new("RGB", (5, 5), (99, 0, 0)).save(dataset.about.root / "0.png")
    else:
        encoder.precision, encoder.checkpoint = "bfloat16", "v2"
    f = features.extract(dataset, encoder)
    assert len(encoder.images) == N
    np.testing.assert_allclose(f.image[0], circle([99 if change == "dataset" else 0])[0], atol=1e-6)


def test_of_two_processes_one_encodes_and_the_other_waits(dataset, path, tmp_path):
    log, outputs = tmp_path / "log", [tmp_path / "one", tmp_path / "two"]
    first = start(dataset, Counting(pause=0.05, log=log), outputs[0])
    while not (path.with_suffix(".parts") / "lock").exists():
        time.sleep(0.01)
    second = start(dataset, Counting(log=log), outputs[1])
    for process in (first, second):
        process.join()
    said = [output.read_text() for output in outputs]
    assert all(text.endswith("done\n") for text in said)
    assert "another process is encoding made with counting; waiting for it" in said[1]
    assert len(logged(log)) == N + N // 2 and not path.with_suffix(".parts").exists()


@pytest.mark.parametrize(("most", "kept"), [(100, 0), (1000, N + N // 2)])
def test_a_full_disk_is_named_and_finished_shards_are_kept(dataset, path, tmp_path, most, kept):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    start(dataset, Counting(), tmp_path / "out", limit).join()
    said = (tmp_path / "out").read_bytes().decode()
    if most == 1000:
        assert "OSError: cannot write" in said and "what is finished is kept: make room" in said
    assert not path.exists() and len(items(path.with_suffix(".parts"))) == kept
    assert not list(path.parent.rglob("*.unfinished"))
    encoder = Counting()
    features.extract(dataset, encoder)
    assert len(encoder.images) + len(encoder.texts) == N + N // 2 - kept


def test_a_read_only_folder_serves_what_is_stored_and_names_what_cannot_be(dataset, monkeypatch, tmp_path):
    folder = Path(tempfile.mkdtemp())
    monkeypatch.setenv("GAPLIB_ROOT", str(folder))
    dataset = Dataset(dataset.pairs.assign(image=[p.read_bytes() for p in images(dataset)]), dataset.about)
    features.extract(dataset, Counting())
    other = Counting()
    other.name = "other"
    try:
        for place in (folder, *(p for p in folder.rglob("*") if p.is_dir())):
            place.chmod(0o555)
        nobody = (lambda: os.seteuid(65534)) if os.geteuid() == 0 else None
        for encoder, ends in (
            (Counting(), "done\n"),
            (other, "OSError: cannot write .*other.parts .Permission denied"),
        ):
            start(dataset, encoder, tmp_path / "out", nobody).join()
            pd.testing.assert_series_equal(
                pd.Series((tmp_path / "out").read_text()).str.contains(ends), pd.Series([True])
            )
    finally:
        for place in (folder, *(p for p in folder.rglob("*") if p.is_dir())):
            place.chmod(0o755)
        shutil.rmtree(folder)


def images(dataset):
    return [dataset.about.root / name for name in dataset.pairs["image"]]


def test_unreadable_images_stop_or_are_skipped_and_listed(dataset, path, capsys):
    for i in (0, 17):
        (dataset.about.root / f"{i}.png").write_bytes(b"not an image")
    with pytest.raises(ValueError, match=r"row 0: '0.png' is not a readable image .*unreadable=\"skip\""):
        features.extract(dataset, Counting())
    f = features.extract(dataset, Counting(), unreadable="skip")
    left = [i for i in range(N) if i not in (0, 17)]
    np.testing.assert_allclose(f.paired()[0], circle(left), atol=1e-6)
    np.testing.assert_allclose(f.paired()[1], circle([LENGTHS[i // 2] for i in left]), atol=1e-6)
    assert list(f.pairs["image"]) == [f"{i}.png" for i in left]
    listed = pd.read_csv(path.with_name("skipped.csv"))
    assert list(listed["row"]) == [0, 17] and listed["error"].str.contains("not a readable image").all()
    encoder = Counting()
    features.extract(dataset, encoder, unreadable="skip")
    assert capsys.readouterr().out.count("left out 2 pairs") == 1 and not encoder.images
    stored = path.read_bytes()
    with pytest.raises(ValueError, match="row 0"):
        features.extract(dataset, Counting())
    assert path.read_bytes() == stored


def test_a_batch_that_does_not_fit_is_halved_and_the_size_is_remembered(dataset, path, monkeypatch, capsys):
    monkeypatch.setattr(shards, "SIZE", 16)
    encoder = Counting(most=5)
    features.extract(dataset, encoder)
    assert max(encoder.batches) == 4 and sorted(encoder.images) == list(range(N))
    assert "out of memory; going on with batches of 4" in capsys.readouterr().out
    whole = path.read_bytes()
    path.unlink()
    with pytest.raises(KeyboardInterrupt):
        features.extract(dataset, Counting(most=5, fail=20))
    features.extract(dataset, Counting())  # this one has room, and still goes on with batches of 4
    assert path.read_bytes() == whole
    with pytest.raises(RuntimeError, match="out of memory"):
        features.extract(dataset, Counting(most=0), n_pairs=20)


@pytest.mark.parametrize(
    "said",
    [
        "DefaultCPUAllocator: can't allocate memory",
        "not enough memory: you tried",
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate",
        "other",
    ],
)
def test_out_of_memory_is_told_by_its_words(dataset, said):
    encoder, tower, failed = Counting(), Counting().image_tower, []

    def failing(x):
        if not failed:
            failed.append(len(x))
            raise RuntimeError(said)
        return tower(x)

    encoder.image_tower = failing
    if said == "other":
        with pytest.raises(RuntimeError, match="other"):
            features.extract(dataset, encoder)
    else:
        assert len(features.extract(dataset, encoder).image) == N


def test_worker_processes_change_nothing(dataset, path, monkeypatch):
    features.extract(dataset, Counting())
    whole = path.read_bytes()
    path.unlink()
    monkeypatch.setattr(engine_local, "FEW", 0)
    monkeypatch.setattr(engine_local, "CHUNK", 2)
    features.extract(dataset, Counting(), workers=2)
    assert path.read_bytes() == whole


def test_texts_go_in_order_of_length_come_back_in_their_own_and_are_counted_where_cut(dataset, capsys):
    encoder = Counting()
    f = features.extract(dataset, encoder)
    assert encoder.texts == [n for i in range(0, N // 2, SHARD) for n in sorted(LENGTHS[i : i + SHARD])] != LENGTHS
    np.testing.assert_allclose(f.text, circle(LENGTHS), atol=1e-6)
    assert "12 of 20 texts were longer than 8 tokens, and cut" in capsys.readouterr().out


def test_an_embedding_without_direction_is_named(dataset):
    encoder = Counting()
    encoder.text_tower = lambda x: x.repeat(1, 2) * (x != LENGTHS[18])
    with pytest.raises(ValueError, match="dataset 'made', row 36: counting gives its text an embedding of norm 0"):
        features.extract(dataset, encoder)


def test_a_large_file_is_opened_unread_and_checked_by_extract_and_on_demand(dataset, path, monkeypatch, capsys):
    features.extract(dataset, Counting())
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="is damaged"):
        features.load("made", "counting")
    monkeypatch.setattr(store, "SMALL", 0)
    f = features.load("made", "counting")
    assert "pairs" not in vars(f) and len(f.pairs) == N and list(f.rows("val"))[:2] == [2, 6]
    with pytest.raises(ValueError, match="is damaged"):
        features.load("made", "counting", check=True)
    encoder = Counting()
    assert len(features.extract(dataset, encoder).pairs) == N and len(encoder.images) == N
    assert "is damaged: its digest does not match its content" in capsys.readouterr().out


def test_a_feature_file_is_what_safetensors_reads(dataset, path):
    from safetensors.numpy import load_file

    f = features.extract(dataset, Counting())
    for name, array in load_file(path).items():
        np.testing.assert_array_equal(array, getattr(f, name))


def test_a_wrong_engine_or_policy_is_named(dataset):
    with pytest.raises(ValueError, match="unknown engine 'rai': did you mean 'ray'"):
        features.extract(dataset, Counting(), engine="rai")
    with pytest.raises(ValueError, match="unknown policy for unreadable images 'skp': did you mean 'skip'"):
        features.extract(dataset, Counting(), unreadable="skp")


def test_a_machine_that_fails_does_not_make_an_image_unreadable(dataset, path, monkeypatch):
    def failing(value, root, where):
        raise ValueError(f"{where}: not readable") from OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(engine_local, "open_image", failing)
    with pytest.raises(OSError, match="row 0: not readable: the disk or the memory failed, not the image"):
        features.extract(dataset, Counting(), unreadable="skip")
    assert not path.exists()

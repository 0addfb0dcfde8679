"""Extraction that survives: kills, damage, a full disk, a crowded memory, unreadable images, company."""

import errno
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from counting import Counting, circle
from PIL import Image
from torch.utils.data import get_worker_info

import gaplib.datasets
from gaplib import features
from gaplib.datasets.pairs import About, Dataset
from gaplib.features import engine_local, store

N = 40
BLOCK = 4
LENGTHS = [7 * i % 20 + 1 for i in range(N // 2)]  # of the distinct texts, each once


@pytest.fixture
def dataset(root, tmp_path, monkeypatch):
    """40 pairs of 40 images and 20 texts, in blocks of four."""
    monkeypatch.setattr(store, "BLOCK", BLOCK)
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(N):
        Image.new("RGB", (4, 4), (i, 0, 0)).save(folder / f"{i}.png")
    pairs = pd.DataFrame({"image": [f"{i}.png" for i in range(N)], "text": ["x" * LENGTHS[i // 2] for i in range(N)]})
    pairs["split"] = [("train", "train", "val", "test")[i % 4] for i in range(N)]
    pairs["group"], pairs["label"] = pairs["image"], [("a", "b")[i % 2] for i in range(N)]
    return Dataset(pairs, About("made", "natural", "binary", ("a", "b"), folder))


@pytest.fixture
def folder(root):
    return root / "data" / "features" / "made" / "counting"


def content(folder):
    """Everything that is stored: the features' own files, and the pair table."""
    return {p.name: p.read_bytes() for p in (*folder.iterdir(), store.table_of(folder))}


def remove(folder):
    shutil.rmtree(folder)


FILES = {"image.npy", "text.npy", "image_index.npy", "text_index.npy", "about.json", "pairs.parquet"}


def start(dataset, encoder, output, before=None, **options):
    """Extract in another process, which writes what it says, and how it ends, to `output`."""

    def run():
        sys.stdout = output.open("w", buffering=1)
        torch.set_num_threads(1)  # OpenMP's threads do not survive a fork, and waiting for them has no end
        try:
            if before:
                before()
            features.extract(dataset, encoder, **options)
            print("done")
        except Exception as error:
            print(f"{type(error).__name__}: {error}")

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    return process


def ledger(folder, kind):
    """The finished blocks of an extraction that was interrupted."""
    path = store.unfinished(folder) / "ledger"
    lines = path.read_text().splitlines()[2:] if path.exists() else []
    notes = [json.loads(line) for line in lines if line.endswith("}")]  # the last one may be half a line
    return [note for note in notes if note["kind"] == kind]


def items(folder):
    """What the finished blocks hold, as the encoder's log would say it."""
    held = set()
    for kind in ("image", "text"):
        for first in (note["start"] for note in ledger(folder, kind)):
            held |= {(kind, LENGTHS[i] if kind == "text" else i) for i in range(first, first + BLOCK)}
    return held


def logged(log):
    return [(kind, int(value)) for kind, value in (line.split() for line in log.read_text().splitlines())]


def lines(log):
    return log.read_bytes().count(b"\n") if log.exists() else 0


def test_killed_at_ten_moments_it_resumes_to_the_same_bytes(dataset, folder, tmp_path):
    start(dataset, Counting(), tmp_path / "out").join()
    whole = content(folder)
    assert set(whole) == FILES
    moments, resumed = random.Random(0), 0
    for run, seen in enumerate([0, *moments.sample(range(N + N // 2), 8), N + N // 2]):
        shutil.rmtree(folder.parent)
        before = tmp_path / f"before{run}"
        process = start(dataset, Counting(pause=0.02, log=before), tmp_path / "out")
        while process.is_alive() and lines(before) < seen:
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.02))
        process.kill()
        process.join()
        finished = items(folder)
        log = tmp_path / f"log{run}"
        log.touch()
        f = features.extract(dataset, Counting(log=log))
        assert content(folder) == whole
        again = logged(log)
        assert not finished & set(again) and len(again) == len(set(again))
        assert {p.name for p in folder.parent.iterdir()} == {folder.name, "pairs.parquet"}
        np.testing.assert_allclose(f.paired()[0], circle(range(N)), atol=1e-6)
        resumed += bool(finished) and bool(again)
    assert resumed >= 5  # else the moments missed what they should hit


def test_what_a_killed_process_was_writing_is_not_kept(dataset, folder):
    _, path = interrupted(dataset, folder)
    (path.parent / ".text_index.npy.1.part").write_bytes(b"half of it")
    features.extract(dataset, Counting())
    assert set(content(folder)) == FILES


def interrupted(dataset, folder, after=20):
    """The array of the images, and the ledger, of an extraction that broke down after so many items."""
    with pytest.raises(KeyboardInterrupt):
        features.extract(dataset, Counting(fail=after))
    return store.unfinished(folder) / "image.npy", store.unfinished(folder) / "ledger"


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_damaged_blocks_are_named_and_encoded_again_the_others_kept(dataset, folder, capsys):
    features.extract(dataset, Counting())
    whole = content(folder)
    remove(folder)
    array, notes = interrupted(dataset, folder)
    assert [note["start"] for note in ledger(folder, "image")] == [0, 4, 8, 12, 16]
    flip(array, 128 + 5 * 8)  # a byte of the second block
    array.write_bytes(array.read_bytes()[: 128 + 18 * 8])  # the fifth is cut short
    lines = notes.read_text().split("\n")
    lines[4] = lines[4][:-7]  # and the line of the third
    notes.write_text("\n".join(lines))
    encoder = Counting()
    features.extract(dataset, encoder)
    assert sorted(encoder.images) == [*range(4, 12), *range(16, N)] and content(folder) == whole
    out = capsys.readouterr().out
    assert f"{array}, rows 4 to 7: damaged" in out and f"{array}, rows 16 to 19: damaged" in out
    assert "going on: 2 of 10 image blocks are finished already" in out


@pytest.mark.parametrize("change", ["dataset", "encoder"])
def test_blocks_of_another_dataset_or_encoder_are_not_used(dataset, folder, change):
    interrupted(dataset, folder)
    encoder = Counting()
    if change == "dataset":
        Image.new("RGB", (5, 5), (99, 0, 0)).save(dataset.about.root / "0.png")
    else:
        encoder.precision, encoder.checkpoint = "bfloat16", "v2"
    f = features.extract(dataset, encoder)
    assert len(encoder.images) == N
    np.testing.assert_allclose(f.image[0], circle([99 if change == "dataset" else 0])[0], atol=1e-6)


def test_of_two_processes_one_encodes_and_the_other_waits(dataset, folder, tmp_path):
    log, outputs = tmp_path / "log", [tmp_path / "one", tmp_path / "two"]
    first = start(dataset, Counting(pause=0.05, log=log), outputs[0])
    while not store.unfinished(folder).exists():
        time.sleep(0.01)
    second = start(dataset, Counting(log=log), outputs[1])
    for process in (first, second):
        process.join()
    said = [output.read_text() for output in outputs]
    assert all(text.endswith("done\n") for text in said)
    assert f"another process ({first.pid}) is encoding made with counting; waiting for it" in said[1]
    assert len(logged(log)) == N + N // 2 and not store.left_over(folder)


@pytest.mark.parametrize(("most", "kept"), [(100, 0), (1000, 24), (3500, N + N // 2)])
def test_a_full_disk_is_named_and_finished_blocks_are_kept(dataset, folder, tmp_path, most, kept):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    start(dataset, Counting(), tmp_path / "out", limit).join()
    said = (tmp_path / "out").read_bytes().decode()
    if most > 100:  # with less, not even this can be said
        assert "OSError: cannot write" in said and "what is finished is kept: make room" in said
    assert not folder.exists() and len(items(folder)) == kept
    assert not list(folder.parent.rglob("*.part")) and not list(folder.parent.rglob("*.lock"))
    encoder = Counting()
    features.extract(dataset, encoder)
    assert len(encoder.images) + len(encoder.texts) == N + N // 2 - kept


def test_a_read_only_folder_serves_what_is_stored_and_names_what_cannot_be(dataset, monkeypatch, tmp_path):
    disk = Path(tempfile.mkdtemp())
    monkeypatch.setenv("GAPLIB_ROOT", str(disk))
    dataset = Dataset(dataset.pairs.assign(image=[p.read_bytes() for p in images(dataset)]), dataset.about)
    features.extract(dataset, Counting())
    other = Counting()
    other.name = "other"
    try:
        for place in (disk, *(p for p in disk.rglob("*") if p.is_dir())):
            place.chmod(0o555)
        nobody = (lambda: os.seteuid(65534)) if os.geteuid() == 0 else None
        for encoder, ends in (
            (Counting(), "done\n"),
            (other, "OSError: cannot write .*other.lock .Permission denied"),
        ):
            start(dataset, encoder, tmp_path / "out", nobody).join()
            pd.testing.assert_series_equal(
                pd.Series((tmp_path / "out").read_text()).str.contains(ends), pd.Series([True])
            )
    finally:
        for place in (disk, *(p for p in disk.rglob("*") if p.is_dir())):
            place.chmod(0o755)
        shutil.rmtree(disk)


def images(dataset):
    return [dataset.about.root / name for name in dataset.pairs["image"]]


def test_unreadable_images_stop_or_are_skipped_and_listed(dataset, folder, capsys):
    for i in (0, 17):
        (dataset.about.root / f"{i}.png").write_bytes(b"not an image")
    with pytest.raises(ValueError, match=r"row 0: '0.png' is not a readable image .*unreadable=\"skip\""):
        features.extract(dataset, Counting())
    f = features.extract(dataset, Counting(), unreadable="skip")
    left = [i for i in range(N) if i not in (0, 17)]
    np.testing.assert_allclose(f.paired()[0], circle(left), atol=1e-6)
    np.testing.assert_allclose(f.paired()[1], circle([LENGTHS[i // 2] for i in left]), atol=1e-6)
    assert list(f.pairs["image"]) == [f"{i}.png" for i in left]
    listed = pd.read_csv(folder / "skipped.csv")
    assert list(listed["row"]) == [0, 17] and listed["error"].str.contains("not a readable image").all()
    encoder = Counting()
    features.extract(dataset, encoder, unreadable="skip")
    assert capsys.readouterr().out.count("left out 2 pairs") == 1 and not encoder.images
    stored = content(folder)
    with pytest.raises(ValueError, match="row 0"):
        features.extract(dataset, Counting())
    assert content(folder) == stored


def test_a_batch_that_does_not_fit_is_halved_and_the_size_is_remembered(dataset, folder, monkeypatch, capsys):
    monkeypatch.setattr(store, "BLOCK", 16)
    encoder = Counting(most=5)
    features.extract(dataset, encoder)
    assert max(encoder.batches) == 4 and sorted(encoder.images) == list(range(N))
    assert "out of memory; going on with batches of 4" in capsys.readouterr().out
    whole = content(folder)
    remove(folder)
    with pytest.raises(KeyboardInterrupt):
        features.extract(dataset, Counting(most=5, fail=20))
    features.extract(dataset, Counting())  # this one has room, and still goes on with batches of 4
    assert content(folder) == whole
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


def test_worker_processes_change_nothing(dataset, folder, monkeypatch):
    features.extract(dataset, Counting())
    whole = content(folder)
    remove(folder)
    monkeypatch.setattr(engine_local, "FEW", 0)
    monkeypatch.setattr(engine_local, "CHUNK", 2)
    features.extract(dataset, Counting(), workers=2)
    assert content(folder) == whole


def test_texts_go_in_order_of_length_come_back_in_their_own_and_are_counted_where_cut(dataset, capsys):
    encoder = Counting()
    f = features.extract(dataset, encoder)
    assert encoder.texts == [n for i in range(0, N // 2, BLOCK) for n in sorted(LENGTHS[i : i + BLOCK])] != LENGTHS
    np.testing.assert_allclose(f.text, circle(LENGTHS), atol=1e-6)
    assert "12 of 20 texts were longer than 8 tokens, and cut" in capsys.readouterr().out


def test_an_embedding_without_direction_is_named(dataset):
    encoder = Counting()
    encoder.text_tower = lambda x: x.repeat(1, 2) * (x != LENGTHS[18])
    with pytest.raises(ValueError, match="dataset 'made', row 36: counting gives its text an embedding of norm 0"):
        features.extract(dataset, encoder)


def test_a_large_file_is_opened_unread_and_checked_by_extract_and_on_demand(dataset, folder, monkeypatch, capsys):
    features.extract(dataset, Counting())
    flip(folder / "text.npy", -2)
    with pytest.raises(ValueError, match="text.npy is damaged"):
        features.load("made", "counting")
    monkeypatch.setattr(store, "SMALL", 0)
    f = features.load("made", "counting")
    assert "pairs" not in vars(f) and len(f.pairs) == N and list(f.rows("val"))[:2] == [2, 6]
    with pytest.raises(ValueError, match="is damaged"):
        features.load("made", "counting", check=True)
    encoder = Counting()
    assert len(features.extract(dataset, encoder).pairs) == N and len(encoder.images) == N
    assert "is damaged: its digests do not match its content" in capsys.readouterr().out


def test_features_are_what_numpy_and_pandas_read(dataset, folder):
    f = features.extract(dataset, Counting())
    for name in store.ARRAYS:
        np.testing.assert_array_equal(np.load(folder / f"{name}.npy", mmap_mode="r"), getattr(f, name))
    pd.testing.assert_frame_equal(pd.read_parquet(folder.parent / "pairs.parquet"), f.pairs)
    about = json.loads((folder / "about.json").read_text())
    assert about["dataset"]["name"] == "made" and about["encoder"] == "counting" and about["checkpoint"] == "v1"
    assert len(about["digests"]["image"]) == N / BLOCK


def test_a_wrong_engine_or_policy_is_named(dataset):
    with pytest.raises(ValueError, match="unknown engine 'rai': did you mean 'ray'"):
        features.extract(dataset, Counting(), engine="rai")
    with pytest.raises(ValueError, match="unknown policy for unreadable images 'skp': did you mean 'skip'"):
        features.extract(dataset, Counting(), unreadable="skp")


def test_a_machine_that_fails_does_not_make_an_image_unreadable(dataset, folder, monkeypatch):
    def failing(value, root, where):
        raise ValueError(f"{where}: not readable") from OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(engine_local, "open_image", failing)
    with pytest.raises(OSError, match="row 0: not readable: the disk or the memory failed, not the image"):
        features.extract(dataset, Counting(), unreadable="skip")
    assert not folder.exists()


class Wide(Counting):
    """Takes images of 80 kB each, more than the shared memory of its test."""

    def pixels(self, images):
        return super().pixels(images).repeat(1, 20_000)

    def image_tower(self, x):
        return super().image_tower(x[:, :1])


def test_small_shared_memory_is_gone_around_and_said_once(dataset, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(engine_local, "FEW", 0)
    monkeypatch.setattr(engine_local, "CHUNK", 8)

    def limit():  # of files in shared memory as of others
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    process = start(dataset, Wide(), tmp_path / "out", limit, workers=1)
    process.join(300)
    alive = process.is_alive()
    process.kill()
    said = (tmp_path / "out").read_text()
    assert not alive and said.endswith("done\n")
    assert said.count("shared memory (/dev/shm) is too small for images") == 1
    np.testing.assert_allclose(features.load("made", "counting").image, circle(range(N)), atol=1e-6)


def test_one_image_at_a_time_is_open(dataset, monkeypatch):
    seen, most = [], []
    opened = engine_local.open_image

    def counting(*arguments):
        most.append(sum(ref() is not None for ref in seen))
        image = opened(*arguments)
        seen.append(weakref.ref(image))
        return image

    monkeypatch.setattr(engine_local, "open_image", counting)
    features.extract(dataset, Counting(), workers=0)
    assert len(seen) == N and max(most) == 0


def test_encoders_that_leave_out_different_images_keep_their_own_rows(dataset, folder, monkeypatch):
    opened = engine_local.open_image
    for name, broken in (("counting", "0.png"), ("other", "17.png")):

        def fails(value, *rest, broken=broken):
            if value == broken:
                raise ValueError(f"{value} cannot be read")
            return opened(value, *rest)

        monkeypatch.setattr(engine_local, "open_image", fails)
        encoder = Counting()
        encoder.name = name
        features.extract(dataset, encoder, unreadable="skip")
    for name, broken in (("counting", 0), ("other", 17)):
        f = features.load("made", name, check=True)
        left = [i for i in range(N) if i != broken]
        assert list(f.pairs["image"]) == [f"{i}.png" for i in left]
        assert list(f.targets) == [i % 2 for i in left]
        np.testing.assert_allclose(f.paired()[0], circle(left), atol=1e-6)


@pytest.mark.parametrize("small", [True, False])
def test_a_pair_table_that_was_edited_is_refused_and_written_again(dataset, folder, small, monkeypatch):
    if not small:
        monkeypatch.setattr(store, "SMALL", 0)
    features.extract(dataset, Counting())
    table = pd.read_parquet(store.table_of(folder))
    table.loc[0, "label"] = "b"
    table.to_parquet(store.table_of(folder))
    with pytest.raises(ValueError, match="pairs.parquet is missing, damaged, was changed, or belongs to another"):
        features.load("made", "counting").pairs  # noqa: B018
    encoder = Counting()
    assert features.extract(dataset, encoder).pairs["label"][0] == "a" and not encoder.images
    assert features.load("made", "counting").pairs["label"][0] == "a"


def test_an_about_that_was_edited_is_refused(dataset, folder):
    features.extract(dataset, Counting())
    about = folder / "about.json"
    about.write_text(about.read_text().replace('"skipped": []', '"skipped": [0]'))
    with pytest.raises(ValueError, match="about.json is damaged or was changed"):
        features.load("made", "counting")


def test_a_column_that_cannot_be_stored_is_named_before_anything_is_encoded(dataset, folder):
    dataset.pairs["note"] = [1, "a"] * (N // 2)
    encoder = Counting()
    with pytest.raises(ValueError, match=r"dataset 'made': the pair table cannot be stored .*note.*values of one kind"):
        features.extract(dataset, encoder)
    assert not encoder.images and not store.left_over(folder)


class Killed(Counting):
    """Its worker processes are killed, as they are when memory is full."""

    def pixels(self, images):
        if get_worker_info():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().pixels(images)


def test_a_killed_worker_process_gets_one_message(dataset, folder, monkeypatch):
    monkeypatch.setattr(engine_local, "FEW", 0)
    with pytest.raises(RuntimeError, match="a process that decodes images was killed .*what is finished is kept"):
        features.extract(dataset, Killed(), workers=1)
    assert len(features.extract(dataset, Counting(), workers=0).image) == N


class Asleep(Counting):
    """Its worker processes never come back."""

    def pixels(self, images):
        time.sleep(10_000)


def test_workers_of_a_killed_process_do_not_keep_its_lock(dataset, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(engine_local, "FEW", 0)
    process = start(dataset, Asleep(), tmp_path / "out", workers=1)
    orphans = []
    while not orphans:
        orphans = psutil.Process(process.pid).children(recursive=True)
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    try:
        after = start(dataset, Counting(), tmp_path / "after")
        after.join()
        assert all(orphan.is_running() for orphan in orphans)
    finally:
        for orphan in orphans:
            orphan.kill()
    assert "waiting" not in (tmp_path / "after").read_text() and not store.left_over(folder)


def test_what_was_stored_stays_until_the_new_is_whole(dataset, folder):
    features.extract(dataset, Counting())
    whole = content(folder)
    changed = Counting(fail=20)
    changed.checkpoint = "v2"
    with pytest.raises(KeyboardInterrupt):
        features.extract(dataset, changed)
    assert content(folder) == whole and len(features.load("made", "counting").image) == N


def test_generated_pairs_that_are_stored_are_not_drawn_again(root, dataset, monkeypatch):
    drawn, identity = [], ["one"]

    def load(name, n_pairs=None):
        drawn.append(name)
        return dataset

    monkeypatch.setattr(gaplib.datasets, "load", load)
    monkeypatch.setattr(gaplib.datasets, "stored_name", lambda name, n_pairs=None: "made")
    monkeypatch.setattr(gaplib.datasets, "identity", lambda name, n_pairs=None: identity[0])
    features.extract(dataset, Counting())  # stored without its name
    for _ in range(3):
        assert len(features.extract("made", Counting()).pairs) == N
    assert drawn == ["made"]  # once, to know that they are the same
    identity[0] = "two"
    dataset.pairs.loc[0, "text"] = "another"
    encoder = Counting()
    features.extract("made", encoder)
    assert len(drawn) == 2 and len(encoder.images) == N
    encoder = Counting()
    encoder.checkpoint = "v2"
    features.extract("made", encoder)
    assert len(encoder.images) == N


@pytest.mark.parametrize("name", ["../../escaped", "/tmp/x", "", "..", "a\\b"])
def test_names_that_lead_elsewhere_are_refused(root, tmp_path, dataset, name):
    with pytest.raises(ValueError, match="is no name of a dataset"):
        features.extract(Dataset(dataset.pairs, About(name, "natural", "binary", ("a", "b"))), Counting())
    with pytest.raises(ValueError, match="is no name of an encoder"):
        features.load("made", name)
    with pytest.raises(ValueError):
        features.load(name, "counting")
    np.savez(tmp_path / "e.npz", image=torch.eye(4), text=torch.eye(4))
    for names in ((name, "counting"), ("made", name)):
        with pytest.raises(ValueError):
            features.read(tmp_path / "e.npz", *names, label=None)
    assert not list(root.rglob("about.json"))


def test_what_is_no_dataset_encoder_or_number_of_workers_is_named(dataset):
    with pytest.raises(
        ValueError, match="a dataset is a name or a pairs.Dataset, got a DataFrame; of a pair table make"
    ):
        features.extract(dataset.pairs, Counting())
    with pytest.raises(ValueError, match="an encoder is a name or an encoders.Encoder, got NoneType"):
        features.extract(dataset, None)
    for workers in (-1, 1.5, "two", True):
        with pytest.raises(ValueError, match="workers must be a whole number from 0"):
            features.extract(dataset, Counting(), workers=workers)
    with pytest.raises(ValueError, match="workers must be a whole number from 1"):
        features.extract(dataset, Counting(), engine="ray", workers=0)


def test_two_encoders_of_one_dataset_do_not_disturb_each_other(dataset, folder, tmp_path):
    processes = []
    for name in ("one", "two", "three"):
        encoder = Counting(pause=0.01)
        encoder.name = name
        processes.append(start(dataset, encoder, tmp_path / name))
    for process in processes:
        process.join()
    for name in ("one", "two", "three"):
        assert (tmp_path / name).read_text().endswith("done\n")
        assert len(features.load("made", name, check=True).pairs) == N


def test_pairs_of_another_folder_by_the_same_name_are_not_written_over(dataset, folder, tmp_path):
    features.extract(dataset, Counting())
    whole = content(folder)
    moved = shutil.copytree(dataset.about.root, tmp_path / "elsewhere")  # the same files, at another time
    other = Dataset(dataset.pairs, replace(dataset.about, root=moved))
    os.utime(moved / "0.png", (0, 0))
    encoder = Counting()
    for encoder.name in ("counting", "another"):
        with pytest.raises(ValueError, match="counting goes with other pairs than these, .* another name"):
            features.extract(other, encoder)
    assert not encoder.images and content(folder) == whole
    (dataset.about.root / "0.png").touch()  # those pairs themselves may change
    assert len(features.extract(dataset, encoder).pairs) == N

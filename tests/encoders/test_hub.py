"""Where checkpoints lie: folder, cache or hub, all the same; and one message for each way in which they do not."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit

import checkpoints
import numpy as np
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from gaplib import encoders, paths
from gaplib.encoders import Source, convert, hub

TEXTS = ["a red bridge at dusk", "No focal consolidation."]
BIOMEDCLIP, CLIP, MEDSIGLIP = (encoders.REGISTRY[name].place for name in ("biomedclip", "clip", "medsiglip"))

OTHER = "org/other"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    for name in checkpoints.NAMES:
        checkpoints.make(folder, name)
    return folder


@pytest.fixture
def own(made, tmp_path, monkeypatch):
    """A copy of the checkpoints, to be damaged, that `GAPLIB_CHECKPOINTS` names; and an empty cache."""
    shutil.copytree(made, tmp_path / "own")
    monkeypatch.setenv("GAPLIB_CHECKPOINTS", str(tmp_path / "own"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "own"


def message(spec):
    """The error that loading ends with: of the kind promised, naming the encoder, without a traceback in its text."""
    with pytest.raises(OSError) as caught:
        encoders.load(spec, "cpu")
    text = str(caught.value)
    assert text.startswith(f"encoder {encoders.stored_name(spec)!r}: ") and "Traceback" not in text
    return text


@pytest.mark.parametrize("name", checkpoints.NAMES)
def test_a_folder_and_a_cache_are_the_same(own, name, tmp_path, monkeypatch):
    snapshot = checkpoints.make_cached(tmp_path / "cache", name)
    monkeypatch.delenv("GAPLIB_CHECKPOINTS")
    cached = encoders.load(name, "cpu")
    source = encoders.REGISTRY[name]
    assert cached.checkpoint.startswith(f"{source.place}@{source.revision}") and len(source.revision) == 40
    assert name != "biomedclip" or cached.checkpoint.endswith(" + {}@{}".format(*hub.SECOND[BIOMEDCLIP]))
    shutil.rmtree(own / name)
    shutil.copytree(snapshot, own / name)
    monkeypatch.setenv("GAPLIB_CHECKPOINTS", str(own))
    local = encoders.load(name, "cpu")
    assert local.checkpoint.startswith(f"{name}@") and local.preprocessing == cached.preprocessing
    np.testing.assert_array_equal(local.encode_texts(TEXTS), cached.encode_texts(TEXTS))


def test_a_repository_is_found_by_its_name_and_revision(tmp_path, monkeypatch):
    snapshot = checkpoints.make_cached(tmp_path, "clip")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for spec in (f"hf:{CLIP}", f"hf:{CLIP}@main", f"hf:{CLIP}@{snapshot.name}"):
        assert encoders.load(spec, "cpu").checkpoint == f"{CLIP}@{snapshot.name}"
    assert "the cache" in message(f"hf:{CLIP}@v2") and "hf download" in message(f"hf:{CLIP}@v2")


def test_a_folder_may_be_named_after_the_repository(own):
    (own / CLIP).parent.mkdir()
    shutil.move(own / "clip", own / CLIP)
    assert encoders.load("clip", "cpu").checkpoint.startswith("clip-vit-base-patch32@")


def test_a_label_changes_with_the_files(own):
    first = encoders.load("clip", "cpu").checkpoint
    tokenizer = own / "clip" / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + " ")
    assert encoders.load("clip", "cpu").checkpoint != first


def test_offline_without_a_cache(own):
    shutil.rmtree(own / "medsiglip")
    text = message("medsiglip")
    assert f"hf download {MEDSIGLIP}" in text and "HF_HUB_OFFLINE is set" in text and "GAPLIB_CHECKPOINTS" in text
    assert "cannot get not a name at main" in message("hf:not a name")


@pytest.mark.parametrize("left", ["model.safetensors", "*.json"])
def test_offline_with_half_a_cache(left, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    snapshot = checkpoints.make_cached(tmp_path, "clip")
    for path in {*snapshot.iterdir()} - {*snapshot.glob(left)}:
        path.unlink()
    assert f"{CLIP} at {snapshot.name} is not, or not wholly, in the cache {tmp_path}" in message("clip")


def test_the_second_repository_of_biomedclip_is_named(own):
    shutil.move(own / checkpoints.BERT, own / "elsewhere")
    text = message("biomedclip")
    assert f"{BIOMEDCLIP} needs a second repository, {checkpoints.BERT}" in text and "config.json" in text
    shutil.copy(own / "elsewhere" / "config.json", own / "biomedclip")
    assert " + " not in encoders.load("biomedclip", "cpu").checkpoint
    for path in (own / "biomedclip").glob("tokenizer*"):
        path.unlink()
    assert "lacks the tokenizer: copy tokenizer.json, tokenizer_config.json and vocab.txt" in message("biomedclip")


def pickle_weights(folder, wrap=dict, **how):
    """Replace the safetensors of a checkpoint by pickled weights; returns the file."""
    weights = next(folder.glob("*.safetensors"))
    name = "pytorch_model.bin" if weights.name == "model.safetensors" else "open_clip_pytorch_model.bin"
    torch.save(wrap(load_file(weights)), folder / name, **how)
    weights.unlink()
    return folder / name


@pytest.mark.parametrize("name", ["clip", "biomedclip"])
def test_pickled_weights_are_converted_once_where_they_are_known(own, name, monkeypatch):
    before = encoders.load(name, "cpu").encode_texts(TEXTS)
    pickled = pickle_weights(own / name)
    digest = hashlib.sha256(pickled.read_bytes()).hexdigest()
    text = message(name)
    assert f"{pickled} is pickled, which can run code, and its digest is not known (sha256 {digest})" in text
    assert "set GAPLIB_CONVERT=1" in text and not [*pickled.parent.glob("*.safetensors")]
    monkeypatch.setitem(convert.DIGESTS, "org/name", digest)
    np.testing.assert_array_equal(encoders.load(name, "cpu").encode_texts(TEXTS), before)
    pickled.unlink()
    np.testing.assert_array_equal(encoders.load(name, "cpu").encode_texts(TEXTS), before)
    assert not [*pickled.parent.glob(".*")]


KINDS = {
    "as it is": {},
    "a training's": {"wrap": lambda state: {"epoch": 3, "name": "run", "state_dict": state}},
    "on several GPUs": {"wrap": lambda state: {"state_dict": {f"module.{key}": state[key] for key in state}}},
    "of an old torch": {"_use_new_zipfile_serialization": False},
    "with a number": {"wrap": lambda state: state | {"input_resolution": 224}},
}


@pytest.mark.parametrize("kind", KINDS)
def test_pickled_weights_of_all_kinds_convert_when_they_are_trusted(own, kind, monkeypatch):
    before = encoders.load("biomedclip", "cpu").encode_texts(TEXTS)
    pickled = pickle_weights(own / "biomedclip", **KINDS[kind])
    pickled.rename(pickled.with_name("epoch_3.pt"))
    assert "epoch_3.pt is pickled" in message("biomedclip")
    monkeypatch.setenv("GAPLIB_CONVERT", "1")
    np.testing.assert_array_equal(encoders.load("biomedclip", "cpu").encode_texts(TEXTS), before)


def test_shards_of_pickled_weights_become_one_file(own, monkeypatch):
    before = encoders.load("clip", "cpu").encode_texts(TEXTS)
    state = load_file(own / "clip" / "model.safetensors")
    (own / "clip" / "model.safetensors").unlink()
    keys = sorted(state)
    torch.save({key: state[key] for key in keys[:9]}, own / "clip" / "pytorch_model-00001-of-00002.bin")
    torch.save({key: state[key] for key in keys[9:]}, own / "clip" / "pytorch_model-00002-of-00002.bin")
    monkeypatch.setenv("GAPLIB_CONVERT", "1")
    np.testing.assert_array_equal(encoders.load("clip", "cpu").encode_texts(TEXTS), before)


class Evil:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (self.mark,)


def test_a_pickle_with_code_is_refused_even_when_it_is_trusted(own, tmp_path, monkeypatch):
    mark = str(tmp_path / "it was run")
    pickle_weights(own / "clip", wrap=lambda state: state | {"evil": Evil(mark)})
    monkeypatch.setenv("GAPLIB_CONVERT", "1")
    assert "does not hold weights alone, so it is not read" in message("clip")
    assert not os.path.exists(mark) and not [*(own / "clip").glob("*.safetensors")]
    (own / "clip" / "pytorch_model.bin").write_bytes(b"torn")
    assert "does not hold weights alone" in message("clip")
    (own / "clip" / "pytorch_model.bin").rename(own / "clip" / "one.pt")
    (own / "clip" / "two.pt").write_bytes(b"x")
    assert "several pickled files (one.pt, two.pt): leave one of them" in message("clip")


def test_a_conversion_that_fails_leaves_nothing(own, monkeypatch):
    def full(weights, part, metadata):
        part.write_bytes(b"half")
        raise OSError("No space left on device")

    pickle_weights(own / "clip")
    monkeypatch.setenv("GAPLIB_CONVERT", "1")
    monkeypatch.setattr("safetensors.torch.save_file", full)
    assert "cannot write" in message("clip") and "No space left" in message("clip")
    assert not [path for path in (own / "clip").iterdir() if "safetensors" in path.name]


def test_a_pickled_snapshot_in_the_cache_converts_offline(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    snapshot = checkpoints.make_cached(tmp_path, "biomedclip")
    before = encoders.load("biomedclip", "cpu")
    pickled = pickle_weights(snapshot)
    assert "its digest is not known" in message("biomedclip")
    monkeypatch.setitem(convert.DIGESTS, BIOMEDCLIP, hashlib.sha256(pickled.read_bytes()).hexdigest())
    after = encoders.load("biomedclip", "cpu")
    assert after.checkpoint == before.checkpoint
    np.testing.assert_array_equal(after.encode_texts(TEXTS), before.encode_texts(TEXTS))


def test_the_digest_of_biomedclip_is_the_published_one():
    known = "52cc993c5c5ff962bd0c60931874bc001e7e9b41666a385530f4a036294576be"
    assert convert.DIGESTS[BIOMEDCLIP] == known and len(convert.DIGESTS) == 1


def test_the_other_name_of_open_clips_weights_is_read(own):
    before = encoders.load("biomedclip", "cpu").encode_texts(TEXTS)
    weights = own / "biomedclip" / "open_clip_model.safetensors"
    weights.rename(weights.with_name("open_clip_pytorch_model.safetensors"))
    np.testing.assert_array_equal(encoders.load("biomedclip", "cpu").encode_texts(TEXTS), before)


def test_both_repositories_of_biomedclip_are_named_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    text = message("biomedclip")
    second, commit = hub.SECOND[BIOMEDCLIP]
    assert f"hf download {BIOMEDCLIP} --revision" in text and f"hf download {second} --revision {commit}" in text


def test_folders_that_are_not_what_they_should_be(own, monkeypatch):
    assert "there is no folder" in message(f"local:{own}/nowhere")
    (own / "empty").mkdir()
    assert "is not a checkpoint: it has neither open_clip_config.json nor config.json" in message(f"local:{own}/empty")
    monkeypatch.setitem(encoders.REGISTRY, "mini-clip", Source(paths.ENCODERS / "gone", None, "general", 32))
    assert "make it with `make encoders`" in message("mini-clip")
    monkeypatch.setenv("GAPLIB_CHECKPOINTS", str(own / "nowhere"))
    assert f"GAPLIB_CHECKPOINTS is {own / 'nowhere'}, and there is no such folder" in message("clip")


def edit(path, change):
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


def test_checkpoints_that_do_not_load(own):
    weights = own / "clip" / "model.safetensors"
    state, whole = load_file(weights), weights.read_bytes()
    save_file({k: v for k, v in state.items() if "text_projection" not in k}, weights, metadata={"format": "pt"})
    assert "lacks 1 weights of CLIPModel, such as text_projection.weight" in message("clip")
    weights.write_bytes(whole[:-1000])
    assert f"cannot load {own / 'clip'}" in message("clip")
    weights.unlink()
    assert "has no weights: there is no model.safetensors" in message("clip")
    config = own / "biomedclip" / "open_clip_config.json"
    for wrong in ({"embed_dim": 8, "text_cfg": {}}, None, {"vision_cfg": 3, "text_cfg": 3}):
        edit(config, {"model_cfg": wrong})
        assert f"{config} describes no model: it lacks model_cfg with vision_cfg and text_cfg" in message("biomedclip")
    edit(config, {"model_cfg": {"embed_dim": 8, "text_cfg": {}, "vision_cfg": {}}})
    assert f"open_clip cannot load {own / 'biomedclip'}" in message("biomedclip")
    (own / "siglip" / "config.json").write_text("[]")
    assert "transformers cannot load" in message("siglip")


def test_a_model_of_text_alone_is_no_dual_encoder(own):
    from transformers import BertConfig, BertModel

    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=10, **small)).save_pretrained(own / "bert")
    (own / "bert" / "vocab.txt").write_text("[PAD]")
    assert "BertModel is not a dual encoder" in message(f"local:{own}/bert")


def test_a_model_that_takes_more_than_pixels(own):
    from transformers import Siglip2Config, Siglip2ImageProcessor, Siglip2Model

    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Siglip2Config(text_config=small | {"vocab_size": 200}, vision_config=small)
    Siglip2Model(config).save_pretrained(own / "siglip")
    Siglip2ImageProcessor().save_pretrained(own / "siglip")
    assert "Siglip2Model takes images of many sizes, which is not supported" in message("siglip")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("mini-clop", "unknown encoder 'mini-clop': did you mean 'mini-clip'"),
        ("huggingface:org/name", "Known: .*local:FOLDER"),
        ("hf:", "unknown encoder 'hf:'"),
        ("open_clip:ViT-B-23/openai", "unknown open_clip architecture 'ViT-B-23': did you mean 'ViT-B-32'"),
        ("open_clip:ViT-B-32/opanai", "unknown open_clip weights of ViT-B-32: 'opanai': did you mean 'openai'"),
    ],
)
def test_unknown_names_and_precisions(spec, words):
    with pytest.raises(ValueError, match=words):
        encoders.load(spec, "cpu")
    with pytest.raises(ValueError, match="unknown precision 'bfloat61': did you mean 'bfloat16'"):
        encoders.load("mini-clip", "cpu", "bfloat61")


class Hub(BaseHTTPRequestHandler):
    """A stand-in for the hub on this machine: three repositories, one of them gated, and two tokens it knows."""

    files, commits, gated, tokens = {}, {}, (MEDSIGLIP,), {"hf_outsider": (), "hf_member": (MEDSIGLIP,)}

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for key, value in ({"Content-Length": len(body)} | headers).items():
            self.send_header(key.replace("_", "-"), str(value))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_HEAD(self):
        path = unquote(urlsplit(self.path).path).removeprefix("/api/models")
        _, organisation, name, action, revision, file = (path.split("/", 5) + [""] * 5)[:6]
        repository = f"{organisation}/{name}"
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in self.tokens:
            return self.answer(401, X_Error_Message="Invalid credentials in Authorization header")
        if repository not in self.files:
            return self.answer(401 if not token else 404, X_Error_Code="RepoNotFound")
        commit, files = self.commits[repository], self.files[repository]
        if revision not in ("main", commit, ""):
            return self.answer(404, X_Error_Code="RevisionNotFound")
        if action == "tree":
            tree = [{"type": "file", "path": f, "size": len(b), "oid": str(abs(hash(b)))} for f, b in files.items()]
            return self.answer(200, json.dumps(tree).encode(), Content_Type="application/json")
        if action in ("revision", ""):
            info = {"id": repository, "sha": commit, "siblings": [{"rfilename": f} for f in files]}
            return self.answer(200, json.dumps(info).encode(), Content_Type="application/json")
        if repository in self.gated and repository not in self.tokens.get(token, ()):
            return self.answer(403 if token else 401, X_Error_Code="GatedRepo")
        return self.answer(200, files[file], X_Repo_Commit=commit, ETag=f'"{abs(hash(files[file]))}"')

    do_GET = do_HEAD


ASK = """
import json, os, sys, time
from gaplib import encoders
time.sleep = lambda seconds: None  # between its attempts, the hub's library waits for half a minute in all
for spec, token, *trusted in json.loads(sys.argv[1]):
    os.environ["HF_TOKEN"] = token
    os.environ["GAPLIB_CONVERT"] = "".join(trusted)
    try:
        print(encoders.load(spec, "cpu").checkpoint.replace("\\n", " | "))
    except OSError as error:
        print(str(error).replace("\\n", " | "))
"""


@pytest.fixture
def ask(made, tmp_path):
    """A function that loads encoders in a process that may reach the stand-in, and returns a line for each."""
    for repository, folder in ((CLIP, "clip"), (MEDSIGLIP, "medsiglip"), (BIOMEDCLIP, "biomedclip")):
        Hub.files[repository] = {p.name: p.read_bytes() for p in (made / folder).iterdir()}
        Hub.commits[repository] = next(s.revision for s in encoders.REGISTRY.values() if s.place == repository)
    shutil.copytree(made / "biomedclip", tmp_path / "pickled")
    pickled = pickle_weights(tmp_path / "pickled")
    del Hub.files[BIOMEDCLIP]["open_clip_model.safetensors"]
    Hub.files[BIOMEDCLIP][pickled.name] = pickled.read_bytes()
    Hub.files[OTHER] = Hub.files[BIOMEDCLIP]
    Hub.commits[OTHER] = "1" * 40
    second, Hub.commits[second] = hub.SECOND[BIOMEDCLIP]
    Hub.files[second] = {p.name: p.read_bytes() for p in (made / second).iterdir()}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()

    def ask(*questions, port=server.server_port, **environment):
        environment = {"HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_HUB_OFFLINE": "0"} | environment
        environment = os.environ | {"HF_HOME": str(tmp_path), "HF_HUB_DISABLE_PROGRESS_BARS": "1"} | environment
        command = [sys.executable, "-c", ASK, json.dumps(questions)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=paths.REPO)
        assert done.returncode == 0, done.stderr
        return [line for line in done.stdout.splitlines() if not line.endswith(", once")]

    yield ask
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_what_the_hub_may_answer(ask):
    gated, outside, wrong, private, revision, pickled, unknown, member, fetched, converted = ask(
        ("medsiglip", ""),
        ("medsiglip", "hf_outsider"),
        ("clip", "hf_mistyped"),
        ("hf:org/private", ""),
        (f"hf:{CLIP}@v9", ""),
        ("biomedclip", ""),
        (f"hf:{OTHER}", ""),
        ("medsiglip", "hf_member"),
        ("clip", ""),
        ("biomedclip", "", "1"),
    )
    assert "is gated, and there is no token: accept its terms at https://huggingface.co/google/medsiglip-448" in gated
    assert (
        "is gated, and the token in use is not of an account that was let in" in outside and "hf auth login" in outside
    )
    assert "the hub does not accept the token in use" in wrong and CLIP in wrong
    assert "https://huggingface.co/org/private does not exist, or is private" in private
    assert f"{CLIP} has no revision v9" in revision
    assert "its digest is not known" in pickled and "set GAPLIB_CONVERT=1" in pickled
    assert member == f"{MEDSIGLIP}@{Hub.commits[MEDSIGLIP]}" and fetched == f"{CLIP}@{Hub.commits[CLIP]}"
    assert f"{OTHER} at main has no open_clip_model.safetensors. Pickled weights" in unknown
    assert converted.startswith(f"{BIOMEDCLIP}@{Hub.commits[BIOMEDCLIP]} + {checkpoints.BERT}@")
    # What was downloaded serves offline, too.
    assert ask(("biomedclip", ""), ("clip", ""), HF_HUB_OFFLINE="1") == [converted, fetched]


@pytest.mark.slow
def test_a_hub_out_of_reach(ask):
    (text,) = ask(("clip", ""), port=9)
    assert "the hub cannot be reached" in text and "hf download" in text

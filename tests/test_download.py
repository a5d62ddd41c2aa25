"""Downloads that stay silent are given up; names that are none are never looked up."""

from __future__ import annotations

import pickle
import socket
import threading
import time

import numpy as np
import pytest
import tiny

from console import InputError
from data import download
from data.download import Silent, patiently
from data.sources import download_rows
from data.tasks import get_task
from models import pretrained
from models.pretrained import is_hub_name, resolve_pretrained
from models.weights import read_safetensors


@pytest.fixture
def silent_server():
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()


def asking(address):
    def ask(*_, **__):
        with socket.create_connection(address) as connection:
            return connection.recv(1)

    return ask


def test_a_result_comes_through():
    assert patiently(lambda: 42, "work") == 42


def test_an_error_comes_through():
    with pytest.raises(ZeroDivisionError):
        patiently(lambda: 1 / 0, "work")


def test_a_silent_connection_is_given_up(silent_server):
    with pytest.raises(Silent, match="set: nothing came for 0 s; look at the network and its proxy"):
        patiently(asking(silent_server), "set", patience=0.4)


def test_a_task_behind_a_silent_proxy_is_one_error(silent_server, monkeypatch):
    monkeypatch.setattr(download, "PATIENCE", 0.4)
    monkeypatch.setattr("data.sources._load_dataset", asking(silent_server))
    with pytest.raises(InputError, match="task sst-2: the download: nothing came .*: --data_dir"):
        download_rows(get_task("sst-2"), "train")


def test_a_model_behind_a_silent_proxy_is_one_error(silent_server, monkeypatch, tmp_path):
    monkeypatch.setattr(download, "PATIENCE", 0.4)
    monkeypatch.setattr(pretrained, "_fetch", asking(silent_server))
    with pytest.raises(InputError, match="some-bert: nothing came"):
        resolve_pretrained("some-bert", tmp_path)


def test_what_grows_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "download_folders", lambda: [tmp_path])

    def slow():
        for size in range(8):
            (tmp_path / "part").write_bytes(b"x" * size)
            time.sleep(0.15)
        return "done"

    assert patiently(slow, "work", patience=0.5) == "done"


def test_the_thread_that_is_left_does_not_keep_the_process(silent_server):
    code = (
        "from data.download import patiently, Silent\nimport socket\n"
        f"def ask():\n    socket.create_connection({silent_server!r}).recv(1)\n"
        "try:\n    patiently(ask, 'x', 0.3)\nexcept Silent:\n    print('gave up')\n"
    )
    began = time.monotonic()
    assert tiny.run(["-c", code]).stdout == "gave up\n"
    assert time.monotonic() - began < 30
    assert threading.active_count() >= 1


@pytest.mark.parametrize("name", ["bert-base-uncased", "hfl/rbt3", "bert-wwm-ext-chinese", "nghuyong/ernie.3_x"])
def test_names_of_hubs(name):
    assert is_hub_name(name)


@pytest.mark.parametrize(
    "name",
    ["outputs/nope", "output/teacher", "./bert", "/bert", "../x", "a/b/c", "models/x", "bert base", "~/bert", "中/文"],
)
def test_paths_are_no_names_of_hubs(name, tmp_path, monkeypatch):
    # Nothing that happens to lie beside the repository is such a path.
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(InputError, match="no such model folder"):
        resolve_pretrained(name, tmp_path)


def test_a_folder_that_is_there_is_no_organisation(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_hub_name("mine/teacher")
    (tmp_path / "mine").mkdir()
    assert not is_hub_name("mine/teacher")


class Bomb:
    def __reduce__(self):
        return (open, ("RAN", "w"))


@pytest.mark.parametrize("harmless", [True, False])
def test_downloaded_pickles_are_read_and_not_run(tmp_path, monkeypatch, harmless):
    """PaddleNLP would unpickle what it downloads."""
    monkeypatch.chdir(tmp_path)
    source = tiny.write_pretrained(tmp_path / "source")
    weights = read_safetensors(source / "model.safetensors")
    path = tmp_path / "model_state.pdparams"
    path.write_bytes(pickle.dumps(weights if harmless else {**weights, "bomb": Bomb()}, protocol=4))
    config = {**tiny.bert_config().__dict__, "model_type": "bert"}
    monkeypatch.setattr(pretrained, "_fetch", lambda name: (config, tiny.VOCAB, True, [path]))
    if harmless:
        folder = resolve_pretrained("some-bert", tmp_path / "cache")
        for name, value in read_safetensors(folder / "model.safetensors").items():
            np.testing.assert_array_equal(value, weights[name])
        assert resolve_pretrained("some-bert", tmp_path / "cache") == folder
    else:
        with pytest.raises(InputError, match="hold more than numbers .* pass --trust_pickle"):
            resolve_pretrained("some-bert", tmp_path / "cache")
        assert not (tmp_path / "cache" / "pretrained" / "some-bert").exists()
    assert not (tmp_path / "RAN").exists()


def test_paddlenlp_keeps_its_files_in_the_cache_folder(tmp_path):
    code = "\n".join(
        [
            "import os; os.environ.pop('PPNLP_HOME', 0)",
            "from pathlib import Path",
            "from data import sources",
            "from data.tasks import get_task",
            "seen = []",
            "sources._load_dataset = lambda *_: seen.append(os.environ['PPNLP_HOME']) or 1 / 0",
            "try:",
            f"    sources.download_rows(get_task('sst-2'), 'train', Path({str(tmp_path)!r}))",
            "except Exception as error:",
            "    print(error)",
            "print(seen[0])",
        ]
    )
    message, place = tiny.run(["-c", code]).stdout.splitlines()
    assert place == str(tmp_path / "downloads" / "paddlenlp")
    assert "(division by zero); without a network, name a folder with train.tsv and dev.tsv" in message
    assert "(columns sentence, label), fetched elsewhere, with --data_dir" in message


def test_a_long_reason_ends_with_a_word():
    found = download.why(ValueError("could not reach " + "a-host " * 60))
    assert len(found) <= 200 and found.endswith("a-host …")
    assert download.why(KeyError()) == "KeyError"


def test_a_model_that_cannot_be_fetched_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(pretrained, "_fetch", lambda name: 1 / 0)
    with pytest.raises(InputError) as caught:
        resolve_pretrained("some-bert", tmp_path)
    assert "config.json, vocab.txt and model.safetensors" in str(caught.value)
    assert "--model_name_or_path scratch" in str(caught.value)

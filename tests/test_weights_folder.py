"""Model folders: what is saved comes back; what is damaged, foreign or pickled is refused by name."""

from __future__ import annotations

import ast
import json
import pickle

import numpy as np
import paddle
import pytest
import tiny
from safetensors.numpy import save_file

from console import InputError
from core.evaluate import dygraph_forward, predict_logits
from data.tasks import custom_task
from models import folder as model_folder
from models import pretrained
from models.weights import layer_weights, read_safetensors, read_weights, set_weights, write_safetensors

TEXTS = [["a good film", "the cast is dull , and weak", "x"]]
PAIR_TEXTS = [*TEXTS, ["how to swim", "the story", "bad"]]
CHINESE = [["房间干净", "书的内容失望"]]


def logits(loaded, texts):
    encoder = loaded.encoder
    return predict_logits(dygraph_forward(loaded.model), encoder.encode(texts), encoder.pad_id, 2)


@pytest.mark.parametrize(
    ("make", "texts"),
    [
        (lambda: tiny.bert(), TEXTS),
        (lambda: tiny.bert(tiny.PAIR), PAIR_TEXTS),
        (lambda: tiny.bilstm(num_layers=2), TEXTS),
        (lambda: tiny.bilstm(tiny.PAIR, pair_features="product", pooling="max"), PAIR_TEXTS),
        (lambda: tiny.aligned_bilstm(), PAIR_TEXTS),
        (lambda: tiny.chinese_bilstm(), CHINESE),
    ],
    ids=["bert", "bert pairs", "bilstm", "bilstm pairs", "bilstm aligned", "bilstm chinese"],
)
def test_saved_models_come_back_with_equal_logits(tmp_path, make, texts):
    before = make()
    model_folder.save(tmp_path / "model", before)
    after = model_folder.load(tmp_path / "model")
    np.testing.assert_array_equal(logits(after, texts), logits(before, texts))
    assert after.model.config == before.model.config
    assert after.tokenizer.vocab == before.tokenizer.vocab
    assert after.max_seq_length == before.max_seq_length
    assert not after.model.training


def test_entries_of_other_versions_are_left_out(tmp_path):
    model_folder.save(tmp_path / "model", tiny.bert())
    expected = model_folder.load(tmp_path / "model").task
    config = json.loads((tmp_path / "model" / "config.json").read_text(encoding="utf-8"))
    config[model_folder.OURS]["task"]["teacher"] = "bert-base-uncased"
    (tmp_path / "model" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert model_folder.load(tmp_path / "model").task == expected


def test_task_and_labels_come_back(tmp_path):
    task = custom_task(("first", "second"), "verdict", "en", "acc_and_f1").with_labels(("no", "perhaps", "yes"))
    model_folder.save(tmp_path / "model", tiny.bert(task))
    assert model_folder.load(tmp_path / "model").task == task
    config = json.loads((tmp_path / "model" / "config.json").read_text(encoding="utf-8"))
    assert config["id2label"] == {"0": "no", "1": "perhaps", "2": "yes"}
    assert config["label2id"] == {"no": 0, "perhaps": 1, "yes": 2}
    assert config["num_labels"] == 3


def test_aliases_of_a_registered_task_come_back(tmp_path):
    model_folder.save(tmp_path / "model", tiny.bilstm(tiny.PAIR))
    task = model_folder.load(tmp_path / "model").task
    assert task.aliases("question1") == ("question1", "sentence1")
    assert task.labels == ("0", "1")


def test_saving_leaves_other_files_alone(tmp_path):
    folder = tiny.write_model(tmp_path / "model")
    (folder / "notes.txt").write_text("mine")
    model_folder.save(folder, tiny.bert(seed=2))
    assert (folder / "notes.txt").read_text() == "mine"


def pickled_folder(tmp_path):
    """A pre-trained folder whose weights ``paddle.save`` wrote."""
    folder = tiny.write_pretrained(tmp_path / "pickled")
    weights = read_safetensors(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    paddle.save({k: paddle.to_tensor(v) for k, v in weights.items()}, str(folder / "model_state.pdparams"))
    return folder, weights


@pytest.mark.parametrize("trust", [False, True])
def test_pickled_weights_of_paddle_are_read_as_the_numbers_they_are(tmp_path, trust):
    folder, weights = pickled_folder(tmp_path)
    loaded = pretrained.pretrained_bert(str(folder), tiny.SINGLE, 16, 0, tmp_path, trust_pickle=trust)
    for name, value in weights.items():
        np.testing.assert_array_equal(layer_weights(loaded.model)[name], value, err_msg=name)


class Bomb:
    """Runs code when it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (open, (self.target, "w"))


@pytest.mark.parametrize("name", ["model_state.pdparams", "pytorch_model.bin", "weights.pt"])
def test_refusing_a_pickle_runs_nothing_of_it(tmp_path, name):
    (tmp_path / name).write_bytes(pickle.dumps(Bomb(str(tmp_path / "ran"))))
    with pytest.raises(InputError, match="--trust_pickle"):
        read_weights(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_what_is_refused_is_named_with_the_way(tmp_path):
    (tmp_path / "model_state.pdparams").write_bytes(pickle.dumps({"w": Bomb(str(tmp_path / "ran"))}))
    with pytest.raises(InputError, match=r"hold more than numbers \(a call of (_io|io).open\).*--trust_pickle"):
        read_weights(tmp_path)


def test_a_trusted_pickle_that_is_damaged_is_an_input_error(tmp_path):
    (tmp_path / "model_state.pdparams").write_bytes(b"\x80\x04garbage")
    with pytest.raises(InputError, match="these pickled weights cannot be read"):
        read_weights(tmp_path, trust_pickle=True)


def test_safetensors_are_preferred_to_a_pickle_beside_them(tmp_path):
    folder, weights = pickled_folder(tmp_path)
    write_safetensors(folder / "model.safetensors", weights)
    assert read_weights(folder).keys() == weights.keys()


def spoil_truncate(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def spoil_header(folder):
    path = folder / "model.safetensors"
    path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:])


def spoil_empty(folder):
    (folder / "model.safetensors").write_bytes(b"")


def spoil_missing(folder):
    (folder / "model.safetensors").unlink()


def spoil_weight_missing(folder):
    weights = read_safetensors(folder / "model.safetensors")
    del weights["bert.pooler.dense.weight"], weights["classifier.bias"]
    write_safetensors(folder / "model.safetensors", weights)


def spoil_weight_shape(folder):
    weights = read_safetensors(folder / "model.safetensors")
    weights["classifier.weight"] = weights["classifier.weight"][:, :1]
    write_safetensors(folder / "model.safetensors", weights)


def spoil_config(change):
    def spoil(folder):
        path = folder / "config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        change(config)
        path.write_text(json.dumps(config), encoding="utf-8")

    return spoil


def spoil_config_text(text):
    return lambda folder: (folder / "config.json").write_text(text)


def spoil_vocab(folder):
    with open(folder / "vocab.txt", "a", encoding="utf-8") as file:
        file.write("onemore\n")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_truncate, "model.safetensors: not a complete safetensors file"),
        (spoil_header, "model.safetensors: not a complete safetensors file"),
        (spoil_empty, "model.safetensors: not a complete safetensors file"),
        (spoil_missing, "expected model.safetensors here, found no weights"),
        (spoil_weight_missing, "2 weights are missing, bert.pooler.dense.weight among them"),
        (spoil_weight_shape, r"classifier.weight has the shape \[16, 1\] in model.safetensors, expected \[16, 2\]"),
        (lambda folder: (folder / "config.json").unlink(), "no config.json here, so this is no model folder"),
        (spoil_config_text("{not json"), "config.json: not valid JSON"),
        (spoil_config_text("[1, 2]"), r"config.json: not valid JSON \(expected a JSON object, found list\)"),
        (
            spoil_config_text('{"model_type": "bert"}'),
            "not trained by PaddleDistill; take it with finetune.import_classifier",
        ),
        (spoil_config(lambda c: c.update(model_type="gpt")), "model_type 'gpt': expected bert or bilstm"),
        (spoil_config(lambda c: c.update(hidden_act="swish")), "hidden_act 'swish'"),
        (spoil_config(lambda c: c.update(hidden_size="wide")), "config.json: "),
        (spoil_config(lambda c: c["paddledistill"].pop("task")), "config.json: KeyError: 'task'"),
        (spoil_config(lambda c: c["paddledistill"].pop("tokenizer")), "config.json: KeyError: 'tokenizer'"),
        (spoil_config(lambda c: c["paddledistill"].update(tokenizer="bpe")), "unknown tokenizer kind 'bpe'"),
        (spoil_config(lambda c: c["paddledistill"].update(max_seq_length="long")), "config.json: ValueError"),
        (spoil_config(lambda c: c.update(paddledistill=3)), "config.json: TypeError"),
        (lambda folder: (folder / "vocab.txt").unlink(), "vocab.txt: no vocabulary here"),
        (spoil_vocab, r"vocab.txt has \d+ entries, the model only \d+"),
    ],
    ids=lambda value: value.__name__ if callable(value) else value[:30],
)
def test_damaged_model_folders_are_refused(tmp_path, spoil, message):
    folder = tiny.write_model(tmp_path / "model")
    spoil(folder)
    with pytest.raises(InputError, match=message):
        model_folder.load(folder)


def test_an_absent_folder_is_named(tmp_path):
    with pytest.raises(InputError, match="nope: no such model folder"):
        model_folder.load(tmp_path / "nope")


def test_a_foreign_architecture_is_no_pretrained_bert(tmp_path):
    folder = tiny.write_pretrained(tmp_path / "bert")
    spoil_config(lambda c: c.update(model_type="roberta"))(folder)
    with pytest.raises(InputError, match="expected a BERT, its config.json says 'roberta'"):
        pretrained.pretrained_bert(str(folder), tiny.SINGLE, 16, 0, tmp_path)


def test_a_path_that_is_not_there_is_not_looked_up_on_the_net(tmp_path):
    for name in ("./nope", str(tmp_path / "nope"), "a/b/c"):
        with pytest.raises(InputError, match="no such model folder"):
            pretrained.resolve_pretrained(name, tmp_path)


def write_shards(folder, index):
    weights = read_safetensors(folder / "model.safetensors")
    names = sorted(weights)
    save_file({name: weights[name] for name in names[::2]}, folder / "part-1.safetensors")
    save_file({name: weights[name] for name in names[1::2]}, folder / "part-2.safetensors")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return weights


def test_sharded_weights_are_read_whole(tmp_path):
    folder = tiny.write_pretrained(tmp_path / "bert")
    weights = write_shards(folder, {"weight_map": {"a": "part-1.safetensors", "b": "part-2.safetensors"}})
    found = read_weights(folder)
    assert found.keys() == weights.keys()
    assert all(np.array_equal(found[name], weights[name]) for name in weights)


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", "sub/part.safetensors"])
def test_an_index_that_points_outside_its_folder_is_refused(tmp_path, name):
    folder = tiny.write_pretrained(tmp_path / "bert")
    write_shards(folder, {"weight_map": {"a": name}})
    with pytest.raises(InputError, match="names a file outside its folder"):
        read_weights(folder)


@pytest.mark.parametrize("index", [{}, [], {"weight_map": 3}, {"weight_map": {"a": 1}}])
def test_a_damaged_index_is_an_input_error(tmp_path, index):
    folder = tiny.write_pretrained(tmp_path / "bert")
    write_shards(folder, index)
    with pytest.raises(InputError, match="index.json: damaged"):
        read_weights(folder)


def test_a_shard_that_is_missing_is_an_input_error(tmp_path):
    folder = tiny.write_pretrained(tmp_path / "bert")
    write_shards(folder, {"weight_map": {"a": "part-3.safetensors"}})
    with pytest.raises(InputError, match=r"part-3.safetensors: not a complete safetensors file"):
        read_weights(folder)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_precisions_become_float32(tmp_path, dtype):
    values = np.array([[0.5, -1.25], [3.0, 0.0]])
    save_file({"w": values.astype(dtype)}, tmp_path / "model.safetensors")
    found = read_weights(tmp_path)["w"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values)


def test_missing_optional_weights_keep_their_values():
    model = tiny.bert().model
    before = {k: v.copy() for k, v in layer_weights(model).items()}
    missing = set_weights(
        model, {k: v for k, v in before.items() if "pooler" not in k}, "x", optional=("bert.pooler.",)
    )
    assert missing == ["bert.pooler.dense.weight", "bert.pooler.dense.bias"]
    np.testing.assert_array_equal(layer_weights(model)["bert.pooler.dense.weight"], before["bert.pooler.dense.weight"])


def test_nothing_but_the_weights_module_unpickles():
    loaders = {("pickle", "load"), ("pickle", "loads"), ("paddle", "load"), ("np", "load"), ("torch", "load")}
    loaders |= {(None, "load_torch"), ("joblib", "load"), ("marshal", "loads"), ("shelve", "open")}
    found = set()
    for path in tiny.ROOT.rglob("*.py"):
        place = path.relative_to(tiny.ROOT)
        if place.parts[0] in ("tests", "outputs", "build") or place.parts[0].startswith("."):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            call = node.func
            if isinstance(call, ast.Attribute) and isinstance(call.value, ast.Name):
                name = (call.value.id, call.attr)
            else:
                name = (None, getattr(call, "id", getattr(call, "attr", "")))
            if name in loaders:
                found.add((str(place), name[1]))
    assert found == {("models/weights.py", "load"), ("models/weights.py", "load_torch")}


def test_bfloat16_is_read_from_its_bits(tmp_path):
    """As the scripts run: without the package that teaches NumPy the type."""
    values = np.array([[0.5, -1.25], [3.0, 0.0]], np.float32)
    bits = (values.view(np.uint32) >> 16).astype("<u2")
    header = json.dumps({"w": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bits.tobytes())
    code = (
        "import sys; from models.weights import read_weights\n"
        f"found = read_weights({str(tmp_path)!r})['w']\n"
        "print(found.dtype, found.tolist(), 'ml_dtypes' in sys.modules)"
    )
    done = tiny.run(["-c", code])
    assert done.stdout == "float32 [[0.5, -1.25], [3.0, 0.0]] False\n", done.stderr


@pytest.mark.parametrize("kind", ["F8_E4M3", "F8_E5M2"])
def test_types_that_are_not_known_are_named(tmp_path, kind):
    header = json.dumps({"w": {"dtype": kind, "shape": [4], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"1234")
    with pytest.raises(
        InputError, match=f"weights of (the )?type {kind} are not known here|not a complete safetensors file"
    ):
        read_weights(tmp_path)

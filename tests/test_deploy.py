"""Export, prediction and benchmark of finished models."""

from __future__ import annotations

import io
import json
import math
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny

from console import InputError, run_script
from core import arithmetic
from core.evaluate import dygraph_forward, predict_logits
from core.texts import parity_rows
from data import demo_corpus
from data.questions import Answer
from data.tasks import custom_task, get_task
from deploy import benchmark, export, exporter, predict, timing
from deploy.options import BenchmarkOptions, ExportOptions
from deploy.predictor import Answered, Prediction, Predictor
from models import folder as model_folder
from models.bert_names import from_hugging_face
from models.weights import layer_weights, read_safetensors

TEXTS = ["a good film", "the story is very dull , and it is weak", "bad", "the cast was fine"]
PAIRS = [("how to swim", "the very end of swim"), ("how to cook", "the end of sing"), ("x", "it is a very dull end")]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Model folders, with what is exported of them below ``exported``."""
    root = tmp_path_factory.mktemp("models")
    made = {
        "bert": tiny.bert(),
        "bert_pairs": tiny.bert(tiny.PAIR),
        "bilstm": tiny.bilstm(num_layers=2),
        "bilstm_pairs": tiny.bilstm(tiny.PAIR, pooling="max"),
        "aligned_pairs": tiny.aligned_bilstm(),
        "chinese": tiny.chinese_bilstm(),
        "narrow": tiny.bert(head_size=3),
    }
    for name, loaded in made.items():
        tiny.write_model(root / name, loaded)
        exporter.export(ExportOptions(model_dir=str(root / name), output_dir=str(root / "exported" / name)))
    return root


def exported(models, name):
    return models / "exported" / name


def copied(folder, target):
    """A copy of a flat folder that a test may spoil."""
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def script(module, capsys, *words):
    """Exit code, standard output and the lines of standard error of a script's ``main``."""
    capsys.readouterr()
    code = run_script(module.main, list(map(str, words)))
    captured = capsys.readouterr()
    return code, captured.out, captured.err.splitlines()


# Export


def test_export_writes_graph_tokenizer_and_its_record(models):
    folder = exported(models, "bert")
    names = {path.name for path in folder.iterdir()}
    assert names == {"export.json", "model.json", "model.pdiparams", "tokenizer_config.json", "vocab.txt"}
    record = json.loads((folder / "export.json").read_text(encoding="utf-8"))
    assert record["task"] == "sst-2"
    assert record["labels"] == ["0", "1"]
    assert record["inputs"] == ["input_ids", "token_type_ids"]
    assert record["parameters"] == tiny.bert().parameters
    assert record["parity"]["rows"] == 64
    assert 0 <= record["parity"]["largest_relative_difference"] <= 1e-5


def test_export_reports_the_parity(models, tmp_path, capsys):
    exporter.export(ExportOptions(model_dir=str(models / "bilstm"), output_dir=str(tmp_path / "out"), parity_rows=5))
    assert "parity on 5 rows of" in capsys.readouterr().out


def test_parity_is_checked_on_the_users_rows_when_there_are_some(models, tmp_path):
    tiny.write_single(tmp_path / "data", dev=7)
    options = ExportOptions(
        model_dir=str(models / "bilstm"), output_dir=str(tmp_path / "out"), data_dir=str(tmp_path / "data")
    )
    exporter.export(options)
    record = json.loads((tmp_path / "out" / "export.json").read_text(encoding="utf-8"))
    assert record["parity"]["rows"] == 7


def test_a_graph_that_differs_is_not_published(models, tmp_path, monkeypatch):
    from core.static_graph import StaticGraph

    call = StaticGraph.__call__
    monkeypatch.setattr(StaticGraph, "__call__", lambda self, batch: call(self, batch) + np.float32(0.01))
    with pytest.raises(InputError, match="the static graph differs from the model"):
        exporter.export(ExportOptions(model_dir=str(models / "bert"), output_dir=str(tmp_path / "out")))
    assert list(tmp_path.iterdir()) == []


def test_export_leaves_the_model_folder_alone(models, tmp_path):
    before = {path.name: path.read_bytes() for path in (models / "bert").iterdir()}
    exporter.export(ExportOptions(model_dir=str(models / "bert"), output_dir=str(tmp_path / "out")))
    assert {path.name: path.read_bytes() for path in (models / "bert").iterdir()} == before


def test_export_refuses_a_folder_that_is_not_empty(models, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    options = {"model_dir": str(models / "bert"), "output_dir": str(tmp_path / "out")}
    with pytest.raises(InputError, match="is not empty; pass --overwrite or choose another folder"):
        exporter.export(ExportOptions(**options))
    with pytest.raises(InputError, match="--overwrite: .* holds no export of ours"):
        exporter.export(ExportOptions(**options, overwrite=True))
    assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"


def test_overwrite_never_replaces_a_trained_model(models, tmp_path):
    trained = tiny.write_model(tmp_path / "trained")
    (trained / "training_args.json").write_text("{}")
    with pytest.raises(InputError, match="holds no export of ours"):
        exporter.export(
            ExportOptions(model_dir=str(models / "bert"), output_dir=str(trained), overwrite=True, format="hf")
        )
    assert (trained / "training_args.json").exists()


def test_overwrite_never_replaces_a_foreign_model(models, tmp_path):
    foreign = tiny.write_pretrained(tmp_path / "foreign")
    with pytest.raises(InputError, match="holds no export of ours"):
        exporter.export(ExportOptions(model_dir=str(models / "bert"), output_dir=str(foreign), overwrite=True))
    assert (foreign / "model.safetensors").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_export_refuses_the_model_folder_itself(models, overwrite):
    options = ExportOptions(model_dir=str(models / "bert"), output_dir=str(models / "." / "bert"), overwrite=overwrite)
    with pytest.raises(InputError, match="must not be the model folder itself"):
        exporter.export(options)
    assert model_folder.load(models / "bert").parameters == tiny.bert().parameters


@pytest.mark.parametrize("form", ["paddle", "hf"])
def test_overwrite_replaces_an_earlier_export(models, tmp_path, form):
    options = {"model_dir": str(models / "bert"), "output_dir": str(tmp_path / "out"), "format": form}
    exporter.export(ExportOptions(**options))
    (tmp_path / "out" / "old").write_text("x")
    exporter.export(ExportOptions(**options, overwrite=True))
    assert not (tmp_path / "out" / "old").exists()
    assert (tmp_path / "out" / "vocab.txt").exists()


def test_hf_folder_carries_hugging_faces_names(models, tmp_path):
    exporter.export(ExportOptions(model_dir=str(models / "bert"), output_dir=str(tmp_path / "hf"), format="hf"))
    weights = read_safetensors(tmp_path / "hf" / "model.safetensors")
    assert "bert.encoder.layer.0.attention.self.query.weight" in weights
    assert "bert.embeddings.LayerNorm.weight" in weights
    back, ours = from_hugging_face(weights), layer_weights(tiny.bert().model)
    assert back.keys() == ours.keys()
    assert all(np.array_equal(back[name], ours[name]) for name in ours)
    config = json.loads((tmp_path / "hf" / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert config["id2label"] == {"0": "0", "1": "1"}


@pytest.mark.parametrize(
    ("name", "message"),
    [("bilstm", "only BERTs have a Hugging Face counterpart, this is a bilstm"), ("narrow", "a narrowed attention")],
)
def test_what_hugging_face_cannot_hold_is_refused(models, tmp_path, name, message):
    with pytest.raises(InputError, match=message):
        exporter.export(ExportOptions(model_dir=str(models / name), output_dir=str(tmp_path / "hf"), format="hf"))
    assert not (tmp_path / "hf").exists()


def test_more_rows_than_the_built_in_texts_are_all_of_them(monkeypatch):
    monkeypatch.setattr(demo_corpus, "LIMITS", dict.fromkeys(demo_corpus.LIMITS, 10))
    assert len(parity_rows(get_task("sst-2"), None, 10**8).columns[0]) == 10
    assert len(parity_rows(get_task("qqp"), None, 11).columns[1]) == 10


def test_parity_rows_of_an_empty_file_are_refused(models, tmp_path):
    tiny.write_single(tmp_path / "data")
    (tmp_path / "data" / "dev.tsv").write_text("sentence\tlabel\n")
    options = ExportOptions(
        model_dir=str(models / "bert"), output_dir=str(tmp_path / "out"), data_dir=str(tmp_path / "data")
    )
    with pytest.raises(InputError, match="dev.tsv: no rows"):
        exporter.export(options)


# Predictor


def dygraph(models, name, rows):
    loaded = model_folder.load(models / name)
    columns = loaded.encoder.encode([list(column) for column in zip(*rows, strict=True)])
    return predict_logits(dygraph_forward(loaded.model), columns, loaded.encoder.pad_id, 2)


@pytest.mark.parametrize("name", ["bert", "bilstm", "narrow", "bert_pairs", "bilstm_pairs", "aligned_pairs", "chinese"])
def test_the_predictor_says_what_the_model_says(models, name):
    rows = PAIRS if "pairs" in name else [(text,) for text in TEXTS]
    if name == "chinese":
        rows = [("房间干净，服务很好",), ("失望",), ("书的内容看得失望。",)]
    expected = dygraph(models, name, rows)
    predictions = Predictor(exported(models, name)).predict(rows, batch_size=2)
    np.testing.assert_allclose([p.logits for p in predictions], expected, atol=1e-5)
    labels = get_task("sst-2").labels
    for prediction, row, values in zip(predictions, rows, expected, strict=True):
        assert prediction.texts == row
        assert prediction.label == labels[values.argmax()]
        assert prediction.probability == pytest.approx(math.exp(values.max()) / np.exp(values).sum(), abs=1e-5)


def test_batch_size_changes_nothing(models):
    predictor = Predictor(exported(models, "bilstm"))
    one, all_at_once = (predictor.logits([TEXTS], size) for size in (1, 8))
    np.testing.assert_allclose(one, all_at_once, atol=1e-6)


def test_no_rows_no_predictions(models):
    assert Predictor(exported(models, "bilstm")).predict([]) == []


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("a", "b"), r"row 2: this model reads 1 text\(s\) a row, got 2"),
        (("  ",), "row 2: the text in column 'sentence' is empty"),
        (("a\0b",), "row 2: a NUL character"),
        ((7,), "row 2: expected a text in column 'sentence', found 7"),
    ],
)
def test_rows_that_the_model_cannot_read_are_refused(models, row, message):
    with pytest.raises(InputError, match=message):
        Predictor(exported(models, "bilstm")).predict([("fine",), row])


def test_a_text_alone_is_no_row(models):
    with pytest.raises(InputError, match=r"row 1: expected a tuple of texts, such as \(text,\), got the text alone"):
        Predictor(exported(models, "bert")).predict(["a good film"])


def test_a_stream_is_read_in_bounded_blocks(models):
    read = []

    def endless():
        while True:
            read.append(None)
            yield ("a good film",)

    stream = Predictor(exported(models, "bilstm")).stream(endless(), batch_size=2)
    first = next(stream)
    # A block is 32 batches of two.
    assert len(read) == 64
    for _ in range(64):
        last = next(stream)
    assert len(read) == 128
    assert last == first


def test_a_stream_keeps_the_order(models):
    rows = [(f"a good film {'very ' * (n % 5)}{n}",) for n in range(150)]
    found = list(Predictor(exported(models, "bilstm")).stream(iter(rows), batch_size=2))
    assert [prediction.texts for prediction in found] == rows


# The predict script


def labelled(lines):
    return [json.loads(line) for line in lines]


def test_predicting_texts_of_the_command_line(models, capsys):
    code, out, err = script(predict, capsys, "--model_dir", exported(models, "bert"), "--text", *TEXTS)
    found = labelled(out.splitlines())
    assert (code, err) == (0, [])
    assert [row["sentence"] for row in found] == TEXTS
    expected = dygraph(models, "bert", [(text,) for text in TEXTS])
    np.testing.assert_allclose([row["logits"] for row in found], expected, atol=2e-5)
    assert set(found[0]) == {"sentence", "label", "probability", "logits"}


def test_predicting_pairs_of_the_command_line(models, capsys):
    first, second = zip(*PAIRS, strict=True)
    code, out, _ = script(
        predict, capsys, "--model_dir", exported(models, "bilstm_pairs"), "--text", *first, "--text_pair", *second
    )
    found = labelled(out.splitlines())
    assert code == 0
    assert [(row["question1"], row["question2"]) for row in found] == PAIRS


FILES = {
    "rows.tsv": 'id\tsentence\n1\ta "good" film\n2\tbad\n',
    "rows.csv": 'sentence,id\n"a ""good"" film",1\nbad,2\n',
    "rows.jsonl": '{"id": 1, "sentence": "a \\"good\\" film"}\n{"sentence": "bad"}\n',
    "rows.txt": 'a "good" film\nbad\n',
}


@pytest.mark.parametrize("name", FILES)
def test_predicting_a_file(models, tmp_path, capsys, name):
    (tmp_path / name).write_text(FILES[name], encoding="utf-8")
    out_file = tmp_path / "deep" / "labels.jsonl"
    code, out, err = script(
        predict,
        capsys,
        *("--model_dir", exported(models, "bilstm"), "--input_file", tmp_path / name, "--output_file", out_file),
    )
    assert (code, err) == (0, [])
    assert out == f"2 predictions in {out_file}\n"
    found = labelled(out_file.read_text(encoding="utf-8").splitlines())
    assert [row["sentence"] for row in found] == ['a "good" film', "bad"]
    # What else a file tells of its rows is kept.
    ids = {"rows.tsv": ["1", "2"], "rows.csv": ["1", "2"], "rows.jsonl": [1, None], "rows.txt": [None, None]}
    assert [row.get("id") for row in found] == ids[name]


def test_other_columns_stay_beside_the_predictions(models, tmp_path, capsys):
    rows = "probability\tsentence\tlabel\tsource\nhigh\tgood\t1\tweb\n\t\t\t\nlow\tbad\t0\tshop\n"
    (tmp_path / "rows.tsv").write_text(rows, encoding="utf-8")
    words = ("--model_dir", exported(models, "bilstm"), "--input_file", tmp_path / "rows.tsv", "--skip_bad_rows")
    code, out, _ = script(predict, capsys, *words)
    first, second = (json.loads(line) for line in out.splitlines())
    assert code == 0
    assert list(first) == ["probability", "source", "sentence", "label", "predicted_probability", "logits"]
    assert (first["probability"], first["source"]) == ("high", "web")
    assert (second["probability"], second["source"]) == ("low", "shop")


def test_other_columns_may_hold_what_json_does_not_know(models, tmp_path, capsys):
    rows = (
        '{"id": "\\ud83d", "sentence": "good"}\n{"id": NaN, "sentence": "bad"}\n{"": 3, "id": "好", "sentence": "ok"}\n'
    )
    (tmp_path / "rows.jsonl").write_text(rows, encoding="utf-8")
    out_file = tmp_path / "out.jsonl"
    words = ("--model_dir", exported(models, "bilstm"), "--input_file", tmp_path / "rows.jsonl")
    code, _, errors = script(predict, capsys, *words, "--output_file", out_file)
    assert (code, errors) == (0, [])
    found = [json.loads(line, parse_constant=pytest.fail) for line in out_file.read_text("utf-8").splitlines()]
    assert [row["id"] for row in found] == ["\ud83d", None, "好"]
    # A column without a name is an index that somebody's data frame has written.
    assert "" not in found[2]


def test_a_taken_name_is_never_overwritten():
    row = {"probability": 1, "predicted_probability": 2, "answer": "gold"}
    assert Prediction(("a",), "1", 0.5, (0.1, 0.2)).as_dict(["text"], row) == {
        **row, "text": "a", "label": "1", "predicted_predicted_probability": 0.5, "logits": [0.1, 0.2],
    }  # fmt: skip
    found = Answered(("q", "p"), (Answer("a", 3, 1.0, 0.5),)).as_dict(["question", "context"], row)
    assert (found["answer"], found["predicted_answer"], found["start"]) == ("gold", "a", 3)


def test_columns_may_carry_the_names_of_published_copies(models, tmp_path, capsys):
    (tmp_path / "rows.tsv").write_text("sentence1\tsentence2\nhow to swim\tthe end\n", encoding="utf-8")
    words = ("--model_dir", exported(models, "bilstm_pairs"), "--input_file", tmp_path / "rows.tsv")
    code, out, _ = script(predict, capsys, *words)
    assert code == 0
    assert labelled(out.splitlines())[0]["question2"] == "the end"


class Standard:
    def __init__(self, content):
        self.buffer = io.BytesIO(content)


def test_predicting_standard_input(models, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", Standard(b"a good film\nbad\n"))
    code, out, _ = script(predict, capsys, "--model_dir", exported(models, "bilstm"))
    assert code == 0
    assert [row["sentence"] for row in labelled(out.splitlines())] == ["a good film", "bad"]


def test_predicting_pairs_from_standard_input(models, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", Standard(b"how to swim\tthe end\n"))
    code, out, _ = script(predict, capsys, "--model_dir", exported(models, "bilstm_pairs"))
    assert code == 0
    assert labelled(out.splitlines())[0]["question2"] == "the end"


def test_predicting_nothing_writes_an_empty_file(models, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", Standard(b""))
    code, _, _ = script(
        predict, capsys, "--model_dir", exported(models, "bilstm"), "--output_file", tmp_path / "labels.jsonl"
    )
    assert code == 0
    assert (tmp_path / "labels.jsonl").read_bytes() == b""


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (b"\xff\xfe oops", "expected UTF-8"),
        (b"a\0b", "a NUL character"),
        (b"   ", "the text in column 'sentence' is empty"),
    ],
    ids=["utf-8", "nul", "empty"],
)
def test_a_bad_row_midway_leaves_the_old_file_untouched(models, tmp_path, capsys, row, fault):
    (tmp_path / "rows.txt").write_bytes(b"a good film\n" * 100 + row + b"\nbad\n")
    (tmp_path / "labels.jsonl").write_text("old")
    words = ("--model_dir", exported(models, "bilstm"), "--input_file", tmp_path / "rows.txt", "--batch_size", 1)
    code, _, err = script(predict, capsys, *words, "--output_file", tmp_path / "labels.jsonl")
    assert code == 2
    assert len(err) == 1
    assert err[0].startswith(f"error: {tmp_path / 'rows.txt'}, line 101: {fault}")
    assert (tmp_path / "labels.jsonl").read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"rows.txt", "labels.jsonl"}


def test_bad_rows_are_skipped_and_counted_on_demand(models, tmp_path, capsys):
    (tmp_path / "rows.tsv").write_bytes(b"sentence\na good film\n\xff\ntwo\tfields\nbad\n")
    code, out, err = script(
        predict,
        capsys,
        *("--model_dir", exported(models, "bilstm"), "--input_file", tmp_path / "rows.tsv", "--skip_bad_rows"),
    )
    assert (code, err) == (0, ["2 bad rows skipped"])
    assert [row["sentence"] for row in labelled(out.splitlines())] == ["a good film", "bad"]


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("bilstm", ("--text", "a", "--text_pair", "b"), "--text_pair: the model in .* reads single texts"),
        ("bilstm_pairs", ("--text", "a"), "--text_pair is missing: the model in .* reads pairs"),
        (
            "bilstm_pairs",
            ("--text", "a", "b", "--text_pair", "c"),
            r"--text_pair: expected as many texts as --text \(2\)",
        ),
        ("bilstm", ("--text", "a", "--input_file", "b"), "--text and --input_file exclude each other"),
        ("bilstm", ("--input_file", "nope.tsv"), "--input_file nope.tsv: no such file"),
        ("bilstm", ("--text", "a", "--device", "gpu"), "--device gpu: the installed build is paddlepaddle"),
        ("bilstm", ("--text", "a", "--batch_size", "0"), "--batch_size 0: must lie between 1 and 100000"),
    ],
)
def test_impossible_commands_are_one_line_and_exit_code_two(models, capsys, name, words, message):
    code, out, err = script(predict, capsys, "--model_dir", exported(models, name), *words)
    assert (code, out, len(err)) == (2, "", 1)
    with pytest.raises(InputError, match=f"^error: {message}"):
        raise InputError(err[0])


# Folders that are none


def spoil_graph(folder):
    (folder / "model.json").write_text("{}")


def spoil_graph_text(folder):
    path = folder / "model.json"
    path.write_bytes(path.read_bytes()[:-200])


def spoil_parameters(folder):
    path = folder / "model.pdiparams"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def spoil_parameters_empty(folder):
    (folder / "model.pdiparams").write_bytes(b"")


def spoil_record(folder):
    (folder / "export.json").write_text("{")


def spoil_labels(folder):
    path = folder / "export.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    del record["labels"]
    path.write_text(json.dumps(record), encoding="utf-8")


def spoil_parameter(folder):
    """A number among the weights changes, the size stays."""
    path = folder / "model.pdiparams"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x40
    path.write_bytes(bytes(content))


def spoil_vocabulary_word(folder):
    path = folder / "vocab.txt"
    path.write_text(path.read_text(encoding="utf-8").replace("good", "godo"), encoding="utf-8")


def changed_record(folder, **changes):
    path = folder / "export.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**record, **changes}), encoding="utf-8")


def spoil_label_count(folder):
    changed_record(folder, labels=["0", "1", "2"])


def spoil_file_list(folder):
    changed_record(folder, files={"../../etc/passwd": {"bytes": 1, "sha256": ""}})


def spoil_with(text):
    return lambda folder: (folder / "export.json").write_text(text)


def spoil_vocabulary(folder):
    (folder / "vocab.txt").unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_record, "not an export.json of ours"),
        (spoil_labels, r"damaged \(KeyError: 'labels'\)"),
        (spoil_vocabulary, r"vocab.txt: expected [\d,]+ bytes, found none"),
        (spoil_parameters_empty, r"model.pdiparams: expected [\d,]+ bytes, found 0; export the model again"),
        (spoil_parameters, r"model.pdiparams: expected [\d,]+ bytes, found [\d,]+; export the model again"),
        (spoil_parameter, r"model.pdiparams: damaged \(its checksum differs"),
        (spoil_vocabulary_word, r"vocab.txt: damaged \(its checksum differs"),
        (spoil_label_count, r"3 labels, but the graph gives 2 logits"),
        (spoil_file_list, r"its list of files"),
        (spoil_with("[]"), r"expected a JSON object, found list"),
        (spoil_with("null"), r"expected a JSON object, found NoneType"),
    ],
)
def test_damaged_export_folders_are_one_line_and_exit_code_two(models, tmp_path, capsys, spoil, message):
    folder = copied(exported(models, "bilstm"), tmp_path / "copy")
    spoil(folder)
    code, _, err = script(predict, capsys, "--model_dir", folder, "--text", "a")
    assert (code, len(err)) == (2, 1)
    assert re.search(message, err[0]), err[0]


# In a process of its own: Paddle's C++ side might bring the test process down with it.
@pytest.mark.parametrize("spoil", [spoil_graph, spoil_graph_text, spoil_parameters])
def test_damaged_graphs_are_one_line_and_exit_code_two(models, tmp_path, spoil):
    folder = copied(exported(models, "bilstm"), tmp_path / "copy")
    changed_record(folder, files={})  # As exports of earlier versions are, whose files nothing vouches for.
    spoil(folder)
    done = tiny.run(["-m", "deploy.predict", "--model_dir", str(folder), "--text", "a"])
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2, done.stderr
    assert len(errors) == 1
    assert "cannot be loaded" in errors[0]
    assert "Traceback" not in done.stderr


def test_a_model_folder_is_no_export_folder(models, capsys):
    code, _, err = script(predict, capsys, "--model_dir", models / "bert", "--text", "a")
    assert (code, len(err)) == (2, 1)
    assert "this is no export folder; export it first with deploy.export" in err[0]


def test_an_absent_folder_is_named(tmp_path, capsys):
    code, _, err = script(predict, capsys, "--model_dir", tmp_path / "nope", "--text", "a")
    assert (code, err) == (2, [f"error: --model_dir {tmp_path / 'nope'}: no such folder"])


def test_predicting_imports_neither_paddlenlp_nor_the_networks():
    code = (
        "import sys, deploy.predict, deploy.predictor\n"
        "loaded = {name.split('.')[0] for name in sys.modules}\n"
        "print(sorted(loaded & {'paddlenlp', 'paddleslim', 'models', 'visualdl', 'transformers'}))"
    )
    done = tiny.run(["-c", code])
    assert done.stdout == "[]\n", done.stderr


# Benchmark


def test_benchmark_writes_finite_figures(models, tmp_path, capsys, monkeypatch):
    # On a processor with bf16 there would be a record in that format beside each.
    monkeypatch.setattr(arithmetic, "read_cpuinfo", lambda: "flags : avx2")
    words = ["--model_dir", exported(models, "bert"), exported(models, "bilstm"), "--rows", 8, "--rounds", 2]
    words += ["--latency_rows", 3, "--batch_size", 4, "--output_file", tmp_path / "speed.json"]
    code, out, _ = script(benchmark, capsys, *words)
    assert code == 0
    assert "bilstm" in out
    records = json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))
    assert [record["model"] for record in records[:2]] == ["bert", "bilstm"]
    assert {record["threads"] for record in records} >= {1}
    for record in records:
        assert record["texts"] == "the built-in English reviews"
        figures = [value for name, value in record.items() if name not in ("model", "form", "threads", "texts")]
        assert len(figures) == 6
        assert all(math.isfinite(value) and value > 0 for value in figures)
        assert record["p50_ms"] <= record["p90_ms"] <= record["p99_ms"]
    assert all(record["latency_speedup"] == record["throughput_speedup"] == 1 for record in records[::2])


def test_speed_ups_by_hand():
    # Medians 4 and 2 ms: twice as fast; turn by turn 30/10, 20/10 and 50/10 rows a second: the median is 3.
    latencies, rates = [[3.0, 4.0, 5.0], [1.0, 2.0, 3.0]], [[10.0, 10.0, 10.0], [30.0, 20.0, 50.0]]
    record = timing._record(latencies, rates, 1)
    assert (record["latency_speedup"], record["throughput_speedup"]) == (2.0, 3.0)
    assert (record["p50_ms"], record["rows_per_second"]) == (2.0, 30.0)


def test_benchmark_of_something_else_is_one_line(models, capsys):
    code, _, err = script(benchmark, capsys, "--model_dir", models / "bert")
    assert (code, len(err)) == (2, 1)


@pytest.mark.parametrize(("name", "write"), [("bilstm", tiny.write_single), ("bilstm_pairs", tiny.write_pairs)])
def test_benchmark_reads_the_users_rows(models, tmp_path, name, write):
    write(tmp_path / "data", dev=5)
    options = BenchmarkOptions(
        model_dir=(str(exported(models, name)),),
        data_dir=str(tmp_path / "data"),
        **{"rows": 50, "rounds": 1, "latency_rows": 7},
    )
    (record,) = timing.measure_alternating(
        options.model_dir, 1, options.data_dir, options.rows, options.rounds, options.latency_rows
    )
    assert record["rows_per_second"] > 0


# What a stranger does to a command


def predicting(models, *words, name="bilstm", **streams):
    """``deploy.predict`` in a process of its own."""
    command = [sys.executable, "-m", "deploy.predict", "--model_dir", str(exported(models, name)), *map(str, words)]
    return subprocess.run(command, cwd=tiny.ROOT, env=tiny.environment(), stderr=subprocess.PIPE, text=True, **streams)


def test_predictions_go_through_a_device(models, capsys):
    code, out, err = script(predict, capsys, *of(models), "--text", "good", "--output_file", "/dev/null")
    assert (code, err) == (0, [])
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert "1 predictions in /dev/null" in out


def of(models, name="bilstm"):
    return "--model_dir", exported(models, name)


def test_predictions_follow_a_link(models, tmp_path, capsys):
    (tmp_path / "real.jsonl").write_text("old")
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "real.jsonl")
    assert script(predict, capsys, *of(models), "--text", "good", "--output_file", tmp_path / "link.jsonl")[0] == 0
    assert (tmp_path / "link.jsonl").is_symlink()
    assert json.loads((tmp_path / "real.jsonl").read_text())["sentence"] == "good"


@pytest.mark.parametrize(
    ("name", "message"),
    [("", "expected the name of a file, got an empty one"), (".", "this is a folder"), ("n" * 300, "too long")],
)
def test_an_output_file_that_cannot_be_is_told_before(models, tmp_path, capsys, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    code, _, err = script(predict, capsys, *of(models), "--text", "good", "--output_file", name)
    assert (code, len(err)) == (2, 1)
    assert message in err[0]
    assert not list(tmp_path.iterdir())


def test_a_text_may_begin_with_dashes(models, capsys):
    code, out, _ = script(predict, capsys, *of(models), "--text", "--good-film is-it ok")
    assert code == 0
    assert json.loads(out)["sentence"] == "--good-film is-it ok"


def test_a_reader_that_goes_away_ends_the_predictions_quietly(models):
    rows = "\n".join(["good"] * 5000)
    script = f"{sys.executable} -m deploy.predict --model_dir {exported(models, 'bilstm')}"
    command = f"{script} | head -n 1; exit ${{PIPESTATUS[0]}}"
    quiet = tiny.environment(PYTHONWARNINGS="ignore")
    done = subprocess.run(["bash", "-c", command], cwd=tiny.ROOT, env=quiet, input=rows, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["sentence"] == "good"


@pytest.mark.parametrize(
    ("closed", "words", "message"),
    [
        ("<&-", "", "error: standard input is closed; give --text or --input_file"),
        (">&-", "--text good", "error: standard output is closed; name an --output_file"),
    ],
)
def test_closed_streams_are_one_line(models, closed, words, message):
    command = f"{sys.executable} -m deploy.predict --model_dir {exported(models, 'bilstm')} {words} {closed}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tiny.ROOT, env=tiny.environment(), capture_output=True, text=True
    )
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if line] == [message]


def test_an_export_into_a_linked_folder_keeps_the_link(models, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    options = {"model_dir": str(models / "bilstm"), "output_dir": str(tmp_path / "link")}
    exporter.export(ExportOptions(**options))
    exporter.export(ExportOptions(**options, overwrite=True))
    assert (tmp_path / "link").is_symlink()
    assert Predictor(tmp_path / "real").predict([("good",)])
    assert {path.name for path in tmp_path.iterdir()} == {"real", "link"}


def test_a_column_may_be_called_as_a_figure_is(tmp_path):
    task = custom_task(("probability", "label"), "verdict").with_labels(("0", "1"))
    loaded = tiny.bilstm(task)
    tiny.write_model(tmp_path / "model", loaded)
    exporter.export(ExportOptions(model_dir=str(tmp_path / "model"), output_dir=str(tmp_path / "out")))
    (prediction,) = Predictor(tmp_path / "out").predict([("a film", "good")])
    found = prediction.as_dict(["probability", "label"])
    assert (found["probability"], found["label"]) == ("a film", "good")
    assert found["predicted_label"] in ("0", "1")
    assert 0.5 <= found["predicted_probability"] <= 1


def test_long_rows_give_the_answers_of_their_beginnings(models):
    """A row of megabytes is cut before it is tokenised: the model reads the same ids."""
    predictor = Predictor(exported(models, "bilstm"))
    text = "the film is good , and the music was a very lovely one ! " * 50_000
    np.testing.assert_array_equal(predictor.logits([[text]]), predictor.logits([[text[:4000]]]))
    assert predictor.encoder.encode([["a" * 3_000_000]])["input_ids"].values.tolist() == [1]


# Encoders side by side


def test_encoders_are_compared_by_size_and_speed(models, tmp_path, capsys):
    words = ["--table", "rbt4-h312", "minirbt-h256", str(tiny.write_pretrained(tmp_path / "mine"))]
    words += ["--max_seq_length", "16", "--rounds", "1", "--latency_rows", "1", "--batch_size", "2"]
    assert run_script(benchmark.main, [*words, "--output_file", str(tmp_path / "o.json")]) == 0
    first, second, mine = json.loads((tmp_path / "o.json").read_text())["models"]
    # As published but for the rounding of the last: 11.4M and 4.7M; 10.4M and 4.8M.
    assert round(first["parameters"] / 1e6, 1) == 11.4
    assert round(first["without_embeddings"] / 1e6, 1) == 4.7
    assert (round(second["parameters"] / 1e6, 1), round(second["without_embeddings"] / 1e6, 1)) == (10.3, 4.8)
    assert first["latency_speedup"] == first["throughput_speedup"] == 1.0
    assert (mine["layers"], mine["hidden_size"], mine["model"]) == (2, 16, "mine")
    assert second["parameters_share"] == second["parameters"] / first["parameters"]
    assert "10.3M (90.6%)" in capsys.readouterr().out


def test_scores_are_told_beside_their_shares_of_the_first_models(tmp_path, capsys):
    for name, task, value in (("a1", tiny.SINGLE, 0.9), ("a2", tiny.PAIR, 0.8), ("b1", tiny.SINGLE, 0.45)):
        tiny.write_model(tmp_path / name, tiny.bert(task))
        (tmp_path / name / "metrics.json").write_text(json.dumps({"dev": {"accuracy": value}}))
    words = ["--scores", f"large={tmp_path / 'a1'},{tmp_path / 'a2'}", f"small={tmp_path / 'b1'}"]
    assert run_script(benchmark.main, words) == 0
    out = capsys.readouterr().out
    assert "90.00 (100.0%)" in out
    assert "45.00 (50.0%)" in out
    assert "–" in out
    for entries, message in (
        (["x"], "expected NAME=FOLDER"),
        ([f"a={tmp_path / 'nope'}"], "no such model folder"),
        ([f"a={tmp_path / 'a1'}", f"a={tmp_path / 'a2'}"], "a stands there twice"),
        ([f"a={tmp_path / 'a1'},{tmp_path / 'b1'}"], "two folders of sst-2"),
        ([f"a={tmp_path / 'a1'}", f"b={tmp_path / 'a2'}"], "qqp is none of the first model's tasks"),
    ):
        assert run_script(benchmark.main, ["--scores", *entries]) == 2
        assert message in capsys.readouterr().err
    (tmp_path / "a1" / "metrics.json").unlink()
    assert run_script(benchmark.main, ["--scores", f"a={tmp_path / 'a1'}"]) == 2
    assert "no finished run of a task" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--model_dir is required, or --table"),
        (["--table", "rbt9"], "--table rbt9: neither a model folder nor one of bert-base"),
        (["--table", "rbt3", "--model_dir", "x"], "--model_dir excludes --table"),
        (["--model_dir", "x", "--vocab_size", "9"], "--vocab_size goes with --table"),
    ],
)
def test_an_impossible_comparison_is_one_line(capsys, words, message):
    assert run_script(benchmark.main, words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_own_rows_check_an_export_and_its_speed(tmp_path, capsys):
    task = custom_task(("text",), "gold").with_labels(("x", "y"))
    tiny.write_model(tmp_path / "own", tiny.bert(task))
    (tmp_path / "rows.csv").write_text("text,gold\ngood film,x\nbad film,y\n")
    words = ["--model_dir", str(tmp_path / "own"), "--output_dir", str(tmp_path / "e")]
    assert run_script(export.main, [*words, "--dev_file", str(tmp_path / "rows.csv")]) == 0
    assert "parity on 2 rows of" in capsys.readouterr().out
    quick = ["--rounds", "1", "--latency_rows", "1", "--batch_size", "2", "--dev_file", str(tmp_path / "rows.csv")]
    assert run_script(benchmark.main, ["--model_dir", str(tmp_path / "e"), *quick]) == 0
    both = ["--data_dir", "x", "--dev_file", "y"]
    assert run_script(export.main, [*words, "--overwrite", *both]) == 2
    assert "--data_dir and --dev_file exclude each other" in capsys.readouterr().err
    assert run_script(export.main, [*words, "--overwrite", "--dev_file", str(tmp_path / "nope.csv")]) == 2
    assert "nope.csv: no such file" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["rows.tsv", "rows.jsonl"])
def test_predictions_of_rows_with_labels_are_scored(models, tmp_path, capsys, name):
    folder = exported(models, "bilstm")
    labels = Predictor(folder).labels
    said = [one.label for one in Predictor(folder).predict([("a fine film",), ("dull",), ("long",)])]
    # One is right, one is not, one has a label that the model does not know.
    other = next(label for label in labels if label != said[1])
    rows = list(zip(["a fine film", "dull", "long"], [said[0], other, "unheard of"], strict=True))
    column = Predictor(folder).task.text_columns[0]
    if name.endswith(".tsv"):
        text = f"{column}\tlabel\n" + "".join("\t".join(row) + "\n" for row in rows)
    else:
        text = "".join(json.dumps({column: text, "label": label}) + "\n" for text, label in rows)
    (tmp_path / name).write_text(text, encoding="utf-8")
    code, out, err = script(predict, capsys, "--model_dir", folder, "--input_file", tmp_path / name)
    assert code == 0
    assert len(out.splitlines()) == 3
    assert "accuracy 0.5000 on 2 of 3 rows, by their column 'label'" in err


def test_the_examples_without_our_code_say_what_ours_does(models, tmp_path, capsys):
    page = Path(__file__).resolve().parent.parent / "docs" / "serving.md"
    paddle_only, chinese, with_onnx = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    forms = {"format": "paddle,onnx-int8", "max_accuracy_drop": 100.0}
    in_chinese = re.sub(r"lowercase = .*?(?=ids = np.full)", lambda _: chinese, paddle_only, flags=re.S)
    for name, texts, code in (
        ("bilstm", ["a gripping, funny film", "dull"], paddle_only),
        ("chinese", ["这部电影很好看", "服务差 房间脏"], in_chinese),
    ):
        folder = tmp_path / name
        exporter.export(ExportOptions(model_dir=str(models / name), output_dir=str(folder), **forms))
        assert 'Path("outputs/exported")' in code
        names: dict = {}
        exec(compile(code.replace("outputs/exported", str(folder)), "serving.md", "exec"), names)
        served = {precision: Predictor(folder, precision=precision) for precision in ("fp32", "int8")}
        rows = served["fp32"].encoder.encode([texts])["input_ids"]
        assert [row.tolist() for row in rows] == names["rows"]
        np.testing.assert_allclose(names["logits"], served["fp32"].logits([texts]), atol=1e-5)
        exec(compile(with_onnx, "serving.md", "exec"), names)
        np.testing.assert_allclose(names["logits"], served["int8"].logits([texts]), atol=0.05)
        said = [[one.label for one in served[p].predict([(text,) for text in texts])] for p in ("fp32", "int8")]
        assert capsys.readouterr().out.splitlines()[-2:] == [repr(labels) for labels in said]


def test_rows_without_a_label_or_with_one_that_is_dropped_do_not_shift_the_others(models, tmp_path, capsys):
    folder = exported(models, "bilstm")
    predictor = Predictor(folder)
    column, texts = predictor.task.text_columns[0], [f"film {n}" for n in range(8)]
    said = [one.label for one in predictor.predict([(text,) for text in texts])]
    rows = [{column: text, "label": label} for text, label in zip(texts, said, strict=True)]
    # Only the last ones have a label, each the one that is said.
    for row in rows[:5]:
        del row["label"]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    words = ["--model_dir", folder, "--input_file", tmp_path / "rows.jsonl", "--batch_size", 1]
    code, out, err = script(predict, capsys, *words)
    assert (code, len(out.splitlines())) == (0, 8)
    assert err == ["accuracy 1.0000 on 3 of 8 rows, by their column 'label'"]

"""deploy.evaluate: figures by hand, model folders and exports alike, another model, refusals."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import tiny
from test_questions import passages, write

import models
from console import run_script
from core.evaluate import evaluate_model
from data.sources import read_rows
from data.tasks import custom_task
from deploy import evaluate, export
from deploy.evaluation import by_label
from finetune.mrc import finetune
from finetune.options import MrcOptions


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("inputs")
    tiny.write_single(root / "data")
    tiny.write_pairs(root / "pairs")
    tiny.write_model(root / "bert")
    tiny.write_model(root / "other", tiny.bert(seed=3))
    tiny.write_model(root / "lstm", tiny.bilstm())
    tiny.write_model(root / "pair", tiny.bert(tiny.PAIR))
    assert run_script(export.main, ["--model_dir", str(root / "bert"), "--output_dir", str(root / "exported")]) == 0
    return root


def run(inputs, tmp_path, model, *more, file=None):
    words = ["--model_dir", str(inputs / model), "--input_file", str(file or inputs / "data" / "dev.tsv")]
    assert run_script(evaluate.main, [*words, "--output_file", str(tmp_path / "out.json"), *more]) == 0
    return json.loads((tmp_path / "out.json").read_text())


def test_labels_and_what_they_were_taken_for_by_hand():
    found = by_label(("a", "b", "c"), np.asarray([0, 0, 1, 1, 1]), np.asarray([0, 1, 1, 1, 0]))
    assert found["confusion"] == [[1, 1, 0], [1, 2, 0], [0, 0, 0]]
    assert found["labels"]["a"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "rows": 2}
    assert found["labels"]["b"] == {
        "precision": pytest.approx(2 / 3), "recall": pytest.approx(2 / 3), "f1": pytest.approx(2 / 3), "rows": 3,
    }  # fmt: skip
    assert found["labels"]["c"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "rows": 0}


def test_figures_are_those_of_the_training_scripts_for_folder_and_export(inputs, tmp_path, capsys):
    loaded = models.load(inputs / "bert")
    rows, _ = read_rows(inputs / "data" / "dev.tsv", loaded.task)
    expected = evaluate_model(loaded, rows)
    found = run(inputs, tmp_path, "bert", "--against", str(inputs / "other"))
    assert found["metrics"] == expected
    assert found["rows"] == len(rows)
    assert sum(map(sum, found["confusion"])) == len(rows)
    assert found["against"]["accuracy"] == evaluate_model(models.load(inputs / "other"), rows)["accuracy"]
    assert 0 <= found["against"]["agreement"] <= 1
    assert "taken for 1" in capsys.readouterr().out
    exported = run(inputs, tmp_path, "exported", "--against", str(inputs / "bert"))
    assert exported["metrics"] == expected
    assert exported["against"]["agreement"] == 1.0
    assert exported["against"]["kl"] < 1e-6
    assert run(inputs, tmp_path, "lstm")["rows"] == len(rows)


def test_another_label_column_is_read(inputs, tmp_path):
    text = (inputs / "data" / "dev.tsv").read_text().replace("\tlabel\n", "\tgold\n")
    (tmp_path / "dev.tsv").write_text(text)
    found = run(inputs, tmp_path, "bert", "--label_column", "gold", file=tmp_path / "dev.tsv")
    assert found["metrics"] == run(inputs, tmp_path, "bert")["metrics"]


def test_own_tasks_keep_their_metric_in_the_export(tmp_path):
    task = custom_task(("text",), "gold", metric="matthews").with_labels(("x", "y"))
    tiny.write_model(tmp_path / "own", tiny.bert(task))
    (tmp_path / "rows.tsv").write_text("text\tgold\ngood film\tx\nbad film\ty\n")
    assert run_script(export.main, ["--model_dir", str(tmp_path / "own"), "--output_dir", str(tmp_path / "e")]) == 0
    for name in ("own", "e"):
        assert "matthews" in run(tmp_path, tmp_path, name, file=tmp_path / "rows.tsv")["metrics"]


def test_a_model_that_finds_answers_is_judged_by_them(tmp_path, capsys):
    import random

    rng = random.Random(0)
    for name, count in (("trial.json", 30), ("dev.json", 8)):
        write(tmp_path / "data" / name, passages(rng, count))
    tiny.write_pretrained(tmp_path / "bert")
    metrics = finetune(
        MrcOptions(
            task_name="cmrc2018", data_dir=str(tmp_path / "data"), model_name_or_path=str(tmp_path / "bert"),
            output_dir=str(tmp_path / "mrc"), max_seq_length=16, max_query_length=8, num_train_epochs=2, device="cpu",
            learning_rate=1e-2, batch_size=8,
        )
    )  # fmt: skip
    file = tmp_path / "data" / "dev.json"
    found = run(tmp_path, tmp_path, "mrc", "--against", str(tmp_path / "mrc"), file=file)
    assert found["metrics"] == metrics["dev"]
    assert found["against"]["agreement"] == 1.0
    words = ["--model_dir", str(tmp_path / "mrc"), "--output_dir", str(tmp_path / "e"), "--data_dir"]
    every = ["--format", "paddle,onnx,onnx-int8", "--max_accuracy_drop", "100"]
    assert run_script(export.main, [*words, str(tmp_path / "data"), *every]) == 0
    assert run(tmp_path, tmp_path, "e", file=file)["metrics"] == pytest.approx(metrics["dev"])
    exact = run(tmp_path, tmp_path, "e", "--runtime", "onnx", file=file)["metrics"]
    assert exact == pytest.approx(metrics["dev"])
    int8 = json.loads((tmp_path / "e" / "export.json").read_text(encoding="utf-8"))["forms"]["onnx-int8"]
    assert (int8["rows"], int8["metric"], int8["fp32"]) == (8, "f1", pytest.approx(metrics["dev"]["f1"]))
    found = run(tmp_path, tmp_path, "e", "--precision", "int8", file=file)["metrics"]
    assert found["f1"] == pytest.approx(int8["int8"])
    # Without questions nothing can be said of what int8 loses.
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    words = ["--model_dir", str(tmp_path / "mrc"), "--output_dir", str(tmp_path / "f"), "--format", "onnx-int8"]
    assert run_script(export.main, words) == 2
    assert "needs rows to be judged on; pass --data_dir or --dev_file" in capsys.readouterr().err
    assert not (tmp_path / "f").exists()


BAD = [
    (["--model_dir", "nope"], "--model_dir nope: no such folder"),
    (["--input_file", "nope"], "--input_file nope: no such file"),
    (["--against", "nope"], "--against nope: no such folder"),
    (["--against", "<pair>"], "--against .*pair: was trained for other rows or labels"),
    (["--label_column", "gold"], "expected a column 'gold', the header has"),
]


@pytest.mark.parametrize(("words", "message"), BAD, ids=[message[:30] for _, message in BAD])
def test_bad_input_is_one_line(inputs, capsys, words, message):
    given = {"--model_dir": str(inputs / "bert"), "--input_file": str(inputs / "data" / "dev.tsv")}
    given |= {
        k: str(inputs / v[1:-1]) if v.startswith("<") else v for k, v in zip(words[::2], words[1::2], strict=True)
    }
    assert run_script(evaluate.main, [word for pair in given.items() for word in pair]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line), line

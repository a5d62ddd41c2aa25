"""ONNX files: what they say beside the static graph, int8 and what it may lose, and running them without Paddle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny

from console import InputError, run_script
from core import arithmetic
from core import lost_accuracy as accuracy
from core.forms import FORMS, chosen_form, served_bytes
from core.onnx_graph import INT8, ONNX, OnnxGraph
from core.static_graph import StaticGraph
from deploy import benchmark, evaluate, export, exporter, predict
from deploy.options import ExportOptions
from deploy.predictor import Predictor
from files import file_checksum

ROOT = Path(__file__).resolve().parent.parent
EVERY = "paddle,onnx,onnx-int8"
SHAPES = {
    "bert": lambda: tiny.bert(),
    "bert_pairs": lambda: tiny.bert(tiny.PAIR),
    "narrow": lambda: tiny.bert(head_size=3),
    "two_layers": lambda: tiny.bilstm(num_layers=2),
    "largest": lambda: tiny.bilstm(pooling="max"),
    "pairs": lambda: tiny.bilstm(tiny.PAIR, pooling="max"),
    "pairs_two_layers": lambda: tiny.bilstm(tiny.PAIR, num_layers=2),
    "aligned_pairs": lambda: tiny.aligned_bilstm(num_layers=2),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Model folders, with exports in every form below ``exported``."""
    root = tmp_path_factory.mktemp("models")
    for name, make in SHAPES.items():
        tiny.write_model(root / name, make())
        target = root / "exported" / name
        exporter.export(
            ExportOptions(model_dir=str(root / name), output_dir=str(target), format=EVERY, max_accuracy_drop=100)
        )
    return root


def exported(models, name):
    return models / "exported" / name


def script(module, capsys, *words):
    """Exit code, standard output and the lines of standard error of a script's ``main``."""
    capsys.readouterr()
    code = run_script(module.main, list(map(str, words)))
    captured = capsys.readouterr()
    return code, captured.out, captured.err.splitlines()


def padded(pair=False):
    """A batch whose rows end at different places, and whose padding would change what a backward LSTM says."""
    rng, lengths = np.random.default_rng(0), np.array([7, 3, 1])
    inside = np.arange(7) < lengths[:, None]
    ids = np.where(inside, rng.integers(5, 40, (3, 7)), 0)
    batch = {"input_ids": ids, "lengths": lengths, "token_type_ids": np.zeros_like(ids)}
    return {**batch, "input_ids_b": ids[::-1], "lengths_b": lengths[::-1]} if pair else batch


@pytest.mark.parametrize("name", SHAPES)
def test_an_onnx_file_says_what_the_static_graph_says(models, name):
    folder, batch = exported(models, name), padded(pair="pairs" in name)
    static = StaticGraph(folder)
    graph = OnnxGraph(folder / ONNX)
    assert graph.inputs == static.inputs
    np.testing.assert_allclose(graph(batch), static(batch), atol=2e-6)


@pytest.mark.parametrize("name", SHAPES)
def test_int8_differs_and_not_by_much(models, name):
    folder, batch = exported(models, name), padded(pair="pairs" in name)
    difference = np.abs(OnnxGraph(folder / INT8)(batch) - OnnxGraph(folder / ONNX)(batch)).max()
    assert 0 < difference < 0.2


def test_rows_say_the_same_in_whatever_company(models):
    """The converter forgets the lengths of rows: a backward LSTM would begin in the padding of longer company."""
    graph, batch = OnnxGraph(exported(models, "largest") / ONNX), padded()
    for row, length in enumerate(batch["lengths"]):
        alone = {"input_ids": batch["input_ids"][row : row + 1, :length], "lengths": batch["lengths"][row : row + 1]}
        np.testing.assert_allclose(graph(alone)[0], graph(batch)[row], atol=1e-6)


def test_the_file_speaks_of_itself(models):
    """Standard operators, named inputs, outputs and dimensions: other runtimes read it too."""
    model = onnx.load(str(exported(models, "pairs") / ONNX))
    assert {node.domain for node in model.graph.node} == {""}
    assert [known.domain for known in model.opset_import] == [""]

    def shapes(values):
        return {
            known.name: [dim.dim_param or dim.dim_value for dim in known.type.tensor_type.shape.dim] for known in values
        }

    assert shapes(model.graph.input) == {
        "input_ids": ["batch", "tokens"],
        "lengths": ["batch"],
        "input_ids_b": ["batch", "tokens_b"],
        "lengths_b": ["batch"],
    }
    assert shapes(model.graph.output) == {"logits": ["batch", 2]}


@pytest.mark.parametrize("name", ["pairs", "pairs_two_layers"])
@pytest.mark.parametrize("file", [ONNX, INT8])
def test_texts_of_a_pair_share_their_weights(models, name, file):
    model = onnx.load(str(exported(models, name) / file))
    large = [known.raw_data for known in model.graph.initializer if len(known.raw_data) > 64]
    assert len(large) == len(set(large))


def test_int8_weights_take_seven_bits(models):
    """Eight overflow in the 16-bit sums of processors without VNNI."""
    model = onnx.load(str(exported(models, "bert") / INT8))
    weights = [onnx.numpy_helper.to_array(known) for known in model.graph.initializer if known.data_type == 3]
    assert len(weights) >= 12
    assert max(int(np.abs(weight.astype(int)).max()) for weight in weights) <= 64


def test_an_export_records_its_forms(models):
    folder = exported(models, "bert")
    record = json.loads((folder / "export.json").read_text(encoding="utf-8"))
    assert list(record["forms"]) == ["paddle", "onnx", "onnx-int8"]
    for form, known in record["forms"].items():
        assert known["bytes"] == sum((folder / name).stat().st_size for name in FORMS[form].files)
    assert {ONNX, INT8, "model.json", "model.pdiparams"} < set(record["files"])
    assert {path.name for path in folder.iterdir()} == {*record["files"], "export.json"}
    assert record["files"][INT8]["sha256"] == file_checksum(folder / INT8)
    differences = [record["forms"][form]["largest_relative_difference"] for form in ("paddle", "onnx")]
    assert record["parity"]["largest_relative_difference"] == max(differences) <= 1e-5
    int8 = record["forms"]["onnx-int8"]
    # There are no labelled rows: what may be lost at most is told.
    assert int8["metric"] == "agreement"
    assert int8["lost_points"] == pytest.approx(100 * (1 - int8["int8"]))


def test_a_single_form_is_all_that_is_written(models, tmp_path, capsys):
    target = tmp_path / "out"
    words = ["--model_dir", models / "largest", "--output_dir", target, "--format", "onnx"]
    assert script(export, capsys, *words)[0] == 0
    names = {path.name for path in target.iterdir()}
    assert ONNX in names and not names & {INT8, "model.json", "model.pdiparams"}
    assert Predictor(target).form == "onnx"
    with pytest.raises(InputError, match=r"holds onnx, nothing for --runtime paddle; export it with --format onnx,pad"):
        Predictor(target, runtime="paddle")


def test_int8_alone_is_served_and_says_what_it_lost(models, tmp_path, capsys):
    tiny.write_single(tmp_path / "data", dev=40)
    target = tmp_path / "out"
    words = ["--model_dir", models / "bert", "--output_dir", target, "--format", "onnx-int8"]
    code, out, _ = script(export, capsys, *words, "--data_dir", tmp_path / "data", "--max_accuracy_drop", 100)
    assert code == 0
    record = json.loads((target / "export.json").read_text(encoding="utf-8"))
    found = record["forms"]["onnx-int8"]
    assert (found["rows"], found["metric"], found["texts"]) == (40, "accuracy", "dev.tsv")
    assert found["lost_points"] == pytest.approx(100 * (found["fp32"] - found["int8"]))
    assert f"onnx-int8: accuracy {found['int8']:.4f}, in fp32 {found['fp32']:.4f}, on 40 rows of" in out
    assert "so few rows tell little: name more with --dev_file" in out
    assert Predictor(target).form == "onnx-int8"


def test_the_figures_of_int8_are_those_of_an_evaluation(models, tmp_path, capsys):
    tiny.write_single(tmp_path / "data", dev=40)
    target, data = tmp_path / "out", tmp_path / "data"
    words = ["--model_dir", models / "bert", "--output_dir", target, "--format", EVERY, "--data_dir", data]
    assert script(export, capsys, *words, "--max_accuracy_drop", 100)[0] == 0
    found = json.loads((target / "export.json").read_text(encoding="utf-8"))["forms"]["onnx-int8"]
    for precision in ("fp32", "int8"):
        told = tmp_path / f"{precision}.json"
        words = ["--model_dir", target, "--input_file", data / "dev.tsv", "--output_file", told]
        assert script(evaluate, capsys, *words, "--runtime", "onnx", "--precision", precision)[0] == 0
        assert json.loads(told.read_text(encoding="utf-8"))["metrics"]["accuracy"] == found[precision]


def test_what_loses_too_much_is_not_published(models, tmp_path, capsys, monkeypatch):
    """The int8 form is made to say the opposite."""
    tiny.write_single(tmp_path / "data", dev=40)
    call = OnnxGraph.__call__
    monkeypatch.setattr(OnnxGraph, "__call__", lambda self, batch: -call(self, batch))
    words = ["--model_dir", models / "bert", "--output_dir", tmp_path / "out", "--format", "paddle,onnx-int8"]
    monkeypatch.setattr(accuracy, "compute_metrics", lambda metric, logits, labels: {"accuracy": float(logits[0, 0])})
    exact = Predictor(exported(models, "bert")).logits([["a good film"]])[0, 0]
    if exact < 0:
        monkeypatch.setattr(OnnxGraph, "__call__", lambda self, batch: call(self, batch) - 1)
    code, _, err = script(export, capsys, *words, "--data_dir", tmp_path / "data")
    assert code == 2 and len(err) == 1
    assert "onnx-int8: accuracy falls by" in err[0] and "allowed is --max_accuracy_drop 1" in err[0]
    assert {path.name for path in tmp_path.iterdir()} == {"data"}


def test_an_onnx_file_that_differs_is_not_published(models, tmp_path, capsys, monkeypatch):
    call = OnnxGraph.__call__
    monkeypatch.setattr(OnnxGraph, "__call__", lambda self, batch: call(self, batch) + np.float32(0.01))
    words = ["--model_dir", models / "bert", "--output_dir", tmp_path / "out", "--format", "paddle,onnx"]
    code, _, err = script(export, capsys, *words)
    assert code == 2 and "the ONNX file differs from the model by" in err[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "onnx,tflite"], "--format onnx,tflite: expected some of paddle, onnx, onnx-int8"),
        (["--format", "hf,onnx"], "expected some of paddle"),
        (["--format", "onnx,onnx"], "expected some of paddle"),
        (["--format", ""], "--format"),
        (["--max_accuracy_drop", "2"], "--max_accuracy_drop goes with --format onnx-int8"),
        (["--format", "onnx-int8", "--max_accuracy_drop", "-1"], "must not be below 0"),
    ],
)
def test_impossible_exports_are_one_line(models, tmp_path, capsys, words, message):
    code, _, err = script(export, capsys, "--model_dir", models / "bert", "--output_dir", tmp_path / "out", *words)
    assert code == 2 and len(err) == 1 and message in err[0]
    assert not (tmp_path / "out").exists()


def test_without_onnx_runtime_the_remedy_is_told_before_any_work(models, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    words = ["--model_dir", models / "bert", "--output_dir", tmp_path / "out", "--format", "onnx"]
    code, _, err = script(export, capsys, *words)
    assert code == 2 and "pip install -r requirements-onnx.txt" in err[0]
    assert not (tmp_path / "out").exists()
    words = ["--model_dir", exported(models, "bert"), "--text", "a good film"]
    assert script(predict, capsys, *words)[0] == 0
    code, _, err = script(predict, capsys, *words, "--runtime", "onnx")
    assert code == 2 and "pip install -r requirements-onnx.txt" in err[0]


def test_what_onnx_runtime_raises_on_a_full_disk_is_one_line(models, tmp_path, capsys, monkeypatch):
    import onnxruntime

    def full(*_, **__):
        raise Exception("Protobuf serialization failed.")

    monkeypatch.setattr(onnxruntime, "InferenceSession", full)
    words = ["--model_dir", models / "bert", "--output_dir", tmp_path / "out", "--format", "onnx"]
    code, _, err = script(export, capsys, *words)
    assert code == 2 and len(err) == 1
    assert "(Protobuf serialization failed.); is there room on the disk?" in err[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", SHAPES)
def test_every_form_predicts(models, name):
    folder, pair = exported(models, name), "pairs" in name
    rows = [("a good film", "a bad one"), ("the story is dull", "it is")] if pair else [("a good film",), ("bad",)]
    said = {
        form: Predictor(folder, runtime=FORMS[form].runtime, precision=FORMS[form].precision).predict(rows)
        for form in FORMS
    }
    for exact, other in zip(said["paddle"], said["onnx"], strict=True):
        assert other.logits == pytest.approx(exact.logits, abs=1e-5)
    for exact, other in zip(said["paddle"], said["onnx-int8"], strict=True):
        assert other.logits != exact.logits
        assert other.logits == pytest.approx(exact.logits, abs=0.2)


def test_forms_are_chosen_in_order():
    every = {"forms": {name: {} for name in FORMS}}
    assert chosen_form("x", every) == "paddle"
    assert chosen_form("x", every, runtime="onnx") == "onnx"
    assert chosen_form("x", every, precision="int8") == "onnx-int8"
    assert chosen_form("x", {}) == "paddle"
    with pytest.raises(InputError, match="x holds paddle, nothing for --precision int8; export it with --format paddl"):
        chosen_form("x", {}, precision="int8")
    with pytest.raises(InputError, match="nothing for --runtime paddle --precision int8; there are: paddle, onnx"):
        chosen_form("x", every, "paddle", "int8")


def test_onnx_predicts_without_loading_paddle(models):
    """It starts in a second instead of five, and serves where Paddle is not installed."""
    code = (
        "import sys; sys.modules['paddle'] = None; from deploy.predictor import Predictor;"
        f"print(Predictor({str(exported(models, 'bert'))!r}, 1, runtime='onnx').predict([('a good film',)])[0].label)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("0", "1")


WITHOUT_PADDLE = """
import sys
sys.modules["paddle"] = None
from console import run_script
from deploy import benchmark, evaluate
folder, rows = sys.argv[1:]
sides = ["--model_dir", folder, "--runtime", "onnx"]
assert run_script(evaluate.main, [*sides, "--input_file", rows]) == 0
assert run_script(benchmark.main, [*sides, "--rounds", "1", "--rows", "4", "--latency_rows", "2"]) == 0
# What needs it says so in a line.
assert run_script(benchmark.main, ["--model_dir", folder, "--runtime", "paddle"]) == 2
"""


def test_onnx_is_judged_and_measured_without_paddle(models, tmp_path):
    rows = tmp_path / "rows.tsv"
    rows.write_text("sentence\tlabel\na good film\t1\na bad film\t0\n", encoding="utf-8")
    words = [sys.executable, "-c", WITHOUT_PADDLE, str(exported(models, "bert")), str(rows)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "accuracy" in done.stdout and "onnx-int8" in done.stdout
    assert done.stderr.strip().startswith("error: PaddlePaddle is not installed here")


@pytest.mark.parametrize("missing", ["onnx", "paddle2onnx", "onnxruntime"])
def test_what_onnx_needs_is_asked_for_before_anything_is_read(models, tmp_path, capsys, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    words = ["--model_dir", models / "bert", "--output_dir", tmp_path / "out", "--format", "onnx"]
    code, _, err = script(export, capsys, *words)
    assert code == 2 and len(err) == 1 and "not installed here; install it with: python -m pip install -r" in err[0]
    assert not (tmp_path / "out").exists()


def test_a_closed_standard_output_is_no_hindrance(models, tmp_path):
    words = [sys.executable, "-m", "deploy.export", "--model_dir", models / "bert", "--output_dir", tmp_path / "out"]
    line = " ".join(map(str, [*words, "--format", "onnx", ">&-"]))
    done = subprocess.run(line, cwd=ROOT, shell=True, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / ONNX).is_file()


def test_int8_of_paddle_itself_is_fp32(models):
    """Why it is no form of an export; should this ever fail, it may become one."""
    from paddle import inference

    ids = np.arange(8, 24).reshape(2, 8)
    found = []
    for int8 in (False, True):
        config = inference.Config(*(str(exported(models, "bert") / name) for name in ("model.json", "model.pdiparams")))
        config.enable_new_executor(True)
        config.enable_new_ir(True)
        config.disable_glog_info()
        config.enable_mkldnn()
        if int8:
            config.enable_mkldnn_int8()
        predictor = inference.create_predictor(config)
        for name, value in zip(predictor.get_input_names(), (ids, np.zeros_like(ids)), strict=True):
            predictor.get_input_handle(name).copy_from_cpu(value)
        predictor.run()
        found.append(predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu())
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("runtime", ["paddle", "onnx"])
@pytest.mark.parametrize("name", ["bert", "largest"])
def test_threads_share_a_predictor(models, name, runtime):
    served = Predictor(exported(models, name), 1, runtime=runtime)
    rows = [[("good " * number + "film",)] for number in range(1, 9)]
    alone = [served.predict(row)[0].logits for row in rows]
    assert len(set(alone)) > 1
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda row: served.predict(row)[0].logits, rows * 10))
    np.testing.assert_allclose(found, alone * 10, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"device": "tpu"}, "device 'tpu': expected one of cpu, gpu"),
        ({"threads": 0}, "threads 0: expected a whole number of at least 1"),
        ({"threads": -3}, "threads -3: expected"),
        ({"threads": "two"}, "threads 'two': expected"),
        ({"threads": 2.5}, "threads 2.5: expected"),
    ],
)
def test_what_a_predictor_cannot_be_is_one_line(models, given, message):
    for runtime in ("paddle", "onnx"):
        with pytest.raises(InputError, match=message):
            Predictor(exported(models, "bert"), runtime=runtime, **given)


def test_a_graphics_card_is_paddles(models, capsys):
    words = ["--model_dir", exported(models, "bert"), "--text", "a good film", "--runtime", "onnx", "--device", "gpu"]
    code, _, err = script(predict, capsys, *words)
    assert code == 2 and "ONNX files run on the processor here; take --runtime paddle" in err[0]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / INT8).unlink(), "expected"),
        (lambda folder: (folder / INT8).write_bytes(b"x" * (folder / INT8).stat().st_size), "damaged"),
        (lambda folder: record(folder, forms={"tflite": {}}), "not an export.json of ours"),
        (lambda folder: record(folder, forms=[]), "not an export.json of ours"),
        (lambda folder: spoiled(folder, b"x" * 100), "cannot be loaded"),
        (lambda folder: spoiled(folder, (folder / ONNX).read_bytes()[:2000]), "cannot be loaded"),
    ],
)
def test_damaged_files_are_one_line(models, tmp_path, capsys, spoil, message):
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in exported(models, "bert").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    spoil(folder)
    code, _, err = script(predict, capsys, "--model_dir", folder, "--text", "a film", "--precision", "int8")
    assert code == 2 and len(err) == 1 and message in err[0]


def record(folder, **changes):
    path = folder / "export.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


def spoiled(folder, content):
    """Another file under the record of the right one."""
    (folder / INT8).write_bytes(content)
    known = json.loads((folder / "export.json").read_text(encoding="utf-8"))["files"]
    known[INT8] = {"bytes": len(content), "sha256": file_checksum(folder / INT8)}
    record(folder, files=known)


def test_a_file_with_other_outputs_is_refused(models, tmp_path):
    with pytest.raises(InputError, match="gives logits, expected start_logits, end_logits"):
        OnnxGraph(exported(models, "bert") / ONNX, outputs=("start_logits", "end_logits"))


def test_the_benchmark_measures_every_form(models, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(arithmetic, "read_cpuinfo", lambda: "flags : avx2")
    words = ["--model_dir", exported(models, "bert"), "--rows", 8, "--rounds", 1, "--latency_rows", 2, "--threads", 1]
    code, out, _ = script(benchmark, capsys, *words, "--output_file", tmp_path / "speed.json")
    assert code == 0 and "onnx-int8" in out
    records = json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))
    assert [(known["form"], known["threads"]) for known in records] == [(form, 1) for form in FORMS]
    code, out, _ = script(benchmark, capsys, *words, "--precision", "int8")
    assert code == 0 and "paddle" not in out


def test_the_size_of_an_export_is_that_of_what_is_served(models):
    folder = exported(models, "bert")
    config = json.loads((folder / "export.json").read_text(encoding="utf-8"))
    whole = sum(path.stat().st_size for path in folder.iterdir())
    others = sum((folder / name).stat().st_size for name in (ONNX, INT8))
    assert served_bytes(folder, config) == whole - others
    del config["forms"]["paddle"]
    assert served_bytes(folder, config) == whole - (folder / INT8).stat().st_size


def test_validation_rows_are_drawn_from_the_whole_file(tmp_path, monkeypatch):
    """Files are often sorted by label."""
    monkeypatch.setattr(accuracy, "VALIDATED", 10)
    path = tmp_path / "dev.tsv"
    path.write_text("sentence\tlabel\n" + "".join(f"row {n}\t{int(n >= 50)}\n" for n in range(100)), encoding="utf-8")
    found = accuracy.validation_rows(tiny.bert().labelled, None, 1.0, str(path))
    assert found.rows.labels.tolist() == [0] * 5 + [1] * 5
    assert found.texts[0][0] == "row 0" and found.texts[0][-1] == "row 99"


def test_exporting_leaves_the_screen_alone(models, tmp_path):
    """The converter and the quantiser tell their steps, in C++ and by logging, and the former installs packages."""
    words = ["--model_dir", models / "pairs", "--output_dir", tmp_path / "out", "--format", EVERY]
    done = subprocess.run(
        [sys.executable, "-m", "deploy.export", *map(str, words), "--max_accuracy_drop", "100"],
        cwd=ROOT,
        env={**os.environ},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    assert lines[0].startswith("exported to") and lines[1].startswith("onnx-int8:")
    assert not any(word in done.stdout + done.stderr for word in ("Paddle2ONNX", "INFO", "WARNING", "Polygraphy"))

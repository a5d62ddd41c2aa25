"""bf16 where the processor has it: who gets it, who does not, and what is said where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny

from console import InputError, run_script
from core import arithmetic, distributed
from core.arithmetic import bf16_fault
from core.static_graph import StaticGraph, save_graph
from core.teacher import Teacher
from core.teacher_features import TeacherFeatures
from data.sources import Rows
from data.transfer import in_memory
from deploy import benchmark, evaluate, exporter, predict, timing
from deploy.options import ExportOptions
from deploy.predictor import Predictor
from deploy.timing import every_way
from distill_lstm import bert_distill
from distill_lstm.train import distill
from mlm_distill import run_distill
from tinybert import task_distill

OLD = "model name : Old Processor\nflags : fpu avx2 avx512f"
NEW = "model name : New Processor\nflags : fpu avx512f avx512_bf16 amx_bf16 amx_tile"


@pytest.fixture
def new(monkeypatch):
    """A processor that says it has bf16; oneDNN computes in it on any with AVX-512, if slowly."""
    monkeypatch.setattr(arithmetic, "read_cpuinfo", lambda: NEW)


@pytest.fixture
def old(monkeypatch):
    monkeypatch.setattr(arithmetic, "read_cpuinfo", lambda: OLD)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    root = tmp_path_factory.mktemp("bf16")
    tiny.write_model(root / "model", tiny.bert())
    target = root / "exported"
    exporter.export(ExportOptions(model_dir=str(root / "model"), output_dir=str(target), format="paddle,onnx"))
    return target


def test_what_the_processor_says_decides(monkeypatch):
    for flags, fault in (("avx2 avx512f", True), ("avx512_bf16", False), ("amx_bf16 avx2", False), ("amx_tile", True)):
        monkeypatch.setattr(arithmetic, "read_cpuinfo", lambda flags=flags: f"model name : P 1\nflags : {flags}")
        assert bool(bf16_fault()) == fault, flags
    monkeypatch.setattr(arithmetic, "read_cpuinfo", lambda: OLD)
    assert bf16_fault() == (
        "this processor (Old Processor) has neither AMX nor AVX512_BF16, and would be no faster; take fp32"
    )
    monkeypatch.setattr(arithmetic, "read_cpuinfo", lambda: "")
    assert "processor (unknown)" in (bf16_fault() or "")
    monkeypatch.setattr(arithmetic, "read_cpuinfo", lambda: NEW)
    assert bf16_fault("gpu") == "a GPU computes it in fp32; leave the option out"
    monkeypatch.setattr(arithmetic, "onednn", lambda: None)
    assert "brings no oneDNN" in (bf16_fault() or "")


VERBOSE = """
import os, sys
sys.path.insert(0, "tests")
import numpy as np, tiny
from core import arithmetic
from core.static_graph import StaticGraph, save_graph
arithmetic.read_cpuinfo = lambda: "flags : amx_bf16"
folder = sys.argv[1]
save_graph(tiny.bert(), folder)
ids = np.full((2, 8), 7)
graphs = {precision: StaticGraph(folder, threads=1, precision=precision) for precision in ("fp32", "bf16")}
for precision in ("fp32", "bf16", "fp32", "bf16"):
    print("run", precision, flush=True)
    graphs[precision].run({"input_ids": ids, "token_type_ids": np.zeros_like(ids)})
"""


@tiny.needs_bf16
@pytest.mark.parametrize("environment", [{}, {"ONEDNN_DEFAULT_FPMATH_MODE": "BF16"}])
def test_only_graphs_that_want_it_compute_in_bf16(tmp_path, environment):
    """What oneDNN itself reports of its matrix products; an environment that asks for bf16 does not change it."""
    if arithmetic.onednn() is None:
        pytest.skip("this build of Paddle has no oneDNN")
    done = subprocess.run(
        [sys.executable, "-c", VERBOSE, str(tmp_path)],
        cwd=Path(__file__).resolve().parent.parent,
        env={**os.environ, "ONEDNN_VERBOSE": "1", **environment},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    runs: list[tuple[str, list[bool]]] = []
    for line in done.stdout.splitlines():
        if line.startswith("run "):
            runs.append((line.split()[1], []))
        elif runs and ",exec," in line and (",inner_product," in line or ",matmul," in line):
            # In fp32 none, in bf16 all factors are bf16, and no sum is left to oneDNN's own rounding.
            assert "attr-fpmath:bf16" not in line
            runs[-1][1].append("src:bf16" in line and "wei:bf16" in line)
    assert [precision for precision, _ in runs] == ["fp32", "bf16", "fp32", "bf16"]
    for precision, products in runs:
        # Two layers: six products with weights and two among tokens each, pooler and classifier.
        assert len(products) >= 14
        assert set(products) == {precision == "bf16"}


@tiny.needs_bf16
@pytest.mark.parametrize("make", [tiny.bert, tiny.aligned_bilstm])
def test_a_graph_in_bf16_gives_what_one_in_fp32_gives_within_its_precision(tmp_path, new, make):
    save_graph(make(), tmp_path)
    ids, lengths = np.array([[7] * 8, [9, 8, *[0] * 6]]), np.array([8, 2])
    inputs = {"input_ids": ids, "token_type_ids": np.zeros_like(ids), "lengths": lengths}
    inputs |= {"input_ids_b": ids[::-1], "lengths_b": lengths[::-1]}
    exact = StaticGraph(tmp_path).run(inputs)["logits"]
    np.testing.assert_allclose(StaticGraph(tmp_path, precision="bf16").run(inputs)["logits"], exact, atol=0.02)


def test_without_it_a_graph_refuses(tmp_path, old):
    save_graph(tiny.bert(), tmp_path)
    with pytest.raises(InputError, match=r"bf16: this processor \(Old Processor\) has neither"):
        StaticGraph(tmp_path, precision="bf16")
    assert StaticGraph(tmp_path).inputs


@tiny.needs_bf16
def test_a_predictor_in_bf16(exported, new):
    served = Predictor(exported, precision="bf16")
    assert (served.form, served.precision) == ("paddle", "bf16")
    assert (Predictor(exported).precision, Predictor(exported, runtime="onnx").precision) == ("fp32", "fp32")
    (found,), (exact,) = (one.predict([("a fine film",)]) for one in (served, Predictor(exported)))
    assert found.label == exact.label
    with pytest.raises(InputError, match="holds paddle and onnx, nothing for --runtime onnx --precision bf16"):
        Predictor(exported, runtime="onnx", precision="bf16")


def lines_of(module, capsys, *words):
    """Exit code, standard output, and the lines of standard error."""
    capsys.readouterr()
    code = run_script(module.main, list(map(str, words)))
    captured = capsys.readouterr()
    return code, captured.out, captured.err.splitlines()


def test_commands_that_serve_say_that_there_is_none(exported, capsys, old, tmp_path):
    rows = tmp_path / "rows.tsv"
    rows.write_text("sentence\tlabel\na fine film\t1\n", encoding="utf-8")
    for module, words in (
        (predict, ["--text", "a fine film"]),
        (benchmark, ["--rows", 4]),
        (evaluate, ["--input_file", rows]),
    ):
        code, _, errors = lines_of(module, capsys, "--model_dir", exported, "--precision", "bf16", *words)
        assert code == 2 and len(errors) == 1 and "(Old Processor) has neither AMX" in errors[0], errors


def test_a_precision_goes_with_an_export(exported, capsys, new, tmp_path):
    (rows := tmp_path / "rows.tsv").write_text("sentence\tlabel\na fine film\t1\n", encoding="utf-8")
    words = ["--model_dir", exported.parent / "model", "--precision", "bf16", "--input_file", rows]
    code, _, errors = lines_of(evaluate, capsys, *words)
    assert code == 2 and errors == ["error: --precision goes with an export folder; write one with deploy.export"]


@tiny.needs_bf16
def test_a_precision_may_be_that_of_the_other_model(exported, capsys, new, tmp_path):
    (rows := tmp_path / "rows.tsv").write_text("sentence\tlabel\na fine film\t1\n", encoding="utf-8")
    words = ["--model_dir", exported.parent / "model", "--against", exported, "--precision", "bf16"]
    code, out, errors = lines_of(evaluate, capsys, *words, "--input_file", rows)
    assert code == 0 and "agreement" in out, errors


def test_onnx_is_measured_without_asking_what_paddle_can(exported, monkeypatch):
    monkeypatch.setattr(timing, "bf16_fault", lambda: pytest.fail("asks Paddle"))
    assert every_way([str(exported)], "onnx") == ([str(exported)], [("onnx", "fp32")])


def test_a_gpu_is_named_where_the_device_was_left_to_choose(new, tmp_path, monkeypatch):
    data, teacher = tiny.write_single(tmp_path / "data"), tiny.write_model(tmp_path / "teacher")
    options = tiny.distill_options(tmp_path / "out", data, teacher, teacher_precision="bf16")
    monkeypatch.setattr(distributed, "current_device", lambda: "gpu")
    with pytest.raises(InputError, match="--teacher_precision bf16: a GPU computes it in fp32"):
        distill(options)
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="--teacher_precision bf16: a GPU computes it in fp32"):
        options.replace(device="gpu")


@tiny.needs_bf16
def test_the_benchmark_measures_bf16_where_it_is(exported, capsys, new, tmp_path):
    words = ["--model_dir", exported, "--rows", 8, "--rounds", 1, "--latency_rows", 2, "--threads", 1]
    code, _, errors = lines_of(benchmark, capsys, *words, "--output_file", tmp_path / "speed.json")
    assert code == 0, errors
    records = json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))
    assert [known["form"] for known in records] == ["paddle", "paddle-bf16", "onnx"]


@tiny.needs_bf16
def test_outputs_in_bf16_are_another_entry_of_the_cache(tmp_path, new):
    loaded = tiny.bert()
    rows = in_memory(Rows((["a fine film", "a dull film"],), None), loaded.tokenizer)
    folders = []
    for precision in ("fp32", "bf16", "bf16"):
        with Teacher(loaded, tmp_path, precision=precision) as teacher:
            found = teacher.outputs(rows)
            folders.append((found.folder, found.computed))
    assert [computed for _, computed in folders] == [2, 2, 0]
    assert folders[0][0] != folders[1][0] == folders[2][0]
    encoded = loaded.encoder.arrange(rows.encode(loaded.tokenizer))
    keys = set()
    for precision in ("fp32", "bf16"):
        with TeacherFeatures(loaded, tmp_path, {"hidden_states": (1,)}, precision=precision) as features:
            keys.add(features._key(encoded))
    assert len(keys) == 2


@pytest.mark.parametrize(
    "module, words",
    [
        (bert_distill, ["--task_name", "sst-2", "--teacher_dir", "t"]),
        (task_distill, ["--task_name", "sst-2", "--teacher_model", "t"]),
        (run_distill, ["--input_file", "c", "--student_model", "s", "--teacher", "t", "--loss", "hidden+ce"]),
    ],
)
def test_recipes_say_at_once_that_there_is_none(module, words, capsys, old, tmp_path):
    words = [*words, "--output_dir", tmp_path / "out", "--teacher_precision", "bf16"]
    code, _, errors = lines_of(module, capsys, *words)
    assert code == 2 and len(errors) == 1
    assert "--teacher_precision bf16: this processor (Old Processor) has neither AMX nor AVX512_BF16" in errors[0]
    assert not (tmp_path / "out").exists()


@tiny.needs_bf16
def test_a_student_of_a_teacher_in_bf16(tmp_path, new):
    data = tiny.write_single(tmp_path / "data")
    teacher = tiny.write_model(tmp_path / "teacher")
    options = tiny.distill_options(tmp_path / "out", data, teacher, teacher_precision="bf16", max_epoch=1, n_iter=1)
    metrics = distill(options)
    assert metrics["training"]["steps"] > 0
    recorded = json.loads((tmp_path / "out" / "training_args.json").read_text(encoding="utf-8"))
    assert recorded["options"]["teacher_precision"] == "bf16"

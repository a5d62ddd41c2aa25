"""The main job, tiny: five stages, a summary of finite figures, and a second run that finds the first."""

from __future__ import annotations

import functools
import json
import math

import numpy as np
import pytest
import tiny

import demo
from console import InputError
from core.metrics import MAIN_METRIC
from data.tasks import TASKS, get_task
from deploy import timing
from deploy.report_data import find_models
from finetune import train as training
from models import folder as model_folder
from models.folder import bert_shape
from models.weights import read_weights


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A pre-trained BERT with the 128 positions that the recipes ask for."""
    root = tmp_path_factory.mktemp("teacher")
    return tiny.write_pretrained(root / "bert", max_position_embeddings=128, initializer_range=0.1)


@pytest.fixture
def tiny_demo(monkeypatch):
    """The demo with everything that takes time turned down."""
    monkeypatch.setattr(demo, "BUILT_IN_ROWS", (64, 24))
    shared = {"eval_steps": 0, "holdout": 0.0, "batch_size": 16, "logging_steps": 5}
    monkeypatch.setattr(demo, "TEACHER", {**demo.TEACHER, **shared, "num_train_epochs": 1, "learning_rate": 1e-2})
    student = {"average_checkpoints": 2, "hidden_size": 8, "lr": 1e-2}
    monkeypatch.setattr(demo, "STUDENT", {**demo.STUDENT, **shared, **student})
    monkeypatch.setattr(demo, "ALONE", {"max_epoch": 2})
    monkeypatch.setattr(demo, "DISTILLED", {"max_epoch": 2, "n_iter": 1})
    monkeypatch.setattr(demo, "SMALL_DATA", {"teacher": {}, "alone": {}, "distilled": {}})
    monkeypatch.setattr(demo, "OFA", {**demo.OFA, "width_mult_list": (1.0, 0.5), "batch_size": 16})
    monkeypatch.setattr(demo, "OFA_ROWS", 48)
    monkeypatch.setattr(demo, "TINYBERT", {**demo.TINYBERT, "batch_size": 16, "holdout": 0.0})
    monkeypatch.setattr(demo, "TINYBERT_SMALL", {"alone": {"num_train_epochs": 1}, "distilled": {}})
    corpus = {**demo.MLM_CORPUS, "max_seq_length": 32}
    monkeypatch.setattr(demo, "MLM_CORPUS", corpus)
    monkeypatch.setattr(demo, "MLM_LINES", 60)
    quick_mlm = {"num_train_epochs": 1, "batch_size": 8, "learning_rate": 1e-3}
    for name in ("MLM_TEACHER", "MLM_ALONE"):
        monkeypatch.setattr(demo, name, quick_mlm)
    stages = {
        "assistant": {
            "init": {"layers": "0,1"},
            "answers": {"truncation_factor": 8},
            "distill": {**quick_mlm, "truncation_factor": 8},
        },
        "student": {
            "init": {"layers": "1", "hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 2},
            "distill": quick_mlm,
        },
    }
    monkeypatch.setattr(demo, "MLM_STAGES", stages)
    quick = functools.partial(timing.measure_alternating, rows=8, rounds=2, latency_rows=3)
    monkeypatch.setattr(timing, "measure_alternating", quick)


def options(tmp_path, teacher, **changes):
    values = {"teacher": str(teacher), "output_dir": str(tmp_path / "demo"), "cache_dir": str(tmp_path / "cache")}
    return demo.DemoOptions(**{**values, **changes})


def check_summary(summary, metric="accuracy"):
    assert [row["model"] for row in summary["models"]] == ["teacher", "alone", "distilled"]
    for row in summary["models"]:
        figures = {name: value for name, value in row.items() if name not in ("model", "gap_closed")}
        assert len(figures) == 8
        assert all(math.isfinite(value) for value in figures.values())
        assert row["parameters"] > 0 and row["bytes"] > 0 and row["rows_per_second"] > 0
        assert -1 <= row[metric] <= 1
    closed = [row["gap_closed"] for row in summary["models"]]
    assert closed[:2] == [None, None]
    assert closed[2] is None or math.isfinite(closed[2])
    return True


def test_the_built_in_demo_ends_with_its_summary_and_is_found_again(tiny_demo, teacher, tmp_path, capsys):
    summary = demo.run(options(tmp_path, teacher))
    out = capsys.readouterr().out
    assert check_summary(summary)
    assert json.loads((tmp_path / "demo" / "summary.json").read_text(encoding="utf-8")) == summary
    assert [f"== {stage} of 5" in out for stage in range(1, 6)] == [True] * 5
    for name in ("teacher", "alone", "distilled"):
        assert model_folder.load(tmp_path / "demo" / name).task.name == "sst-2"
        assert (tmp_path / "demo" / "exported" / name / "export.json").is_file()
    for (text,) in demo.EXAMPLES["single-en"]:
        assert text in out

    again = demo.run(options(tmp_path, teacher, resume=True))
    assert capsys.readouterr().out.count("this run had finished") == 3
    for before, after in zip(summary["models"], again["models"], strict=True):
        assert all(before[name] == after[name] for name in ("parameters", "accuracy", "gap_closed"))


def test_the_once_for_all_demo_trains_searches_exports_and_predicts(tiny_demo, teacher, tmp_path, capsys):
    summary = demo.run(options(tmp_path, teacher, recipe="ofa"))
    out = capsys.readouterr().out
    assert [f"== {stage} of 4" in out for stage in range(1, 5)] == [True] * 4
    assert json.loads((tmp_path / "demo" / "summary-ofa.json").read_text(encoding="utf-8")) == summary
    found = tmp_path / "demo" / "found"
    whole, part = (model_folder.load(folder) for folder in (tmp_path / "demo" / "ofa", found / "sub_model"))
    assert part.parameters < whole.parameters
    assert summary["chosen"]["width"] * summary["chosen"]["depth"] <= 0.51
    assert (found / "static" / "export.json").is_file() and (found / "pareto.png").is_file()
    for (text,) in demo.EXAMPLES["single-en"]:
        assert text in out
    # The teacher is that of the other demo.
    demo.run(options(tmp_path, teacher, recipe="ofa", resume=True))
    assert capsys.readouterr().out.count("this run had finished") == 2


def test_the_tinybert_demo_trains_exports_predicts_and_compares(tiny_demo, teacher, tmp_path, capsys):
    summary = demo.run(options(tmp_path, teacher, recipe="tinybert"))
    out = capsys.readouterr().out
    assert check_summary(summary)
    assert json.loads((tmp_path / "demo" / "summary-tinybert.json").read_text(encoding="utf-8")) == summary
    assert [f"== {stage} of 5" in out for stage in range(1, 6)] == [True] * 5
    shapes = [model_folder.load(tmp_path / "demo" / "tinybert" / name) for name in ("alone", "distilled")]
    assert [loaded.model.config.num_hidden_layers for loaded in shapes] == [1, 1]
    demo.run(options(tmp_path, teacher, recipe="tinybert", resume=True))
    assert capsys.readouterr().out.count("this run had finished") == 3


def test_the_tinybert_of_the_demo_fits_its_teacher(tmp_path):
    large = {"num_hidden_layers": 6, "hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 12}
    for name, shape, expected in (("large", large, demo.TINYBERT_SHAPE), ("small", {}, {"num_hidden_layers": 1})):
        config = tiny.bert_config(**shape)
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({**vars(config), "model_type": "bert"}))
        assert demo.tinybert_shape(str(tmp_path / name)).items() >= expected.items()


def test_the_once_for_all_demo_refuses_a_bert_that_it_cannot_divide(tiny_demo, tmp_path):
    odd = tiny.write_pretrained(tmp_path / "bert", num_hidden_layers=3)
    with pytest.raises(InputError, match=r"depth 0\.5 of 3 keeps no whole number"):
        demo.run(options(tmp_path, odd, recipe="ofa"))
    assert not (tmp_path / "demo" / "teacher").exists()


@pytest.mark.parametrize("task", ["qqp", "chnsenticorp", "afqmc", "sts-b", "cola"])
def test_other_tasks_go_the_same_way(tiny_demo, teacher, tmp_path, capsys, monkeypatch, task):
    # The tiny vocabulary knows a third of the Chinese rows' characters.
    monkeypatch.setattr(training, "MOST_UNKNOWN", 1.0)
    data = tmp_path / "data"
    if task in ("qqp", "chnsenticorp", "cola"):
        write = {"qqp": tiny.write_pairs, "chnsenticorp": tiny.write_chinese, "cola": tiny.write_single}[task]
        write(data, train=32, dev=10)
    else:
        # Pairs that have no writer of their own: the same rows under the task's columns.
        tiny.write_pairs(data, train=32, dev=10)
        for split in ("train", "dev"):
            rows = [line.split("\t") for line in (data / f"{split}.tsv").read_text(encoding="utf-8").splitlines()]
            first, second, label = (rows[0].index(name) for name in ("question1", "question2", "is_duplicate"))
            kept = [(row[first], row[second], row[label]) for row in rows[1:]]
            lines = ["\t".join(row) for row in [("sentence1", "sentence2", "label"), *kept]]
            (data / f"{split}.tsv").write_text("\n".join([*lines, ""]), encoding="utf-8")
    summary = demo.run(options(tmp_path, teacher, task=task, data_dir=str(data)))
    assert check_summary(summary, MAIN_METRIC[get_task(task).metric])
    assert (tmp_path / "demo" / task / "summary.json").is_file()
    assert model_folder.load(tmp_path / "demo" / task / "distilled").task.name == task


def test_every_kind_of_task_has_examples():
    kinds = {("pair" if task.is_pair else "single", task.language) for task in TASKS.values()}
    assert {tuple(kind.split("-")) for kind in demo.EXAMPLES} == kinds


def test_without_overwrite_or_resume_a_second_run_is_refused(tiny_demo, teacher, tmp_path):
    (tmp_path / "demo" / "teacher").mkdir(parents=True)
    (tmp_path / "demo" / "teacher" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty"):
        demo.run(options(tmp_path, teacher))
    assert (tmp_path / "demo" / "teacher" / "thesis.txt").read_text() == "mine"


def record(accuracy, parameters=1000):
    return {"dev": {"accuracy": accuracy}, "parameters": parameters}


def rows_of(tmp_path, teacher, alone, distilled):
    speed = {"p50_ms": 2.0, "p99_ms": 3.0, "rows_per_second": 10.0, "throughput_speedup": 4.0, "latency_speedup": 5.0}
    exported = {}
    for name in ("teacher", "alone", "distilled"):
        exported[name] = tmp_path / name
        exported[name].mkdir()
        (exported[name] / "model").write_bytes(b"x" * 7)
    metrics = {"teacher": record(teacher), "alone": record(alone), "distilled": record(distilled)}
    return demo.summary_rows(metrics, exported, dict.fromkeys(exported, speed), "accuracy")


def test_summary_rows_by_hand(tmp_path):
    rows = rows_of(tmp_path, 0.9, 0.8, 0.85)
    # (0.85 - 0.8) / (0.9 - 0.8) = 0.5
    assert rows[2]["gap_closed"] == pytest.approx(0.5)
    assert [row["bytes"] for row in rows] == [7, 7, 7]
    assert "50%" in demo.summary_table(rows, "accuracy")


def test_without_a_gap_none_is_closed(tmp_path):
    rows = rows_of(tmp_path, 0.8, 0.8, 0.85)
    assert rows[2]["gap_closed"] is None
    assert demo.summary_table(rows, "accuracy").splitlines()[-1].split()[6] == "-"


def test_the_masked_lm_demo_ends_with_its_summary_and_is_found_again(tiny_demo, teacher, tmp_path, capsys):
    summary = demo.run(options(tmp_path, teacher, recipe="mlm"))
    out = capsys.readouterr().out
    place = tmp_path / "demo" / "mlm"
    assert json.loads((place / "summary-mlm.json").read_text(encoding="utf-8")) == summary
    assert "agreement with its teacher" in out
    assert set(summary["held_out"]) == {"teacher", "assistant", "student", "student's shape, alone"}
    told = {name for name, found in summary["held_out"].items() if "agreement" in found}
    assert told == {"assistant", "student"}
    # The whole encoder has learnt, not its head alone.
    learnt, start = (
        next(value for name, value in read_weights(folder).items() if name.endswith("layers.0.self_attn.q_proj.weight"))
        for folder in (place / "teacher", teacher)
    )
    assert not np.array_equal(learnt, start)
    shapes = [bert_shape(place / name) for name in ("alone", "stages/student")]
    assert shapes[0] == shapes[1]
    # The report is on what has learnt, not on what that began with.
    found = find_models([str(place)])
    assert {model.name for model in found} == {"alone", "assistant", "student", "teacher"}
    # The larger ones, which teach, come first.
    sizes = [model.parameters for model in found]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > sizes[-1]
    assert [model["layers"] for model in summary["models"]] == [2, 2, 1]
    again = demo.run(options(tmp_path, teacher, recipe="mlm", resume=True))
    assert capsys.readouterr().out.count("this run had finished") == 4
    assert again["held_out"] == summary["held_out"]


def test_the_masked_lm_demo_reads_the_built_in_text_alone(tmp_path, teacher):
    with pytest.raises(InputError, match="--task sst-2: --recipe mlm reads built-in text"):
        options(tmp_path, teacher, recipe="mlm", task="sst-2", data_dir="x")

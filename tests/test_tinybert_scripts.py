"""The TinyBERT scripts end to end, tiny: what they write, resume, refuse, and that it works elsewhere."""

from __future__ import annotations

import json
import random
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import paddle
import pytest
import tiny
from test_replacement import masked_lm

import models
from args import parse
from console import InputError, run_script
from core import arithmetic
from core.evaluate import dygraph_forward, evaluate_model, predict_logits
from core.layer_loss import LayerLoss, LayerStep, Projections, unreached_frozen
from core.metrics import Diverged
from core.teacher import Teacher
from core.teacher_features import TeacherFeatures
from data.batches import Batches
from data.replacement import is_replaceable
from data.sources import find_split, read_rows
from data.tasks import METRICS
from data.tokenization import WordPieceTokenizer
from deploy.exporter import export
from deploy.options import ExportOptions
from deploy.predictor import Predictor
from distill_lstm.train import distill as distill_lstm
from finetune import train as training
from finetune.train import finetune
from models.weights import layer_weights, read_safetensors
from ofa_bert.options import OfaOptions
from ofa_bert.train import train as train_ofa
from tinybert import data_augmentation, general_distill, task_distill
from tinybert.augment import augment
from tinybert.general import distill_on_text
from tinybert.options import GeneralDistillOptions, TaskDistillOptions, TinyAugmentOptions
from tinybert.train import distill, passes

TEACHER = {"hidden_size": 24, "num_attention_heads": 4, "num_hidden_layers": 4, "intermediate_size": 32}
SMALL = {"hidden_size": 16, "num_attention_heads": 4, "num_hidden_layers": 2, "intermediate_size": 24}
NUMBERS = next(metric for metric in METRICS if "pearson" in metric)
TASK, GENERAL, AUGMENT = "tinybert.task_distill", "tinybert.general_distill", "tinybert.data_augmentation"
MAIN = {TASK: task_distill.main, GENERAL: general_distill.main, AUGMENT: data_augmentation.main}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Data, raw text, a pre-trained encoder, and teachers for single sentences, pairs and numbers."""
    root = tmp_path_factory.mktemp("inputs")
    tiny.write_single(root / "data")
    tiny.write_pairs(root / "pairs")
    tiny.write_chinese(root / "chinese")
    tiny.write_pretrained(root / "bert", **TEACHER)
    tiny.write_model(root / "teacher", tiny.bert(**TEACHER))
    tiny.write_model(root / "pair_teacher", tiny.bert(tiny.PAIR, **TEACHER))
    tiny.write_model(root / "lstm", tiny.bilstm())
    (root / "text").mkdir()
    rng = random.Random(0)
    for name in ("a", "b"):
        lines = [tiny.sentence(rng, number % 2) for number in range(40)]
        (root / "text" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return root


def values(inputs, folder, **changes):
    return {
        "task_name": "sst-2",
        "data_dir": str(inputs / "data"),
        "teacher_model": str(inputs / "teacher"),
        "output_dir": str(folder),
        "cache_dir": str(inputs / "cache"),
        "max_seq_length": 24,
        "batch_size": 16,
        "intermediate_epochs": 3,
        "num_train_epochs": 2,
        "intermediate_learning_rate": 3e-3,
        "learning_rate": 3e-3,
        "logging_steps": 1,
        "device": "cpu",
        **(SMALL if "student_model" not in changes else {}),
        **changes,
    }


def task_options(inputs, folder, **changes):
    made = {**values(inputs, folder), **changes}
    if made.get("stage") in ("intermediate", "prediction"):
        made = {k: v for k, v in made.items() if not k.startswith("intermediate_") or k == "intermediate_size"}
    if "student_model" in changes:
        made = {k: v for k, v in made.items() if k not in SMALL or k in changes}
    return TaskDistillOptions(**made)


def general_options(inputs, folder, **changes):
    made = {
        "teacher_model": str(inputs / "bert"),
        "text": (str(inputs / "text"),),
        "output_dir": str(folder),
        "cache_dir": str(inputs / "cache"),
        "max_seq_length": 16,
        "batch_size": 8,
        "held_out": 0.2,
        "num_train_epochs": 2,
        "learning_rate": 3e-3,
        "logging_steps": 1,
        "device": "cpu",
        **SMALL,
        **changes,
    }
    return GeneralDistillOptions(**made)


def augment_options(inputs, target, **changes):
    made = {
        "task_name": "sst-2",
        "data_dir": str(inputs / "data"),
        "teacher_model": str(inputs / "bert"),
        "output_file": str(target),
        "cache_dir": str(target.parent / "cache"),
        "N": 3,
        "M": 4,
        **changes,
    }
    return TinyAugmentOptions(**made)


@pytest.fixture(scope="module")
def student(inputs, tmp_path_factory):
    """A student of both stages."""
    folder = tmp_path_factory.mktemp("student") / "tiny"
    distill(task_options(inputs, folder))
    return folder


@pytest.fixture(scope="module")
def general(inputs, tmp_path_factory):
    """A student of raw text."""
    folder = tmp_path_factory.mktemp("general") / "encoder"
    distill_on_text(general_options(inputs, folder))
    return folder


def dev_logits(loaded, inputs, data="data"):
    rows, _ = read_rows(find_split(inputs / data, "dev"), loaded.task)
    return predict_logits(dygraph_forward(loaded.model), loaded.encoder.encode(rows.texts), loaded.encoder.pad_id)


# Task distillation


def test_each_stage_leaves_a_model_folder_and_moves_what_it_trains(student, inputs, tmp_path):
    distill(task_options(inputs, tmp_path / "none", stage="prediction", learning_rate=1e-9, num_train_epochs=1))
    start = read_safetensors(tmp_path / "none" / "model.safetensors")
    stages = [read_safetensors(student / name / "model.safetensors") for name in ("intermediate", "prediction")]
    for name in ("bert.embeddings.word_embeddings.weight", "bert.encoder.layers.1.self_attn.q_proj.weight"):
        assert np.abs(stages[0][name] - start[name]).max() > 1e-4
        assert np.abs(stages[1][name] - stages[0][name]).max() > 1e-4
    # No loss of the layers reaches the head: it is neither trained nor decayed before the prediction stage.
    for name in ("bert.pooler.dense.weight", "classifier.weight", "classifier.bias"):
        np.testing.assert_allclose(stages[0][name], start[name], atol=1e-6)
        assert np.abs(stages[1][name] - stages[0][name]).max() > 1e-5
    # What is served is that of the last stage, and no projection is in it.
    assert (student / "model.safetensors").read_bytes() == (student / "prediction" / "model.safetensors").read_bytes()
    assert not [name for stage in stages for name in stage if "beside" in name or "projection" in name.lower()]
    assert not list(student.rglob("checkpoint"))


def test_training_brings_layers_and_answers_nearer(student, inputs):
    rows = tiny.log_rows(student / "intermediate")
    losses = [row["loss"] for row in rows if row["part"] != "train"]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.9 * losses[0]
    metrics = json.loads((student / "metrics.json").read_text())
    assert metrics["stages"] == ["intermediate", "prediction"]
    layers = json.loads((student / "intermediate" / "metrics.json").read_text())["layers"]
    assert set(layers) == {"loss", "embedding", "hidden", "attention"}
    assert layers["loss"] == pytest.approx(losses[-1], rel=1e-3)
    assert layers["loss"] == pytest.approx(sum(v for k, v in layers.items() if k != "loss"), rel=1e-4)
    loaded = models.load(student)
    assert loaded.model.config.num_hidden_layers == 2
    assert metrics["dev"] == evaluate_model(loaded, read_rows(find_split(inputs / "data", "dev"), loaded.task)[0])


def test_stages_may_be_run_one_by_one(student, inputs, tmp_path):
    layers = task_options(inputs, tmp_path / "layers", stage="intermediate", num_train_epochs=3, learning_rate=3e-3)
    distill(layers)
    assert (tmp_path / "layers" / "model.safetensors").read_bytes() == (
        student / "intermediate" / "model.safetensors"
    ).read_bytes()
    answers = task_options(inputs, tmp_path / "answers", stage="prediction", student_model=str(tmp_path / "layers"))
    distill(answers)
    np.testing.assert_allclose(
        dev_logits(models.load(tmp_path / "answers"), inputs), dev_logits(models.load(student), inputs), atol=1e-5
    )


def test_stored_and_asked_features_train_alike(inputs, tmp_path):
    found = {}
    for name, budget in (("asked", "0"), ("stored", "1GB")):
        metrics = distill(
            task_options(
                inputs, tmp_path / name, stage="intermediate", num_train_epochs=4, learning_rate=3e-3,
                cache_budget=budget, relations="minilmv2", patient_weight=0.5, projection="per_layer",
            )
        )  # fmt: skip
        found[name] = metrics["layers"]
    assert set(found["asked"]) == {"loss", "embedding", "hidden", "attention", "relation", "patient"}
    for name, value in found["asked"].items():
        # Another order of rows, and half precision.
        assert found["stored"][name] == pytest.approx(value, rel=0.1)


@tiny.needs_bf16
@pytest.mark.parametrize("budget", ["0", "1GB"])
def test_layers_and_answers_are_learnt_in_bf16(inputs, tmp_path, monkeypatch, budget):
    monkeypatch.setattr(arithmetic, "read_cpuinfo", lambda: "flags : avx512_bf16")
    found = {}
    for name in ("fp32", "bf16"):
        precisions = {"precision": name, "teacher_precision": name}
        distill(task_options(inputs, tmp_path / name, cache_budget=budget, **precisions))
        stage = json.loads((tmp_path / name / "intermediate" / "metrics.json").read_text(encoding="utf-8"))
        found[name] = stage["layers"], dev_logits(models.load(tmp_path / name), inputs)
    for name, value in found["fp32"][0].items():
        assert found["bf16"][0][name] == pytest.approx(value, rel=0.2)
    assert found["bf16"][0] != found["fp32"][0]
    np.testing.assert_allclose(found["bf16"][1], found["fp32"][1], atol=0.2)


def test_a_row_is_read_as_often_as_steps_allow():
    options = SimpleNamespace(max_steps=0, gradient_accumulation_steps=2)
    assert passes(options, 1000, 50, 3) == 3
    options.max_steps = 5
    assert passes(options, 1000, 50, 3) == 0.5
    options.max_steps = 100
    assert passes(options, 1000, 50, 3) == 3


@pytest.mark.parametrize(("steps", "is_stored"), [(2, False), (20, True)])
def test_features_that_are_read_once_are_not_stored(inputs, tmp_path, steps, is_stored):
    run = task_options(
        inputs, tmp_path / "run", stage="intermediate", num_train_epochs=40, learning_rate=1e-3, max_steps=steps,
        cache_budget="1GB", cache_dir=str(tmp_path / "cache"),
    )  # fmt: skip
    distill(run)
    assert (tmp_path / "cache" / "teacher_features").is_dir() == is_stored


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"attention_weight": 0.0, "embedding_weight": 0.0}, {"hidden"}),
        ({"hidden_weight": 0.0, "embedding_weight": 0.0}, {"attention"}),
        ({"num_attention_heads": 2}, {"embedding", "hidden"}),
        (
            {"num_attention_heads": 2, "relations": "minilm", "hidden_weight": 0.0, "embedding_weight": 0.0},
            {"relation"},
        ),
        ({"relations": "minilmv2", "relation_heads": 8}, {"embedding", "hidden", "attention", "relation"}),
        ({"layer_map": "2:1,4:2"}, {"hidden", "attention"}),
    ],
)
def test_losses_are_those_that_are_asked_for(inputs, tmp_path, changes, parts):
    run = task_options(
        inputs, tmp_path / "run", stage="intermediate", num_train_epochs=1, learning_rate=1e-3, max_steps=2, **changes
    )
    assert set(distill(run)["layers"]) == {"loss", *parts}


def test_pairs_copies_and_rows_without_labels_are_learnt_from(inputs, tmp_path, capsys):
    more = tmp_path / "more.txt"
    more.write_text("how to swim ?\tthe end of swim\nhow to cook ?\tthe very end of paint\n")
    options = task_options(
        inputs, tmp_path / "run", task_name="qqp", data_dir=str(inputs / "pairs"), max_steps=3, aug_train=True, N=2,
        teacher_model=str(inputs / "pair_teacher"), unlabeled_file=(str(more),), repair_pairs=1,
    )  # fmt: skip
    metrics = distill(options)
    out = capsys.readouterr().out
    assert "candidates: for words of one piece the nearest rows of the teacher's embedding table" in out
    assert metrics["learning_rows"] > 150
    assert set(metrics["dev"]) == {"accuracy", "f1"}


def test_numbers_and_chinese_are_learnt_too(inputs, tmp_path, monkeypatch):
    # The tiny vocabulary knows a third of the Chinese rows' characters.
    monkeypatch.setattr(training, "MOST_UNKNOWN", 1.0)
    numbers = tmp_path / "numbers.tsv"
    rng = random.Random(1)
    rows = [f"{tiny.sentence(rng, n % 2)}\t{n % 2 + n / 100}" for n in range(30)]
    numbers.write_text("\n".join(["text\tlabel", *rows, ""]))
    own = {"train_file": str(numbers), "dev_file": str(numbers), "text_columns": ("text",), "metric": NUMBERS}
    own |= {"task_name": None, "data_dir": None}
    teacher = finetune(tiny.finetune_options(tmp_path / "teacher", inputs / "data", inputs / "bert", **own))
    options = task_options(inputs, tmp_path / "run", teacher_model=str(tmp_path / "teacher"), max_steps=3, **own)
    assert distill(options)["dev"].keys() == teacher["dev"].keys()
    chinese = {"task_name": "chnsenticorp", "data_dir": str(inputs / "chinese")}
    finetune(tiny.finetune_options(tmp_path / "zh", inputs / "data", inputs / "bert", max_steps=2, **chinese))
    run = task_options(
        inputs, tmp_path / "zh_run", teacher_model=str(tmp_path / "zh"), max_steps=2, aug_train=True, N=2, **chinese
    )
    assert distill(run)["learning_rows"] > 60


def test_the_mean_of_several_teachers_answers(inputs, tmp_path):
    """With all of the weight on the Bi-LSTM the student nears that, and not the BERT whose tokens it reads."""
    lstm = inputs / "lstm"
    answers = {}
    for name, weights in (("bert", (1.0, 0.0)), ("lstm", (0.0, 1.0))):
        run = task_options(
            inputs, tmp_path / name, stage="prediction", prediction_loss="mse", num_train_epochs=20, eval_steps=80,
            student_model=str(inputs / "teacher"), more_teachers=(str(lstm),), teacher_weights=weights,
        )  # fmt: skip
        answers[name] = distill(run)["dev_with_teacher"]["agreement"]
    assert answers["lstm"] > 0.8
    assert answers["bert"] > 0.8
    rows, _ = read_rows(find_split(inputs / "data", "dev"), tiny.SINGLE)
    theirs = {}
    for name, folder in (("made", tmp_path / "lstm"), ("bert", inputs / "teacher"), ("lstm", lstm)):
        model = models.load(folder)
        columns = model.encoder.encode(rows.texts)
        theirs[name] = predict_logits(dygraph_forward(model.model), columns, model.encoder.pad_id)
    nearer, farther = (np.abs(theirs["made"] - theirs[name]).mean() for name in ("lstm", "bert"))
    assert nearer < farther / 2


def test_going_on_with_another_further_teacher_is_refused(inputs, tmp_path, monkeypatch):
    lstm = tmp_path / "lstm"
    tiny.write_model(lstm, tiny.bilstm())
    changes = {"stage": "prediction", "more_teachers": (str(lstm),), "resume": True}

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tinybert.train.train_answers", killed)
        with pytest.raises(KeyboardInterrupt):
            distill(task_options(inputs, tmp_path / "run", **changes))
    config = lstm / "config.json"
    as_it_was = config.read_text()
    config.write_text(as_it_was.replace('"max_seq_length": 32', '"max_seq_length": 3'))
    assert config.read_text() != as_it_was
    with pytest.raises(InputError, match="this run began with another teacher"):
        distill(task_options(inputs, tmp_path / "run", **changes))
    config.write_text(as_it_was)
    shutil.rmtree(lstm)
    tiny.write_model(lstm, tiny.bilstm(seed=1))
    with pytest.raises(InputError, match="this run began with another teacher"):
        distill(task_options(inputs, tmp_path / "run", **changes))


def test_every_teacher_reads_the_text_itself(inputs, tmp_path, monkeypatch):
    """A cased teacher is given the case that an uncased one does not know."""
    data = tmp_path / "data"
    data.mkdir()
    rows = [f"The Film Is {word}\t{number % 2}" for number, word in enumerate(["Good", "bad"] * 10)]
    for split in ("train", "dev"):
        (data / f"{split}.tsv").write_text("\n".join(["sentence\tlabel", *rows, ""]))
    cased = tiny.bert(seed=1)
    cased = replace(cased, tokenizer=WordPieceTokenizer([*tiny.VOCAB[:-1], "Good"], lowercase=False))
    tiny.write_model(tmp_path / "cased", cased)
    read = []
    ask = Teacher.outputs

    def noted(teacher, rows):
        read.append([teacher.loaded.tokenizer.vocab[i] for i in rows.encode(teacher.loaded.tokenizer)[0][0]])
        return ask(teacher, rows)

    monkeypatch.setattr(Teacher, "outputs", noted)
    more = {"more_teachers": (str(tmp_path / "cased"),), "stage": "prediction", "max_steps": 2}
    distill(task_options(inputs, tmp_path / "run", data_dir=str(data), **more))
    assert read[0][-1] == "good"
    assert read[1][-1] == "Good"


def test_a_chinese_teacher_that_reads_words_is_given_words(inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "MOST_UNKNOWN", 1.0)
    chinese = {"task_name": "chnsenticorp", "data_dir": str(inputs / "chinese")}
    finetune(tiny.finetune_options(tmp_path / "zh", inputs / "data", inputs / "bert", max_steps=2, **chinese))
    lstm = tiny.chinese_bilstm()
    tiny.write_model(tmp_path / "lstm", lstm)
    read = []
    ask = Teacher.outputs

    def noted(teacher, rows):
        if teacher.loaded.model.model_type == "bilstm":
            read.append(rows.encode(teacher.loaded.tokenizer)[0])
        return ask(teacher, rows)

    monkeypatch.setattr(Teacher, "outputs", noted)
    run = task_options(
        inputs, tmp_path / "run", stage="prediction", teacher_model=str(tmp_path / "zh"), max_steps=2,
        more_teachers=(str(tmp_path / "lstm"),), **chinese,
    )  # fmt: skip
    distill(run)
    rows, _ = read_rows(find_split(inputs / "chinese", "train"), lstm.labelled)
    expected = lstm.tokenizer.encode(rows.texts[0])
    np.testing.assert_array_equal(read[0].values, expected.values)
    np.testing.assert_array_equal(read[0].offsets, expected.offsets)
    # Words, not characters.
    assert lstm.tokenizer.vocab.index("房间") in read[0].values
    # Of copies too, some words of which are others.
    read.clear()
    run = task_options(
        inputs, tmp_path / "copies", stage="prediction", teacher_model=str(tmp_path / "zh"), max_steps=2,
        more_teachers=(str(tmp_path / "lstm"),), aug_train=True, N=1, p=0.1, **chinese,
    )  # fmt: skip
    distill(run)
    assert lstm.tokenizer.vocab.index("房间") in read[1].values


def test_a_finished_run_is_found_again(student, inputs, capsys):
    before = (student / "model.safetensors").stat().st_mtime_ns
    distill(task_options(inputs, student, resume=True))
    assert "this run had finished" in capsys.readouterr().out
    assert (student / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize("stage", ["intermediate", "prediction"])
@pytest.mark.parametrize("budget", ["0", "1GB"])
def test_a_run_killed_in_a_stage_ends_with_the_bits_of_one_that_was_not(inputs, tmp_path, stage, budget):
    rhythm = {
        "save_steps": 3,
        "eval_steps": 5,
        "average_checkpoints": 2,
        "intermediate_epochs": 8,
        "num_train_epochs": 8,
    }
    rhythm |= {"cache_budget": budget, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
    whole = task_options(inputs, tmp_path / "whole", **rhythm)
    assert run_script(task_distill.main, tiny.arguments(whole)) == 0
    options = task_options(inputs, tmp_path / "run", **rhythm)
    tiny.kill(tiny.started_until(TASK, options, 6, part=stage))
    assert run_script(task_distill.main, [*tiny.arguments(options), "--resume"]) == 0
    for part in ("", "intermediate", "prediction"):
        ours, theirs = (tmp_path / name / part / "model.safetensors" for name in ("run", "whole"))
        assert ours.read_bytes() == theirs.read_bytes()
        if part:
            assert tiny.log_rows(tmp_path / "run" / part) == tiny.log_rows(tmp_path / "whole" / part)
    assert not list((tmp_path / "run").rglob("checkpoint"))


# General distillation


def test_raw_text_gives_a_bare_encoder_that_came_nearer(general, inputs):
    found = models.load(general)
    assert found.architecture == "BertModel"
    assert found.task is None
    assert found.model.config.hidden_size == 16
    losses = [row["loss"] for row in tiny.log_rows(general) if row["part"] != "train"]
    assert losses == sorted(losses, reverse=True)
    metrics = json.loads((general / "metrics.json").read_text())
    assert metrics["layers"]["loss"] == pytest.approx(losses[-1], rel=1e-3)
    assert metrics["selected_on"] == "held-out sequences"


def test_a_student_of_raw_text_starts_a_task(general, inputs, tmp_path, capsys):
    distill(task_options(inputs, tmp_path / "run", student_model=str(general), max_steps=2))
    assert f"starts from {general}" in capsys.readouterr().out
    assert models.load(tmp_path / "run").model.config.num_hidden_layers == 2


def test_a_student_of_raw_text_is_fine_tuned_like_any_encoder(general, inputs, tmp_path):
    finetune(tiny.finetune_options(tmp_path / "run", inputs / "data", general, max_steps=2, max_seq_length=24))
    mine = read_safetensors(tmp_path / "run" / "model.safetensors")
    start = layer_weights(models.load(general).model)
    name = "embeddings.word_embeddings.weight"
    assert 0 < np.abs(mine[f"bert.{name}"] - start[name]).max() < 0.1


def test_general_distillation_killed_ends_with_the_same_bits(inputs, tmp_path):
    rhythm = {"save_steps": 3, "eval_steps": 5, "num_train_epochs": 12}
    distill_on_text(general_options(inputs, tmp_path / "whole", **rhythm))
    options = general_options(inputs, tmp_path / "run", **rhythm)
    tiny.kill(tiny.started_until(GENERAL, options, 6))
    assert run_script(general_distill.main, [*tiny.arguments(options), "--resume"]) == 0
    ours, theirs = (read_safetensors(tmp_path / name / "model.safetensors") for name in ("run", "whole"))
    for name, value in theirs.items():
        np.testing.assert_array_equal(ours[name], value)
    assert tiny.log_rows(tmp_path / "run") == tiny.log_rows(tmp_path / "whole")


# Augmentation


def test_copies_differ_from_their_rows_in_replaceable_words_only(inputs, tmp_path):
    count = augment(augment_options(inputs, tmp_path / "made.tsv"))
    lines = (tmp_path / "made.tsv").read_text().splitlines()
    assert lines[0] == "sentence\tlabel"
    assert len(lines) == count + 1
    rows = [line.split("\t") for line in lines[1:]]
    originals = [row for row in rows if row[1]]
    assert len(originals) == 60
    assert 60 < count <= 60 * 4
    assert len({text for text, _ in rows[60:]}) == count - 60
    by_length = {}
    for text, _ in originals:
        by_length.setdefault(len(text.split()), []).append(text.split())
    for text, label in rows[60:]:
        assert label == ""
        words = text.split()
        assert any(
            all(a == b or is_replaceable(b) for a, b in zip(words, other, strict=True))
            for other in by_length[len(words)]
        )


def test_of_a_pair_one_text_changes_and_the_other_is_the_original(inputs, tmp_path):
    augment(augment_options(inputs, tmp_path / "made.tsv", task_name="qqp", data_dir=str(inputs / "pairs"), p=0.9))
    rows = [line.split("\t") for line in (tmp_path / "made.tsv").read_text().splitlines()[1:]]
    originals = {(row[0], row[1]) for row in rows if row[2]}
    first, second = ({pair[side] for pair in originals} for side in (0, 1))
    changed = [0, 0]
    for a, b, label in rows:
        if label:
            continue
        assert a in first or b in second
        changed[0] += a not in first
        changed[1] += b not in second
    assert min(changed) > 10


def test_copies_follow_the_seed_and_a_store_teaches(inputs, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        augment(augment_options(inputs, tmp_path / f"{name}.tsv", seed=seed, cache_dir=str(tmp_path / name)))
    a, b, c = ((tmp_path / f"{name}.tsv").read_bytes() for name in "abc")
    assert a == b != c
    augment(augment_options(inputs, tmp_path / "store", seed=1))
    metrics = distill(task_options(inputs, tmp_path / "run", transfer_set=str(tmp_path / "store"), max_steps=2))
    assert metrics["learning_rows"] == len(a.splitlines()) - 1


def test_a_masked_lm_proposes_where_one_is_named(inputs, tmp_path, capsys):
    tiny.write_model(tmp_path / "mlm", masked_lm(**TEACHER))
    augment(augment_options(inputs, tmp_path / "made.tsv", pretrained_bert_model=str(tmp_path / "mlm")))
    assert f"what {tmp_path / 'mlm'} expects in their place" in capsys.readouterr().out
    assert not list((tmp_path / "cache" / "transfer_sets").glob("*.parts/*"))


def test_word_vectors_propose_for_words_of_several_pieces(inputs, tmp_path):
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("superbly 1 0\nlovely 0.9 0.1\nawful 0 1\n")
    data = tmp_path / "data"
    data.mkdir()
    for split in ("train", "dev"):
        (data / f"{split}.tsv").write_text("sentence\tlabel\nsuperbly\t1\nawful\t0\n")
    augment(
        augment_options(inputs, tmp_path / "made.tsv", data_dir=str(data), glove_embs=str(vectors), p=1.0, M=1, N=2)
    )
    texts = {line.split("\t")[0] for line in (tmp_path / "made.tsv").read_text().splitlines()[1:]}
    assert "lovely" in texts


# What the student is good for


def test_the_student_is_exported_and_serves(student, inputs, tmp_path):
    export(ExportOptions(model_dir=str(student), output_dir=str(tmp_path / "out"), data_dir=str(inputs / "data")))
    found = Predictor(tmp_path / "out").predict([("a good film",), ("bad",)])
    loaded = models.load(student)
    expected = predict_logits(
        dygraph_forward(loaded.model), loaded.encoder.encode([["a good film", "bad"]]), loaded.encoder.pad_id
    )
    np.testing.assert_allclose([p.logits for p in found], expected, atol=1e-4)


def test_paddlenlp_loads_the_student_as_a_normal_bert(student, inputs):
    modeling = tiny.paddlenlp_bert()
    theirs = modeling.BertForSequenceClassification.from_pretrained(str(student))
    theirs.eval()
    loaded = models.load(student)
    ids = loaded.encoder.encode([["a good film"]])["input_ids"][0].tolist()
    tensors = paddle.to_tensor([ids]), paddle.zeros([1, len(ids)], "int64")
    with paddle.no_grad():
        output = theirs(*tensors)
        output = output[0] if isinstance(output, tuple) else output
    np.testing.assert_allclose(output.numpy().reshape(-1), loaded.model(*tensors).numpy().reshape(-1), atol=1e-4)


def test_the_student_teaches_a_bilstm(student, inputs, tmp_path):
    metrics = distill_lstm(tiny.distill_options(tmp_path / "lstm", inputs / "data", student, max_steps=2))
    assert metrics["parameters"] > 0


def test_the_student_starts_a_once_for_all_network(student, inputs, tmp_path):
    metrics = train_ofa(
        OfaOptions(
            task_name="sst-2", data_dir=str(inputs / "data"), model_name_or_path=str(student), max_seq_length=24,
            output_dir=str(tmp_path / "ofa"), cache_dir=str(tmp_path / "cache"), width_mult_list=(1.0, 0.5),
            max_steps=2, device="cpu",
        )
    )  # fmt: skip
    assert [part["heads"] for part in metrics["sub_networks"]] == [4, 2]


# Bad input


CASES = [
    (TASK, {"teacher_model": "nope"}, "nope: no such model folder"),
    (TASK, {"teacher_model": "<lstm>"}, "--teacher_model .*: expected a BERT, this is a bilstm"),
    (TASK, {"teacher_model": "<pair_teacher>"}, "one of teacher and task reads pairs"),
    (TASK, {"teacher_model": None}, "--teacher_model is required"),
    (TASK, {"student_model": "nope"}, "nope"),
    (TASK, {"hidden_size": "32"}, "--hidden_size 32: larger than the teacher's"),
    (TASK, {"hidden_size": "18"}, "--num_attention_heads 4: must divide --hidden_size 18"),
    (TASK, {"student_model": "<teacher>", "num_hidden_layers": "2"}, "has its shape and weights already"),
    (TASK, {"num_hidden_layers": "9"}, "--num_hidden_layers 9: larger than the teacher's"),
    (TASK, {"layer_map": "0:0,9:1"}, "--layer_map 9:1: the teacher's states go from 0 to 4"),
    (TASK, {"layer_map": "best"}, "--layer_map best: expected uniform, last, every_other, or pairs"),
    (TASK, {"init": "random", "init_layers": "last"}, "--init_layers goes with --init teacher"),
    (TASK, {"num_attention_heads": "2", "attention_weight": "1"}, "teacher and student have 4 and 2 heads"),
    (TASK, {"relations": "minilm", "relation_heads": "7"}, "--relation_heads 7: must divide the teacher's attention"),
    (TASK, {"relation_heads": "2"}, "--relation_heads goes with --relations"),
    (TASK, {"embedding_weight": "0", "hidden_weight": "0", "attention_weight": "0"}, "the layers have no loss"),
    (TASK, {"cache_budget": "much"}, "--cache_budget much: expected a size such as 20GB"),
    (TASK, {"more_teachers": "<pair_teacher>"}, "--more_teachers .*pair_teacher: one of teacher and task reads pairs"),
    (TASK, {"more_teachers": "<bert>"}, "bert: this model was not trained by PaddleDistill"),
    (TASK, {"more_teachers": "nope"}, "nope: no such model folder"),
    (TASK, {"more_teachers": "<lstm>", "teacher_weights": "1"}, "--teacher_weights: expected one per teacher \\(2\\)"),
    (TASK, {"more_teachers": "<lstm>", "teacher_weights": "0 0"}, "--teacher_weights: must not be below 0"),
    (TASK, {"teacher_weights": "2"}, "--teacher_weights goes with --more_teachers"),
    (TASK, {"more_teachers": ("",)}, "expected the name of a model folder, got an empty one"),
    (TASK, {"stage": "intermediate", "more_teachers": "<lstm>"}, "--more_teachers goes with the prediction stage"),
    (TASK, {"stage": "prediction", "intermediate_epochs": "2"}, "--intermediate_epochs goes with --stage both"),
    (TASK, {"stage": "prediction", "layer_map": "last"}, "--layer_map goes with the intermediate stage"),
    (TASK, {"stage": "intermediate", "alpha": "0.5"}, "--alpha goes with the prediction stage"),
    (TASK, {"prediction_loss": "mse", "temperature": "2"}, "--temperature goes with --prediction_loss soft_ce"),
    (TASK, {"M": "3"}, "--M goes with --aug_train"),
    (TASK, {"N": "3"}, "--N goes with --aug_train"),
    (TASK, {"layer_map": "4:2", "embedding_weight": "3"}, "--embedding_weight 3.0: --layer_map 4:2 has no such pair"),
    (TASK, {"layer_map": "0:0", "relations": "minilm"}, "--relations minilm: --layer_map 0:0 has no such pair"),
    (TASK, {"init_layers": "0:0"}, "--init_layers 0:0: names no layer to start from"),
    (TASK, {"cache_dir": "<teacher>/config.json"}, "--cache_dir .*config.json: expected a folder"),
    (TASK, {"aug_train": "", "transfer_set": "x.txt"}, "--aug_train and --transfer_set exclude each other"),
    (TASK, {"aug_train": "", "pretrained_bert_model": "<bert>"}, "--pretrained_bert_model .*: has no masked-LM head"),
    (TASK, {"aug_train": "", "glove_embs": "nope.txt"}, "nope.txt: no such file"),
    (TASK, {"max_seq_length": "65"}, "--max_seq_length 65: .* has 64 positions"),
    (TASK, {"data_dir": "nope"}, "--data_dir nope: no such folder"),
    (GENERAL, {"text": "nope"}, "--text nope: no such file or folder"),
    (GENERAL, {"text": ("",)}, "--text: expected a file or a folder, got an empty name"),
    (GENERAL, {"text": None}, "--text is required"),
    (GENERAL, {"held_out": "1"}, "--held_out 1.0: must be above 0 and below 1"),
    (GENERAL, {"teacher_model": "./nope"}, "nope: no such model folder"),
    (GENERAL, {"language": "zh"}, "--language goes with --split_sentences"),
    (GENERAL, {"max_seq_length": "2"}, "--max_seq_length 2: a BERT needs at least 3"),
    (AUGMENT, {"output_file": "<data>/made.csv"}, "expected a name that ends in .tsv, or the name of a folder"),
    (AUGMENT, {"output_file": "<data>"}, "exists; pass --overwrite or choose another name"),
    (AUGMENT, {"max_seq_length": "5"}, "--max_seq_length: rows are written whole"),
    (AUGMENT, {"glove_embs": "<data>/train.tsv"}, "--glove_embs .*train.tsv, line 1: expected a word and its numbers"),
    (AUGMENT, {"p": "1.5"}, "--p 1.5: must lie between 0 and 1"),
    (AUGMENT, {"N": "0"}, "--N 0: must lie between 1 and 10000"),
    (AUGMENT, {"task_name": None, "data_dir": None}, "give --task_name, or your own data"),
]  # fmt: skip


@pytest.mark.parametrize(("script", "changes", "message"), CASES, ids=[f"{s[9:]}-{m[:40]}" for s, _, m in CASES])
def test_bad_input_is_one_line_and_leaves_nothing(inputs, tmp_path, capsys, script, changes, message):
    made = {
        TASK: lambda: values(inputs, tmp_path / "run"),
        GENERAL: lambda: tiny_values(general_options(inputs, tmp_path / "run")),
        AUGMENT: lambda: tiny_values(augment_options(inputs, tmp_path / "run")),
    }[script]()
    if changes.get("stage"):
        made = {k: v for k, v in made.items() if k not in ("intermediate_epochs", "intermediate_learning_rate")}
    if "student_model" in changes:
        made = {k: v for k, v in made.items() if k not in SMALL}
    for name, value in changes.items():
        if isinstance(value, str) and value.startswith("<"):
            place, _, rest = value[1:].partition(">")
            value = str(inputs / place) + rest
        made[name] = value
    words = []
    for name, value in made.items():
        if value is not None:
            words += [f"--{name}", *(map(str, value) if isinstance(value, tuple) else str(value).split())]
    before = {path.name for path in inputs.iterdir()}
    assert run_script(MAIN[script], words) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert re.search(message, lines[0]), lines[0]
    assert not (tmp_path / "run").exists()
    assert {path.name for path in inputs.iterdir()} - before <= {"cache"}


def tiny_values(options):
    return {name: getattr(options, name) for name in options.given}


def test_published_command_lines_are_read():
    huawei = (
        "--teacher_model t --student_model s --data_dir d --task_name SST-2 --output_dir o --max_seq_length 64 "
        "--train_batch_size 32 --num_train_epochs 10 --aug_train --learning_rate 5e-5 --stage intermediate"
    )
    found = parse(TaskDistillOptions, huawei.split(), "")
    assert (found.batch_size, found.aug_train, found.N) == (32, True, 20)
    paddle_nlp = (
        "--model_type bert --student_model_name_or_path tinybert-6l-768d --teacher_path t --task_name SST-2 --T 2 "
        "--data_dir d --output_dir o --logging_steps 10 --save_steps 10 --stage prediction --num_train_epochs 3"
    )
    found = parse(TaskDistillOptions, paddle_nlp.split(), "")
    assert (found.teacher_model, found.student_model, found.temperature) == ("t", "tinybert-6l-768d", 2.0)
    augmenting = "--pretrained_bert_model bert-base-cased --task_name SST-2 --glove_embs g --N 30 --M 15 --p 0.4"
    found = parse(TinyAugmentOptions, [*augmenting.split(), "--data_dir", "d", "--output_file", "o"], "")
    assert (found.N, found.M, found.p) == (30, 15, 0.4)
    found = parse(
        GeneralDistillOptions, ["--pregenerated_data", "t", "--output_dir", "o", "--train_batch_size", "256"], ""
    )
    assert (found.text, found.batch_size, found.student_model) == (("t",), 256, "tinybert-4l-312d")


# Layers


def test_what_is_compared_is_what_is_asked_of_each_side():
    teacher, student = tiny.bert_config(num_hidden_layers=4), tiny.bert_config(num_hidden_layers=2)
    options = TaskDistillOptions(
        task_name="sst-2", data_dir="d", teacher_model="t", output_dir="o", relations="minilm", **SMALL
    )
    loss = LayerLoss.of(options.replace(num_attention_heads=2), teacher, student)
    assert loss.wanted(0) == {
        "hidden_states": (0, 2, 4), "attention_scores": (1, 3), "queries": (3,), "keys": (3,), "values": (3,)
    }  # fmt: skip
    assert loss.wanted(1) == {
        "hidden_states": (0, 1, 2), "attention_scores": (0, 1), "queries": (1,), "keys": (1,), "values": (1,)
    }  # fmt: skip


def test_projections_are_one_or_one_a_state():
    start = np.arange(6, dtype=np.float32).reshape(2, 3)
    shared, own = Projections(start, (0, 1, 2)), Projections(start, (0, 1, 2), shared=False)
    assert len(shared.parameters()) == 2
    assert len(own.parameters()) == 6
    np.testing.assert_array_equal(own(2, paddle.to_tensor([[1.0, 0.0]])).numpy(), [[0, 1, 2]])


def test_fitted_projections_have_the_smallest_error(tmp_path):
    teacher, student = tiny.bert(num_hidden_layers=2), tiny.bert(seed=3, hidden_size=8, num_hidden_layers=2)
    loss = LayerLoss(((0, 0), (1, 1), (2, 2)))
    texts = [tiny.sentence(random.Random(seed), seed % 2) for seed in range(40)]
    batches = Batches(teacher.encoder.encode([texts]), 8, 0, shuffle=False)
    errors = {}
    for shared in (True, False):
        start = np.random.default_rng(0).normal(0, 0.02, (8, 16))
        projections = Projections(start, (0, 1, 2), shared)
        with TeacherFeatures(teacher, tmp_path, loss.wanted(0)) as features:
            step = LayerStep(student.model, features, loss, projections)
            before = step.mean(batches)
            fitted = step.fit_projections(batches)
            assert sorted(fitted) == [0, 1, 2]
            assert shared == (fitted[0] is fitted[1])
            projections.set(fitted)
            errors[shared] = step.mean(batches)
        assert errors[shared]["hidden"] < 0.9 * before["hidden"]
        assert errors[shared]["attention"] == pytest.approx(before["attention"])
    # One a state fits better than one for all.
    assert errors[False]["hidden"] < errors[True]["hidden"]


def test_what_no_loss_reaches_is_frozen_within_and_trained_again_after():
    model = tiny.bert().model
    head = {"bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight", "classifier.bias"}
    for layers in (2, 1):
        with unreached_frozen(model, layers):
            frozen = {name for name, p in model.named_parameters() if p.stop_gradient}
        assert {name for name in frozen if "encoder.layers" not in name} == head
        assert {name.split(".")[3] for name in frozen - head} == ({"1"} if layers == 1 else set())
    assert not [name for name, p in model.named_parameters() if p.stop_gradient]


def test_a_pad_token_in_a_text_is_masked_on_both_sides(inputs, tmp_path):
    # All rows are of one length: no batch has padding of its own.
    data = tmp_path / "data"
    data.mkdir()
    for split in ("train", "dev"):
        rows = [f"[PAD] {word} film\t{label}" for word, label in (("good", 1), ("bad", 0), ("dull", 0), ("fine", 1))]
        (data / f"{split}.tsv").write_text("\n".join(["sentence\tlabel", *rows, ""]))
    run = task_options(inputs, tmp_path / "run", data_dir=str(data), stage="intermediate", max_steps=1)
    assert distill(run)["layers"]["attention"] < 100


def test_another_budget_is_another_run(inputs, tmp_path):
    options = task_options(inputs, tmp_path / "run", stage="intermediate", max_steps=1)
    distill(options)
    with pytest.raises(InputError, match="cache_budget"):
        distill(options.replace(cache_budget="1GB", resume=True))


def test_rows_are_learnt_from_once(inputs, tmp_path):
    more = tmp_path / "more.txt"
    more.write_text("a lovely scene\nthe plot is poor\nmusic and story\n")
    run = task_options(
        inputs, tmp_path / "run", stage="prediction", aug_train=True, N=1, p=0.0, unlabeled_file=(str(more),)
    )
    metrics = distill(run)
    texts = (inputs / "data" / "train.tsv").read_text().splitlines()[1:]
    assert metrics["learning_rows"] == len(texts) + 3


def test_numbers_refuse_what_is_for_labels(inputs, tmp_path):
    numbers = tmp_path / "numbers.tsv"
    numbers.write_text("text\tlabel\na good film\t1.5\na bad film\t0.5\n")
    own = {"train_file": str(numbers), "dev_file": str(numbers), "text_columns": ("text",), "metric": NUMBERS}
    own |= {"task_name": None, "data_dir": None}
    finetune(tiny.finetune_options(tmp_path / "teacher", inputs / "data", inputs / "bert", max_steps=1, **own))
    run = task_options(inputs, tmp_path / "run", teacher_model=str(tmp_path / "teacher"), temperature=4.0, **own)
    with pytest.raises(InputError, match=r"--temperature 4.0: .* predicts a number"):
        distill(run)
    assert not (tmp_path / "run").exists()


def test_going_on_over_another_text_is_refused(inputs, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("\n".join(["a good film"] * 40) + "\n")
    options = general_options(inputs, tmp_path / "run", text=(str(text),), split_sentences=True)
    distill_on_text(options)
    (tmp_path / "run" / "metrics.json").unlink()
    text.write_text("\n".join(["a bad film"] * 40) + "\n")
    with pytest.raises(InputError, match="this run began with another text"):
        distill_on_text(options.replace(resume=True))


def test_texts_without_a_word_are_left_out_of_copies(inputs, tmp_path, capsys):
    data = tmp_path / "data"
    data.mkdir()
    for split in ("train", "dev"):
        (data / f"{split}.tsv").write_text("sentence\tlabel\ngood film\t1\n\u200b\t0\nbad film\t0\n")
    augment(augment_options(inputs, tmp_path / "made.tsv", data_dir=str(data)))
    assert "1 row(s) without a word are left out" in capsys.readouterr().out
    assert all(line.split("\t")[0] for line in (tmp_path / "made.tsv").read_text().splitlines())
    distill(task_options(inputs, tmp_path / "run", transfer_set=str(tmp_path / "made.tsv"), max_steps=1))


def test_a_foreign_transfer_set_in_the_cache_is_made_again(inputs, tmp_path, capsys):
    augment(augment_options(inputs, tmp_path / "a.tsv"))
    (folder,) = [p for p in (tmp_path / "cache" / "transfer_sets").iterdir() if "." not in p.name]
    augment(augment_options(inputs, tmp_path / "p.tsv", task_name="qqp", data_dir=str(inputs / "pairs")))
    (other,) = [p for p in (tmp_path / "cache" / "transfer_sets").iterdir() if "." not in p.name and p != folder]
    for name in [path.name for path in folder.iterdir()]:
        (folder / name).unlink()
    for path in other.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    augment(augment_options(inputs, tmp_path / "b.tsv"))
    assert "is another one and is made again" in capsys.readouterr().out
    assert (tmp_path / "a.tsv").read_bytes() == (tmp_path / "b.tsv").read_bytes()


def test_more_candidates_than_there_are_pieces_are_all_of_them(inputs, tmp_path):
    tiny.write_model(tmp_path / "mlm", masked_lm(**TEACHER))
    made = augment_options(inputs, tmp_path / "made.tsv", pretrained_bert_model=str(tmp_path / "mlm"), M=1000, N=1)
    assert augment(made) > 60


def test_a_training_that_diverges_is_one_line(inputs, tmp_path):
    options = task_options(
        inputs, tmp_path / "run", stage="intermediate", num_train_epochs=30, learning_rate=1e30, max_grad_norm=0.0
    )
    with pytest.raises((Diverged, InputError)):
        distill(options)

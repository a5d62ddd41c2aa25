"""Tiny trainings: what they write, that they learn, and what the loop's options do."""

from __future__ import annotations

import json
import shutil
import sys
import types

import numpy as np
import pytest
import tiny

from console import InputError
from core import arithmetic
from core import train as loops
from core.checkpoint import keep_weights
from core.evaluate import dygraph_forward, evaluate_model, predict_logits
from core.losses import hard_label_loss
from core.metrics import Selection, agreement
from core.predictions import write_predictions
from core.sweep import sweep
from core.train import Loop, LoopSettings, averaged
from data.batches import Batches
from data.sources import Rows, load_task_data
from data.tasks import get_task
from deploy.exporter import export
from deploy.options import ExportOptions
from deploy.predictor import Predictor
from distill_lstm.student import named_embeddings
from distill_lstm.train import distill, train_small
from finetune import train as training
from finetune.train import finetune
from models import folder as model_folder
from models.weights import layer_weights, read_safetensors, write_safetensors

MODEL_FILES = {"config.json", "model.safetensors", "tokenizer_config.json", "vocab.txt"}
RUN_FILES = {"metrics.json", "metrics.jsonl", "training_args.json", "visualdl"}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A data folder, a pre-trained BERT and a fine-tuned teacher with weights that were never trained."""
    root = tmp_path_factory.mktemp("inputs")
    tiny.write_single(root / "data")
    tiny.write_pairs(root / "pairs")
    tiny.write_chinese(root / "chinese")
    tiny.write_pretrained(root / "bert", initializer_range=0.1)
    tiny.write_model(root / "teacher")
    return root


@pytest.fixture
def small(inputs, tmp_path):
    """Trains on labels alone."""

    def train(name="small", data="data", **changes):
        folder = tmp_path / name
        options = tiny.small_options(folder, inputs / data, inputs / "bert" / "vocab.txt", **changes)
        return folder, train_small(options)

    return train


@pytest.fixture
def distilled(inputs, tmp_path):
    """Distils."""

    def train(name="distilled", data="data", teacher=None, **changes):
        folder = tmp_path / name
        options = tiny.distill_options(folder, inputs / data, teacher or inputs / "teacher", **changes)
        return folder, distill(options)

    return train


def losses(folder):
    return [row["loss"] for row in tiny.log_rows(folder) if row["part"] == "train"]


def check_run(folder, metrics, data_dir):
    """What every finished run must have left."""
    assert {path.name for path in folder.iterdir()} == MODEL_FILES | RUN_FILES
    assert json.loads((folder / "metrics.json").read_text(encoding="utf-8")) == metrics
    assert any((folder / "visualdl").iterdir())
    loaded = model_folder.load(folder)
    data = load_task_data(loaded.task, str(data_dir))
    assert evaluate_model(loaded, data.dev) == metrics["dev"]
    assert metrics["dev_rows"] == len(data.dev) == 20
    assert metrics["parameters"] == loaded.parameters


def test_finetuning_writes_a_model_folder_that_has_learned(inputs, tmp_path):
    options = tiny.finetune_options(tmp_path / "teacher", inputs / "data", inputs / "bert", num_train_epochs=15)
    metrics = finetune(options)
    check_run(tmp_path / "teacher", metrics, inputs / "data")
    before, after = (read_safetensors(path / "model.safetensors") for path in (inputs / "bert", tmp_path / "teacher"))
    assert all(not np.array_equal(value, after[name]) for name, value in before.items())
    found = losses(tmp_path / "teacher")
    assert np.mean(found[-4:]) < 0.5 * np.mean(found[:4])
    assert metrics["dev"]["accuracy"] >= 0.8
    assert metrics["training"]["steps"] == 15 * 4  # 60 rows in batches of 16
    assert metrics["training"]["rows"] == 15 * 60


def test_a_sweep_trains_every_cell_once_and_shows_the_best(inputs, tmp_path, capsys):
    def run(**changes):
        options = tiny.finetune_options(tmp_path / "grid", inputs / "data", inputs / "bert", max_steps=2, **changes)
        return sweep(options, finetune)

    grid = {"sweep": ("learning_rate=1e-2,1e-9", "batch_size=16,30"), "seeds": 2, "seed": 5}
    record = run(**grid)
    folders = {path.name for path in (tmp_path / "grid").iterdir()} - {"sweep.json"}
    assert len(folders) == 8 and "learning_rate=1e-09-batch_size=30-seed=6" in folders
    assert json.loads((tmp_path / "grid" / "sweep.json").read_text(encoding="utf-8")) == record
    for cell in record["cells"]:
        assert cell["mean"] == pytest.approx(np.mean(cell["scores"]))
        assert cell["standard_deviation"] == pytest.approx(np.std(cell["scores"], ddof=1))
    assert max(cell["mean"] for cell in record["cells"]) == next(
        cell["mean"] for cell in record["cells"] if cell["options"] == record["best"]
    )
    assert "best" in capsys.readouterr().out
    with pytest.raises(InputError, match="is not empty; pass --resume to go on, --overwrite to replace it"):
        run(**grid)
    shutil.rmtree(tmp_path / "grid" / "learning_rate=1e-09-batch_size=30-seed=6")
    times = {path.name: (path / "metrics.json").stat().st_mtime_ns for path in (tmp_path / "grid").glob("*seed*")}
    again = run(**grid, resume=True)
    assert again == record
    after = {path.name: (path / "metrics.json").stat().st_mtime_ns for path in (tmp_path / "grid").glob("*seed*")}
    assert {name for name in after if times.get(name) != after[name]} == {"learning_rate=1e-09-batch_size=30-seed=6"}


def test_students_are_swept_over_too_and_the_best_ones_predictions_are_named(inputs, tmp_path, capsys):
    test = tmp_path / "test.tsv"
    test.write_text("index\tsentence\n0\ta fine film\n1\tdull\n", encoding="utf-8")
    options = tiny.small_options(
        tmp_path / "grid",
        inputs / "data",
        inputs / "bert" / "vocab.txt",
        sweep="lr=1e-2,1e-7",
        do_predict=True,
        test_file=str(test),
    )
    record = sweep(options.replace(max_epoch=1), train_small)
    best = tmp_path / "grid" / record["best_run"]
    assert json.loads((best / "metrics.json").read_text())["dev"]["accuracy"] == max(c["mean"] for c in record["cells"])
    assert f"its predictions: {best / 'predictions'}" in capsys.readouterr().out
    assert len(list((best / "predictions").iterdir())) >= 1


def test_training_on_labels_writes_a_model_folder_that_has_learned(inputs, small):
    folder, metrics = small(max_epoch=15)
    check_run(folder, metrics, inputs / "data")
    found = losses(folder)
    assert np.mean(found[-4:]) < 0.5 * np.mean(found[:4])
    assert metrics["dev"]["accuracy"] >= 0.8


def test_distillation_writes_a_model_folder_and_comes_closer_to_the_teacher(inputs, distilled):
    folder, metrics = distilled(max_epoch=15)
    check_run(folder, metrics, inputs / "data")
    found = losses(folder)
    assert np.mean(found[-4:]) < 0.5 * np.mean(found[:4])
    # 60 rows and at most two new copies of each.
    assert 60 < metrics["transfer_rows"] <= 180
    assert metrics["teacher"]["computed_rows"] > 0


def test_the_second_distillation_takes_transfer_set_and_teacher_outputs_from_the_cache(distilled, capsys):
    distilled("first", max_epoch=1)
    _, metrics = distilled("second", max_epoch=1, lr=0.02)
    assert metrics["teacher"]["computed_rows"] == 0
    assert "found in the cache" in capsys.readouterr().out


def test_training_args_hold_every_option(small):
    folder, _ = small(max_epoch=1, seed=7)
    record = json.loads((folder / "training_args.json").read_text(encoding="utf-8"))
    assert record["script"] == "distill_lstm.small"
    assert record["options"]["seed"] == record["state"]["seed"] == 7
    assert record["options"]["output_dir"] == str(folder)
    assert "output_dir" not in record["state"]


def test_same_seed_same_bytes_and_other_seed_other_bytes(small):
    models = [
        (small(name, max_epoch=1, seed=seed)[0] / "model.safetensors").read_bytes()
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert models[0] == models[1]
    assert models[0] != models[2]


def test_workers_change_nothing_in_the_result(small):
    models = [
        (small(f"w{workers}", max_epoch=1, num_workers=workers)[0] / "model.safetensors").read_bytes()
        for workers in (0, 1, 3)
    ]
    assert models[0] == models[1] == models[2]


def test_the_log_holds_the_rate_each_step_used(small):
    folder, _ = small(lr=0.08, lr_scheduler="linear", warmup_steps=2, max_epoch=2)
    rates = [row["lr"] for row in tiny.log_rows(folder) if row["part"] == "train"]
    # Half and full warm-up, then 8 - 2 = 6 steps of the way down: 6/6, 5/6, 4/6 … of 0.08.
    assert rates == pytest.approx([0.04, 0.08, 0.08, 0.066667, 0.053333, 0.04, 0.026667, 0.013333], abs=1e-6)


def test_a_line_of_the_log_is_the_mean_of_its_steps(small):
    every, _ = small("every", max_epoch=1)
    second, _ = small("second", max_epoch=1, logging_steps=2)
    found = losses(every)
    assert losses(second) == pytest.approx([(found[0] + found[1]) / 2, (found[2] + found[3]) / 2], rel=1e-6)


def test_evaluations_come_after_every_epoch_or_every_eval_steps(small):
    def evaluated(folder):
        return [row["step"] for row in tiny.log_rows(folder) if row["part"] == "evaluation"]

    assert evaluated(small("epochs")[0]) == [4, 8]
    assert evaluated(small("steps", eval_steps=3)[0]) == [3, 6, 8]


def test_averaged_is_the_mean_by_hand(tmp_path):
    values = ([1.0, 2.0], [2.0, 4.0], [6.0, 0.0])
    names = [keep_weights(tmp_path, f"s{n}", {"w": np.float32(value)}) for n, value in enumerate(values)]
    # (1 + 2 + 6) / 3 and (2 + 4 + 0) / 3
    assert averaged(tmp_path, names)["w"].tolist() == [3.0, 2.0]


def check_weights(folder, data_dir, expected):
    """The model folder holds ``expected``, whose embedding has the rows that occur in the data and no others."""
    loaded, ids = model_folder.load(folder), [0]
    data = load_task_data(loaded.task, str(data_dir))
    for rows in (data.train, data.dev):
        ids = np.union1d(ids, loaded.encoder.encode(rows.texts)["input_ids"].values)
    # Behind them is the row that only decays, which no decay has touched.
    *_, last = expected["embedding.weight"]
    assert (last == 1).all()
    expected = {**expected, "embedding.weight": expected["embedding.weight"][:-1]}
    for name, value in read_safetensors(folder / "model.safetensors").items():
        value = value[ids] if name == "embedding.weight" else value
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


def test_average_checkpoints_writes_the_mean_of_the_last_evaluations(inputs, small, monkeypatch):
    monkeypatch.setattr("core.run.remove_checkpoints", lambda folder: None)
    # A rate this small changes no prediction: the average is as good as the best, and is taken.
    folder, metrics = small(average_checkpoints=2, max_epoch=3, lr=1e-6)
    assert metrics["training"]["chosen"] == "average of the last 2"
    kept = sorted(path.name for path in (folder / "kept").glob("snapshot-*"))
    assert kept == ["snapshot-12.safetensors", "snapshot-8.safetensors"]
    first, second = (read_safetensors(folder / "kept" / name) for name in kept)
    means = {name: ((first[name].astype(np.float64) + second[name]) / 2).astype(np.float32) for name in first}
    check_weights(folder, inputs / "data", means)


def test_without_averaging_the_best_evaluation_is_written(inputs, small, monkeypatch):
    monkeypatch.setattr("core.run.remove_checkpoints", lambda folder: None)
    folder, metrics = small(max_epoch=6)
    scores = {row["step"]: row["accuracy"] for row in tiny.log_rows(folder) if row["part"] == "evaluation"}
    best = next(step for step, score in scores.items() if score == max(scores.values()))
    assert metrics["training"]["chosen"] == f"best, at step {best}"
    assert metrics["dev"]["accuracy"] == scores[best]
    check_weights(folder, inputs / "data", read_safetensors(folder / "kept" / f"best-{best}.safetensors"))


def test_early_stopping_ends_after_evaluations_without_a_gain(small):
    _, metrics = small(early_stopping=2, max_epoch=10, lr=1e-6)
    # The first evaluation is the best, the second and the third bring nothing: three epochs of four steps.
    assert metrics["training"]["steps"] == 12
    assert metrics["training"]["chosen"] == "best, at step 4"


def test_max_steps_ends_within_an_epoch_and_evaluates(small):
    folder, metrics = small(max_steps=3)
    assert metrics["training"]["steps"] == 3
    assert [row["step"] for row in tiny.log_rows(folder) if row["part"] == "evaluation"] == [3]


def test_max_steps_beyond_the_epochs_changes_nothing(small):
    assert small(max_steps=100)[1]["training"]["steps"] == 8


def accumulated(folder, batch_size, steps):
    """The weights after two epochs of Adam over 64 rows, in plain batches."""
    loaded = tiny.bilstm(dropout_prob=0.0)
    rng = np.random.default_rng(0)
    texts = [[" ".join(rng.choice(tiny.NEUTRAL, 5)) for _ in range(64)]]
    columns = {**loaded.encoder.encode(texts), "labels": rng.integers(0, 2, 64)}

    def step(batch):
        import paddle

        return {"loss": hard_label_loss(loaded.model.from_batch(batch), paddle.to_tensor(batch["labels"]))}

    settings = LoopSettings(
        epochs=2,
        learning_rate=1e-3,
        optimizer="adam",
        select_by=Selection("accuracy"),
        gradient_accumulation_steps=steps,
    )
    batches = Batches(columns, batch_size, loaded.encoder.pad_id, by_length=False)
    loop = Loop(folder, loaded.model, step, batches, lambda: {"accuracy": 0.0}, settings)
    loop.run()
    # The model itself holds the best weights, those of the first evaluation; these are the last.
    return read_safetensors(folder / "checkpoint" / "model.safetensors"), loop.state.step


def test_two_batches_of_eight_are_one_of_sixteen(tmp_path):
    halves, steps_of_halves = accumulated(tmp_path / "halves", 8, 2)
    whole, steps_of_whole = accumulated(tmp_path / "whole", 16, 1)
    assert steps_of_halves == steps_of_whole == 8
    for name, value in whole.items():
        np.testing.assert_allclose(halves[name], value, atol=1e-6, err_msg=name)


def test_fp16_needs_a_gpu_and_leaves_no_folder(small, tmp_path):
    with pytest.raises(InputError, match="--precision fp16 needs a GPU"):
        small(precision="fp16")
    assert not (tmp_path / "small").exists()


def test_bf16_needs_a_processor_that_has_it_and_leaves_no_folder(small, tmp_path, monkeypatch):
    monkeypatch.setattr(arithmetic, "read_cpuinfo", lambda: "model name : Old Processor\nflags : avx2")
    with pytest.raises(InputError, match=r"--precision bf16: this processor \(Old Processor\) has neither AMX nor"):
        small(precision="bf16")
    assert not (tmp_path / "small").exists()


@tiny.needs_bf16
@pytest.mark.parametrize("kind", ["bert", "bilstm"])
def test_products_of_a_training_are_in_bf16_and_its_weights_are_not(inputs, tmp_path, small, monkeypatch, kind):
    monkeypatch.setattr(arithmetic, "read_cpuinfo", lambda: "flags : avx512_bf16")
    found = {}
    for precision in ("fp32", "bf16"):
        if kind == "bilstm":
            folder, _ = small(precision, precision=precision, max_epoch=2)
        else:
            folder = tmp_path / precision
            options = tiny.finetune_options(folder, inputs / "data", inputs / "bert", precision=precision)
            finetune(options)
        found[precision] = read_safetensors(folder / "model.safetensors"), losses(folder)
    (exact, first), (near, second) = found.values()
    moved = 0
    for name, value in exact.items():
        assert near[name].dtype == np.float32
        moved += not np.array_equal(value, near[name])
        np.testing.assert_allclose(near[name], value, atol=0.1, err_msg=name)
    assert moved > len(exact) / 2
    np.testing.assert_allclose(second, first, atol=0.05)
    assert second != first


@tiny.needs_bf16
def test_a_training_in_bf16_that_was_stopped_ends_with_the_same_bits(inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(arithmetic, "read_cpuinfo", lambda: "flags : avx512_bf16")

    def options(name, **more):
        values = {"precision": "bf16", "num_train_epochs": 2, "save_steps": 2, **more}
        return tiny.finetune_options(tmp_path / name, inputs / "data", inputs / "bert", **values)

    finetune(options("whole"))
    stopped, save = options("stopped"), loops.save_checkpoint

    def interrupted(*arguments, **more):
        save(*arguments, **more)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loops, "save_checkpoint", interrupted)
        finetune(stopped)
    finetune(stopped.replace(resume=True))
    whole, resumed = (read_safetensors(tmp_path / name / "model.safetensors") for name in ("whole", "stopped"))
    for name, value in whole.items():
        np.testing.assert_array_equal(resumed[name], value, err_msg=name)


def test_holdout_chooses_on_rows_of_train(small):
    _, metrics = small(holdout=0.25, max_epoch=1)
    assert metrics["selected_on"] == "held-out training rows"
    # 60 rows, equal texts on one side: about 15 are held out.
    assert 12 <= metrics["selection_rows"] <= 18
    assert metrics["train_rows"] + metrics["selection_rows"] == 60


def test_pairs_are_distilled(inputs, tmp_path, distilled):
    teacher = tiny.write_model(tmp_path / "teacher", tiny.bert(tiny.PAIR))
    folder, metrics = distilled("pairs", "pairs", teacher, task_name="qqp", pair_features="product", pooling="max")
    check_run(folder, metrics, inputs / "pairs")
    assert set(metrics["dev"]) == {"accuracy", "f1"}
    config = model_folder.load(folder).model.config
    assert (config.pair_features, config.pooling) == ("product", "max")


@pytest.mark.parametrize("pair_alignment", [False, True])
def test_pairs_are_learned_from_labels(inputs, small, pair_alignment):
    folder, metrics = small(data="pairs", task_name="qqp", max_epoch=15, pair_alignment=pair_alignment)
    assert model_folder.load(folder).model.config.pair_alignment == pair_alignment
    check_run(folder, metrics, inputs / "pairs")
    found = losses(folder)
    assert np.mean(found[-4:]) < np.mean(found[:4])


def test_numbers_are_predicted_from_the_teacher_to_the_export(inputs, distilled, tmp_path):
    folder = tmp_path / "scores"
    folder.mkdir()
    for split in ("train", "dev"):
        rows = [
            f"{topic}\tsing or {other}\t{5.0 * (topic == other)}" for topic in tiny.TOPICS for other in tiny.TOPICS[:4]
        ]
        (folder / f"{split}.tsv").write_text("\n".join(["sentence1\tsentence2\tscore", *rows, ""]), encoding="utf-8")
    task = {"task_name": "sts-b", "data_dir": str(folder)}
    options = tiny.finetune_options(tmp_path / "teacher", folder, inputs / "bert", **task, num_train_epochs=30)
    metrics = finetune(options)
    assert metrics["dev"]["pearson"] > 0.2
    assert set(metrics["dev"]) == {"pearson", "spearman"}
    assert metrics["training"]["score"] == metrics["dev"]["pearson"]
    student, metrics = distilled("student", teacher=tmp_path / "teacher", **task, alpha=0.5, n_iter=1)
    assert {"loss", "hard", "soft"} <= set(tiny.log_rows(student)[0])
    assert np.isfinite(losses(student)).all()
    for name in ("teacher", "student"):
        export(ExportOptions(model_dir=str(tmp_path / name), output_dir=str(tmp_path / f"{name}-exported")))
        made = Predictor(tmp_path / f"{name}-exported").predict([("sing", "sing or cook")])[0]
        assert set(made.as_dict(["sentence1", "sentence2"])) == {"sentence1", "sentence2", "score"}
    with pytest.raises(InputError, match="--distill_loss soft_ce: sts-b predicts a number"):
        distilled("soft", teacher=tmp_path / "teacher", **task, distill_loss="soft_ce")


def test_own_files_with_three_labels(small, tmp_path):
    rows = [
        f'"a {word}, very {word} film",{mood}' for word, mood in (("good", "yes"), ("dull", "no"), ("a", "perhaps"))
    ]
    (tmp_path / "train.csv").write_text("\n".join(["text,mood", *rows * 10, ""]), encoding="utf-8")
    (tmp_path / "dev.csv").write_text("\n".join(["text,mood", *rows, ""]), encoding="utf-8")
    files = {"train_file": str(tmp_path / "train.csv"), "dev_file": str(tmp_path / "dev.csv")}
    own = {"text_columns": ("text",), "label_column": "mood", "metric": "accuracy"}
    folder, metrics = small(task_name=None, data_dir=None, max_epoch=20, **files, **own)
    assert model_folder.load(folder).task.labels == ("no", "perhaps", "yes")
    assert (metrics["train_rows"], metrics["dev_rows"]) == (30, 3)
    assert metrics["dev"] == {"accuracy": 1.0}


def test_chinese_students_read_words(inputs, tmp_path, distilled):
    teacher = tiny.write_model(tmp_path / "teacher", tiny.bert(get_task("chnsenticorp"), max_seq_length=48))
    folder, metrics = distilled("zh", "chinese", teacher, task_name="chnsenticorp")
    check_run(folder, metrics, inputs / "chinese")
    student = model_folder.load(folder)
    assert student.tokenizer.kind == "jieba"
    assert any(len(word) > 1 for word in student.tokenizer.vocab[3:])


def test_a_chinese_vocabulary_keeps_to_its_size(inputs, small):
    folder, _ = small(data="chinese", task_name="chnsenticorp", vocab_path=None, vocab_size=40, max_epoch=1)
    assert model_folder.load(folder).model.config.vocab_size == 40


def test_a_dictionary_may_hold_a_word_twice(inputs, small, tmp_path):
    (tmp_path / "words.txt").write_text("\ufeff房间\n服务\n房间\n银河系\n", encoding="utf-8")
    given = {"task_name": "chnsenticorp", "vocab_path": str(tmp_path / "words.txt"), "max_epoch": 1}
    folder, _ = small(data="chinese", **given)
    assert sorted(model_folder.load(folder).tokenizer.vocab[3:]) == ["房间", "服务"]


def test_downloaded_vectors_leave_special_tokens_as_the_seed_drew_them(monkeypatch):
    class Vectors:
        embedding_dim = 8

        def __init__(self, embedding_name):
            self.vocab = {"[UNK]": 0, "[PAD]": 1, "film": 2}

        def search(self, words):
            return np.full((len(words), 8), 7.0, np.float32)

    module = types.ModuleType("paddlenlp.embeddings")
    module.TokenEmbedding = Vectors
    monkeypatch.setitem(sys.modules, "paddlenlp", types.ModuleType("paddlenlp"))
    monkeypatch.setitem(sys.modules, "paddlenlp.embeddings", module)
    loaded = tiny.bilstm()
    before = loaded.model.embedding.weight.numpy().copy()
    rows = named_embeddings("any", loaded)
    changed = [loaded.tokenizer.vocab[i] for i in np.flatnonzero((rows != before).any(axis=1))]
    assert changed == ["film"] and (rows[loaded.tokenizer.token_id("film")] == 7).all()


def test_distillation_from_a_text_file(distilled, tmp_path):
    rows = tmp_path / "rows.txt"
    rows.write_text("a good film\nthe plot was dull\n\nthe cast is fine\n", encoding="utf-8")
    _, metrics = distilled(transfer_set=str(rows), max_epoch=1)
    assert metrics["transfer_rows"] == 3


@pytest.mark.parametrize(
    ("task", "data", "content", "name", "first"),
    [
        ("sst-2", "data", "index\tsentence\n0\ta good film\n1\ta dull one\n", "SST-2.tsv", "index\tprediction"),
        ("qqp", "pairs", "id\tquestion1\tquestion2\n0\thow to swim\thow to cook\n", "QQP.tsv", "index\tprediction"),
        ("tnews", "chinese", "text_a\n房间干净\n书的内容\n", "tnews11_predict.json", '{"id": 0, "label": "'),
        ("chnsenticorp", "chinese", "text_a\n房间干净\n", "chnsenticorp.tsv", "index\tprediction"),
    ],
)
def test_test_rows_are_labelled_as_the_benchmarks_want_them(inputs, small, tmp_path, task, data, content, name, first):
    (tmp_path / "test.tsv").write_text(content, encoding="utf-8")
    chinese = {"vocab_path": None} if data == "chinese" else {}
    given = {"task_name": task, "do_predict": True, "test_file": str(tmp_path / "test.tsv")}
    folder, _ = small(data=data, max_epoch=1, **given, **chinese)
    assert [path.name for path in (folder / "predictions").iterdir()] == [name]
    lines = (folder / "predictions" / name).read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith(first)
    rows = len(content.splitlines()) - 1
    assert len(lines) == rows + (name.endswith(".tsv"))
    labels = model_folder.load(folder).task.labels
    before = (folder / "predictions" / name).read_bytes()
    shutil.rmtree(folder / "predictions")
    small(data=data, max_epoch=1, **given, **chinese, resume=True)
    assert (folder / "predictions" / name).read_bytes() == before
    found = [json.loads(line)["label"] if name.endswith("json") else line.split("\t")[1] for line in lines[-rows:]]
    assert set(found) <= set(labels)


@pytest.mark.parametrize(
    ("content", "message"),
    [("index\tsentence\n", "no rows to label"), ("index\tsentence\n0\t\n", "line 2: the text in column 'sentence' is")],
)
def test_a_test_file_that_cannot_be_labelled_stops_before_any_work(small, tmp_path, content, message):
    (tmp_path / "test.tsv").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        small(do_predict=True, test_file=str(tmp_path / "test.tsv"), skip_bad_rows=True)
    assert not (tmp_path / "small").exists()


def test_a_student_starts_from_word_vectors(small, tmp_path, capsys):
    words = {"good": 0.5, "film": -0.25, "unseen": 9.0}
    lines = [f"{word} {' '.join([str(value)] * 8)}" for word, value in words.items()]
    (tmp_path / "v.vec").write_text("\n".join(["3 8", *lines, ""]), encoding="utf-8")
    folder, _ = small(embedding_path=str(tmp_path / "v.vec"), lr=1e-9, max_epoch=1)
    loaded = model_folder.load(folder)
    rows = loaded.model.embedding.weight.numpy()[[loaded.tokenizer.token_id("good"), loaded.tokenizer.token_id("film")]]
    np.testing.assert_allclose(rows, [[0.5] * 8, [-0.25] * 8], atol=1e-6)
    assert f"covers {2 / len(tiny.VOCAB):.0%} of the vocabulary" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"vectors of width 8 for 2 of the vocabulary; --embedding_size is 6"):
        small(embedding_path=str(tmp_path / "v.vec"), embedding_size=6, overwrite=True)


def test_several_teachers_teach_by_their_weighted_mean(inputs, distilled, tmp_path):
    teachers = (str(inputs / "teacher"), str(tiny.write_model(tmp_path / "other", tiny.bert(seed=9))))
    folder, metrics = distilled("mean", teacher_dir=teachers, max_epoch=1)
    alone, _ = distilled("first", teacher_dir=teachers, teacher_weights=(2.0, 0.0), max_epoch=1)
    single, _ = distilled("single", teacher_dir=teachers[:1], max_epoch=1)
    assert metrics["teacher"]["computed_rows"] > metrics["transfer_rows"]
    first, same, mean = (read_safetensors(path / "model.safetensors") for path in (alone, single, folder))
    assert all(np.array_equal(value, same[name]) for name, value in first.items())
    assert any(not np.array_equal(value, mean[name]) for name, value in first.items())


def test_the_teacher_is_compared_with_on_dev(inputs, distilled):
    folder, metrics = distilled(max_epoch=15)
    student, teacher = model_folder.load(folder), model_folder.load(inputs / "teacher")
    data = load_task_data(student.task, str(inputs / "data"))
    answers = [
        predict_logits(dygraph_forward(m.model), m.encoder.encode(data.dev.texts), m.encoder.pad_id)
        for m in (student, teacher)
    ]
    assert metrics["dev_with_teacher"] == pytest.approx(agreement(*answers), abs=1e-5)


def test_rows_without_labels_join_the_transfer_set(distilled, tmp_path):
    (tmp_path / "a.txt").write_text("a good film. The plot was dull!\n\nthe cast is fine\n", encoding="utf-8")
    (tmp_path / "b.tsv").write_text("id\tsentence\n1\tthe very end of it\n", encoding="utf-8")
    files = (str(tmp_path / "a.txt"), str(tmp_path / "b.tsv"))
    _, metrics = distilled("whole", unlabeled_file=files, n_iter=0, max_epoch=1)
    assert metrics["transfer_rows"] == 60 + 3
    folder, metrics = distilled("cut", unlabeled_file=files, split_sentences=True, n_iter=0, max_epoch=1, alpha=0.5)
    assert metrics["transfer_rows"] == 60 + 4
    assert np.isfinite(losses(folder)).all()


def test_pairs_without_labels_come_from_tables_and_plain_text(inputs, distilled, tmp_path):
    teacher = tiny.write_model(tmp_path / "teacher", tiny.bert(tiny.PAIR))
    (tmp_path / "more.tsv").write_text("question1\tquestion2\nhow to swim\thow to cook\n", encoding="utf-8")
    (tmp_path / "more.txt").write_text("how to cook\thow to swim\n\nwho is it\twhy\nonly one\n", encoding="utf-8")
    more = (str(tmp_path / "more.tsv"), str(tmp_path / "more.txt"))
    given = {"task_name": "qqp", "unlabeled_file": more, "n_iter": 0, "max_epoch": 1}
    _, metrics = distilled("pairs", "pairs", teacher, skip_bad_rows=True, **given)
    assert (metrics["transfer_rows"], metrics["skipped_unlabeled_rows"]) == (60 + 3, 2)
    with pytest.raises(InputError, match="more.txt, line 2: the line is empty; mend the row or pass --skip_bad_rows"):
        distilled("refused", "pairs", teacher, **given)


def test_labels_of_tnews_are_written_as_codes(tmp_path):
    task = get_task("tnews").with_labels(["news_edu", "news_story"])
    loaded = tiny.bilstm(task)
    rows = Rows((["a good film", "a dull one"],), None)
    write_predictions(tmp_path, loaded, {"test": rows})
    lines = (tmp_path / "predictions" / "tnews11_predict.json").read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["label"] for line in lines} <= {"108", "100"}


def test_a_vocabulary_of_another_language_is_noticed(inputs, tmp_path, capsys, monkeypatch):
    # Of two thirds it would be refused.
    monkeypatch.setattr(training, "MOST_UNKNOWN", 0.9)
    finetune(tiny.finetune_options(tmp_path / "o", inputs / "data", inputs / "bert", max_steps=1))
    assert "[UNK]" not in capsys.readouterr().out
    given = {"task_name": "chnsenticorp", "max_steps": 1}
    finetune(tiny.finetune_options(tmp_path / "p", inputs / "chinese", inputs / "bert", **given))
    assert (
        "of the training tokens are [UNK]; is this model's vocabulary of another language?" in capsys.readouterr().out
    )


def test_distillation_from_a_table_with_labels(distilled, tmp_path):
    rows = tmp_path / "rows.tsv"
    rows.write_text("sentence\tlabel\na good film\t1\nthe plot was dull\t0\n", encoding="utf-8")
    folder, metrics = distilled(transfer_set=str(rows), max_epoch=1, alpha=0.5)
    assert metrics["transfer_rows"] == 2
    (row,) = [row for row in tiny.log_rows(folder) if row["part"] == "train"]
    assert row["loss"] == pytest.approx(0.5 * row["hard"] + 0.5 * row["soft"], rel=1e-5)
    assert row["hard"] > 0


def test_a_row_without_a_label_gives_the_labels_no_loss(distilled, tmp_path):
    rows = tmp_path / "rows.txt"
    rows.write_text("a good film\n", encoding="utf-8")
    folder, _ = distilled(transfer_set=str(rows), max_epoch=1, alpha=0.5)
    assert [row["hard"] for row in tiny.log_rows(folder) if row["part"] == "train"] == [0.0]


def test_soft_cross_entropy_trains_with_a_temperature(distilled):
    folder, _ = distilled(distill_loss="soft_ce", temperature=2.0, max_epoch=15)
    found = losses(folder)
    assert np.mean(found[-4:]) < np.mean(found[:4])


def test_the_student_starts_from_the_embeddings_of_its_teacher(inputs, small):
    folder, _ = small(embedding_init="teacher", teacher_dir=str(inputs / "teacher"), vocab_path=None, lr=1e-9)
    rows = read_safetensors(folder / "model.safetensors")["embedding.weight"]
    # Scaled to 0.3; the row of [PAD] is zero and stays it.
    assert np.delete(rows, 0, axis=0).std() == pytest.approx(0.3, rel=0.02)
    assert not rows[0].any()


def test_a_student_goes_on_from_another(small):
    first, _ = small("first", max_epoch=1)
    second, _ = small("second", max_epoch=1, lr=1e-9, init_from_ckpt=str(first))
    before, after = (read_safetensors(path / "model.safetensors") for path in (first, second))
    for name, value in before.items():
        np.testing.assert_allclose(after[name], value, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embedding_init": "teacher", "embedding_size": 17}, "--embedding_size 17: the teacher's embeddings are 16"),
        ({"vocab_size": 10}, r"--vocab_size 10: the vocabulary has \d+ pieces"),
        ({"data": "nope"}, "--data_dir .*nope: no such folder"),
        ({"transfer_set": "nope.txt"}, "--transfer_set nope.txt: no such file"),
        ({"teacher_dir": ("nope",)}, "nope: no such model folder"),
    ],
)
def test_what_does_not_fit_is_refused_before_a_folder_is_made(distilled, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        distilled(**changes)
    assert not (tmp_path / "distilled").exists()


def test_a_teacher_with_other_labels_is_refused(distilled, tmp_path):
    teacher = tiny.write_model(tmp_path / "teacher", tiny.bert(tiny.SINGLE.with_labels(("no", "yes"))))
    with pytest.raises(InputError, match=r"its labels are \('no', 'yes'\), the task's \('0', '1'\)"):
        distilled(teacher=teacher)


def test_a_teacher_of_pairs_is_refused_for_single_texts(distilled, tmp_path):
    teacher = tiny.write_model(tmp_path / "teacher", tiny.bert(tiny.PAIR))
    with pytest.raises(InputError, match="one of teacher and task reads pairs, the other single texts"):
        distilled(teacher=teacher)


def test_a_student_teaches_beside_a_bert_only(inputs, distilled, tmp_path):
    lstm, bert = str(tiny.write_model(tmp_path / "lstm", tiny.bilstm())), str(inputs / "teacher")
    for teachers in ((lstm,), (lstm, bert)):
        with pytest.raises(InputError, match="expected a BERT, this is a bilstm"):
            distilled(teacher_dir=teachers)
    both, _ = distilled("both", teacher_dir=(bert, lstm), max_epoch=1)
    one, _ = distilled("one", teacher_dir=(bert,), max_epoch=1)
    mean, single = (read_safetensors(path / "model.safetensors") for path in (both, one))
    assert any(not np.array_equal(value, mean[name]) for name, value in single.items())


def test_a_checkpoint_of_another_vocabulary_is_refused(small, tmp_path):
    other = tiny.bilstm(vocab_size=len(tiny.VOCAB))
    other.tokenizer.vocab = [*reversed(tiny.VOCAB)]
    folder = tiny.write_model(tmp_path / "other", other)
    with pytest.raises(InputError, match="its vocabulary differs from this student's"):
        small(init_from_ckpt=str(folder))


def test_a_checkpoint_that_reads_pairs_in_another_way_is_refused(small, tmp_path):
    folder = tiny.write_model(tmp_path / "other", tiny.aligned_bilstm())
    with pytest.raises(InputError, match="other: with --pair_alignment True, this student has False"):
        small(data="pairs", task_name="qqp", init_from_ckpt=str(folder))


def test_frozen_parameters_of_the_padding_row_stay_zero(small):
    folder, _ = small(max_epoch=2)
    assert not read_safetensors(folder / "model.safetensors")["embedding.weight"][0].any()


def test_a_classifier_of_the_right_shape_is_taken_over_from_a_finetuned_folder(inputs, tmp_path):
    source = tiny.bert(seed=4)
    folder = tiny.write_pretrained(tmp_path / "tuned", seed=4)
    write_safetensors(folder / "model.safetensors", layer_weights(source.model))
    options = tiny.finetune_options(
        tmp_path / "out", inputs / "data", folder, num_train_epochs=1, learning_rate=1e-9, max_steps=1
    )
    finetune(options)
    found = read_safetensors(tmp_path / "out" / "model.safetensors")["classifier.weight"]
    np.testing.assert_allclose(found, layer_weights(source.model)["classifier.weight"], atol=1e-6)

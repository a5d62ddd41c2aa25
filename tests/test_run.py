"""Runs of anything: chosen by a loss, with parameters beside, without a task; what diverges ends with an error."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import paddle
import pytest
import tiny

from console import InputError, Interrupted, run_script
from core import run as run_module
from core.checkpoint import load_checkpoint
from core.metrics import Diverged, Selection
from core.options import OptimizerOptions, RunOptions
from core.run import Run, finite
from core.train import LoopSettings, Updater
from data.columns import Columns
from data.ragged import Ragged
from distill_lstm import small
from distill_lstm.train import distill, train_small
from finetune.train import finetune
from models.bert import BertModel
from models.folder import LoadedModel, load, save
from models.weights import layer_weights, read_safetensors


class Options(OptimizerOptions, RunOptions):
    """Of a run that is no classifier's."""


def encoder():
    paddle.seed(3)
    model = BertModel(tiny.bert_config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))
    return LoadedModel(model, tiny.bert().tokenizer, None, 32)


def rows():
    rng = np.random.default_rng(0)
    ids = Ragged.from_rows([rng.integers(5, 40, rng.integers(3, 9)) for _ in range(40)])
    types = Ragged(np.zeros(len(ids.values), np.int8), ids.offsets)
    return Columns({"input_ids": ids, "token_type_ids": types})


def fit(folder, resume=False, stop_at=None, **changes):
    """An encoder whose states, through a projection beside it, learn to be constant: less loss is better."""
    options = Options(output_dir=str(folder), eval_steps=3, logging_steps=1, device="cpu", resume=resume, **changes)
    with Run.start("tests.fit", options) as run:
        if run.finished:
            return run.found()
        loaded = encoder()
        paddle.seed(5)
        projection = paddle.nn.Linear(16, 4)
        run.open()
        batches = run.batches(rows(), 8, 0, count_by="input_ids")
        calls = []

        def step(batch):
            if stop_at is not None and len(calls) == stop_at:
                raise KeyboardInterrupt
            calls.append(1)
            states = projection(loaded.model.features_of(batch)["last_hidden_state"])
            inside = (paddle.arange(states.shape[1]) < paddle.to_tensor(batch["lengths"]).unsqueeze(1)).unsqueeze(-1)
            squares = paddle.square(states - 1.0) * inside.astype("float32")
            return {"loss": squares.sum() / float(batch["lengths"].sum())}

        def evaluate():
            loaded.model.eval()
            with paddle.no_grad():
                found = float(step(next(run.batches(rows(), 40, 0).epoch(0)))["loss"])
            loaded.model.train()
            return {"validation_loss": found}

        select_by = Selection("validation_loss", lower_is_better=True)
        result = run.fit(loaded.model, batches, step, evaluate, select_by, 3, 0.05, "adam", beside=projection)
        metrics = run.finish(loaded, {"training": run_module.training_record(result)})
        return {**metrics, "projection": projection.weight.numpy()}


def test_a_run_may_be_chosen_by_its_loss_and_train_what_is_not_served(tmp_path):
    metrics = fit(tmp_path / "run")
    scores = [row["validation_loss"] for row in tiny.log_rows(tmp_path / "run") if row["part"] == "evaluation"]
    assert metrics["training"]["score"] == min(scores) < scores[0]
    served = read_safetensors(tmp_path / "run" / "model.safetensors")
    assert served.keys() == layer_weights(encoder().model).keys()
    assert json.loads((tmp_path / "run" / "config.json").read_text())["architectures"] == ["BertModel"]
    again = load(tmp_path / "run")
    assert again.task is None and again.architecture == "BertModel"
    with pytest.raises(InputError, match="expected a model that was trained for a task, this is a BertModel"):
        _ = again.labelled
    # The projection moved too.
    paddle.seed(5)
    assert np.abs(metrics["projection"] - paddle.nn.Linear(16, 4).weight.numpy()).max() > 1e-3


def test_what_is_trained_beside_is_in_the_checkpoint(tmp_path):
    whole = fit(tmp_path / "whole" / "run")
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "run", stop_at=10)
    weights, _, _ = load_checkpoint(tmp_path / "run")
    assert {"beside.weight", "beside.bias"} <= weights.keys()
    found = fit(tmp_path / "run", resume=True)
    np.testing.assert_array_equal(found["projection"], whole["projection"])
    paths = [tmp_path / place / "model.safetensors" for place in ("run", "whole/run")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_selections_by_hand():
    accuracy, loss = Selection("accuracy"), Selection("loss", lower_is_better=True)
    assert accuracy.is_better(0.9, 0.8) and not accuracy.is_better(0.8, 0.8)
    assert loss.is_better(0.1, 0.2) and not loss.is_better(0.2, 0.2)
    assert loss.of({"loss": 0.25}) == 0.25
    for bad in (float("nan"), float("inf")):
        with pytest.raises(Diverged, match=r"the evaluation gave loss (nan|inf): the training has diverged"):
            loss.of({"loss": bad})


def test_numbers_that_are_not_finite_become_null():
    nan = float("nan")
    assert finite({"a": nan, "b": [1.0, float("inf")], "c": {"d": (nan, 2)}, "e": "nan"}) == {
        **{"a": None, "b": [1.0, None], "c": {"d": [None, 2]}, "e": "nan"},
    }


# Training to nowhere


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("inputs")
    tiny.write_single(root / "data")
    tiny.write_pretrained(root / "bert")
    tiny.write_model(root / "teacher")
    return root


@pytest.mark.parametrize("changes", [{}, {"max_steps": 1}, {"max_grad_norm": 1.0}, {"eval_steps": 1}])
def test_a_training_that_diverges_is_no_success(inputs, tmp_path, capsys, changes):
    options = tiny.small_options(
        tmp_path / "run", inputs / "data", inputs / "bert" / "vocab.txt", lr=1e30, optimizer="adamw", **changes
    )
    assert run_script(small.main, tiny.arguments(options)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "not finite" in line or "diverged" in line
    assert not (tmp_path / "run" / "model.safetensors").exists()
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_a_fine_tuning_that_diverges_is_no_success(inputs, tmp_path):
    options = tiny.finetune_options(tmp_path / "run", inputs / "data", inputs / "bert", learning_rate=1e30)
    with pytest.raises(Diverged):
        finetune(options)


def test_a_teacher_of_nothing_is_refused(inputs, tmp_path):
    spoilt = tiny.bert()
    spoilt.model.classifier.weight.set_value(np.full([16, 2], np.nan, np.float32))
    save(tmp_path / "teacher", spoilt)
    options = tiny.distill_options(tmp_path / "run", inputs / "data", tmp_path / "teacher")
    with pytest.raises(InputError, match=r"classifier.weight holds numbers that are not finite"):
        distill(options)
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_no_number_ends_the_step():
    model = paddle.nn.Linear(1, 1)
    settings = LoopSettings(epochs=1, learning_rate=1.0, optimizer="adam", select_by=Selection("loss"))

    def step(batch):
        return {"loss": model(paddle.ones([1, 1])).sum() * float(batch["value"][0])}

    updater = Updater(model, step, settings, 10)
    batch = {"weight": np.asarray(1.0), "count": np.asarray(1), "value": np.array([1.0])}
    assert np.isfinite(updater.update([batch], 0)["loss"])
    with pytest.raises(Diverged, match=r"step 2: loss nan: the training has diverged; take a smaller learning rate"):
        updater.update([{**batch, "value": np.array([np.nan])}], 1)


# What losses are means over


def counted_batch(values, weight=1.0, count=None):
    count = len(values) if count is None else count
    return {"weight": np.asarray(weight), "count": np.asarray(count), "values": np.asarray(values, np.float32)}


def test_accumulated_batches_weigh_by_what_they_count():
    """Four positions of mean loss 1 and one of 5 are five of mean 1.8, not two batches of mean 3."""
    model = paddle.nn.Linear(1, 1, bias_attr=False)
    model.weight.set_value(np.ones([1, 1], np.float32))
    settings = LoopSettings(epochs=1, learning_rate=0.0, optimizer="adam", select_by=Selection("loss"))
    gradients = []

    def step(batch):
        gradients.append(None if model.weight.grad is None else model.weight.grad.item())
        return {"loss": model(paddle.to_tensor(batch["values"]).mean().reshape([1, 1])).sum()}

    updater = Updater(model, step, settings, 10)
    assert updater.update([counted_batch([1, 1, 1, 1]), counted_batch([5])], 0)["loss"] == pytest.approx(1.8)
    # Before the second batch the first had put its share, 4/5 of 1, into the gradient.
    assert gradients == [None, pytest.approx(0.8)]


TWO_PROCESSES = """
import json, os, sys
import numpy as np, paddle
from core import distributed
from core.metrics import Selection
from core.train import LoopSettings, Updater
from data.batches import Batches
from data.ragged import Ragged

world = distributed.start("cpu")
masked = Ragged.from_rows([[1, 1, 1, 1], [5]])
known = {"input_ids": Ragged.from_rows([[7], [8]]), "masked": masked}
(batch,) = Batches(known, 2, shuffle=False, by_length=False, rank=world.rank, world=2, count_by="masked").epoch(0)
model = paddle.nn.Linear(1, 1, bias_attr=False)
model.weight.set_value(np.ones([1, 1], np.float32))
seen = []

def step(batch):
    mine = np.concatenate([masked[row] for row in batch["rows"]]).astype(np.float32)
    return {"loss": model(paddle.to_tensor(mine).mean().reshape([1, 1])).sum()}

settings = LoopSettings(epochs=1, learning_rate=0.0, optimizer="adam", select_by=Selection("loss"))
updater = Updater(model, step, settings, 10, world)
clear = updater.optimizer.clear_grad
updater.optimizer.clear_grad = lambda: (seen.append(model.weight.grad.item()), clear())
loss = updater.update([batch], 0)["loss"]
with open(f"{sys.argv[1]}/{world.rank}.json", "w") as file:
    json.dump({"loss": loss, "gradient": seen[0], "positions": len(masked[int(batch["rows"][0])])}, file)
"""


def test_two_processes_weigh_by_what_they_count(tmp_path):
    (tmp_path / "counts.py").write_text(TWO_PROCESSES)
    launch = ["-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--log_dir", str(tmp_path / "logs")]
    done = tiny.run([*launch, str(tmp_path / "counts.py"), str(tmp_path)])
    said = "\n".join(path.read_text(errors="replace") for path in sorted((tmp_path / "logs").glob("workerlog.*")))
    assert done.returncode == 0, said
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert sorted(each["positions"] for each in found) == [1, 4]
    for each in found:
        assert each["loss"] == pytest.approx(1.8)
        assert each["gradient"] == pytest.approx(1.8)


# Output folders


def test_a_second_run_in_the_same_folder_is_refused(inputs, tmp_path):
    options = tiny.small_options(tmp_path / "run", inputs / "data", inputs / "bert" / "vocab.txt", max_epoch=1)
    with Run.start("distill_lstm.small", options) as run:
        run.open()
        with pytest.raises(InputError, match=r"--output_dir .*run: process \d+ on \S+ works there; wait for its end"):
            train_small(options.replace(resume=True))
    # Its end is nobody's any more.
    train_small(options.replace(resume=True))
    assert not (tmp_path / "run" / ".lock").exists()


@pytest.mark.parametrize("left", [".training_args.json-0a1b2c3d.partial", ".training_args.json-abc_1234", ".lock"])
def test_what_a_kill_while_opening_left_is_no_obstacle(inputs, tmp_path, left):
    for name, more in (("plain", {}), ("resume", {"resume": True}), ("overwrite", {"overwrite": True})):
        (tmp_path / name).mkdir()
        (tmp_path / name / left).write_text("{")
        options = tiny.small_options(tmp_path / name, inputs / "data", inputs / "bert" / "vocab.txt", max_steps=1)
        train_small(options.replace(**more))
        assert not list((tmp_path / name).glob(".*"))


@pytest.mark.parametrize("damage", ["gone", "empty", "cut"])
def test_a_finished_run_without_its_model_says_so(inputs, tmp_path, damage):
    options = tiny.small_options(tmp_path / "run", inputs / "data", inputs / "bert" / "vocab.txt", max_steps=1)
    train_small(options)
    path = tmp_path / "run" / "model.safetensors"
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(b"" if damage == "empty" else path.read_bytes()[:-9])
    with pytest.raises(InputError, match="holds a finished run without its model .*; train again with --overwrite"):
        train_small(options.replace(resume=True))
    train_small(options.replace(overwrite=True))
    assert load(tmp_path / "run")


@pytest.mark.parametrize("content", ["[]", "null", "{}", '{"script": 3, "state": []}'])
def test_damaged_arguments_are_one_error(inputs, tmp_path, content):
    options = tiny.small_options(tmp_path / "run", inputs / "data", inputs / "bert" / "vocab.txt", max_steps=1)
    train_small(options)
    (tmp_path / "run" / "training_args.json").write_text(content)
    with pytest.raises(InputError, match="training_args.json is damaged|was made by"):
        train_small(options.replace(resume=True))


def test_a_number_of_processes_that_is_none_is_one_line(inputs, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "abc")
    options = tiny.small_options(tmp_path / "run", inputs / "data", inputs / "bert" / "vocab.txt", max_steps=1)
    assert run_script(small.main, tiny.arguments(options)) == 2
    assert "PADDLE_TRAINERS_NUM in the environment: expected a number of processes" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [{"training": None}, {"training": {"seconds": "x"}}, {"parameters": []}, {"dev": {"accuracy": "x"}}, {"dev": 3}],
)
def test_damaged_metrics_of_a_finished_run_are_one_error(inputs, tmp_path, change):
    options = tiny.small_options(tmp_path / "run", inputs / "data", inputs / "bert" / "vocab.txt", max_steps=1)
    train_small(options)
    path = tmp_path / "run" / "metrics.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    if change == {"dev": 3}:  # Nothing that is shown.
        assert train_small(options.replace(resume=True))["dev"] == 3
        return
    with pytest.raises(InputError, match=r"metrics.json: damaged .*; train again with --overwrite"):
        train_small(options.replace(resume=True))


def test_an_interruption_in_the_last_step_is_one(inputs, tmp_path, monkeypatch):
    """A training in stages would otherwise go on with the next one."""
    options = tiny.small_options(tmp_path / "run", inputs / "data", inputs / "bert" / "vocab.txt", max_steps=2)
    evaluate = run_module.Loop._evaluate

    def interrupted(self):
        os.kill(os.getpid(), signal.SIGINT)
        evaluate(self)

    with monkeypatch.context() as patch:
        patch.setattr(run_module.Loop, "_evaluate", interrupted)
        with pytest.raises(Interrupted, match="stopped at step 2 of 2"):
            train_small(options)
    assert train_small(options.replace(resume=True))["training"]["steps"] == 2


def test_a_training_goes_on_without_a_standard_error(inputs, tmp_path):
    options = tiny.small_options(tmp_path / "run", inputs / "data", inputs / "bert" / "vocab.txt", max_steps=1)
    words = " ".join(tiny.arguments(options))
    for closed in ("2>&-", "2>/dev/full"):
        command = f"{sys.executable} -m distill_lstm.small {words} --overwrite True {closed}"
        done = subprocess.run(["bash", "-c", command], cwd=tiny.ROOT, env=tiny.environment(), capture_output=True)
        assert done.returncode == 0, done.stdout[-500:]
        assert load(tmp_path / "run")


def test_a_link_to_a_folder_that_is_not_there_yet_is_followed(inputs, tmp_path):
    (tmp_path / "run").symlink_to(tmp_path / "real")
    options = tiny.small_options(tmp_path / "run", inputs / "data", inputs / "bert" / "vocab.txt", max_steps=1)
    train_small(options)
    train_small(options.replace(overwrite=True))
    assert (tmp_path / "run").is_symlink()
    assert load(tmp_path / "real")

"""The once-for-all scripts end to end, tiny: what they write, resume, refuse, and that it works elsewhere."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
import tiny

import models
from args import parse
from console import InputError, run_script
from core import arithmetic
from core.distributed import World
from core.evaluate import dygraph_forward, evaluate_model, predict_logits
from data.sources import find_split, read_rows
from deploy.predictor import Predictor
from distill_lstm.options import AugmentDataOptions
from distill_lstm.train import distill
from distill_lstm.transfer import augment
from finetune.train import finetune
from models import folder as model_folder
from models.weights import layer_weights, read_safetensors
from ofa_bert import export_model, find, run_glue_ofa, search, sub_model
from ofa_bert import train as ofa_train
from ofa_bert.find import Candidate, Limit, choose, fits, nothing_found, pareto_front
from ofa_bert.importance import measure_importance, reordered
from ofa_bert.options import OfaOptions, SearchOptions, SubModelOptions
from ofa_bert.shapes import OfaRecord, Shape, make_shape
from ofa_bert.supernet import elastic

SHAPE = {"hidden_size": 24, "num_attention_heads": 4, "num_hidden_layers": 4, "intermediate_size": 32}
TRAIN, EXPORT, SEARCH = "ofa_bert.run_glue_ofa", "ofa_bert.export_model", "ofa_bert.search"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Data, and teachers for single sentences and pairs."""
    root = tmp_path_factory.mktemp("inputs")
    tiny.write_single(root / "data")
    tiny.write_pairs(root / "pairs")
    tiny.write_chinese(root / "chinese")
    tiny.write_model(root / "teacher", tiny.bert(**SHAPE))
    tiny.write_model(root / "pair_teacher", tiny.bert(tiny.PAIR, **SHAPE))
    tiny.write_model(root / "lstm", tiny.bilstm())
    words = AugmentDataOptions(
        task_name="qqp",
        data_dir=str(root / "pairs"),
        output_file=str(root / "pair_store"),
        n_iter=1,
        model_name=str(root / "pair_teacher"),
    )
    augment(words)
    return root


def values(inputs, folder, **changes):
    return {
        "task_name": "sst-2",
        "data_dir": str(inputs / "data"),
        "model_name_or_path": str(inputs / "teacher"),
        "output_dir": str(folder),
        "cache_dir": str(inputs / "cache"),
        "max_seq_length": 24,
        "batch_size": 16,
        "learning_rate": 1e-3,
        "num_train_epochs": 2,
        "width_mult_list": (1.0, 0.75, 0.5),
        "logging_steps": 1,
        "device": "cpu",
        **changes,
    }


def ofa_options(inputs, folder, **changes):
    return OfaOptions(**values(inputs, folder, **changes))


@pytest.fixture(scope="module")
def network(inputs, tmp_path_factory):
    """A network trained through all stages."""
    folder = tmp_path_factory.mktemp("network") / "ofa"
    ofa_train.train(ofa_options(inputs, folder, depth_mult_list=(1.0, 0.5), final_epochs=1))
    return folder


def dev_logits(loaded, inputs, data="data"):
    rows, _ = read_rows(find_split(inputs / data, "dev"), loaded.task)
    return predict_logits(dygraph_forward(loaded.model), loaded.encoder.encode(rows.texts), loaded.encoder.pad_id)


# Training


def test_all_stages_leave_a_model_folder_each(network, inputs):
    teacher = read_safetensors(inputs / "teacher" / "model.safetensors")
    stages = [read_safetensors(network / stage / "model.safetensors") for stage in ("width", "depth", "final")]
    for before, after in zip([teacher, *stages], stages, strict=False):
        assert before.keys() == after.keys()
        assert any((before[name] != after[name]).any() for name in before)
    assert (network / "model.safetensors").read_bytes() == (network / "final" / "model.safetensors").read_bytes()
    assert not list(network.glob("*/checkpoint")) + list(network.glob("*/kept"))
    metrics = json.loads((network / "metrics.json").read_text())
    assert metrics["stages"] == ["width", "depth", "final"]
    parts = metrics["sub_networks"]
    assert [(part["width"], part["depth"]) for part in parts] == [
        (1.0, 1.0), (0.75, 1.0), (0.5, 1.0), (1.0, 0.5), (0.75, 0.5), (0.5, 0.5)
    ]  # fmt: skip
    assert parts[0]["dev"] == metrics["dev"]
    assert OfaRecord.load(network) == OfaRecord((1.0, 0.75, 0.5), (1.0, 0.5), "keep_last", "final")
    assert OfaRecord.load(network / "width").depths == (1.0,)
    assert "visualdl" in {path.name for path in (network / "width").iterdir()}


@tiny.needs_bf16
def test_all_widths_of_a_step_are_multiplied_in_bf16(inputs, tmp_path, monkeypatch):
    """Losses and weights of a few steps are near those in fp32, and are not the same."""
    monkeypatch.setattr(arithmetic, "read_cpuinfo", lambda: "flags : avx512_bf16")
    found = {}
    for precision in ("fp32", "bf16"):
        ofa_train.train(ofa_options(inputs, tmp_path / precision, precision=precision, depth_mult_list=(1.0,)))
        found[precision] = read_safetensors(tmp_path / precision / "model.safetensors")
    for name, value in found["fp32"].items():
        np.testing.assert_allclose(found["bf16"][name], value, atol=0.05, err_msg=name)
    # The last columns, which the widest alone reads, and the first, which all do.
    for part in (np.s_[:, :2], np.s_[:, -2:]):
        weights = [known["bert.encoder.layers.0.linear1.weight"][part] for known in found.values()]
        assert not np.array_equal(*weights)


def test_training_brings_sub_networks_nearer_to_the_teacher(inputs, tmp_path):
    """The distance of the narrowest one's logits from the teacher's falls by more than half."""
    ofa_train.train(ofa_options(inputs, tmp_path / "ofa", num_train_epochs=25, hidden_dropout_prob=0.0))
    teacher = models.load(inputs / "teacher")
    target = dev_logits(teacher, inputs)
    target = target - target.mean(1, keepdims=True)

    def distance(loaded):
        wide = elastic(loaded)
        with wide.model.at(make_shape(SHAPE, 0.5, 1.0)):
            found = dev_logits(wide, inputs)
        return float(np.square(found - found.mean(1, keepdims=True) - target).mean())

    assert distance(models.load(tmp_path / "ofa")) < 0.5 * distance(teacher)


def test_stages_may_be_run_one_by_one(inputs, tmp_path):
    ofa_train.train(ofa_options(inputs, tmp_path / "width", stage="width"))
    depth = ofa_options(
        inputs,
        tmp_path / "depth",
        stage="depth",
        model_name_or_path=str(tmp_path / "width"),
        depth_mult_list=(1.0, 0.5),
    )
    ofa_train.train(depth)
    final = depth.replace(stage="final", model_name_or_path=str(tmp_path / "depth"), output_dir=str(tmp_path / "final"))
    metrics = ofa_train.train(final)
    assert len(metrics["sub_networks"]) == 6
    assert OfaRecord.load(tmp_path / "final").stage == "final"
    # The order of heads and neurons is made once: a later stage begins with the weights as they are.
    for options in (depth, final):
        network = ofa_train.starting_network(options.model_name_or_path, 24, options.stage, options.rows())
        begun = layer_weights(network.model)
        for name, value in layer_weights(models.load(options.model_name_or_path).model).items():
            np.testing.assert_array_equal(begun[name], value, err_msg=name)


def test_a_run_sorts_heads_and_neurons_by_importance_first(inputs, tmp_path):
    options = ofa_options(inputs, tmp_path / "o", learning_rate=1e-12, num_train_epochs=1)
    ofa_train.train(options)
    teacher = models.load(inputs / "teacher")
    before = layer_weights(teacher.model)
    expected = reordered(teacher.model.config, before, measure_importance(teacher, options.rows().validation))
    found = read_safetensors(tmp_path / "o" / "model.safetensors")
    moved = 0
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-8, err_msg=name)
        moved += (value != before[name]).any()
    assert moved > 0


def test_training_export_and_search_keep_the_same_layers(inputs, tmp_path):
    folder = tmp_path / "ofa"
    metrics = ofa_train.train(
        ofa_options(inputs, folder, layer_rule="keep_first", depth_mult_list=(1.0, 0.5), num_train_epochs=1)
    )
    assert {part["depth"]: part["layers"] for part in metrics["sub_networks"]} == {1.0: [0, 1, 2, 3], 0.5: [0, 2]}
    sub_model.export_model(
        SubModelOptions(model_name_or_path=str(folder), sub_model_output_dir=str(tmp_path / "sub"), depth_mult=0.5)
    )
    whole, sub = (read_safetensors(path / "model.safetensors") for path in (folder, tmp_path / "sub"))
    for number, of_whole in enumerate((0, 2)):
        name = "bert.encoder.layers.{}.linear1.bias"
        np.testing.assert_array_equal(sub[name.format(number)], whole[name.format(of_whole)])
    find.search(search_options(folder, inputs, tmp_path / "found", width_mult_list=(1.0,)))
    record = json.loads((tmp_path / "found" / "search.json").read_text())
    assert [each["shape"]["layers"] for each in record["candidates"]] == [[0, 1, 2, 3], [0, 2]]


def test_numbers_are_predicted_too(inputs, tmp_path):
    """STS-B: no labels but numbers, in every stage, with rows that have none."""
    task = tiny.get_task("sts-b")
    tiny.write_model(tmp_path / "teacher", tiny.bert(task, **SHAPE))
    (tmp_path / "data").mkdir()
    for split in ("train", "dev"):
        rows = [f"how to swim ?\tthe very end of {word}\t{number / 2}" for number, word in enumerate(tiny.GOOD)]
        text = "\n".join(["sentence1\tsentence2\tlabel", *rows, ""])
        (tmp_path / "data" / f"{split}.tsv").write_text(text, encoding="utf-8")
    (tmp_path / "more.txt").write_text("a good film\tthe cast is fine\n", encoding="utf-8")
    options = ofa_options(
        inputs,
        tmp_path / "o",
        task_name="sts-b",
        data_dir=str(tmp_path / "data"),
        model_name_or_path=str(tmp_path / "teacher"),
        unlabeled_file=(str(tmp_path / "more.txt"),),
        num_train_epochs=1,
        depth_mult_list=(1.0, 0.5),
        final_epochs=1,
        choose_by="teacher",
    )
    metrics = ofa_train.train(options)
    (chosen,) = [row for row in tiny.log_rows(tmp_path / "o" / "depth") if row["part"] == "evaluation"]
    assert 0 < chosen["mse"] < np.inf
    assert metrics["learning_rows"] == len(tiny.GOOD)
    assert json.loads((tmp_path / "o" / "width" / "metrics.json").read_text())["learning_rows"] == len(tiny.GOOD) + 1
    assert "pearson" in metrics["sub_networks"][0]["dev"]


def test_rows_of_a_users_own_are_trained_on_too(inputs, tmp_path):
    files = {split: str(inputs / "data" / f"{split}.tsv") for split in ("train", "dev")}
    own = {
        "task_name": None,
        "data_dir": None,
        "train_file": files["train"],
        "dev_file": files["dev"],
        "text_columns": ("sentence",),
    }
    bert = tiny.write_pretrained(tmp_path / "bert", **SHAPE)
    finetune(tiny.finetune_options(tmp_path / "teacher", inputs / "data", bert, num_train_epochs=1, **own))
    teacher = {"model_name_or_path": str(tmp_path / "teacher")}
    metrics = ofa_train.train(ofa_options(inputs, tmp_path / "o", num_train_epochs=1, **own, **teacher))
    assert len(metrics["sub_networks"]) == 3
    find.search(
        search_options(tmp_path / "o", inputs, tmp_path / "f", data_dir=None, dev_file=files["dev"], depth_mult_list=())
    )
    assert models.load(tmp_path / "f" / "sub_model").task.labels == ("0", "1")


def test_a_stored_transfer_set_is_learnt_from(inputs, tmp_path):
    given = {"task_name": "qqp", "data_dir": str(inputs / "pairs"), "num_train_epochs": 1}
    teacher, store = str(inputs / "pair_teacher"), str(inputs / "pair_store")
    options = ofa_options(inputs, tmp_path / "o", **given, model_name_or_path=teacher, transfer_set=store)
    metrics = ofa_train.train(options)
    # 60 training rows and a copy of each, some of which are like their original.
    assert 60 < metrics["learning_rows"] <= 120


def test_a_sub_model_teaches_a_network_of_its_own(exported, inputs, tmp_path):
    options = ofa_options(
        inputs,
        tmp_path / "o",
        model_name_or_path=str(exported / "sub"),
        width_mult_list=(1.0, 1 / 3),
        max_seq_length=20,
        num_train_epochs=1,
    )
    metrics = ofa_train.train(options)
    assert [part["heads"] for part in metrics["sub_networks"]] == [3, 1]


def test_pairs_are_trained_too(inputs, tmp_path):
    teacher, data = str(inputs / "pair_teacher"), str(inputs / "pairs")
    options = ofa_options(inputs, tmp_path / "o", task_name="qqp", data_dir=data, model_name_or_path=teacher)
    metrics = ofa_train.train(options)
    assert set(metrics["sub_networks"][0]["dev"]) >= {"accuracy", "f1"}


def test_a_chinese_teacher_is_trained_too(inputs, tmp_path):
    task = tiny.get_task("chnsenticorp")
    tiny.write_model(tmp_path / "teacher", tiny.bert(task, **SHAPE))
    options = ofa_options(
        inputs,
        tmp_path / "o",
        task_name="chnsenticorp",
        data_dir=str(inputs / "chinese"),
        model_name_or_path=str(tmp_path / "teacher"),
        num_train_epochs=1,
    )
    assert len(ofa_train.train(options)["sub_networks"]) == 3


def test_rows_without_labels_are_learnt_from(inputs, tmp_path, capsys):
    (tmp_path / "more.txt").write_text("a good film\tthe cast is fine\nit is dull\ta film\n", encoding="utf-8")
    given = {"task_name": "qqp", "data_dir": str(inputs / "pairs"), "num_train_epochs": 1}
    teacher = {"model_name_or_path": str(inputs / "pair_teacher")}
    more = {"unlabeled_file": (str(tmp_path / "more.txt"),), "repair_pairs": 1}
    plain = ofa_train.train(ofa_options(inputs, tmp_path / "a", **given, **teacher))
    metrics = ofa_train.train(ofa_options(inputs, tmp_path / "b", **given, **teacher, **more))
    out = capsys.readouterr().out
    added = int(re.search(r"more rows: ([0-9]+), ([0-9]+) of them not among the training rows", out).group(2))
    assert metrics["learning_rows"] == plain["learning_rows"] + added
    assert added > 2


def test_a_transfer_set_is_learnt_from_by_stored_logits(inputs, tmp_path):
    more = tmp_path / "more.txt"
    more.write_text("".join(f"the film {word}\n" for word in (*tiny.GOOD, *tiny.BAD)), encoding="utf-8")
    options = ofa_options(inputs, tmp_path / "o", transfer_set=str(more), lambda_rep=0.0, num_train_epochs=3)
    metrics = ofa_train.train(options)
    # The 60 training rows and 12 more, of which none is among them.
    assert metrics["learning_rows"] == 60 + 12
    assert metrics["training"]["rows"] == 3 * 72
    assert list((inputs / "cache" / "teacher_outputs").iterdir())
    log = [row for row in tiny.log_rows(tmp_path / "o" / "width") if row["part"] == "train"]
    assert log
    assert all("hidden" not in row for row in log)


def test_checkpoints_are_chosen_by_the_distance_to_the_teacher(inputs, tmp_path):
    """On the task's rows and a share of the rows without labels, which no stage learns from; labels choose the last."""
    more, words = tmp_path / "more.txt", (*tiny.GOOD, *tiny.BAD)
    # Each twice, and a row that chooses for the task: a text never stands on both sides.
    asked = ofa_options(inputs, tmp_path / "o", holdout=0.25).rows().validation.texts[0]
    more.write_text("".join(f"the film {word}\n" for word in (*words, *words)) + asked[0], encoding="utf-8")
    options = ofa_options(
        inputs,
        tmp_path / "o",
        unlabeled_file=(str(more),),
        holdout=0.25,
        choose_by="teacher",
        depth_mult_list=(1.0, 0.5),
        depth_guide="full",
        final_epochs=1,
    )
    metrics = ofa_train.train(options)
    width = json.loads((tmp_path / "o" / "width" / "metrics.json").read_text())
    # A quarter of the 60 training rows, which are in pairs of the same text, and of the 12 texts without labels.
    of_task = len(options.rows().validation)
    assert width["selection_rows"] == of_task + 3
    assert (
        width["selected_on"]
        == "held-out training rows, and rows without labels, by the distance to the teacher's answers"
    )
    assert width["learning_rows"] == (60 - of_task) + 2 * 9
    assert metrics["selected_on"] == "held-out training rows"
    assert metrics["selection_rows"] == of_task
    distances = [row["kl"] for row in tiny.log_rows(tmp_path / "o" / "width") if row["part"] == "evaluation"]
    steps = [row["step"] for row in tiny.log_rows(tmp_path / "o" / "width") if row["part"] == "evaluation"]
    assert len(distances) == 2
    assert width["training"]["chosen"] == f"best, at step {steps[int(np.argmin(distances))]}"


def test_the_teacher_chooses_by_its_own_answers(inputs):
    """The teacher is at no distance from itself, and its narrowest part is as far as its logits say."""
    options = ofa_options(inputs, inputs / "unused", choose_by="teacher", width_mult_list=(1.0, 0.5))
    data = options.rows()
    loaded = ofa_train.starting_network(options.model_name_or_path, 24, "width", data)
    columns, choice = ofa_train.rows_to_learn_from(options, data, loaded, World())
    assert columns["width"].rows == 60
    network = elastic(loaded)
    whole, half = choice.figures(network, [make_shape(SHAPE, 1.0, 1.0), make_shape(SHAPE, 0.5, 1.0)], data.dev.labels)
    assert (whole["agreement"], whole["kl"]) == (1.0, pytest.approx(0, abs=1e-9))
    assert whole["accuracy"] == evaluate_model(loaded, data.dev)["accuracy"]
    with network.model.at(make_shape(SHAPE, 0.5, 1.0)):
        said = dev_logits(network, inputs)
    p, q = (np.exp(part) / np.exp(part).sum(1, keepdims=True) for part in (dev_logits(loaded, inputs), said))
    assert half["kl"] == pytest.approx(float((p * np.log(p / q)).sum(1).mean()), rel=1e-4)


def test_predictions_of_a_test_file_come_from_the_whole_network(inputs, tmp_path):
    (tmp_path / "test.tsv").write_text("sentence\nthe film is good\nbad\n", encoding="utf-8")
    ofa_train.train(
        ofa_options(inputs, tmp_path / "o", do_predict=True, test_file=str(tmp_path / "test.tsv"), num_train_epochs=1)
    )
    lines = (tmp_path / "o" / "predictions" / "SST-2.tsv").read_text().splitlines()
    assert lines[0] == "index\tprediction"
    assert len(lines) == 3


def test_rows_without_labels_leave_the_final_stage_to_those_that_have_one(inputs, tmp_path):
    more = tmp_path / "more.txt"
    more.write_text("".join(f"the film {word}\n" for word in tiny.GOOD), encoding="utf-8")
    options = ofa_options(inputs, tmp_path / "o", transfer_set=str(more), final_epochs=1, num_train_epochs=1)
    metrics = ofa_train.train(options)
    assert json.loads((tmp_path / "o" / "width" / "metrics.json").read_text())["learning_rows"] == 66
    assert metrics["learning_rows"] == 60
    before, after = (read_safetensors(tmp_path / "o" / stage / "model.safetensors") for stage in ("width", "final"))
    assert any((before[name] != after[name]).any() for name in before)


def test_dropout_is_that_of_the_training_and_not_of_what_is_saved(inputs, tmp_path):
    ofa_train.train(ofa_options(inputs, tmp_path / "o", hidden_dropout_prob=0.0, num_train_epochs=1))
    before, after = (
        json.loads((folder / "config.json").read_text()) for folder in (inputs / "teacher", tmp_path / "o")
    )
    assert before["hidden_dropout_prob"] == after["hidden_dropout_prob"] == 0.1
    network = elastic(models.load(tmp_path / "o"), (0.0, 0.2))
    assert network.model.bert.encoder.layers[0].dropout.p == 0.0
    assert network.model.bert.encoder.layers[0].self_attn.dropout.p == 0.2


def test_later_stages_take_over_what_the_network_was_trained_for(network):
    line = f"--task_name sst-2 --model_name_or_path {network} --output_dir o --stage final"
    options = parse(OfaOptions, line.split(), "")
    assert (options.width_mult_list, options.depth_mult_list) == ((1.0, 0.75, 0.5), (1.0, 0.5))


def test_overwriting_what_the_run_starts_from_is_refused(network, inputs, tmp_path):
    shutil.copytree(network, tmp_path / "ofa")
    options = ofa_options(
        inputs, tmp_path / "ofa", stage="final", model_name_or_path=str(tmp_path / "ofa" / "width"), overwrite=True
    )
    with pytest.raises(InputError, match="--overwrite: .* holds --model_name_or_path .*, which this run reads"):
        ofa_train.train(options)
    assert models.load(tmp_path / "ofa" / "width")


def test_a_teacher_with_a_broken_config_is_one_line(inputs, tmp_path):
    folder = shutil.copytree(inputs / "teacher", tmp_path / "teacher")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_attention_heads": "many"}))
    with pytest.raises(InputError, match=r"teacher/config\.json: "):
        ofa_train.train(ofa_options(inputs, tmp_path / "o", model_name_or_path=str(folder)))


# Resuming


KILLED = {
    "width_mult_list": (1.0, 0.75, 0.5, 0.25),
    "depth_mult_list": (1.0, 0.5),
    "num_train_epochs": 4,
    "save_steps": 3,
    "eval_steps": 5,
    "sub_networks_per_step": 3,
    "depth_guide": "full",
    "choose_by": "teacher",
}


@pytest.fixture(scope="module")
def uninterrupted(inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "whole"
    ofa_train.train(ofa_options(inputs, folder, **KILLED))
    return folder


@pytest.mark.parametrize("stage", ["width", "depth"])
def test_a_run_killed_in_a_stage_ends_with_the_bits_of_one_that_was_not(inputs, uninterrupted, tmp_path, stage):
    options = ofa_options(inputs, tmp_path / "killed", **KILLED)
    tiny.kill(tiny.started_until(TRAIN, options, 8, part=stage))

    child = tiny.start(TRAIN, *tiny.arguments(options), "--resume")
    out, err = child.communicate(timeout=300)
    assert child.returncode == 0, err
    assert "going on from step" in out
    assert ("this stage had finished" in out) == (stage == "depth")
    for part in ("width", "depth", "."):
        ours, theirs = (folder / part / "model.safetensors" for folder in (tmp_path / "killed", uninterrupted))
        assert ours.read_bytes() == theirs.read_bytes()


def test_a_run_does_not_go_on_with_another_teacher(inputs, tmp_path):
    teacher = shutil.copytree(inputs / "teacher", tmp_path / "teacher")
    options = ofa_options(inputs, tmp_path / "run", **{**KILLED, "model_name_or_path": str(teacher)})
    tiny.kill(tiny.started_until(TRAIN, options, 3, part="width"))
    shutil.rmtree(teacher)
    tiny.write_model(teacher, tiny.bert(seed=9, **SHAPE))
    with pytest.raises(InputError, match="this run began with another teacher; give that one"):
        ofa_train.train(options.replace(resume=True))


def test_a_finished_run_is_not_done_again(network, inputs, capsys):
    options = ofa_options(inputs, network, depth_mult_list=(1.0, 0.5), final_epochs=1, resume=True)
    before = (network / "model.safetensors").stat().st_mtime_ns
    ofa_train.train(options)
    assert "this run had finished" in capsys.readouterr().out
    assert (network / "model.safetensors").stat().st_mtime_ns == before


# Sub-models


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory):
    """A sub-model of three heads and two layers, and its static graph."""
    root = tmp_path_factory.mktemp("exported")
    line = (
        f"--model_type bert --model_name_or_path {network} --max_seq_length 20 --sub_model_output_dir {root / 'sub'} "
        f"--static_sub_model {root / 'static'} --n_gpu 1 --width_mult 0.75 --depth_mult 0.5"
    )
    assert run_script(export_model.main, line.split()) == 0
    return root


def test_a_sub_model_reloads_by_itself(exported, network, inputs):
    loaded = models.load(exported / "sub")
    config = json.loads((exported / "sub" / "config.json").read_text())
    assert (config["num_attention_heads"], config["head_size"]) == (3, 6)
    assert (config["intermediate_size"], config["num_hidden_layers"], config["hidden_size"]) == (24, 2, 24)
    assert loaded.max_seq_length == 20
    wide = elastic(models.load(network))
    with wide.model.at(make_shape(SHAPE, 0.75, 0.5)):
        expected = dev_logits(wide, inputs)
    np.testing.assert_allclose(dev_logits(loaded, inputs), expected, rtol=1e-5, atol=1e-5)


def test_the_static_graph_says_the_same(exported, inputs):
    loaded = models.load(exported / "sub")
    rows, _ = read_rows(find_split(inputs / "data", "dev"), loaded.task)
    found = Predictor(exported / "static").logits(rows.texts)
    np.testing.assert_allclose(found, dev_logits(loaded, inputs), rtol=1e-5, atol=1e-5)


def test_a_sub_model_is_loaded_and_served_without_paddleslim(exported):
    code = (
        "import sys, models\n"
        f"models.load({str(exported / 'sub')!r})\n"
        "from deploy.predictor import Predictor\n"
        f"print(Predictor({str(exported / 'static')!r}).logits([['good']]).shape)\n"
        "assert not {'paddleslim', 'ofa_bert'} & set(sys.modules)\n"
    )
    done = tiny.run(["-c", code])
    assert done.returncode == 0, done.stderr[-2000:]
    assert "(1, 2)" in done.stdout


def test_a_sub_model_is_fine_tuned_further(exported, inputs, tmp_path):
    finetune(tiny.finetune_options(tmp_path / "more", inputs / "data", exported / "sub", max_seq_length=20))
    before = read_safetensors(exported / "sub" / "model.safetensors")
    after = read_safetensors(tmp_path / "more" / "model.safetensors")
    assert before.keys() == after.keys()
    name = "bert.encoder.layers.1.self_attn.q_proj.weight"
    assert before[name].shape == after[name].shape == (24, 18)
    assert (before[name] != after[name]).any()
    assert models.load(tmp_path / "more").model.config.head_size == 6


def test_a_sub_model_teaches(exported, inputs, tmp_path):
    metrics = distill(tiny.distill_options(tmp_path / "student", inputs / "data", exported / "sub", max_epoch=1))
    assert metrics["teacher"]["computed_rows"] > 0


def test_an_untrained_width_is_cut_with_a_note(network, tmp_path, capsys):
    options = SubModelOptions(
        model_name_or_path=str(network), sub_model_output_dir=str(tmp_path / "sub"), width_mult=0.25
    )
    sub_model.export_model(options)
    assert "note: 0.25 x 1 was not trained; widths that were: 1, 0.75, 0.5" in capsys.readouterr().out
    assert models.load(tmp_path / "sub").model.config.num_attention_heads == 1


def test_an_earlier_sub_model_is_replaced_only_on_demand(network, tmp_path, inputs):
    options = SubModelOptions(
        model_name_or_path=str(network), sub_model_output_dir=str(tmp_path / "sub"), width_mult=0.5
    )
    sub_model.export_model(options)
    with pytest.raises(InputError, match="is not empty; pass --overwrite"):
        sub_model.export_model(options.replace(width_mult=1.0))
    assert models.load(tmp_path / "sub").model.config.num_attention_heads == 2
    sub_model.export_model(options.replace(width_mult=1.0, overwrite=True))
    assert models.load(tmp_path / "sub").model.config.num_attention_heads == 4
    # A trained model is no export.
    shutil.copytree(network, tmp_path / "trained")
    with pytest.raises(InputError, match="holds no export of ours"):
        sub_model.export_model(options.replace(sub_model_output_dir=str(tmp_path / "trained"), overwrite=True))


# The search


def candidate(name, score, latency, parameters=100, encoder=50):
    return Candidate(Shape(name, 1.0, 1, 1, (0,)), parameters, encoder, score, latency)


BEST, FAST, MIDDLE, DOMINATED = (
    candidate(1.0, 0.90, 8.0, 400),
    candidate(0.5, 0.80, 2.0, 200),
    candidate(0.75, 0.88, 4.0, 300),
    candidate(0.6, 0.85, 5.0, 250),
)
ALL = [BEST, FAST, MIDDLE, DOMINATED]


def test_the_pareto_front_leaves_out_what_is_beaten():
    assert pareto_front(ALL) == [BEST, MIDDLE, FAST]
    twins = [candidate(1.0, 0.9, 1.0), candidate(0.5, 0.9, 1.0)]
    assert pareto_front(twins) == twins


@pytest.mark.parametrize(
    ("limits", "chosen"),
    [
        ([], BEST),
        ([Limit("max_latency_ms", 5.0, "latency_ms")], MIDDLE),
        ([Limit("max_latency_ms", 4.0, "latency_ms")], MIDDLE),
        ([Limit("max_params", 250, "parameters")], DOMINATED),
        ([Limit("max_params", 250, "parameters"), Limit("max_latency_ms", 3, "latency_ms")], FAST),
        ([Limit("min_accuracy_ratio", 0.89, "score", least=True)], BEST),
        ([Limit("min_accuracy_ratio", 0.95, "score", least=True)], None),
        ([Limit("max_latency_ms", 3, "latency_ms"), Limit("min_accuracy_ratio", 0.85, "score", least=True)], None),
    ],
)
def test_the_most_accurate_within_all_limits_is_chosen(limits, chosen):
    assert choose(ALL, limits) == chosen
    assert chosen is None or fits(chosen, limits)


def test_of_equals_the_fastest_is_chosen():
    slow, quick = candidate(1.0, 0.9, 3.0), candidate(0.5, 0.9, 2.0)
    assert choose([slow, quick], []) == quick


def test_nothing_found_names_the_nearest_and_what_it_misses():
    limits = [Limit("max_latency_ms", 3.9, "latency_ms"), Limit("min_accuracy_ratio", 0.88, "score", least=True)]
    message = nothing_found(ALL, limits)
    assert message == (
        "no sub-network keeps all limits; the nearest is 0.75 x 1 with latency ms 4 (at most 3.9, --max_latency_ms)"
    )


def search_options(network, inputs, folder, **changes):
    return SearchOptions(
        **{
            "model_dir": str(network),
            "data_dir": str(inputs / "data"),
            "output_dir": str(folder),
            "seq_len": 8,
            "rounds": 1,
            **changes,
        }
    )


def test_a_search_exports_what_keeps_the_limits(network, inputs, tmp_path, capsys):
    limits = {"max_encoder_params": "7K", "max_latency_ms": 1e4, "min_accuracy_ratio": 0.01}
    few = {"width_mult_list": (1.0, 0.5), "depth_mult_list": (0.5,)}
    chosen = find.search(search_options(network, inputs, tmp_path / "found", **limits, **few))
    record = json.loads((tmp_path / "found" / "search.json").read_text())
    assert len(record["candidates"]) == 2
    assert record["limits"]["max_encoder_params"] == 7000
    by_size = {each["encoder_parameters"]: each["within"] for each in record["candidates"]}
    assert by_size == {size: size <= 7000 for size in by_size}
    assert set(by_size.values()) == {True, False}
    assert any(each["pareto"] for each in record["candidates"])
    best = max(each["score"] for each in record["candidates"] if each["within"])
    assert record["chosen"]["score"] == chosen.score == best
    loaded = models.load(tmp_path / "found" / "sub_model")
    assert loaded.model.config.num_attention_heads == chosen.shape.heads
    assert loaded.parameters == chosen.parameters
    assert Predictor(tmp_path / "found" / "static").logits([["good"]]).shape == (1, 2)
    assert (tmp_path / "found" / "pareto.png").read_bytes().startswith(b"\x89PNG")
    assert "within" in capsys.readouterr().out


def accuracy_on(path, folder):
    loaded = models.load(folder)
    rows, _ = read_rows(path, loaded.task)
    return evaluate_model(loaded, rows)["accuracy"]


def test_a_search_may_be_held_to_another_model(network, inputs, tmp_path, capsys):
    other = models.load(network)
    # Its answers are the opposite ones.
    other.model.classifier.weight.set_value(-other.model.classifier.weight)
    other.model.classifier.bias.set_value(-other.model.classifier.bias)
    tiny.write_model(tmp_path / "other", other)
    # An odd number of rows, so that the opposite of half of them is another half.
    lines = (inputs / "data" / "dev.tsv").read_text().splitlines()
    (tmp_path / "dev.tsv").write_text("\n".join([*lines[:20], ""]))
    score = accuracy_on(tmp_path / "dev.tsv", tmp_path / "other")
    assert score != accuracy_on(tmp_path / "dev.tsv", network)
    options = search_options(
        network,
        inputs,
        tmp_path / "f",
        data_dir=None,
        dev_file=str(tmp_path / "dev.tsv"),
        teacher_dir=str(tmp_path / "other"),
        width_mult_list=(1.0,),
        depth_mult_list=(0.5,),
        min_accuracy_ratio=0.01,
    )
    find.search(options)
    record = json.loads((tmp_path / "f" / "search.json").read_text())
    assert [each["shape"]["layers"] for each in record["candidates"]] == [[1, 3]]
    assert record["reference_score"] == score
    assert record["limits"]["min_accuracy_ratio"] == pytest.approx(0.01 * score)
    assert "of teacher" in capsys.readouterr().out


def test_the_ratio_is_a_share_of_the_reference():
    given = {"model_dir": "m", "output_dir": "o", "min_accuracy_ratio": 0.9, "max_params": "2K", "max_latency_ms": 3.0}
    limits = find.limits_of(SearchOptions(**given), 0.8)
    assert limits == [
        Limit("max_latency_ms", 3.0, "latency_ms"),
        Limit("max_params", 2000, "parameters"),
        Limit("min_accuracy_ratio", pytest.approx(0.72), "score", least=True),
    ]
    with pytest.raises(InputError, match=r"a share of must be above 0, it is -0\.1000"):
        find.limits_of(SearchOptions(**given), -0.1)


def test_latency_is_the_median_over_turns_of_all_graphs(monkeypatch):
    """Each graph takes as long as it says, on a clock that only they move."""
    now, runs = [0.0], []
    monkeypatch.setattr(find.time, "perf_counter", lambda: now[0])

    class Graph:
        def __init__(self, name, milliseconds):
            self.name, self.milliseconds = name, iter(milliseconds)

        def run(self, inputs):
            runs.append((self.name, inputs["input_ids"].shape, inputs["token_type_ids"].shape))
            now[0] += 1e-3 * next(self.milliseconds)

    turn = find.RUNS_A_TURN
    # Three runs to warm up, then two turns; one slow run moves a mean and no median.
    slow = Graph("slow", [99] * 3 + [4] * turn + [1000] + [6] * (turn - 1))
    fast = Graph("fast", [99] * 3 + [1] * (2 * turn))
    assert find.alternating_latencies([slow, fast], 0, seq_len=7, rounds=2) == pytest.approx([5.0, 1.0])
    assert {run[1:] for run in runs} == {((1, 7), (1, 7))}
    order = [name for name, *_ in runs[6:]]
    assert order == (["slow"] * turn + ["fast"] * turn) * 2


def test_the_search_measures_with_the_threads_that_it_is_told(network, inputs, tmp_path, monkeypatch):
    import core.static_graph

    told = []

    class Graph(core.static_graph.StaticGraph):
        def __init__(self, folder, *threads, **more):
            told.extend(threads)
            super().__init__(folder, *threads, **more)

    monkeypatch.setattr("ofa_bert.find.StaticGraph", Graph)
    options = search_options(network, inputs, tmp_path / "f", width_mult_list=(0.5,), depth_mult_list=(0.5,), threads=2)
    find.search(options)
    assert told == [2]


def test_without_a_folder_the_search_takes_the_rows_of_the_training(network, inputs, tmp_path, monkeypatch):
    asked = []

    def download(task, split, cache):
        asked.append((task.hub, split))
        return read_rows(find_split(inputs / "data", split), task)

    monkeypatch.setattr("data.sources.download_rows", download)
    options = search_options(network, inputs, tmp_path / "found", data_dir=None, width_mult_list=(0.5,))
    # The files of the training are still there, and need no download.
    find.search(options)
    assert not asked
    monkeypatch.setattr("core.recorded.recorded_options", lambda folder: {})
    find.search(options.replace(output_dir=str(tmp_path / "again")))
    assert (("glue", "sst-2"), "dev") in asked
    assert (tmp_path / "found" / "search.json").is_file()


def test_a_search_skips_bad_rows_on_demand(network, inputs, tmp_path, capsys):
    dev = (inputs / "data" / "dev.tsv").read_text()
    (tmp_path / "dev.tsv").write_text(f"{dev}bad\tx\n")
    options = search_options(
        network, inputs, tmp_path / "found", data_dir=None, dev_file=str(tmp_path / "dev.tsv"), width_mult_list=(0.5,)
    )
    with pytest.raises(InputError, match="unknown label 'x'"):
        find.search(options)
    find.search(options.replace(skip_bad_rows=True))
    assert (tmp_path / "found" / "static" / "export.json").is_file()
    record = json.loads((tmp_path / "found" / "search.json").read_text())
    assert (record["dev_rows"], record["skipped_rows"]) == (20, 1)
    assert "1 bad rows skipped" in capsys.readouterr().out


def test_a_failing_graph_leaves_no_sub_model_behind(network, tmp_path, monkeypatch):
    monkeypatch.setattr("core.export.TOLERANCE", -1.0)
    options = SubModelOptions(
        model_name_or_path=str(network),
        sub_model_output_dir=str(tmp_path / "sub"),
        static_sub_model=str(tmp_path / "static"),
    )
    with pytest.raises(InputError, match="the static graph differs from the model"):
        sub_model.export_model(options)
    assert list(tmp_path.iterdir()) == []


def test_a_search_that_finds_nothing_keeps_what_it_measured(network, inputs, tmp_path, capsys):
    few = {"width_mult_list": (1.0, 0.5), "depth_mult_list": (0.5,)}
    options = search_options(network, inputs, tmp_path / "found", max_params="1K", **few)
    assert run_script(search.main, tiny.arguments(options)) == 2
    assert "no sub-network keeps all limits; the nearest is 0.5 x 0.5 with parameters" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "found").iterdir()} == {"search.json", "pareto.png"}
    record = json.loads((tmp_path / "found" / "search.json").read_text())
    assert record["chosen"] is None
    assert len(record["candidates"]) == 2
    # An earlier search, whose sub-model may be in use, stays.
    options = options.replace(overwrite=True)
    find.search(options.replace(max_params=None, width_mult_list=(0.5,)))
    before = {path: path.read_bytes() for path in (tmp_path / "found").rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="no sub-network keeps all limits; .* the earlier search in .* is still there"):
        find.search(options)
    assert {path: path.read_bytes() for path in (tmp_path / "found").rglob("*") if path.is_file()} == before


def test_a_search_replaces_only_searches(network, inputs, tmp_path):
    options = search_options(network, inputs, tmp_path / "found", width_mult_list=(0.5,))
    find.search(options)
    with pytest.raises(InputError, match="is not empty; pass --overwrite"):
        find.search(options)
    find.search(options.replace(overwrite=True))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("x")
    with pytest.raises(InputError, match="holds no search of ours"):
        find.search(options.replace(output_dir=str(tmp_path / "other"), overwrite=True))
    # What is not a search's own, and what it reads, would be lost.
    (tmp_path / "found" / "mine.txt").write_text("x")
    with pytest.raises(InputError, match="found also holds mine.txt; choose another folder"):
        find.search(options.replace(overwrite=True))
    (tmp_path / "found" / "mine.txt").unlink()
    dev = shutil.copy(inputs / "data" / "dev.tsv", tmp_path / "found" / "dev.tsv")
    with pytest.raises(InputError, match=r"holds --dev_file .*dev\.tsv, which is read; choose another folder"):
        find.search(options.replace(overwrite=True, data_dir=None, dev_file=str(dev)))
    assert (tmp_path / "found" / "dev.tsv").is_file()


def test_a_damaged_config_is_one_line(network, inputs, tmp_path, capsys):
    for number, change in enumerate(({"num_attention_heads": "many"}, {"num_hidden_layers": None})):
        folder = shutil.copytree(network, tmp_path / str(number))
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **change}))
        sub = SubModelOptions(model_name_or_path=str(folder), sub_model_output_dir=str(tmp_path / "sub"))
        found = search_options(folder, inputs, tmp_path / "found")
        for main, options in ((export_model.main, sub), (search.main, found)):
            assert run_script(main, tiny.arguments(options)) == 2
            assert re.fullmatch(r"error: .*config\.json: .*\n", capsys.readouterr().err)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]


# What users get wrong

CASES = [
    (TRAIN, {"model_name_or_path": "nope"}, "nope: no such model folder"),
    (TRAIN, {"model_name_or_path": "<lstm>"}, "expected a BERT, its config.json says 'bilstm'"),
    (TRAIN, {"output_dir": "<teacher>/vocab.txt/o"}, "vocab.txt is a file, expected a folder"),
    (EXPORT, {"sub_model_output_dir": "<teacher>/vocab.txt/o"}, "vocab.txt is a file, expected a folder"),
    (EXPORT, {"static_sub_model": "<teacher>/vocab.txt/o"}, "vocab.txt is a file, expected a folder"),
    (SEARCH, {"output_dir": "<teacher>/vocab.txt/o"}, "vocab.txt is a file, expected a folder"),
    (TRAIN, {"model_name_or_path": "<pair_teacher>"}, "one of teacher and task reads pairs"),
    (TRAIN, {"width_mult_list": "1.0 0.8"}, "width 0.8 of 4 keeps no whole number; these do: 1, 0.75, 0.5, 0.25"),
    (TRAIN, {"width_mult_list": "0.5"}, "--width_mult_list .*: 1.0, the whole network, must be among them"),
    (TRAIN, {"width_mult_list": "1.0 1.5"}, "every multiplier must be above 0 and at most 1"),
    (TRAIN, {"depth_mult_list": "1.0 0.6"}, "depth 0.6 of 4 keeps no whole number"),
    (TRAIN, {"stage": "depth"}, "--stage depth needs depths below 1"),
    (TRAIN, {"stage": "final"}, r"no ofa.json here; expected a folder that ofa_bert.run_glue_ofa wrote"),
    (TRAIN, {"lambda_logit": "0", "lambda_rep": "0"}, "the width stage has no loss"),
    (TRAIN, {"n_gpu": "2"}, "--n_gpu 2: one process uses one GPU; start several with"),
    (TRAIN, {"model_type": "ernie"}, "--model_type ernie: expected one of bert"),
    (TRAIN, {"max_seq_length": "65"}, "--max_seq_length 65: .* has 64 positions"),
    (TRAIN, {"transfer_set": "nope.txt"}, "--transfer_set nope.txt: no such file or folder"),
    (TRAIN, {"data_dir": "nope"}, "nope: no such folder"),
    (EXPORT, {"model_name_or_path": "<teacher>"}, r"no ofa.json here"),
    (EXPORT, {"width_mult": "0.6"}, "width 0.6 of 4 keeps no whole number"),
    (EXPORT, {"depth_mult": "0"}, "--depth_mult 0.*: must be above 0 and at most 1"),
    (EXPORT, {"max_seq_length": "65"}, "--max_seq_length 65: .* has 64 positions"),
    (EXPORT, {"sub_model_output_dir": "<network>"}, "is not empty"),
    (EXPORT, {"static_sub_model": "<out>"}, "must be apart from --sub_model_output_dir"),
    (EXPORT, {"data_dir": "nope"}, "--data_dir goes with --static_sub_model"),
    (EXPORT, {"data_dir": "nope", "static_sub_model": "static"}, "nope: no such folder"),
    (SEARCH, {"model_dir": "<teacher>"}, r"no ofa.json here"),
    (SEARCH, {"data_dir": "nope"}, "nope: no such folder"),
    (SEARCH, {"dev_file": "dev.tsv"}, "--data_dir and --dev_file exclude each other"),
    (SEARCH, {"max_params": "16MB"}, "--max_params 16MB: expected a number above 0 such as 16M"),
    (SEARCH, {"max_latency_ms": "-1"}, "--max_latency_ms -1.*: must be above 0"),
    (SEARCH, {"width_mult_list": "0.3"}, "width 0.3 of 4 keeps no whole number"),
    (SEARCH, {"seq_len": "65"}, "--seq_len 65: the network has 64 positions"),
    (SEARCH, {"teacher_dir": "nope"}, "nope: no such model folder"),
    (SEARCH, {"output_dir": "<network>"}, "holds --model_dir .*, which is read"),
    (SEARCH, {"teacher_dir": "<pair_teacher>"}, "one of teacher and task reads pairs"),
    (TRAIN, {"max_seq_length": "2"}, "--max_seq_length 2: a BERT needs at least 3"),
    (TRAIN, {"task_name": "None"}, "give --task_name, or your own data"),
    (TRAIN, {"transfer_set": "<pair_store>"}, "its rows have 2 text.s., those of sst-2 have 1"),
    (
        TRAIN,
        {"stage": "width", "depth_mult_list": "1.0 0.5"},
        "--depth_mult_list goes with --stage all, depth or final",
    ),
    (TRAIN, {"stage": "width", "final_epochs": "1"}, "--final_epochs: this run has no final stage"),
    (
        TRAIN,
        {"stage": "final", "model_name_or_path": "<network>", "width_mult_list": "1.0 0.25"},
        "trained for 1, 0.75, 0.5",
    ),
    (EXPORT, {"max_seq_length": "1"}, "--max_seq_length 1: a BERT needs at least 3"),
    (EXPORT, {"static_sub_model": "<out>/inner"}, "must be apart from --sub_model_output_dir"),
]


@pytest.mark.parametrize(("script", "changes", "message"), CASES)
def test_bad_input_is_one_line_and_exit_code_two(inputs, network, tmp_path, capsys, script, changes, message):
    mains = {TRAIN: run_glue_ofa.main, EXPORT: export_model.main, SEARCH: search.main}
    out = tmp_path / "out"
    bases = {
        TRAIN: tiny.arguments(ofa_options(inputs, out)),
        EXPORT: ["--model_name_or_path", str(network), "--sub_model_output_dir", str(out)],
        SEARCH: tiny.arguments(search_options(network, inputs, out)),
    }
    places = {"<network>": network, "<out>": out, **{f"<{path.name}>": path for path in inputs.iterdir()}}

    def filled(word):
        head, close, rest = word.partition(">")
        return f"{places[head + close]}{rest}" if close else word

    line = bases[script]
    for name, value in changes.items():
        if f"--{name}" in line:
            start = line.index(f"--{name}")
            end = next((i for i in range(start + 1, len(line)) if line[i].startswith("--")), len(line))
            line = line[:start] + line[end:]
        if value is not None:
            line = [*line, f"--{name}", *map(filled, value.split())]
    before = sorted(network.rglob("*"))
    assert run_script(mains[script], line) == 2
    captured = capsys.readouterr()
    lines = [text for text in captured.err.splitlines() if text.startswith("error: ")]
    assert len(lines) == 1
    assert re.search(message, lines[0]), lines[0]
    assert "Traceback" not in captured.err
    assert not out.exists()
    assert sorted(network.rglob("*")) == before


def test_a_network_goes_on_by_its_own_rule(network, inputs, tmp_path):
    with pytest.raises(InputError, match="--layer_rule keep_first: .* was trained with keep_last"):
        ofa_train.train(
            ofa_options(inputs, tmp_path / "o", stage="final", model_name_or_path=str(network), layer_rule="keep_first")
        )


# The published command lines

PUBLISHED_TRAIN = (
    "--model_type bert --model_name_or_path bert-QQP --task_name QQP --max_seq_length 128 --batch_size 32 "
    "--learning_rate 2e-5 --num_train_epochs 6 --logging_steps 10 --save_steps 500 --output_dir ./tmp/QQP/ --n_gpu 1 "
    "--width_mult_list 1.0 0.8333333333333334 0.6666666666666666 0.5"
)
PUBLISHED_EXPORT = (
    "--model_type bert --model_name_or_path bert-QQP-ofa --max_seq_length 128 "
    "--sub_model_output_dir ./tmp/QQP/dynamic_model --static_sub_model ./tmp/QQP/static_model --n_gpu 1 "
    "--width_mult  0.6666666666666666"
)


def test_the_published_command_lines_are_read():
    options = parse(OfaOptions, PUBLISHED_TRAIN.split(), "")
    assert options.task().name == "qqp"
    assert (options.num_train_epochs, options.learning_rate, options.stages) == (6, 2e-5, ("width",))
    assert [round(12 * width, 6) for width in options.width_mult_list] == [12, 10, 8, 6]
    sub = parse(SubModelOptions, PUBLISHED_EXPORT.split(), "")
    assert (sub.width_mult, sub.depth_mult, sub.static_sub_model) == (2 / 3, 1.0, "./tmp/QQP/static_model")
    assert (
        parse(SubModelOptions, [*PUBLISHED_EXPORT.split(), "--static_sub_model", "None"], "").static_sub_model is None
    )


def test_the_folder_of_a_finished_network_loads_as_a_plain_bert(network):
    loaded = model_folder.load(network)
    assert type(loaded.model).__name__ == "BertForSequenceClassification"

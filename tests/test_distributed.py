"""Two processes under ``paddle.distributed.launch`` end where one does; devices that are not there are named."""

from __future__ import annotations

import json
import random
import shutil

import numpy as np
import pytest
import tiny
from test_masked_lm import write_stored
from test_questions import write_small

from console import InputError
from core.distributed import World, choose_device, main_first
from distill_lstm.train import distill, train_small
from finetune.mrc import finetune as finetune_mrc
from finetune.options import MrcOptions
from mlm_distill.corpus import create as create_corpus
from mlm_distill.options import CorpusOptions, RunDistillOptions
from mlm_distill.train import distill as distill_masked
from models.weights import read_safetensors
from ofa_bert.options import OfaOptions
from ofa_bert.train import train as train_ofa
from tinybert.options import TaskDistillOptions
from tinybert.train import distill as distil_layers


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """57 rows: in batches of 8 the last one holds a single row, and the second process has none of it."""
    root = tmp_path_factory.mktemp("inputs")
    tiny.write_single(root / "data", train=57)
    tiny.write_pretrained(root / "bert")
    tiny.write_model(root / "teacher")
    return root


def launch(script, options, logs, **environment):
    """Runs a script in two processes."""
    command = ["-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--log_dir", str(logs)]
    done = tiny.run([*command, str(tiny.ROOT / script), *tiny.arguments(options)], **environment)
    said = "\n".join(path.read_text(errors="replace") for path in sorted(logs.glob("workerlog.*")))
    return done.returncode, said


def assert_equal_models(folder, reference):
    found, expected = (read_safetensors(path / "model.safetensors") for path in (folder, reference))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-5, err_msg=name)


def test_two_processes_learn_from_labels_what_one_does(inputs, tmp_path):
    changes = {"dropout_prob": 0.0, "batch_size": 8, "lr": 1e-3, "average_checkpoints": 2}
    vocabulary = inputs / "bert" / "vocab.txt"
    one = train_small(tiny.small_options(tmp_path / "one" / "run", inputs / "data", vocabulary, **changes))
    options = tiny.small_options(tmp_path / "two" / "run", inputs / "data", vocabulary, **changes)
    # With the script's own set-up of the process, which starts it again in every worker.
    code, said = launch("distill_lstm/small.py", options, tmp_path / "logs", PADDLEDISTILL_NO_TUNING="")
    assert code == 0, said
    assert_equal_models(tmp_path / "two" / "run", tmp_path / "one" / "run")
    two = json.loads((tmp_path / "two" / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert (one["processes"], two["processes"]) == (1, 2)
    assert two["training"]["rows"] == one["training"]["rows"] == 2 * 57
    assert two["dev"] == one["dev"]
    # Only the main process writes and logs.
    assert said.count("step 16: evaluation") == 1


def test_two_processes_distil_what_one_does(inputs, tmp_path):
    changes = {"dropout_prob": 0.0, "batch_size": 8, "lr": 1e-3, "max_epoch": 1, "cache_dir": str(tmp_path / "cache")}
    options = tiny.distill_options(tmp_path / "two" / "run", inputs / "data", inputs / "teacher", **changes)
    code, said = launch("distill_lstm/bert_distill.py", options, tmp_path / "logs")
    assert code == 0, said
    metrics = json.loads((tmp_path / "two" / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["teacher"]["computed_rows"] > 0
    # The single process finds what the two have left in the cache.
    one = distill(tiny.distill_options(tmp_path / "one" / "run", inputs / "data", inputs / "teacher", **changes))
    assert one["teacher"]["computed_rows"] == 0
    assert one["transfer_rows"] == metrics["transfer_rows"]
    assert_equal_models(tmp_path / "two" / "run", tmp_path / "one" / "run")


def test_two_processes_train_a_once_for_all_network_as_one_does(inputs, tmp_path):
    def options(name):
        return OfaOptions(
            task_name="sst-2",
            data_dir=str(inputs / "data"),
            model_name_or_path=str(inputs / "teacher"),
            output_dir=str(tmp_path / name / "run"),
            cache_dir=str(tmp_path / "cache"),
            width_mult_list=(1.0, 0.5),
            depth_mult_list=(1.0, 0.5),
            sub_networks_per_step=3,
            choose_by="teacher",
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            max_seq_length=24,
            batch_size=8,
            # Adam would blow up the rounding noise in gradients that are nothing, such as that of the keys' bias.
            optimizer="adadelta",
            learning_rate=0.1,
            num_train_epochs=1,
            device="cpu",
        )

    one = train_ofa(options("one"))
    # Over a run that has finished: no process may take its stages for its own.
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    code, said = launch("ofa_bert/run_glue_ofa.py", options("two").replace(overwrite=True), tmp_path / "logs")
    assert code == 0, said
    assert "this stage had finished" not in said
    two = json.loads((tmp_path / "two" / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert (one["processes"], two["processes"]) == (1, 2)
    for stage in ("width", "depth", "."):
        assert_equal_models(tmp_path / "two" / "run" / stage, tmp_path / "one" / "run" / stage)


@pytest.mark.parametrize("budget", ["0", "1GB"])
def test_two_processes_distil_layers_as_one_does(inputs, tmp_path, budget):
    def options(name):
        return TaskDistillOptions(
            task_name="sst-2",
            data_dir=str(inputs / "data"),
            teacher_model=str(inputs / "teacher"),
            output_dir=str(tmp_path / name / "run"),
            cache_dir=str(tmp_path / "cache"),
            num_hidden_layers=1,
            hidden_size=8,
            intermediate_size=16,
            num_attention_heads=2,
            max_seq_length=24,
            batch_size=8,
            optimizer="adadelta",
            intermediate_learning_rate=0.1,
            learning_rate=0.1,
            intermediate_epochs=2,
            num_train_epochs=1,
            cache_budget=budget,
            device="cpu",
        )

    code, said = launch("tinybert/task_distill.py", options("two"), tmp_path / "logs")
    assert code == 0, said
    distil_layers(options("one"))
    two = json.loads((tmp_path / "two" / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert two["processes"] == 2
    for stage in ("intermediate", "prediction", "."):
        assert_equal_models(tmp_path / "two" / "run" / stage, tmp_path / "one" / "run" / stage)


ALL_OF_LAYERS = {"attention_weight": 1.0, "relations": "minilmv2", "patient_weight": 1.0}


@pytest.mark.parametrize("kind", ["layers", "relations", "text"])
def test_two_processes_distil_a_masked_language_model_as_one_does(tmp_path, kind):
    """Other tokens are hidden in every pass, and the processes' shares of a batch hide other numbers of them."""
    write_stored(tmp_path)
    made = {"model_name": str(tmp_path / "masked_teacher"), "language": "en", "max_seq_length": 24, "max_workers": 1}
    made |= {"input_dir": (str(tmp_path / "few.txt"),), "dynamic_masking": True}
    create_corpus(CorpusOptions(**made, output_dir=str(tmp_path / "dynamic")))

    def options(name):
        return RunDistillOptions(
            input_file=str(tmp_path / "dynamic"),
            student_model=str(tmp_path / "small"),
            teacher="none" if kind == "text" else str(tmp_path / "masked_teacher"),
            output_dir=str(tmp_path / name / "run"),
            cache_dir=str(tmp_path / "cache"),
            batch_size=8,
            # Adam would blow up the rounding noise in gradients that are nothing, such as that of the keys' bias.
            optimizer="adadelta",
            learning_rate=0.1,
            num_train_epochs=2,
            device="cpu",
            **(ALL_OF_LAYERS if kind == "relations" else {}),
        )

    code, said = launch("mlm_distill/run_distill.py", options("two"), tmp_path / "logs")
    assert code == 0, said
    distill_masked(options("one"))
    two = json.loads((tmp_path / "two" / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert two["processes"] == 2
    assert_equal_models(tmp_path / "two" / "run", tmp_path / "one" / "run")


def test_text_files_of_several_shards_become_a_corpus_of_two_processes(tmp_path):
    write_stored(tmp_path)
    files = [write_text(tmp_path / f"t{n}.txt", n) for n in range(3)]
    for path in files:
        # A blank line, with which a file is large enough for a shard of its own.
        path.write_text(f"{path.read_text()}\n{' ' * (1 << 19)}\n")
    (tmp_path / "files.json").write_text(json.dumps({"train": [path.name for path in files]}))
    options = RunDistillOptions(
        data_files_json=str(tmp_path / "files.json"),
        data_cache_dir=str(tmp_path / "made"),
        language="en",
        max_seq_length=24,
        student_model=str(tmp_path / "small"),
        teacher="none",
        output_dir=str(tmp_path / "out" / "run"),
        cache_dir=str(tmp_path / "cache"),
        batch_size=8,
        max_steps=2,
        device="cpu",
    )
    code, said = launch("mlm_distill/run_distill.py", options, tmp_path / "logs")
    assert code == 0, said
    # A shard for each file.
    assert json.loads((tmp_path / "made" / "corpus.json").read_text())["shards"] == 3
    assert json.loads((tmp_path / "out" / "run" / "metrics.json").read_text())["processes"] == 2


def write_text(path, seed):
    rng = random.Random(seed)
    path.write_text("\n\n".join(tiny.sentence(rng, n % 2) for n in range(12)) + "\n")
    return path


def test_two_processes_learn_to_find_answers_as_one_does(tmp_path):
    write_small(tmp_path / "questions")
    tiny.write_pretrained(tmp_path / "bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)

    def options(name):
        return MrcOptions(
            task_name="cmrc2018",
            data_dir=str(tmp_path / "questions"),
            model_name_or_path=str(tmp_path / "bert"),
            output_dir=str(tmp_path / name / "run"),
            cache_dir=str(tmp_path / "cache"),
            max_seq_length=16,
            max_query_length=3,
            batch_size=8,
            optimizer="adadelta",
            learning_rate=0.1,
            num_train_epochs=1,
            device="cpu",
        )

    code, said = launch("finetune/run_mrc.py", options("two"), tmp_path / "logs")
    assert code == 0, said
    finetune_mrc(options("one"))
    assert_equal_models(tmp_path / "two" / "run", tmp_path / "one" / "run")


def test_a_gpu_that_this_build_has_not_is_named():
    with pytest.raises(InputError, match=r"the installed build is paddlepaddle 3\S+, and it is built without CUDA"):
        choose_device("gpu")


def test_a_gpu_build_without_a_gpu_is_told_apart(monkeypatch):
    monkeypatch.setattr("paddle.device.is_compiled_with_cuda", lambda: True)
    monkeypatch.setattr("paddle.device.cuda.device_count", lambda: 0)
    with pytest.raises(InputError, match="this machine shows no GPU to it"):
        choose_device("gpu")
    assert choose_device("auto") == "cpu"


def test_auto_takes_the_gpu_where_there_is_one(monkeypatch):
    monkeypatch.setattr("paddle.device.is_compiled_with_cuda", lambda: True)
    monkeypatch.setattr("paddle.device.cuda.device_count", lambda: 1)
    assert choose_device("auto") == "gpu"
    assert choose_device("cpu") == "cpu"


def test_gpu_on_this_build_ends_the_script_with_exit_code_two(inputs, tmp_path):
    vocabulary = inputs / "bert" / "vocab.txt"
    options = tiny.small_options(tmp_path / "run", inputs / "data", vocabulary, device="gpu")
    done = tiny.run(["-m", "distill_lstm.small", *tiny.arguments(options)])
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2
    assert len(errors) == 1
    assert "the installed build is paddlepaddle 3." in errors[0]
    assert not (tmp_path / "run").exists()


def test_a_single_process_works_once():
    calls = []
    assert main_first(World(), lambda: calls.append(1) or "done") == "done"
    assert calls == [1]


@pytest.mark.parametrize(("rank", "order"), [(0, ["work", "barrier"]), (1, ["barrier", "work"])])
def test_the_main_process_works_first(monkeypatch, rank, order):
    events = []
    monkeypatch.setattr("paddle.distributed.barrier", lambda: events.append("barrier"))
    assert main_first(World(rank, 2), lambda: events.append("work") or rank) == rank
    assert events == order

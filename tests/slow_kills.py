"""Kills a run before every step that it takes on the disk, then goes on: ``make test-slow``.

A child process is killed by SIGKILL right before the n-th of its calls of fsync, rename, replace, unlink, rmdir, mkdir,
open for writing or truncate. After that the same command with ``--resume`` must end with the weights of a run that was
never killed, and nothing of the killed one may be left. So must a plain command where nothing had begun, and
``--overwrite`` where something had.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny

from console import InputError, run_script

CALLS = ("fsync", "rename", "replace", "unlink", "rmdir", "mkdir", "ftruncate")


def in_fork(work: Callable[[], int], log: Path) -> int:
    """Runs ``work`` in a copy of this process; its exit code, or the negative number of the signal that ended it."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            sys.stdout = sys.stderr = open(log, "a")  # noqa: SIM115 - the process ends below
            code = work()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def killed_before(number: int, work: Callable[[], int]) -> Callable[[], int]:
    """``work`` in a process that is killed before its n-th step on the disk."""

    def run() -> int:
        count = [0]

        def counted(call: Callable) -> Callable:
            def step(*arguments: object, **more: object) -> object:
                count[0] += 1
                if count[0] == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*arguments, **more)

            return step

        for name in CALLS:
            setattr(os, name, counted(getattr(os, name)))
        return work()

    return run


def left_behind(folder: Path) -> list[str]:
    """Hidden files and folders: whatever a finished run has, none of it is hidden."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob(".*"))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    # Nothing may have computed before the forks: threads of matrix libraries do not survive them. What needs a
    # network is made by a process of its own.
    root = tmp_path_factory.mktemp("inputs")
    code = f"""
import sys; sys.path[:0] = [{str(tiny.ROOT / "tests")!r}]
import tiny; from pathlib import Path
root = Path({str(root)!r})
tiny.write_single(root / "data"); tiny.write_pretrained(root / "bert"); tiny.write_model(root / "teacher")
from test_masked_lm import write_stored; write_stored(root)
from test_questions import write_small; write_small(root / "questions")
tiny.write_model(root / "wide", tiny.bert(hidden_size=24, num_attention_heads=4, num_hidden_layers=4))
"""
    assert tiny.run(["-c", code]).returncode == 0
    return root


def commands(inputs: Path, folder: Path) -> dict[str, tuple[Callable, list[str]]]:
    """What is run, by name: its ``main`` and its command line."""
    # The work is imported here, so that not every child must.
    import distill_lstm.train
    import finetune.mrc
    import finetune.train
    import mlm_distill.train
    import ofa_bert.train
    import tinybert.general
    from distill_lstm import bert_distill, small
    from finetune import run_classifier, run_mrc
    from mlm_distill import run_distill
    from ofa_bert import run_glue_ofa
    from tinybert import general_distill, task_distill

    assert distill_lstm.train and finetune.train and ofa_bert.train and tinybert.general
    assert finetune.mrc and mlm_distill.train

    rhythm = {"eval_steps": 3, "save_steps": 2, "average_checkpoints": 2, "max_steps": 6}
    vocabulary = inputs / "bert" / "vocab.txt"
    ofa = {
        **{"task_name": "sst-2", "data_dir": inputs / "data", "model_name_or_path": inputs / "wide"},
        **{"output_dir": folder, "cache_dir": folder.parent / "cache", "num_train_epochs": 1, "max_steps": 2},
        **{"max_seq_length": 24, "width_mult_list": "1.0 0.5", "depth_mult_list": "1.0 0.5", "device": "cpu"},
    }
    student = {"num_hidden_layers": 1, "hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 2}
    layers = {
        **student,
        **{"task_name": "sst-2", "data_dir": inputs / "data", "teacher_model": inputs / "teacher", "device": "cpu"},
        **{"output_dir": folder, "cache_dir": folder.parent / "cache", "max_steps": 2, "max_seq_length": 24},
        # Rows are read twice, so that what is stored is killed too.
        **{"cache_budget": "1GB", "aug_train": "", "N": 1, "M": 2, "batch_size": 200},
    }
    raw = {
        **student,
        **{"text": inputs / "data" / "train.tsv", "teacher_model": inputs / "bert", "device": "cpu", "max_steps": 2},
        **{"output_dir": folder, "cache_dir": folder.parent / "cache", "max_seq_length": 24, "held_out": 0.1},
    }
    masked = {
        **{
            "input_file": inputs / "answers",
            "student_model": inputs / "small",
            "truncation_factor": 6,
            "device": "cpu",
        },
        **{"output_dir": folder, "cache_dir": folder.parent / "cache", "batch_size": 8, "max_steps": 3},
    }
    reading = {
        **{"task_name": "cmrc2018", "data_dir": inputs / "questions", "model_name_or_path": inputs / "bert"},
        **{"output_dir": folder, "cache_dir": folder.parent / "cache", "max_seq_length": 16, "max_query_length": 3},
        **{"max_steps": 2, "device": "cpu", "batch_size": 8},
    }
    return {
        "masked": (run_distill.main, [word for k, v in masked.items() for word in (f"--{k}", str(v))]),
        "reading": (run_mrc.main, [word for k, v in reading.items() for word in (f"--{k}", str(v))]),
        "tinybert": (
            task_distill.main,
            [word for k, v in layers.items() for word in (f"--{k}", *str(v).split())],
        ),
        "general": (
            general_distill.main,
            [word for k, v in raw.items() for word in (f"--{k}", *str(v).split())],
        ),
        "small": (small.main, tiny.arguments(tiny.small_options(folder, inputs / "data", vocabulary, **rhythm))),
        "finetune": (
            run_classifier.main,
            tiny.arguments(tiny.finetune_options(folder, inputs / "data", inputs / "bert", max_steps=2)),
        ),
        "distill": (
            bert_distill.main,
            tiny.arguments(tiny.distill_options(folder, inputs / "data", inputs / "teacher", max_steps=2)),
        ),
        "ofa": (run_glue_ofa.main, [word for k, v in ofa.items() for word in (f"--{k}", *str(v).split())]),
    }


@pytest.mark.parametrize("name", ["small", "finetune", "distill", "ofa", "tinybert", "general", "masked", "reading"])
@pytest.mark.parametrize("way", ["resume", "overwrite"])
def test_a_run_killed_before_any_step_on_the_disk_ends_all_the_same(inputs, tmp_path, name, way):
    def run(folder: Path, *more: str) -> Callable[[], int]:
        main, argv = commands(inputs, folder / "run")[name]
        return lambda: run_script(main, [*argv, *more])

    log = tmp_path / "log"
    assert in_fork(run(tmp_path / "whole"), log) == 0, log.read_text()
    expected = (tmp_path / "whole" / "run" / "model.safetensors").read_bytes()
    number, failures = 0, []
    while True:
        number += 1
        folder = tmp_path / str(number)
        code = in_fork(killed_before(number, run(folder)), log)
        if code == 0:
            break
        assert code == -signal.SIGKILL, log.read_text()
        log.write_text("")
        begun = (folder / "run" / "training_args.json").is_file()
        # Where nothing had begun, a plain command must do.
        word = [f"--{way}"] if begun or way == "resume" else []
        code = in_fork(run(folder, *word), log)
        model = folder / "run" / "model.safetensors"
        same = model.is_file() and model.read_bytes() == expected
        if code or not same or left_behind(folder):
            failures.append((number, word, code, same, left_behind(folder), log.read_text()[-300:]))
    assert failures == [], f"{len(failures)} of {number - 1} kills"
    assert number > 30


def is_whole(export: Path) -> bool:
    """Whether all files of an export are there, as their checksums say."""
    from core.export import read_export_config

    try:
        return bool(read_export_config(export))
    except InputError:
        return False


def test_an_export_killed_before_any_step_on_the_disk_leaves_a_whole_one(inputs, tmp_path):
    """In every form, over an earlier export: one of the two is whole at any time, and the same command then ends."""
    # Imported here, so that not every child must.
    import onnxruntime  # noqa: F401

    from core.export import read_export_config
    from deploy import export, exporter  # noqa: F401

    def run(target: Path, *more: str) -> Callable[[], int]:
        words = [
            "--model_dir",
            str(inputs / "teacher"),
            "--data_dir",
            str(inputs / "data"),
            "--output_dir",
            str(target),
        ]
        words += ["--format", "paddle,onnx,onnx-int8", "--max_accuracy_drop", "100"]
        return lambda: run_script(export.main, [*words, *more])

    log = tmp_path / "log"
    old = tmp_path / "old"
    assert in_fork(run(old), log) == 0, log.read_text()
    number, failures = 0, []
    while True:
        number += 1
        place = tmp_path / str(number)
        shutil.copytree(old, place / "exported")
        code = in_fork(killed_before(number, run(place / "exported", "--overwrite")), log)
        if code == 0:
            break
        assert code == -signal.SIGKILL, log.read_text()
        log.write_text("")
        # The earlier one, wherever it stands at the moment, or the new one.
        whole = [path.parent for path in place.rglob("export.json") if is_whole(path.parent)]
        code = in_fork(run(place / "exported", "--overwrite"), log)
        known = read_export_config(place / "exported") if code == 0 else {}
        if code or not whole or set(known["forms"]) != {"paddle", "onnx", "onnx-int8"} or left_behind(place):
            failures.append((number, code, whole, left_behind(place), log.read_text()[-300:]))
    assert failures == [], f"{len(failures)} of {number - 1} kills"
    assert number > 5

"""Runs that are killed, interrupted, changed or finished, and what --resume and --overwrite make of them."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest
import tiny

from console import run_script
from core.train import Updater
from distill_lstm import bert_distill, small
from finetune import run_classifier
from models import folder as model_folder
from models.weights import read_safetensors

# Three numbers without a common divisor: kills fall between lines, checkpoints and evaluations.
RHYTHM = {"save_steps": 7, "eval_steps": 10, "logging_steps": 3, "average_checkpoints": 2}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Data, a pre-trained BERT, a teacher."""
    root = tmp_path_factory.mktemp("inputs")
    tiny.write_single(root / "data")
    tiny.write_pretrained(root / "bert")
    tiny.write_model(root / "teacher")
    return root


def finetuning(inputs, folder, **changes):
    return tiny.finetune_options(folder, inputs / "data", inputs / "bert", **{**RHYTHM, **changes})


def distillation(inputs, folder, **changes):
    return tiny.distill_options(folder, inputs / "data", inputs / "teacher", **{**RHYTHM, **changes})


def on_labels(inputs, folder, **changes):
    values = {**RHYTHM, "max_epoch": 6, **changes}
    return tiny.small_options(folder, inputs / "data", inputs / "bert" / "vocab.txt", **values)


def equal_runs(folder, reference):
    """Same weights to the bit, same log but for the clock, same files."""
    assert (folder / "model.safetensors").read_bytes() == (reference / "model.safetensors").read_bytes()
    assert tiny.log_rows(folder) == tiny.log_rows(reference)
    assert {path.name for path in folder.iterdir()} == {path.name for path in reference.iterdir()}
    ours, theirs = (json.loads((path / "metrics.json").read_text()) for path in (folder, reference))
    assert ours["dev"] == theirs["dev"]
    assert {**ours["training"], "seconds": 0} == {**theirs["training"], "seconds": 0}
    return True


@pytest.mark.parametrize(
    ("module", "make", "epochs"),
    [
        ("finetune.run_classifier", finetuning, {"num_train_epochs": 30}),
        ("distill_lstm.bert_distill", distillation, {"max_epoch": 15}),
    ],
    ids=["finetune", "distill"],
)
def test_a_run_killed_twice_ends_with_the_bits_of_one_that_was_not(inputs, tmp_path, module, make, epochs):
    scripts = {"finetune.run_classifier": run_classifier, "distill_lstm.bert_distill": bert_distill}
    whole = make(inputs, tmp_path / "whole" / "run", **epochs)
    assert run_script(scripts[module].main, tiny.arguments(whole)) == 0

    options = make(inputs, tmp_path / "killed" / "run", **epochs)
    tiny.kill(tiny.started_until(module, options, 8))
    assert "going on from step" in tiny.kill(tiny.started_until(module, options, 35, "--resume"))
    child = tiny.start(module, *tiny.arguments(options), "--resume")
    out, err = child.communicate(timeout=300)
    assert child.returncode == 0, err
    assert "going on from step" in out
    assert equal_runs(tmp_path / "killed" / "run", tmp_path / "whole" / "run")


def test_ctrl_c_saves_and_says_how_to_go_on(inputs, tmp_path):
    whole = finetuning(inputs, tmp_path / "whole" / "run", num_train_epochs=25)
    assert run_script(run_classifier.main, tiny.arguments(whole)) == 0

    options = finetuning(inputs, tmp_path / "run", num_train_epochs=25)
    child = tiny.started_until("finetune.run_classifier", options, 10)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=300)
    assert child.returncode == 130
    assert "saving after this step" in out
    message = err.strip().splitlines()[-1]
    assert message.startswith("stopped at step ")
    assert message.endswith("give the same command with --resume to go on")
    assert "Traceback" not in err
    # The checkpoint is that of the very step it stopped at.
    state = json.loads((tmp_path / "run" / "checkpoint" / "state.json").read_text())
    assert f"stopped at step {state['step']} of 100" in message

    assert run_script(run_classifier.main, [*tiny.arguments(options), "--resume"]) == 0
    assert equal_runs(tmp_path / "run", tmp_path / "whole" / "run")


@pytest.fixture
def stopped(inputs, tmp_path, monkeypatch):
    """Runs the small recipe until a step and leaves it there, as if the process had gone."""

    def stop(step, **changes):
        options = on_labels(inputs, tmp_path / "run", **changes)
        with monkeypatch.context() as patch:
            update = Updater.update

            def stopping(self, group, number):
                if number == step:
                    raise KeyboardInterrupt
                return update(self, group, number)

            patch.setattr(Updater, "update", stopping)
            assert run_script(small.main, tiny.arguments(options)) == 130
        return options

    return stop


@pytest.fixture(scope="module")
def uninterrupted(inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert run_script(small.main, tiny.arguments(on_labels(inputs, folder))) == 0
    return folder


@pytest.mark.parametrize("step", [1, 7, 8, 10, 12, 20, 23])
def test_wherever_a_run_stops_it_goes_on_as_if_it_had_not(stopped, uninterrupted, step):
    options = stopped(step)
    assert run_script(small.main, [*tiny.arguments(options), "--resume"]) == 0
    assert equal_runs(Path(options.output_dir), uninterrupted)


def test_accumulated_batches_are_resumed_at_a_group(inputs, stopped, tmp_path):
    changes = {"gradient_accumulation_steps": 3, "batch_size": 4, "save_steps": 1}
    folder = tmp_path / "whole" / "run"
    assert run_script(small.main, tiny.arguments(on_labels(inputs, folder, **changes))) == 0
    options = stopped(8, **changes)
    assert run_script(small.main, [*tiny.arguments(options), "--resume"]) == 0
    assert equal_runs(tmp_path / "run", folder)


def test_a_run_stopped_between_its_last_step_and_its_model_is_finished_by_resume(
    inputs, tmp_path, uninterrupted, monkeypatch
):
    options = on_labels(inputs, tmp_path / "run")
    with monkeypatch.context() as patch:

        def stop(self):
            raise KeyboardInterrupt

        patch.setattr("core.train.Loop._choose", stop)
        assert run_script(small.main, tiny.arguments(options)) == 130
    assert run_script(small.main, [*tiny.arguments(options), "--resume"]) == 0
    assert equal_runs(tmp_path / "run", uninterrupted)


def test_options_that_may_differ_may_differ(stopped, inputs, tmp_path):
    stopped(8)
    options = on_labels(inputs, tmp_path / "run", num_workers=0, save_steps=5)
    assert run_script(small.main, [*tiny.arguments(options), "--resume"]) == 0


def errors(capsys, module, options, *more):
    """The one line that a refused command prints."""
    capsys.readouterr()
    assert run_script(module.main, [*tiny.arguments(options), *more]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def contents(folder):
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_changed_options_are_refused_and_listed(stopped, inputs, tmp_path, capsys):
    stopped(8)
    before = contents(tmp_path / "run")
    line = errors(capsys, small, on_labels(inputs, tmp_path / "run", lr=0.5, hidden_size=9), "--resume")
    assert "options differ from those the run began with: --hidden_size was 8, is 9; --lr was 0.01, is 0.5" in line
    assert contents(tmp_path / "run") == before


def test_another_script_cannot_go_on_with_a_run(stopped, inputs, tmp_path, capsys):
    stopped(8)
    line = errors(capsys, bert_distill, distillation(inputs, tmp_path / "run"), "--resume")
    assert "was made by distill_lstm.small, not by distill_lstm.bert_distill" in line


def test_a_folder_that_is_not_empty_needs_resume_or_overwrite(stopped, capsys, tmp_path):
    options = stopped(8)
    before = contents(tmp_path / "run")
    assert "is not empty; pass --resume to go on, --overwrite to replace it" in errors(capsys, small, options)
    assert contents(tmp_path / "run") == before


@pytest.mark.parametrize("flag", ["--overwrite", "--resume"])
def test_a_foreign_folder_is_never_touched(inputs, tmp_path, capsys, flag):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("mine")
    before = contents(tmp_path / "run")
    line = errors(capsys, small, on_labels(inputs, tmp_path / "run"), flag)
    assert line.startswith(f"error: {flag}: {tmp_path / 'run'} has no training_args.json")
    assert contents(tmp_path / "run") == before


def test_an_output_that_is_a_file_is_refused(inputs, tmp_path, capsys):
    (tmp_path / "run").write_text("mine")
    assert "is a file, expected a folder" in errors(capsys, small, on_labels(inputs, tmp_path / "run"), "--overwrite")
    assert (tmp_path / "run").read_text() == "mine"


def test_overwrite_starts_anew(stopped, uninterrupted, tmp_path):
    options = stopped(8)
    (tmp_path / "run" / "old").write_text("x")
    assert run_script(small.main, [*tiny.arguments(options), "--overwrite"]) == 0
    assert equal_runs(tmp_path / "run", uninterrupted)


def test_overwrite_with_bad_input_leaves_the_old_run(stopped, inputs, tmp_path, capsys):
    stopped(8)
    before = contents(tmp_path / "run")
    options = on_labels(inputs, tmp_path / "run", vocab_path="nope")
    assert "nope: no vocabulary here" in errors(capsys, small, options, "--overwrite")
    assert contents(tmp_path / "run") == before


def test_resume_and_overwrite_exclude_each_other(inputs, tmp_path, capsys):
    line = errors(capsys, small, on_labels(inputs, tmp_path / "run"), "--resume", "--overwrite")
    assert "--overwrite and --resume exclude each other" in line


def test_resume_where_nothing_began_starts_a_run(inputs, tmp_path, uninterrupted):
    assert run_script(small.main, [*tiny.arguments(on_labels(inputs, tmp_path / "run")), "--resume"]) == 0
    assert equal_runs(tmp_path / "run", uninterrupted)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("name", ["checkpoint/model.safetensors", "checkpoint/optimizer.safetensors", "kept/best-*"])
def test_a_damaged_checkpoint_is_refused(stopped, capsys, tmp_path, name):
    options = stopped(16)
    (path,) = (tmp_path / "run").glob(name)
    flip(path)
    line = errors(capsys, small, options, "--resume")
    assert "the checkpoint is damaged (its checksum differs); start again with --overwrite" in line
    assert str(path) in line


def test_a_changed_digit_in_the_state_is_noticed(stopped, capsys, tmp_path):
    options = stopped(16)
    path = tmp_path / "run" / "checkpoint" / "state.json"
    state = json.loads(path.read_text())
    for name, value in (("step", state["step"] + 1), ("best", 0.123), ("epoch", 0), ("done", True)):
        path.write_text(json.dumps({**state, name: value}))
        assert "state.json: the checkpoint is damaged (its checksum differs)" in errors(
            capsys, small, options, "--resume"
        )


@pytest.mark.parametrize("content", ["[]", "null", "3", "{}"])
def test_a_state_that_is_something_else_is_noticed(stopped, capsys, tmp_path, content):
    options = stopped(16)
    (tmp_path / "run" / "checkpoint" / "state.json").write_text(content)
    assert "the checkpoint is damaged" in errors(capsys, small, options, "--resume")


def test_a_checkpoint_of_an_earlier_version_is_gone_on_with(stopped, uninterrupted, tmp_path):
    """Their states had no checksum of their own."""
    options = stopped(8)
    path = tmp_path / "run" / "checkpoint" / "state.json"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "state_sha256"}))
    assert run_script(small.main, [*tiny.arguments(options), "--resume"]) == 0
    assert equal_runs(tmp_path / "run", uninterrupted)


@pytest.mark.parametrize("spoil", ["state", "missing", "arguments"])
def test_an_incomplete_checkpoint_is_refused(stopped, capsys, tmp_path, spoil):
    options = stopped(16)
    if spoil == "state":
        (tmp_path / "run" / "checkpoint" / "state.json").write_text("{")
    elif spoil == "missing":
        (tmp_path / "run" / "checkpoint" / "optimizer.safetensors").unlink()
    else:
        (tmp_path / "run" / "training_args.json").write_text("{")
    assert "damaged" in errors(capsys, small, options, "--resume")


def test_a_finished_run_returns_at_once_and_leaves_its_files_alone(inputs, tmp_path, capsys):
    data = shutil.copytree(inputs / "data", tmp_path / "data")
    words = [*tiny.arguments(on_labels(inputs, tmp_path / "run")), "--data_dir", str(data)]
    assert run_script(small.main, words) == 0
    before = contents(tmp_path / "run")
    shutil.rmtree(data)
    capsys.readouterr()
    assert run_script(small.main, [*words, "--resume"]) == 0
    assert "this run had finished" in capsys.readouterr().out
    assert contents(tmp_path / "run") == before


def test_what_a_killed_save_left_is_removed_at_the_end(stopped, tmp_path):
    options = stopped(8)
    (tmp_path / "run" / ".checkpoint-abc").mkdir()
    assert run_script(small.main, [*tiny.arguments(options), "--resume"]) == 0
    assert not list((tmp_path / "run").glob(".checkpoint*"))


def test_the_checkpoint_holds_the_last_weights_and_only_what_is_needed(stopped, tmp_path):
    stopped(23)
    # Saved at 7, 10, 14, 20, 21; evaluated at 10 and 20.
    state = json.loads((tmp_path / "run" / "checkpoint" / "state.json").read_text())
    assert state["step"] == 21
    assert state["snapshots"] == ["snapshot-10.safetensors", "snapshot-20.safetensors"]
    kept = {path.name for path in (tmp_path / "run" / "kept").iterdir()}
    assert kept == {*state["snapshots"], f"best-{state['best_step']}.safetensors"}
    weights = read_safetensors(tmp_path / "run" / "checkpoint" / "model.safetensors")
    assert weights.keys() == read_safetensors(tmp_path / "run" / "kept" / "snapshot-20.safetensors").keys()


def test_the_model_appears_only_when_the_run_is_finished(stopped, tmp_path):
    options = stopped(23)
    assert not (tmp_path / "run" / "model.safetensors").exists()
    assert run_script(small.main, [*tiny.arguments(options), "--resume"]) == 0
    assert model_folder.load(tmp_path / "run").parameters > 0


@pytest.mark.parametrize("kind", ["finetuning", "distillation", "teacher"])
def test_a_run_does_not_go_on_with_other_rows_or_another_teacher(inputs, tmp_path, capsys, kind):
    """Its steps would be others: fewer rows than it had read in a pass would even never end."""
    for name in ("data", "bert", "teacher"):
        shutil.copytree(inputs / name, tmp_path / name)
    make, module = (
        (finetuning, "finetune.run_classifier") if kind == "finetuning" else (distillation, "distill_lstm.bert_distill")
    )
    given = make(tmp_path, tmp_path / "run")
    tiny.kill(tiny.started_until(module, given, 3))
    if kind == "teacher":
        shutil.rmtree(tmp_path / "teacher")
        tiny.write_model(tmp_path / "teacher", tiny.bert(seed=9))
    else:
        train = tmp_path / "data" / "train.tsv"
        lines = train.read_text().splitlines()
        train.write_text("\n".join(lines[: len(lines) // 4]) + "\n")
    main = run_classifier.main if kind == "finetuning" else bert_distill.main
    assert run_script(main, [*tiny.arguments(given), "--resume"]) == 2
    what = "teacher" if kind == "teacher" else "set of rows to learn from"
    assert (
        f"this run began with another {what}; give that one, or start anew with --overwrite" in capsys.readouterr().err
    )

"""What users get wrong: one line that says so, exit code 2, nothing left behind. And --help, everywhere."""

from __future__ import annotations

import importlib
import re

import pytest
import tiny

from console import run_script

# Every module that can be started, found rather than listed.
SCRIPTS = sorted(
    ".".join(path.relative_to(tiny.ROOT).with_suffix("").parts)
    for path in (*tiny.ROOT.glob("*.py"), *tiny.ROOT.glob("*/*.py"))
    if path.parts[-2] not in ("tests", "benchmarks") and "raise SystemExit(run_script(main))" in path.read_text("utf-8")
)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Good data and models, and bad ones beside them."""
    root = tmp_path_factory.mktemp("inputs")
    good = tiny.write_single(root / "data")
    for name, train in BAD_DATA.items():
        tiny.write_single(root / name)
        (root / name / "train.tsv").write_bytes(train)
    (root / "no_dev").mkdir()
    (root / "no_dev" / "train.tsv").write_bytes((good / "train.tsv").read_bytes())
    tiny.write_pretrained(root / "bert")
    tiny.write_model(root / "teacher")
    broken = tiny.write_model(root / "broken")
    (broken / "model.safetensors").write_bytes((broken / "model.safetensors").read_bytes()[:-40])
    return root


BAD_DATA = {
    "no_column": b"text\tlabel\nfine\t1\n",
    "bad_label": b"sentence\tlabel\nfine\t1\nbad\t2\n",
    "no_label": b"sentence\tlabel\nfine\t1\nbad\t\n",
    "latin": b"sentence\tlabel\nfine\t1\ncaf\xe9\t0\n",
    "nul": b"sentence\tlabel\nfine\t1\nb\0d\t0\n",
    "fields": b"sentence\tlabel\nfine\t1\nbad\n",
    "empty_text": b"sentence\tlabel\nfine\t1\n \t0\n",
    "empty": b"",
    "header": b"sentence\tlabel\n",
    "utf16": "sentence\tlabel\n".encode("utf-16"),
}


def base(script, inputs, folder):
    """A command line that works."""
    common = {"task_name": "sst-2", "data_dir": inputs / "data", "output_dir": folder, "cache_dir": inputs / "cache"}
    own = {
        "finetune.run_classifier": {"model_name_or_path": inputs / "bert", "max_seq_length": 24},
        "distill_lstm.small": {"vocab_path": inputs / "bert" / "vocab.txt"},
        "distill_lstm.bert_distill": {"teacher_dir": inputs / "teacher"},
    }
    return {**common, **own[script]}


def words(options):
    """A command line of options; an empty value is a bare flag, None leaves the option out."""
    return [part for name, value in options.items() if value is not None for part in (f"--{name}", *str(value).split())]


FINETUNE, SMALL, DISTILL = "finetune.run_classifier", "distill_lstm.small", "distill_lstm.bert_distill"
OWN_FILES = {"task_name": None, "data_dir": None, "text_columns": "sentence"}
CASES = [
    *((script, {"data_dir": "nope"}, "--data_dir nope: no such folder") for script in (FINETUNE, SMALL, DISTILL)),
    (FINETUNE, {"data_dir": "<no_dev>"}, r"expected dev.tsv, .csv, .jsonl or .json, found train.tsv"),
    (SMALL, {"data_dir": "<no_column>"}, "line 1: expected a column 'sentence', the header has 'text', 'label'"),
    (FINETUNE, {"data_dir": "<bad_label>"}, "line 3: unknown label '2' in column 'label'; expected one of 0, 1"),
    (SMALL, {"data_dir": "<no_label>"}, "line 3: expected a label in column 'label', found none"),
    (DISTILL, {"data_dir": "<latin>"}, "line 3: expected UTF-8, found byte 0xe9 at position 4"),
    (FINETUNE, {"data_dir": "<nul>"}, "line 3: a NUL character in column 'sentence'"),
    (SMALL, {"data_dir": "<fields>"}, r"line 3: expected 2 fields as in the header \(sentence, label\), found 1"),
    (SMALL, {"data_dir": "<empty_text>"}, "line 3: the text in column 'sentence' is empty; mend the row or pass"),
    (SMALL, {"data_dir": "<empty>"}, "the file is empty; expected a header row"),
    (SMALL, {"data_dir": "<header>"}, "no rows left to train on"),
    (SMALL, {"data_dir": "<utf16>"}, "this is UTF-16; save it as UTF-8"),
    (FINETUNE, {"task_name": "sst-3"}, "--task_name sst-3: no such task; known are afqmc, bq_corpus, chnsenticorp"),
    (FINETUNE, {"task_name": None, "data_dir": None}, "give --task_name, or your own data with --train_file"),
    (SMALL, {"train_file": "a.tsv"}, "--task_name and --train_file exclude each other"),
    (SMALL, {**OWN_FILES, "train_file": "nope.tsv", "dev_file": "nope.tsv"}, "nope.tsv: no such file"),
    (FINETUNE, {"output_dir": None}, "--output_dir is required"),
    (DISTILL, {"teacher_dir": None}, "--teacher_dir is required"),
    (DISTILL, {"teacher_dir": "nope"}, "nope: no such model folder"),
    (DISTILL, {"teacher_dir": "<bert>"}, "not trained by PaddleDistill; take it with finetune.import_classifier"),
    (DISTILL, {"teacher_dir": "<broken>"}, "model.safetensors: not a complete safetensors file"),
    (DISTILL, {"transfer_set": "nope.txt"}, "--transfer_set nope.txt: no such file or folder"),
    (DISTILL, {"transfer_set": "<teacher>"}, "no usable transfer set"),
    (DISTILL, {"unlabeled_file": "nope.txt"}, "nope.txt: no such file"),
    (DISTILL, {"unlabeled_file": "<data>/nope.tsv"}, "nope.tsv: no such file"),
    (DISTILL, {"unlabeled_file": "<bert>/config.json"}, "config.json, line 1: missing field 'sentence'"),
    (DISTILL, {"unlabeled_file": "a.txt", "transfer_set": "b.txt"}, "--unlabeled_file and --transfer_set exclude"),
    (DISTILL, {"split_sentences": "True"}, "--split_sentences goes with --unlabeled_file"),
    (DISTILL, {"repair_with": "nearest"}, "--repair_with goes with --repair_pairs"),
    (DISTILL, {"ngram_range": "6 2"}, "--ngram_range 6 2: expected two numbers from 1 up, smaller first"),
    (DISTILL, {"temperature": "2"}, "--temperature goes with --distill_loss soft_ce"),
    (DISTILL, {"distill_loss": "kl"}, "--distill_loss kl: expected one of mse, soft_ce"),
    (DISTILL, {"alpha": "1.5"}, "--alpha 1.5: must lie between 0 and 1"),
    (SMALL, {"embedding_init": "teacher"}, "--embedding_init teacher needs --teacher_dir"),
    (SMALL, {"vocab_path": "nope"}, "nope: no vocabulary here"),
    (SMALL, {"vocab_size": "10"}, r"--vocab_size 10: the vocabulary has \d+ pieces"),
    (SMALL, {"embedding_std": "0.1"}, "--embedding_std goes with --embedding_init teacher"),
    (SMALL, {"pair_features": "product"}, "--pair_features product: goes with pairs, rows of sst-2 have one text"),
    (SMALL, {"pair_alignment": True}, "--pair_alignment True: goes with pairs, rows of sst-2 have one text"),
    (SMALL, {"vocab_min_count": "3"}, "--vocab_min_count 3: goes with vocabularies of Chinese words"),
    (SMALL, {"init_from_ckpt": "nope"}, "nope: no such model folder"),
    (SMALL, {"holdout": "0.001"}, "--holdout 0.001: leaves no rows on one side of 60"),
    (SMALL, {"precision": "fp16"}, "--precision fp16 needs a GPU"),
    (SMALL, {"weight_decay": "0.1"}, "decoupled decay needs --optimizer adamw, not adadelta"),
    (SMALL, {"batch_size": "0"}, "--batch_size 0: must be above 0"),
    (SMALL, {"lr": "nan"}, "--lr: expected a finite number, got 'nan'"),
    (FINETUNE, {"model_name_or_path": "./nope"}, r"./nope: no such model folder"),
    (FINETUNE, {"model_name_or_path": "<data>"}, "no config.json here, so this is no model folder"),
    (FINETUNE, {"max_seq_length": "65"}, "--max_seq_length 65: .* has 64 positions"),
    (FINETUNE, {"max_seq_length": "2"}, "--max_seq_length 2: a BERT needs at least 3"),
    (FINETUNE, {"max_seq_length": "0"}, "--max_seq_length 0: must lie between 1 and"),
    (FINETUNE, {"num_train_epochs": "three"}, "--num_train_epochs: expected a whole number, got 'three'"),
    (FINETUNE, {"warmup_stepz": "3"}, "--warmup_stepz 3; did you mean --warmup_steps.; --help lists the options"),
]  # fmt: skip


def filled(value, inputs):
    """``<name>`` stands for a path of the fixture."""
    if not isinstance(value, str) or not value.startswith("<"):
        return value
    name, _, rest = value[1:].partition(">")
    return inputs / name / rest.lstrip("/")


@pytest.mark.parametrize(
    ("script", "changes", "message"), CASES, ids=[f"{s.rsplit('.')[-1]}-{m[:40]}" for s, _, m in CASES]
)
def test_bad_input_is_one_line_and_leaves_nothing(inputs, tmp_path, capsys, script, changes, message):
    options = {**base(script, inputs, tmp_path / "run"), **{k: filled(v, inputs) for k, v in changes.items()}}
    code = run_script(importlib.import_module(script).main, words(options))
    lines = capsys.readouterr().err.splitlines()
    assert code == 2
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    assert re.search(message, lines[0]), lines[0]
    assert not (tmp_path / "run").exists()


def test_all_faults_of_a_command_line_come_at_once(inputs, tmp_path, capsys):
    changes = {"batch_size": "0", "lr": "fast", "optimizer": "sgd", "seed": "-1"}
    options = {**base(SMALL, inputs, tmp_path / "run"), **changes}
    assert run_script(importlib.import_module(SMALL).main, words(options)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    for part in ("--batch_size 0: must be", "--lr: expected a number", "--optimizer sgd: expected", "--seed -1: must"):
        assert part in line


def test_faults_between_options_come_at_once(inputs, tmp_path, capsys):
    changes = {"warmup_steps": "3", "warmup_proportion": "0.1", "overwrite": "", "resume": "", "weight_decay": "0.1"}
    options = {**base(SMALL, inputs, tmp_path / "run"), **changes}
    assert run_script(importlib.import_module(SMALL).main, words(options)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.count("exclude each other") == 2
    assert "--weight_decay 0.1" in line


@pytest.mark.parametrize(
    ("script", "changes", "message"),
    [
        (FINETUNE, {"data_dir": "<latin>"}, "expected UTF-8, found byte 0xe9"),
        (SMALL, {"data_dir": "<no_column>"}, "expected a column 'sentence'"),
        (DISTILL, {"teacher_dir": "<broken>"}, "not a complete safetensors file"),
    ],
    ids=["finetune", "small", "distill"],
)
def test_bad_input_as_a_user_sees_it(inputs, tmp_path, script, changes, message):
    options = {**base(script, inputs, tmp_path / "run"), **{k: filled(v, inputs) for k, v in changes.items()}}
    # With the set-up of the process that a user gets.
    done = tiny.run(["-m", script, *words(options)], PADDLEDISTILL_NO_TUNING="")
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert done.returncode == 2
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "run").exists()


def test_the_demo_refuses_what_excludes_each_other(tmp_path, capsys):
    words = ["--data_dir", "x", "--resume", "--overwrite", "--output_dir", str(tmp_path / "run")]
    assert run_script(importlib.import_module("demo").main, words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--data_dir goes with --task" in line
    assert "--overwrite and --resume exclude each other" in line
    assert not (tmp_path / "run").exists()


def test_all_scripts_are_found():
    assert {"demo", "data.overview", "distill_lstm.augment_data", "finetune.run_classifier"} <= set(SCRIPTS)
    assert len(SCRIPTS) >= 12


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_lists_every_option_and_its_default(tmp_path, script):
    # One process a script: by its module's name, or by its path from elsewhere.
    by_path = SCRIPTS.index(script) % 2
    command, place = (["-m", script], tiny.ROOT)
    if by_path:
        command, place = [str(tiny.ROOT / f"{script.replace('.', '/')}.py")], tmp_path
    done = tiny.run([*command, "--help"], cwd=place, COLUMNS="300")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    options = re.findall(r"^  --(\w+)", done.stdout, re.MULTILINE)
    assert len(options) >= 5
    described = re.findall(r"\((?:default: .*|required)\)$", done.stdout, re.MULTILINE)
    assert len(described) == len(options)


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("words", [["--no_such_option", "1"], ["--task_name"], ["stray"]], ids=" ".join)
def test_every_script_refuses_what_it_does_not_know(script, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_script(importlib.import_module(script).main, words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("script", [script for script in SCRIPTS if script != "demo"])
def test_every_script_names_all_that_it_needs(script, capsys):
    assert run_script(importlib.import_module(script).main, []) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "is required" in line or "give --task_name" in line


@pytest.mark.parametrize("name", ["\0", "n" * 300, "x" * 5000])
@pytest.mark.parametrize("option", ["data_dir", "output_dir", "vocab_path"])
def test_names_that_no_file_can_have_are_one_line(inputs, tmp_path, capsys, option, name):
    options = {**base(SMALL, inputs, tmp_path / "run"), option: name}
    argv = [part for key, value in options.items() for part in (f"--{key}", str(value))]
    assert run_script(importlib.import_module(SMALL).main, argv) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")

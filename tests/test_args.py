"""Command lines: what is read, and that every fault is named at once in the spelling of the command line."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from args import Options, below_one, build_parser, not_negative, option, parse, positive, probability
from console import InputError
from core.options import RunOptions, grid
from data.options import DataOptions
from data.overview import OverviewOptions
from demo import DemoOptions
from deploy.options import BenchmarkOptions, EvaluateOptions, ExportOptions, PredictOptions
from distill_lstm.options import AugmentDataOptions, DistillOptions, SmallOptions
from finetune.options import FinetuneOptions, MrcOptions
from mlm_distill.options import (
    CorpusOptions,
    InitStudentOptions,
    RunDistillOptions,
    TeacherOutputOptions,
    TwoStageOptions,
)
from ofa_bert.options import OfaOptions, SearchOptions, SubModelOptions

TASK = ["--task_name", "sst-2"]
REQUIRED = {
    AugmentDataOptions: [*TASK, "--output_file", "o.tsv"],
    BenchmarkOptions: ["--model_dir", "a"],
    DemoOptions: [],
    DistillOptions: [*TASK, "--output_dir", "o", "--teacher_dir", "t"],
    ExportOptions: ["--model_dir", "m", "--output_dir", "o"],
    FinetuneOptions: [*TASK, "--output_dir", "o"],
    OfaOptions: [*TASK, "--output_dir", "o", "--model_name_or_path", "m"],
    OverviewOptions: TASK,
    PredictOptions: ["--model_dir", "m"],
    SearchOptions: ["--model_dir", "m", "--data_dir", "d", "--output_dir", "o"],
    SmallOptions: [*TASK, "--output_dir", "o"],
    CorpusOptions: ["--input_dir", "t", "--vocab_file", "v", "--output_dir", "o"],
    EvaluateOptions: ["--model_dir", "m", "--input_file", "f"],
    InitStudentOptions: ["--teacher_dir", "t", "--output_dir", "o"],
    MrcOptions: ["--task_name", "drcd", "--data_dir", "d", "--output_dir", "o"],
    RunDistillOptions: ["--input_file", "c", "--student_model", "s", "--output_dir", "o"],
    TeacherOutputOptions: ["--input_file", "c", "--teacher_dir", "t", "--output_dir", "o"],
    TwoStageOptions: ["--config", "c", "--output_dir", "o"],
    SubModelOptions: ["--model_name_or_path", "m", "--sub_model_output_dir", "o"],
}
every_class = pytest.mark.parametrize("cls", REQUIRED, ids=lambda cls: cls.__name__)


class Sample(Options):
    name: str = option(help="a name")
    count: int = option(3, "a count", check=positive)
    rate: float = option(0.5, "a rate of 50% or so")
    sizes: tuple[int, ...] = option((), "sizes")
    note: str | None = option(None, "a note")
    limit: int | None = option(7, "a limit", check=positive)
    fast: bool = option(False, "be fast", state=False)
    mode: str = option("a", "a mode", choices=("a", "b"))

    def faults(self) -> list[str]:
        found = super().faults()
        return [*found, "--fast excludes --mode b"] if self.fast and self.mode == "b" else found


def read(*argv: str) -> Sample:
    return parse(Sample, ["--name", "x", *argv], "A sample.")


def fault(*argv: str) -> str:
    with pytest.raises(InputError) as caught:
        parse(Sample, argv, "A sample.")
    return str(caught.value)


def test_what_is_not_given_has_its_default():
    assert read() == Sample(name="x", count=3, rate=0.5, sizes=(), note=None, limit=7, fast=False, mode="a")


def test_values_get_the_type_of_their_field():
    options = read("--count", "12", "--rate", "1e-3", "--sizes", "1", "2", "3", "--note", "n", "--limit", "8")
    assert options == Sample(name="x", count=12, rate=0.001, sizes=(1, 2, 3), note="n", limit=8)


@pytest.mark.parametrize("word", ["none", "None"])
def test_an_optional_value_can_be_taken_away(word):
    assert read("--limit", word).limit is None


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--fast"], True),
        (["--fast=True"], True),
        (["--fast", "true"], True),
        (["--fast=1"], True),
        (["--fast", "False"], False),
        (["--fast=no"], False),
    ],
)
def test_booleans_have_the_published_spellings(words, expected):
    assert read(*words).fast is expected


def test_a_boolean_flag_leaves_the_next_option_alone():
    assert read("--fast", "--count", "5") == Sample(name="x", fast=True, count=5)


def test_dashes_in_names_are_underscores_but_values_keep_theirs():
    class Long(Options):
        data_dir: str = option("", "a folder")

    assert parse(Long, ["--data-dir", "my-data"], "").data_dir == "my-data"
    assert parse(Long, ["--data-dir=my-data"], "").data_dir == "my-data"


def test_of_a_repeated_option_the_last_one_counts():
    assert read("--count", "1", "--count=2").count == 2
    assert read("--fast", "--fast", "False").fast is False


def test_all_faults_come_at_once_in_the_spelling_of_the_command_line():
    text = fault("--count", "0", "--rate", "quick", "--sizes", "1", "two", "--fast=maybe", "--mode", "c")
    assert text.split("; ") == [
        "--name is required",
        "--count 0: must be above 0",
        "--rate: expected a number, got 'quick'",
        "--sizes: expected a whole number, got 'two'",
        "--fast: expected True or False, got 'maybe'",
        "--mode c: expected one of a, b",
    ]


@pytest.mark.parametrize("word", ["nan", "inf", "-inf"])
def test_a_number_must_be_finite(word):
    assert fault("--name", "x", f"--rate={word}") == f"--rate: expected a finite number, got '{word}'"


def test_a_whole_number_has_no_fraction():
    assert fault("--name", "x", "--count", "2.5") == "--count: expected a whole number, got '2.5'"


@pytest.mark.parametrize("words", [["--cuont", "2"], ["--cou", "2"], ["stray"]])
def test_an_unknown_word_is_named(words):
    text = fault("--name", "x", *words)
    assert words[0] in text
    assert "--help" in text


def test_an_option_without_its_value_is_named():
    assert "--count" in fault("--name", "x", "--count")


def test_faults_between_options_are_reported_too():
    assert fault("--name", "x", "--fast", "--mode", "b") == "--fast excludes --mode b"


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (positive, 1, 0),
        (not_negative, 0, -1),
        (probability, 1.0, 1.1),
        (probability, 0.0, -0.1),
        (below_one, 0.0, 1.0),
    ],
)
def test_checks_accept_their_range_only(check, good, bad):
    assert check(good) is None
    assert check(bad)


@given(
    st.integers(1, 10**12),
    st.floats(allow_nan=False, allow_infinity=False),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4),
)
def test_what_is_printed_is_read_back(count, rate, sizes):
    words = ["--count", str(count), f"--rate={rate!r}"]
    options = read(*words, *(["--sizes", *map(str, sizes)] if sizes else []))
    assert (options.count, options.rate, options.sizes) == (count, rate, tuple(sizes))


@given(st.lists(st.text(max_size=6), max_size=4))
def test_any_command_line_is_read_or_refused_as_bad_input(words):
    try:
        options = parse(Sample, [word for word in words if word not in ("-h", "--help")], "")
    except InputError as error:
        assert str(error)
    else:
        assert isinstance(options, Sample)


def test_all_options_are_plain_values():
    expected = {"name": "x", "count": 3, "rate": 0.5, "sizes": [4], "note": None, "limit": 7, "fast": True, "mode": "a"}
    assert read("--sizes", "4", "--fast").as_dict() == expected


def test_state_leaves_out_what_does_not_change_the_result():
    assert "fast" not in read("--fast").state_dict()
    assert read("--fast").state_dict() == read().state_dict()
    assert read("--count", "4").state_dict() != read().state_dict()


def test_place_and_device_of_a_run_are_no_state():
    options = RunOptions(output_dir="o")
    outside = {"output_dir", "overwrite", "resume", "device", "cache_dir", "num_workers", "logging_steps", "save_steps"}
    assert set(options.as_dict()) - set(options.state_dict()) == outside


@every_class
def test_the_required_options_are_enough(cls):
    assert isinstance(parse(cls, REQUIRED[cls], ""), cls)


@every_class
def test_each_required_option_is_asked_for(cls):
    fields = [item.name for item in dataclasses.fields(cls) if item.default is dataclasses.MISSING]
    if fields:
        with pytest.raises(InputError) as caught:
            parse(cls, [], "")
        assert str(caught.value) == "; ".join(f"--{name} is required" for name in fields)
    else:
        assert parse(cls, REQUIRED[cls], "")


@every_class
def test_every_option_is_explained(cls):
    helps = [item.metadata["help"] for item in dataclasses.fields(cls)]
    assert all(text.strip() for text in helps)
    assert "--seed" in build_parser(cls, "").format_help() or "seed" not in {f.name for f in dataclasses.fields(cls)}


@every_class
def test_defaults_pass_their_own_checks(cls):
    for item in dataclasses.fields(cls):
        check, choices = item.metadata.get("check"), item.metadata.get("choices")
        if item.default not in (dataclasses.MISSING, None):
            assert check is None or check(item.default) is None, item.name
            assert choices is None or item.default in choices, item.name


@every_class
def test_options_can_be_saved_as_json(cls):
    options = parse(cls, REQUIRED[cls], "")
    assert json.loads(json.dumps(options.as_dict())) == options.as_dict()
    assert set(options.as_dict()) == {item.name for item in dataclasses.fields(cls)}


def data_fault(*argv: str) -> str:
    with pytest.raises(InputError) as caught:
        parse(DataOptions, argv, "")
    return str(caught.value)


def test_data_must_be_named():
    assert data_fault() == ("give --task_name, or your own data with --train_file; your own data needs --text_columns")


def test_a_task_and_own_files_exclude_each_other():
    assert "--task_name and --dev_file exclude each other" in data_fault(*TASK, "--dev_file", "d.tsv")


def test_text_columns_do_not_go_with_a_task():
    assert "--text_columns goes with --train_file" in data_fault(*TASK, "--text_columns", "a")


def test_a_data_folder_needs_a_task():
    argv = ["--train_file", "t", "--dev_file", "d", "--text_columns", "a", "--data_dir", "x"]
    assert data_fault(*argv) == "--data_dir goes with --task_name"


def test_own_files_become_a_task():
    argv = ["--train_file", "t", "--dev_file", "d", "--text_columns", "q", "a", "--label_column", "y"]
    task = parse(DataOptions, [*argv, "--language", "zh", "--metric", "acc_and_f1"], "").task()
    assert (task.text_columns, task.label_column, task.language) == (("q", "a"), "y", "zh")
    assert (task.metric, task.labels, task.is_pair) == ("acc_and_f1", None, True)


def test_a_registered_task_is_found():
    assert parse(DataOptions, ["--task_name", "SST2"], "").task().name == "sst-2"


@pytest.mark.parametrize(
    ("cls", "argv", "expected"),
    [
        (FinetuneOptions, ["--overwrite", "--resume"], "--overwrite and --resume exclude each other"),
        (FinetuneOptions, ["--warmup_steps", "1", "--warmup_proportion", "0.1"], "--warmup_steps and"),
        (DistillOptions, ["--ngram_range", "6", "2"], "--ngram_range 6 2: expected two numbers"),
        (DistillOptions, ["--ngram_range", "2"], "--ngram_range 2: expected two numbers"),
        (DistillOptions, ["--ngram_range", "0", "2"], "--ngram_range 0 2: expected two numbers"),
        (DistillOptions, ["--temperature", "2"], "--temperature goes with --distill_loss soft_ce"),
        (
            DistillOptions,
            ["--embedding_init", "teacher", "--embedding_name", "w"],
            "--embedding_name and --embedding_init teacher exclude",
        ),
        (SmallOptions, ["--embedding_init", "teacher"], "--embedding_init teacher needs --teacher_dir"),
        (PredictOptions, ["--text", "a", "--input_file", "f"], "--text and --input_file exclude each other"),
        (PredictOptions, ["--text", "a", "b", "--text_pair", "c"], "--text_pair: expected as many texts as --text (2)"),
        (DemoOptions, ["--data_dir", "d"], "--data_dir goes with --task"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(cls, argv, expected):
    with pytest.raises(InputError) as caught:
        parse(cls, [*REQUIRED[cls], *argv], "")
    assert expected in str(caught.value)


SENTA = "--task_name chnsenticorp --vocab_size 1256608 --model_name bert-wwm-ext-chinese --batch_size 64"
W2V = "--embedding_name w2v.google_news.target.word-word.dim300.en"
# The command lines of the published distill_lstm README, flag by flag as written there, apart from the script's path.
PUBLISHED = [
    (FinetuneOptions, "--model_type bert --model_name_or_path bert-base-uncased --task_name SST-2 --max_seq_length 128 "
     "--batch_size 128 --learning_rate 3e-5 --num_train_epochs 3 --logging_steps 10 --save_steps 10 "
     "--output_dir ../pretrained_models/SST-2/ --device gpu",
     {"learning_rate": 3e-5, "num_train_epochs": 3, "device": "gpu", "save_steps": 10}),
    (SmallOptions, f"{SENTA} --max_epoch 20 --optimizer adam --lr 3e-4 --dropout_prob 0.2 "
     "--vocab_path senta_word_dict.txt --save_steps 10000 --output_dir small_models/chnsenticorp/",
     {"vocab_path": "senta_word_dict.txt", "vocab_size": 1256608, "optimizer": "adam"}),
    (SmallOptions, f"--task_name sst-2 --vocab_size 30522 --max_epoch 10 --batch_size 64 --lr 1.0 --dropout_prob 0.4 "
     f"--output_dir small_models/SST-2 --save_steps 10000 {W2V}", {"dropout_prob": 0.4, "optimizer": "adadelta"}),
    (SmallOptions, f"--task_name qqp --vocab_size 30522 --max_epoch 35 --batch_size 256 --lr 2.0 --dropout_prob 0.4 "
     f"--output_dir small_models/QQP --save_steps 10000 {W2V}", {"lr": 2.0, "max_epoch": 35}),
    (DistillOptions, f"{SENTA} --max_epoch 6 --lr 1.0 --dropout_prob 0.1 --teacher_dir "
     "pretrained_models/chnsenticorp/best_bert_wwm_ext_model_880 --vocab_path senta_word_dict.txt "
     "--output_dir distilled_models/chnsenticorp --save_steps 10000", {"n_iter": 20, "alpha": 0.0}),
    (DistillOptions, "--task_name sst-2 --vocab_size 30522 --max_epoch 6 --lr 1.0 --task_name sst-2 --dropout_prob 0.2 "
     "--batch_size 128 --model_name bert-base-uncased --output_dir distilled_models/SST-2 "
     f"--teacher_dir pretrained_models/SST-2/best_model_610 --save_steps 10000 {W2V}",
     {"teacher_dir": ("pretrained_models/SST-2/best_model_610",), "batch_size": 128}),
    (DistillOptions, "--task_name qqp --vocab_size 30522 --max_epoch 6 --lr 1.0 --dropout_prob 0.2 --batch_size 256 "
     "--model_name bert-base-uncased --n_iter 10 --output_dir distilled_models/QQP "
     f"--teacher_dir pretrained_models/QQP/best_model_17000 --save_steps 10000 {W2V}", {"n_iter": 10}),
]  # fmt: skip


@pytest.mark.parametrize(("cls", "line", "expected"), PUBLISHED)
def test_published_command_lines_are_read(cls, line, expected):
    options = parse(cls, line.split(), "")
    assert {name: getattr(options, name) for name in expected} == expected
    assert options.task().name == options.task_name.lower()


@pytest.mark.parametrize("task", ["QQP", "SST-2", "senta", "MNLI"])
def test_tasks_may_be_written_in_capitals_and_flags_with_true(task):
    line = f"--task_name {task} --output_dir o --teacher_dir t --whole_word_mask=True --seed 1 --seed 2"
    options = parse(DistillOptions, line.split(), "")
    assert (options.whole_word_mask, options.seed) == (True, 2)
    assert options.task().name in ("qqp", "sst-2", "chnsenticorp", "mnli")


@pytest.mark.parametrize(
    ("cls", "line", "expected"),
    [
        (SmallOptions, "--task_name qqp", {"lr": 2.0, "max_epoch": 35, "batch_size": 256, "dropout_prob": 0.4}),
        (SmallOptions, "--task_name qqp --max_epoch 3", {"lr": 2.0, "max_epoch": 3}),
        (SmallOptions, "--task_name mrpc", {"lr": 2.0, "max_epoch": 35}),
        (SmallOptions, "--task_name tnews", {"optimizer": "adam", "lr": 3e-4, "dropout_prob": 0.2}),
        # A rate that was chosen for one optimiser says nothing about another.
        (SmallOptions, "--task_name qqp --optimizer adam", {"lr": 1.0, "max_epoch": 35}),
        (DistillOptions, "--task_name QQP --teacher_dir t", {"n_iter": 10, "batch_size": 256}),
        (DistillOptions, "--task_name sst-2 --teacher_dir t", {"n_iter": 20, "batch_size": 128, "dropout_prob": 0.2}),
        (FinetuneOptions, "--task_name sst-2", {"learning_rate": 1e-4, "num_train_epochs": 4, "batch_size": 128}),
        (FinetuneOptions, "--task_name rte --model_name_or_path bert-base-uncased",
         {"learning_rate": 3e-5, "num_train_epochs": 3, "batch_size": 32}),
        (FinetuneOptions, "--task_name rte --optimizer adam --warmup_steps 5",
         {"weight_decay": 0.0, "warmup_proportion": 0.0}),
        (FinetuneOptions, "--train_file a.tsv --dev_file b.tsv --text_columns t", {"learning_rate": 5e-5}),
    ],
)  # fmt: skip
def test_a_task_brings_its_published_values(cls, line, expected):
    options = parse(cls, [*line.split(), "--output_dir", "o"], "")
    assert {name: getattr(options, name) for name in expected} == expected


@pytest.mark.parametrize("name", ["hfl/rbt3", "hfl/rbt4-h312", "hfl/minirbt-h256"])
def test_a_published_small_model_is_known_by_its_name(name):
    line = ["--output_dir", "o", "--data_dir", "d", "--model_name_or_path", name]
    assert parse(FinetuneOptions, ["--task_name", "tnews", *line], "").learning_rate == 1e-4
    assert parse(MrcOptions, ["--task_name", "drcd", *line], "").learning_rate == 1e-4


def test_a_narrow_local_model_is_known_by_its_config(tmp_path):
    line = ["--task_name", "sst-2", "--output_dir", "o", "--model_name_or_path", str(tmp_path)]
    for width, rate in ((312, 1e-4), (768, 3e-5)):
        (tmp_path / "config.json").write_text(f'{{"hidden_size": {width}}}', encoding="utf-8")
        assert parse(FinetuneOptions, line, "").learning_rate == rate


def test_a_sweep_is_the_product_of_its_options():
    line = "--task_name sst-2 --output_dir o --sweep learning_rate=1e-4,3e-4 --sweep num-train-epochs=2,3 --seeds 2"
    options = parse(FinetuneOptions, line.split(), "")
    assert grid(FinetuneOptions, options.sweep) == [
        {"learning_rate": rate, "num_train_epochs": epochs} for rate in (1e-4, 3e-4) for epochs in (2, 3)
    ]
    assert grid(FinetuneOptions, ()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--sweep learning_rate", "--sweep learning_rate: expected option=value,value"),
        ("--sweep rate=1", "--rate: no such option"),
        ("--sweep learning_rate=1,x", "--learning_rate: expected a number, got 'x'"),
        ("--sweep learning_rate=0", "--learning_rate 0.0: must be above 0"),
        ("--sweep lr_scheduler=linear,round", "--lr_scheduler round: expected one of constant, linear, cosine"),
        ("--sweep seed=1,2", "--seed is no option to sweep over"),
        ("--sweep batch_size=1 --sweep batch_size=2", "batch_size is given twice"),
        ("--sweep learning_rate=1e-3,0.001", "a value stands there twice"),
        ("--sweep task_name=sst-2,qqp", "--task_name is no option to sweep over"),
        ("--sweep text_columns=a,b", "--text_columns is no option to sweep over"),
        ("--sweep warmup_steps=5 --warmup_proportion 0.1", "at warmup_steps=5: --warmup_steps and --warmup_proportion"),
        ("--seeds 3", "--seeds goes with --sweep"),
    ],
)
def test_a_sweep_that_cannot_run_is_refused(words, message):
    with pytest.raises(InputError) as caught:
        parse(FinetuneOptions, ["--task_name", "sst-2", "--output_dir", "o", *words.split()], "")
    assert message in str(caught.value)


def test_a_cell_of_a_sweep_has_the_defaults_that_go_with_its_values():
    line = "--task_name sst-2 --output_dir o --sweep optimizer=adamw,adam --sweep warmup_steps=0,7 --num_train_epochs 4"
    options = parse(FinetuneOptions, line.split(), "")
    cells = [options.at(cell) for cell in grid(FinetuneOptions, options.sweep)]
    # Decay of weights is AdamW's alone, and steps of warm-up stand for their share of all steps.
    assert [cell.weight_decay for cell in cells] == [0.01, 0.01, 0.0, 0.0]
    assert [(cell.warmup_steps, cell.warmup_proportion) for cell in cells[:2]] == [(0, 0.0), (7, 0.0)]
    assert {(cell.num_train_epochs, cell.learning_rate, cell.sweep) for cell in cells} == {(4, 1e-4, ())}
    plain = FinetuneOptions(task_name="sst-2", output_dir="o", learning_rate=5e-5)
    assert plain.at({"batch_size": 8}).learning_rate == 5e-5


@pytest.mark.parametrize(
    ("words", "model"),
    [
        ("--task_name sst-2", "all-MiniLM-L6-v2"),
        ("--task_name afqmc", "bert-wwm-ext-chinese"),
        ("--task_name afqmc --model_name_or_path mine", "mine"),
        ("--train_file a --dev_file b --text_columns t --language zh", "bert-wwm-ext-chinese"),
        ("--train_file a --dev_file b --text_columns t", "all-MiniLM-L6-v2"),
    ],
)
def test_the_teacher_that_is_fine_tuned_reads_the_language(words, model):
    assert parse(FinetuneOptions, ["--output_dir", "o", *words.split()], "").model_name_or_path == model


@pytest.mark.parametrize("name", ["metric", "language", "label_column"])
def test_options_of_own_files_do_not_go_with_a_registered_task(name):
    value = {"metric": "matthews", "language": "zh", "label_column": "verdict"}[name]
    with pytest.raises(InputError, match=f"--{name} goes with --train_file, not with --task_name"):
        parse(FinetuneOptions, ["--task_name", "sst-2", "--output_dir", "o", f"--{name}", value], "")


@pytest.mark.parametrize("words", ["--p_mask 0.2", "--p_pos 0.1", "--p_ngram 0", "--ngram_range 2 3"])
def test_a_transfer_set_is_not_augmented_again(words):
    line = "--task_name sst-2 --output_dir o --teacher_dir t --transfer_set s --n_iter 3"
    assert parse(DistillOptions, line.split(), "").transfer_set == "s"
    with pytest.raises(InputError, match="a transfer set is augmented already"):
        parse(DistillOptions, [*line.split(), *words.split()], "")


def test_files_without_labels_may_be_given_one_by_one():
    line = "--task_name sst-2 --output_dir o --teacher_dir t --unlabeled_file a b --unlabeled_file c"
    assert parse(DistillOptions, line.split(), "").unlabeled_file == ("a", "b", "c")
    assert parse(OfaOptions, line.replace("--teacher_dir", "--model_name_or_path").split(), "").unlabeled_file == (
        *("a", "b", "c"),
    )


def test_the_cache_folder_follows_option_then_environment_then_home(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert str(RunOptions(output_dir="o", cache_dir="/mine").cache()) == "/mine"
    assert str(RunOptions(output_dir="o").cache()) == "/somewhere/paddledistill"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert str(RunOptions(output_dir="o").cache()) == "/home/me/.cache/paddledistill"


# One construction, from a command line and from Python

BOTH_WAYS = [
    (FinetuneOptions, {"task_name": "sst-2", "output_dir": "o"}),
    (FinetuneOptions, {"task_name": "rte", "output_dir": "o", "model_name_or_path": "bert-base-uncased"}),
    (FinetuneOptions, {"task_name": "rte", "output_dir": "o", "optimizer": "adam", "warmup_steps": 5}),
    (FinetuneOptions, {"train_file": "a.tsv", "dev_file": "b.tsv", "text_columns": ("x", "y"), "output_dir": "o"}),
    (SmallOptions, {"task_name": "qqp", "output_dir": "o", "max_epoch": 3}),
    (DistillOptions, {"task_name": "qqp", "output_dir": "o", "teacher_dir": ("a", "b"), "whole_word_mask": True}),
    (OfaOptions, {"task_name": "qqp", "output_dir": "o", "model_name_or_path": "m", "depth_mult_list": (1.0, 0.5)}),
    (SearchOptions, {"model_dir": "m", "output_dir": "o", "max_params": "2M"}),
    (PredictOptions, {"model_dir": "m", "text": ("a", "b")}),
]


@pytest.mark.parametrize(("cls", "values"), BOTH_WAYS)
def test_python_and_the_command_line_give_the_same_options(cls, values):
    words = []
    for name, value in values.items():
        words += [f"--{name}", *(map(str, value) if isinstance(value, tuple) else [str(value)])]
    assert parse(cls, words, "") == cls(**values)
    assert parse(cls, words, "").given == cls(**values).given == values.keys()


def test_what_the_issue_named():
    options = FinetuneOptions(task_name="sst-2", output_dir="o")
    assert (options.learning_rate, options.num_train_epochs, options.batch_size) == (1e-4, 4, 128)


def test_options_given_in_python_are_checked_and_all_faults_told():
    with pytest.raises(InputError) as caught:
        SmallOptions(
            task_name="sst-2", batch_size=0, lr="fast", optimizer="sgd", resume=True, overwrite=True, holdout=1
        )
    assert str(caught.value).split("; ") == [
        "--output_dir is required",
        "--holdout 1.0: must be at least 0 and below 1",
        "--batch_size 0: must be above 0",
        "--lr: expected a number, got 'fast'",
        "--optimizer sgd: expected one of adadelta, adam, adamw",
    ]
    with pytest.raises(
        InputError, match="--batch_size 0: must be above 0; --overwrite and --resume exclude each other"
    ):
        SmallOptions(task_name="sst-2", output_dir="o", batch_size=0, resume=True, overwrite=True)


def test_an_option_that_is_none_is_named():
    with pytest.raises(InputError, match="--learning_rte: no such option; --colour: no such option; --batch_size 0"):
        FinetuneOptions(task_name="sst-2", output_dir="o", learning_rte=1, colour="red", batch_size=0)
    text = fault("--nope", "1", "--count", "0")
    for part in ("unrecognized arguments: --nope 1; --help", "--name is required", "--count 0: must be above 0"):
        assert part in text


def test_python_takes_a_value_away_as_the_command_line_does():
    assert Sample(name="x", limit="none").limit is None
    assert (
        FinetuneOptions(train_file="a", dev_file="b", text_columns="t", output_dir="o", task_name="None").task_name
        is None
    )


def test_an_empty_list_is_no_value():
    with pytest.raises(InputError, match="--teacher_dir is required"):
        DistillOptions(task_name="sst-2", output_dir="o", teacher_dir=())
    assert DistillOptions(task_name="sst-2", output_dir="o", teacher_dir="t", unlabeled_file=()).given == {
        *("task_name", "output_dir", "teacher_dir", "unlabeled_file"),
    }


def test_truth_values_of_numpy_are_truth_values():
    assert Sample(name="x", fast=np.bool_(True), count=np.int32(4)) == Sample(name="x", fast=True, count=4)


def test_python_values_take_the_form_of_their_options(tmp_path):
    options = Sample(name=tmp_path, count=True and 7, rate=1, sizes=[1, 2], note=None)
    assert (options.name, options.count, options.rate, options.sizes) == (str(tmp_path), 7, 1.0, (1, 2))
    assert isinstance(options.rate, float)
    # One word is one column.
    own = {"train_file": "a", "dev_file": "b", "output_dir": "o"}
    assert FinetuneOptions(text_columns="message", **own).text_columns == ("message",)


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"count": 2.5}, "--count: expected a whole number, got 2.5"),
        ({"count": True}, "--count: expected a whole number, got True"),
        ({"count": None}, "--count: expected a whole number, got None"),
        ({"count": 2**80}, "--count: expected a whole number of at most 63 bits"),
        ({"rate": float("nan")}, "--rate: expected a finite number, got 'nan'"),
        ({"rate": 10**400}, "--rate: "),
        ({"fast": "yes"}, "--fast: expected True or False, got 'yes'"),
        ({"name": 3}, "--name: expected a text, got 3"),
        ({"name": "a\0b"}, "--name: a NUL character is in it"),
        ({"sizes": [1, "x"]}, "--sizes: expected a whole number, got 'x'"),
        ({"sizes": {1: 2}}, "--sizes: expected a whole number, got {1: 2}"),
    ],
)
def test_python_values_of_another_type_are_refused(values, fault):
    with pytest.raises(InputError) as caught:
        Sample(**{"name": "x", **values})
    assert str(caught.value).startswith(fault)


def test_replaced_options_keep_what_was_given_and_follow_the_rest():
    options = FinetuneOptions(task_name="sst-2", output_dir="o", num_train_epochs=9)
    other = options.replace(task_name="rte")
    assert (other.num_train_epochs, other.batch_size) == (9, 32)
    assert other.given == {"task_name", "output_dir", "num_train_epochs"}


def test_words_that_are_no_options_of_ours_are_left_as_they_are():
    assert read("--note", "--good-film is ok").note == "--good-film is ok"
    assert read("--note=--my-dir").note == "--my-dir"
    text = fault("--name", "--my-dir")
    assert "--my_dir" not in text
    assert "a value that begins with dashes is written --option=--value" in text


@pytest.mark.parametrize(
    ("cls", "words", "message"),
    [
        (
            DistillOptions,
            "--ngram_range 1 999999999999999999999",
            "--ngram_range: expected a whole number of at most",
        ),
        (DistillOptions, "--ngram_range 1 9999999", "expected two numbers from 1 up, smaller first, at most 1,000,000"),
        (DistillOptions, "--distill_loss soft_ce --temperature 1e300", "--temperature 1e+300: must lie between"),
        (SmallOptions, "--embedding_size 9999999999", "--embedding_size 9999999999: must lie between 1 and"),
        (SmallOptions, "--num_workers 100000", "--num_workers 100000: must lie between 0 and 256"),
    ],
)
def test_numbers_beyond_all_bounds_are_refused(cls, words, message):
    with pytest.raises(InputError) as caught:
        parse(cls, [*REQUIRED[cls], *words.split()], "")
    assert message in str(caught.value)


def test_help_comes_in_groups_with_the_values_of_each_task(monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    text = build_parser(FinetuneOptions, "").format_help()
    places = [text.index(f"\n{name}:\n") for name in ("data", "model", "training", "output")]
    assert places == sorted(places)
    assert places[0] < text.index("\n  --task_name") < places[1] < text.index("\n  --model_name_or_path") < places[2]
    assert places[2] < text.index("\n  --learning_rate") < places[3] < text.index("\n  --output_dir")
    assert "(default: 5e-05; 0.0001 for cola sst-2 mrpc" in text
    assert "3e-05 for chnsenticorp" in text
    assert "(default: all-MiniLM-L6-v2; bert-wwm-ext-chinese for chnsenticorp" in text
    small = build_parser(SmallOptions, "").format_help()
    assert "(default: 6; 10 for cola sst-2; 35 for" in small
    assert "20 for chnsenticorp" in small


@every_class
def test_every_option_stands_in_a_group(cls):
    """Other classes' options of the same name are in the same one."""
    for name, item in {item.name: item for item in dataclasses.fields(cls)}.items():
        assert item.metadata["group"] in (None, "data", "model", "training", "output"), name
    assert "options:" in build_parser(cls, "").format_help()

"""Teachers that begin with random weights, dev rows parted off a training file, and what a run says of its rows."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from args import parse
from console import InputError, run_script, say_next
from core import classifier
from core.classifier import always_the_same
from core.recorded import check_same_part, recorded_dev
from data.sources import Rows, load_task_data, part_off
from data.streams import generator
from data.tasks import custom_task
from data.tokenization import SPECIAL_TOKENS, WordPieceTokenizer
from data.vocabulary import vocabulary_of
from deploy.options import ExportOptions, ReportOptions
from distill_lstm.options import DistillOptions
from finetune import run_classifier
from finetune.options import FinetuneOptions
from models.folder import load
from tinybert.options import TaskDistillOptions

CHINESE = [("房间很干净，服务也好A1", "好"), ("饭菜太咸，不会再来", "差"), ("位置方便", "好"), ("隔音很差", "差")]


def write_rows(path, rows):
    path.write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows), encoding="utf-8")
    return path


def test_a_chinese_vocabulary_is_the_characters_of_the_rows():
    found = vocabulary_of(["好A1", "差 好"], "zh")
    assert found == [*SPECIAL_TOKENS, "1", "a", "好", "差", "##1"]
    assert WordPieceTokenizer(found).encode(["好A1 差"]).values.tolist() == [
        found.index(p) for p in ["好", "a", "##1", "差"]
    ]


def test_all_that_the_rows_hold_is_known():
    texts = ["价格１２３元", "ＡＢＣ很好", "café很好", "한국어 カタ"]
    tokenizer = WordPieceTokenizer(vocabulary_of(texts, "zh"))
    assert tokenizer.token_id("[UNK]") not in tokenizer.encode(texts).values


def test_an_english_vocabulary_has_the_words_that_occur_again_and_letters_for_all_others():
    found = vocabulary_of(["The film, the end", "a film é"], "en")
    assert found[-2:] == ["film", "the"]
    assert "end" not in found
    assert "##d" in found and "##," not in found
    pieces = [found[i] for i in WordPieceTokenizer(found).encode(["The filmend, tilde"]).values]
    assert pieces == ["the", "film", "##e", "##n", "##d", ",", "t", "##i", "##l", "##d", "##e"]


@given(st.permutations(["a b b", "c, c a", "dd dd"]))
def test_a_vocabulary_does_not_depend_on_the_order_of_rows(texts):
    assert vocabulary_of(texts, "en") == vocabulary_of(["a b b", "c, c a", "dd dd"], "en")


@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 2)), min_size=12, max_size=60),
    st.sampled_from([0.1, 0.25, 0.5]),
)
def test_parted_rows_keep_every_row_and_the_same_text_on_one_side(rows, share):
    texts, labels = [text for text, _ in rows], np.asarray([label for _, label in rows])
    given_rows = Rows((texts,), labels)
    try:
        left, part = part_off(given_rows, share, generator(0, "dev"), "--dev_share", stratified=True)
    except InputError:
        return
    assert sorted(left.texts[0] + part.texts[0]) == sorted(texts)
    assert not set(left.texts[0]) & set(part.texts[0])
    assert sorted([*left.labels, *part.labels]) == sorted(labels)


def test_every_label_gives_its_share_of_dev():
    rows = Rows(([f"row {n}" for n in range(100)],), np.asarray([0] * 80 + [1] * 20))
    left, part = part_off(rows, 0.1, generator(0, "dev"), "--dev_share", stratified=True)
    assert np.bincount(part.labels).tolist() == [8, 2]
    assert np.bincount(left.labels).tolist() == [72, 18]
    assert part_off(rows, 0.1, generator(0, "dev"), "--dev_share", stratified=True)[1].texts == part.texts


def test_without_a_dev_file_dev_is_a_part_of_the_training_file(tmp_path):
    path = write_rows(tmp_path / "rows.tsv", [(f"row {n}", "ab"[n % 2]) for n in range(40)])
    task = custom_task(("text",), "label")
    data = load_task_data(task, train_file=str(path), dev_share=0.25)
    assert (len(data.train), len(data.dev), data.dev_from_train) == (30, 10, True)
    assert np.bincount(data.dev.labels).tolist() == [5, 5]
    assert not set(data.train.texts[0]) & set(data.dev.texts[0])
    # What chooses checkpoints comes from the others.
    held = load_task_data(task, train_file=str(path), dev_share=0.25, holdout=0.2)
    assert held.dev.texts == data.dev.texts
    assert len(held.validation) == 6


def test_a_teacher_from_scratch_reads_what_the_rows_hold(tmp_path, capsys, monkeypatch):
    # Two steps may or may not teach it something.
    monkeypatch.setattr(classifier, "always_the_same", lambda *_: "")
    rows = [(f"{text}{n}", label) for n in range(10) for text, label in CHINESE]
    path = write_rows(tmp_path / "rows.tsv", rows)
    shape = ["--num_hidden_layers", "1", "--hidden_size", "16", "--intermediate_size", "32"]
    argv = ["--train_file", str(path), "--text_columns", "text", "--language", "zh", "--max_steps", "2"]
    argv += ["--model_name_or_path", "scratch", *shape, "--output_dir", str(tmp_path / "out")]
    assert run_script(run_classifier.main, argv) == 0
    out = capsys.readouterr().out
    assert "36 train (好 18, 差 18), 4 dev (a part of the training file)" in out
    # What it says may be typed next is understood by the scripts that it names.
    lines = [line.strip() for line in out.split("\nnext:\n")[1].splitlines()]
    assert lines[-1] == f"visualdl --logdir {tmp_path / 'out'}"
    readers = {
        "distill_lstm.bert_distill": DistillOptions,
        "tinybert.task_distill": TaskDistillOptions,
        "deploy.export": ExportOptions,
        "deploy.report": ReportOptions,
    }
    for line in lines[:-1]:
        words = shlex.split(line)
        options = parse(readers.pop(words[2]), words[3:], "")
        if hasattr(options, "train_file"):
            assert (options.train_file, options.text_columns, options.language) == (str(path), ("text",), "zh")
    assert readers == {}
    loaded = load(tmp_path / "out")
    assert loaded.model.config.hidden_size == 16
    assert loaded.model.config.num_attention_heads == 4
    assert "间" in loaded.tokenizer.vocab
    recorded = json.loads((tmp_path / "out" / "training_args.json").read_text(encoding="utf-8"))["options"]
    assert (recorded["learning_rate"], recorded["num_train_epochs"], recorded["hidden_size"]) == (1e-4, 6, 16)


def test_a_teacher_that_learnt_nothing_is_not_proposed_as_one(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(classifier, "always_the_same", lambda *_: "note: it has learnt nothing")
    rows = [(f"{text}{n}", label) for n in range(10) for text, label in CHINESE]
    path = write_rows(tmp_path / "rows.tsv", rows)
    argv = ["--train_file", str(path), "--text_columns", "text", "--language", "zh", "--max_steps", "1"]
    argv += ["--model_name_or_path", "scratch", "--num_hidden_layers", "1", "--hidden_size", "16"]
    for again in ([], ["--resume"]):
        assert run_script(run_classifier.main, [*argv, "--output_dir", str(tmp_path / "out"), *again]) == 0
        said = capsys.readouterr().out.split("\nnext:\n")[1]
        assert "deploy.report" in said and "distill" not in said and "deploy.export" not in said
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["note"] == "note: it has learnt nothing"


def test_a_model_of_another_language_is_refused(tmp_path, capsys):
    rows = [(f"{text}{n}很喜欢", label) for n in "一二三四五六七八九十" for text, label in CHINESE]
    path = write_rows(tmp_path / "rows.tsv", rows)
    argv = ["--train_file", str(path), "--text_columns", "text", "--language", "zh"]
    argv += ["--model_name_or_path", str(tiny.write_pretrained(tmp_path / "english")), "--max_seq_length", "32"]
    assert run_script(run_classifier.main, [*argv, "--output_dir", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(r"english: \d\d% of the training tokens are unknown to its vocabulary", line)
    # Before anything was written.
    assert not (tmp_path / "out").exists()


OWN = {"train_file": "rows.tsv", "text_columns": "text", "output_dir": "o"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_size": 64}, "--hidden_size goes with --model_name_or_path scratch"),
        (
            {"model_name_or_path": "scratch", "hidden_size": 30},
            "--num_attention_heads 4: must divide --hidden_size 30",
        ),
        ({"dev_share": 0.0}, "--dev_share 0.0: must be above 0 and below 1"),
        ({"dev_file": "dev.tsv", "dev_share": 0.2}, "--dev_share goes without --dev_file"),
        ({"train_file": None, "dev_file": "d"}, "give --task_name, or your own data with --train_file"),
    ],
)
def test_options_that_do_not_go_together(options, message):
    with pytest.raises(InputError, match=message):
        FinetuneOptions(**{**OWN, **options})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"version": "v1", "data": [{"paragraphs": []}]}', "in the layout of SQuAD; finetune.run_mrc reads these"),
        ('{\n  "data": [\n {"paragraphs": []}]}', "in the layout of SQuAD; finetune.run_mrc reads these"),
        ('[{"text": "a", "label": "b"}]', "a JSON array; write one object a line"),
        ('[\n{"text": "a", "label": "b"}]', "a JSON array; write one object a line"),
        ('{\n"text": "a",\n"label": "b"}', "a JSON object over several lines; write one object a line"),
    ],
)
def test_a_json_document_is_named_instead_of_a_bad_row(tmp_path, content, message):
    path = tmp_path / "rows.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        load_task_data(custom_task(("text",), "label"), train_file=str(path), skip_bad_rows=True)


def test_chinese_rows_want_their_language_named(tmp_path):
    path = write_rows(tmp_path / "rows.tsv", [(f"{text}{n}", label) for n in range(5) for text, label in CHINESE])
    with pytest.raises(InputError, match="the texts are Chinese; pass --language zh"):
        load_task_data(custom_task(("text",), "label"), train_file=str(path))
    assert len(load_task_data(custom_task(("text",), "label", "zh"), train_file=str(path)).train) == 18


def test_a_few_chinese_words_make_no_chinese_rows(tmp_path):
    path = write_rows(tmp_path / "rows.tsv", [(f"a film named 好 {n}", "ab"[n % 2]) for n in range(20)])
    assert len(load_task_data(custom_task(("text",), "label"), train_file=str(path)).train) == 18


def test_dev_rows_of_a_run_are_found_again(tmp_path):
    path = write_rows(tmp_path / "rows.tsv", [(f"row {n}", "ab"[n % 2]) for n in range(40)])
    folder = tmp_path / "model"
    folder.mkdir()
    task = custom_task(("text",), "label").with_labels(["a", "b"])

    def record(**options):
        (folder / "training_args.json").write_text(json.dumps({"options": options}), encoding="utf-8")
        return recorded_dev(folder, task)

    assert recorded_dev(folder, task) is None
    rows, where = record(train_file=str(path), dev_file=None, dev_share=0.25)
    assert rows.texts == load_task_data(task, train_file=str(path), dev_share=0.25).dev.texts
    assert where == f"{path} (the part that is dev)"
    other = write_rows(tmp_path / "dev.tsv", [("other", "a")])
    assert record(train_file=str(path), dev_file=str(other))[0].texts == (["other"],)
    assert record(data_dir=str(tmp_path))[1] == str(other)
    # The file that dev was is gone: a part of the training file is no stand-in.
    assert record(train_file=str(path), dev_file=str(tmp_path / "gone.tsv")) is None
    assert record(data_dir=str(tmp_path / "gone")) is None
    assert record(train_file=3) is None
    (folder / "training_args.json").write_text("{", encoding="utf-8")
    assert recorded_dev(folder, task) is None


def test_what_may_be_typed_next_is_quoted_for_a_shell_and_said_by_one_process(capsys, monkeypatch):
    say_next(["python", "-m", "x", "--file", "my rows.tsv", "--out", "…"])
    assert capsys.readouterr().out == "\nnext:\n  python -m x --file 'my rows.tsv' --out …\n"
    monkeypatch.setenv("PADDLE_TRAINER_ID", "1")
    say_next(["python"])
    assert capsys.readouterr().out == ""


def test_a_student_is_not_judged_on_rows_that_its_teacher_learnt_from(tmp_path):
    path = write_rows(tmp_path / "rows.tsv", [(f"row {n}", "ab"[n % 2]) for n in range(40)])
    record = {"options": {"train_file": str(path), "dev_file": None, "dev_share": 0.25}}
    (tmp_path / "training_args.json").write_text(json.dumps(record), encoding="utf-8")
    own = {**OWN, "train_file": str(path)}
    with pytest.raises(InputError, match=r"--dev_share 0.1: the teacher in .* was trained with 0.25"):
        check_same_part(tmp_path, FinetuneOptions(**own))
    check_same_part(tmp_path, FinetuneOptions(**own, dev_share=0.25))
    check_same_part(tmp_path, FinetuneOptions(**own, dev_file="dev.tsv"))
    # Of another file nothing is known.
    check_same_part(tmp_path, FinetuneOptions(**OWN))


def test_a_model_that_gives_one_answer_is_told():
    task = custom_task(("text",), "label").with_labels(["a", "b"])
    rows = Rows((["x"] * 4,), np.asarray([0, 1, 1, 1]))
    assert "dev accuracy 0.7500 is no better than 'b' for every row" in always_the_same(rows, task, {"accuracy": 0.75})
    assert always_the_same(rows, task, {"accuracy": 0.76}) == ""
    # Accuracy says little where labels are unequal: what the task is judged by decides.
    skewed = dataclasses.replace(task, metric="matthews")
    assert always_the_same(rows, skewed, {"accuracy": 0.75, "matthews": 0.1}) == ""
    assert always_the_same(rows, skewed, {"accuracy": 0.75, "matthews": 0.0})
    skewed = dataclasses.replace(task, metric="acc_and_f1")
    # One answer for all, the second label: precision 3/4, recall 1, F1 6/7.
    assert always_the_same(rows, skewed, {"accuracy": 0.75, "f1": 0.87}) == ""
    assert always_the_same(rows, skewed, {"accuracy": 0.75, "f1": 0.85})

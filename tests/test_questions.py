"""Reading comprehension: files, windows, answers, figures by hand; and the scripts from training to serving, tiny."""

from __future__ import annotations

import json
import math
import random
import re

import numpy as np
import paddle
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

import models
from args import parse
from console import InputError, run_script
from core.answers import chinese_units, exact_match, f1, longest_common_run, plain_chinese, score
from core.losses import span_losses
from core.spans import span_logits
from core.sweep import sweep
from data.columns import Columns
from data.questions import (
    Questions,
    Windows,
    as_questions,
    best_answers,
    encode,
    find_questions,
    located,
    read_questions,
)
from data.ragged import Ragged
from data.tokenization import BertWords, WordPieceTokenizer
from deploy import benchmark, export, predict
from deploy.predictor import Predictor
from finetune import run_classifier, run_mrc
from finetune.mrc import finetune
from finetune.options import FinetuneOptions, MrcOptions

TOKENIZER = WordPieceTokenizer(tiny.VOCAB)
SCRIPT = "finetune.run_mrc"


def asked(*rows, contexts=None):
    """Questions from (question, context, answers); a start is where the answer first stands."""
    contexts = contexts or list(dict.fromkeys(context for _, context, _ in rows))
    return Questions(
        [f"q{n}" for n in range(len(rows))],
        [question for question, _, _ in rows],
        contexts,
        np.asarray([contexts.index(context) for _, context, _ in rows]),
        [list(answers) for _, _, answers in rows],
        [[context.find(answer) for answer in answers] for _, context, answers in rows],
    )


def write(path, rows):
    """A file in SQuAD's layout, a paragraph for every row (context, [(question, answer, start)])."""
    data = [
        {
            "title": "t",
            "paragraphs": [
                {
                    "context": context,
                    "qas": [
                        {"id": f"{n}-{m}", "question": q, "answers": [{"text": a, "answer_start": s}] if a else []}
                        for m, (q, a, s) in enumerate(questions)
                    ],
                }
            ],
        }
        for n, (context, questions) in enumerate(rows)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"version": "1", "data": data}, ensure_ascii=False), encoding="utf-8")
    return path


# Places of tokens


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="[]"), max_size=60), st.booleans())
def test_placed_words_are_the_words_of_the_tokenizer(text, lowercase):
    words = BertWords(lowercase)
    placed = words.placed_words(text)
    assert [word for word, _ in placed] == words(text).split()
    for word, places in placed:
        assert len(places) == len(word)
        assert (np.diff(places) >= 0).all()
        if len(word) == 1 and word == text[places[0]]:
            assert text[places[0]] == word


def test_tokens_know_their_characters():
    texts = ["The goodly  film, É 很好", "", "猫cat☃ good"]
    ids, spans = TOKENIZER.encode_placed(texts)
    assert ids.lengths.tolist() == spans.lengths.tolist()
    whole = TOKENIZER.encode(texts)
    for row, text in enumerate(texts):
        assert ids[row].tolist() == whole[row].tolist()
        for token, (start, stop) in zip(ids[row], spans[row], strict=True):
            piece = tiny.VOCAB[token]
            if piece != "[UNK]":
                assert text[start:stop].lower().replace("é", "e") == piece.removeprefix("##")
    pieces = [text for start, stop in spans[0] if (text := texts[0][start:stop])]
    assert pieces[:5] == ["The", "good", "l", "y", "film"]
    # What is unknown stands there as a whole.
    assert [texts[2][start:stop] for start, stop in spans[2]][-1] == "good"
    unknown = spans[2][ids[2] == TOKENIZER.token_id("[UNK]")]
    assert all(texts[2][start:stop] in ("猫", "cat", "☃") for start, stop in unknown)


# Files


def test_a_file_is_read_and_answers_are_found_where_they_stand(tmp_path):
    path = write(
        tmp_path / "q.json",
        [("很好的书很好", [("书?", "很好", 4), ("x?", "很好", 1), ("y?", "没有", 0), (" ", "好", 1)])],
    )
    found = read_questions(path)
    assert found.ids == ["0-0", "0-1", "0-2"]
    assert found.starts == [[4], [0], [-1]]
    assert found.skipped == 1


def test_answers_are_located_by_hand():
    assert located("abcabc", "abc", 3) == 3
    assert located("abcabc", "abc", 2) == 3
    assert located("abcabc", "abc", -1) == 0
    assert located("abcabc", "x", 0) == -1
    assert located("abc", "", 0) == -1


BAD_FILES = [
    (b"{", "not valid JSON"),
    (b"\xff\xfe", "expected UTF-8"),
    (b"[]", "expected an object with a list 'data'"),
    (b'{"data": [{"paragraphs": 3}]}', r"data\[0\]: expected an object with a list 'paragraphs'"),
    (b'{"data": [{"paragraphs": [{"qas": []}]}]}', r"paragraphs\[0\]: expected a text 'context'"),
    (b'{"data": [{"paragraphs": [{"context": "x", "qas": [{"id": 1}]}]}]}', r"qas\[0\]: expected an object"),
    (b'{"data": [{"paragraphs": [{"context": "x", "qas": [{"question": "x"}]}]}]}', "expected a list 'answers'"),
    (b'{"data": [{"paragraphs": [{"context": "x", "qas": [{"question": "x", "answers": [1]}]}]}]}', "with a text"),
    (b'{"data": []}', "no questions"),
    (b"[" * 100_000, "not valid JSON"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "message"), BAD_FILES, ids=[message[:30] for _, message in BAD_FILES])
def test_a_bad_file_is_one_line_and_names_the_place(tmp_path, content, message):
    (tmp_path / "q.json").write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_questions(tmp_path / "q.json")
    assert "\n" not in str(caught.value)


def test_files_of_a_split_are_found_by_their_names(tmp_path):
    with pytest.raises(InputError, match="no train file here; expected one of train.json, cmrc2018_train.json, CMRC"):
        find_questions(tmp_path, "train", "cmrc2018")
    (tmp_path / "trial.json").write_text("{}")
    assert find_questions(tmp_path, "train", "cmrc2018").name == "trial.json"
    (tmp_path / "cmrc2018_train.json").write_text("{}")
    assert find_questions(tmp_path, "train", "cmrc2018").name == "cmrc2018_train.json"
    (tmp_path / "DRCD_training.json").write_text("{}")
    (tmp_path / "DRCD_dev.json").write_text("{}")
    assert find_questions(tmp_path, "train", "drcd").name == "DRCD_training.json"
    assert find_questions(tmp_path, "dev", "drcd").name == "DRCD_dev.json"
    with pytest.raises(InputError, match="no such folder"):
        find_questions(tmp_path / "nope", "dev", "drcd")


# Windows


def test_windows_cover_a_passage_and_label_the_answer():
    context = "good film bad film good the film bad"
    found = encode(asked(("film", context, ["the film"])), TOKENIZER, Windows(length=8, stride=2, question=2), True)
    # [CLS] film [SEP] + four tokens + [SEP]
    assert found.columns["input_ids"].lengths.tolist() == [8, 8, 8]
    assert found.first.tolist() == [0, 2, 4]
    assert found.begin.tolist() == [3, 3, 3]
    passage = TOKENIZER.encode([context])[0]
    for window, first in enumerate(found.first):
        assert found.columns["input_ids"][window][3:7].tolist() == passage[first : first + 4].tolist()
        assert found.columns["token_type_ids"][window].tolist() == [0, 0, 0, 1, 1, 1, 1, 1]
    # "the film" are the tokens 5 and 6: within the last window alone.
    assert found.labels.tolist() == [[0, 0], [0, 0], [4, 5]]


@given(st.integers(1, 40), st.integers(8, 20), st.integers(1, 12))
def test_every_token_of_a_passage_is_in_some_window(tokens, length, stride):
    context = " ".join(["good"] * tokens)
    found = encode(asked(("film", context, [])), TOKENIZER, Windows(length, stride, 3))
    seen = set()
    for first, ids in zip(found.first, range(len(found.first)), strict=True):
        count = len(found.columns["input_ids"][ids]) - 4
        assert len(found.columns["input_ids"][ids]) <= length
        seen.update(range(first, first + count))
    assert seen == set(range(tokens))


def test_a_question_whose_answer_stands_nowhere_teaches_that():
    found = encode(asked(("film", "good film", ["bad"])), TOKENIZER, Windows(12, 4, 3), True)
    assert found.labels.tolist() == [[0, 0]]


def test_questions_that_leave_no_room_are_refused():
    with pytest.raises(InputError, match="--max_seq_length 10: leaves no room beside questions of 7 tokens"):
        encode(asked(("film", "good", [])), TOKENIZER, Windows(10, 4, 7))


# Answers


def test_the_best_answer_over_windows_by_hand():
    context = "good film bad film good"
    rows = asked(("film", context, []))
    found = encode(rows, TOKENIZER, Windows(length=7, stride=2, question=1))
    lengths = found.columns["input_ids"].lengths
    assert lengths.tolist() == [7, 7]
    starts, ends = np.zeros(14, np.float32), np.zeros(14, np.float32)
    # First window: "good film bad"; the question's own tokens and [SEP] never count.
    starts[0], ends[6] = 99, 99
    starts[3], ends[4] = 2.0, 1.0  # good film: 3
    # Second window: "bad film good"
    starts[7 + 4], ends[7 + 5] = 2.5, 2.0  # film good: 4.5
    offsets = np.asarray([0, 7, 14])
    (answers,) = best_answers(rows, found, Ragged(starts, offsets), Ragged(ends, offsets), 3, 5)
    assert answers[0].text == "film good"
    assert answers[0].start == context.rindex("film")
    assert answers[0].score == pytest.approx(4.5)
    assert sum(answer.probability for answer in answers) == pytest.approx(1.0)
    # An end before its start is none, nor is an answer that is too long.
    (short,) = best_answers(rows, found, Ragged(starts, offsets), Ragged(ends, offsets), 3, 1)
    assert all(" " not in answer.text for answer in short)


@given(st.integers(1, 12), st.integers(1, 6), st.integers(1, 8), st.integers(0, 1000))
def test_pairs_are_those_of_a_plain_search(tokens, longest, n_best, seed):
    from data.questions import _best_pairs

    rng = np.random.default_rng(seed)
    starts, ends = (rng.normal(size=tokens).astype(np.float32) for _ in range(2))
    every = sorted(
        (-(float(starts[a]) + float(ends[b])), a, b) for a in range(tokens) for b in range(a, min(a + longest, tokens))
    )[:n_best]
    found = _best_pairs(starts, ends, n_best, longest)
    assert sorted((a, b) for a, b, _ in found) == sorted((a, b) for _, a, b in every)


# Figures


def test_chinese_answers_count_as_the_official_script_counts_them():
    assert plain_chinese(" 《战国》,ω-Force。") == "战国,ωforce"
    assert chinese_units("在1990年 left off,好") == ["在", "1990", "年", "left", "off,", "好"]
    assert longest_common_run("abcde", "xbcdy") == 3
    assert longest_common_run("", "abc") == 0
    assert exact_match("《书》", ["书"]) == 1.0
    assert exact_match("书本", ["书", "本"]) == 0.0
    # 很好的书 and 好的: a run of 2; precision 2/4, recall 2/2.
    assert f1("很好的书", ["好的"]) == pytest.approx(2 * 0.5 * 1 / 1.5)
    # The best of the accepted ones; what is shared but apart does not count.
    assert f1("甲乙丙", ["甲丙", "乙丙丁"]) == pytest.approx(2 / 3)
    assert f1("甲", ["乙"]) == 0.0
    # Nothing but marks shares nothing.
    assert f1("。", ["乙"]) == 0.0


def test_english_answers_count_as_squads_do():
    assert exact_match("The Film.", ["film"], "en") == 1.0
    # a b c / b c d: two words of three each.
    assert f1("one two three", ["two three four"], "en") == pytest.approx(2 / 3)
    assert f1("three two", ["two three"], "en") == 1.0


def test_a_score_is_the_mean_over_questions():
    rows = asked(("a", "很好的书", ["好的"]), ("b", "很好的书", ["书"]))
    found = score(["很好的书", "书"], rows, "zh")
    assert found == {"em": 0.5, "f1": pytest.approx((2 / 3 + 1) / 2)}


# The loss


def test_the_loss_of_two_ends_by_hand():
    start, end = np.asarray([[1.0, 2.0, 9.0]]), np.asarray([[0.0, 1.0, 9.0]])
    labels = paddle.to_tensor([[0, 1]])

    def logs(values):
        return values - math.log(sum(math.exp(v) for v in values))

    ends = [paddle.to_tensor(x.astype(np.float32)) for x in (start, end)]
    # The third token is padding.
    found = span_losses(ends, paddle.to_tensor([2]), labels)
    expected = -(logs(start[0, :2])[0] + logs(end[0, :2])[1]) / 2
    assert float(found["loss"]) == pytest.approx(expected, rel=1e-5)
    teacher = [paddle.to_tensor([[0.5, 1.5, -3.0]]), paddle.to_tensor([[2.0, 1.0, 50.0]])]
    both = span_losses(ends, paddle.to_tensor([2]), labels, teacher, alpha=0.25, temperature=2.0)
    soft = 0.0
    for mine, theirs in ((start, [0.5, 1.5]), (end, [2.0, 1.0])):
        p = np.exp(logs(np.asarray(theirs) / 2))
        soft -= float((p * logs(mine[0, :2] / 2)).sum()) * 4 / 2
    assert float(both["soft"]) == pytest.approx(soft, rel=1e-5)
    assert float(both["loss"]) == pytest.approx(0.25 * expected + 0.75 * soft, rel=1e-5)
    with pytest.raises(ValueError, match="alpha above 0 needs labels"):
        span_losses(ends, paddle.to_tensor([2]))
    with pytest.raises(ValueError, match="alpha below 1 needs a teacher"):
        span_losses(ends, paddle.to_tensor([2]), labels, alpha=0.5)


def test_logits_come_back_in_the_order_of_the_rows():
    rows = Ragged.from_rows([[2, 5, 3], [2, 3], [2, 5, 6, 7, 3]])
    columns = Columns({"input_ids": rows, "token_type_ids": Ragged.from_rows([[0] * n for n in (3, 2, 5)])})

    def forward(batch):
        values = batch["input_ids"].astype(np.float32)
        return {"start_logits": values, "end_logits": -values}

    starts, ends = span_logits(forward, columns, 0, 2)
    assert starts.values.tolist() == rows.values.tolist()
    assert ends.values.tolist() == (-rows.values).tolist()


# The scripts


def passages(rng, count):
    """The answer is the word behind "the"."""
    rows = []
    for _ in range(count):
        words = rng.choices(["a", "film", "plot"], k=rng.randint(3, 8))
        word = rng.choice(["good", "bad"])
        place = rng.randint(0, len(words))
        words[place:place] = ["the", word]
        context = " ".join(words)
        rows.append((context, [("the", word, context.index("the " + word) + 4)]))
    return rows


def write_small(folder):
    """Questions to learn from, and for the evaluation."""
    rng = random.Random(0)
    for name, count in (("trial.json", 20), ("dev.json", 6)):
        write(folder / name, passages(rng, count))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("inputs")
    rng = random.Random(0)
    write(root / "data" / "trial.json", passages(rng, 80))
    write(root / "data" / "dev.json", passages(rng, 24))
    test = [(context, [(q, "", 0) for q, _, _ in qas]) for context, qas in passages(rng, 6)]
    write(root / "test.json", test)
    tiny.write_pretrained(root / "bert", hidden_size=32)
    return root


def options(inputs, folder, **changes):
    made = {
        "task_name": "cmrc2018", "data_dir": str(inputs / "data"), "model_name_or_path": str(inputs / "bert"),
        "output_dir": str(folder), "max_seq_length": 16, "max_query_length": 3, "doc_stride": 4, "batch_size": 16,
        "num_train_epochs": 14, "learning_rate": 1e-2, "device": "cpu", "cache_dir": str(inputs / "cache"),
        "logging_steps": 1,
    }  # fmt: skip
    return MrcOptions(**{k: v for k, v in {**made, **changes}.items() if v is not None})


@pytest.fixture(scope="module")
def trained(inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "mrc"
    metrics = finetune(options(inputs, folder, do_predict=True, test_file=str(inputs / "test.json")))
    return folder, metrics


def test_a_model_learns_to_find_answers(trained):
    folder, metrics = trained
    assert metrics["dev"]["f1"] > 0.7
    assert metrics["dev"]["em"] <= metrics["dev"]["f1"]
    assert metrics["learning_rows"] >= metrics["train_rows"] == 80
    loaded = models.load(folder)
    assert loaded.architecture == "BertForQuestionAnswering"
    assert loaded.task.kind == "span"
    best = json.loads((folder / "predictions" / "cmrc2018.json").read_text())
    every = json.loads((folder / "predictions" / "cmrc2018_nbest.json").read_text())
    assert set(best) == set(every) == {f"{n}-0" for n in range(6)}
    for name, text in best.items():
        assert every[name][0]["text"] == text
        assert sum(one["probability"] for one in every[name]) == pytest.approx(1.0)


def test_both_figures_of_reading_are_compared(trained, capsys):
    folder, metrics = trained
    assert run_script(benchmark.main, ["--scores", f"one={folder}"]) == 0
    out = capsys.readouterr().out
    assert "cmrc2018 EM" in out and "cmrc2018 F1" in out
    assert f"{100 * metrics['dev']['em']:.2f}" in out and f"{100 * metrics['dev']['f1']:.2f}" in out


def test_a_student_learns_from_a_teacher_and_from_its_cache(inputs, trained, tmp_path, capsys):
    folder, _ = trained
    given = {"teacher_model": str(folder), "alpha": 0.0, "num_train_epochs": 8}
    metrics = finetune(options(inputs, tmp_path / "student", **given))
    assert metrics["dev"]["f1"] > 0.5
    said = capsys.readouterr().out
    assert "teacher outputs" not in said.replace("teacher outputs:", "")
    assert "trial.json: learnt from, as there is no training file here" in said
    log = [row for row in tiny.log_rows(tmp_path / "student") if row["part"] == "train"]
    assert log[-1]["soft"] < log[0]["soft"]
    assert "hard" not in log[0]


def test_the_same_answers_come_out_of_the_export(inputs, trained, tmp_path, capsys):
    folder, _ = trained
    target = tmp_path / "exported"
    words = ["--model_dir", str(folder), "--output_dir", str(target), "--data_dir", str(inputs / "data")]
    assert run_script(export.main, words) == 0
    asked_for = read_questions(inputs / "test.json", labelled=False)
    rows = list(zip(asked_for.questions, [asked_for.contexts[n] for n in asked_for.context_of], strict=True))
    best = json.loads((folder / "predictions" / "cmrc2018.json").read_text())
    found = Predictor(target).predict(rows)
    assert [one.answers[0].text for one in found] == list(best.values())
    capsys.readouterr()
    assert run_script(predict.main, ["--model_dir", str(target), "--input_file", str(inputs / "test.json")]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["answer"] for line in lines] == list(best.values())
    assert all(line["question"] == "the" and "n_best" not in line for line in lines)
    one = ["--model_dir", str(target), "--text", "the", "--text_pair", "film the good plot"]
    assert run_script(predict.main, [*one, "--n_best_size", "3"]) == 0
    (line,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(line["n_best"]) == 3
    assert "film the good plot"[line["start"] :].startswith(line["answer"])
    assert run_script(predict.main, ["--model_dir", str(target), "--text", "the"]) == 2
    assert "--text_pair is missing" in capsys.readouterr().err


def test_a_long_passage_is_read_in_windows_by_the_export_too(inputs, trained, tmp_path):
    folder, _ = trained
    assert run_script(export.main, ["--model_dir", str(folder), "--output_dir", str(tmp_path / "e")]) == 0
    context = " ".join(["film a plot"] * 12 + ["the good"] + ["film"] * 20)
    (found,) = Predictor(tmp_path / "e").predict([("the", context)])
    assert 0 <= found.answers[0].start < len(context)


def test_a_killed_run_ends_with_the_same_bits(inputs, tmp_path):
    rhythm = {"save_steps": 3, "eval_steps": 5, "num_train_epochs": 6}
    finetune(options(inputs, tmp_path / "whole", **rhythm))
    run = options(inputs, tmp_path / "run", **rhythm)
    tiny.kill(tiny.started_until(SCRIPT, run, 6))
    assert run_script(run_mrc.main, [*tiny.arguments(run), "--resume"]) == 0
    ours, theirs = (tmp_path / name / "model.safetensors" for name in ("run", "whole"))
    assert ours.read_bytes() == theirs.read_bytes()
    assert tiny.log_rows(tmp_path / "run") == tiny.log_rows(tmp_path / "whole")


def test_a_grid_of_runs_gives_one_table(inputs, tmp_path, capsys):
    given = options(inputs, tmp_path / "s", sweep=("learning_rate=1e-2,1e-5",), num_train_epochs=1, seeds=2)
    record = sweep(given, finetune)
    assert record["metric"] == "f1"
    assert [len(cell["scores"]) for cell in record["cells"]] == [2, 2]
    assert "dev f1" in capsys.readouterr().out


def test_held_out_passages_choose_checkpoints(inputs, tmp_path):
    metrics = finetune(options(inputs, tmp_path / "h", holdout=0.25, num_train_epochs=1, max_train_rows=30))
    assert metrics["selection_rows"] == 20
    assert metrics["train_rows"] == 30
    assert metrics["selected_on"] == "held-out training passages"
    rows = read_questions(inputs / "data" / "trial.json")
    train, held = rows.passages(0.25, 0)
    assert not set(train.context_of) & set(held.context_of)


def test_defaults_are_the_published_ones(inputs, tmp_path):
    small = parse(MrcOptions, ["--task_name", "drcd", "--data_dir", "d", "--output_dir", "o", "--model_name_or_path",
                               str(inputs / "bert")], "")  # fmt: skip
    assert small.learning_rate == 1e-4
    assert parse(MrcOptions, ["--task_name", "drcd", "--data_dir", "d", "--output_dir", "o"], "").learning_rate == 3e-5
    shallow = tiny.write_pretrained(tmp_path / "rbt3", hidden_size=768, num_hidden_layers=1, num_attention_heads=2)
    for task, rate in (("lcqmc", 1e-4), ("ocnli", 5e-5)):
        found = FinetuneOptions(task_name=task, data_dir="d", output_dir="o", model_name_or_path=str(shallow))
        assert found.learning_rate == rate


BAD = [
    ({"task_name": None}, "give --task_name with --data_dir, or your own questions"),
    ({"data_dir": "nope"}, "--data_dir nope: no such folder"),
    ({"data_dir": None}, "--data_dir is required with --task_name"),
    ({"task_name": None, "data_dir": None, "train_file": "nope", "dev_file": "nope"}, "nope: no such file"),
    ({"max_seq_length": 100}, "--max_seq_length 100: .* has 64 positions"),
    ({"max_seq_length": 8, "max_query_length": 6}, "--max_query_length 6: leaves no room in --max_seq_length 8"),
    ({"alpha": 0.3}, "--alpha goes with --teacher_model"),
    ({"teacher_model": "<classifier>"}, "expected a BertForQuestionAnswering, this is a BertForSequenceClassification"),
    ({"teacher_model": "<other>"}, "its vocabulary differs from its student's"),
    ({"do_predict": True}, "--do_predict and --test_file go together"),
    ({"do_predict": True, "test_file": "nope"}, "nope: no such file"),
    ({"task_name": "sst-2"}, "--task_name sst-2: expected one of cmrc2018, drcd"),
]  # fmt: skip


@pytest.fixture(scope="module")
def bad(inputs, trained):
    tiny.write_model(inputs / "classifier")
    loaded = models.load(trained[0])
    loaded.tokenizer = WordPieceTokenizer(tiny.VOCAB[::-1])
    tiny.write_model(inputs / "other", loaded)
    return inputs


@pytest.mark.parametrize(("changes", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_bad_input_is_one_line_and_leaves_nothing(bad, tmp_path, capsys, changes, message):
    made = {
        "task_name": "cmrc2018", "data_dir": str(bad / "data"), "model_name_or_path": str(bad / "bert"),
        "output_dir": str(tmp_path / "run"), "max_seq_length": 16, "max_query_length": 3, "device": "cpu", **changes,
    }  # fmt: skip
    words = []
    for name, value in made.items():
        if value is not None:
            words += [f"--{name}", str(bad / value[1:-1]) if str(value).startswith("<") else str(value)]
    assert run_script(run_mrc.main, words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line), line
    assert not (tmp_path / "run").exists()


def test_the_classifier_script_names_the_one_that_reads_passages(capsys):
    words = ["--task_name", "cmrc2018", "--output_dir", "o"]
    assert run_script(run_classifier.main, words) == 2
    assert "use finetune.run_mrc" in capsys.readouterr().err


def test_pairs_become_questions_with_shared_passages():
    found = as_questions([("a", "x"), ("b", "y"), ("c", "x")])
    assert found.contexts == ["x", "y"]
    assert found.context_of.tolist() == [0, 1, 0]


def test_an_export_cuts_and_answers_as_the_run_did(inputs, tmp_path):
    given = {"doc_stride": 2, "max_query_length": 4, "max_answer_length": 1, "num_train_epochs": 1}
    finetune(options(inputs, tmp_path / "run", do_predict=True, test_file=str(inputs / "test.json"), **given))
    assert models.load(tmp_path / "run").task.windows == (2, 4, 1)
    words = [
        "--model_dir",
        str(tmp_path / "run"),
        "--output_dir",
        str(tmp_path / "e"),
        "--data_dir",
        str(inputs / "data"),
    ]
    assert run_script(export.main, words) == 0
    predictor = Predictor(tmp_path / "e")
    assert predictor.task.windows == (2, 4, 1)
    known = read_questions(inputs / "test.json", labelled=False)
    best = json.loads((tmp_path / "run" / "predictions" / "cmrc2018.json").read_text())
    assert [found[0].text for found in predictor.answers_to(known)] == list(best.values())
    assert all(" " not in text for text in best.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "0-0"}, "id '0-0': expected a text or a whole number that stands there once"),
        ({"id": None}, "id None: expected a text"),
        ({"id": "\\ud800"}, "half a surrogate pair"),
        ({"question": "x\\ud800"}, "half a surrogate pair"),
    ],
)
def test_names_and_texts_of_questions_must_be_told_apart(tmp_path, change, message):
    path = write(tmp_path / "q.json", [("good film", [("the", "good", 0), ("a", "film", 5)])])
    content = json.loads(path.read_text())
    content["data"][0]["paragraphs"][0]["qas"][1].update(change)
    path.write_text(json.dumps(content).replace("\\\\ud800", "\\ud800"))
    with pytest.raises(InputError, match=message):
        read_questions(path)

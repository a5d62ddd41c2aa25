"""A classifier that was fine-tuned elsewhere becomes a teacher as it is, whatever order its outputs stand in."""

from __future__ import annotations

import json

import numpy as np
import paddle
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from console import InputError, run_script
from core.evaluate import dygraph_forward, predict_logits
from data.tasks import custom_task
from distill_lstm.train import distill
from finetune import import_classifier
from finetune.imported import outputs_of
from models.bert_names import to_hugging_face
from models.folder import load
from models.pretrained import output_names, pretrained_bert, sort_outputs
from models.weights import layer_weights, write_safetensors

LABELS = ["bad", "good"]


def own_task(*labels):
    return custom_task(("text",), "label", "en", "accuracy").with_labels(list(labels))


def write_hugging_face(folder, loaded, names=None, order=(0, 1), **more):
    """A folder as transformers saves a classifier, its outputs turned round and called as told."""
    folder.mkdir(parents=True)
    weights = {
        name: value[..., list(order)] if name.startswith("classifier.") else value
        for name, value in layer_weights(loaded.model).items()
    }
    loaded.tokenizer.save(folder)
    write_safetensors(folder / "model.safetensors", to_hugging_face(weights), tensor_format="pt")
    config = {**loaded.model.config_dict(), "architectures": ["BertForSequenceClassification"], **more}
    config.pop("num_labels", None)
    if names is not None:
        config |= {"id2label": {str(i): name for i, name in enumerate(names)}, "label2id": {}}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def write_rows(path, loaded, labels, count=40, wrong=5):
    """Rows whose labels are what a model says, but for a few."""
    from random import Random

    texts = list(dict.fromkeys(tiny.sentence(Random(number), number % 2) for number in range(count)))
    columns = loaded.encoder.encode([texts])
    said = predict_logits(dygraph_forward(loaded.model), columns, loaded.encoder.pad_id).argmax(-1)
    assert 0.1 < said.mean() < 0.9
    said[:wrong] = 1 - said[:wrong]
    rows = [f"{text}\t{labels[answer]}" for text, answer in zip(texts, said, strict=True)]
    path.write_text("\n".join(["text\tlabel", *rows, ""]), encoding="utf-8")
    return 1 - wrong / len(texts)


@pytest.fixture
def classifier():
    """One that gives both answers to the sentences of the tests."""
    for seed in range(50):
        found = tiny.bert(seed=seed)
        columns = found.encoder.encode([[tiny.sentence(tiny.Random(number), number % 2) for number in range(40)]])
        logits = predict_logits(dygraph_forward(found.model), columns, found.encoder.pad_id)
        share = float((logits[:, 1] > logits[:, 0]).mean())
        if 0.3 < share < 0.7:
            return found
    raise AssertionError("no seed gives such a model")


def words(folder, rows, out, *more):
    files = ["--train_file", str(rows), "--dev_file", str(rows), "--text_columns", "text"]
    where = ["--model_name_or_path", str(folder), "--output_dir", str(out), "--max_seq_length", "24"]
    return [*where, *files, "--cache_dir", str(out.parent / "cache"), *more]


@pytest.mark.parametrize(
    ("names", "order", "more"),
    [
        (LABELS, (0, 1), []),
        (["good", "bad"], (1, 0), []),
        (["GOOD", "Bad"], (1, 0), []),
        (None, (0, 1), []),
        (["LABEL_0", "LABEL_1"], (0, 1), []),
        (["LABEL_0", "LABEL_1"], (1, 0), ["--label_order", "good", "bad"]),
        (["NEGATIVE", "POSITIVE"], (1, 0), ["--label_order", "good", "bad"]),
        # What the user says counts, whatever the config calls them.
        (LABELS, (1, 0), ["--label_order", "good", "bad"]),
    ],
)
def test_it_says_what_it_said_where_it_came_from(classifier, tmp_path, capsys, names, order, more):
    folder = write_hugging_face(tmp_path / "hf", classifier, names, order)
    accuracy = write_rows(tmp_path / "rows.tsv", classifier, LABELS)
    out = tmp_path / "teacher"
    assert run_script(import_classifier.main, words(folder, tmp_path / "rows.tsv", out, *more)) == 0
    said = capsys.readouterr().out
    assert f"dev accuracy {accuracy:.4f}" in said
    assert "distill_lstm.bert_distill" in said and "deploy.export" in said
    found = load(out)
    assert list(found.labelled.labels or ()) == LABELS
    for name, value in layer_weights(classifier.model).items():
        np.testing.assert_array_equal(layer_weights(found.model)[name], value, err_msg=name)
    # What was written anew is the same.
    assert run_script(import_classifier.main, words(folder, tmp_path / "rows.tsv", out, *more)) == 2
    assert "pass --overwrite" in capsys.readouterr().err


def test_what_it_writes_teaches(classifier, tmp_path):
    folder = write_hugging_face(tmp_path / "hf", classifier, ["1", "0"], (1, 0))
    data = tiny.write_single(tmp_path / "data")
    task = ["--task_name", "sst-2", "--data_dir", str(data), "--max_seq_length", "24"]
    where = ["--model_name_or_path", str(folder), "--output_dir", str(tmp_path / "teacher")]
    assert run_script(import_classifier.main, [*where, *task, "--cache_dir", str(tmp_path / "cache")]) == 0
    metrics = distill(tiny.distill_options(tmp_path / "student", data, tmp_path / "teacher"))
    assert metrics["dev_with_teacher"]["agreement"] > 0
    assert (tmp_path / "student" / "model.safetensors").is_file()


def test_a_model_that_knows_nothing_of_the_task_is_no_teacher(classifier, tmp_path, capsys):
    folder = write_hugging_face(tmp_path / "hf", classifier, None, (1, 0))
    write_rows(tmp_path / "rows.tsv", classifier, LABELS, wrong=0)
    assert run_script(import_classifier.main, words(folder, tmp_path / "rows.tsv", tmp_path / "teacher")) == 0
    said = capsys.readouterr().out
    assert "dev accuracy 0.0000" in said and "--label_order" in said
    assert "bert_distill" not in said


def test_fine_tuning_begins_with_a_head_sorted_by_labels(classifier, tmp_path):
    wanted = layer_weights(classifier.model)["classifier.weight"]
    for names, order, expected in (
        (["good", "bad"], (1, 0), wanted),
        (None, (1, 0), wanted[:, [1, 0]]),
        (["up", "down"], (1, 0), wanted[:, [1, 0]]),
    ):
        folder = write_hugging_face(tmp_path / "-".join(names or ["none"]), classifier, names, order)
        found = pretrained_bert(str(folder), own_task(*LABELS), 16, 0, tmp_path)
        np.testing.assert_array_equal(layer_weights(found.model)["classifier.weight"], expected)


@given(st.permutations(["a", "b", "c", "d"]))
def test_outputs_are_sorted_by_their_names(names):
    """Output i says i; sorted by labels, that of a label says where the label stood."""
    head = paddle.nn.Linear(3, 4)
    head.weight.set_value(np.tile(np.arange(4, dtype=np.float32), (3, 1)))
    head.bias.set_value(np.arange(4, dtype=np.float32))
    sort_outputs(head, names, ["a", "b", "c", "d"])
    expected = [names.index(label) for label in "abcd"]
    np.testing.assert_array_equal(head.bias.numpy(), expected)
    np.testing.assert_array_equal(head.weight.numpy(), np.tile(expected, (3, 1)))
    sort_outputs(head, names, ["a", "b", "c", "e"])
    np.testing.assert_array_equal(head.bias.numpy(), expected)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, []),
        ({"id2label": {"0": "no", "1": "yes"}}, ["no", "yes"]),
        ({"id2label": {"1": "yes", "0": "no"}}, ["no", "yes"]),
        ({"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}, ["LABEL_0", "LABEL_1"]),
        ({"id2label": {"0": 0, "1": 1}}, ["0", "1"]),
        ({"id2label": {"1": "no", "2": "yes"}}, []),
        ({"id2label": ["no", "yes"]}, []),
    ],
)
def test_names_of_outputs(config, expected):
    assert output_names(config) == expected


def test_labels_that_are_called_as_outputs_are_by_default_keep_their_numbers():
    """LABEL_10 comes before LABEL_2 by spelling, and is the tenth output all the same."""
    names = [f"LABEL_{number}" for number in range(12)]
    assert outputs_of(names, (), own_task(*sorted(names)), "x") == names
    assert outputs_of(names[:2], (), own_task(*LABELS), "x") == LABELS


def test_what_came_meanwhile_is_kept(classifier, tmp_path, monkeypatch, capsys):
    folder, out = write_hugging_face(tmp_path / "hf", classifier), tmp_path / "teacher"
    write_rows(tmp_path / "rows.tsv", classifier, LABELS)

    def slow(loaded, rows):
        out.mkdir()
        (out / "checkpoint").write_text("another's", encoding="utf-8")
        return {"accuracy": 1.0}

    monkeypatch.setattr("finetune.imported.evaluate_model", slow)
    assert run_script(import_classifier.main, words(folder, tmp_path / "rows.tsv", out)) == 2
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["checkpoint"]


def test_a_label_that_differs_in_case_only_is_another_one():
    task = own_task("A", "B", "a")
    assert outputs_of(["a", "A", "B"], (), task, "x") == ["a", "A", "B"]
    with pytest.raises(InputError, match="are called a, B, b"):
        outputs_of(["a", "B", "b"], (), task, "x")


@pytest.mark.parametrize(
    ("changes", "more", "message"),
    [
        ({"names": ["NEGATIVE", "POSITIVE"]}, [], "outputs are called NEGATIVE, POSITIVE, your labels bad, good"),
        ({}, ["--label_order", "good"], "--label_order good: expected the labels bad good, each once"),
        ({}, ["--label_order", "good", "good"], "--label_order good good: expected the labels"),
        ({"problem_type": "multi_label_classification"}, [], "has several labels at once"),
        ({"architectures": ["BertForQuestionAnswering"]}, [], "holds no classifier, expected one with 2"),
        ({"model_type": "roberta"}, [], "expected a BERT"),
        ({"bare": True}, [], "holds no classifier, expected one with 2; fine-tune it first"),
        ({"without": "pooler"}, [], "pooler"),
        ({"without": "classifier.bias"}, [], "classifier.bias"),
        ({"bias": np.zeros(3, np.float32)}, [], "classifier.bias"),
        ({"bias": np.float32(0)}, [], "classifier.bias"),
        ({"three": True}, [], "holds a classifier with 3 output"),
        ({"absent": True}, [], "nowhere: no such model folder"),
        ({"inside": True}, ["--overwrite"], "holds no export of ours"),
    ],
)
def test_what_is_no_classifier_of_these_labels_is_refused(classifier, tmp_path, capsys, changes, more, message):
    write_rows(tmp_path / "rows.tsv", classifier, LABELS)
    source, changes, out = tmp_path / "hf", dict(changes), tmp_path / "teacher"
    if changes.pop("bare", False):
        tiny.write_pretrained(source)
    elif changes.pop("three", False):
        write_hugging_face(source, tiny.bert(own_task("a", "b", "c")), order=(0, 1, 2))
    elif changes.pop("absent", False):
        source = tmp_path / "nowhere/"
    elif changes.pop("inside", False):
        out = write_hugging_face(source, classifier)
    else:
        without, bias = changes.pop("without", None), changes.pop("bias", None)
        write_hugging_face(source, classifier, **changes)
        if without or bias is not None:
            kept = load_file(source / "model.safetensors")
            kept = {name: value for name, value in kept.items() if not without or without not in name}
            if bias is not None:
                kept["classifier.bias"] = np.asarray(bias)
            write_safetensors(source / "model.safetensors", kept, tensor_format="pt")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert run_script(import_classifier.main, words(source, tmp_path / "rows.tsv", out, *more)) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_only_what_this_wrote_is_replaced_and_never_what_it_reads(classifier, tmp_path, capsys):
    folder, out = write_hugging_face(tmp_path / "hf", classifier), tmp_path / "teacher"
    write_rows(tmp_path / "rows.tsv", classifier, LABELS)
    assert run_script(import_classifier.main, words(folder, tmp_path / "rows.tsv", out)) == 0
    (out / "rows.tsv").write_bytes((tmp_path / "rows.tsv").read_bytes())
    assert run_script(import_classifier.main, words(folder, out / "rows.tsv", out, "--overwrite")) == 2
    assert f"holds --train_file {out / 'rows.tsv'}, which is read" in capsys.readouterr().err
    assert run_script(import_classifier.main, words(folder, tmp_path / "rows.tsv", out, "--overwrite")) == 0
    assert not (out / "rows.tsv").exists()


def test_a_number_to_predict_has_no_order(tmp_path):
    task = custom_task(("text",), "label", "en", "pearson_and_spearman")
    assert outputs_of(["score"], (), task, "x") == []
    with pytest.raises(InputError, match="no labels but numbers"):
        outputs_of(["score"], ("1",), task, "x")
    loaded = tiny.bert(task)
    folder = write_hugging_face(tmp_path / "hf", loaded, ["LABEL_0"], (0,))
    rows = "".join(f"{tiny.sentence(tiny.Random(i), i % 2)}\t{i / 3:.2f}\n" for i in range(12))
    (tmp_path / "rows.tsv").write_text(f"text\tlabel\n{rows}", encoding="utf-8")
    metric = ["--metric", "pearson_and_spearman"]
    assert run_script(import_classifier.main, words(folder, tmp_path / "rows.tsv", tmp_path / "t", *metric)) == 0
    assert load(tmp_path / "t").labelled.is_regression

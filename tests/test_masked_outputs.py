"""Stored outputs of a masked language model: those of its own forward pass, the largest, and safe to interrupt."""

from __future__ import annotations

import json
import re

import numpy as np
import paddle
import pytest
import tiny
from test_corpus import write
from test_replacement import masked_lm

from args import parse
from console import InputError, run_script
from core.masked_lm import MaskedLM, largest
from core.metrics import softmax
from data.batches import Batches
from data.columns import Columns
from data.store import Store
from mlm_distill import create_teacher_output_data, teacher_outputs
from mlm_distill.corpus import create as create_corpus
from mlm_distill.options import CorpusOptions, TeacherOutputOptions
from mlm_distill.teacher_outputs import create


def corpus(root, name="corpus", **changes):
    made = {
        "input_dir": (str(root / "texts.txt"),), "model_name": str(root / "teacher"), "output_dir": str(root / name),
        "language": "en", "max_seq_length": 24, "doc_stride": 12, "max_workers": 1, "dupe_factor": 1,
        "cache_dir": str(root / "cache"),
    }  # fmt: skip
    create_corpus(CorpusOptions(**{**made, **changes}))


@pytest.fixture
def inputs(tmp_path):
    """A corpus and a masked language model."""
    import random

    rng = random.Random(0)
    write(tmp_path / "texts.txt", [[tiny.sentence(rng, n % 2) for n in range(3)] for _ in range(12)])
    tiny.write_model(tmp_path / "teacher", masked_lm())
    corpus(tmp_path)
    return tmp_path


def options(inputs, name="out", **changes):
    made = {
        "input_file": str(inputs / "corpus"), "output_dir": str(inputs / name), "teacher_dir": str(inputs / "teacher"),
        "cache_dir": str(inputs / "cache"), "truncation_factor": 5, "device": "cpu",
    }  # fmt: skip
    return TeacherOutputOptions(**{**made, **changes})


def shard(folder):
    return Columns.read(Store(folder / "shard-00000"))


def test_the_largest_probabilities_of_the_whole_vocabulary_are_kept_as_they_are(inputs):
    record = create(options(inputs))
    found, loaded = shard(inputs / "out"), masked_lm()
    assert set(found) == {*shard(inputs / "corpus"), "teacher_ids", "teacher_probs"}
    assert found["teacher_ids"].values.dtype == np.uint16
    assert found["teacher_probs"].values.dtype == np.float16
    checked = 0
    for batch in Batches(found, 4, loaded.encoder.pad_id, shuffle=False).epoch(0):
        with paddle.no_grad():
            logits = loaded.model.features_of(batch)["logits"].numpy()
        for place, row in enumerate(batch["rows"]):
            for number, at in enumerate(found["masked_positions"][row]):
                expected = softmax(logits[place, at][None])[0]
                ids, probs = found["teacher_ids"][row][number], found["teacher_probs"][row][number]
                np.testing.assert_allclose(probs, np.sort(expected)[::-1][:5], atol=2e-3)
                np.testing.assert_allclose(expected[ids], probs, atol=2e-3)
                # Not scaled up: five of many do not make one.
                assert probs.astype(float).sum() < 0.999
                checked += 1
    assert checked == record["places"] > 20
    # 5 ids and 5 probabilities of two bytes each.
    assert record["bytes_a_place"] == 20


def test_the_instances_stay_as_they_were(inputs):
    create(options(inputs))
    before, after = shard(inputs / "corpus"), shard(inputs / "out")
    for name, column in before.items():
        np.testing.assert_array_equal(after[name].values, column.values)
        np.testing.assert_array_equal(after[name].offsets, column.offsets)


def test_batches_and_parts_change_nothing(inputs, monkeypatch):
    create(options(inputs))
    monkeypatch.setattr(teacher_outputs, "PART_ROWS", 4)
    create(options(inputs, "small", predict_batch_size=2))
    for name in ("teacher_ids", "teacher_probs"):
        np.testing.assert_allclose(
            shard(inputs / "out")[name].values.astype(float),
            shard(inputs / "small")[name].values.astype(float),
            atol=2e-3,
        )
    assert not list((inputs / "small").glob("*.parts"))


def test_an_interrupted_run_goes_on_and_a_finished_one_is_found(inputs, monkeypatch):
    monkeypatch.setattr(teacher_outputs, "PART_ROWS", 4)
    create(options(inputs, "whole"))
    asked = []
    logits = MaskedLM.logits

    def failing(self, *given):
        asked.append(1)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return logits(self, *given)

    monkeypatch.setattr(MaskedLM, "logits", failing)
    with pytest.raises(KeyboardInterrupt):
        create(options(inputs))
    # One call for what is held out, then part by part.
    assert len(list((inputs / "out" / "shard-00000.parts").glob("part-*"))) == 1
    create(options(inputs))
    rows = shard(inputs / "out").rows
    assert len(asked) == 3 + -(-rows // 4) - 1
    for name in ("teacher_ids", "teacher_probs"):
        np.testing.assert_array_equal(shard(inputs / "out")[name].values, shard(inputs / "whole")[name].values)
    create(options(inputs))
    assert len(asked) == 3 + -(-rows // 4) - 1


def test_ranks_share_the_shards(inputs, monkeypatch):
    create(options(inputs))
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "2")
    for rank in ("1", "0"):
        monkeypatch.setenv("PADDLE_TRAINER_ID", rank)
        record = create(options(inputs, "ranks"))
    assert record == json.loads((inputs / "out" / "teacher_outputs.json").read_text())


def test_another_teacher_needs_another_folder(inputs):
    create(options(inputs))
    tiny.write_model(inputs / "other", masked_lm(seed=3))
    with pytest.raises(InputError, match="made from something else or with other options; pass --overwrite"):
        create(options(inputs, teacher_dir=str(inputs / "other")))
    before = shard(inputs / "out")["teacher_probs"].values.copy()
    create(options(inputs, teacher_dir=str(inputs / "other"), overwrite=True))
    assert (shard(inputs / "out")["teacher_probs"].values != before).any()


def test_the_largest_come_first_and_equals_in_order():
    assert largest(np.asarray([[1.0, 3.0, 3.0, 2.0], [0.0, 0.0, 0.0, 0.0]]), 3).tolist() == [[1, 2, 3], [0, 1, 2]]
    assert largest(np.asarray([[1.0, 2.0]]), 9).tolist() == [[1, 0]]


CASES = [
    ({"input_file": "nope"}, "--input_file nope: no such folder"),
    ({"input_file": "<teacher>"}, r"no corpus\.json here; make it with mlm_distill\.create_pretraining_data"),
    ({"input_file": "<dynamic>"}, "made with --dynamic_masking: nothing is hidden in it yet"),
    ({"teacher_dir": "nope/x/y"}, "nope/x/y: no such model folder"),
    ({"teacher_dir": "<plain>"}, "--teacher_dir .*: has no masked-LM head"),
    ({"teacher_dir": "<short>"}, "has 16 positions, the instances are up to 24 tokens long"),
    ({"teacher_dir": None}, "--teacher_dir is required, or --bert_config_file"),
    ({"teacher_dir": None, "init_checkpoint": "a/bert_model.ckpt"}, "TensorFlow's checkpoints are not read"),
    ({"max_seq_length": "16"}, "--max_seq_length 16: the instances of .* were made with 24"),
    ({"output_dir": "<teacher>"}, "is not empty; choose another"),
    ({"truncation_factor": "0"}, "--truncation_factor 0: must lie between 1 and 65535"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), CASES, ids=[message[:40] for _, message in CASES])
def test_bad_input_is_one_line_and_leaves_nothing(inputs, capsys, changes, message):
    corpus(inputs, "dynamic", dynamic_masking=True)
    tiny.write_pretrained(inputs / "plain")
    tiny.write_model(inputs / "short", masked_lm(max_position_embeddings=16))
    made = {"input_file": inputs / "corpus", "output_dir": inputs / "out", "teacher_dir": inputs / "teacher"}
    made |= {"cache_dir": inputs / "cache", "device": "cpu"}
    for name, value in changes.items():
        made[name] = inputs / value[1:-1] if isinstance(value, str) and value.startswith("<") else value
    words = [part for name, value in made.items() if value is not None for part in (f"--{name}", str(value))]
    capsys.readouterr()
    assert run_script(create_teacher_output_data.main, words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line), line
    assert not (inputs / "out").exists()


def test_a_damaged_shard_of_the_corpus_is_one_line(inputs, capsys):
    next((inputs / "corpus" / "shard-00000").glob("masked_ids*")).write_bytes(b"x")
    words = [word for n, v in options(inputs).as_dict().items() if v is not None for word in (f"--{n}", str(v))]
    assert run_script(create_teacher_output_data.main, words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "make the corpus again" in line


def test_the_published_command_line_is_read():
    published = (
        "--bert_config_file=t/bert_config.json --input_file=c --output_dir=o --truncation_factor=128 "
        "--init_checkpoint=t/model.safetensors --max_seq_length=512 --max_predictions_per_seq=20 "
        "--predict_batch_size=64"
    )
    found = parse(TeacherOutputOptions, published.split(), "")
    assert (found.teacher_dir, found.truncation_factor, found.predict_batch_size) == ("t", 128, 64)

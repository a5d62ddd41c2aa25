"""Teacher outputs: right, computed once, found again, and rebuilt when they are damaged."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from console import InputError
from core import teacher as teacher_module
from core.evaluate import dygraph_forward, predict_logits
from core.static_graph import StaticGraph
from core.teacher import Teacher, Teachers
from data.augment import Augmentation
from data.batches import Batches, token_parts
from data.sources import Rows
from data.transfer import TransferSet, build_transfer_set
from models.weights import layer_weights, set_weights

SENTENCES = [
    "a good film",
    "the story is very dull , and it is weak",
    "bad",
    "a good film",
    "the cast was fine",
    "bad",
    "the music was lovely and the end is superb",
    "it is it is it is it is it is it is",
]


def teacher_outputs(loaded, rows, cache):
    with Teacher(loaded, cache) as teacher:
        return teacher.outputs(rows)


def transfer(folder, columns, seed=0):
    rows = Rows(tuple(columns), None)
    tokenizer = tiny.bert().tokenizer
    return build_transfer_set(rows, tokenizer, Augmentation(n_iter=0), seed, folder, whole_words=False)


@pytest.fixture
def rows(tmp_path):
    return transfer(tmp_path / "transfer", [SENTENCES])


def dygraph_logits(loaded, transfer_set: TransferSet):
    encoder = loaded.encoder
    columns = encoder.arrange(transfer_set.encode(loaded.tokenizer))
    return predict_logits(dygraph_forward(loaded.model), columns, encoder.pad_id, 3)


def test_cached_logits_equal_those_of_the_model_in_the_order_of_the_rows(rows, tmp_path):
    teacher = tiny.bert()
    outputs = teacher_outputs(teacher, rows, tmp_path / "cache")
    np.testing.assert_allclose(outputs.logits, dygraph_logits(teacher, rows), atol=1e-5)
    assert outputs.logits.shape == (8, 2)


def test_equal_rows_are_computed_once(rows, tmp_path):
    outputs = teacher_outputs(tiny.bert(), rows, tmp_path / "cache")
    # Eight rows, two of which stand there twice.
    assert outputs.unique == outputs.computed == 6
    np.testing.assert_array_equal(outputs.logits[0], outputs.logits[3])
    np.testing.assert_array_equal(outputs.logits[2], outputs.logits[5])
    assert not np.array_equal(outputs.logits[0], outputs.logits[2])


def test_pairs_with_one_equal_side_are_different_rows(tmp_path):
    teacher = tiny.bert(tiny.PAIR)
    pairs = transfer(tmp_path / "transfer", [["how to swim"] * 3, ["the end", "a good film", "the end"]])
    outputs = teacher_outputs(teacher, pairs, tmp_path / "cache")
    assert outputs.unique == 2
    np.testing.assert_allclose(outputs.logits, dygraph_logits(teacher, pairs), atol=1e-5)


def test_pairs_that_are_split_elsewhere_are_different_rows(tmp_path):
    teacher = tiny.bert(tiny.PAIR)
    pairs = transfer(tmp_path / "transfer", [["a good", "a"], ["film", "good film"]])
    assert teacher_outputs(teacher, pairs, tmp_path / "cache").unique == 2


@pytest.mark.parametrize("task", [tiny.SINGLE, tiny.PAIR])
def test_a_bilstm_answers_too_and_reads_padding_as_padding(tmp_path, task):
    columns = [SENTENCES, SENTENCES[::-1]] if task.is_pair else [SENTENCES]
    rows, student = transfer(tmp_path / "transfer", columns), tiny.bilstm(task)
    outputs = teacher_outputs(student, rows, tmp_path / "cache")
    np.testing.assert_allclose(outputs.logits, dygraph_logits(student, rows), atol=1e-5)
    # Two pairs of the same word with itself are alike; others have one side in common.
    assert outputs.unique == (7 if task.is_pair else 6)


def test_several_teachers_say_their_weighted_mean(rows, tmp_path):
    loaded = [tiny.bert(seed=0), tiny.bilstm(), tiny.bert(seed=1)]
    each = [teacher_outputs(one, rows, tmp_path / "cache").logits for one in loaded]
    with Teachers(loaded, (), tmp_path / "cache") as teachers:
        equal, spent = teachers.logits(rows, "rows")
    np.testing.assert_allclose(equal, (each[0] + each[1] + each[2]) / 3, atol=1e-6)
    assert spent["computed_rows"] == 0
    with Teachers(loaded, (2.0, 1.0, 1.0), tmp_path / "cache") as teachers:
        weighted, _ = teachers.logits(rows, "rows")
    np.testing.assert_allclose(weighted, each[0] / 2 + each[1] / 4 + each[2] / 4, atol=1e-6)


def test_the_second_call_computes_nothing(rows, tmp_path):
    first = teacher_outputs(tiny.bert(), rows, tmp_path / "cache")
    second = teacher_outputs(tiny.bert(), rows, tmp_path / "cache")
    assert second.computed == 0
    assert second.unique == 6
    assert second.folder == first.folder
    np.testing.assert_array_equal(second.logits, first.logits)


def test_nothing_but_the_entry_is_left_in_the_cache(rows, tmp_path):
    outputs = teacher_outputs(tiny.bert(), rows, tmp_path / "cache")
    assert list((tmp_path / "cache" / "teacher_outputs").iterdir()) == [outputs.folder]


def entry(teacher, transfer_set, cache):
    return teacher_outputs(teacher, transfer_set, cache).folder.name


def test_the_key_changes_with_weights_shape_length_and_text(rows, tmp_path):
    cache = tmp_path / "cache"
    nudged = tiny.bert()
    weights = {k: v.copy() for k, v in layer_weights(nudged.model).items()}
    weights["classifier.bias"][0] += 1e-3
    set_weights(nudged.model, weights, "nudged")
    keys = [
        entry(tiny.bert(), rows, cache),
        entry(nudged, rows, cache),
        entry(tiny.bert(num_attention_heads=4), rows, cache),
        entry(tiny.bert(hidden_act="relu"), rows, cache),
        entry(tiny.bert(max_seq_length=6), rows, cache),
        entry(tiny.bert(), transfer(tmp_path / "fewer", [SENTENCES[:-1]]), cache),
        entry(tiny.bert(), transfer(tmp_path / "other", [["a dull film", *SENTENCES[1:]]]), cache),
        entry(tiny.bert(), transfer(tmp_path / "turned", [SENTENCES[::-1]]), cache),
    ]
    assert len(set(keys)) == len(keys)
    assert entry(tiny.bert(), rows, cache) == keys[0]


def test_a_length_limit_that_cuts_nothing_shares_the_entry(rows, tmp_path):
    longer = entry(tiny.bert(max_seq_length=40), rows, tmp_path / "cache")
    assert longer == entry(tiny.bert(max_seq_length=50), rows, tmp_path / "cache")


def test_an_interrupted_pass_goes_on_with_the_next_part(rows, tmp_path, monkeypatch):
    # The longest of the six different rows has 14 tokens: at 30 tokens a part holds two rows, then more.
    monkeypatch.setattr(teacher_module, "PART_TOKENS", 30)
    run, calls = StaticGraph.run, []

    def failing(self, inputs):
        if len(calls) == 2:
            raise RuntimeError("the lights went out")
        calls.append(len(inputs["input_ids"]))
        return run(self, inputs)

    monkeypatch.setattr(StaticGraph, "run", failing)
    with pytest.raises(RuntimeError, match="the lights went out"):
        teacher_outputs(tiny.bert(), rows, tmp_path / "cache")
    assert len(calls) == 2

    monkeypatch.setattr(StaticGraph, "run", run)
    outputs = teacher_outputs(tiny.bert(), rows, tmp_path / "cache")
    assert outputs.computed == 6 - sum(calls) > 0
    np.testing.assert_allclose(outputs.logits, dygraph_logits(tiny.bert(), rows), atol=1e-5)


def interrupted(rows, cache, monkeypatch):
    """A cache that holds all parts, but no entry: the pass was stopped just before its end."""
    monkeypatch.setattr(teacher_module, "PART_TOKENS", 30)
    with monkeypatch.context() as patch:
        patch.setattr(teacher_module, "StoreWriter", failing_writer(teacher_module.StoreWriter))
        with pytest.raises(OSError, match="disk full"):
            teacher_outputs(tiny.bert(), rows, cache)
    (parts,) = (cache / "teacher_outputs").glob("*.parts")
    return sorted(parts.glob("part-*"))


def failing_writer(writer):
    def make(folder, *more):
        if not folder.name.startswith("part-"):
            raise OSError("disk full")
        return writer(folder, *more)

    return make


def flip_last_byte(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 0xFF
    path.write_bytes(bytes(content))


def test_all_parts_are_used_again(rows, tmp_path, monkeypatch):
    parts = interrupted(rows, tmp_path / "cache", monkeypatch)
    assert len(parts) >= 3
    outputs = teacher_outputs(tiny.bert(), rows, tmp_path / "cache")
    assert outputs.computed == 0
    np.testing.assert_allclose(outputs.logits, dygraph_logits(tiny.bert(), rows), atol=1e-5)


def test_a_damaged_part_is_computed_again(rows, tmp_path, monkeypatch):
    parts = interrupted(rows, tmp_path / "cache", monkeypatch)
    flip_last_byte(parts[1] / "logits.bin")
    rows_of_part = len((parts[1] / "logits.bin").read_bytes()) // 8  # two float32 a row
    outputs = teacher_outputs(tiny.bert(), rows, tmp_path / "cache")
    assert outputs.computed == rows_of_part
    np.testing.assert_allclose(outputs.logits, dygraph_logits(tiny.bert(), rows), atol=1e-5)


@pytest.mark.parametrize("damage", ["flip", "truncate", "manifest"])
def test_a_damaged_entry_is_noticed_and_computed_again(rows, tmp_path, capsys, damage):
    folder = teacher_outputs(tiny.bert(), rows, tmp_path / "cache").folder
    if damage == "flip":
        flip_last_byte(folder / "logits.bin")
    elif damage == "truncate":
        (folder / "logits.bin").write_bytes((folder / "logits.bin").read_bytes()[:-4])
    else:
        (folder / "manifest.json").write_text("{")
    outputs = teacher_outputs(tiny.bert(), rows, tmp_path / "cache")
    assert "the stored teacher outputs are damaged and are computed again" in capsys.readouterr().out
    assert outputs.computed == 6
    np.testing.assert_allclose(outputs.logits, dygraph_logits(tiny.bert(), rows), atol=1e-5)
    assert teacher_outputs(tiny.bert(), rows, tmp_path / "cache").computed == 0


@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=80), budget=st.integers(1, 200))
def test_parts_hold_every_row_once_within_the_budget(lengths, budget):
    lengths = np.array(lengths)
    order = np.argsort(-lengths, kind="stable")
    parts = list(token_parts(lengths, order, budget))
    assert np.concatenate(parts).tolist() == order.tolist()
    for part in parts:
        assert len(part) == 1 or len(part) * lengths[part].max() <= budget


def test_parts_by_hand():
    # 5 tokens: two rows of 5 fit into 12; then 3 tokens a row: four rows.
    lengths = np.array([3, 5, 2, 3, 5, 1])
    order = np.argsort(-lengths, kind="stable")
    assert [part.tolist() for part in token_parts(lengths, order, 12)] == [[1, 4], [0, 3, 2, 5]]


# Named columns, one graph, several processes


def test_one_graph_serves_all_questions_of_a_run(tmp_path, monkeypatch):
    made = []
    save_graph = teacher_module.save_graph
    monkeypatch.setattr(teacher_module, "save_graph", lambda *a, **k: made.append(1) or save_graph(*a, **k))
    first, second = transfer(tmp_path / "a", [SENTENCES]), transfer(tmp_path / "b", [["a dull film"]])
    with Teacher(tiny.bert(), tmp_path / "cache") as teacher:
        assert [teacher.outputs(rows).computed for rows in (first, second, first)] == [6, 1, 0]
    assert len(made) == 1
    # And nothing of it is left.
    assert list((tmp_path / "cache" / "graphs").iterdir()) == []


def test_hidden_states_are_columns_beside_the_logits(tmp_path):
    rows = transfer(tmp_path / "transfer", [SENTENCES])
    loaded = tiny.bert()
    with Teacher(loaded, tmp_path / "cache", wanted={"hidden_states": (0, 2)}) as teacher:
        found = teacher.outputs(rows)
        again = teacher.outputs(rows)
    assert list(found.columns) == ["logits", "hidden_states.0", "hidden_states.2"]
    assert (found.computed, again.computed) == (6, 0)
    encoded = loaded.encoder.arrange(rows.encode(loaded.tokenizer))
    np.testing.assert_allclose(found.logits, dygraph_logits(loaded, rows), atol=1e-5)
    for row in range(len(SENTENCES)):
        (batch,) = Batches(encoded.take(np.array([row])), 1, shuffle=False).epoch(0)
        expected = loaded.model.features_of(batch, ("hidden_states",))["hidden_states"]
        for layer in (0, 2):
            states = again.columns[f"hidden_states.{layer}"][row]
            assert states.shape == (len(encoded["input_ids"][row]), 16)
            np.testing.assert_allclose(states, expected[layer].numpy()[0], atol=1e-4)
    # Other questions are other entries.
    assert teacher_outputs(loaded, rows, tmp_path / "cache").folder != found.folder


def test_what_has_no_vector_per_token_is_not_stored(tmp_path):
    with pytest.raises(ValueError, match="attention_scores: stored are features with a vector per token"):
        Teacher(tiny.bert(), tmp_path, wanted={"attention_scores": ()})


ASK = """
import sys
from pathlib import Path
sys.path[:0] = [sys.argv[3]]
import test_teacher, tiny
from pathlib import Path
from core import teacher
teacher.PART_TOKENS = 30
rows = test_teacher.transfer(Path(sys.argv[1]), [test_teacher.SENTENCES])
print("computed", test_teacher.teacher_outputs(tiny.bert(), rows, Path(sys.argv[2])).computed)
"""


def test_two_processes_on_one_cache_compute_once(tmp_path):
    tests = str(tiny.ROOT / "tests")
    children = [
        subprocess.Popen(
            [sys.executable, "-c", ASK, str(tmp_path / f"transfer-{n}"), str(tmp_path / "cache"), tests],
            cwd=tiny.ROOT,
            env=tiny.environment(PYTHONWARNINGS="ignore"),
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in (1, 2)
    ]
    said = [child.communicate(timeout=120)[0].splitlines()[-1] for child in children]
    assert sorted(said) == ["computed 0", "computed 6"]
    assert len(list((tmp_path / "cache" / "teacher_outputs").iterdir())) == 1


def test_a_teacher_whose_answers_are_no_numbers_is_noticed(rows, tmp_path):
    spoilt = tiny.bert()
    spoilt.model.classifier.weight.set_value(np.full([16, 2], 3e38, np.float32))
    with pytest.raises(InputError, match="the teacher's logits are not finite: its weights are worthless"):
        teacher_outputs(spoilt, rows, tmp_path / "cache")


@pytest.mark.parametrize("forge", ["unit", "units", "ids", "columns"])
def test_a_forged_transfer_set_is_refused(tmp_path, forge):
    from data.ragged import Ragged
    from data.store import StoreWriter
    from data.transfer import load_transfer_set

    meta = {"kind": "transfer-set", "unit": "word", "units": ["[MASK]", "a"], "identity": "x"}
    meta |= {"unit": {"unit": "letter"}, "units": {"units": [3, None]}}.get(forge, {})
    ids = [[0, 1], [5 if forge == "ids" else 1]]
    named = {} if forge == "columns" else {"text_0": Ragged.from_rows(ids)}
    with StoreWriter(tmp_path / "t", meta) as writer:
        writer.append(label=np.array([0, -1]), **named)
    with pytest.raises(InputError, match="no usable transfer set"):
        load_transfer_set(tmp_path / "t")


def test_a_graph_leaves_the_threads_of_the_process_as_they_were(tmp_path):
    """Paddle Inference leaves one behind: training after a teacher's pass took twice as long on two cores."""
    code = f"""
import ctypes, sys
from pathlib import Path
import numpy as np, paddle
sys.path.insert(0, "tests")
import tiny
from core.static_graph import StaticGraph, save_graph
openmp = ctypes.CDLL(str(Path(paddle.__file__).parent / "libs" / "libiomp5.so"))
loaded = tiny.bert()
save_graph(loaded, {str(tmp_path)!r})
before = openmp.omp_get_max_threads()
ids = np.full((2, 5), 7)
graph = StaticGraph({str(tmp_path)!r}, threads=1)
graph.run({{"input_ids": ids, "token_type_ids": np.zeros_like(ids)}})
print(before, openmp.omp_get_max_threads())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).resolve().parent.parent,
        env={**os.environ, "OMP_NUM_THREADS": "3"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.split()[-2:] == ["3", "3"], done.stderr

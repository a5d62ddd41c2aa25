"""The student's first weights, against what can be said of them by hand."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from console import InputError
from core.evaluate import dygraph_forward, predict_logits
from models import folder as model_folder
from models.shrink import halves, hidden_basis
from models.weights import layer_weights
from tinybert.options import PRESETS, TaskDistillOptions
from tinybert.student import build_student

TEXTS = ["a good film", "the plot was very dull", "it is a lovely story and a weak end"]
SHAPE = {"num_hidden_layers": 2, "hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}


def options(**changes):
    values = {"task_name": "sst-2", "data_dir": "x", "teacher_model": "t", "output_dir": "o", "max_seq_length": 32}
    return TaskDistillOptions(**{**values, **(SHAPE if "student_model" not in changes else {}), **changes})


def student_of(teacher, tmp_path, **changes):
    return build_student(options(**changes), teacher, 1, tmp_path)


def logits(loaded):
    return predict_logits(dygraph_forward(loaded.model), loaded.encoder.encode([TEXTS]), loaded.encoder.pad_id)


def test_a_student_of_the_teachers_shape_says_what_the_teacher_says(tmp_path):
    teacher = tiny.bert()
    for how in ("truncate", "principal"):
        basis = hidden_basis(layer_weights(teacher.model), 16, how)
        np.testing.assert_array_equal(basis, np.eye(16, dtype=np.float32))
    student = student_of(teacher, tmp_path)
    np.testing.assert_allclose(logits(student.loaded), logits(teacher), atol=1e-5)
    np.testing.assert_array_equal(student.projection, np.eye(16, dtype=np.float32))


def test_a_way_to_be_narrower_goes_with_narrower_students(tmp_path):
    with pytest.raises(InputError, match="--hidden_init principal: goes with a student that is narrower .* 16 wide"):
        student_of(tiny.bert(), tmp_path, hidden_init="principal")
    assert student_of(tiny.bert(), tmp_path, hidden_init="principal", hidden_size=8).projection.shape == (8, 16)


def test_a_negative_gain_keeps_its_sign(tmp_path):
    teacher = tiny.bert()
    for layer in teacher.model.bert.encoder.layers:
        layer.norm1.weight.set_value(-layer.norm1.weight)
    np.testing.assert_allclose(logits(student_of(teacher, tmp_path).loaded), logits(teacher), atol=1e-5)


def test_layers_that_start_fresh_are_named(tmp_path):
    student = student_of(tiny.bert(num_hidden_layers=4), tmp_path, init_layers="4:2")
    assert student.start == "layers 4 of the teacher, random weights in its own 1"


def test_layers_are_those_of_the_map(tmp_path):
    teacher = tiny.bert(num_hidden_layers=6)
    theirs = layer_weights(teacher.model)
    for rule, layers in (("uniform", (2, 5)), ("last", (4, 5)), ("every_other", (0, 5)), ("0:0,2:1,3:2", (1, 2))):
        mine = layer_weights(student_of(teacher, tmp_path, init_layers=rule).loaded.model)
        for place, layer in enumerate(layers):
            for part in ("linear1.weight", "linear2.bias", "norm2.weight"):
                np.testing.assert_array_equal(
                    mine[f"bert.encoder.layers.{place}.{part}"], theirs[f"bert.encoder.layers.{layer}.{part}"]
                )


def test_fewer_layers_leave_the_rest_as_it_was(tmp_path):
    teacher = tiny.bert(num_hidden_layers=4)
    mine, theirs = layer_weights(student_of(teacher, tmp_path).loaded.model), layer_weights(teacher.model)
    for name in ("bert.embeddings.word_embeddings.weight", "bert.pooler.dense.weight", "classifier.weight"):
        np.testing.assert_array_equal(mine[name], theirs[name])


def test_truncation_takes_the_same_hidden_units_everywhere(tmp_path):
    teacher = tiny.bert()
    student = student_of(teacher, tmp_path, hidden_size=8, num_attention_heads=2)
    kept = student.projection.argmax(1)
    assert student.projection.sum() == 8
    assert sorted(kept.tolist()) == kept.tolist()
    mine, theirs = layer_weights(student.loaded.model), layer_weights(teacher.model)
    words = "bert.embeddings.word_embeddings.weight"
    np.testing.assert_array_equal(mine[words], theirs[words][:, kept])
    np.testing.assert_array_equal(mine["classifier.weight"], theirs["classifier.weight"][kept])
    norm = "bert.encoder.layers.1.norm2."
    np.testing.assert_allclose(mine[f"{norm}weight"], theirs[f"{norm}weight"][kept], rtol=1e-6)
    np.testing.assert_allclose(mine[f"{norm}bias"], theirs[f"{norm}bias"][kept], rtol=1e-6)
    # Neurons: the largest stay, in their order.
    into, back = (theirs[f"bert.encoder.layers.0.linear{n}.weight"] for n in (1, 2))
    np.testing.assert_array_equal(mine["bert.encoder.layers.0.linear1.weight"], into[kept])
    np.testing.assert_array_equal(mine["bert.encoder.layers.0.linear2.weight"], back[:, kept])


def test_fewer_neurons_keep_the_largest(tmp_path):
    teacher = tiny.bert()
    mine = layer_weights(student_of(teacher, tmp_path, intermediate_size=10).loaded.model)
    theirs = layer_weights(teacher.model)
    into, back = (theirs[f"bert.encoder.layers.0.linear{n}.weight"] for n in (1, 2))
    size = np.linalg.norm(into, axis=0) * np.linalg.norm(back, axis=1)
    kept = np.sort(np.argsort(-size)[:10])
    np.testing.assert_array_equal(mine["bert.encoder.layers.0.linear1.weight"], into[:, kept])


@given(st.integers(1, 6), st.integers(0, 1000))
def test_a_smaller_head_is_the_best_approximation_of_its_rank(rank, seed):
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(9, 6)), rng.normal(size=(6, 7))
    left, right = halves(first, second, rank)
    assert left.shape == (9, rank)
    assert right.shape == (rank, 7)
    # Eckart and Young: the error is that of the singular values left out.
    values = np.linalg.svd(first @ second)[1]
    assert np.linalg.norm(left @ right - first @ second) == pytest.approx(np.linalg.norm(values[rank:]), abs=1e-4)


def test_larger_heads_change_nothing_at_first(tmp_path):
    # Two heads of 8 become one of 16 and one that nobody gave: heads are of one size.
    teacher = tiny.bert(num_attention_heads=4)
    student = student_of(teacher, tmp_path, num_attention_heads=2)
    assert student.loaded.model.config.head_dim == 8
    weights = layer_weights(student.loaded.model)
    out = weights["bert.encoder.layers.0.self_attn.out_proj.weight"]
    assert (out[4:8] == 0).all()
    assert (out[:4] != 0).any()
    # One factor of each product is fresh and can learn.
    assert (weights["bert.encoder.layers.0.self_attn.v_proj.weight"][:, 4:8] != 0).all()


def test_more_heads_than_the_teacher_has_say_nothing_at_first(tmp_path):
    teacher = tiny.bert()
    weights = layer_weights(student_of(teacher, tmp_path, num_attention_heads=4).loaded.model)
    out = weights["bert.encoder.layers.0.self_attn.out_proj.weight"]
    assert (out[8:] == 0).all()
    assert (out[:8] != 0).any()


def test_scores_of_equal_heads_stay_those_of_the_teacher(tmp_path):
    # The scale of a head's size is made up for: hidden 16 with 2 heads of 8, the student 2 of 8 with all hidden units.
    teacher = tiny.bert()
    student = student_of(teacher, tmp_path)
    from data.batches import Batches

    (batch,) = Batches(teacher.encoder.encode([TEXTS]), 4, teacher.encoder.pad_id, shuffle=False).epoch(0)
    ours, theirs = (
        loaded.model.features_of(batch, ("attention_scores",))["attention_scores"]
        for loaded in (student.loaded, teacher)
    )
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine.numpy(), other.numpy(), atol=1e-3)


@pytest.mark.parametrize("how", ["truncate", "principal"])
def test_the_basis_has_orthonormal_columns(how):
    basis = hidden_basis(layer_weights(tiny.bert().model), 6, how)
    assert basis.shape == (16, 6)
    np.testing.assert_allclose(basis.T @ basis, np.eye(6), atol=1e-5)
    if how == "truncate":
        assert sorted(np.unique(basis).tolist()) == [0.0, 1.0]


def test_principal_directions_keep_the_most():
    weights = {"bert.encoder.layers.0.linear1.weight": np.diag([5.0, 1.0, 3.0, 2.0]).astype(np.float32)}
    basis = hidden_basis(weights, 2, "principal")
    np.testing.assert_allclose(np.abs(basis), np.eye(4)[:, [0, 2]], atol=1e-6)
    assert (basis.sum(0) > 0).all()


def test_random_students_depend_on_the_seed_alone(tmp_path):
    first, second = (student_of(tiny.bert(seed=n), tmp_path, init="random") for n in (0, 1))
    for name, value in layer_weights(first.loaded.model).items():
        np.testing.assert_array_equal(value, layer_weights(second.loaded.model)[name])
    # Whose states are to be fitted to the teacher's.
    assert first.projection is None


def test_a_student_that_has_learnt_before_keeps_its_weights(tmp_path):
    earlier = tiny.bert(seed=5, hidden_size=8)
    tiny.write_model(tmp_path / "earlier", earlier)
    student = student_of(tiny.bert(), tmp_path, student_model=str(tmp_path / "earlier"))
    np.testing.assert_allclose(logits(student.loaded), logits(earlier), atol=1e-6)
    assert student.projection is None


def test_presets_are_the_published_shapes(tmp_path):
    assert PRESETS["tinybert-4l-312d"]["intermediate_size"] == 1200
    chosen = options(student_model="tinybert-6l-768d")
    from tinybert.student import student_shape

    shape = student_shape(chosen, tiny.bert_config())
    assert (shape.num_hidden_layers, shape.hidden_size, shape.intermediate_size, shape.head_dim) == (6, 768, 3072, 64)
    # A number beside a preset changes it.
    assert student_shape(options(student_model="tinybert-4l-312d", num_hidden_layers=3), shape).num_hidden_layers == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 32}, r"--hidden_size 32: larger than the teacher's, whose weights end; use --init random"),
        ({"num_hidden_layers": 3}, "--num_hidden_layers 3: larger than the teacher's"),
        ({"num_attention_heads": 3}, "--num_attention_heads 3: must divide --hidden_size 16"),
    ],
)
def test_shapes_that_cannot_be_are_refused(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        student_of(tiny.bert(), tmp_path, **changes)


def test_a_student_of_another_vocabulary_is_refused(tmp_path):
    other = tiny.bert()
    other.tokenizer = type(other.tokenizer)([*tiny.VOCAB[:-1], "other"])
    model_folder.save(tmp_path / "other", other)
    with pytest.raises(InputError, match="its vocabulary differs from its teacher's"):
        student_of(tiny.bert(), tmp_path, student_model=str(tmp_path / "other"))

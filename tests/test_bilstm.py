"""The student against an LSTM in plain NumPy, written here from the equations."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import paddle
import pytest
import tiny

from core.optim import make_optimizer
from models.bilstm import BiLSTMConfig, embeddings_from_teacher
from models.occurring import occurring_rows
from models.weights import layer_weights

ROWS = [[7, 8, 9, 10], [11, 12]]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def numpy_states(weights, inputs, suffix, hidden):
    """All states of one direction, [tokens, hidden]; Paddle's gates come in the order input, forget, cell, output."""
    w_ih, w_hh, b_ih, b_hh = (
        weights[f"lstm.{kind}_{suffix}"].astype(np.float64) for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    h, c, states = np.zeros(hidden), np.zeros(hidden), []
    for x in inputs:
        i, f, g, o = np.split(w_ih @ x + b_ih + w_hh @ h + b_hh, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        states.append(h)
    return np.array(states)


def numpy_sentence(loaded, ids):
    """The last states of both directions of the top layer, or the largest of each when the model pools so."""
    return numpy_read(loaded, numpy_embedded(loaded, ids))


def numpy_embedded(loaded, ids):
    return layer_weights(loaded.model)["embedding.weight"][ids].astype(np.float64)


def numpy_read(loaded, inputs):
    weights, config = layer_weights(loaded.model), loaded.model.config
    for layer in range(config.num_layers):
        forward = numpy_states(weights, inputs, f"l{layer}", config.hidden_size)
        backward = numpy_states(weights, inputs[::-1], f"l{layer}_reverse", config.hidden_size)
        inputs = np.concatenate([forward, backward[::-1]], axis=1)
    if config.pooling == "max":
        return inputs.max(axis=0)
    return np.concatenate([forward[-1], backward[-1]])


def numpy_aligned(loaded, ids, other_ids):
    """Every token compared with the mean of the other text's tokens, each weighted by its likeness."""
    weights = layer_weights(loaded.model)
    project, bias = weights["alignment.project.weight"], weights["alignment.project.bias"]
    compared, others = [], numpy_embedded(loaded, other_ids)
    for token in numpy_embedded(loaded, ids):
        likeness = [np.exp((token @ project + bias) @ (other @ project + bias)) for other in others]
        found = sum(weight * other for weight, other in zip(likeness, others, strict=True)) / sum(likeness)
        features = np.concatenate([token, found, token - found, token * found])
        made = features @ weights["alignment.compare.weight"] + weights["alignment.compare.bias"]
        compared.append(np.maximum(made, 0))
    return np.array(compared)


def numpy_logits(loaded, features):
    weights = layer_weights(loaded.model)
    dense = np.tanh(features @ weights["fc.weight"] + weights["fc.bias"])
    return dense @ weights["output_layer.weight"] + weights["output_layer.bias"]


def padded(rows):
    width = max(map(len, rows))
    ids = np.array([row + [0] * (width - len(row)) for row in rows])
    return paddle.to_tensor(ids), paddle.to_tensor(np.array([len(row) for row in rows]))


@pytest.mark.parametrize("pooling", ["last", "max"])
@pytest.mark.parametrize("layers", [1, 2])
def test_logits_equal_a_numpy_lstm(layers, pooling):
    loaded = tiny.bilstm(num_layers=layers, pooling=pooling)
    found = loaded.model(*padded(ROWS)).numpy()
    expected = [numpy_logits(loaded, numpy_sentence(loaded, row)) for row in ROWS]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("pooling", ["last", "max"])
def test_masked_rows_equal_rows_without_padding(pooling):
    loaded = tiny.bilstm(num_layers=2, pooling=pooling)
    together = loaded.model(*padded(ROWS)).numpy()
    alone = [loaded.model(paddle.to_tensor([row])).numpy()[0] for row in ROWS]
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_maxima_are_the_same_in_training():
    model = tiny.bilstm(pooling="max", dropout_prob=0.0).model
    expected = model(*padded(ROWS)).numpy()
    model.train()
    found = model(*padded(ROWS))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
    found.sum().backward()
    gradient = model.embedding.weight.grad.numpy()
    assert not gradient[0].any() and gradient[7].any()


def test_no_padded_position_is_the_largest():
    loaded = tiny.bilstm(pooling="max")
    weights = layer_weights(loaded.model)
    # Gates that make every true state tanh(-1), far below the zeros that stand behind them.
    bias = weights["lstm.bias_ih_l0"]
    bias[:] = [10.0] * 6 + [-10.0] * 6 + [-10.0] * 6 + [10.0] * 6
    loaded.model.lstm.bias_ih_l0.set_value(bias)
    ids, lengths = padded(ROWS)
    features = loaded.model.sentence(loaded.model.embedded(ids), lengths).numpy()
    assert (features[1, :6] < -0.7).all()


@pytest.mark.parametrize("kind", ["sum", "product"])
def test_pair_features_by_hand(kind):
    loaded = tiny.bilstm(tiny.PAIR, pair_features=kind)
    first, second = numpy_sentence(loaded, ROWS[0]), numpy_sentence(loaded, ROWS[1])
    third = first + second if kind == "sum" else first * second
    expected = numpy_logits(loaded, np.concatenate([first, second, third, np.abs(first - second)]))
    found = loaded.model(*padded([ROWS[0]]), *padded([ROWS[1]])).numpy()[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("pooling", ["last", "max"])
def test_aligned_pairs_by_hand(pooling):
    loaded = tiny.aligned_bilstm(pooling=pooling)
    ids = (ROWS[0], ROWS[1]), (ROWS[1], ROWS[0])
    expected = []
    for first, second in ids:
        read = [numpy_read(loaded, numpy_aligned(loaded, *pair)) for pair in ((first, second), (second, first))]
        features = np.concatenate([*read, read[0] + read[1], np.abs(read[0] - read[1])])
        expected.append(numpy_logits(loaded, features))
    # Both together: what is padded takes no part.
    found = loaded.model(*padded([ROWS[0], ROWS[1]]), *padded([ROWS[1], ROWS[0]])).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_alignment_learns_from_a_batch_what_it_learns_from_its_rows():
    model = tiny.aligned_bilstm(dropout_prob=0.0).model
    model.train()

    def gradients(rows, others):
        model.clear_gradients()
        model(*padded(rows), *padded(others)).sum().backward()
        return {name: weight.grad.numpy().copy() for name, weight in model.named_parameters()}

    together = gradients(ROWS, ROWS[::-1])
    alone = [gradients([row], [other]) for row, other in zip(ROWS, ROWS[::-1], strict=True)]
    for name, found in together.items():
        np.testing.assert_allclose(found, alone[0][name] + alone[1][name], atol=1e-5, err_msg=name)
        assert found.any(), name


@pytest.mark.parametrize("changes", [{"pair_alignment": "yes"}, {"pair_alignment": True, "is_pair": False}])
def test_only_pairs_are_aligned(changes):
    with pytest.raises(ValueError, match=f"pair_alignment {changes['pair_alignment']!r}: expected true or false"):
        BiLSTMConfig.from_dict({"vocab_size": 9, "is_pair": True, **changes})


@pytest.mark.parametrize("make", [lambda: tiny.bilstm(tiny.PAIR), tiny.aligned_bilstm])
def test_a_batch_gives_the_logits_of_its_rows(make):
    loaded = make()
    columns = loaded.encoder.encode([["the good film", "a"], ["bad", "the cast is weak"]])
    from data.batches import Batches

    batch = Batches(columns, 2, loaded.encoder.pad_id, shuffle=False).collate(np.array([0, 1]))
    found = loaded.model.from_batch(batch).numpy()
    for row in range(2):
        ids = [paddle.to_tensor(columns[name][row][None].astype(np.int64)) for name in ("input_ids", "input_ids_b")]
        np.testing.assert_allclose(found[row], loaded.model(ids[0], None, ids[1], None).numpy()[0], atol=1e-6)


def test_padding_row_of_the_embedding_gets_no_gradient():
    model = tiny.bilstm().model
    model.train()
    model(*padded(ROWS)).sum().backward()
    gradient = model.embedding.weight.grad.numpy()
    assert not gradient[0].any()
    assert gradient[7].any()


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("task", [tiny.SINGLE, tiny.PAIR], ids=["single", "pair"])
def test_parameters_by_formula(task, layers):
    vocab, width, hidden, labels = len(tiny.VOCAB), 8, 6, 2
    lstm = sum(
        2 * 4 * (hidden * (width if layer == 0 else 2 * hidden) + hidden * hidden + 2 * hidden)
        for layer in range(layers)
    )
    features = 2 * hidden * (4 if task.is_pair else 1)
    expected = vocab * width + lstm + (features * hidden + hidden) + (hidden * labels + labels)
    assert tiny.bilstm(task, num_layers=layers).parameters == expected


def test_every_weight_is_stored_once():
    loaded = tiny.bilstm(num_layers=2)
    assert sum(value.size for value in layer_weights(loaded.model).values()) == loaded.parameters


def test_same_seed_same_weights():
    first, again, other = (layer_weights(tiny.bilstm(seed=seed).model) for seed in (1, 1, 2))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["fc.weight"], other["fc.weight"])


TEACHER = np.random.default_rng(0).normal(0.5, 0.02, (200, 12)) * np.linspace(3, 0.1, 12)


@pytest.mark.parametrize("width", [12, 5])
def test_teacher_embeddings_are_centred_scaled_and_have_a_zero_padding_row(width):
    made = embeddings_from_teacher(TEACHER, width, 0.3, pad_token_id=4)
    assert made.shape == (200, width)
    assert made.dtype == np.float32
    assert not made[4].any()
    others = np.delete(made, 4, axis=0)
    assert others.std() == pytest.approx(0.3, rel=0.02)
    np.testing.assert_allclose(others.mean(0), 0, atol=0.02)


def test_teacher_embeddings_of_full_width_keep_the_directions():
    made = embeddings_from_teacher(TEACHER, 12, 0.3, pad_token_id=0)[1:]
    centred = (TEACHER - TEACHER.mean(0))[1:]
    np.testing.assert_allclose(made / made.std(), centred / centred.std(), atol=0.02)


def test_projection_keeps_the_largest_variance():
    made = embeddings_from_teacher(TEACHER, 4, 1.0).astype(np.float64)
    centred = TEACHER - TEACHER.mean(0)
    values = np.linalg.svd(centred, compute_uv=False) ** 2
    # The columns hold the four largest shares of the variance, in falling order.
    kept = (made[1:] ** 2).sum(0)
    np.testing.assert_allclose(kept / kept.sum(), values[:4] / values[:4].sum(), atol=0.02)
    assert values[:4].sum() > 0.6 * values.sum()


def test_embeddings_wider_than_the_teachers_are_refused():
    with pytest.raises(ValueError, match="embedding size 13 is wider than the teacher's 12"):
        embeddings_from_teacher(TEACHER, 13)


@pytest.mark.parametrize("name", ["adam", "adadelta"])
def test_training_the_occurring_rows_alone_changes_nothing_else(name):
    rows = np.random.default_rng(3).choice(np.arange(1, len(tiny.VOCAB), 3), [6, 5, 4])
    rows[:, :, -1] = 0  # the padding

    def trained(only_occurring: bool) -> dict[str, np.ndarray]:
        model = tiny.bilstm(dropout_prob=0.0).model
        model.train()
        with occurring_rows(model, rows) if only_occurring else nullcontext():
            optimizer = make_optimizer(name, model)
            optimizer.set_lr(0.01)
            for batch in rows:
                logits = model(paddle.to_tensor(batch), paddle.full([5], 3, "int64"))
                (logits**2).mean().backward()
                optimizer.step()
                optimizer.clear_grad()
        return layer_weights(model)

    whole, part = trained(False), trained(True)
    before = layer_weights(tiny.bilstm(dropout_prob=0.0).model)
    assert whole.keys() == part.keys()
    for key, value in whole.items():
        np.testing.assert_allclose(part[key], value, atol=1e-6, err_msg=key)
    moved = np.flatnonzero((part["embedding.weight"] != before["embedding.weight"]).any(1))
    assert set(moved) == set(np.unique(rows)) - {0}


def test_the_model_is_whole_again_after_a_failure():
    model = tiny.bilstm().model
    before = layer_weights(model)
    with pytest.raises(RuntimeError, match="stopped"), occurring_rows(model, np.asarray([5, 7])):
        assert model.embedding.weight.shape[0] == 4  # with the padding, and the row that only decays
        raise RuntimeError("stopped")
    after = layer_weights(model)
    assert all((after[key] == before[key]).all() for key in before)

"""The quick LSTM is Paddle's in everything but time, whatever lengths a batch's rows have."""

from __future__ import annotations

import re

import numpy as np
import paddle
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from models.linear import bf16_products
from models.lstm import LSTM, _orders


def layer(inputs=5, hidden=4, seed=0, **more):
    paddle.seed(seed)
    made = LSTM(inputs, hidden, direction="bidirect", **more)
    made.train()
    return made


def answers(made, x, lengths, last_only, quick):
    """The states that count and all gradients, of a loss that weighs every state differently."""
    made.clear_gradients()
    x = paddle.to_tensor(x)
    x.stop_gradient = False
    known = None if lengths is None else paddle.to_tensor(lengths)
    if quick:
        out = made.sentences(x, known, last_only)
    else:
        states, (last, _) = made(x, sequence_length=known)
        out = paddle.concat([last[-2], last[-1]], axis=-1) if last_only else states
    if not last_only and lengths is not None:
        inside = np.arange(x.shape[1])[None, :, None] < lengths[:, None, None]
        out = out * paddle.to_tensor(inside.astype(np.float32))
    weights = np.linspace(-1, 1, out.size, dtype=np.float32).reshape(out.shape)
    (out * paddle.to_tensor(weights)).sum().backward()
    return [out.numpy(), x.grad.numpy(), *(parameter.grad.numpy() for parameter in made.parameters())]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.booleans(), st.integers(0, 99))
def test_states_and_gradients_equal_those_of_paddle(lengths, last_only, seed):
    made, lengths = layer(seed=seed), np.asarray(lengths)
    x = np.random.default_rng(seed).normal(size=(len(lengths), lengths.max(), 5)).astype(np.float32)
    ours, theirs = (answers(made, x, lengths, last_only, quick) for quick in (True, False))
    for found, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("last_only", [True, False])
def test_rows_of_one_length_need_no_lengths(last_only):
    x = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    ours, theirs = (answers(layer(), x, None, last_only, quick) for quick in (True, False))
    for found, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-5)


def test_the_first_weights_of_states_learn_nothing_from_rows_of_one_token():
    """There is no state before the only token: oneDNN without a first state finds a gradient all the same."""
    x = np.random.default_rng(0).normal(size=(3, 1, 5)).astype(np.float32)
    made = layer()
    answers(made, x, None, True, quick=True)
    named = dict(made.named_parameters())
    for end in ("", "_reverse"):
        assert not named[f"weight_hh_l0{end}"].grad.numpy().any()
        assert named[f"weight_ih_l0{end}"].grad.numpy().any()


@tiny.needs_bf16
def test_gradients_add_up_over_two_backward_passes_and_share_no_memory():
    made, rng = layer(), np.random.default_rng(0)
    x = rng.normal(size=(4, 6, 5)).astype(np.float32)
    lengths = np.asarray([6, 2, 5, 6])
    answers(made, x, lengths, True, quick=True)
    whole = [parameter.grad.numpy().copy() for parameter in made.parameters()]
    made.clear_gradients()
    for part in (slice(0, 2), slice(2, 4)):
        given_rows = paddle.to_tensor(x[part])
        given_rows.stop_gradient = False
        weights = np.linspace(-1, 1, 4 * 8, dtype=np.float32).reshape(4, 8)[part]
        out = made.sentences(given_rows, paddle.to_tensor(lengths[part]), True)
        (out * paddle.to_tensor(weights)).sum().backward()
    for parameter, expected in zip(made.parameters(), whole, strict=True):
        np.testing.assert_allclose(parameter.grad.numpy(), expected, atol=1e-5)
    before = [parameter.grad.numpy().copy() for parameter in made.parameters()]
    with paddle.no_grad():
        for parameter in made.parameters():
            parameter.grad.scale_(2.0)
    for parameter, known in zip(made.parameters(), before, strict=True):
        np.testing.assert_array_equal(parameter.grad.numpy(), 2 * known)


def test_bf16_is_near_and_rounds():
    lengths = np.asarray([7, 3, 5])
    x = np.random.default_rng(0).normal(size=(3, 7, 16)).astype(np.float32)
    made = layer(16, 32)
    exact = answers(made, x, lengths, True, quick=True)
    with bf16_products():
        near = answers(made, x, lengths, True, quick=True)
    for found, expected in zip(near, exact, strict=True):
        assert found.dtype == np.float32
        assert 0 < np.abs(found - expected).max() < 0.03


def test_a_row_says_the_same_in_any_company():
    made, rng = layer(), np.random.default_rng(0)
    x = paddle.to_tensor(rng.normal(size=(2, 6, 5)).astype(np.float32))
    x.stop_gradient = False
    both = made.sentences(x, paddle.to_tensor(np.asarray([3, 6])), True).numpy()
    alone = paddle.to_tensor(x.numpy()[:1, :3])
    alone.stop_gradient = False
    np.testing.assert_allclose(made.sentences(alone, None, True).numpy()[0], both[0], atol=1e-6)


@pytest.mark.parametrize("last_only", [True, False])
def test_layers_on_top_of_each_other(last_only):
    lengths = np.asarray([4, 2, 1])
    x = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    ours, theirs = (answers(layer(num_layers=3), x, lengths, last_only, quick) for quick in (True, False))
    assert len(ours) == 2 + 3 * 8
    for found, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-5)


def test_dropout_is_between_layers():
    x = paddle.to_tensor(np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32))
    x.stop_gradient = False
    made = layer(num_layers=2, dropout=0.5)
    paddle.seed(1)
    first = made.sentences(x, None, True).numpy()
    assert not np.array_equal(made.sentences(x, None, True).numpy(), first)
    paddle.seed(1)
    np.testing.assert_array_equal(made.sentences(x, None, True).numpy(), first)


@pytest.mark.parametrize("case", ["frozen", "judging"])
def test_all_else_is_left_to_paddle(case, monkeypatch):
    made = layer()
    if case == "frozen":
        made.parameters()[0].stop_gradient = True
    elif case == "judging":
        made.eval()
    asked = []
    monkeypatch.setattr("models.lstm._prepared", lambda *shape: asked.append(shape))
    x = paddle.ones([2, 3, 5])
    x.stop_gradient = False
    assert made.sentences(x, paddle.to_tensor(np.asarray([2, 3])), True).shape == [2, 8]
    assert made.sentences(x, paddle.to_tensor(np.asarray([2, 3])), False).shape == [2, 3, 8]
    assert not asked


def test_inputs_of_another_width_and_rows_without_tokens_are_refused():
    x = paddle.zeros([2, 3, 4])
    x.stop_gradient = False
    with pytest.raises(ValueError, match="an LSTM that reads 5 numbers a token"):
        layer().sentences(x, None, True)
    x = paddle.zeros([2, 3, 5])
    x.stop_gradient = False
    for lengths in ([0, 3], [3, 4], [3], [3, 3, 3]):
        with pytest.raises(ValueError, match=re.escape(f"rows of {lengths} tokens")):
            layer().sentences(x, paddle.to_tensor(lengths), True)


def test_orders_by_hand():
    (order, back), (turned, turned_back) = _orders(np.asarray([2, 3]), 3)
    # Places 0 to 2 are the first row's, 3 to 5 the second's; the third of the first row is padding and stays there.
    assert order.tolist() == [0, 3, 1, 4, 2, 5]
    assert turned.tolist() == [1, 5, 0, 4, 2, 3]
    for there, again in ((order, back), (turned, turned_back)):
        assert there.numpy()[again.numpy()].tolist() == list(range(6))

"""oneDNN's operations give what Paddle's give; bf16 is rounded as its definition says."""

from __future__ import annotations

import gc

import numpy as np
import paddle
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from paddle.nn import functional as F  # noqa: N812 - the field's own name

from models import onednn
from models.gelu import gelu
from models.linear import Linear
from models.norm import LayerNorm

sizes = st.integers(1, 40)


def drawn(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@given(sizes, sizes, sizes, st.booleans(), st.booleans(), st.booleans(), st.integers(0, 99))
def test_products_are_those_of_matrices(rows, inner, columns, turn_x, turn_y, with_bias, seed):
    a, b, bias = drawn(seed, rows, inner), drawn(seed + 1, inner, columns), drawn(seed + 2, columns)
    expected = a.astype(np.float64) @ b + (bias if with_bias else 0)
    given_a, given_b = (np.ascontiguousarray(m.T) if turned else m for m, turned in ((a, turn_x), (b, turn_y)))
    found = onednn.product(
        paddle.to_tensor(given_a),
        paddle.to_tensor(given_b),
        paddle.to_tensor(bias) if with_bias else None,
        transpose_x=turn_x,
        transpose_y=turn_y,
    )
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


@tiny.needs_bf16
def test_bf16_rounds_to_the_nearest_and_ties_to_the_even():
    # Numbers from 1 to 2 are 2^-7 apart: one half of that above 1 is a tie between 1 and 1 + 2^-7, whose last bit is 1.
    step = 2.0**-7
    given_values = [1.0, 1 + step / 2, 1 + 0.51 * step, 1 + 1.5 * step, -3.0, 0.0]
    found = onednn.widened(onednn.rounded(paddle.to_tensor(given_values)))
    assert found.tolist() == [1.0, 1.0, 1 + step, 1 + 2 * step, -3.0, 0.0]


@tiny.needs_bf16
@given(sizes, sizes, sizes, st.integers(0, 99))
def test_products_of_bf16_are_summed_in_float32(rows, inner, columns, seed):
    a, b = (onednn.rounded(paddle.to_tensor(m)) for m in (drawn(seed, rows, inner), drawn(seed + 1, inner, columns)))
    expected = onednn.widened(a).numpy().astype(np.float64) @ onednn.widened(b).numpy()
    found = onednn.product(a, b)
    assert found.dtype == paddle.float32
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


def test_a_turned_view_is_read_as_it_looks():
    base = drawn(0, 3, 5)
    view = paddle.to_tensor(base).t()
    other = drawn(1, 3, 2)
    np.testing.assert_allclose(onednn.product(view, paddle.to_tensor(other)).numpy(), base.T @ other, atol=1e-5)


def test_a_batch_without_rows_has_a_product():
    assert onednn.product(paddle.zeros([0, 3]), paddle.zeros([3, 2])).shape == [0, 2]
    assert onednn.rounded(paddle.zeros([0, 3])).shape == [0, 3]
    # A sum of nothing, as of a batch without rows in the gradient of a weight.
    assert onednn.product(paddle.zeros([1, 0]), paddle.zeros([0, 500])).numpy().tolist() == [[0.0] * 500]
    bias = paddle.to_tensor([1.0, 2.0])
    assert onednn.product(paddle.zeros([2, 0]), paddle.zeros([0, 2]), bias).tolist() == [[1.0, 2.0], [1.0, 2.0]]
    for layer in (Linear(3, 500), LayerNorm(3)):
        x = paddle.zeros([0, 3])
        x.stop_gradient = False
        layer(x).sum().backward()
        assert not layer.weight.grad.numpy().any() and not layer.bias.grad.numpy().any()


def test_operations_are_kept_and_can_be_forgotten():
    x = paddle.to_tensor(drawn(0, 7, 11))
    first = onednn.gelu(x).numpy()
    known = onednn._gelu.cache_info()
    onednn.gelu(x[:3])
    onednn.gelu(x)
    assert onednn._gelu.cache_info().hits == known.hits + 1
    for size in range(1, onednn.KEPT + 50):
        onednn.gelu(paddle.ones([size]))
    assert onednn._gelu.cache_info().currsize == onednn.KEPT
    onednn.layout.cache_clear()
    gc.collect()
    np.testing.assert_array_equal(onednn.gelu(x).numpy(), first)


def test_tensors_that_do_not_fit_are_refused_before_their_end_is_passed():
    with pytest.raises(ValueError, match=r"a product of \[2, 3\] and \[4, 2\]"):
        onednn.product(paddle.zeros([2, 3]), paddle.zeros([4, 2]))
    with pytest.raises(ValueError, match="with the bias"):
        onednn.product(paddle.zeros([2, 3]), paddle.zeros([3, 2]), paddle.zeros([1]))
    with pytest.raises(ValueError, match="float32, paddle.bfloat16"):
        onednn.product(paddle.zeros([2, 3]), onednn.rounded(paddle.zeros([3, 2])))
    with pytest.raises(ValueError, match=r"expected tensors of \[24, 12, 12, 24, 8, 8\] bytes, got \[24, 8, 12,"):
        onednn.norm(paddle.zeros([2, 3]), paddle.zeros([2]), paddle.zeros([3]), 1e-5)
    with pytest.raises(ValueError, match="expected tensors of"):
        onednn.norm(paddle.zeros([2, 3]), paddle.zeros([3], "float64"), paddle.zeros([3]), 1e-5)


def test_what_onednn_refuses_is_an_error():
    with pytest.raises(RuntimeError, match=r"oneDNN: a layout of \(1, 2\) failed with status"):
        onednn.layout((1, 2), (1, 1), 99)


def test_gelu_by_hand():
    x = paddle.to_tensor([0.0, 1.0, -1.0])
    x.stop_gradient = False
    out = gelu(x)
    out.sum().backward()
    # x times the share of a normal distribution below it, 0.5 and 0.841345 and 0.158655; the gradient adds x times
    # the density, 0.241971 at 1.
    np.testing.assert_allclose(out.numpy(), [0.0, 0.841345, -0.158655], atol=1e-5)
    np.testing.assert_allclose(x.grad.numpy(), [0.5, 0.841345 + 0.241971, 0.158655 - 0.241971], atol=1e-5)


@given(st.integers(1, 300), st.integers(0, 99))
def test_gelu_is_that_of_paddle(size, seed):
    found, values = [], 3 * drawn(seed, 2, size)
    for function in (gelu, F.gelu):
        x = paddle.to_tensor(values)
        x.stop_gradient = False
        out = function(x)
        (out * paddle.to_tensor(drawn(seed + 1, 2, size))).sum().backward()
        found.append((out.numpy(), x.grad.numpy()))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_what_does_not_learn_is_left_to_paddle():
    assert not onednn.computes(paddle.to_tensor([1.0]))
    learning = paddle.to_tensor([1.0])
    learning.stop_gradient = False
    assert onednn.computes(learning)
    assert not onednn.computes(learning.astype("float64"))

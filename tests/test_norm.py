"""The layer norm with a cheap gradient is Paddle's in everything but time."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paddle import nn

from models.norm import LayerNorm
from models.weights import layer_weights, set_weights


def gradients(layer, x):
    x = paddle.to_tensor(x)
    x.stop_gradient = False
    out = layer(x)
    (out * paddle.to_tensor(np.linspace(-1, 1, out.size, dtype=np.float32)).reshape(out.shape)).sum().backward()
    return [out.numpy(), x.grad.numpy(), layer.weight.grad.numpy(), layer.bias.grad.numpy()]


@given(st.integers(1, 9), st.integers(2, 40), st.sampled_from([1e-12, 1e-5]), st.integers(0, 99), st.booleans())
def test_output_and_gradients_equal_those_of_paddle(rows, width, epsilon, seed, training):
    theirs, ours = nn.LayerNorm(width, epsilon=epsilon), LayerNorm(width, epsilon=epsilon)
    rng = np.random.default_rng(seed)
    weights = {name: rng.normal(size=width).astype(np.float32) for name in ("weight", "bias")}
    for layer in (theirs, ours):
        set_weights(layer, weights, "drawn")
    ours.training = training
    x = rng.normal(3, 2, size=(2, rows, width)).astype(np.float32)
    for found, expected in zip(gradients(ours, x), gradients(theirs, x), strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-4, rtol=1e-3)


def test_gradient_by_hand():
    layer = LayerNorm(2, epsilon=0.0)
    x = paddle.to_tensor([[1.0, 3.0]])
    x.stop_gradient = False
    (layer(x) * paddle.to_tensor([[5.0, 7.0]])).sum().backward()
    # Two values always come out as -1 and 1: a change of either changes nothing.
    assert layer(x).numpy().tolist() == [[-1.0, 1.0]]
    np.testing.assert_allclose(x.grad.numpy(), [[0.0, 0.0]], atol=1e-6)
    assert layer.weight.grad.tolist() == [-5.0, 7.0]
    assert layer.bias.grad.tolist() == [5.0, 7.0]


@pytest.mark.parametrize("frozen", ["weight", "bias"])
def test_a_frozen_half_stays_as_it_is(frozen):
    layer = LayerNorm(3)
    getattr(layer, frozen).stop_gradient = True
    x = paddle.to_tensor([[1.0, 3.0, 4.0]])
    x.stop_gradient = False
    layer(x).square().sum().backward()
    assert getattr(layer, frozen).grad is None
    assert np.isfinite(x.grad.numpy()).all()


def test_weights_carry_the_names_of_paddle():
    assert list(layer_weights(LayerNorm(2))) == list(layer_weights(nn.LayerNorm(2)))

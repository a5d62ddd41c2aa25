"""The linear layer with a cheap bias gradient is Paddle's in everything but time."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
import tiny
from paddle import nn

from models.linear import Linear, bf16_products, projected
from models.weights import layer_weights, set_weights


def gradients(layer, x):
    x = paddle.to_tensor(x)
    x.stop_gradient = False
    out = layer(x)
    (out * paddle.to_tensor(np.linspace(-1, 1, out.size, dtype=np.float32)).reshape(out.shape)).sum().backward()
    return [out.numpy(), x.grad.numpy(), layer.weight.grad.numpy(), layer.bias.grad.numpy()]


@pytest.mark.parametrize("shape", [(3, 4), (2, 5, 4), (2, 1, 3, 4)])
@pytest.mark.parametrize("training", [True, False])
def test_output_and_gradients_equal_those_of_paddle(shape, training):
    theirs, ours = nn.Linear(4, 6), Linear(4, 6)
    set_weights(ours, layer_weights(theirs), "theirs")
    ours.training = training
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    for found, expected in zip(gradients(ours, x), gradients(theirs, x), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_bias_gradient_by_hand():
    layer = Linear(1, 2)
    x = paddle.to_tensor([[1.0], [2.0], [3.0]])
    x.stop_gradient = False
    (layer(x) * paddle.to_tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])).sum().backward()
    # Sums of the columns of the outer gradient: 1 + 2 + 3 and 10 + 20 + 30.
    assert layer.bias.grad.tolist() == [6.0, 60.0]


def test_gradients_add_up_over_two_backward_passes():
    layer = Linear(1, 1)
    x = paddle.to_tensor([[1.0], [2.0]])
    x.stop_gradient = False
    for _ in range(2):
        layer(x).sum().backward()
    # Two rows, two passes.
    assert layer.bias.grad.tolist() == [4.0]
    assert layer.weight.grad.tolist() == [[6.0]]


@tiny.needs_bf16
def test_bf16_by_hand():
    layer = Linear(1, 1)
    # 1 + 2^-8 is a tie between 1 and 1 + 2^-7 and becomes 1, whose last bit is 0; the bias is not rounded.
    set_weights(layer, {"weight": np.full([1, 1], 1 + 2.0**-8, "f4"), "bias": np.full([1], 2.0**-20, "f4")}, "by hand")
    x = paddle.to_tensor([[1.0], [1 + 2.0**-8 + 2.0**-9]])
    x.stop_gradient = False
    with bf16_products():
        out = layer(x)
    # The backward pass rounds as the forward pass did, though it is no longer within the block.
    (out * paddle.to_tensor([[1 + 2.0**-8], [1.0]])).sum().backward()
    assert out.tolist() == [[1 + 2.0**-20], [1 + 2.0**-7 + 2.0**-20]]
    assert x.grad.tolist() == [[1.0], [1.0]]
    assert layer.weight.grad.tolist() == [[2 + 2.0**-7]]
    # A sum of gradients as they came.
    assert layer.bias.grad.tolist() == [2 + 2.0**-8]
    assert layer(x).tolist() != out.tolist()


def test_a_projection_on_an_embedding_is_a_product_with_its_rows():
    rng = np.random.default_rng(0)
    found = []
    for quick in (True, False):
        states, matrix, bias = (paddle.to_tensor(rng.normal(size=s).astype("f4")) for s in ([3, 4], [6, 4], [6]))
        for tensor in (states, matrix, bias):
            tensor.stop_gradient = False
        out = projected(states, matrix, bias, training=quick)
        (out * paddle.to_tensor(np.linspace(-1, 1, 18, dtype="f4").reshape(3, 6))).sum().backward()
        found.append([out.numpy(), *(tensor.grad.numpy() for tensor in (states, matrix, bias))])
        rng = np.random.default_rng(0)
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_weights_carry_the_names_of_paddle():
    assert list(layer_weights(Linear(2, 3))) == list(layer_weights(nn.Linear(2, 3)))

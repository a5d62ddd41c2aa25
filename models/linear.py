"""A linear layer whose training step costs what its matrix products cost.

Paddle's CPU kernel sums the bias gradient over the rows at a few GFLOP/s: for 384 -> 1536 it takes longer than both
matrix products of the backward pass together (7.6 against 3.5 ms for 384 rows). Here that sum is a product with a row
of ones. Weights, names and results are those of ``paddle.nn.Linear``.
"""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.autograd import PyLayer, PyLayerContext


class _Linear(PyLayer):
    @staticmethod
    def forward(ctx: PyLayerContext, x: paddle.Tensor, weight: paddle.Tensor, bias: paddle.Tensor) -> paddle.Tensor:
        ctx.save_for_backward(x, weight)
        return nn.functional.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: PyLayerContext, grad: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor, paddle.Tensor]:
        x, weight = ctx.saved_tensor()
        return paddle.matmul(grad, weight, transpose_y=True), *parameter_gradients(x, grad)


def parameter_gradients(x: paddle.Tensor, grad: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
    """The gradients of a linear layer's weight [in, out] and bias [out].

    Args:
        x: what the layer read, [..., in].
        grad: the gradient of what it gave, [..., out].
    """
    rows = grad.reshape([-1, grad.shape[-1]])  # [rows, out]
    ones = paddle.ones([1, rows.shape[0]], rows.dtype)
    return (
        paddle.matmul(x.reshape([-1, x.shape[-1]]), rows, transpose_x=True),
        paddle.matmul(ones, rows).reshape([-1]),
    )


def trains_on_cpu(layer: nn.Linear | nn.LayerNorm, input: paddle.Tensor) -> bool:
    """Whether a backward pass of our own pays: float32 training on a CPU."""
    return (
        layer.training
        and paddle.in_dynamic_mode()
        and not input.stop_gradient
        and not (layer.weight.stop_gradient or layer.bias.stop_gradient)
        and input.place.is_cpu_place()
        # Under automatic mixed precision the tensors of the backward pass have two types: Paddle's own op casts.
        and not paddle.is_autocast_enabled()
    )


class Linear(nn.Linear):
    """``paddle.nn.Linear`` with a cheap bias gradient where that matters: float32 training on a CPU."""

    def forward(self, input: paddle.Tensor) -> paddle.Tensor:
        if trains_on_cpu(self, input):
            return _Linear.apply(input, self.weight, self.bias)
        return super().forward(input)

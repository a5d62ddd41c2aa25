"""A linear layer whose training step costs what its matrix products cost, in bf16 where that is asked for.

Paddle's CPU kernel sums the bias gradient over the rows at a few GFLOP/s: for 384 -> 1536 it takes longer than both
matrix products of the backward pass together (7.6 against 3.5 ms for 384 rows). Here that sum is a product with a row
of ones, and oneDNN multiplies (:mod:`models.onednn`). Weights and names are those of ``paddle.nn.Linear``, and so are
the results, but for rounding.

Within :func:`bf16_products` the factors of the three products of a step are rounded to bfloat16, and their sums are in
float32; weights, biases, their gradients and all else stay in float32 (mixed precision: Micikevicius et al. 2018;
bfloat16 needs no scaled losses).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import paddle
from paddle import nn
from paddle.autograd import PyLayer, PyLayerContext

from models.onednn import computes, product, rounded

_ASKED = threading.local()


@contextlib.contextmanager
def bf16_products() -> Iterator[None]:
    """Linear layers whose forward pass is within this block multiply in bf16, there and in their backward pass."""
    before = asks_bf16()
    _ASKED.bf16 = True
    try:
        yield
    finally:
        _ASKED.bf16 = before


def asks_bf16() -> bool:
    """Whether this is within :func:`bf16_products`."""
    return getattr(_ASKED, "bf16", False)


class _Linear(PyLayer):
    @staticmethod
    def forward(
        ctx: PyLayerContext, x: paddle.Tensor, weight: paddle.Tensor, bias: paddle.Tensor, transposed: bool = False
    ) -> paddle.Tensor:
        return forward_product(ctx, x, weight, bias, transposed)

    @staticmethod
    def backward(ctx: PyLayerContext, grad: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor, paddle.Tensor]:
        return backward_products(ctx, grad)


def forward_product(
    ctx: PyLayerContext, x: paddle.Tensor, weight: paddle.Tensor, bias: paddle.Tensor, transposed: bool = False
) -> paddle.Tensor:
    """What a linear layer gives, [..., out]; keeps for :func:`backward_products` what that needs.

    Args:
        ctx: of the layer.
        x: what the layer reads, [..., in].
        weight: [in, out], or [out, in] when transposed.
        bias: [out].
        transposed: see there.
    """
    rows = x.reshape([-1, x.shape[-1]])
    if asks_bf16():
        rows, weight = rounded(rows), rounded(weight)
    ctx.save_for_backward(rows, weight)
    ctx.transposed = transposed
    return product(rows, weight, bias, transpose_y=transposed).reshape([*x.shape[:-1], bias.shape[0]])


def backward_products(ctx: PyLayerContext, grad: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor, paddle.Tensor]:
    """The gradients of what the layer read, of its weight, and of its bias.

    Args:
        ctx: of the layer.
        grad: the gradient of what it gave, [..., out].
    """
    (rows, weight), transposed = ctx.saved_tensor(), ctx.transposed
    outer = grad.reshape([-1, grad.shape[-1]])  # [rows, out]
    factor = rounded(outer) if weight.dtype == paddle.bfloat16 else outer
    of_rows = product(factor, weight, transpose_y=not transposed)
    of_weight = product(factor, rows, transpose_x=True) if transposed else product(rows, factor, transpose_x=True)
    ones = paddle.ones([1, outer.shape[0]], outer.dtype)
    return of_rows.reshape([*grad.shape[:-1], rows.shape[-1]]), of_weight, product(ones, outer).reshape([-1])


def trains_here(layer: nn.Linear | nn.LayerNorm, input: paddle.Tensor) -> bool:
    """Whether a backward pass of our own pays: float32 training on a CPU, of the weight and of the bias."""
    return layer.training and computes(input) and not (layer.weight.stop_gradient or layer.bias.stop_gradient)


class Linear(nn.Linear):
    """``paddle.nn.Linear`` with a cheap bias gradient where that matters: float32 training on a CPU."""

    def forward(self, input: paddle.Tensor) -> paddle.Tensor:
        if trains_here(self, input):
            return _Linear.apply(input, self.weight, self.bias)
        return super().forward(input)


def projected(states: paddle.Tensor, matrix: paddle.Tensor, bias: paddle.Tensor, training: bool) -> paddle.Tensor:
    """States [places, width] times the rows of a matrix [entries, width] that others share, plus a bias: logits.

    Args:
        states: [places, width].
        matrix: an embedding, [entries, width].
        bias: [entries].
        training: whether a gradient will be asked for.
    """
    if training and computes(states) and not (matrix.stop_gradient or bias.stop_gradient):
        return _Linear.apply(states, matrix, bias, True)
    return paddle.matmul(states, matrix, transpose_y=True) + bias

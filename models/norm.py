"""Layer norm whose training step costs little more than its arithmetic.

Paddle's CPU kernel takes thirty times as long for the gradient as for the norm. Here the gradient is written out in
operators that Paddle computes at the speed of memory, and sums over rows and columns are products with ones: norm and
gradient take 1.2 ms instead of 2.0 for 448 rows of 384. Weights and results are those of ``paddle.nn.LayerNorm``.
"""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.autograd import PyLayer, PyLayerContext

from models.linear import trains_on_cpu


class _LayerNorm(PyLayer):
    @staticmethod
    def forward(
        ctx: PyLayerContext, x: paddle.Tensor, weight: paddle.Tensor, bias: paddle.Tensor, epsilon: float
    ) -> paddle.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.epsilon = epsilon
        return nn.functional.layer_norm(x, x.shape[-1:], weight, bias, epsilon)

    @staticmethod
    def backward(ctx: PyLayerContext, grad: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor, paddle.Tensor]:
        x, weight = ctx.saved_tensor()
        width = x.shape[-1]
        rows, outer = x.reshape([-1, width]), grad.reshape([-1, width])
        # A product with it is the mean over a row.
        mean = paddle.full([width, 1], 1 / width, rows.dtype)
        centred = rows - paddle.matmul(rows, mean)
        scale = paddle.rsqrt(paddle.matmul(paddle.square(centred), mean) + ctx.epsilon)  # [rows, 1]
        normal = centred * scale
        inner = outer * weight
        # What a change of mean and variance takes away again.
        shift, stretch = paddle.matmul(inner, mean), paddle.matmul(inner * normal, mean)
        found = (inner - shift - normal * stretch) * scale
        ones = paddle.ones([1, rows.shape[0]], rows.dtype)
        return (
            found.reshape(x.shape),
            paddle.matmul(ones, outer * normal).reshape([-1]),
            paddle.matmul(ones, outer).reshape([-1]),
        )


class LayerNorm(nn.LayerNorm):
    """``paddle.nn.LayerNorm`` over the last dimension, with a quick gradient in float32 on a CPU.

    Args:
        width: of the last dimension.
        epsilon: added to the variance.
    """

    def __init__(self, width: int, epsilon: float = 1e-5) -> None:
        super().__init__(width, epsilon=epsilon)
        self._added = epsilon

    def forward(self, input: paddle.Tensor) -> paddle.Tensor:
        if trains_on_cpu(self, input):
            return _LayerNorm.apply(input, self.weight, self.bias, self._added)
        return super().forward(input)

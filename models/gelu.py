"""GELU (Hendrycks and Gimpel 2016, by the error function) with a gradient that takes a quarter of Paddle's time."""

from __future__ import annotations

import paddle
from paddle.autograd import PyLayer, PyLayerContext
from paddle.nn import functional as F  # noqa: N812 - the field's own name

from models import onednn


class _Gelu(PyLayer):
    @staticmethod
    def forward(ctx: PyLayerContext, x: paddle.Tensor) -> paddle.Tensor:
        ctx.save_for_backward(x)
        return onednn.gelu(x)

    @staticmethod
    def backward(ctx: PyLayerContext, grad: paddle.Tensor) -> paddle.Tensor:
        (x,) = ctx.saved_tensor()
        return onednn.gelu_gradient(x, grad)


def gelu(x: paddle.Tensor) -> paddle.Tensor:
    """``paddle.nn.functional.gelu``, in float32 training on a CPU by oneDNN."""
    return _Gelu.apply(x) if onednn.computes(x) else F.gelu(x)

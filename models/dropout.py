"""Dropout from a random stream that the training loop owns.

Paddle's CPU dropout draws 19 ns a number, most of a small model's step. This one draws a byte a number (0.3 ns) from
NumPy's SFC64, so the rate is rounded to a multiple of 1/256. The stream is set anew at every step: that makes a
resumed run equal to an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import paddle
from paddle import nn


class DropoutStream:
    """Where all dropout layers of the process draw from."""

    def __init__(self) -> None:
        self.reseed(0)

    def reseed(self, seed: int) -> None:
        """Starts the stream again; ``seed`` names the step and the rank."""
        self._rng = np.random.Generator(np.random.SFC64(seed))
        paddle.seed(seed & 0x7FFFFFFF)

    def keep_mask(self, shape: list[int], dropped: int) -> np.ndarray:
        """Factors for a tensor: 0 with probability dropped/256, else 1/(1 - dropped/256)."""
        count = int(np.prod(shape))
        kept = np.frombuffer(self._rng.bytes(count), np.uint8) >= dropped
        return np.multiply(kept, np.float32(256 / (256 - dropped)), dtype=np.float32).reshape(shape)


STREAM = DropoutStream()


class Dropout(nn.Layer):
    """Zeroes elements with probability ``p`` while training and scales the others up.

    Args:
        p: probability, at most 0.99.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.set(p)

    def set(self, p: float) -> None:
        """Changes the probability."""
        self.p = p
        self._dropped = min(round(p * 256), 253)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        if not self.training or self._dropped == 0:
            return x
        return self._drop(x)

    # A method of its own, which conversion to a static graph never reaches: Paddle evaluates the function part of a
    # chained call such as `paddle.to_tensor(…).astype` while it rewrites a forward, and can wait for itself there.
    def _drop(self, x: paddle.Tensor) -> paddle.Tensor:
        if x.place.is_gpu_place():
            return nn.functional.dropout(x, self.p)
        return x * paddle.to_tensor(STREAM.keep_mask(x.shape, self._dropped)).astype(x.dtype)


@contextmanager
def dropout_of(module: nn.Layer, p: float) -> Iterator[None]:
    """Within it all dropout of a network has one probability."""
    layers = [layer for layer in module.sublayers() if isinstance(layer, Dropout)]
    before = [layer.p for layer in layers]
    for layer in layers:
        layer.set(p)
    try:
        yield
    finally:
        for layer, known in zip(layers, before, strict=True):
            layer.set(known)

"""A bidirectional LSTM layer whose training step takes three quarters of Paddle's time, and half of it in bf16.

oneDNN computes the states of all tokens in one operation, and their gradients in another (:mod:`models.onednn`), from
the first token to the last of the longest row: what follows the end of a shorter row has no part in what came before
it. A row is read from its end to its beginning by turning it round before and turning the states back afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import paddle
from paddle import nn
from paddle.autograd import PyLayer, PyLayerContext

from models.linear import asks_bf16
from models.onednn import (
    BACKWARD,
    BF16,
    BIAS,
    DIFF_DST,
    DIFF_SRC,
    DST,
    DTYPES,
    F32,
    FORWARD_TRAINING,
    SRC,
    WEIGHTS,
    Operation,
    Pointer,
    any_layout,
    computes,
    engine,
    layout,
    plain,
    reordering,
    rounded,
    size_of,
    widened,
)

# Numbers of oneDNN's C interface that only LSTMs need.
_LEFT_TO_RIGHT, _OVERWRITE = 1, 1
_SRC_ITER, _SRC_ITER_C, _DIFF_SRC_ITER, _DIFF_SRC_ITER_C = 2, 3, 130, 131
_WEIGHTS_ITER, _WORKSPACE, _DIFF_WEIGHTS, _DIFF_WEIGHTS_ITER, _DIFF_BIAS = 34, 64, 161, 162, 169
_QUERY_WEIGHTS, _QUERY_DIFF_WEIGHTS, _QUERY_WORKSPACE = 131, 132, 135
# Lengths differ from batch to batch; an entry holds half a megabyte of operations for one.
KEPT = 64
# The parameters of one direction: from the inputs, from the states, and a bias for each.
PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def _buffer(about: Pointer) -> paddle.Tensor:
    return paddle.empty([size_of(about)], "uint8")


@lru_cache(maxsize=16)
def _zeros(rows: int, hidden: int, kind: int) -> paddle.Tensor:
    """States before the first token, which nothing writes to."""
    return paddle.zeros([rows, hidden], DTYPES[kind])


class _Prepared:
    """The operations of one direction for inputs of one shape.

    Args:
        tokens: of the longest row.
        rows: of the batch.
        inputs: width of what is read.
        hidden: width of the states.
        kind: float32, or bfloat16 for what is read, for weights and states; sums and gradients are float32.
    """

    def __init__(self, tokens: int, rows: int, inputs: int, hidden: int, kind: int) -> None:
        self._shape = tokens, rows, inputs, hidden
        read, states = plain((tokens, rows, inputs), kind), plain((tokens, rows, hidden), kind)
        bias, widths = plain((1, 1, 4, hidden)), (inputs, hidden)
        # Without a first state the gradient of the weights for states is a wrong one (oneDNN 3.6).
        first, first_cell = plain((1, 1, rows, hidden), kind), plain((1, 1, rows, hidden))
        self._first = _zeros(rows, hidden, kind), _zeros(rows, hidden, F32)
        weights = [any_layout((1, 1, width, 4, hidden), kind) for width in widths]
        without = (None, None)
        inner = (*weights, *without, bias, states, *without)

        def shared(made: Callable[..., Pointer]) -> list[tuple[int, Pointer]]:
            # What both passes are given; the weights each in a layout of its own.
            return [
                *((SRC, read), (_SRC_ITER, first), (_SRC_ITER_C, first_cell)),
                *((WEIGHTS, made(_QUERY_WEIGHTS, 0)), (_WEIGHTS_ITER, made(_QUERY_WEIGHTS, 1))),
                *((BIAS, bias), (DST, states)),
            ]

        begun = _LEFT_TO_RIGHT, read, first, first_cell
        self._forward = Operation(
            "lstm_forward",
            (engine(), FORWARD_TRAINING, *begun, *inner, 0),
            lambda made: [*shared(made), (_WORKSPACE, made(_QUERY_WORKSPACE))],
        )
        of_read, of_states = plain((tokens, rows, inputs)), plain((tokens, rows, hidden))
        of_first = plain((1, 1, rows, hidden))
        of_weights = [any_layout((1, 1, width, 4, hidden), F32) for width in widths]
        outer = (of_read, of_first, of_first, *of_weights, *without, bias, of_states, *without)
        self._backward = Operation(
            "lstm_backward",
            (engine(), BACKWARD, *begun, *inner, *outer, _OVERWRITE, self._forward.about),
            lambda made: [
                *shared(made),
                (_WORKSPACE, self._forward.chosen(_QUERY_WORKSPACE)),
                (DIFF_DST, of_states),
                (DIFF_SRC, of_read),
                (_DIFF_SRC_ITER, of_first),
                (_DIFF_SRC_ITER_C, of_first),
                (_DIFF_WEIGHTS, made(_QUERY_DIFF_WEIGHTS, 0)),
                (_DIFF_WEIGHTS_ITER, made(_QUERY_DIFF_WEIGHTS, 1)),
                (_DIFF_BIAS, bias),
            ],
        )
        # Paddle's weights are [4 * hidden, width], the gates in the same order.
        given = [layout((1, 1, w, 4, hidden), (4 * hidden * w, 4 * hidden * w, 1, hidden * w, w), F32) for w in widths]
        self._lay = {
            operation: [reordering(own, operation.chosen(_QUERY_WEIGHTS, i)) for i, own in enumerate(given)]
            for operation in (self._forward, self._backward)
        }
        self._give = [reordering(self._backward.chosen(_QUERY_DIFF_WEIGHTS, i), own) for i, own in enumerate(given)]

    def _laid(self, operation: Operation, weights: Sequence[paddle.Tensor]) -> list[paddle.Tensor]:
        found = []
        for place, (weight, lay) in enumerate(zip(weights, self._lay[operation], strict=True)):
            found.append(_buffer(operation.chosen(_QUERY_WEIGHTS, place)))
            lay(weight, found[-1])
        return found

    def forward(
        self, read: paddle.Tensor, weights: Sequence[paddle.Tensor], bias: paddle.Tensor
    ) -> tuple[paddle.Tensor, paddle.Tensor]:
        """The states [tokens, rows, hidden], and what the backward pass wants to find again."""
        tokens, rows, _, hidden = self._shape
        states = paddle.empty([tokens, rows, hidden], read.dtype)
        workspace = _buffer(self._forward.chosen(_QUERY_WORKSPACE))
        self._forward(read, *self._first, *self._laid(self._forward, weights), bias, states, workspace)
        return states, workspace

    def backward(
        self,
        read: paddle.Tensor,
        weights: Sequence[paddle.Tensor],
        bias: paddle.Tensor,
        states: paddle.Tensor,
        workspace: paddle.Tensor,
        grad: paddle.Tensor,
    ) -> tuple[paddle.Tensor, list[paddle.Tensor], paddle.Tensor]:
        """The gradients of what was read, of both weights, and of the bias, float32."""
        tokens, rows, inputs, _ = self._shape
        of_read, of_bias = paddle.empty([tokens, rows, inputs], paddle.float32), paddle.empty_like(bias)
        laid = [_buffer(self._backward.chosen(_QUERY_DIFF_WEIGHTS, place)) for place in range(2)]
        unused = [paddle.empty_like(first) for first in self._first[1:] * 2]
        weights_laid = self._laid(self._backward, weights)
        given = (read, *self._first, *weights_laid, bias, states, workspace, grad)
        self._backward(*given, of_read, *unused, *laid, of_bias)
        of_weights = [paddle.empty_like(weight) for weight in weights]
        for give, own, made in zip(self._give, laid, of_weights, strict=True):
            give(own, made)
        return of_read, of_weights, of_bias


@lru_cache(maxsize=KEPT)
def _prepared(tokens: int, rows: int, inputs: int, hidden: int, kind: int) -> _Prepared:
    return _Prepared(tokens, rows, inputs, hidden, kind)


def _orders(lengths: np.ndarray, tokens: int) -> list[tuple[paddle.Tensor, paddle.Tensor]]:
    """How a batch's tokens, row after row, are read from both ends, first tokens of all rows first; and the way back.

    Args:
        lengths: of the rows.
        tokens: of the longest.

    Returns:
        For each direction two permutations of rows * tokens.
    """
    rows = len(lengths)
    place = np.arange(tokens)[:, None]  # [tokens, 1]
    turned = np.where(place < lengths, lengths - 1 - place, place)  # [tokens, rows]
    found = []
    for order in (np.broadcast_to(place, turned.shape), turned):
        order = (np.arange(rows) * tokens + order).reshape(-1)
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        found.append((paddle.to_tensor(order), paddle.to_tensor(back)))
    return found


class _BothWays(PyLayer):
    @staticmethod
    def forward(
        ctx: PyLayerContext, x: paddle.Tensor, lengths: np.ndarray, last_only: bool, *parameters: paddle.Tensor
    ) -> paddle.Tensor:
        rows, tokens, width = x.shape
        known = len(lengths) == rows > 0 and lengths.min() >= 1 and lengths.max() <= tokens
        if parameters[0].shape[1] != width or not known:
            raise ValueError(
                f"an LSTM that reads {parameters[0].shape[1]} numbers a token was given {x.shape}, and rows of "
                f"{lengths.tolist()} tokens"
            )
        hidden, kind = parameters[1].shape[1], BF16 if asks_bf16() else F32
        ctx.prepared = _prepared(tokens, rows, width, hidden, kind)
        ctx.shape, ctx.last_only, ctx.orders = (rows, tokens, width), last_only, _orders(lengths, tokens)
        # The state behind the last token that was read, of either direction.
        ctx.last = paddle.to_tensor((lengths - 1) * rows + np.arange(rows))
        flat, kept, made = x.reshape([-1, width]), [], []
        for (order, back), own in zip(ctx.orders, (parameters[:4], parameters[4:]), strict=True):
            read = paddle.gather(flat, order).reshape([tokens, rows, width])
            read = rounded(read) if kind == BF16 else read
            bias = own[2] + own[3]
            states, workspace = ctx.prepared.forward(read, own[:2], bias)
            kept += [read, *own[:2], bias, states, workspace]
            states = (widened(states) if kind == BF16 else states).reshape([-1, hidden])
            made.append(paddle.gather(states, ctx.last if last_only else back))
        ctx.save_for_backward(*kept)
        both = paddle.concat(made, axis=-1)
        return both if last_only else both.reshape([rows, tokens, -1])

    @staticmethod
    def backward(ctx: PyLayerContext, grad: paddle.Tensor) -> tuple[paddle.Tensor, ...]:
        rows, tokens, width = ctx.shape
        kept = ctx.saved_tensor()
        of_x, of_parameters = paddle.zeros([rows * tokens, width], grad.dtype), []
        parts = grad.reshape([-1, grad.shape[-1]]).chunk(2, axis=-1)
        for (order, back), part, own in zip(ctx.orders, parts, (kept[:6], kept[6:]), strict=True):
            read, weight_ih, weight_hh, *others = own
            if ctx.last_only:
                outer = paddle.scatter(paddle.zeros([tokens * rows, part.shape[-1]], grad.dtype), ctx.last, part)
            else:
                outer = paddle.gather(part, order)
            of_read, of_weights, of_bias = ctx.prepared.backward(read, (weight_ih, weight_hh), *others, outer)
            of_x += paddle.gather(of_read.reshape([-1, width]), back)
            # Gradients are changed where they lie: two parameters may not share one.
            of_parameters += [*of_weights, of_bias, of_bias.clone()]
        return of_x.reshape([rows, tokens, width]), *of_parameters


class LSTM(nn.LSTM):
    """``paddle.nn.LSTM``, bidirectional and batch first, with a way to train it quickly on a CPU."""

    def sentences(self, x: paddle.Tensor, lengths: paddle.Tensor | None, last_only: bool) -> paddle.Tensor:
        """The states of a batch, those of both directions side by side.

        Args:
            x: [batch, tokens, inputs].
            lengths: of the rows, [batch]; None when all are as long as the longest.
            last_only: the last states of both directions, [batch, 2 * hidden], instead of those of every token,
                [batch, tokens, 2 * hidden], which mean nothing behind the end of a row.
        """
        frozen = any(parameter.stop_gradient for parameter in self.parameters())
        if not self.training or frozen or not computes(x):
            states, (last, _) = self(x, sequence_length=lengths)  # last: [layers * 2, batch, hidden]
            return paddle.concat([last[-2], last[-1]], axis=-1) if last_only else states
        given = np.full(x.shape[0], x.shape[1]) if lengths is None else lengths.numpy().astype(np.int64)
        named = dict(self.named_parameters())
        for number in range(self.num_layers):
            if number and self.dropout:
                x = nn.functional.dropout(x, self.dropout)
            ordered = [named[f"{part}_l{number}{end}"] for end in ("", "_reverse") for part in PARTS]
            x = _BothWays.apply(x, given, last_only and number == self.num_layers - 1, *ordered)
        return x

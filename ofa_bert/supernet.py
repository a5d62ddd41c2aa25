"""A BERT whose width and depth are chosen at every forward pass.

Its linear layers are PaddleSlim's ``SuperLinear``. PaddleSlim's ``Convert``, ``OFA``, ``nlp_utils`` and ``export`` are
not used: on Paddle 3 ``SuperEmbedding`` and ``SuperLayerNorm`` cannot be built, ``nlp_utils`` replaces methods of
``paddle.nn`` for the whole process and leaves out the scale of attention, ``OFA`` runs the teacher anew for every width
and passes over hidden states that it does not find, and head counts are multiplied in place until they no longer come
back. Here a width narrows heads and feed-forward neurons only, so layer norms and embeddings stay plain layers.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import replace

import paddle
from paddle import nn
from paddle.autograd import PyLayer, PyLayerContext

from models.bert import BertConfig, BertForSequenceClassification
from models.folder import LoadedModel
from models.linear import backward_products, forward_product, trains_here
from models.weights import layer_weights, set_weights
from ofa_bert.shapes import Shape

with warnings.catch_warnings():
    # PaddleSlim imports pkg_resources, which warns that it will go.
    warnings.simplefilter("ignore")
    from paddleslim.nas.ofa.layers import SuperLinear


class _NarrowLinear(PyLayer):
    """A product with the first rows and columns of a weight; the gradient of the rest is 0.

    Paddle's slices and its bias gradient do the same, but cost as much as the matrix products around them.
    """

    @staticmethod
    def forward(
        ctx: PyLayerContext, x: paddle.Tensor, weight: paddle.Tensor, bias: paddle.Tensor, outputs: int
    ) -> paddle.Tensor:
        inputs = x.shape[-1]
        ctx.missing = weight.shape[0] - inputs, weight.shape[1] - outputs
        part = weight if ctx.missing == (0, 0) else weight[:inputs, :outputs]
        return forward_product(ctx, x, part, bias if ctx.missing[1] == 0 else bias[:outputs])

    @staticmethod
    def backward(ctx: PyLayerContext, grad: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor, paddle.Tensor]:
        of_x, of_weight, of_bias = backward_products(ctx, grad)
        if ctx.missing != (0, 0):
            rows, columns = ctx.missing
            of_weight = nn.functional.pad(of_weight, [0, rows, 0, columns])
            of_bias = nn.functional.pad(of_bias.reshape([1, -1]), [0, 0, 0, columns]).reshape([-1])
        return of_x, of_weight, of_bias


class ElasticLinear(SuperLinear):
    """``SuperLinear`` that remembers how many outputs it computes.

    How many inputs it reads follows from what it is given.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.outputs = out_features

    def forward(self, input: paddle.Tensor) -> paddle.Tensor:
        if trains_here(self, input):
            return _NarrowLinear.apply(input, self.weight, self.bias, self.outputs)
        return super().forward(input, channel=self.outputs)


class ElasticBert(BertForSequenceClassification):
    """A BERT of which every forward pass uses a part: see :meth:`at`.

    At full width and depth it is the BERT it was made from, under the same weight names, so that it is saved, loaded
    and evaluated like any other.

    Args:
        config: the shape of the whole.
        dropout: on hidden states and on attention weights, while it trains; the shape's own when left out.
    """

    def __init__(self, config: BertConfig, dropout: tuple[float, float] | None = None) -> None:
        hidden, attention = dropout or (config.hidden_dropout_prob, config.attention_probs_dropout_prob)
        trained = replace(config, hidden_dropout_prob=hidden, attention_probs_dropout_prob=attention)
        super().__init__(trained, linear=ElasticLinear)
        # What is saved keeps the values that it came with: whoever trains a sub-model further wants those.
        self.config = config

    @contextlib.contextmanager
    def at(self, shape: Shape) -> Iterator[ElasticBert]:
        """Makes forward passes within the block those of a sub-network."""
        config = self.config
        try:
            self._use(shape.heads, shape.neurons, shape.layers)
            yield self
        finally:
            self._use(config.num_attention_heads, config.intermediate_size, None)

    def _use(self, heads: int, neurons: int, layers: tuple[int, ...] | None) -> None:
        self.layers_used = layers
        for layer in self.bert.encoder.layers:
            attention = layer.self_attn
            attention.heads = heads
            for projection in (attention.q_proj, attention.k_proj, attention.v_proj):
                projection.outputs = heads * attention.head_dim
            layer.linear1.outputs = neurons


def elastic(loaded: LoadedModel, dropout: tuple[float, float] | None = None) -> LoadedModel:
    """The same model as an :class:`ElasticBert`; its weights are copied."""
    model = ElasticBert(loaded.model.config, dropout)
    set_weights(model, layer_weights(loaded.model), "the model")
    model.eval()
    return LoadedModel(model, loaded.tokenizer, loaded.task, loaded.max_seq_length)

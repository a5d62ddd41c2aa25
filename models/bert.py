"""BERT for classification, in PaddleNLP's weight layout.

An encoder of our own rather than PaddleNLP's: a layer may be narrower than its hidden size (sub-networks need that, and
``paddle.nn.MultiHeadAttention`` refuses it), the mask is laid out once a batch instead of once a layer, dropout is
cheap, and nothing is imported that takes seconds to load. Weights go both ways: PaddleNLP reads what is saved here, and
a test holds the logits of both equal.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.nn import functional as F  # noqa: N812 - the field's own name

from models.dropout import Dropout
from models.linear import Linear

MASKED = -1e4
COUNTS = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
)


@dataclass(frozen=True)
class BertConfig:
    """The shape of a BERT; names as in the published ``config.json``.

    ``head_size`` is hidden_size / num_attention_heads unless given.
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 0
    num_labels: int = 2
    head_size: int | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BertConfig:
        """Reads a ``config.json`` of ours, of PaddleNLP or of Hugging Face.

        Raises:
            ValueError: a shape or an activation that this encoder cannot build.
        """
        known = {field.name: values[field.name] for field in dataclasses.fields(cls) if field.name in values}
        if "num_labels" not in known and "id2label" in values:
            known["num_labels"] = len(values["id2label"])
        config = cls(**known)
        for name in COUNTS:
            value = getattr(config, name)
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} {value!r}: expected a whole number above 0")
        if config.hidden_act not in ACTIVATIONS:
            raise ValueError(f"hidden_act {config.hidden_act!r}: expected one of {', '.join(ACTIVATIONS)}")
        if config.head_size is None and config.hidden_size % config.num_attention_heads:
            raise ValueError(f"hidden_size {config.hidden_size} is no multiple of {config.num_attention_heads} heads")
        return config

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.head_size or self.hidden_size // self.num_attention_heads


ACTIVATIONS = {
    "gelu": F.gelu,
    "gelu_new": lambda x: F.gelu(x, approximate=True),
    "relu": F.relu,
}


class BertEmbeddings(nn.Layer):
    """Word, position and type embeddings, summed and normalised."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.layer_norm = nn.LayerNorm(config.hidden_size, epsilon=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids: paddle.Tensor, token_type_ids: paddle.Tensor) -> paddle.Tensor:
        words = self.word_embeddings(input_ids)  # [batch, tokens, hidden]
        # Positions are added by broadcasting a slice: no gather, no [batch, tokens] index tensor.
        positions = self.position_embeddings.weight[: input_ids.shape[1]]  # [tokens, hidden]
        total = words + positions + self.token_type_embeddings(token_type_ids)
        return self.dropout(self.layer_norm(total))


class SelfAttention(nn.Layer):
    """Multi-head attention whose inner width is heads x head size, whatever the hidden size is."""

    def __init__(self, config: BertConfig, linear: type[nn.Linear] = Linear) -> None:
        super().__init__()
        self.heads, self.head_dim = config.num_attention_heads, config.head_dim
        inner = self.heads * self.head_dim
        self.q_proj = linear(config.hidden_size, inner)
        self.k_proj = linear(config.hidden_size, inner)
        self.v_proj = linear(config.hidden_size, inner)
        self.out_proj = linear(inner, config.hidden_size)
        self.dropout = Dropout(config.attention_probs_dropout_prob)

    def _split(self, x: paddle.Tensor) -> paddle.Tensor:
        return x.reshape([0, 0, self.heads, self.head_dim]).transpose([0, 2, 1, 3])

    def forward(self, x: paddle.Tensor, bias: paddle.Tensor | None) -> paddle.Tensor:
        query = self._split(self.q_proj(x) * self.head_dim**-0.5)  # [batch, heads, tokens, head_dim]
        key, value = self._split(self.k_proj(x)), self._split(self.v_proj(x))
        scores = paddle.matmul(query, key, transpose_y=True)  # [batch, heads, tokens, tokens]
        if bias is not None:
            scores = scores + bias
        weights = self.dropout(F.softmax(scores))
        mixed = paddle.matmul(weights, value)  # [batch, heads, tokens, head_dim]
        mixed = mixed.transpose([0, 2, 1, 3])
        return self.out_proj(mixed.reshape([0, 0, self.heads * self.head_dim]))


class BertLayer(nn.Layer):
    """Attention and feed-forward network, each added to its input and normalised."""

    def __init__(self, config: BertConfig, linear: type[nn.Linear] = Linear) -> None:
        super().__init__()
        self.self_attn = SelfAttention(config, linear)
        self.linear1 = linear(config.hidden_size, config.intermediate_size)
        self.linear2 = linear(config.intermediate_size, config.hidden_size)
        self.norm1 = nn.LayerNorm(config.hidden_size, epsilon=config.layer_norm_eps)
        self.norm2 = nn.LayerNorm(config.hidden_size, epsilon=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)
        self._activation = ACTIVATIONS[config.hidden_act]

    def forward(self, x: paddle.Tensor, bias: paddle.Tensor | None) -> paddle.Tensor:
        x = self.norm1(x + self.dropout(self.self_attn(x, bias)))
        return self.norm2(x + self.dropout(self.linear2(self._activation(self.linear1(x)))))


class BertEncoder(nn.Layer):
    """The stack of layers."""

    def __init__(self, config: BertConfig, linear: type[nn.Linear] = Linear) -> None:
        super().__init__()
        self.layers = nn.LayerList([BertLayer(config, linear) for _ in range(config.num_hidden_layers)])

    def forward(self, x: paddle.Tensor, bias: paddle.Tensor | None) -> paddle.Tensor:
        for layer in self.layers:
            x = layer(x, bias)
        return x


class BertPooler(nn.Layer):
    """The first token's state, through a dense layer and tanh."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return paddle.tanh(self.dense(x[:, 0]))


class BertModel(nn.Layer):
    """Embeddings, encoder and pooler."""

    def __init__(self, config: BertConfig, linear: type[nn.Linear] = Linear) -> None:
        super().__init__()
        self.config = config
        self.embeddings = BertEmbeddings(config)
        self.encoder = BertEncoder(config, linear)
        self.pooler = BertPooler(config)

    def forward(
        self, input_ids: paddle.Tensor, token_type_ids: paddle.Tensor, has_padding: bool = True
    ) -> tuple[paddle.Tensor, paddle.Tensor]:
        """Returns the last hidden states [batch, tokens, hidden] and the pooled state [batch, hidden]."""
        bias = self._attention_bias(input_ids, self.config.num_attention_heads) if has_padding else None
        states = self.encoder(self.embeddings(input_ids, token_type_ids), bias)
        return states, self.pooler(states)

    def hidden_states(
        self,
        input_ids: paddle.Tensor,
        token_type_ids: paddle.Tensor,
        has_padding: bool = True,
        layers: Sequence[int] | None = None,
    ) -> list[paddle.Tensor]:
        """The embeddings' output and every layer's, each [batch, tokens, hidden].

        Args:
            input_ids: as for ``forward``.
            token_type_ids: as for ``forward``.
            has_padding: as for ``forward``.
            layers: numbers of the layers to go through; all when left out.
        """
        chosen = [self.encoder.layers[i] for i in range(len(self.encoder.layers)) if layers is None or i in layers]
        bias = self._attention_bias(input_ids, chosen[0].self_attn.heads) if has_padding else None
        states = [self.embeddings(input_ids, token_type_ids)]
        for layer in chosen:
            states.append(layer(states[-1], bias))
        return states

    def _attention_bias(self, input_ids: paddle.Tensor, heads: int) -> paddle.Tensor:
        bias = (input_ids == self.config.pad_token_id).astype("float32") * MASKED
        bias = bias.unsqueeze([1, 2])  # [batch, 1, 1, tokens]
        if not paddle.in_dynamic_mode():
            return bias
        # Dygraph adds a broadcast tensor a hundred times slower than one of the full shape: lay it out once.
        tokens = input_ids.shape[1]
        return bias.expand([-1, heads, tokens, tokens]).contiguous()


class BertForSequenceClassification(nn.Layer):
    """BERT with a linear classifier on the pooled state.

    Args:
        config: its shape.
        linear: the class of the encoder's linear layers.
    """

    model_type = "bert"
    layout = "bert"

    def __init__(self, config: BertConfig, linear: type[nn.Linear] = Linear) -> None:
        super().__init__()
        self.config = config
        self.bert = BertModel(config, linear)
        self.dropout = Dropout(config.hidden_dropout_prob)
        self.classifier = Linear(config.hidden_size, config.num_labels)

    def forward(
        self, input_ids: paddle.Tensor, token_type_ids: paddle.Tensor, has_padding: bool = True
    ) -> paddle.Tensor:
        """Classifies rows.

        Args:
            input_ids: int64, [batch, tokens], short rows filled up with the padding id.
            token_type_ids: int64, [batch, tokens].
            has_padding: False promises that there is none, which saves the mask.

        Returns:
            Logits, [batch, num_labels].
        """
        _, pooled = self.bert(input_ids, token_type_ids, has_padding)
        return self.classifier(self.dropout(pooled))

    def from_batch(self, batch: Mapping[str, Any]) -> paddle.Tensor:
        """Logits for a batch of :class:`data.batches.Batches`."""
        return self(*inputs_of(batch))

    def with_states(
        self, batch: Mapping[str, Any], layers: Sequence[int] | None = None
    ) -> tuple[paddle.Tensor, list[paddle.Tensor]]:
        """Logits for a batch, and the hidden states before the first layer and after each.

        Args:
            batch: of :class:`data.batches.Batches`.
            layers: numbers of the layers to go through; all when left out.
        """
        states = self.bert.hidden_states(*inputs_of(batch), layers)
        return self.classifier(self.dropout(self.bert.pooler(states[-1]))), states

    def input_spec(self) -> list[paddle.static.InputSpec]:
        """The inputs of the static graph, in the order of ``forward``."""
        return [paddle.static.InputSpec([None, None], "int64", name) for name in ("input_ids", "token_type_ids")]

    def config_dict(self) -> dict[str, Any]:
        """``config.json`` as PaddleNLP and Hugging Face read it."""
        values = {k: v for k, v in dataclasses.asdict(self.config).items() if not (k == "head_size" and v is None)}
        return {**values, "model_type": "bert", "architectures": ["BertForSequenceClassification"], "pool_act": "tanh"}


def inputs_of(batch: Mapping[str, Any]) -> tuple[paddle.Tensor, paddle.Tensor, bool]:
    """The arguments of a BERT's ``forward`` for a batch."""
    ids = batch["input_ids"]
    padded = bool((batch["lengths"] < ids.shape[1]).any())
    return paddle.to_tensor(ids), paddle.to_tensor(batch["token_type_ids"]), padded


def narrowed(
    config: BertConfig, weights: Mapping[str, np.ndarray], heads: int, neurons: int, layers: Sequence[int]
) -> tuple[BertConfig, dict[str, np.ndarray]]:
    """Cuts a smaller BERT out of one: its first heads, its first feed-forward neurons, some of its layers.

    The hidden size stays, so that embeddings, layer norms, pooler and classifier are taken over whole.

    Args:
        config: the shape of the whole.
        weights: of the whole, under the names of :class:`BertForSequenceClassification`.
        heads: how many attention heads every layer keeps.
        neurons: how many feed-forward neurons.
        layers: numbers of the layers that stay, rising.

    Returns:
        The shape and the weights of the part.
    """
    width = heads * config.head_dim
    keep = {
        **{f"self_attn.{name}_proj.weight": np.s_[:, :width] for name in "qkv"},
        **{f"self_attn.{name}_proj.bias": np.s_[:width] for name in "qkv"},
        "self_attn.out_proj.weight": np.s_[:width],
        "linear1.weight": np.s_[:, :neurons],
        "linear1.bias": np.s_[:neurons],
        "linear2.weight": np.s_[:neurons],
    }
    renumbered = {old: new for new, old in enumerate(layers)}
    found = {}
    for name, value in weights.items():
        head, is_layer, rest = name.partition(LAYERS)
        number, _, part = rest.partition(".")
        if not is_layer:
            found[name] = value
        elif int(number) in renumbered:
            cut = np.ascontiguousarray(value[keep.get(part, np.s_[...])])
            found[f"{head}{LAYERS}{renumbered[int(number)]}.{part}"] = cut
    # A head size of its own only where hidden size / heads no longer gives it.
    own = None if heads * config.head_dim == config.hidden_size else config.head_dim
    shape = dataclasses.replace(
        config, num_attention_heads=heads, intermediate_size=neurons, num_hidden_layers=len(layers), head_size=own
    )
    return shape, found


LAYERS = "encoder.layers."


def initial_weights(config: BertConfig, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Weights of a BERT from scratch: normal with ``initializer_range``, biases 0, norms 1."""
    weights = {}
    for name, parameter in BertForSequenceClassification(config).state_dict().items():
        shape = parameter.shape
        if name.endswith("bias"):
            weights[name] = np.zeros(shape, np.float32)
        elif "norm" in name:
            weights[name] = np.ones(shape, np.float32)
        else:
            weights[name] = rng.normal(0, config.initializer_range, shape).astype(np.float32)
    return weights


HUGGING_FACE_NAMES = (
    (".LayerNorm.", ".layer_norm."),
    ("encoder.layer.", "encoder.layers."),
    (".attention.self.query.", ".self_attn.q_proj."),
    (".attention.self.key.", ".self_attn.k_proj."),
    (".attention.self.value.", ".self_attn.v_proj."),
    (".attention.output.dense.", ".self_attn.out_proj."),
    (".attention.output.layer_norm.", ".norm1."),
    (".intermediate.dense.", ".linear1."),
    (".output.layer_norm.", ".norm2."),
    (".output.dense.", ".linear2."),
)


def from_hugging_face(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Renames Hugging Face's BERT weights to PaddleNLP's names and transposes the linear layers.

    Weights of other heads and buffers keep their names.
    """
    converted = {}
    for name, value in weights.items():
        name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        for theirs, ours in HUGGING_FACE_NAMES:
            name = name.replace(theirs, ours)
        is_matrix = value.ndim == 2 and "embeddings" not in name
        converted[name] = np.ascontiguousarray(value.T) if is_matrix else value
    return converted


def to_hugging_face(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The way back of :func:`from_hugging_face`."""
    converted = {}
    for name, value in weights.items():
        is_matrix = value.ndim == 2 and "embeddings" not in name
        for theirs, ours in reversed(HUGGING_FACE_NAMES):
            name = name.replace(ours, theirs)
        converted[name] = np.ascontiguousarray(value.T) if is_matrix else value
    return converted


def is_hugging_face(weights: Mapping[str, np.ndarray]) -> bool:
    """Whether weights carry Hugging Face's names."""
    return any("encoder.layer." in name for name in weights)


def with_prefix(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Adds ``bert.`` to the names of a bare encoder's weights."""
    bare = ("embeddings.", "encoder.", "pooler.")
    return {f"bert.{name}" if name.startswith(bare) else name: value for name, value in weights.items()}

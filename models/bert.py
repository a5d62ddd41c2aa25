"""BERT with its heads, in PaddleNLP's weight layout: bare encoder, classification, masked LM, question answering.

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
from models.gelu import gelu
from models.linear import Linear, projected
from models.norm import LayerNorm

MASKED = -1e4
# The largest value of each that anybody has built; a config beyond them is damaged or forged.
COUNTS = {
    "vocab_size": 10_000_000,
    "hidden_size": 65_536,
    "num_hidden_layers": 1_000,
    "num_attention_heads": 1_024,
    "intermediate_size": 1_000_000,
    "max_position_embeddings": 1_000_000,
    "type_vocab_size": 1_000,
}
# What the forward pass gives beside its result, on request.
FEATURES = ("hidden_states", "attention_scores", "queries", "keys", "values")
Features = dict[str, Any]


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
        if "num_labels" not in known and isinstance(values.get("id2label"), Mapping):
            known["num_labels"] = len(values["id2label"])
        config = cls(**known)
        for name, most in {**COUNTS, "num_labels": 1_000_000, "head_size": 65_536}.items():
            value = getattr(config, name)
            if value is None and name == "head_size":
                continue
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} {value!r}: expected a whole number above 0")
            if value > most:
                raise ValueError(f"{name} {value:,}: expected at most {most:,}")
        for name, high in (
            ("hidden_dropout_prob", 0.99),
            ("attention_probs_dropout_prob", 0.99),
            ("layer_norm_eps", 1),
        ):
            value = getattr(config, name)
            if type(value) not in (int, float) or not 0 <= value <= high:
                raise ValueError(f"{name} {value!r}: expected a number from 0 to {high}")
        if type(config.pad_token_id) is not int or not 0 <= config.pad_token_id < config.vocab_size:
            raise ValueError(f"pad_token_id {config.pad_token_id!r}: expected an id of the vocabulary")
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
    "gelu": gelu,
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
        self.layer_norm = LayerNorm(config.hidden_size, epsilon=config.layer_norm_eps)
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

    def forward(
        self,
        x: paddle.Tensor,
        bias: paddle.Tensor | None,
        asking: paddle.Tensor | None = None,
        places: paddle.Tensor | None = None,
    ) -> tuple[paddle.Tensor, tuple[paddle.Tensor, paddle.Tensor, paddle.Tensor, paddle.Tensor]]:
        """Gives what the layer adds, and how it came to it: scores before the softmax, queries, keys, values.

        Args:
            x: states, [batch, tokens, hidden].
            bias: added to the scores.
            asking: the states of those tokens that look at the others; all of ``x`` when left out.
            places: of these, counted through the batch, int64 [places], for what is added: it is then [places, hidden].
        """
        asking = x if asking is None else asking
        query = self._split(self.q_proj(asking) * self.head_dim**-0.5)  # [batch, heads, asking tokens, head_dim]
        key, value = self._split(self.k_proj(x)), self._split(self.v_proj(x))
        scores = paddle.matmul(query, key, transpose_y=True)  # [batch, heads, tokens, tokens]
        if bias is not None:
            scores = scores + bias
        weights = self.dropout(F.softmax(scores))
        mixed = paddle.matmul(weights, value)  # [batch, heads, tokens, head_dim]
        mixed = mixed.transpose([0, 2, 1, 3]).reshape([0, 0, self.heads * self.head_dim])
        return self.out_proj(_at(mixed, places)), (scores, query, key, value)


def _at(states: paddle.Tensor, places: paddle.Tensor | None) -> paddle.Tensor:
    """The states of places that are counted through a batch, [places, width]; all as they are where none are named."""
    return states if places is None else paddle.gather(states.reshape([-1, states.shape[-1]]), places)


class BertLayer(nn.Layer):
    """Attention and feed-forward network, each added to its input and normalised."""

    def __init__(self, config: BertConfig, linear: type[nn.Linear] = Linear) -> None:
        super().__init__()
        self.self_attn = SelfAttention(config, linear)
        self.linear1 = linear(config.hidden_size, config.intermediate_size)
        self.linear2 = linear(config.intermediate_size, config.hidden_size)
        self.norm1 = LayerNorm(config.hidden_size, epsilon=config.layer_norm_eps)
        self.norm2 = LayerNorm(config.hidden_size, epsilon=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)
        self._activation = ACTIVATIONS[config.hidden_act]

    def forward(
        self,
        x: paddle.Tensor,
        bias: paddle.Tensor | None,
        first_only: bool = False,
        places: paddle.Tensor | None = None,
    ) -> tuple[paddle.Tensor, tuple[paddle.Tensor, ...]]:
        """Gives the next states, and what :class:`SelfAttention` tells.

        Args:
            x: states, [batch, tokens, hidden].
            bias: added to the scores of the attention.
            first_only: the next states of the first token alone, [batch, 1, hidden].
            places: those of these places alone, counted through the batch, int64 [places]: [places, hidden].
        """
        asking = x[:, :1] if first_only else x
        if first_only and bias is not None:
            bias = bias[:, :, :1]
        mixed, inner = self.self_attn(x, bias, asking, places)
        x = self.norm1(_at(asking, places) + self.dropout(mixed))
        return self.norm2(x + self.dropout(self.linear2(self._activation(self.linear1(x))))), inner


class BertEncoder(nn.Layer):
    """The stack of layers."""

    def __init__(self, config: BertConfig, linear: type[nn.Linear] = Linear) -> None:
        super().__init__()
        self.layers = nn.LayerList([BertLayer(config, linear) for _ in range(config.num_hidden_layers)])


class BertPooler(nn.Layer):
    """The first token's state, through a dense layer and tanh."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return paddle.tanh(self.dense(x[:, 0]))


class Bert(nn.Layer):
    """What all architectures share: how they are called, fed and described.

    Attributes:
        architecture: its name in ``config.json``, PaddleNLP's and Hugging Face's.
        outputs: the names of what it puts out, in the order of the static graph's outputs.
    """

    model_type = "bert"
    layout = "bert"
    architecture: str
    outputs: tuple[str, ...] = ("logits",)
    config: BertConfig

    def features(
        self,
        input_ids: paddle.Tensor,
        token_type_ids: paddle.Tensor,
        has_padding: bool = True,
        want: Sequence[str] = (),
        layers: Sequence[int] | None = None,
    ) -> Features:
        """The one forward pass.

        Args:
            input_ids: int64, [batch, tokens], short rows filled up with the padding id.
            token_type_ids: int64, [batch, tokens].
            has_padding: False promises that there is none, which saves the mask.
            want: of :data:`FEATURES`, what is to be given beside the outputs.
            layers: numbers of the layers to go through; all when left out.

        Returns:
            The outputs by name, and lists with an entry per layer: ``hidden_states`` [batch, tokens, hidden] (the first
            is the embeddings'), ``attention_scores`` [batch, heads, tokens, tokens] (before the softmax, the mask
            added), ``queries`` (scaled), ``keys`` and ``values`` [batch, heads, tokens, head_dim].
        """
        raise NotImplementedError

    def forward(
        self, input_ids: paddle.Tensor, token_type_ids: paddle.Tensor, has_padding: bool = True
    ) -> paddle.Tensor | tuple[paddle.Tensor, ...]:
        """The outputs alone: one tensor, or as many as :attr:`outputs` names."""
        found = self.features(input_ids, token_type_ids, has_padding)
        values = tuple(found[name] for name in self.outputs)
        return values if len(values) > 1 else values[0]

    def from_batch(self, batch: Mapping[str, Any]) -> paddle.Tensor:
        """The first output for a batch of :class:`data.batches.Batches`: logits, or of an encoder the last states."""
        return self.features_of(batch)[self.outputs[0]]

    def features_of(
        self, batch: Mapping[str, Any], want: Sequence[str] = (), layers: Sequence[int] | None = None
    ) -> Features:
        """:meth:`features` for a batch of :class:`data.batches.Batches`."""
        return self.features(*inputs_of(batch, self.config.pad_token_id), want, layers)

    def input_spec(self) -> list[paddle.static.InputSpec]:
        """The inputs of the static graph, in the order of ``forward``."""
        return [paddle.static.InputSpec([None, None], "int64", name) for name in ("input_ids", "token_type_ids")]

    def config_dict(self) -> dict[str, Any]:
        """``config.json`` as PaddleNLP and Hugging Face read it."""
        values = {k: v for k, v in dataclasses.asdict(self.config).items() if not (k == "head_size" and v is None)}
        return {**values, "model_type": "bert", "architectures": [self.architecture], "pool_act": "tanh"}


class BertModel(Bert):
    """Embeddings, encoder and pooler."""

    architecture = "BertModel"
    outputs = ("last_hidden_state", "pooler_output")

    def __init__(self, config: BertConfig, linear: type[nn.Linear] = Linear) -> None:
        super().__init__()
        self.config = config
        self.embeddings = BertEmbeddings(config)
        self.encoder = BertEncoder(config, linear)
        self.pooler = BertPooler(config)

    def features(
        self,
        input_ids: paddle.Tensor,
        token_type_ids: paddle.Tensor,
        has_padding: bool = True,
        want: Sequence[str] = (),
        layers: Sequence[int] | None = None,
        pool: bool = True,
        first_only: bool = False,
        places: paddle.Tensor | None = None,
    ) -> Features:
        """As of all architectures.

        Args:
            pool: whether the pooled state is computed; heads that read tokens do without.
            first_only: whether nobody reads the last states but the first token's, which the pooled state is made of:
                the last layer then computes nothing else for the other tokens than what the first one sees of them,
                a sixth of a six-layer network and a third of a three-layer one. ``last_hidden_state`` is then
                [batch, 1, hidden].
            places: the same for tokens that are counted through the batch, int64 [places]: of six layers a tenth is
                left out where a sixth of the tokens is read. ``last_hidden_state`` is then [places, hidden].
        """
        chosen = [self.encoder.layers[i] for i in range(len(self.encoder.layers)) if layers is None or i in layers]
        bias = self._attention_bias(input_ids, chosen[0].self_attn.heads) if has_padding else None
        x = self.embeddings(input_ids, token_type_ids)
        found: Features = {name: [] for name in want}
        if "hidden_states" in want:
            found["hidden_states"].append(x)
        for layer in chosen:
            is_last = layer is chosen[-1]
            x, inner = layer(x, bias, first_only and is_last, places if is_last else None)
            # What nobody wants is not kept: scores are the largest tensors of a pass.
            for name in want:
                found[name].append(x if name == "hidden_states" else inner[INNER.index(name)])
        found["last_hidden_state"] = x
        if pool:
            found["pooler_output"] = self.pooler(x)
        return found

    def _attention_bias(self, input_ids: paddle.Tensor, heads: int) -> paddle.Tensor:
        bias = (input_ids == self.config.pad_token_id).astype("float32") * MASKED
        bias = bias.unsqueeze([1, 2])  # [batch, 1, 1, tokens]
        if not paddle.in_dynamic_mode():
            return bias
        # Dygraph adds a broadcast tensor a hundred times slower than one of the full shape: lay it out once.
        tokens = input_ids.shape[1]
        return bias.expand([-1, heads, tokens, tokens]).contiguous()


# In the order in which :class:`SelfAttention` gives them.
INNER = ("attention_scores", "queries", "keys", "values")


class HeadedBert(Bert):
    """An encoder with something on top, which :meth:`head` computes from what the encoder gives.

    Attributes:
        reads_pooled: whether the head reads the pooled state and nothing else; it is not computed otherwise.
        layers_used: the layers to go through where nobody names some; None goes through all.
    """

    bert: BertModel
    reads_pooled = False
    layers_used: Sequence[int] | None = None

    def head(self, found: Features, **more: Any) -> Features:
        """The outputs, from the features of the encoder."""
        raise NotImplementedError

    def features(
        self,
        input_ids: paddle.Tensor,
        token_type_ids: paddle.Tensor,
        has_padding: bool = True,
        want: Sequence[str] = (),
        layers: Sequence[int] | None = None,
        **more: Any,
    ) -> Features:
        """As of all architectures; further arguments are those of :meth:`head`."""
        chosen = self.layers_used if layers is None else layers
        pools = self.reads_pooled
        read = None if want else self.places_read(**more)
        found = self.bert.features(
            input_ids, token_type_ids, has_padding, want, chosen, pools, pools and not want, read
        )
        return {**found, **self.head(found, **more)}

    def places_read(self, **_: Any) -> paddle.Tensor | None:
        """The tokens whose last states the head reads, counted through the batch, int64 [places]; None for all."""
        return None


class BertForSequenceClassification(HeadedBert):
    """BERT with a linear classifier on the pooled state.

    Args:
        config: its shape.
        linear: the class of the encoder's linear layers.
    """

    architecture = "BertForSequenceClassification"
    reads_pooled = True

    def __init__(self, config: BertConfig, linear: type[nn.Linear] = Linear) -> None:
        super().__init__()
        self.config = config
        self.bert = BertModel(config, linear)
        self.dropout = Dropout(config.hidden_dropout_prob)
        self.classifier = Linear(config.hidden_size, config.num_labels)

    def head(self, found: Features, **_: Any) -> Features:
        """``logits``, [batch, num_labels]."""
        return {"logits": self.classifier(self.dropout(found["pooler_output"]))}


class BertForQuestionAnswering(HeadedBert):
    """BERT that tells, of every token, how well an answer starts there and how well it ends there."""

    architecture = "BertForQuestionAnswering"
    outputs = ("start_logits", "end_logits")

    def __init__(self, config: BertConfig, linear: type[nn.Linear] = Linear) -> None:
        super().__init__()
        self.config = dataclasses.replace(config, num_labels=2)
        self.bert = BertModel(config, linear)
        self.classifier = Linear(config.hidden_size, 2)

    def head(self, found: Features, **_: Any) -> Features:
        """``start_logits`` and ``end_logits``, [batch, tokens]."""
        logits = self.classifier(found["last_hidden_state"])
        return {"start_logits": logits[:, :, 0], "end_logits": logits[:, :, 1]}


class MaskedLMHead(nn.Layer):
    """Transformation, norm, and the projection on the vocabulary, whose matrix is the word embedding."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.transform = Linear(config.hidden_size, config.hidden_size)
        self.layer_norm = LayerNorm(config.hidden_size, epsilon=config.layer_norm_eps)
        self.decoder = nn.Layer()
        self.decoder.bias = self.decoder.create_parameter([config.vocab_size], is_bias=True)
        self._activation = ACTIVATIONS[config.hidden_act]

    def forward(self, states: paddle.Tensor, embedding: paddle.Tensor) -> paddle.Tensor:
        """Logits [positions, vocabulary] of states [positions, hidden]."""
        states = self.layer_norm(self._activation(self.transform(states)))
        return projected(states, embedding, self.decoder.bias, self.training)


class _Heads(nn.Layer):
    """Carries the name ``cls.predictions`` that the published weights have."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.predictions = MaskedLMHead(config)


class BertForMaskedLM(HeadedBert):
    """BERT that predicts masked tokens."""

    architecture = "BertForMaskedLM"

    def __init__(self, config: BertConfig, linear: type[nn.Linear] = Linear) -> None:
        super().__init__()
        self.config = config
        self.bert = BertModel(config, linear)
        self.cls = _Heads(config)

    def head(self, found: Features, masked_positions: paddle.Tensor | None = None, **_: Any) -> Features:
        """``logits``, [batch, tokens, vocabulary].

        With ``masked_positions``, int64 [masked], places in the batch's tokens one row after the other, only those are
        projected on the vocabulary: ``logits`` are then [masked, vocabulary].
        """
        states = found["last_hidden_state"]
        if masked_positions is not None and states.ndim == 3:
            # Somebody wanted the states of all tokens.
            states = _at(states, masked_positions)
        return {"logits": self.cls.predictions(states, self.bert.embeddings.word_embeddings.weight)}

    def places_read(self, masked_positions: paddle.Tensor | None = None, **_: Any) -> paddle.Tensor | None:
        """Those that are asked for."""
        return masked_positions


ARCHITECTURES: dict[str, type[Bert]] = {
    cls.architecture: cls  # type: ignore[type-abstract]
    for cls in (BertModel, BertForSequenceClassification, BertForMaskedLM, BertForQuestionAnswering)
}


def check_weights(
    config: BertConfig,
    weights: Mapping[str, np.ndarray],
    source: str,
    architecture: str = "BertForSequenceClassification",
) -> None:
    """Compares a config with the weights beside it, before a network of that shape takes up memory.

    Raises:
        ValueError: they do not fit together.
    """
    prefix = "" if architecture == "BertModel" else "bert."
    layers = {name.removeprefix(f"{prefix}{LAYERS}").split(".")[0] for name in weights if f"{prefix}{LAYERS}" in name}
    if len(layers) != config.num_hidden_layers:
        raise ValueError(f"num_hidden_layers {config.num_hidden_layers:,}: {source} holds {len(layers)}")
    expected = {
        f"{prefix}embeddings.word_embeddings.weight": [config.vocab_size, config.hidden_size],
        f"{prefix}embeddings.position_embeddings.weight": [config.max_position_embeddings, config.hidden_size],
        f"{prefix}embeddings.token_type_embeddings.weight": [config.type_vocab_size, config.hidden_size],
        f"{prefix}{LAYERS}0.linear1.weight": [config.hidden_size, config.intermediate_size],
        f"{prefix}{LAYERS}0.self_attn.q_proj.weight": [
            config.hidden_size,
            config.num_attention_heads * config.head_dim,
        ],
    }
    if architecture == "BertForSequenceClassification" and "classifier.weight" in weights:
        expected["classifier.weight"] = [config.hidden_size, config.num_labels]
    for name, shape in expected.items():
        if name in weights and list(weights[name].shape) != shape:
            raise ValueError(f"{name} has the shape {list(weights[name].shape)} in {source}, expected {shape}")


def inputs_of(batch: Mapping[str, Any], pad_id: int = 0) -> tuple[paddle.Tensor, paddle.Tensor, bool]:
    """The arguments of a BERT's ``forward`` for a batch.

    A ``[PAD]`` that stands in a text is masked too, in every batch alike: static graphs always look at the ids.
    """
    ids = batch["input_ids"]
    return paddle.to_tensor(ids), paddle.to_tensor(batch["token_type_ids"]), bool((ids == pad_id).any())


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


def initial_weights(
    config: BertConfig, rng: np.random.Generator, architecture: str = "BertForSequenceClassification"
) -> dict[str, np.ndarray]:
    """Weights of a BERT from scratch: normal with ``initializer_range``, biases 0, norms 1."""
    weights = {}
    for name, parameter in ARCHITECTURES[architecture](config).state_dict().items():  # type: ignore[call-arg]
        shape = parameter.shape
        if name.endswith("bias"):
            weights[name] = np.zeros(shape, np.float32)
        elif "norm" in name:
            weights[name] = np.ones(shape, np.float32)
        else:
            weights[name] = rng.normal(0, config.initializer_range, shape).astype(np.float32)
    return weights

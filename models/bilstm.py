"""The student of Tang et al. 2019: a bidirectional LSTM over token embeddings, siamese for sentence pairs.

A siamese network has read each text of a pair to its end, into a single vector, before the two meet. On demand every
token is compared with what the other text says of it before the LSTM reads it (:class:`PairAlignment`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from paddle import nn

from models.dropout import Dropout
from models.linear import Linear
from models.lstm import LSTM

PAIR_FEATURES = ("sum", "product")
POOLING = ("last", "max")
COUNTS = {
    "vocab_size": 100_000_000,
    "embedding_size": 1_000_000,
    "hidden_size": 1_000_000,
    "num_layers": 1_000,
    "num_labels": 1_000_000,
}


@dataclass(frozen=True)
class BiLSTMConfig:
    """The shape of a student.

    Attributes:
        vocab_size: rows of the embedding.
        embedding_size: width of the embedding.
        hidden_size: width of one direction of the LSTM, and of the dense layer.
        num_layers: LSTM layers.
        dropout_prob: applied to the embeddings, between LSTM layers and to the dense layer.
        num_labels: width of the output.
        is_pair: whether a row has two texts.
        pair_features: classify [h1, h2, h1+h2, |h1-h2|] (``sum``, the Paddle code) or with h1*h2 in the third place
            (``product``, the paper).
        pooling: what stands for a text: the ``last`` states of both directions, or the maxima (``max``) of all.
        pair_alignment: whether tokens of a pair are compared with the other text before the LSTM reads them.
        pad_token_id: fills short rows up; its embedding stays zero.
    """

    vocab_size: int
    embedding_size: int = 300
    hidden_size: int = 300
    num_layers: int = 1
    dropout_prob: float = 0.1
    num_labels: int = 2
    is_pair: bool = False
    pair_features: str = "sum"
    pooling: str = "last"
    pair_alignment: bool = False
    pad_token_id: int = 0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BiLSTMConfig:
        """Reads a ``config.json``.

        Raises:
            ValueError: a shape that cannot be built.
        """
        config = cls(**{field.name: values[field.name] for field in dataclasses.fields(cls) if field.name in values})
        for name, most in COUNTS.items():
            value = getattr(config, name)
            if type(value) is not int or not 1 <= value <= most:
                raise ValueError(f"{name} {value!r}: expected a whole number from 1 to {most:,}")
        if config.pair_features not in PAIR_FEATURES or config.pooling not in POOLING:
            raise ValueError(f"pair_features {config.pair_features!r} and pooling {config.pooling!r}: unknown here")
        if type(config.pair_alignment) is not bool or config.pair_alignment > config.is_pair:
            raise ValueError(f"pair_alignment {config.pair_alignment!r}: expected true or false, of pairs alone")
        if type(config.dropout_prob) not in (int, float) or not 0 <= config.dropout_prob < 1:
            raise ValueError(f"dropout_prob {config.dropout_prob!r}: expected a number from 0 to below 1")
        if type(config.pad_token_id) is not int or not 0 <= config.pad_token_id < config.vocab_size:
            raise ValueError(f"pad_token_id {config.pad_token_id!r}: expected an id of the vocabulary")
        return config


class PairAlignment(nn.Layer):
    """Lets every token read what the other text of a pair says of it.

    Attention over projected embeddings gives each token a mean of the other text's tokens, those most like it first
    (decomposable attention: Parikh et al. 2016). Token and mean are compared as in ESIM (Chen et al. 2017), though
    before the LSTM instead of between two of them, as Wang and Jiang (2017) do.

    Args:
        embedding_size: width of the embeddings, in and out.
        hidden_size: width of the projection.
    """

    def __init__(self, embedding_size: int, hidden_size: int) -> None:
        super().__init__()
        self.project = Linear(embedding_size, hidden_size)
        self.compare = Linear(4 * embedding_size, embedding_size)

    def forward(
        self,
        first: paddle.Tensor,
        second: paddle.Tensor,
        lengths: paddle.Tensor | None,
        lengths_b: paddle.Tensor | None,
    ) -> tuple[paddle.Tensor, paddle.Tensor]:
        """Both texts anew, in their shapes.

        Args:
            first: embeddings, [batch, tokens, embedding].
            second: of the other text, which may have more or fewer tokens.
            lengths: true ones of the first texts, [batch]; None when none is padded.
            lengths_b: of the second ones.
        """
        likeness = paddle.matmul(self.project(first), self.project(second), transpose_y=True)  # [batch, tokens, others]
        return (
            self._compared(first, second, likeness, lengths_b),
            self._compared(second, first, likeness.transpose([0, 2, 1]), lengths),
        )

    def _compared(
        self, own: paddle.Tensor, other: paddle.Tensor, likeness: paddle.Tensor, lengths: paddle.Tensor | None
    ) -> paddle.Tensor:
        if lengths is not None:
            likeness = likeness - 1e4 * behind_end(other, lengths).unsqueeze(1)
        found = paddle.matmul(nn.functional.softmax(likeness, axis=-1), other)
        return nn.functional.relu(self.compare(paddle.concat([own, found, own - found, own * found], axis=-1)))


def behind_end(states: paddle.Tensor, lengths: paddle.Tensor) -> paddle.Tensor:
    """1 where a row [batch, tokens, ...] is padded and 0 elsewhere, [batch, tokens]."""
    return (paddle.arange(states.shape[1]).unsqueeze(0) >= lengths.unsqueeze(1)).astype(states.dtype)


class BiLSTM(nn.Layer):
    """Embedding, bidirectional LSTM, tanh layer, linear classifier."""

    model_type = "bilstm"
    layout = "plain"
    architecture = "BiLSTM"
    outputs = ("logits",)

    def __init__(self, config: BiLSTMConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_size, padding_idx=config.pad_token_id)
        if config.pair_alignment:
            self.alignment = PairAlignment(config.embedding_size, config.hidden_size)
        self.lstm = LSTM(
            config.embedding_size,
            config.hidden_size,
            config.num_layers,
            direction="bidirect",
            dropout=config.dropout_prob if config.num_layers > 1 else 0.0,
        )
        sentence = 2 * config.hidden_size
        self.fc = Linear(sentence * (4 if config.is_pair else 1), config.hidden_size)
        self.output_layer = Linear(config.hidden_size, config.num_labels)
        self.dropout = Dropout(config.dropout_prob)

    def embedded(self, input_ids: paddle.Tensor) -> paddle.Tensor:
        """Tokens [batch, tokens] as the LSTM or the alignment reads them, [batch, tokens, embedding]."""
        return self.dropout(self.embedding(input_ids))

    def sentence(self, embedded: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        """One vector for every text, [batch, 2 * hidden]: the last states of both directions, or their maxima.

        Args:
            embedded: [batch, tokens, embedding].
            lengths: true lengths, [batch]; None when no row is padded.
        """
        last_only = self.config.pooling == "last"
        states = self.lstm.sentences(embedded, lengths, last_only)
        if last_only:
            return states
        if lengths is not None:
            # States are within (-1, 1), so that no padded position is ever the largest.
            states = states - 2.0 * behind_end(states, lengths).unsqueeze(-1)
        if not self.training:
            return states.max(axis=1)
        # The gradient of Paddle's max takes a thousand times as long as that of picking where the maxima are.
        return paddle.take_along_axis(states, states.argmax(axis=1, keepdim=True), axis=1).squeeze(1)

    def forward(
        self,
        input_ids: paddle.Tensor,
        lengths: paddle.Tensor | None = None,
        input_ids_b: paddle.Tensor | None = None,
        lengths_b: paddle.Tensor | None = None,
    ) -> paddle.Tensor:
        """Classifies rows; the second text is given for pairs only.

        Returns:
            Logits, [batch, num_labels].
        """
        embedded = self.embedded(input_ids)
        if input_ids_b is None:
            features = self.sentence(embedded, lengths)
        else:
            other = self.embedded(input_ids_b)
            if self.config.pair_alignment:
                embedded, other = self.alignment(embedded, other, lengths, lengths_b)
            first, second = self.sentence(embedded, lengths), self.sentence(other, lengths_b)
            third = first * second if self.config.pair_features == "product" else first + second
            features = paddle.concat([first, second, third, (first - second).abs()], axis=-1)
        return self.output_layer(self.dropout(paddle.tanh(self.fc(features))))

    def from_batch(self, batch: Mapping[str, Any]) -> paddle.Tensor:
        """Logits for a batch of :class:`data.batches.Batches`."""
        inputs = []
        for ids, lengths in (("input_ids", "lengths"), ("input_ids_b", "lengths_b")):
            if ids in batch:
                padded = bool((batch[lengths] < batch[ids].shape[1]).any())
                inputs += [paddle.to_tensor(batch[ids]), paddle.to_tensor(batch[lengths]) if padded else None]
        return self(*inputs)

    def input_spec(self) -> list[paddle.static.InputSpec]:
        """The inputs of the static graph, in the order of ``forward``."""
        spec = paddle.static.InputSpec
        inputs = [spec([None, None], "int64", "input_ids"), spec([None], "int64", "lengths")]
        if self.config.is_pair:
            inputs += [spec([None, None], "int64", "input_ids_b"), spec([None], "int64", "lengths_b")]
        return inputs

    def config_dict(self) -> dict[str, Any]:
        """``config.json``."""
        return {**dataclasses.asdict(self.config), "model_type": "bilstm", "architectures": [self.architecture]}


def check_weights(config: BiLSTMConfig, weights: Mapping[str, np.ndarray], source: str) -> None:
    """Compares a config with the weights beside it, before a network of that shape takes up memory.

    Raises:
        ValueError: they do not fit together.
    """
    layers = sum(name.startswith("lstm.weight_ih_") and not name.endswith("_reverse") for name in weights)
    if layers != config.num_layers:
        raise ValueError(f"num_layers {config.num_layers}: {source} holds {layers}")
    if any(name.startswith("alignment.") for name in weights) != config.pair_alignment:
        raise ValueError(f"pair_alignment {config.pair_alignment}: {source} holds another network")
    expected = {
        "embedding.weight": [config.vocab_size, config.embedding_size],
        "lstm.weight_ih_l0": [4 * config.hidden_size, config.embedding_size],
        "output_layer.weight": [config.hidden_size, config.num_labels],
    }
    for name, shape in expected.items():
        if name in weights and list(weights[name].shape) != shape:
            raise ValueError(f"{name} has the shape {list(weights[name].shape)} in {source}, expected {shape}")


def embeddings_from_teacher(
    teacher: np.ndarray, width: int, standard_deviation: float = 0.3, pad_token_id: int = 0
) -> np.ndarray:
    """Student embeddings from a teacher's word-piece embeddings of the same vocabulary.

    The rows are centred; narrower ones are the projection on the principal directions. They are scaled to a common
    standard deviation, since BERT's are far smaller than what an LSTM learns from well.

    Args:
        teacher: [vocabulary, teacher width].
        width: of the student's embedding, at most the teacher's.
        standard_deviation: of all elements of the result.
        pad_token_id: the row that becomes zero.

    Raises:
        ValueError: the student's embedding is wider than the teacher's.
    """
    if width > teacher.shape[1]:
        raise ValueError(f"embedding size {width} is wider than the teacher's {teacher.shape[1]}")
    rows = teacher.astype(np.float64) - teacher.mean(0, dtype=np.float64)
    if width < teacher.shape[1]:
        # Principal directions: eigenvectors of the covariance with the largest eigenvalues.
        _, directions = np.linalg.eigh(rows.T @ rows)
        rows = rows @ directions[:, ::-1][:, :width]
    rows *= standard_deviation / rows.std()
    rows[pad_token_id] = 0
    return rows.astype(np.float32)

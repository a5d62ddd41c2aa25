"""What a student's layers learn: the distance of its states, attention and relations from its teacher's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from paddle import nn

from console import InputError
from core.features import token_vectors
from core.layer_map import LayerMap, layer_map, layers_of
from core.losses import attention_scores_loss, hidden_states_loss, patient_loss, relation_loss
from core.options import LayerLossOptions
from core.teacher_features import TeacherFeatures
from core.train import Losses
from data.batches import Batch, Batches
from models.bert import Bert, BertConfig, BertModel, Features, inputs_of
from models.dropout import dropout_of
from models.linear import Linear

# The pairs of vectors whose relations are compared.
RELATIONS = {
    "none": (),
    "minilm": (("queries", "keys"), ("values", "values")),
    "minilmv2": (("queries", "queries"), ("keys", "keys"), ("values", "values")),
}


class Projections(nn.Layer):
    """Brings a student's hidden states to its teacher's width; trained beside the student, and not served.

    Args:
        start: the first matrix, [student's hidden, teacher's hidden]; see :meth:`LayerStep.fit_projections` too.
        states: the student's states that are compared.
        shared: one matrix for all of them (Jiao et al. 2019), or one for each (PaddleNLP's checkpoints).
    """

    def __init__(self, start: np.ndarray, states: Sequence[int], shared: bool = True) -> None:
        super().__init__()
        self._place = {state: 0 if shared else number for number, state in enumerate(states)}
        self.layers = nn.LayerList([Linear(*start.shape) for _ in range(1 if shared else max(1, len(states)))])
        for layer in self.layers:
            layer.weight.set_value(np.ascontiguousarray(start, np.float32))
            layer.bias.set_value(np.zeros(start.shape[1], np.float32))

    def set(self, matrices: Mapping[int, np.ndarray]) -> None:
        """Sets what belongs to states: [student's hidden + 1, teacher's hidden], the bias in the last row."""
        for state, matrix in matrices.items():
            layer = self.layers[self._place[state]]
            layer.weight.set_value(np.ascontiguousarray(matrix[:-1], np.float32))
            layer.bias.set_value(np.ascontiguousarray(matrix[-1], np.float32))

    @property
    def groups(self) -> list[list[int]]:
        """The states that share a matrix."""
        places = sorted(set(self._place.values()))
        return [[state for state, place in self._place.items() if place == wanted] for wanted in places]

    def forward(self, state: int, values: paddle.Tensor) -> paddle.Tensor:
        """The ``state``-th hidden state [..., student's hidden] as [..., teacher's hidden]."""
        return self.layers[self._place[state]](values)


@dataclass(frozen=True)
class LayerLoss:
    """Which features are compared, and how much each counts.

    Attributes:
        pairs: (teacher's state, student's state).
        embedding: weight of the embeddings' states.
        hidden: weight of the layers' states.
        attention: weight of their attention scores.
        relation: weight of relations.
        patient: weight of the first token's direction.
        relations: pairs of vectors, see :data:`RELATIONS`.
        relation_heads: their heads.
    """

    pairs: LayerMap
    embedding: float = 1.0
    hidden: float = 1.0
    attention: float = 1.0
    relation: float = 0.0
    patient: float = 0.0
    relations: tuple[tuple[str, str], ...] = ()
    relation_heads: int = 1

    @classmethod
    def of(cls, options: LayerLossOptions, teacher: BertConfig, student: BertConfig) -> LayerLoss:
        """The losses that options name.

        Raises:
            InputError: they cannot be had between these two.
        """
        pairs = layer_map(options.layer_map, teacher.num_hidden_layers, student.num_hidden_layers)
        attention = options.attention_weight
        if teacher.num_attention_heads != student.num_attention_heads and attention:
            if "attention_weight" in options.given:
                raise InputError(
                    f"--attention_weight {attention:g}: teacher and student have {teacher.num_attention_heads} and "
                    f"{student.num_attention_heads} heads; use --relations minilmv2 instead"
                )
            attention = 0.0
        relations = RELATIONS[options.relations]
        heads = options.relation_heads or student.num_attention_heads
        if relations:
            for who, shape in (("teacher", teacher), ("student", student)):
                inner = shape.num_attention_heads * shape.head_dim
                if inner % heads:
                    raise InputError(f"--relation_heads {heads}: must divide the {who}'s attention width {inner}")
        made = cls(
            pairs,
            options.embedding_weight,
            options.hidden_weight,
            attention,
            options.relation_weight if relations else 0.0,
            options.patient_weight,
            relations,
            heads,
        )
        if not any(made.weights.values()):
            raise InputError("the layers have no loss left: all of its weights are 0, or have nothing to compare")
        asked = {f"{name}_weight": name for name in ("embedding", "hidden", "attention", "patient")}
        for option, name in {**asked, "relations": "relation"}.items():
            if options.asks(option) and getattr(made, name) and name not in made.weights:
                raise InputError(
                    f"--{option} {getattr(options, option)}: --layer_map {options.layer_map} has no such pair"
                )
        if options.asks("projection") and not made.states:
            raise InputError(f"--projection {options.projection}: no states are compared")
        return made

    @property
    def layers(self) -> LayerMap:
        """The pairs that are layers, numbered from 0."""
        return layers_of(self.pairs)

    @property
    def reached(self) -> int:
        """How many of the student's layers some loss reaches."""
        return max([student for _, student in self.states] + [student + 1 for _, student in self.layers], default=0)

    @property
    def states(self) -> LayerMap:
        """The pairs of states that some loss reads."""
        return tuple((t, s) for t, s in self.pairs if (self.hidden or self.patient if s else self.embedding))

    @property
    def weights(self) -> dict[str, float]:
        """The weights of those losses that have something to compare."""
        has = {
            "embedding": any(student == 0 for _, student in self.pairs),
            "hidden": any(student for _, student in self.pairs),
            "attention": bool(self.layers),
            "relation": bool(self.layers and self.relations),
            "patient": any(student for _, student in self.pairs),
        }
        return {name: getattr(self, name) for name, there in has.items() if there and getattr(self, name)}

    def wanted(self, side: int) -> dict[str, tuple[int, ...]]:
        """The features that the losses read: of the teacher (side 0) or of the student (side 1)."""
        found: dict[str, tuple[int, ...]] = {}
        if self.states:
            found["hidden_states"] = tuple(dict.fromkeys(pair[side] for pair in self.states))
        if "attention" in self.weights:
            found["attention_scores"] = tuple(dict.fromkeys(pair[side] for pair in self.layers))
        if "relation" in self.weights:
            for name in dict.fromkeys(name for pair in self.relations for name in pair):
                found[name] = (self.layers[-1][side],)
        return found

    def losses(
        self,
        student: Mapping[str, Any],
        teacher: Mapping[str, paddle.Tensor],
        lengths: paddle.Tensor,
        projections: Projections,
        weights: paddle.Tensor | None = None,
    ) -> Losses:
        """The distance for a batch.

        Args:
            student: its features, as :meth:`models.bert.Bert.features` gives them.
            teacher: its features by single names, see :meth:`core.teacher_features.TeacherFeatures.of`.
            lengths: int64, [rows].
            projections: of the student's states.
            weights: of the rows, [rows], with a sum of 1; all alike when left out.

        Returns:
            ``loss`` and its parts, which are not weighted.
        """
        parts: dict[str, paddle.Tensor] = {}
        counts = self.weights
        projected = {s: projections(s, student["hidden_states"][s]) for _, s in self.states}

        def states(pairs: LayerMap) -> tuple[list[paddle.Tensor], list[paddle.Tensor]]:
            return [projected[s] for _, s in pairs], [teacher[f"hidden_states.{t}"] for t, _ in pairs]

        if "embedding" in counts:
            parts["embedding"] = hidden_states_loss(
                *states(tuple(p for p in self.pairs if p[1] == 0)), lengths, weights
            )
        layers = tuple(pair for pair in self.pairs if pair[1])
        if "hidden" in counts:
            parts["hidden"] = hidden_states_loss(*states(layers), lengths, weights)
        if "patient" in counts:
            mine, theirs = states(layers)
            parts["patient"] = patient_loss([x[:, 0] for x in mine], [x[:, 0] for x in theirs], weights)
        if "attention" in counts:
            mine = [student["attention_scores"][s] for _, s in self.layers]
            theirs = [teacher[f"attention_scores.{t}"] for t, _ in self.layers]
            parts["attention"] = attention_scores_loss(mine, theirs, lengths, weights)
        if "relation" in counts:
            theirs_at, mine_at = self.layers[-1]
            each = [
                relation_loss(
                    (token_vectors(a, student[a][mine_at]), token_vectors(b, student[b][mine_at])),
                    (teacher[f"{a}.{theirs_at}"], teacher[f"{b}.{theirs_at}"]),
                    lengths,
                    self.relation_heads,
                    weights,
                )
                for a, b in self.relations
            ]
            parts["relation"] = paddle.add_n(each)
        return {"loss": paddle.add_n([counts[name] * part for name, part in parts.items()]), **parts}


def encoder_of(model: Bert) -> BertModel:
    """The layers that are compared, without the head."""
    return model if isinstance(model, BertModel) else model.bert  # type: ignore[union-attr]


class LayerStep:
    """A training step on the distance of layers.

    Args:
        student: learns; its head is not computed.
        teacher: gives the targets.
        loss: what is compared.
        projections: trained beside the student.
    """

    def __init__(self, student: Bert, teacher: TeacherFeatures, loss: LayerLoss, projections: Projections) -> None:
        self._encoder, self._teacher, self._loss, self._projections = encoder_of(student), teacher, loss, projections

    def __call__(self, batch: Batch) -> Losses:
        theirs = self._teacher.of(batch)
        mine = self._features(batch)
        return self._loss.losses(mine, theirs, paddle.to_tensor(batch["lengths"]), self._projections)

    def _features(self, batch: Batch) -> Features:
        inputs = inputs_of(batch, self._encoder.config.pad_token_id)
        return self._encoder.features(*inputs, tuple(self._loss.wanted(1)), pool=False)

    def fit_projections(self, batches: Batches) -> dict[int, np.ndarray]:
        """The projections with the smallest squared error on some rows, by states; see :meth:`Projections.set`.

        Where nobody knows which direction of the student's space is which of the teacher's (a student that has learnt
        before, or a random one) training would first spend its steps on finding out.
        """
        mine: dict[int, list[np.ndarray]] = {}
        theirs: dict[int, list[np.ndarray]] = {}
        with paddle.no_grad(), dropout_of(self._encoder, 0.0):
            for batch in batches.epoch(0):
                said, found = self._teacher.of(batch), self._features(batch)
                own = np.arange(batch["input_ids"].shape[1]) < batch["lengths"][:, None]  # [rows, tokens]
                for teacher, student in self._loss.states:
                    mine.setdefault(student, []).append(found["hidden_states"][student].numpy()[own])
                    theirs.setdefault(student, []).append(said[f"hidden_states.{teacher}"].numpy()[own])
        fitted = {}
        for group in self._projections.groups:
            known = [state for state in group if state in mine]
            if not known:
                continue
            x = np.concatenate([part for state in known for part in mine[state]]).astype(np.float64)
            y = np.concatenate([part for state in known for part in theirs[state]]).astype(np.float64)
            x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
            # A little ridge: rows may be fewer than directions.
            gram = x.T @ x
            gram += 1e-4 * np.trace(gram) / len(gram) * np.eye(len(gram))
            fitted |= dict.fromkeys(group, np.linalg.solve(gram, x.T @ y).astype(np.float32))
        return fitted

    def mean(self, batches: Batches) -> dict[str, float]:
        """The losses over all rows, without dropout and gradients."""
        sums: dict[str, float] = {}
        with paddle.no_grad(), dropout_of(self._encoder, 0.0):
            for batch in batches.epoch(0):
                for name, value in self(batch).items():
                    sums[name] = sums.get(name, 0.0) + float(value) * len(batch["rows"])
        return {name: value / batches.rows for name, value in sums.items()}


@contextmanager
def unreached_frozen(model: Bert, layers: int) -> Iterator[None]:
    """Within it what no loss reaches is not trained, nor decayed: the head, the pooler, and layers above the compared.

    Args:
        model: the student.
        layers: how many of its layers some loss reaches.
    """
    encoder = encoder_of(model)
    reached = (encoder.embeddings, *list(encoder.encoder.layers)[:layers])
    trained = {id(p) for part in reached for p in part.parameters()}
    with frozen([p for p in model.parameters() if id(p) not in trained]):
        yield


@contextmanager
def frozen(parameters: Sequence[paddle.Tensor]) -> Iterator[None]:
    """Within it these parameters are not trained, nor decayed."""
    changed = [p for p in parameters if not p.stop_gradient]
    for parameter in changed:
        parameter.stop_gradient = True
    try:
        yield
    finally:
        for parameter in changed:
            parameter.stop_gradient = False

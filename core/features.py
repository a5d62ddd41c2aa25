"""A model whose forward pass gives its features too, for static graphs; and features as losses read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import paddle
from paddle import nn

from models.bert import Bert

# What is wanted of a forward pass: by the name of a feature, of :data:`models.bert.FEATURES`, which of its entries
# (of the states 0 is the embeddings', of all others the first layer's); all when none is named.
Wanted = Mapping[str, Sequence[int]]
VECTORS = ("queries", "keys", "values")


def token_vectors(name: str, entry: paddle.Tensor) -> paddle.Tensor:
    """A feature as one vector a token: the heads of queries, keys and values side by side, queries without their scale.

    Args:
        name: of the feature.
        entry: as :meth:`models.bert.Bert.features` gives it: of heads [batch, heads, tokens, head_dim].
    """
    if name not in VECTORS:
        return entry
    if name == "queries":
        entry = entry * entry.shape[-1] ** 0.5
    joined = entry.transpose([0, 2, 1, 3])
    return joined.reshape([0, 0, entry.shape[1] * entry.shape[-1]])


def feature_names(wanted: Wanted) -> tuple[str, ...]:
    """The names of single entries: ``hidden_states.0`` and so on."""
    return tuple(f"{name}.{entry}" for name, entries in wanted.items() for entry in entries)


def all_entries(wanted: Wanted, layers: int) -> dict[str, tuple[int, ...]]:
    """The same with every entry named, of a model of so many layers."""
    return {
        name: tuple(entries) or tuple(range(layers + (name == "hidden_states"))) for name, entries in wanted.items()
    }


class WithFeatures(nn.Layer):
    """A BERT that puts out features beside its outputs, each entry a tensor of its own.

    Args:
        model: in evaluation mode.
        wanted: features and their entries.
        with_outputs: whether the model's own outputs come first; without them no head is computed.
    """

    def __init__(self, model: Bert, wanted: Wanted, with_outputs: bool = True) -> None:
        super().__init__()
        self.model = model
        self._wanted = all_entries(wanted, model.config.num_hidden_layers)
        self._outputs = tuple(model.outputs) if with_outputs else ()
        self.names = (*self._outputs, *feature_names(self._wanted))
        self.eval()

    def forward(self, input_ids: paddle.Tensor, token_type_ids: paddle.Tensor) -> tuple[paddle.Tensor, ...]:
        found = self.model.features(input_ids, token_type_ids, True, tuple(self._wanted))
        outputs = [found[name] for name in self._outputs]
        for name, entries in self._wanted.items():
            for entry in entries:
                outputs.append(token_vectors(name, found[name][entry]))
        return tuple(outputs)

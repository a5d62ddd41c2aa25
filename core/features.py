"""A model whose forward pass gives its features too, for static graphs."""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle import nn

from models.bert import Bert


class WithFeatures(nn.Layer):
    """A BERT that puts out features beside its outputs, each entry a tensor of its own.

    Args:
        model: in evaluation mode.
        want: of :data:`models.bert.FEATURES`.
        entries: which of each, counted as in :meth:`models.bert.Bert.features`; all when left out.
    """

    def __init__(self, model: Bert, want: Sequence[str], entries: Sequence[int] = ()) -> None:
        super().__init__()
        self.model, self._want = model, tuple(want)
        layers = model.config.num_hidden_layers
        self._entries = {
            name: tuple(entries) or tuple(range(layers + (name == "hidden_states"))) for name in self._want
        }
        self.names = tuple(f"{name}.{entry}" for name in self._want for entry in self._entries[name])
        self.eval()

    def forward(self, input_ids: paddle.Tensor, token_type_ids: paddle.Tensor) -> tuple[paddle.Tensor, ...]:
        found = self.model.features(input_ids, token_type_ids, True, self._want)
        outputs = [found[name] for name in self.model.outputs]
        for name in self._want:
            for entry in self._entries[name]:
                outputs.append(found[name][entry])
        return tuple(outputs)

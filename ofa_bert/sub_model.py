"""Sub-networks as models of their own: plain BERTs with narrow weights, which need nothing of this recipe."""

from __future__ import annotations

from models.bert import BertForSequenceClassification, narrowed
from models.folder import LoadedModel
from models.weights import layer_weights, set_weights
from ofa_bert.shapes import Shape


def cut(loaded: LoadedModel, shape: Shape, max_seq_length: int | None = None) -> LoadedModel:
    """The sub-network of a shape, in evaluation mode.

    Args:
        loaded: the whole network.
        shape: which heads, neurons and layers stay.
        max_seq_length: its longest input; the whole network's when left out.
    """
    config, weights = narrowed(
        loaded.model.config, layer_weights(loaded.model), shape.heads, shape.neurons, shape.layers
    )
    model = BertForSequenceClassification(config)
    set_weights(model, weights, "the sub-network")
    model.eval()
    return LoadedModel(model, loaded.tokenizer, loaded.task, max_seq_length or loaded.max_seq_length)


def encoder_parameters(loaded: LoadedModel) -> int:
    """Number of weights without the embeddings: what a sub-network can be smaller in."""
    return sum(value.size for name, value in layer_weights(loaded.model).items() if ".embeddings." not in name)

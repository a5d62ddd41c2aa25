"""Which heads and neurons matter, and the order that puts them first.

A sub-network keeps the first heads and neurons of every layer, so before the training they are sorted by what the loss
on labelled rows would lose with them (Hou et al. 2020, section 2.1; Michel et al. 2019).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import paddle

from console import progress
from core.losses import hard_label_loss
from data.batches import Batches
from data.sources import Rows
from models.bert import LAYERS, BertConfig
from models.folder import LoadedModel


@dataclass(frozen=True)
class Importance:
    """How much each part matters.

    Attributes:
        heads: [layers, heads]
        neurons: [layers, neurons]
    """

    heads: np.ndarray
    neurons: np.ndarray


def measure_importance(loaded: LoadedModel, rows: Rows, batch_size: int = 32) -> Importance:
    """First-order importance: what the loss would change by if a part were scaled to nothing.

    For a head that is |dL/dm|, m a factor on what it gives; the sum of w dL/dw over the rows of the output projection
    that read it is the same number, and needs no factor in the network. For a neuron it is
    |sum(w dL/dw) + b dL/db| over the weights into it plus |sum(w dL/dw)| over those out of it. Absolute values are
    taken batch by batch and averaged over the rows; the gradients of one batch are gone before the next (in the
    published code they are not).

    Args:
        loaded: a fine-tuned BERT; left as it was, without gradients.
        rows: with labels.
        batch_size: rows of a batch.
    """
    model, config = loaded.model, loaded.model.config
    heads = np.zeros((config.num_hidden_layers, config.num_attention_heads))
    neurons = np.zeros((config.num_hidden_layers, config.intermediate_size))
    encoder = loaded.encoder
    columns = encoder.encode(rows.texts).with_(labels=rows.labels)
    model.eval()
    batches = Batches(columns, batch_size, encoder.pad_id, shuffle=False)
    for batch in progress(batches.epoch(0), "importance", batches.steps_per_epoch, "batch"):
        model.clear_gradients()
        hard_label_loss(model.from_batch(batch), paddle.to_tensor(batch["labels"])).backward()
        share = len(batch["rows"]) / len(rows)
        for number, layer in enumerate(model.bert.encoder.layers):
            out = _products(layer.self_attn.out_proj.weight).sum(axis=1)  # [heads x head size]
            heads[number] += share * np.abs(out.reshape(config.num_attention_heads, -1).sum(axis=1))
            into = _products(layer.linear1.weight).sum(axis=0) + _products(layer.linear1.bias)
            out_of = _products(layer.linear2.weight).sum(axis=1)
            neurons[number] += share * (np.abs(into) + np.abs(out_of))
    model.clear_gradients()
    return Importance(heads, neurons)


def _products(parameter: paddle.Tensor) -> np.ndarray:
    return parameter.numpy().astype(np.float64) * parameter.grad.numpy()


def reordered(config: BertConfig, weights: Mapping[str, np.ndarray], importance: Importance) -> dict[str, np.ndarray]:
    """The weights of the same function with the most important heads and neurons of every layer first.

    Args:
        config: the network's shape.
        weights: under the names of :class:`models.bert.BertForSequenceClassification`.
        importance: of its heads and neurons.
    """
    found = dict(weights)
    prefix = f"bert.{LAYERS}"
    for number in range(config.num_hidden_layers):
        by_head = np.argsort(-importance.heads[number], kind="stable")
        columns = (by_head[:, None] * config.head_dim + np.arange(config.head_dim)).reshape(-1)
        neurons = np.argsort(-importance.neurons[number], kind="stable")
        axes = {
            **{f"self_attn.{name}_proj.{kind}": (-1, columns) for name in "qkv" for kind in ("weight", "bias")},
            "self_attn.out_proj.weight": (0, columns),
            "linear1.weight": (-1, neurons),
            "linear1.bias": (-1, neurons),
            "linear2.weight": (0, neurons),
        }
        for part, (axis, order) in axes.items():
            name = f"{prefix}{number}.{part}"
            found[name] = np.take(weights[name], order, axis=axis)
    return found

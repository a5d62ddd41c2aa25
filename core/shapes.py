"""The published shapes of small BERTs, by name."""

from __future__ import annotations


def _shape(layers: int, hidden: int, neurons: int, heads: int) -> dict[str, int]:
    return {
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "intermediate_size": neurons,
        "num_attention_heads": heads,
    }


# TinyBERT: Jiao et al. 2019; RBT: Cui et al. 2021; MiniRBT: the table that goes with its release.
SHAPES: dict[str, dict[str, int]] = {
    "bert-base": _shape(12, 768, 3072, 12),
    "tinybert-4l-312d": _shape(4, 312, 1200, 12),
    "tinybert-6l-768d": _shape(6, 768, 3072, 12),
    "rbt3": _shape(3, 768, 3072, 12),
    "rbt4": _shape(4, 768, 3072, 12),
    "rbt6": _shape(6, 768, 3072, 12),
    "rbt4-h312": _shape(4, 312, 1200, 12),
    "minirbt-h256": _shape(6, 256, 1024, 8),
    "minirbt-h288": _shape(6, 288, 1152, 8),
}

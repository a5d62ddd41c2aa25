"""What other libraries call a BERT's weights. Ours are PaddleNLP's names; Hugging Face's are converted both ways."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

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
    (".predictions.transform.layer_norm.", ".predictions.layer_norm."),
    (".predictions.transform.dense.", ".predictions.transform."),
    (".predictions.bias", ".predictions.decoder.bias"),
    ("qa_outputs.", "classifier."),
)
# The vocabulary's projection is the embedding itself; files hold it under names of its own all the same.
TIED = ("cls.predictions.decoder.weight", "cls.predictions.decoder_weight")
OLD_BIAS, BIAS = "cls.predictions.decoder_bias", "cls.predictions.decoder.bias"
HEADS = ("bert.", "cls.", "classifier.", "qa_outputs.")


def to_ours(weights: Mapping[str, np.ndarray], architecture: str) -> dict[str, np.ndarray]:
    """The weights of a folder of PaddleNLP or of Hugging Face under the names of one of our architectures.

    Args:
        weights: as they stand in the file.
        architecture: the model that is to be made of them; a bare encoder's names have no ``bert.`` before them.
    """
    found = from_hugging_face(weights) if is_hugging_face(weights) else dict(weights)
    if OLD_BIAS in found:
        found.setdefault(BIAS, found.pop(OLD_BIAS))
    found = {name: value for name, value in found.items() if name not in TIED}
    if architecture == "BertModel":
        return {name.removeprefix("bert."): value for name, value in found.items()}
    return {name if name.startswith(HEADS) else f"bert.{name}": value for name, value in found.items()}


def from_hugging_face(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Renames Hugging Face's BERT weights to PaddleNLP's names and transposes the linear layers.

    Weights of other heads and buffers keep their names.
    """
    converted = {}
    for name, value in weights.items():
        name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        is_matrix = _is_linear(name, value)
        for theirs, ours in HUGGING_FACE_NAMES:
            name = name.replace(theirs, ours)
        converted[name] = np.ascontiguousarray(value.T) if is_matrix else value
    return converted


def to_hugging_face(
    weights: Mapping[str, np.ndarray], architecture: str = "BertForSequenceClassification"
) -> dict[str, np.ndarray]:
    """The way back of :func:`from_hugging_face`."""
    converted = {}
    for name, value in weights.items():
        is_matrix = _is_linear(name, value)
        for theirs, ours in reversed(HUGGING_FACE_NAMES):
            if theirs != "qa_outputs." or architecture == "BertForQuestionAnswering":
                name = name.replace(ours, theirs)
        converted[name] = np.ascontiguousarray(value.T) if is_matrix else value
    return converted


def _is_linear(name: str, value: np.ndarray) -> bool:
    return value.ndim == 2 and "embeddings" not in name and not name.endswith("predictions.decoder.weight")


def is_hugging_face(weights: Mapping[str, np.ndarray]) -> bool:
    """Whether weights carry Hugging Face's names."""
    return any("encoder.layer." in name for name in weights)

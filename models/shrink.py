"""A smaller BERT out of a larger one: fewer layers, narrower states, fewer and smaller heads, fewer neurons.

A narrower student reads and writes in a part of the teacher's hidden space: a matrix B [teacher's hidden, student's
hidden] with orthonormal columns says which. What reads a hidden state is multiplied by B's transpose, what writes one
by B. A head that shrinks keeps the best approximation, of the smaller rank, of what it computes: of queries times keys,
and of values times outputs. Of the neurons those with the largest weights stay.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from console import InputError
from models.bert import LAYERS, BertConfig

Weights = dict[str, np.ndarray]


def check_narrower(rule: str, width: int, source: int) -> None:
    """Refuses a way to be narrower for a student that is not.

    Args:
        rule: what ``--hidden_init`` asks for.
        width: the student's hidden size.
        source: the teacher's.

    Raises:
        InputError: both are equal.
    """
    if width == source:
        raise InputError(
            f"--hidden_init {rule}: goes with a student that is narrower than its teacher; both are {source} wide"
        )


def hidden_basis(weights: Mapping[str, np.ndarray], width: int, how: str) -> np.ndarray:
    """Which part of the hidden space a narrower student keeps: B, float32, [hidden, width], columns orthonormal.

    Args:
        weights: of the teacher.
        width: the student's hidden size.
        how: ``truncate`` keeps the hidden units with the largest weights, in their order; ``principal`` the principal
            directions of all matrices that read or write hidden states, each counting alike.
    """
    gram: np.ndarray | float = 0.0
    for name, value in weights.items():
        if value.ndim != 2 or "classifier" in name or "pooler" in name or "cls." in name:
            continue
        # [hidden, anything]: embeddings, output projections and the second feed-forward layer write hidden states.
        writes = "embeddings" in name or name.endswith(("out_proj.weight", "linear2.weight"))
        matrix = (value.T if writes else value).astype(np.float64)
        part = matrix @ matrix.T
        gram = gram + part / max(float(np.trace(part)), 1e-30)
    assert isinstance(gram, np.ndarray)
    hidden = len(gram)
    if width == hidden:
        return np.eye(hidden, dtype=np.float32)
    if how == "truncate":
        kept = np.sort(np.argsort(-np.diag(gram), kind="stable")[:width])
        return np.eye(hidden, dtype=np.float32)[:, kept]
    values, vectors = np.linalg.eigh(gram)
    vectors = vectors[:, np.argsort(-values, kind="stable")[:width]]
    # A direction and its opposite are as good: the larger half points upwards, on every machine.
    vectors *= np.where(vectors[np.abs(vectors).argmax(0), np.arange(width)] < 0, -1.0, 1.0)
    return vectors.astype(np.float32)


def shrunk(
    weights: Mapping[str, np.ndarray],
    source: BertConfig,
    shape: BertConfig,
    pairs: tuple[tuple[int, int], ...],
    basis: np.ndarray,
    fresh: Weights,
) -> Weights:
    """A student's first weights.

    Args:
        weights: of the teacher.
        source: its shape.
        shape: the student's; not wider, not deeper.
        pairs: (teacher's layer, student's layer), numbered from 0; a layer without a partner stays fresh.
        basis: B of :func:`hidden_basis`.
        fresh: the student's random weights, for what the teacher does not have.
    """
    prefix = next(name for name in weights if LAYERS in name).partition(LAYERS)[0]
    found = dict(fresh)
    for name, value in weights.items():
        if LAYERS in name or name not in fresh:
            continue
        if "embeddings.layer_norm" in name:
            found[name] = _norm(name, value, basis)
        elif "embeddings" in name:
            found[name] = value @ basis
        elif "pooler.dense" in name:
            found[name] = basis.T @ value @ basis if value.ndim == 2 else value @ basis
        elif name == "cls.predictions.transform.weight":
            found[name] = basis.T @ value @ basis
        elif name == "cls.predictions.transform.bias":
            found[name] = value @ basis
        elif "predictions.layer_norm" in name:
            found[name] = _norm(name, value, basis)
        elif name == "cls.predictions.decoder.bias":
            found[name] = value
        elif name == "classifier.weight":
            found[name] = basis.T @ value
        elif name == "classifier.bias":
            found[name] = value
    for theirs, mine in pairs:
        layer = {
            name.split(f"{LAYERS}{theirs}.", 1)[1]: value
            for name, value in weights.items()
            if f"{LAYERS}{theirs}." in name
        }
        own = f"{prefix}{LAYERS}{mine}."
        first = {name.removeprefix(own): value for name, value in fresh.items() if name.startswith(own)}
        for name, value in _shrunk_layer(layer, source, shape, basis, first).items():
            found[f"{own}{name}"] = value
    return {name: np.ascontiguousarray(value, np.float32).reshape(fresh[name].shape) for name, value in found.items()}


def _norm(name: str, value: np.ndarray, basis: np.ndarray) -> np.ndarray:
    if name.endswith("bias"):
        return value @ basis
    # The gain of a direction is the mean of those of the units in it, each by its share.
    return value @ basis**2


def _shrunk_layer(
    layer: Mapping[str, np.ndarray], source: BertConfig, shape: BertConfig, basis: np.ndarray, fresh: Weights
) -> Weights:
    found = {name: _norm(name, layer[name], basis) for name in layer if name.startswith("norm")}
    found |= _shrunk_attention(layer, source, shape, basis, fresh)
    into, back = basis.T @ layer["linear1.weight"], layer["linear2.weight"] @ basis
    size = np.linalg.norm(into, axis=0) * np.linalg.norm(back, axis=1)
    kept = np.sort(np.argsort(-size, kind="stable")[: shape.intermediate_size])
    count = len(kept)
    for name in ("linear1.weight", "linear1.bias", "linear2.weight"):
        found[name] = fresh[name].copy()
    found["linear1.weight"][:, :count] = into[:, kept]
    found["linear1.bias"][:count] = layer["linear1.bias"][kept]
    found["linear2.weight"][:count] = back[kept]
    # Neurons that the teacher does not have say nothing at first.
    found["linear2.weight"][count:] = 0
    found["linear2.bias"] = layer["linear2.bias"] @ basis
    return found


def _shrunk_attention(
    layer: Mapping[str, np.ndarray], source: BertConfig, shape: BertConfig, basis: np.ndarray, fresh: Weights
) -> Weights:
    """Heads by their size, each with the best approximation of its two products."""

    def head(name: str, number: int) -> np.ndarray:
        """Weight and bias of one head that reads hidden states: [student's hidden + 1, head_dim]."""
        columns = slice(number * source.head_dim, (number + 1) * source.head_dim)
        weight, bias = layer[f"self_attn.{name}_proj.weight"], layer[f"self_attn.{name}_proj.bias"]
        return np.concatenate([basis.T @ weight[:, columns], bias[None, columns]])

    def output(number: int) -> np.ndarray:
        """[head_dim, student's hidden]"""
        rows = slice(number * source.head_dim, (number + 1) * source.head_dim)
        return layer["self_attn.out_proj.weight"][rows] @ basis

    sizes = [np.linalg.norm(head("v", h) @ output(h)) for h in range(source.num_attention_heads)]
    kept = np.sort(np.argsort(-np.asarray(sizes), kind="stable")[: shape.num_attention_heads])
    found = {name: value.copy() for name, value in fresh.items() if name.startswith("self_attn.")}
    dim = shape.head_dim
    # A head that nobody gave says nothing at first.
    found["self_attn.out_proj.weight"][len(kept) * dim :] = 0
    # Scores are divided by the root of the head's size.
    scale = (dim / source.head_dim) ** 0.25
    for place, number in enumerate(kept.tolist()):
        query, key = halves(head("q", number), head("k", number).T, dim)
        value, back = halves(head("v", number), output(number), dim)
        # Where a head is larger than the teacher's, one factor of each product stays fresh and the other is 0: nothing
        # changes at first, and both can learn.
        common = min(dim, source.head_dim)
        for name, matrix, width in (("q", query * scale, dim), ("k", key.T * scale, common), ("v", value, common)):
            columns = slice(place * dim, place * dim + width)
            found[f"self_attn.{name}_proj.weight"][:, columns] = matrix[:-1, :width]
            found[f"self_attn.{name}_proj.bias"][columns] = matrix[-1, :width]
        found["self_attn.out_proj.weight"][place * dim : (place + 1) * dim] = back
    found["self_attn.out_proj.bias"] = layer["self_attn.out_proj.bias"] @ basis
    return found


def halves(first: np.ndarray, second: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Two factors whose product is the best approximation of ``first @ second`` of a rank (Eckart and Young 1936).

    Args:
        first: [n, d].
        second: [d, m].
        rank: of the result; where it is d or more the factors are as given, with zeros behind.

    Returns:
        [n, rank] and [rank, m].
    """
    inner = first.shape[1]
    if rank >= inner:
        return np.pad(first, ((0, 0), (0, rank - inner))), np.pad(second, ((0, rank - inner), (0, 0)))
    # Two thin decompositions instead of one of an n x m matrix.
    left, upper = np.linalg.qr(first.astype(np.float64))
    right, lower = np.linalg.qr(second.T.astype(np.float64))
    u, values, v = np.linalg.svd(upper @ lower.T)
    root = np.sqrt(values[:rank])
    return (
        (left @ u[:, :rank] * root).astype(np.float32),
        ((right @ v[:rank].T) * root).T.astype(np.float32),
    )
